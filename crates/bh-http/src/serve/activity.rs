//! What happens on one connection, as its timer needs to know it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Which protocol a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.0 or 1.1: one call at a time, so bytes between calls are the next head.
    Http1,
    /// HTTP/2: bytes between calls may as well be pings.
    Http2,
}

/// When a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Not before this moment; ask again then.
    Later(Instant),
    /// Nobody uses it.
    Idle,
    /// A head takes too long.
    Head,
}

/// The calls on one connection and the moments that its limits count from.
///
/// The times are relaxed atomics: a timer that reads one of them a little late asks again a little later.
#[derive(Debug)]
pub(super) struct Activity {
    version: Version,
    opened: Instant,
    calls: AtomicUsize,
    /// Whether bytes wait for the peer to read on. What a call has left behind may take a while.
    blocked: AtomicBool,
    /// Microseconds after `opened` when the last call ended, or the last byte of it was taken.
    idle_since: AtomicU64,
    /// Microseconds after `opened` when the first byte of a head arrived, plus one; 0 while none has.
    head_since: AtomicU64,
}

impl Activity {
    /// A connection that was accepted at `opened` and whose first bytes have arrived.
    pub(super) fn new(version: Version, opened: Instant) -> Self {
        let (calls, idle_since, head_since) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicU64::new(1));
        Self { version, opened, calls, blocked: AtomicBool::new(false), idle_since, head_since }
    }

    /// Bytes have arrived.
    pub(super) fn read(&self) {
        let between_calls = self.version == Version::Http1 && self.calls.load(Ordering::Relaxed) == 0;
        if between_calls && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_began(Instant::now());
        }
    }

    /// Bytes could not be written.
    pub(super) fn blocked(&self) {
        self.blocked.store(true, Ordering::Relaxed);
    }

    /// Bytes were written.
    pub(super) fn written(&self) {
        if self.blocked.load(Ordering::Relaxed) {
            self.unblocked(Instant::now());
        }
    }

    fn unblocked(&self, now: Instant) {
        self.idle_since.store(self.micros(now), Ordering::Relaxed);
        self.blocked.store(false, Ordering::Release);
    }

    fn head_began(&self, now: Instant) {
        self.head_since.store(self.micros(now) + 1, Ordering::Relaxed);
    }

    /// A head is complete: a call begins, and lasts until what is returned is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InCall {
        self.began();
        InCall(Arc::clone(self))
    }

    fn began(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
    }

    fn ended(&self, now: Instant) {
        // In this order: no call, seen with the end of the call before, would look like a long idleness.
        self.idle_since.store(self.micros(now), Ordering::Relaxed);
        self.calls.fetch_sub(1, Ordering::Release);
    }

    /// Whether the connection has outlived its limits at `now`.
    pub(super) fn due(&self, now: Instant, header_timeout: Duration, idle_timeout: Duration) -> Due {
        let busy = self.calls.load(Ordering::Acquire) > 0 || self.blocked.load(Ordering::Acquire);
        let idle_from = if busy { now } else { self.at(self.idle_since.load(Ordering::Relaxed)) };
        let idle_until = idle_from + idle_timeout;
        let head_since = self.head_since.load(Ordering::Relaxed);
        match self.version {
            Version::Http2 if idle_until <= now => Due::Idle,
            Version::Http2 => Due::Later(idle_until),
            Version::Http1 if !busy && head_since > 0 => {
                let head_until = self.at(head_since - 1) + header_timeout;
                if head_until <= now { Due::Head } else { Due::Later(head_until) }
            }
            Version::Http1 if idle_until <= now => Due::Idle,
            // A head that begins right now is due no earlier than that.
            Version::Http1 => Due::Later(idle_until.min(now + header_timeout)),
        }
    }

    fn at(&self, micros: u64) -> Instant {
        self.opened + Duration::from_micros(micros)
    }

    fn micros(&self, moment: Instant) -> u64 {
        u64::try_from(moment.duration_since(self.opened).as_micros()).unwrap_or(u64::MAX >> 1)
    }
}

/// A call that has begun and not ended.
#[derive(Debug)]
pub(super) struct InCall(Arc<Activity>);

impl Drop for InCall {
    fn drop(&mut self) {
        self.0.ended(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(75);

    fn opened(version: Version) -> (Activity, Instant) {
        let opened = Instant::now();
        (Activity::new(version, opened), opened)
    }

    /// One call that has ended.
    fn call(activity: &Activity, ended: Instant) {
        activity.began();
        activity.ended(ended);
    }

    #[test]
    fn the_first_head_is_due_from_the_connection_s_start() {
        let (activity, start) = opened(Version::Http1);
        assert_eq!(activity.due(start + HEADER / 2, HEADER, IDLE), Due::Later(start + HEADER));
        assert_eq!(activity.due(start + HEADER, HEADER, IDLE), Due::Head);
    }

    #[test]
    fn a_later_head_is_due_from_its_first_byte() {
        let (activity, start) = opened(Version::Http1);
        call(&activity, start);
        let later = start + HEADER * 3;
        assert_eq!(activity.due(later, HEADER, IDLE), Due::Later(later + HEADER), "one may begin now");
        activity.head_began(later);
        // More of the same head changes nothing.
        activity.read();
        assert_eq!(activity.due(later + HEADER / 2, HEADER, IDLE), Due::Later(later + HEADER));
        assert_eq!(activity.due(later + HEADER, HEADER, IDLE), Due::Head);
    }

    #[test]
    fn a_connection_is_idle_from_the_end_of_its_last_call() {
        for version in [Version::Http1, Version::Http2] {
            let (activity, start) = opened(version);
            activity.began();
            let end = start + IDLE * 2;
            assert!(
                matches!(activity.due(end, HEADER, IDLE), Due::Later(_)),
                "{version:?}: a call is under way"
            );
            activity.ended(end);
            let soon = end + IDLE - HEADER / 2;
            assert_eq!(activity.due(soon, HEADER, IDLE), Due::Later(end + IDLE), "{version:?}");
            assert_eq!(activity.due(end + IDLE, HEADER, IDLE), Due::Idle, "{version:?}");
        }
    }

    #[test]
    fn what_a_call_has_left_to_write_is_not_idleness() {
        for version in [Version::Http1, Version::Http2] {
            let (activity, start) = opened(version);
            call(&activity, start);
            activity.blocked();
            let end = start + IDLE * 2;
            assert!(matches!(activity.due(end, HEADER, IDLE), Due::Later(_)), "{version:?}");
            activity.unblocked(end);
            assert!(matches!(activity.due(end, HEADER, IDLE), Due::Later(_)), "{version:?}");
            assert_eq!(activity.due(end + IDLE, HEADER, IDLE), Due::Idle, "{version:?}");
        }
    }

    #[test]
    fn pings_do_not_keep_an_http2_connection_open() {
        let (activity, start) = opened(Version::Http2);
        activity.read();
        assert_eq!(activity.due(start + HEADER, HEADER, IDLE), Due::Later(start + IDLE));
        assert_eq!(activity.due(start + IDLE, HEADER, IDLE), Due::Idle);
    }
}
