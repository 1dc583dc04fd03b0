//! Tenants, clock, chance, tokenisers and providers.

use std::fmt;
use std::time::Duration;

use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;

use super::{BoxFuture, Holder, StoreResult};

/// A tenant as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    /// Network id.
    pub nid: Nid,
    /// Slug.
    pub id: TenantId,
}

/// Tenants and the installation's own facts.
pub trait TenantStore: Send + Sync + 'static {
    /// The rows of these tenants, created where missing with the proposed network id. Replicas that race get
    /// the same rows.
    fn ensure_tenants(&self, proposed: Vec<TenantRow>) -> StoreResult<Vec<TenantRow>>;
    /// All tenants, by slug. System jobs and operators only.
    fn tenants_everywhere(&self, scope: Scope) -> StoreResult<Vec<TenantRow>>;
    /// A fact about the installation, kept once: writes `value` if there is none, and returns what is stored.
    fn remember(&self, name: &'static str, value: String) -> StoreResult<String>;
    /// Takes a job that only one process of an installation is to do at a time, from `now` until an instant; returns
    /// false while another process has it. Taken again it is kept for longer; until [`Timestamp`] 0, it is let go.
    fn claim(&self, job: &'static str, holder: Holder, now: Timestamp, until: Timestamp)
    -> StoreResult<bool>;
    /// Removes what nothing reads any more: budget windows, and leases in them, of days before `day` (`2026-11-21`) and
    /// of months before its month, changes of dead processes that were last seen before `seen`, and those processes that
    /// have no lease left. Returns the number of rows.
    fn forget_dead(&self, day: String, seen: Timestamp) -> StoreResult<u64>;
    /// Whether the database answers and its schema is the expected one.
    fn ping(&self) -> StoreResult<()>;
    /// How many connections there are now.
    fn connections(&self) -> Connections;
}

/// Connections to the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// All there are.
    pub open: u32,
    /// Those of them that wait for something to do.
    pub idle: u32,
    /// The most there may be.
    pub max: u32,
}

/// The wall clock and a monotonic one.
pub trait Clock: Send + Sync + 'static {
    /// Now, for records.
    fn now(&self) -> Timestamp;
    /// Nanoseconds since an arbitrary start that never go back, for limits and durations.
    fn monotonic_ns(&self) -> u64;
}

/// Chance.
pub trait Entropy: Send + Sync + 'static {
    /// Fills a buffer.
    fn fill(&self, bytes: &mut [u8]);
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts the monotonic clock. It starts at an hour, so that "an hour ago" is never negative.
    #[must_use]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

const MONOTONIC_START: Duration = Duration::from_secs(3_600);

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from((self.start.elapsed() + MONOTONIC_START).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The operating system's random numbers.
#[derive(Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        // aws-lc's generator fails only when the operating system has no entropy at all; going on with
        // predictable ids or jitter is harmless, and keys are made through `aws_lc_rs` directly, which checks.
        if aws_lc_rs::rand::fill(bytes).is_err() {
            bytes.copy_from_slice(
                &uuid::Uuid::now_v7().as_bytes().repeat(bytes.len() / 16 + 1)[..bytes.len()],
            );
        }
    }
}

/// Counts tokens exactly, for the model families whose tokeniser is public.
pub trait Tokenizer: Send + Sync + 'static {
    /// Tokens of `text` for `model`; `None` when no tokeniser for that model is known.
    fn count(&self, model: &str, text: &str) -> Option<u64>;
}

/// A body on its way to or from a provider.
pub type ProviderBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// One request to a provider.
#[derive(Debug)]
pub struct ProviderRequest {
    /// Method.
    pub method: Method,
    /// Absolute URI.
    pub uri: Uri,
    /// Headers, provider credential included.
    pub headers: HeaderMap,
    /// Body.
    pub body: ProviderBody,
    /// Time limits and egress rules of this provider.
    pub attempt: Attempt,
}

/// Limits for one attempt at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Until connected.
    pub connect_timeout: Duration,
    /// From the request's start to the answer's head.
    pub header_timeout: Duration,
    /// Whether loopback, private and link-local addresses are allowed for this provider.
    pub private_network: bool,
}

/// A provider's answer: head read, body still arriving.
#[derive(Debug)]
pub struct ProviderResponse {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: ProviderBody,
}

/// The client's body could not be read to its end: too large, too slow, or cut off. Raised inside a request body, so
/// that the fault is not blamed on the provider.
#[derive(Debug, thiserror::Error)]
#[error("the client's body could not be read: {0}")]
pub struct CallerBodyBroken(pub String);

/// What kind of fault kept a provider from answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendFaultKind {
    /// Name resolution, connection or TLS failed: the request was not sent.
    Connect,
    /// The address is not one this provider may have.
    Forbidden,
    /// No answer in time.
    Timeout,
    /// The connection broke after the request went out.
    Broken,
    /// The client's own body could not be read to its end.
    CallerBody,
}

impl SendFaultKind {
    /// The word used in evidence (`failover.error_class`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect_error",
            Self::Forbidden => "egress_forbidden",
            Self::Timeout => "timeout",
            Self::Broken => "connection_broken",
            Self::CallerBody => "caller_body",
        }
    }
}

/// A provider that did not answer.
#[derive(Debug)]
pub struct SendFault {
    /// What kind.
    pub kind: SendFaultKind,
    /// The cause, for the log.
    pub cause: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for SendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "provider did not answer ({})", self.kind.as_str())
    }
}

impl std::error::Error for SendFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// The way to the providers.
pub trait Upstream: Send + Sync + 'static {
    /// Sends one request and waits for the head of the answer.
    fn send(&self, request: ProviderRequest) -> BoxFuture<'static, Result<ProviderResponse, SendFault>>;
}
