//! An LLM call, from the door to the settled record.
//!
//! The order is one function, [`LlmStory::call`], and the stages are types: only [`admit`] makes an `Admitted`,
//! [`send`] takes one, and dropping it releases what it holds.

mod admit;
mod answer;
mod azure;
mod body;
mod catalog;
mod close;
mod draft;
mod read;
mod route;
mod send;
mod target;
mod ticket;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bh_domain::limit::RateVerdict;
use bh_domain::refusal::{Code, Refusal};
use bh_wire::Family;
use bh_wire::family::Endpoint;
use http::{HeaderMap, Method, Response};

pub use answer::AnswerBody;
pub use catalog::{ModelEntry, models};

use crate::budgets::BudgetKeeper;
use crate::hosts::{Host, confirm_host};
use crate::identity::{Gate, Knock};
use crate::metrics::Metrics;
use crate::ports::{Clock, Entropy, ProviderBody, Tokenizer, Upstream};
use crate::rates::Counted;
use crate::recorder::Recorder;
use crate::snapshot::{Caller, OnFailure, Snapshot};
use crate::vault::Vault;
use close::{Closer, Ending};
use send::Sent;
use ticket::{OpenCall, Ticket};

/// Which door a call came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `/v1/proxy/{provider}/{rest}`.
    Proxy {
        /// Provider id, as in the path.
        provider: String,
        /// The provider's own path, with its leading slash, as the client wrote it.
        rest: String,
    },
    /// A governed native route; the model decides the provider.
    Native(Endpoint),
    /// The host root under `serve --proxy-quickstart` (seed 002).
    Quickstart(Endpoint),
}

/// A call as the door hands it over.
#[derive(Debug)]
pub struct Inbound {
    /// Which door.
    pub entry: Entry,
    /// The configuration that holds for it, to its end.
    pub snapshot: Arc<Snapshot>,
    /// Where it is addressed to.
    pub host: Host,
    /// Method.
    pub method: Method,
    /// Path as the client wrote it, for per-route settings.
    pub path: String,
    /// Query string, without `?`.
    pub query: Option<String>,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: ProviderBody,
    /// The peer's address.
    pub peer: IpAddr,
    /// Names the request everywhere.
    pub request_id: String,
    /// When the head arrived, on the monotonic clock.
    pub started_ns: u64,
}

/// A call that was refused, with what the door needs to say so.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub refusal: Box<Refusal>,
    /// In whose envelope.
    pub family: Family,
    /// The session to echo.
    pub session_id: Option<String>,
}

/// A call that got an answer from a provider.
#[derive(Debug)]
pub struct Answered {
    /// Head and metered body.
    pub response: Response<AnswerBody>,
    /// The tightest limit, for the answer's headers.
    pub rate: Option<RateVerdict>,
    /// Gateway time until here, provider time excluded, in microseconds.
    pub overhead_us: u64,
    /// The session to echo.
    pub session_id: Option<String>,
}

/// The LLM data plane.
#[derive(Clone)]
pub struct LlmStory(Arc<Parts>);

/// What the data plane is built from.
pub struct Parts {
    /// Who is calling.
    pub gate: Gate,
    /// Budgets.
    pub budgets: BudgetKeeper,
    /// Evidence.
    pub recorder: Recorder,
    /// Providers.
    pub upstream: Arc<dyn Upstream>,
    /// Exact token counts.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// Has the keys that seal prompts and answers, where they are kept.
    pub vault: Vault,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Chance, for backoff.
    pub entropy: Arc<dyn Entropy>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether the gateway is cutting off what has not ended in time (false at first).
    pub cutting: AtomicBool,
    /// Whether the gateway takes no new work because it is to end (false at first).
    pub stopping: AtomicBool,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for LlmStory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LlmStory").finish_non_exhaustive()
    }
}

impl Parts {
    /// What ended a call that is dropped before its end.
    fn dropped(&self) -> Ending {
        if self.cutting.load(Ordering::Acquire) { Ending::GatewayStopped } else { Ending::ClientGone }
    }
}

impl LlmStory {
    /// The story, from its parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// Serves one call.
    ///
    /// # Errors
    /// [`Refused`] with the reason; everything refused after the caller is known is on the record.
    pub async fn call(&self, inbound: Inbound) -> Result<Answered, Refused> {
        let parts = &self.0;
        let snapshot = Arc::clone(&inbound.snapshot);
        let family = envelope_family(&snapshot, &inbound);
        let refused = |refusal| Refused { refusal: Box::new(refusal), family, session_id: None };

        if self.stopping() {
            return Err(refused(shutting_down()));
        }
        let knock = Knock {
            host: &inbound.host,
            headers: &inbound.headers,
            address: snapshot.client_address(inbound.peer, &inbound.headers),
            method: &inbound.method,
            path: &inbound.path,
        };
        let caller = verify(parts, &snapshot, &inbound.entry, knock).await.map_err(refused)?;
        let ticket = Ticket::new(parts, snapshot, caller, &inbound);
        let mut open = OpenCall::new(ticket, Closer::new(Arc::clone(parts)));
        let session_id = open.ticket().session_id.clone();
        match self.governed(open.ticket_mut(), inbound).await {
            Ok((sent, rate)) => answer::meter(parts, open, sent, rate).await.map_err(|refusal| Refused {
                refusal: Box::new(refusal),
                family,
                session_id,
            }),
            Err(refusal) => {
                open.refuse(&refusal).await;
                Err(Refused { refusal: Box::new(refusal), family, session_id })
            }
        }
    }

    async fn governed(
        &self,
        ticket: &mut Ticket,
        inbound: Inbound,
    ) -> Result<(Sent, Option<RateVerdict>), Refusal> {
        let parts = &self.0;
        // The limit comes before the body: a flood costs neither memory nor parsing.
        let counted = Counted::Call(&ticket.snapshot);
        let rate = parts.gate.count(counted, &ticket.caller).await?;
        parts.recorder.accepting()?;
        let asked = read::read(ticket, inbound).await?;
        if ticket.snapshot.evidence.keeps_content() {
            // Boxed: or each call would keep room for what few need.
            Box::pin(content_key(parts, ticket)).await?;
        }
        let plan = route::candidates(ticket, &asked)?;
        // Reserve before sending: candidates may have different prices, so the dearest is held.
        let admitted = admit::admit(parts, ticket, asked, plan).await?;
        let sent = send::send(parts, ticket, admitted).await?;
        Ok((sent, rate))
    }

    /// From now on no work is begun: what runs may finish.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether the gateway is about to end.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// From now on a call that is dropped was cut off by the gateway's own stop, and not left by its client.
    pub fn cut_off(&self) {
        self.0.cutting.store(true, Ordering::Release);
    }

    /// The models a caller may ask for (`/v1/models`), and the tightest of its limits.
    ///
    /// # Errors
    /// Those of [`Gate::data_plane_caller`] and [`Gate::count`].
    pub async fn models(
        &self,
        snapshot: &Snapshot,
        knock: Knock<'_>,
    ) -> Result<(Vec<ModelEntry>, Option<RateVerdict>), Refusal> {
        if self.stopping() {
            return Err(shutting_down());
        }
        let gate = &self.0.gate;
        let caller = gate.data_plane_caller(snapshot, knock).await?;
        let rate = gate.count(Counted::Door, &caller).await?;
        Ok((models(snapshot, &caller), rate))
    }
}

/// What is told to work that comes too late: another process takes it, or this one when it is back.
#[must_use]
pub fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "The gateway is being stopped and begins nothing new; try again")
        .retry_after(1)
}

/// Has the key at hand that seals what is kept of a call: its end waits for nobody.
async fn content_key(parts: &Parts, ticket: &mut Ticket) -> Result<(), Refusal> {
    match parts.vault.content_key(ticket.caller.tenant.nid).await {
        Ok(key) => ticket.content_key = Some(key),
        Err(refusal) if ticket.snapshot.evidence.on_failure == OnFailure::Degrade => {
            tracing::warn!(reason = refusal.message, "a prompt is not kept: there is no key to seal it with");
        }
        Err(refusal) => return Err(refusal),
    }
    Ok(())
}

async fn verify(
    parts: &Parts,
    snapshot: &Snapshot,
    entry: &Entry,
    knock: Knock<'_>,
) -> Result<Arc<Caller>, Refusal> {
    if let Entry::Quickstart(_) = entry {
        let unset = || Refusal::new(Code::NotFound, "The quickstart is not being served");
        let tenant = knock.host.tenant()?;
        let caller = &snapshot.quickstart.as_ref().ok_or_else(unset)?.caller;
        confirm_host(tenant, caller)?;
        return Ok(Arc::clone(caller));
    }
    parts.gate.data_plane_caller(snapshot, knock).await
}

/// In whose envelope errors of this call are told: the provider's, or where the provider is unknown, the path's.
fn envelope_family(snapshot: &Snapshot, inbound: &Inbound) -> Family {
    let by_headers = || match inbound.headers.contains_key("anthropic-version") {
        true => Family::Anthropic,
        false => Family::OpenAi,
    };
    match &inbound.entry {
        Entry::Proxy { provider, rest } => {
            let known = snapshot.providers.get(provider).map(|provider| provider.family);
            let by_path = || Endpoint::classify(&inbound.method, rest).ok().and_then(Endpoint::family);
            known.or_else(by_path).unwrap_or_else(by_headers)
        }
        Entry::Native(endpoint) | Entry::Quickstart(endpoint) => endpoint.family().unwrap_or_else(by_headers),
    }
}

/// Whole milliseconds since an instant of the monotonic clock.
pub(crate) fn elapsed_ms(clock: &dyn Clock, since_ns: u64) -> u64 {
    clock.monotonic_ns().saturating_sub(since_ns) / 1_000_000
}
