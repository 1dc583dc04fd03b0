//! The end of a call, whatever it was: money settled, evidence queued, in one entry.

use std::borrow::Cow;
use std::sync::Arc;

use bh_domain::budget::{Owner, SESSION_WINDOW};
use bh_domain::evidence::Draft;
use bh_domain::evidence::record::{ContentHash, Execution, Explanation, RoutingDecision};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::usage::{Hour, Latency, UsageKind};
use bytes::Bytes;

use super::draft::{self, COST_MAX, believed, counts_of, failover, invocation_type, tokens_of, words};
use super::route::Choice;
use super::ticket::{Lost, Ticket};
use super::{Parts, elapsed_ms};
use crate::budgets::settle_all;
use crate::ports::{ContentRow, SpendDelta, UsageDelta, UsageKey, UsageSums};
use crate::rates;
use crate::recorder::{Entry, Receipt};
use crate::snapshot::{Durability, UpstreamAuth, UsedKey};

/// What a provider's answer came to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) choice: Choice,
    /// The model the provider says it used.
    pub(super) model: Option<String>,
    pub(super) http_status: Option<u16>,
    pub(super) tokens: TokenCounts,
    pub(super) estimated: bool,
    pub(super) output_hash: [u8; 32],
    pub(super) ttft_ms: Option<u64>,
    pub(super) ending: Ending,
    pub(super) answer: Option<Bytes>,
}

/// How a call that reached a provider ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// To its end.
    Completed,
    /// The provider answered with an error.
    ProviderError,
    /// The provider broke off.
    ProviderBroke,
    /// The provider paused too long.
    ProviderIdle,
    /// The client hung up.
    ClientGone,
    /// The gateway stopped, and could not wait for the end.
    GatewayStopped,
    /// The money ran out on the way.
    Braked,
}

impl Ending {
    fn status(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ProviderError | Self::ProviderBroke | Self::ProviderIdle => "failed",
            Self::ClientGone => "client_disconnected",
            Self::GatewayStopped | Self::Braked => "stopped",
        }
    }

    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Completed => None,
            Self::ProviderError => Some("provider_error"),
            Self::ProviderBroke => Some("provider_stream_broke"),
            Self::ProviderIdle => Some("provider_stream_idle"),
            Self::ClientGone => Some("client_disconnected"),
            Self::GatewayStopped => Some("gateway_stopped"),
            Self::Braked => Some("budget_exhausted_mid_stream"),
        }
    }
}

/// Closes calls.
#[derive(Clone)]
pub(super) struct Closer(Arc<Parts>);

impl Closer {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self(parts)
    }

    pub(super) fn parts(&self) -> &Arc<Parts> {
        &self.0
    }

    /// Puts a refusal on the record. What was held is released, but for what lost attempts may have cost.
    pub(super) async fn refused(&self, ticket: &mut Ticket, refusal: &Refusal) {
        settle_all(std::mem::take(&mut ticket.holds), ticket.lost());
        if refusal.code == Code::EvidenceUnavailable {
            // There is nothing to wait for: the record follows when the store is back.
            ticket.durability = Durability::Relaxed;
        }
        let receipt = self.submit_refusal(ticket, refusal);
        if let Some(receipt) = receipt
            && receipt.durable().await.is_err()
        {
            tracing::error!(
                request_id = ticket.request_id,
                "a refusal is not on the record yet; it stays queued"
            );
        }
    }

    fn submit_refusal(&self, ticket: &mut Ticket, refusal: &Refusal) -> Option<Receipt> {
        let attempted = !ticket.failed.is_empty();
        let mut draft = self.draft(ticket, invocation_type(ticket));
        let upstream = matches!(refusal.code, Code::UpstreamUnreachable | Code::UpstreamTimeout);
        let (decision, explained) = words(refusal.code);
        draft.status = if upstream { "failed".into() } else { "denied".into() };
        draft.failure_reason = Some(refusal.code.as_str().into());
        draft.policy_decision.allowed = upstream;
        draft.policy_decision.action = decision.into();
        draft.policy_decision.reasons = vec![refusal.message.clone().into()];
        draft.execution.error = Some(refusal.code.as_str().into());
        draft.explanations = vec![Explanation {
            code: explained.into(),
            decision: if upstream { "allow".into() } else { "deny".into() },
            fix: None,
            reason: refusal.message.clone().into(),
            stage: "admit".into(),
            trigger: Some(refusal.code.as_str().into()),
        }];
        self.groups(ticket, &mut draft, "fail_closed");
        let tally = Tally { requests: true, calls: attempted, denied: !upstream, failed: upstream };
        // What the attempt that ended the call may have cost is told by the call's own record, and by no other.
        let last = ticket.failed.last_mut().filter(|_| upstream);
        let lost =
            last.and_then(|last| Some((Arc::clone(&last.provider), last.model.clone(), last.lost.take()?)));
        let spend = match lost {
            Some((provider, model, lost)) => {
                draft.execution.provider = provider.id.clone().into();
                draft.execution.model_used = model.unwrap_or_default().into();
                draft.execution.estimated_cost = Some(ticket.reserved.min(COST_MAX));
                self.charge(ticket, &mut draft, tally, lost)
            }
            None => spend(ticket, tally, &TokenCounts::default(), NanoUsd::ZERO),
        };
        let usage = Some(usage(self.0.clock.now(), &draft, tally));
        self.0.metrics.call(&ticket.caller.tenant.id, "", if upstream { "failed" } else { "denied" });
        self.attempts(ticket);
        self.0.recorder.submit(Entry { spend, usage, ..Entry::of(draft) }, ticket.durability)
    }

    /// Settles a call that reached a provider.
    pub(super) fn finished(&self, ticket: &mut Ticket, outcome: Outcome) -> Option<Receipt> {
        let tokens = believed(outcome.tokens);
        let asked = outcome.choice.model(ticket.requested_model.as_deref()).unwrap_or_default().to_owned();
        let (cost, basis) = ticket.priced(&outcome.choice.provider, &asked, &tokens);
        settle_all(std::mem::take(&mut ticket.holds), cost + ticket.lost());
        let metrics = &self.0.metrics;
        metrics.call(&ticket.caller.tenant.id, &outcome.choice.provider.id, outcome.ending.status());
        ticket.caller.tenant.meter.used(&tokens, cost);
        rates::charge(&ticket.caller, &tokens, cost, self.0.clock.monotonic_ns());

        let mut draft = self.draft(ticket, invocation_type(ticket));
        let provider = &outcome.choice.provider;
        draft.status = outcome.ending.status().into();
        draft.failure_reason = outcome.ending.reason().map(Into::into);
        draft.audit_trail.output_hash = ContentHash(outcome.output_hash);
        draft.compliance.data_location = provider.region.clone().map_or(Cow::Borrowed(""), Cow::Owned);
        draft.execution = Execution {
            cost,
            cost_nano_usd: cost,
            error: outcome.ending.reason().map(Into::into),
            estimated_cost: Some(ticket.reserved.min(COST_MAX)),
            http_status: outcome.http_status,
            model_used: plain(outcome.model).map_or_else(|| Cow::Owned(asked.clone()), Cow::Owned),
            original_model: ticket.requested_model.clone().filter(|model| *model != asked).map(Cow::Owned),
            pricing_basis: basis.as_str().into(),
            pricing_known: basis.known(),
            provider: provider.id.clone().into(),
            tokens: tokens_of(&tokens),
            ttft_ms: outcome.ttft_ms,
            usage_estimated: outcome.estimated,
            ..draft.execution
        };
        draft.routing_decision =
            (outcome.choice.chain_position > 0 || outcome.choice.model.is_some()).then(|| RoutingDecision {
                post_request_cost: Some(cost),
                pre_request_estimate: Some(ticket.reserved.min(COST_MAX)),
                rejected_candidates: Vec::new(),
                selected_model: asked.clone().into(),
                selected_provider: provider.id.clone().into(),
            });
        self.credentials(ticket, &outcome.choice, &mut draft);
        self.groups(ticket, &mut draft, "fallback_decision");
        let failed = outcome.ending != Ending::Completed && outcome.ending != Ending::ClientGone;
        let tally = Tally { requests: true, calls: true, denied: false, failed };
        let spend = spend(ticket, tally, &tokens, cost);
        let usage = Some(usage(self.0.clock.now(), &draft, tally));
        let contents = Self::contents(ticket, &draft, outcome.answer.as_ref());
        self.attempts(ticket);
        self.0.recorder.submit(Entry { spend, usage, contents, ..Entry::of(draft) }, ticket.durability)
    }

    fn contents(ticket: &Ticket, draft: &Draft, answer: Option<&Bytes>) -> Vec<ContentRow> {
        let Some(key) = &ticket.content_key else { return Vec::new() };
        let kept = [("prompt", ticket.prompt.as_ref()), ("answer", answer)];
        let seal = |(kind, content): (&'static str, Option<&Bytes>)| {
            key.seal_content(ticket.caller.tenant.nid, &draft.id, kind, content?)
        };
        kept.into_iter().filter_map(seal).collect()
    }

    /// Every failed attempt that another one followed has a record of its own.
    fn attempts(&self, ticket: &Ticket) {
        for (number, failed) in (1_u32..).zip(&ticket.failed) {
            let mut draft = self.draft(ticket, "gateway_failover_attempt");
            draft.id = format!("{}_a{number}", ticket.request_id).into();
            draft.timestamp = failed.at;
            draft.status = "failed".into();
            draft.failure_reason = Some(failed.error_class.into());
            draft.execution.provider = failed.provider.id.clone().into();
            draft.execution.model_used = failed.model.clone().unwrap_or_default().into();
            draft.execution.http_status = failed.status;
            draft.execution.error = Some(failed.error_class.into());
            draft.execution.duration_ms = failed.duration_ms;
            draft.failover = Some(failover(ticket, "failed_attempt", number, failed));
            draft.retry_attempt = Some(number);
            // The call is counted by its own record.
            let tally = Tally { requests: false, calls: false, denied: false, failed: false };
            let spend =
                failed.lost.map(|lost| self.charge(ticket, &mut draft, tally, lost)).unwrap_or_default();
            let usage = failed.lost.map(|_| usage(self.0.clock.now(), &draft, tally));
            self.0.recorder.submit(Entry { spend, usage, ..Entry::of(draft) }, Durability::Relaxed);
        }
    }

    /// Tells the loss in a record, and returns what it adds to the ledger.
    fn charge(&self, ticket: &Ticket, draft: &mut Draft, tally: Tally, lost: Lost) -> Vec<SpendDelta> {
        let Lost { tokens, cost, basis } = lost;
        draft.execution.cost = cost;
        draft.execution.cost_nano_usd = cost;
        draft.execution.tokens = tokens_of(&tokens);
        draft.execution.usage_estimated = true;
        draft.execution.pricing_basis = basis.as_str().into();
        draft.execution.pricing_known = basis.known();
        ticket.caller.tenant.meter.used(&tokens, cost);
        rates::charge(&ticket.caller, &tokens, cost, self.0.clock.monotonic_ns());
        spend(ticket, tally, &tokens, cost)
    }

    /// Ties a call that had failed attempts to them.
    fn groups(&self, ticket: &Ticket, draft: &mut Draft, role: &'static str) {
        if let (Some(last), Ok(count)) = (ticket.failed.last(), u32::try_from(ticket.failed.len())) {
            let mut failover = failover(ticket, role, count + 1, last);
            failover.error_class = None;
            failover.upstream_status = None;
            draft.failover = Some(failover);
        }
    }

    fn credentials(&self, ticket: &Ticket, choice: &Choice, draft: &mut Draft) {
        let provider = &choice.provider;
        draft.upstream_auth_mode = Some(match provider.auth {
            UpstreamAuth::Secret => "secret".into(),
            UpstreamAuth::ClientBearer => "client_bearer".into(),
        });
        draft.upstream_key_source = ticket.key_source.map(Into::into);
        draft.upstream_key_fingerprint = ticket.key_fingerprint.clone().map(Into::into);
        // Reserved for reads of our own secrets: stays empty for a key that the client brought (seed 002).
        if provider.auth == UpstreamAuth::Secret && ticket.key_source.is_some() {
            draft.secrets_accessed =
                provider.secret_name.iter().map(|name| Cow::Owned(name.clone())).collect();
        }
    }

    fn draft(&self, ticket: &Ticket, invocation_type: &'static str) -> Draft {
        draft::draft(ticket, invocation_type, elapsed_ms(self.0.clock.as_ref(), ticket.started_ns))
    }
}

/// How a call counts.
#[derive(Clone, Copy)]
struct Tally {
    /// It is a client's request, and not one attempt of it.
    requests: bool,
    /// It reached a provider.
    calls: bool,
    denied: bool,
    failed: bool,
}

/// What a call adds to the ledger: its caller's day, the organisation's where that has a budget, and its session.
fn spend(ticket: &Ticket, tally: Tally, tokens: &TokenCounts, cost: NanoUsd) -> Vec<SpendDelta> {
    let caller = &ticket.caller;
    let delta = |nid, owner, window: &str| SpendDelta {
        nid,
        owner,
        window: window.to_owned(),
        calls: u64::from(tally.calls),
        denied: u64::from(tally.denied),
        failed: u64::from(tally.failed),
        tokens: *tokens,
        cost,
    };
    let windows = caller.tenant.clock.at(ticket.at);
    let mut deltas = vec![delta(caller.tenant.nid, Owner::Caller(caller.name.clone()), &windows.day)];
    if let Some(clock) = &ticket.snapshot.organization_clock {
        deltas.push(delta(Nid::SYSTEM, Owner::Organization, &clock.at(ticket.at).day));
    }
    if let Some(id) = &ticket.session_id {
        let owner = Owner::Session { caller: caller.name.clone(), id: id.clone() };
        deltas.push(delta(caller.tenant.nid, owner, SESSION_WINDOW));
    }
    if let Some((id, _)) = caller.key.as_ref().and_then(UsedKey::token_budget) {
        deltas.push(delta(caller.tenant.nid, Owner::Token(id.to_owned()), SESSION_WINDOW));
    }
    deltas
}

/// What a record counts as: one row of the usage ledger, with the very tokens and cost of the record (decision 22). It is
/// counted when it ends, which is before its month is closed, however long ago it began.
fn usage(ended: Timestamp, draft: &Draft, tally: Tally) -> UsageDelta {
    let Execution { provider, model_used, tokens, cost, duration_ms, .. } = &draft.execution;
    // What was asked for, and never of anybody, is whatever a client writes.
    let model = if provider.is_empty() { "" } else { model_used };
    let served = tally.requests && draft.status == Ending::Completed.status();
    UsageDelta {
        key: UsageKey::new(draft.nid, Hour::of(ended), UsageKind::Llm, [&draft.agent_id, provider, model]),
        sums: UsageSums {
            requests: u64::from(tally.requests),
            denied: u64::from(tally.denied),
            failed: u64::from(tally.failed),
            units: 0,
            tokens: counts_of(tokens),
            cost: *cost,
            latency: if served { Latency::one(*duration_ms) } else { Latency::default() },
        },
    }
}

/// A model name as a provider tells it, unless it holds what a column or a terminal cannot.
fn plain(model: Option<String>) -> Option<String> {
    model.filter(|model| !model.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use bh_domain::time::SECOND_MS;
    use bh_domain::webhook::Month;

    use super::*;
    use crate::evidence::tests::house;

    #[test]
    fn a_call_is_counted_in_the_month_in_which_it_ends() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        let began = at("2026-10-31T23:59:59.999Z");
        let draft = Draft { timestamp: began, ..house::draft("acme", Nid::SYSTEM, 1) };
        let served = Tally { requests: true, calls: true, denied: false, failed: false };
        let month = |ended| {
            let UsageDelta { key, sums } = usage(ended, &draft, served);
            assert_eq!((sums.requests, sums.cost), (1, draft.execution.cost), "once, and whole");
            Month::of(Timestamp(key.hour.0 * 3_600 * SECOND_MS)).to_string()
        };
        assert_eq!(month(began), "2026-10");
        assert_eq!(month(at("2026-11-01T00:00:00Z")), "2026-11", "as its end is");
        assert_eq!(month(at("2026-11-01T02:00:00Z")), "2026-11", "when October has been closed");
    }
}
