//! One connection: which HTTP it speaks, its calls, and every way it ends.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use http::{Method, Request};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::activity::{Activity, Due, Version};
use super::body::{PROGRESS, Progress, TrackedBody, without_body};
use super::socket::{Opening, Socket};
use super::stall::StallTimer;
use super::tasks::Tasks;
use super::unread::Unread;
use super::{Answers, ListenerLimits, stopped};

const HTTP2_STREAMS_MAX: u32 = 256;
/// How often a silent HTTP/2 peer is asked whether it still lives.
const HTTP2_KEEPALIVE: Duration = Duration::from_secs(30);
/// Streams that a peer may have opened and reset before they were looked at; one more ends the connection. Against
/// "rapid reset" (CVE-2023-44487).
const HTTP2_PENDING_RESETS_MAX: usize = 20;
/// Streams that may be reset for a fault of the peer's before the connection ends.
const HTTP2_FAULTY_STREAMS_MAX: usize = 256;
/// Bytes of answers that wait in one HTTP/2 stream for its peer.
const HTTP2_SEND_BUFFER_BYTES_MAX: usize = 400 * 1024;
/// How long the first bytes of a connection may take that was accepted right before the gateway was told to stop.
const OPENING_ON_ITS_WAY: Duration = Duration::from_millis(250);
/// Smallest buffer that HTTP/1 heads are read into.
const HTTP1_BUFFER_BYTES_MIN: usize = 8_192;

/// What the connections of one listener share.
#[derive(Clone)]
pub(super) struct Acceptor<R> {
    router: R,
    limits: ListenerLimits,
    http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
    stop: watch::Receiver<bool>,
    /// Whether the listener has been stopped before: each connection is then answered once.
    late: bool,
}

impl<R: Answers> Acceptor<R> {
    pub(super) fn new(router: R, limits: ListenerLimits, tasks: Tasks, stop: watch::Receiver<bool>) -> Self {
        let mut http1 = http1::Builder::new();
        // Heads and idleness are timed here: one timer per connection instead of one per request.
        http1
            .header_read_timeout(None)
            .max_buf_size(limits.header_bytes_max.max(HTTP1_BUFFER_BYTES_MIN))
            .max_headers(limits.headers_max)
            .half_close(false);
        let mut http2 = http2::Builder::new(StreamExecutor { tasks, write_timeout: limits.write_timeout });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS_MAX)
            .max_local_error_reset_streams(HTTP2_FAULTY_STREAMS_MAX)
            .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES_MAX)
            .keep_alive_interval(HTTP2_KEEPALIVE);
        Self { router, limits, http1, http2, stop, late: false }
    }

    /// For those who come after the listener was stopped.
    pub(super) fn late(router: R, limits: ListenerLimits, tasks: Tasks, stop: watch::Receiver<bool>) -> Self {
        let mut acceptor = Self::new(router, limits, tasks, stop);
        acceptor.http1.keep_alive(false);
        Self { late: true, ..acceptor }
    }

    /// Serves one connection to its end, and gives back its place then.
    pub(super) fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = ()> + Send + use<R> {
        let acceptor = self.clone();
        // The future of a connection lives as long as it does. A future that awaits one that it was given keeps room
        // for it twice, so it is made where it is awaited.
        async move {
            acceptor.run(stream, peer).await;
            drop(place);
        }
    }

    async fn run(mut self, mut stream: TcpStream, peer: SocketAddr) {
        let opened = Instant::now();
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "could not set TCP_NODELAY");
        }
        let opening = tokio::select! {
            read = tokio::time::timeout_at(opened + self.limits.header_timeout, Opening::read(&mut stream)) => read,
            // Nothing was asked on it yet; what is on its way is waited for.
            () = stopped_a_while_ago(&mut self.stop), if !self.late => return,
        };
        let Ok(Ok(Some((opening, version)))) = opening else {
            tracing::debug!("a connection ended before its first request");
            return;
        };
        let activity = Arc::new(Activity::new(version, opened));
        let socket = Socket::new(stream, opening, Arc::clone(&activity), self.limits.write_timeout);
        let (io, router) = (TokioIo::new(socket), self.router.clone());
        let calls = Arc::clone(&activity);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            // The call begins with its head, not when its task first runs.
            let (call, router) = (calls.begin(), router.clone());
            async move {
                let (request, unread) = match version {
                    Version::Http1 => Unread::watch(request),
                    Version::Http2 => (request.map(Body::new), None),
                };
                let head = request.method() == Method::HEAD;
                // Boxed: the room for a call is kept as long as its connection, and a stream's call was answered long ago.
                let mut answer = Box::pin(router.answer(request, peer.ip())).await;
                if head {
                    // Over HTTP/1 hyper leaves the body out by itself, over HTTP/2 it does not.
                    answer = without_body(answer);
                }
                if let Some(unread) = unread {
                    unread.settle(&mut answer).await;
                }
                Ok::<_, Infallible>(answer.map(|body| TrackedBody::new(body, call)))
            }
        });
        match version {
            Version::Http1 => {
                let connection = pin!(self.http1.serve_connection(io, service));
                self.to_its_end(connection, &activity).await;
            }
            Version::Http2 => {
                // Boxed: or each HTTP/1 connection would keep room for what HTTP/2 needs, which is more.
                let mut connection = Box::pin(self.http2.serve_connection(io, service));
                Box::pin(self.to_its_end(connection.as_mut(), &activity)).await;
            }
        }
    }

    /// Drives a connection until it ends, its limits end it, or the gateway stops and its calls have ended.
    async fn to_its_end<C: GracefulConnection<Error = hyper::Error>>(
        &self,
        mut connection: Pin<&mut C>,
        activity: &Activity,
    ) {
        let mut stop = self.stop.clone();
        let mut stopped = pin!(stopped(&mut stop));
        let mut ask = pin!(sleep_until(Instant::now()));
        let mut closing = self.late;
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    // A connection that breaks off is the client's business; the calls on it settle themselves.
                    if let Err(error) = ended {
                        tracing::debug!(error = &error as &dyn std::error::Error, "connection ended");
                    }
                    return;
                }
                () = stopped.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = ask.as_mut() => match self.due(activity) {
                    Due::Later(moment) => ask.as_mut().reset(moment),
                    Due::Idle if !closing => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                        // An HTTP/2 peer may still be reading the last of an answer, and has to agree.
                        ask.as_mut().reset(Instant::now() + self.limits.write_timeout);
                    }
                    Due::Idle | Due::Head => {
                        tracing::debug!("connection ended: no complete request in time");
                        return;
                    }
                },
            }
        }
    }

    fn due(&self, activity: &Activity) -> Due {
        activity.due(Instant::now(), self.limits.header_timeout, self.limits.idle_timeout)
    }
}

/// Resolves some time after the gateway was told to stop.
async fn stopped_a_while_ago(stop: &mut watch::Receiver<bool>) {
    stopped(stop).await;
    tokio::time::sleep(OPENING_ON_ITS_WAY).await;
}

/// Runs the streams of HTTP/2 connections as tasks of their listener, each with an eye on its peer.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    tasks: Tasks,
    write_timeout: Duration,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let progress = Arc::new(Progress::default());
        let watched = unless_untaken(stream, Arc::clone(&progress), self.write_timeout);
        self.tasks.spawn(PROGRESS.scope(progress, watched));
    }
}

/// Runs a stream, but ends it when its peer leaves the next piece of the answer untaken for too long. The socket knows
/// nothing of that: with HTTP/2 a peer closes a stream's window and reads on.
async fn unless_untaken<F: Future<Output = ()>>(stream: F, progress: Arc<Progress>, limit: Duration) {
    let mut stream: Pin<&mut F> = pin!(stream);
    let mut timer = StallTimer::new(limit);
    let mut seen = None;
    poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let untaken = progress.untaken();
        if untaken.is_none() || untaken != seen {
            timer.progressed();
            seen = untaken;
        }
        if untaken.is_none() {
            return Poll::Pending;
        }
        // Dropped, the stream resets itself, and its body settles the call.
        timer.poll_stuck(cx).map(|()| tracing::debug!("stream ended: its answer is not read"))
    })
    .await;
}
