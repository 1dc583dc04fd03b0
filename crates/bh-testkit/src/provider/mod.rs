//! A fake LLM provider: a real HTTP/1.1 server on loopback that answers like OpenAI and Anthropic.
//!
//! It runs on a thread of its own, so a test that blocks (on an SDK in another process, say) never stalls it.

mod anthropic;
mod openai;
mod recorded;
mod reply;
mod script;
mod server;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use recorded::Recorded;
pub use reply::{Reply, ToolCall, Usage};
pub use script::{Ending, Script};

type Handler = dyn Fn(&Recorded) -> Option<Script> + Send + Sync;

/// What the server's thread and the test share.
#[derive(Default)]
pub(crate) struct Shared {
    requests: Vec<Recorded>,
    queue: VecDeque<Script>,
    handler: Option<Arc<Handler>>,
    reply: Reply,
}

/// A running fake provider. It stops when dropped.
///
/// Which answer a request gets, in this order: the next script given to [`FakeProvider::then`], what the handler of
/// [`FakeProvider::on`] returns, the provider's own answer made from [`FakeProvider::reply`].
pub struct FakeProvider {
    url: String,
    shared: Arc<Mutex<Shared>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl FakeProvider {
    /// Starts a provider on a free loopback port.
    ///
    /// # Panics
    /// When no loopback port can be had.
    #[must_use]
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
        listener.set_nonblocking(true).expect("a fresh listener takes options");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (stop, stopped) = oneshot::channel();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || server::run(listener, theirs, stopped));
        Self { url: format!("http://{address}"), shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the provider says from now on, when nothing else decides.
    pub fn reply(&self, reply: Reply) -> &Self {
        self.lock().reply = reply;
        self
    }

    /// The answer to the next request; several calls make a queue.
    pub fn then(&self, script: Script) -> &Self {
        self.lock().queue.push_back(script);
        self
    }

    /// Decides each request's answer; `None` leaves it to the provider's own.
    pub fn on(&self, handler: impl Fn(&Recorded) -> Option<Script> + Send + Sync + 'static) -> &Self {
        self.lock().handler = Some(Arc::new(handler));
        self
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.lock().requests.clone()
    }

    /// The newest request.
    ///
    /// # Panics
    /// When there has been none.
    #[must_use]
    pub fn last(&self) -> Recorded {
        self.lock().requests.last().cloned().expect("the provider has been called")
    }

    /// How many requests have arrived.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.lock().requests.len()
    }

    /// Forgets the requests, and queued scripts with them.
    pub fn forget(&self) {
        let mut shared = self.lock();
        shared.requests.clear();
        shared.queue.clear();
    }

    /// Waits until at least `count` requests have arrived; false after `patience`.
    pub async fn hits_reach(&self, count: usize, patience: Duration) -> bool {
        self.until(patience, |requests| requests.len() >= count).await
    }

    /// Waits until the client of some request has hung up; false after `patience`.
    pub async fn sees_a_hang_up(&self, patience: Duration) -> bool {
        self.until(patience, |requests| requests.iter().any(|r| r.hung_up_at.is_some())).await
    }

    async fn until(&self, patience: Duration, reached: impl Fn(&[Recorded]) -> bool) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if reached(&self.lock().requests) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        reached(&self.lock().requests)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// The shared state, even after a test's handler panicked: the panic is reported by the test itself.
pub(crate) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for FakeProvider {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl std::fmt::Debug for FakeProvider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeProvider").field("url", &self.url).field("hits", &self.hits()).finish()
    }
}

#[cfg(test)]
mod tests;
