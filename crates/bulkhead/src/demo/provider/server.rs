//! The provider's listener, on loopback and nowhere else.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

use super::{ANTHROPIC_PREFIX, Answer, OPENAI_PREFIX, Rejection, Stamp, Wire, answer};

/// Marks every answer as the demo's.
const LABEL: HeaderName = HeaderName::from_static("x-bulkhead-demo");
/// Between two events of a stream, so that it can be seen to stream.
const CHUNK_PACE: Duration = Duration::from_millis(8);
/// Largest request body.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Open connections; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a connection could not be accepted, so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// A running demo provider. It ends when this is dropped.
#[derive(Debug)]
pub(in crate::demo) struct DemoProvider {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl DemoProvider {
    /// Starts it on a free port of the loopback address.
    pub(in crate::demo) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(accept(listener, Arc::new(Counter::new())));
        Ok(Self { address, serving })
    }

    /// Base URL of the OpenAI wire.
    pub(in crate::demo) fn openai_url(&self) -> String {
        format!("http://{}{OPENAI_PREFIX}", self.address)
    }

    /// Base URL of the Anthropic wire.
    pub(in crate::demo) fn anthropic_url(&self) -> String {
        format!("http://{}{ANTHROPIC_PREFIX}", self.address)
    }
}

impl Drop for DemoProvider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Stamps answers.
#[derive(Debug)]
struct Counter {
    answers: AtomicU64,
    created: u64,
}

impl Counter {
    fn new() -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { answers: AtomicU64::new(0), created }
    }

    fn stamp(&self) -> Stamp {
        Stamp { serial: self.answers.fetch_add(1, Ordering::Relaxed) + 1, created: self.created }
    }
}

async fn accept(listener: TcpListener, counter: Arc<Counter>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with the set, and the set with this task.
    let mut connections = JoinSet::new();
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&counter), place));
            }
            Err(error) => {
                tracing::debug!(%error, "the demo provider could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, counter: Arc<Counter>, place: OwnedSemaphorePermit) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let service = service_fn(move |request| serve(request, Arc::clone(&counter)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    // A gateway that hangs up is a client that hung up: its business.
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the demo provider broke off");
    }
    drop(place);
}

async fn serve(request: Request<Incoming>, counter: Arc<Counter>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path();
    let answered = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => answer(&head.method, path, &body.to_bytes(), counter.stamp()),
        Err(error) => Wire::of(path).0.rejected(&unreadable(error.as_ref())),
    };
    Ok(response(answered))
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Rejection {
    if error.is::<LengthLimitError>() {
        let message = format!("the body is larger than {BODY_BYTES_MAX} bytes");
        return Rejection { status: StatusCode::PAYLOAD_TOO_LARGE, message };
    }
    Rejection::bad_request("the body broke off")
}

fn response(answered: Answer) -> Response<Body> {
    let (status, kind, body) = match answered {
        Answer::Json(status, value) => {
            (status, "application/json", Full::from(value.to_string()).boxed_unsync())
        }
        Answer::Stream(chunks) => (StatusCode::OK, "text/event-stream; charset=utf-8", paced(chunks)),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(LABEL, HeaderValue::from_static("provider"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The first chunk at once, the others at the provider's pace.
fn paced(chunks: Vec<Bytes>) -> Body {
    let stream = futures_util::stream::unfold((chunks.into_iter(), true), |(mut chunks, first)| async move {
        let chunk = chunks.next()?;
        if !first {
            tokio::time::sleep(CHUNK_PACE).await;
        }
        Some((Ok(Frame::data(chunk)), (chunks, false)))
    });
    StreamBody::new(stream).boxed_unsync()
}
