//! A client of MCP servers over streamable HTTP. Sessions are kept while a server keeps them; one that it has forgotten is
//! begun again, once, since what was asked in it was not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::webhook::retry_after;
use bh_wire::mcp::{self, Answer, AnswerError, AnswerReader, Initialized, RpcError, ToolPage};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::ports::{
    Attempt, Clock, ProviderBody, ProviderRequest, ProviderResponse, SendFault, SendFaultKind, Upstream,
};
use crate::snapshot::McpSettings;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const NAME: &str = "bulkhead";
const NAME_VERSION: &str = env!("CARGO_PKG_VERSION");
const AGENT: &str = concat!("Bulkhead-MCP/", env!("CARGO_PKG_VERSION"));
const BOTH_FORMS: &str = "application/json, text/event-stream";
/// The largest answer that is read.
pub(super) const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Sessions that are kept; the others begin anew.
const SESSIONS_MAX: usize = 10_000;
/// Pages of tools that are asked for.
const PAGES_MAX: usize = 50;
/// Tools of one server.
pub(super) const TOOLS_MAX: usize = 1_000;
/// Characters of a server's own words that are repeated.
const WORDS_MAX: usize = 300;

/// A server to be asked.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Whose.
    pub(super) nid: Nid,
    /// Which deployment of it.
    pub(super) deployment: Uuid,
    /// Where.
    pub(super) uri: Uri,
    /// What it is shown, marked as sensitive.
    pub(super) authorization: Option<HeaderValue>,
}

/// Why a server did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientFault {
    #[error("its address is loopback, private or link-local: set `mcp.allow_private_network` to allow that")]
    Forbidden,
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer within `mcp.timeout_ms`")]
    Timeout,
    #[error("it answered {0}: it wants another credential, or one at all")]
    Unauthorized(u16),
    #[error("it answered 429: too many requests")]
    Busy(Option<Duration>),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it answered with error {}: {}", .0.code, .0.message)]
    Rpc(RpcError),
    #[error("{0}")]
    Strange(String),
}

/// A session with a server, or that it has none.
#[derive(Clone, Debug)]
struct Session {
    id: Option<HeaderValue>,
    version: HeaderValue,
}

/// Asks servers.
pub(super) struct Client {
    upstream: Arc<dyn Upstream>,
    clock: Arc<dyn Clock>,
    sessions: Cache<(Nid, Uuid), Arc<Session>>,
    ids: AtomicU64,
}

impl Client {
    pub(super) fn new(upstream: Arc<dyn Upstream>, clock: Arc<dyn Clock>) -> Self {
        Self { upstream, clock, sessions: Cache::new(SESSIONS_MAX), ids: AtomicU64::new(1) }
    }

    /// Every tool of a server.
    pub(super) async fn tools(
        &self,
        place: &Place,
        settings: &McpSettings,
    ) -> Result<Vec<Box<RawValue>>, ClientFault> {
        let all = async {
            let (mut tools, mut cursor) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let body = |id| mcp::list_tools(id, cursor.as_deref());
                let result = self.asked(place, settings, &body).await?;
                let page: ToolPage = parsed(&result, "a list of tools")?;
                tools.extend(page.tools);
                if tools.len() > TOOLS_MAX {
                    return Err(ClientFault::Strange(format!("it has more than {TOOLS_MAX} tools")));
                }
                cursor = page.next_cursor.filter(|next| !next.is_empty());
                if cursor.is_none() {
                    return Ok(tools);
                }
            }
            Err(ClientFault::Strange(format!("its list of tools has more than {PAGES_MAX} pages")))
        };
        in_time(settings, all).await
    }

    /// Calls a tool; its result as it came.
    pub(super) async fn call(
        &self,
        place: &Place,
        settings: &McpSettings,
        tool: &str,
        arguments: &RawValue,
    ) -> Result<Box<RawValue>, ClientFault> {
        let body = |id| mcp::call_tool(id, tool, arguments);
        in_time(settings, self.asked(place, settings, &body)).await
    }

    /// Forgets the session with a server.
    pub(super) fn forget(&self, nid: Nid, deployment: Uuid) {
        self.sessions.remove(&(nid, deployment));
    }

    async fn asked(
        &self,
        place: &Place,
        settings: &McpSettings,
        body: &(dyn Fn(u64) -> Bytes + Sync),
    ) -> Result<Box<RawValue>, ClientFault> {
        let key = (place.nid, place.deployment);
        let kept = self.sessions.get(&key);
        let was_kept = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => self.begun(place, settings).await?,
        };
        match self.ask(place, settings, &session, body).await {
            // It knows nothing of the session any more, or never did: nothing was done.
            Err(ClientFault::Status(400 | 404)) if was_kept && session.id.is_some() => {
                self.sessions.remove(&key);
                let session = self.begun(place, settings).await?;
                self.ask(place, settings, &session, body).await
            }
            answered => answered,
        }
    }

    /// Begins a session.
    async fn begun(&self, place: &Place, settings: &McpSettings) -> Result<Arc<Session>, ClientFault> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let response = self.send(place, settings, None, mcp::initialize(id, NAME, NAME_VERSION)).await?;
        let session_id = response.headers.get(SESSION).cloned();
        let result = result_of(id, response).await?;
        let told: Initialized = parsed(&result, "the answer to `initialize`")?;
        let version = mcp::KNOWN_VERSIONS.into_iter().find(|known| *known == told.protocol_version);
        let version = version.ok_or_else(|| {
            let words = first_words(&told.protocol_version);
            ClientFault::Strange(format!("it speaks version `{words}` of MCP, which is not known here"))
        })?;
        let session = Arc::new(Session { id: session_id, version: HeaderValue::from_static(version) });
        self.send(place, settings, Some(&session), mcp::initialized()).await?;
        self.sessions.insert((place.nid, place.deployment), Arc::clone(&session));
        Ok(session)
    }

    async fn ask(
        &self,
        place: &Place,
        settings: &McpSettings,
        session: &Session,
        body: &(dyn Fn(u64) -> Bytes + Sync),
    ) -> Result<Box<RawValue>, ClientFault> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let response = self.send(place, settings, Some(session), body(id)).await?;
        result_of(id, response).await
    }

    /// Sends a message; the head of a good answer.
    async fn send(
        &self,
        place: &Place,
        settings: &McpSettings,
        session: Option<&Session>,
        message: Bytes,
    ) -> Result<ProviderResponse, ClientFault> {
        let request = ProviderRequest {
            method: Method::POST,
            uri: place.uri.clone(),
            headers: headers(place, session),
            body: Full::new(message).map_err(|never| match never {}).boxed_unsync(),
            attempt: Attempt {
                connect_timeout: settings.timeout,
                header_timeout: settings.timeout,
                private_network: settings.private_network,
            },
        };
        let response = self.upstream.send(request).await.map_err(|fault| not_sent(&fault))?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(not_well(response.status, &response.headers, self.clock.now()))
    }
}

fn headers(place: &Place, session: Option<&Session>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static(BOTH_FORMS));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if let Some(authorization) = &place.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    if let Some(session) = session {
        headers.insert(VERSION, session.version.clone());
        if let Some(id) = &session.id {
            headers.insert(SESSION, id.clone());
        }
    }
    headers
}

async fn in_time<T>(
    settings: &McpSettings,
    work: impl Future<Output = Result<T, ClientFault>>,
) -> Result<T, ClientFault> {
    tokio::time::timeout(settings.timeout, work).await.unwrap_or(Err(ClientFault::Timeout))
}

/// The result in the body of a good answer.
async fn result_of(id: u64, response: ProviderResponse) -> Result<Box<RawValue>, ClientFault> {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let reader = AnswerReader::new(id, content_type.unwrap_or_default(), ANSWER_BYTES_MAX);
    match read(reader, response.body).await? {
        Answer::Result(result) => Ok(result),
        Answer::Error(error) => {
            Err(ClientFault::Rpc(RpcError { message: first_words(&error.message), ..error }))
        }
    }
}

async fn read(mut reader: AnswerReader, mut body: ProviderBody) -> Result<Answer, ClientFault> {
    let strange = |error: AnswerError| ClientFault::Strange(error.to_string());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| ClientFault::Unreachable(innermost(cause.as_ref())))?;
        let Ok(data) = frame.into_data() else { continue };
        if let Some(answer) = reader.feed(data).map_err(strange)? {
            return Ok(answer);
        }
    }
    reader.finish().map_err(strange)
}

fn parsed<'r, T: serde::Deserialize<'r>>(result: &'r RawValue, what: &str) -> Result<T, ClientFault> {
    serde_json::from_str(result.get())
        .map_err(|error| ClientFault::Strange(format!("its answer is not {what}: {error}")))
}

fn not_well(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> ClientFault {
    match status.as_u16() {
        status @ (401 | 403) => ClientFault::Unauthorized(status),
        429 => {
            let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            ClientFault::Busy(asked.and_then(|text| retry_after(text, now)))
        }
        status => ClientFault::Status(status),
    }
}

fn not_sent(fault: &SendFault) -> ClientFault {
    match fault.kind {
        SendFaultKind::Forbidden => ClientFault::Forbidden,
        SendFaultKind::Timeout => ClientFault::Timeout,
        SendFaultKind::Connect | SendFaultKind::Broken | SendFaultKind::CallerBody => {
            ClientFault::Unreachable(innermost(fault.cause.as_ref()))
        }
    }
}

/// What was wrong in the end: an operating system's words.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    first_words(&cause.to_string())
}

/// A text of somebody else's, cut, and without what a terminal or a column cannot take.
pub(super) fn first_words(text: &str) -> String {
    text.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
