//! A client of MCP servers over streamable HTTP. Sessions are kept while a server keeps them; one that it has forgotten is
//! begun again, once, since what was asked in it was not done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::webhook::retry_after;
use bh_wire::mcp::{
    self, Answer, AnswerError, AnswerReader, Initialized, METHOD_NOT_FOUND, RpcError, ToolPage,
};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::place::Place;
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
pub(super) const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a server tells of its tools, all pages together.
const TOOLS_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest name of a session.
const SESSION_ID_BYTES_MAX: usize = 1_024;
/// How long a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Sessions that are kept; the others begin anew.
const SESSIONS_MAX: usize = 10_000;
/// Pages of tools that are asked for.
const PAGES_MAX: usize = 50;
/// Tools of one server.
pub(super) const TOOLS_MAX: usize = 1_000;
/// Characters of a server's own words that are repeated.
const WORDS_MAX: usize = 300;

/// Why a server did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ClientFault {
    #[error("its address is loopback, private or link-local: set `mcp.allow_private_network` to allow that")]
    Forbidden,
    #[error("it could not be reached: {0}")]
    Unreachable(String),
    #[error("the connection broke: {0}")]
    Broken(String),
    #[error("it did not answer within `mcp.timeout_ms`")]
    Timeout,
    #[error("it answered {0}: it wants another credential, or one at all")]
    Unauthorized(u16),
    #[error(
        "it answered {0}, and was not shown the tenant's credential: that was stored when no server of this name was there, or \
         one at another address, or this address is not https"
    )]
    Withheld(u16),
    #[error("it answered 429: too many requests")]
    Busy(Option<Duration>),
    #[error("it answered {0}")]
    Status(u16),
    #[error("it answered with error {}", .0.code)]
    Rpc(RpcError),
    #[error("{0}")]
    Strange(String),
}

impl ClientFault {
    /// Whether what was asked was certainly not done.
    pub(super) fn nothing_done(&self) -> bool {
        match self {
            Self::Forbidden | Self::Unreachable(_) | Self::Unauthorized(_) | Self::Withheld(_) => true,
            Self::Busy(_) | Self::Status(404) => true,
            // Not for parameters that are none: some servers say so of what a tool has answered.
            Self::Rpc(error) => error.code == METHOD_NOT_FOUND,
            Self::Broken(_) | Self::Timeout | Self::Status(_) | Self::Strange(_) => false,
        }
    }
}

/// A call that came to nothing.
#[derive(Debug)]
pub(super) struct CallFault {
    pub(super) fault: ClientFault,
    /// The tool may have run.
    pub(super) may_have_run: bool,
}

/// What is asked: how it is written, and after which answers it may be asked again in a new session.
struct Question<'q> {
    body: &'q (dyn Fn(u64) -> Bytes + Sync),
    again_after: &'static [u16],
    /// Told when it goes out.
    sent: &'q AtomicBool,
}

/// A session with a server, or that it has none.
#[derive(Clone, Debug)]
struct Session {
    id: Option<HeaderValue>,
    version: HeaderValue,
    /// With which credential it was begun.
    identity: [u8; 32],
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
            let (mut tools, mut cursor, mut bytes) = (Vec::new(), None, 0);
            for _ in 0..PAGES_MAX {
                let body = |id| mcp::list_tools(id, cursor.as_deref());
                // Some servers answer 400 where they have forgotten a session; asking again changes nothing.
                let sent = AtomicBool::new(false);
                let question = Question { body: &body, again_after: &[400, 404], sent: &sent };
                let result = self.asked(place, settings, &question).await.map_err(|call| call.fault)?;
                let page: ToolPage<'_> = parsed(&result, "a list of tools")?;
                bytes += result.get().len();
                if tools.len() + page.tools.len() > TOOLS_MAX || bytes > TOOLS_BYTES_MAX {
                    let most =
                        format!("{TOOLS_MAX} tools, or tells more than {TOOLS_BYTES_MAX} bytes of them");
                    return Err(ClientFault::Strange(format!("it has more than {most}")));
                }
                tools.extend(page.tools.into_iter().map(ToOwned::to_owned));
                cursor = page.next_cursor.filter(|next| !next.is_empty());
                if cursor.is_none() {
                    return Ok(tools);
                }
            }
            Err(ClientFault::Strange(format!("its list of tools has more than {PAGES_MAX} pages")))
        };
        tokio::time::timeout(settings.timeout, all).await.unwrap_or(Err(ClientFault::Timeout))
    }

    /// Calls a tool; its result as it came. `sent` is told when the call goes out.
    pub(super) async fn call(
        &self,
        place: &Place,
        settings: &McpSettings,
        (tool, arguments): (&str, &RawValue),
        sent: &AtomicBool,
    ) -> Result<Box<RawValue>, CallFault> {
        let body = |id| mcp::call_tool(id, tool, arguments);
        let question = Question { body: &body, again_after: &[404], sent };
        let asked = tokio::time::timeout(settings.timeout, self.asked(place, settings, &question)).await;
        asked.unwrap_or_else(|_| {
            Err(CallFault { fault: ClientFault::Timeout, may_have_run: sent.load(Ordering::Relaxed) })
        })
    }

    /// Forgets the session with a server.
    pub(super) fn forget(&self, nid: Nid, deployment: Uuid) {
        self.sessions.remove(&(nid, deployment));
    }

    async fn asked(
        &self,
        place: &Place,
        settings: &McpSettings,
        question: &Question<'_>,
    ) -> Result<Box<RawValue>, CallFault> {
        let key = (place.nid, place.deployment);
        let not_begun = |fault| CallFault { fault, may_have_run: false };
        let asked = |fault: ClientFault| CallFault { may_have_run: !fault.nothing_done(), fault };
        // What was begun with one credential is not gone on with under another.
        let identity = place.identity();
        let kept = self.sessions.get(&key).filter(|kept| kept.identity == identity);
        let was_kept = kept.is_some();
        let session = match kept {
            Some(session) => session,
            None => self.begun(place, settings).await.map_err(not_begun)?,
        };
        let answered = self.ask(place, settings, &session, question).await;
        // Whatever the session is worth, the next one to ask begins another: servers tie sessions to who has begun them.
        if let Err(ClientFault::Status(400 | 404) | ClientFault::Unauthorized(_) | ClientFault::Withheld(_)) =
            &answered
        {
            self.sessions.remove(&key);
        }
        match answered {
            // It knows nothing of the session any more, or never did: nothing was done.
            Err(ClientFault::Status(status)) if was_kept && question.again_after.contains(&status) => {
                question.sent.store(false, Ordering::Relaxed);
                let session = self.begun(place, settings).await.map_err(not_begun)?;
                self.ask(place, settings, &session, question).await.map_err(asked)
            }
            answered => answered.map_err(asked),
        }
    }

    /// Begins a session.
    async fn begun(&self, place: &Place, settings: &McpSettings) -> Result<Arc<Session>, ClientFault> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let response = self.send(place, settings, None, mcp::initialize(id, NAME, NAME_VERSION)).await?;
        let session_id = response.headers.get(SESSION).cloned();
        if session_id.as_ref().is_some_and(|id| id.len() > SESSION_ID_BYTES_MAX) {
            let what = format!("the name of its session has more than {SESSION_ID_BYTES_MAX} bytes");
            return Err(ClientFault::Strange(what));
        }
        let result = result_of(id, response).await?;
        let told: Initialized = parsed(&result, "the answer to `initialize`")?;
        let version = mcp::KNOWN_VERSIONS.into_iter().find(|known| *known == told.protocol_version);
        let version = version.ok_or_else(|| {
            ClientFault::Strange("it speaks a version of MCP that is not known here".to_owned())
        })?;
        let session = Arc::new(Session {
            id: session_id,
            version: HeaderValue::from_static(version),
            identity: place.identity(),
        });
        self.send(place, settings, Some(&session), mcp::initialized()).await?;
        self.sessions.insert((place.nid, place.deployment), Arc::clone(&session));
        Ok(session)
    }

    async fn ask(
        &self,
        place: &Place,
        settings: &McpSettings,
        session: &Session,
        question: &Question<'_>,
    ) -> Result<Box<RawValue>, ClientFault> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        question.sent.store(true, Ordering::Relaxed);
        let response = self.send(place, settings, Some(session), (question.body)(id)).await?;
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
                connect_timeout: settings.timeout.min(CONNECT_WITHIN),
                header_timeout: settings.timeout,
                private_network: settings.private_network,
            },
        };
        let response = self.upstream.send(request).await.map_err(|fault| not_sent(&fault))?;
        if response.status.is_success() {
            return Ok(response);
        }
        Err(not_well(place, response.status, &response.headers, self.clock.now()))
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

/// The result in the body of a good answer.
async fn result_of(id: u64, response: ProviderResponse) -> Result<Box<RawValue>, ClientFault> {
    let content_type = response.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let reader = AnswerReader::new(id, content_type.unwrap_or_default(), ANSWER_BYTES_MAX);
    match read(reader, response.body).await? {
        Answer::Result(result) => Ok(result),
        Answer::Error(error) => Err(ClientFault::Rpc(error)),
    }
}

async fn read(mut reader: AnswerReader, mut body: ProviderBody) -> Result<Answer, ClientFault> {
    let odd = |error: AnswerError| ClientFault::Strange(error.to_string());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|cause| ClientFault::Broken(innermost(cause.as_ref())))?;
        let Ok(data) = frame.into_data() else { continue };
        if let Some(answer) = reader.feed(data).map_err(odd)? {
            return Ok(answer);
        }
    }
    reader.finish().map_err(odd)
}

fn parsed<'r, T: serde::Deserialize<'r>>(result: &'r RawValue, what: &str) -> Result<T, ClientFault> {
    serde_json::from_str(result.get()).map_err(|error| strange(what, &error))
}

/// What is wrong with JSON of a server's, without repeating any of it.
pub(super) fn strange(what: &str, error: &serde_json::Error) -> ClientFault {
    let place = format!("line {}, column {}", error.line(), error.column());
    ClientFault::Strange(format!("its answer is not {what} ({place})"))
}

fn not_well(place: &Place, status: StatusCode, headers: &HeaderMap, now: Timestamp) -> ClientFault {
    match status.as_u16() {
        status @ (401 | 403) if place.is_withheld => ClientFault::Withheld(status),
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
        SendFaultKind::Connect => ClientFault::Unreachable(innermost(fault.cause.as_ref())),
        SendFaultKind::Broken | SendFaultKind::CallerBody => {
            ClientFault::Broken(innermost(fault.cause.as_ref()))
        }
    }
}

/// What the operating system says of it, where it says something. What else is known of a connection, such as the names in a
/// certificate, is the server's own word.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let said = error.downcast_ref::<std::io::Error>().filter(|error| error.raw_os_error().is_some());
        if let Some(said) = said {
            return said.to_string();
        }
        cause = error.source();
    }
    "look at its name, its certificate, and what it writes of it itself".to_owned()
}

/// A text of somebody else's, cut, and without what a terminal or a column cannot take.
pub(super) fn first_words(text: &str) -> String {
    text.chars().take(WORDS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
