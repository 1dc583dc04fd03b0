//! The accept loop: connections, their limits, and a graceful end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower_service::Service;

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Header bytes of one request.
    pub header_bytes_max: usize,
    /// Header lines of one request.
    pub headers_max: usize,
    /// From a connection's (or a request's) start until its head is complete.
    pub header_timeout: Duration,
    /// How long calls under way may take to finish once the gateway stops.
    pub drain_timeout: Duration,
}

/// The pause after the kernel refused a connection (out of file handles, say), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
const HTTP2_STREAMS_MAX: u32 = 256;
const HTTP2_KEEPALIVE: Duration = Duration::from_secs(30);

/// Serves `router` until `stop` turns true, then lets what runs finish, up to the drain limit.
///
/// Returns whether everything finished in time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ListenerLimits,
    mut stop: watch::Receiver<bool>,
) -> bool {
    let builder = connection_builder(limits);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        let place = tokio::select! {
            () = stopped(&mut stop) => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let connection = serve_connection(&builder, stream, peer, router.clone());
        let watched = graceful.watch(connection);
        tokio::spawn(async move {
            // A connection that breaks off is the client's business; the calls on it have settled themselves.
            if let Err(error) = watched.await {
                tracing::debug!(error, "connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    tokio::time::timeout(limits.drain_timeout, graceful.shutdown()).await.is_ok()
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which also is the end.
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        tracing::debug!("stop signal's sender is gone");
    }
}

fn connection_builder(limits: ListenerLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes_max.max(8_192))
        .max_headers(limits.headers_max)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .keep_alive_interval(HTTP2_KEEPALIVE);
    builder
}

fn serve_connection(
    builder: &auto::Builder<TokioExecutor>,
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>>
+ Send
+ 'static {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            let response: Result<Response<Body>, Infallible> = router.call(request).await;
            response
        }
    });
    builder.serve_connection(TokioIo::new(stream), service).into_owned()
}
