//! What is known about a call, gathered on its way, for its record.

use std::sync::Arc;

use bh_domain::budget::Period;
use bh_domain::money::NanoUsd;
use bh_domain::price::{PriceBasis, TokenCounts};
use bh_domain::refusal::Refusal;
use bh_domain::time::Timestamp;
use bh_wire::family::Endpoint;
use http::HeaderMap;

use super::body::Passing;
use super::close::{Closer, Ending, Outcome};
use super::draft::COST_MAX;
use super::route::Choice;
use super::{Entry, Inbound, Parts};
use crate::budgets::{Hold, NoBudget};
use crate::ports::{BoxFuture, Clock};
use crate::recorder::Receipt;
use crate::snapshot::{Caller, Capped, Durability, Provider, Snapshot};
use crate::vault::DataKey;

/// The longest id taken from a client's header.
const CLIENT_ID_BYTES_MAX: usize = 128;
const SESSION_HEADERS: [&str; 2] = ["x-bulkhead-session-id", "x-talon-session-id"];

/// A failed attempt at a provider, recorded on its own.
#[derive(Clone, Debug)]
pub(crate) struct FailedAttempt {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: Option<String>,
    pub(crate) error_class: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) chain_position: u32,
    pub(crate) at: Timestamp,
    pub(crate) duration_ms: u64,
    /// What it may have cost all the same: it went out and died without an answer.
    pub(crate) lost: Option<Lost>,
}

/// The input of an attempt that went out and got no answer: a provider may bill it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost {
    pub(crate) tokens: TokenCounts,
    pub(crate) cost: NanoUsd,
    pub(crate) basis: PriceBasis,
}

/// The budget that decided against a call.
#[derive(Clone, Debug)]
pub(crate) struct BudgetState {
    pub(crate) period: Period,
    pub(crate) limit: NanoUsd,
    pub(crate) spent: NanoUsd,
    pub(crate) estimate: NanoUsd,
}

/// One call's facts.
pub(crate) struct Ticket {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) request_id: String,
    pub(crate) correlation_id: String,
    pub(crate) session_id: Option<String>,
    pub(crate) endpoint: Endpoint,
    /// It makes something whose price is not known beforehand.
    pub(crate) unmetered: bool,
    pub(crate) at: Timestamp,
    pub(crate) started_ns: u64,
    pub(crate) durability: Durability,
    /// SHA-256 of the body as the client sent it; of nothing, until it has been read.
    pub(crate) read_hash: [u8; 32],
    /// What is known of a body that passes unread.
    pub(crate) passing: Option<Passing>,
    /// The money held for the call.
    pub(crate) holds: Vec<Hold>,
    /// The candidate that has been asked last: from here on the call may cost money.
    pub(crate) asked_of: Option<Choice>,
    pub(crate) requested_model: Option<String>,
    pub(crate) streamed: bool,
    /// Input tokens assumed when the provider tells none.
    pub(crate) input_estimate: u64,
    pub(crate) reserved: NanoUsd,
    pub(crate) failed: Vec<FailedAttempt>,
    /// Where the credential the provider saw came from.
    pub(crate) key_source: Option<&'static str>,
    pub(crate) key_fingerprint: Option<String>,
    pub(crate) prompt: Option<bytes::Bytes>,
    /// What seals the prompt and the answer, where they are kept.
    pub(crate) content_key: Option<Arc<DataKey>>,
    pub(crate) budget: Option<BudgetState>,
}

impl Ticket {
    pub(crate) fn new(
        parts: &Parts,
        snapshot: Arc<Snapshot>,
        caller: Arc<Caller>,
        inbound: &Inbound,
    ) -> Self {
        let asserted = |names: &[&str]| names.iter().find_map(|name| client_id(&inbound.headers, name));
        let session_id = if caller.accept_client_metadata { asserted(&SESSION_HEADERS) } else { None };
        let correlation_id = asserted(&["x-correlation-id"]).unwrap_or_else(|| inbound.request_id.clone());
        let endpoint = match &inbound.entry {
            Entry::Proxy { rest, .. } => Endpoint::classify(&inbound.method, rest).unwrap_or(Endpoint::Other),
            Entry::Native(endpoint) | Entry::Quickstart(endpoint) => *endpoint,
        };
        let durability = snapshot.evidence.durability_for(&inbound.path, &caller.tenant);
        Self {
            snapshot,
            caller,
            request_id: inbound.request_id.clone(),
            correlation_id,
            session_id,
            endpoint,
            unmetered: endpoint.makes_unmetered(&inbound.method),
            at: parts.clock.now(),
            started_ns: inbound.started_ns,
            durability,
            read_hash: EMPTY_SHA256,
            passing: None,
            holds: Vec::new(),
            asked_of: None,
            requested_model: None,
            streamed: false,
            input_estimate: 0,
            reserved: NanoUsd::ZERO,
            failed: Vec::new(),
            key_source: None,
            key_fingerprint: None,
            prompt: None,
            content_key: None,
            budget: None,
        }
    }

    /// The price of tokens at a provider, and how it was found. `model` is what the provider is asked for.
    pub(crate) fn priced(
        &self,
        provider: &Provider,
        model: &str,
        tokens: &TokenCounts,
    ) -> (NanoUsd, PriceBasis) {
        // Catalogues and counting cost nothing. An unmetered path is priced by what its answer tells; where that is
        // nothing, its price stays unknown, and the record says so.
        let free = matches!(self.endpoint, Endpoint::Models | Endpoint::CountTokens);
        let told = !self.unmetered || *tokens != TokenCounts::default();
        let (price, listed) = self.snapshot.prices.find(&provider.id, model);
        let basis = if (listed && told) || free { price.basis(tokens) } else { PriceBasis::DefaultEstimate };
        (price.cost(tokens).min(COST_MAX), basis)
    }

    /// What an attempt at `choice` that went out and died may have cost: its input, estimated.
    pub(crate) fn loss(&self, choice: &Choice) -> Option<Lost> {
        let tokens = TokenCounts { input: self.input_estimate, ..TokenCounts::default() };
        let model = choice.model(self.requested_model.as_deref()).unwrap_or_default();
        let (cost, basis) = self.priced(&choice.provider, model, &tokens);
        self.endpoint.is_metered().then_some(Lost { tokens, cost, basis })
    }

    /// What failed attempts may have cost together.
    pub(crate) fn lost(&self) -> NanoUsd {
        self.failed.iter().filter_map(|failed| failed.lost).map(|lost| lost.cost).sum()
    }

    /// Whether calls to `provider` are judged by their model.
    pub(crate) fn has_model_rule(&self, provider: &Provider) -> bool {
        let caller = &self.caller;
        let lists = [
            &caller.allowed_models,
            &caller.blocked_models,
            &provider.allowed_models,
            &provider.blocked_models,
        ];
        lists.iter().any(|list| !list.is_empty()) || caller.token_limits_models()
    }

    /// SHA-256 of what the client has sent.
    pub(crate) fn input_hash(&self) -> [u8; 32] {
        self.passing.as_ref().map_or(self.read_hash, Passing::hash)
    }
}

/// A call that is not on the record yet. Dropping it, which is what happens when the client hangs up, settles what
/// may have been used.
pub(crate) struct OpenCall {
    ticket: Box<Ticket>,
    closer: Closer,
    open: bool,
}

impl OpenCall {
    pub(crate) fn new(ticket: Ticket, closer: Closer) -> Self {
        closer.parts().metrics.in_flight.inc();
        Self { ticket: Box::new(ticket), closer, open: true }
    }

    /// The call's facts.
    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// The call's facts, to be added to.
    pub(crate) fn ticket_mut(&mut self) -> &mut Ticket {
        &mut self.ticket
    }

    /// The clocks.
    pub(crate) fn clock(&self) -> &dyn Clock {
        self.closer.parts().clock.as_ref()
    }

    /// What ended the call, if it is dropped now.
    pub(crate) fn dropped(&self) -> Ending {
        self.closer.parts().dropped()
    }

    /// Holds more money, for a stream that costs more than was held.
    pub(crate) fn hold_more(
        &self,
        budgets: Vec<Capped>,
        more: NanoUsd,
    ) -> BoxFuture<'static, Result<Hold, NoBudget>> {
        let keeper = self.closer.parts().budgets.clone();
        Box::pin(async move { keeper.hold(budgets, more).await })
    }

    pub(crate) fn add_hold(&mut self, hold: Hold) {
        self.ticket.reserved += hold.amount();
        self.ticket.holds.push(hold);
    }

    /// Puts the call's end on the record.
    pub(crate) fn finish(mut self, outcome: Outcome) -> Option<Receipt> {
        self.open = false;
        self.closer.finished(&mut self.ticket, outcome)
    }

    /// Puts a refusal on the record, durably where the call asks for that.
    pub(crate) async fn refuse(mut self, refusal: &Refusal) {
        self.open = false;
        self.closer.refused(&mut self.ticket, refusal).await;
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.closer.parts().metrics.in_flight.dec();
        if !self.open {
            return;
        }
        // Nobody was asked yet: nothing was used, and the hold goes with the ticket.
        let Some(choice) = self.ticket.asked_of.clone() else { return };
        let tokens = TokenCounts { input: self.ticket.input_estimate, ..TokenCounts::default() };
        let metered = self.ticket.endpoint.is_metered();
        let outcome = Outcome {
            choice,
            model: None,
            http_status: None,
            tokens: if metered { tokens } else { TokenCounts::default() },
            estimated: metered,
            output_hash: EMPTY_SHA256,
            ttft_ms: None,
            ending: self.dropped(),
            answer: None,
        };
        drop(self.closer.finished(&mut self.ticket, outcome));
    }
}

/// SHA-256 of no bytes.
pub(crate) const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// An id asserted by the client: short, printable, without spaces. Anything else is as good as absent.
fn client_id(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let plain = text.bytes().all(|b| b.is_ascii_graphic());
    (plain && !text.is_empty() && text.len() <= CLIENT_ID_BYTES_MAX).then(|| text.to_owned())
}
