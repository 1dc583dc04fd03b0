//! The edge proxy's door (Talos dossier §4.7): a key server's answers to `apiKeys:verify` are given again from memory;
//! everything else is passed on as it came.

mod body;
mod inside;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bh_app::edge::{Asked, EdgeStory, Fingerprint, Kept, Passed};
use bh_app::hosts;
use bh_app::ports::{ProviderBody, ProviderResponse};
use bh_domain::hostname::{HostPattern, HostTable};
use bh_domain::refusal::{Code, Refusal};
use bh_wire::headers::end_to_end;
use bytes::Bytes;
use http::header::{EXPECT, FORWARDED, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::keys::{ApiHeaders, CACHE_USE, is_bypass};
use crate::respond::{self, Dialect};
use crate::serve::Answers;

use body::Questions;

pub use inside::EdgeInside;

const VERIFY: &str = "/apiKeys:verify";
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What proxies say of the client beside `X-Forwarded-For`. This proxy has not seen it, and cannot know who wrote it.
const SAID_OF_CLIENT: [HeaderName; 4] = [
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("true-client-ip"),
];
const HIT: HeaderValue = HeaderValue::from_static("HIT");
const MISS: HeaderValue = HeaderValue::from_static("MISS");

/// Which hosts an edge proxy serves.
#[derive(Debug, Default)]
pub struct EdgeHosts {
    /// Whether `X-Forwarded-Host` says which host is meant, rather than `Host`.
    pub trust_forwarded: bool,
    /// The hosts that are served; without any, all are.
    allowed: HostTable<()>,
}

impl EdgeHosts {
    /// These hosts; without any, all.
    #[must_use]
    pub fn new(trust_forwarded: bool, allowed: impl IntoIterator<Item = HostPattern>) -> Self {
        let mut hosts = Self { trust_forwarded, allowed: HostTable::default() };
        for pattern in allowed {
            hosts.allowed.insert(pattern, ());
        }
        hosts
    }

    fn allow(&self, host: Option<&[u8]>) -> bool {
        self.allowed.is_empty() || host.is_some_and(|host| self.allowed.find(host).is_some())
    }
}

/// The main listener of an edge proxy.
#[derive(Clone, Debug)]
pub struct Edge {
    story: EdgeStory,
    hosts: Arc<EdgeHosts>,
    questions: Arc<Questions>,
}

impl Answers for Edge {
    async fn answer(&self, request: Request<Body>, peer: IpAddr) -> Response {
        let headers = ApiHeaders::for_request(request.headers());
        self.answered(request, peer).await.unwrap_or_else(|refusal| {
            let now = self.story.clock().now();
            let mut response = respond::refusal(&refusal, Dialect::Aip193, "", now);
            headers.write(response.headers_mut());
            response
        })
    }
}

/// A request whose head is ready to go on.
struct Onward {
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
}

impl Edge {
    /// The door of an edge proxy.
    #[must_use]
    pub fn new(story: EdgeStory, hosts: EdgeHosts) -> Self {
        Self { story, hosts: Arc::new(hosts), questions: Arc::default() }
    }

    async fn answered(&self, request: Request<Body>, peer: IpAddr) -> Result<Response, Refusal> {
        let (parts, body) = request.into_parts();
        let begun_ns = self.story.clock().monotonic_ns();
        let host = self.host(&parts)?.map(Cow::into_owned);
        let onward = onward(&parts, host.as_deref(), peer)?;
        if parts.method != Method::POST || !parts.uri.path().ends_with(VERIFY) {
            return self.passed_on(onward, body).await;
        }
        let body = self.questions.read(&parts.headers, body).await?;
        let asked = Asked {
            host: host.as_deref().unwrap_or_default(),
            path: onward.path.as_str(),
            peer,
            // As they came: what this proxy adds is the host and the peer, which are there already.
            headers: &end_to_end(&parts.headers),
            body: &body,
        };
        let asked = asked.fingerprint();
        if is_bypass(&parts.headers) {
            let answer = self.asked(onward, body).await?;
            // Whoever wants it fresh has reason to: what was kept before is nobody's answer any more.
            self.story.forget(&asked);
            return Ok(answer.map(Body::from));
        }
        let (response, cached) = match self.story.known(&asked) {
            Some(kept) => (again(&kept, &parts.headers), true),
            None => (self.asked_and_kept(asked, onward, body).await?, false),
        };
        let metrics = self.story.metrics();
        if cached {
            metrics.hits.inc()
        } else {
            metrics.misses.inc()
        };
        metrics.verified(cached, self.story.clock().monotonic_ns().saturating_sub(begun_ns));
        Ok(response)
    }

    /// The host that is asked, if this proxy serves it.
    fn host<'r>(&self, parts: &'r Parts) -> Result<Option<Cow<'r, [u8]>>, Refusal> {
        let named = hosts::named(&parts.uri, parts.version, &parts.headers, self.hosts.trust_forwarded)
            .map_err(|_| {
                Refusal::new(Code::InvalidRequest, "The request needs exactly one host, named once or alike")
            })?;
        if self.hosts.allow(named) {
            return Ok(named.map(Cow::Borrowed));
        }
        Err(Refusal::new(Code::Forbidden, "This proxy does not serve this host"))
    }

    async fn passed_on(&self, onward: Onward, body: Body) -> Result<Response, Refusal> {
        let bounded = body::Bounded::new(body, &onward.headers)?;
        let (body, too_large) = bounded.into_parts();
        let Onward { method, path, headers } = onward;
        let passed = Passed { method, path, headers, body, verdict: false };
        match self.story.pass_on(passed).await {
            Ok(answer) => Ok(passed_back(answer)),
            Err(refusal) => Err(too_large.refusal().unwrap_or(refusal)),
        }
    }

    /// Asks the key server for a verdict, and keeps it where that is right.
    async fn asked_and_kept(
        &self,
        asked: Fingerprint,
        onward: Onward,
        body: Bytes,
    ) -> Result<Response, Refusal> {
        let asked_ns = self.story.clock().monotonic_ns();
        let mut answer = self.asked(onward, body).await?;
        self.story.keep(asked, asked_ns, &answer);
        if answer.status() == StatusCode::OK {
            answer.headers_mut().insert(CACHE_USE, MISS);
        }
        Ok(answer.map(Body::from))
    }

    async fn asked(&self, onward: Onward, body: Bytes) -> Result<http::Response<Bytes>, Refusal> {
        let Onward { method, path, headers } = onward;
        let body: ProviderBody = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let answer = self.story.pass_on(Passed { method, path, headers, body, verdict: true }).await?;
        let mut response = http::Response::new(body::of_answer(answer.body).await?);
        *response.status_mut() = answer.status;
        *response.headers_mut() = end_to_end(&answer.headers);
        Ok(response)
    }
}

/// The head of a request as it goes on. The key server sees the host that this proxy has decided on, under every name a
/// host may have, or the two might not mean the same tenant; and from where the request came.
fn onward(parts: &Parts, host: Option<&[u8]>, peer: IpAddr) -> Result<Onward, Refusal> {
    let unreadable =
        || Refusal::new(Code::InvalidRequest, "The request's target is not one that can be passed on");
    let path = parts.uri.path_and_query().cloned().ok_or_else(unreadable)?;
    let mut headers = end_to_end(&parts.headers);
    headers.remove(EXPECT);
    headers.remove(FORWARDED_HOST);
    SAID_OF_CLIENT.iter().for_each(|name| drop(headers.remove(name)));
    if let Some(host) = host {
        let host = HeaderValue::from_bytes(host).map_err(|_| unreadable())?;
        headers.insert(HOST, host.clone());
        headers.insert(FORWARDED_HOST, host);
    }
    let peer = HeaderValue::try_from(peer.to_canonical().to_string()).map_err(|_| unreadable())?;
    headers.append(FORWARDED_FOR, peer);
    Ok(Onward { method: parts.method.clone(), path, headers })
}

/// An answer as it came.
fn passed_back(answer: ProviderResponse) -> Response {
    let mut response = Response::new(Body::new(answer.body));
    *response.status_mut() = answer.status;
    *response.headers_mut() = end_to_end(&answer.headers);
    response
}

/// A kept answer, for this request.
fn again(kept: &Kept, request: &HeaderMap) -> Response {
    let mut response = Response::new(Body::from(kept.body.clone()));
    *response.headers_mut() = kept.headers.clone();
    let headers = response.headers_mut();
    headers.insert(CACHE_USE, HIT);
    ApiHeaders::for_request(request).write(headers);
    response
}
