//! A timer for something that should go on and does not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Measures how long something has been stuck. As long as it goes on, the timer costs a store; the clock is read, and
/// an alarm set, only once it is stuck.
#[derive(Debug)]
pub(crate) struct StallTimer {
    limit: Duration,
    since: Option<Instant>,
    /// Made when first needed. It may go off early, and is set again then: moving it at every stall would cost more.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl StallTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, alarm: None }
    }

    /// It goes on.
    pub(crate) fn progressed(&mut self) {
        self.since = None;
    }

    /// It is stuck: ready once it has been for the whole limit, else the task is woken then.
    pub(crate) fn poll_stuck(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    #[tokio::test]
    async fn a_stall_ends_after_its_limit_and_progress_starts_it_anew() {
        let mut timer = StallTimer::new(LIMIT);
        let began = Instant::now();
        poll_fn(|cx| timer.poll_stuck(cx)).await;
        assert!(began.elapsed() >= LIMIT);
        // Stuck for longer than the limit, and then not: the alarm of then says nothing about the next stall.
        timer.progressed();
        let began = Instant::now();
        poll_fn(|cx| timer.poll_stuck(cx)).await;
        assert!(began.elapsed() >= LIMIT);
    }
}
