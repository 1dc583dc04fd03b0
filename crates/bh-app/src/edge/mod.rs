//! The edge proxy: a key server's answers, kept near those who ask (Talos dossier §4.7).
//!
//! What is kept answers the very same question only: asked of the same host, by the same asker, from the same address,
//! with the same body and headers. A verdict is kept when it is good and nothing in it counts. So the one thing that a
//! kept verdict may miss is a change, for as long as it is kept.

mod kept;

use std::sync::Arc;
use std::time::Duration;

use bh_domain::refusal::{Code, Refusal};
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Method, Uri};
use http_body_util::{BodyExt as _, Empty};
use quick_cache::Weighter;
use quick_cache::sync::Cache;

pub use kept::{Asked, Fingerprint, Kept};

use crate::metrics::EdgeMetrics;
use crate::ports::{
    Attempt, Clock, ProviderBody, ProviderRequest, ProviderResponse, SendFault, SendFaultKind, Upstream,
};

/// How long a connection to the upstream may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long a verdict, or a probe, may take.
const VERDICT_WITHIN: Duration = Duration::from_secs(10);
/// How long the head of any other answer may take: among these are calls of models.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
const ALIVE: &str = "/health/alive";

/// Where the key server is: scheme and authority.
#[derive(Clone, Debug)]
pub struct Target {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
}

/// A target that is no bare `http://host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected http://HOST:PORT or https://HOST:PORT, without a path and without credentials")]
pub struct TargetError;

impl Target {
    /// Reads `http://host:port`.
    ///
    /// # Errors
    /// [`TargetError`] for everything else.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let parts = text.parse::<Uri>().map_err(|_| TargetError)?.into_parts();
        let bare = parts.path_and_query.is_none_or(|path| path == "/");
        match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority))
                if bare
                    && (scheme == Scheme::HTTP || scheme == Scheme::HTTPS)
                    && !authority.as_str().contains('@') =>
            {
                Ok(Self { scheme, authority })
            }
            _ => Err(TargetError),
        }
    }

    fn uri(&self, path: PathAndQuery) -> Result<Uri, http::Error> {
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        builder.path_and_query(path).build()
    }
}

/// How much is kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct EdgeLimits {
    /// The longest time a verdict is kept; zero keeps none.
    pub ttl: Duration,
    /// Bytes of all that is kept.
    pub bytes_max: u64,
    /// Verdicts that room is made for beforehand.
    pub entries: usize,
}

/// What an edge proxy is built from.
pub struct EdgeParts {
    /// The key server.
    pub target: Target,
    /// The way there.
    pub upstream: Arc<dyn Upstream>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<EdgeMetrics>,
    /// How much is kept.
    pub limits: EdgeLimits,
}

impl std::fmt::Debug for EdgeParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeParts").finish_non_exhaustive()
    }
}

/// A request on its way to the key server.
#[derive(Debug)]
pub struct Passed {
    /// Method.
    pub method: Method,
    /// Path and query, as they came.
    pub path: PathAndQuery,
    /// Headers, those of the connection taken out.
    pub headers: HeaderMap,
    /// Body.
    pub body: ProviderBody,
    /// Whether a verdict is asked for, which has to come soon.
    pub verdict: bool,
}

/// The edge proxy.
#[derive(Clone)]
pub struct EdgeStory(Arc<Inner>);

struct Inner {
    parts: EdgeParts,
    kept: Cache<Fingerprint, Arc<Kept>, Bytesize>,
}

impl std::fmt::Debug for EdgeStory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EdgeStory").finish_non_exhaustive()
    }
}

/// What an entry weighs: its bytes.
#[derive(Clone, Copy, Debug)]
struct Bytesize;

impl Weighter<Fingerprint, Arc<Kept>> for Bytesize {
    fn weight(&self, _: &Fingerprint, kept: &Arc<Kept>) -> u64 {
        kept.bytes
    }
}

impl EdgeStory {
    /// An edge proxy.
    #[must_use]
    pub fn new(parts: EdgeParts) -> Self {
        let kept = Cache::with_weighter(parts.limits.entries, parts.limits.bytes_max, Bytesize);
        Self(Arc::new(Inner { parts, kept }))
    }

    /// Time.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.parts.clock
    }

    /// Counters.
    #[must_use]
    pub fn metrics(&self) -> &EdgeMetrics {
        &self.0.parts.metrics
    }

    /// What is kept of an answer to this question.
    #[must_use]
    pub fn known(&self, asked: &Fingerprint) -> Option<Arc<Kept>> {
        let kept = self.0.kept.get(asked)?;
        if kept.holds(self.clock()) {
            return Some(kept);
        }
        self.0.kept.remove(asked);
        None
    }

    /// Keeps an answer, if it is one that may be kept. `asked_ns` is when it was asked for: what happened since may
    /// not be in it.
    pub fn keep(&self, asked: Fingerprint, asked_ns: u64, answer: &http::Response<Bytes>) {
        let limits = &self.0.parts.limits;
        if let Some(kept) = Kept::of(answer, limits.ttl, asked_ns, self.clock()) {
            self.0.kept.insert(asked, Arc::new(kept));
        }
    }

    /// Forgets what is kept of an answer to this question.
    pub fn forget(&self, asked: &Fingerprint) {
        self.0.kept.remove(asked);
    }

    /// Passes a request on and waits for the head of the answer.
    ///
    /// # Errors
    /// `upstream_unreachable`, `upstream_timeout`; `invalid_request` for a target no URL can name, or a body that broke
    /// off.
    pub async fn pass_on(&self, passed: Passed) -> Result<ProviderResponse, Refusal> {
        let Passed { method, path, headers, body, verdict } = passed;
        let parts = &self.0.parts;
        let uri = parts.target.uri(path).map_err(|_| {
            Refusal::new(Code::InvalidRequest, "The request's target is not one that can be passed on")
        })?;
        let header_timeout = if verdict { VERDICT_WITHIN } else { ANSWER_WITHIN };
        let attempt = Attempt { connect_timeout: CONNECT_WITHIN, header_timeout, private_network: true };
        let begun_ns = parts.clock.monotonic_ns();
        let answer = parts.upstream.send(ProviderRequest { method, uri, headers, body, attempt }).await;
        let ns = parts.clock.monotonic_ns().saturating_sub(begun_ns);
        match answer {
            Ok(answer) => {
                parts.metrics.passed_on(answer.status.as_str(), ns);
                Ok(answer)
            }
            Err(fault) => {
                parts.metrics.passed_on(fault.kind.as_str(), ns);
                Err(refusal(&fault))
            }
        }
    }

    /// Whether the key server lives.
    pub async fn upstream_lives(&self) -> bool {
        let passed = Passed {
            method: Method::GET,
            path: PathAndQuery::from_static(ALIVE),
            headers: HeaderMap::new(),
            body: Empty::new().map_err(|never| match never {}).boxed_unsync(),
            verdict: true,
        };
        self.pass_on(passed).await.is_ok_and(|answer| answer.status.is_success())
    }
}

fn refusal(fault: &SendFault) -> Refusal {
    let unreachable =
        || Refusal::new(Code::UpstreamUnreachable, "The key server cannot be reached; try again");
    if fault.kind != SendFaultKind::CallerBody {
        tracing::warn!(error = fault as &dyn std::error::Error, "the key server did not answer");
    }
    match fault.kind {
        SendFaultKind::Timeout => {
            Refusal::new(Code::UpstreamTimeout, "The key server did not answer in time; try again")
        }
        SendFaultKind::Connect | SendFaultKind::Forbidden => unreachable().retry_after(1),
        SendFaultKind::Broken => unreachable(),
        SendFaultKind::CallerBody => Refusal::new(Code::InvalidRequest, "The body broke off before its end"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_and_an_authority() {
        for good in ["http://127.0.0.1:4420", "https://keys.example.com/", "http://[::1]:80"] {
            assert!(Target::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "keys:4420", "/x", "ftp://a", "http://a/b", "http://a?b", "http://u:p@a", "http://"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
