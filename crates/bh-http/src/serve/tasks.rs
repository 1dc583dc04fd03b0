//! Every task of one listener: its connections, and the HTTP/2 streams on them.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Poll, ready};

use parking_lot::Mutex;
use tokio::task::JoinSet;

/// The tasks that have not ended. What is dropped here settles its call, so the end of a listener can wait for it.
#[derive(Clone, Debug)]
pub(super) struct Tasks(Arc<Mutex<Option<JoinSet<()>>>>);

impl Tasks {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(JoinSet::new()))))
    }

    /// Starts a task. Once [`Tasks::cut`] was called, it is dropped instead: nothing in it has begun.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(running) = self.0.lock().as_mut() {
            // What has ended meanwhile gives back its memory. A task that panicked has said so itself.
            while running.try_join_next().is_some() {}
            running.spawn(task);
        }
    }

    /// Waits until every task has ended by itself.
    pub(super) async fn finished(&self) {
        poll_fn(|cx| {
            let mut running = self.0.lock();
            let Some(running) = running.as_mut() else { return Poll::Ready(()) };
            while ready!(running.poll_join_next(cx)).is_some() {}
            Poll::Ready(())
        })
        .await;
    }

    /// Ends every task where it stands, and waits until they are gone.
    pub(super) async fn cut(&self) {
        let running = self.0.lock().take();
        if let Some(mut running) = running {
            running.shutdown().await;
        }
    }
}
