//! The accept loop: connections, their limits, and a graceful end.

mod activity;
mod body;
mod connection;
mod socket;
mod stall;
mod tasks;
mod unread;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use connection::Acceptor;
pub(crate) use stall::StallTimer;
use tasks::Tasks;

/// What one listener allows.
#[derive(Clone, Copy, Debug)]
pub struct ListenerLimits {
    /// Open connections; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Header bytes of one request.
    pub header_bytes_max: usize,
    /// Header lines of one request.
    pub headers_max: usize,
    /// From a connection's start, or a later request's first byte, until the head is complete.
    pub header_timeout: Duration,
    /// How long a connection without a call may stay open.
    pub idle_timeout: Duration,
    /// How long a client may leave an answer unread while more of it is ready.
    pub write_timeout: Duration,
    /// How long calls under way may take to finish once the gateway stops.
    pub drain_timeout: Duration,
}

/// How serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every call came to its end.
    Whole,
    /// The calls that did not end in time were cut off. They have settled what was used.
    Cut,
    /// Something could not even be cut off in time: its call may still be open.
    Stuck,
}

/// The pause after the kernel refused a connection (out of file handles, say), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);
/// How long calls that are cut off may take to settle. They only have to reach their next await.
const CUT_MAX: Duration = Duration::from_secs(5);

/// How long requests that came too late may take to be told so, once nothing else runs.
const LATE_MAX: Duration = Duration::from_millis(500);

/// What answers the requests of a listener.
pub trait Answers: Clone + Send + Sync + 'static {
    /// Answers one request of a peer. Whatever goes wrong is an answer too.
    fn answer(&self, request: Request<Body>, peer: IpAddr) -> impl Future<Output = Response> + Send;

    /// The listener is to end. Whether requests that come from now on are refused here: then there is somebody to tell
    /// them so for as long as others finish.
    fn stop(&self) -> bool {
        false
    }
}

/// Serves `router` until `stop` turns true, then lets what runs finish, up to the drain limit, and cuts off the rest.
/// Whoever comes meanwhile is told so, where the router refuses late requests. `on_cut` is called right before calls are
/// cut off, so that they can say what ended them.
pub async fn serve<R: Answers>(
    listener: TcpListener,
    router: R,
    limits: ListenerLimits,
    mut stop: watch::Receiver<bool>,
    on_cut: impl FnOnce(),
) -> Drained {
    let tasks = Tasks::new();
    let acceptor = Acceptor::new(router.clone(), limits, tasks.clone(), stop.clone());
    let places = Arc::new(Semaphore::new(limits.connections_max));
    tokio::select! {
        () = stopped(&mut stop) => {}
        () = accept(&listener, &acceptor, &tasks, &places) => {}
    }
    if !router.stop() {
        drop(listener);
        return drain(&tasks, limits, on_cut).await;
    }
    let late = Tasks::new();
    let refusing = Acceptor::late(router, limits, late.clone(), stop);
    let drained = tokio::select! {
        drained = drain(&tasks, limits, on_cut) => drained,
        () = accept(&listener, &refusing, &late, &places) => Drained::Stuck,
    };
    drop(listener);
    if tokio::time::timeout(LATE_MAX, late.finished()).await.is_err() {
        late.cut().await;
    }
    drained
}

/// Accepts connections for as long as it is polled.
async fn accept<R: Answers>(
    listener: &TcpListener,
    acceptor: &Acceptor<R>,
    tasks: &Tasks,
    places: &Arc<Semaphore>,
) {
    loop {
        let place = Arc::clone(places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, peer)) => tasks.spawn(acceptor.serve(stream, peer, place.ok())),
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

async fn drain(tasks: &Tasks, limits: ListenerLimits, on_cut: impl FnOnce()) -> Drained {
    if tokio::time::timeout(limits.drain_timeout, tasks.finished()).await.is_ok() {
        return Drained::Whole;
    }
    on_cut();
    match tokio::time::timeout(CUT_MAX, tasks.cut()).await {
        Ok(()) => Drained::Cut,
        Err(_) => Drained::Stuck,
    }
}

/// Resolves once the gateway is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which also is the end.
    if stop.wait_for(|stopped| *stopped).await.is_err() {
        tracing::debug!("stop signal's sender is gone");
    }
}
