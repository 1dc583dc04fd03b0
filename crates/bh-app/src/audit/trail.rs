//! Events that belong to no change: told without waiting, written later and together.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::audit::{TrailFilter, VERIFICATION_FAILED};
use bh_domain::keys::key::JsonObject;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use parking_lot::Mutex;
use uuid::Uuid;

use super::requests::{RequestNote, Requests, Taken};
use super::sampler::{Minute, Sample};
use crate::metrics::{CredentialType, Metrics};
use crate::ports::{AuditEvent, AuditStore, Clock, StoreFault, TrailOrder};

/// Events that wait to be written; more are dropped, and counted.
const WAITING_MAX: usize = 8_192;
/// Tenants with a minute under way; failures of more are dropped, and counted.
const MINUTES_MAX: usize = 65_536;
/// Events of one write.
const WRITE_MAX: usize = 500;
/// Events that one transaction removes, so that none holds the writer for long.
const FORGET_MAX: u32 = 1_000;

/// How the trail names whoever shows a credential that proves nothing.
pub(super) const NOBODY: &str = "unknown";
const CLIENT_ROLE: &str = "client";

/// A credential that was not good.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    /// Where it was shown.
    pub nid: Nid,
    /// Why it is not good.
    pub code: VerificationError,
    /// What it looked like.
    pub of: CredentialType,
    /// The key that it names, when that is known.
    pub key_id: Option<&'a str>,
    /// Where it came from.
    pub address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<(Nid, AuditEvent)>,
    minutes: HashMap<Nid, Minute>,
    requests: Requests,
}

struct Inner {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
    /// Held by who writes: events that are on their way to the store are not waiting any more, and who closes the trail
    /// has to wait for them.
    writing: tokio::sync::Mutex<()>,
}

/// Takes events. Clones share what waits.
#[derive(Clone)]
pub struct AuditTrail(Arc<Inner>);

impl std::fmt::Debug for AuditTrail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditTrail").finish_non_exhaustive()
    }
}

impl AuditTrail {
    /// A trail over a store. Somebody must call [`AuditTrail::flush`] again and again, and [`AuditTrail::close`] at the
    /// end.
    #[must_use]
    pub fn new(store: Arc<dyn AuditStore>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        let (waiting, writing) = (Mutex::default(), tokio::sync::Mutex::default());
        Self(Arc::new(Inner { store, clock, metrics, waiting, writing }))
    }

    /// Whether it tells of this object of a tenant's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn knows(&self, scope: Scope, object: &str) -> Result<bool, StoreFault> {
        let filter = TrailFilter { object: Some(object.to_owned()), ..TrailFilter::default() };
        let events = self.0.store.audit_events(scope, filter, TrailOrder::NewestFirst, None, 1).await?;
        Ok(!events.is_empty())
    }

    /// Tells of a credential that was not good: of the first ones of a tenant's minute by themselves, of the others by
    /// their number. Never waits.
    pub fn failed(&self, failure: Failure<'_>) {
        let Failure { nid, code, of, key_id, address } = failure;
        let now_ns = self.0.clock.monotonic_ns();
        let mut waiting = self.0.waiting.lock();
        if waiting.minutes.get(&nid).is_some_and(|minute| minute.is_over(now_ns))
            && let Some(over) = waiting.minutes.remove(&nid)
        {
            self.end(&mut waiting, nid, over);
        }
        if waiting.minutes.len() >= MINUTES_MAX && !waiting.minutes.contains_key(&nid) {
            self.0.metrics.audit_dropped.inc();
            return;
        }
        let minute = waiting.minutes.entry(nid).or_insert_with(|| Minute::beginning(now_ns));
        let at = || self.0.clock.now();
        let sample =
            || Sample { at: at(), code, of, key_id: key_id.map(str::to_owned), address, left_out: 0 };
        if let Some(sample) = minute.take(sample) {
            self.push(&mut waiting, nid, event_of(&sample));
        }
    }

    /// Tells of a request that changed nothing: the first of a kind by itself, those that follow within a minute by their
    /// number. Never waits.
    pub fn asked(&self, note: RequestNote) {
        let (now_ns, at) = (self.0.clock.monotonic_ns(), self.0.clock.now());
        let mut waiting = self.0.waiting.lock();
        match waiting.requests.take(note, now_ns, at) {
            Taken::Write(events) => self.push_all(&mut waiting, events),
            Taken::Dropped => drop(self.0.metrics.audit_dropped.inc()),
        }
    }

    /// Tells of something that is to be written soon. Never waits.
    pub fn note(&self, nid: Nid, event: AuditEvent) {
        self.push(&mut self.0.waiting.lock(), nid, event);
    }

    /// All tenants' events that are durable, oldest first, after the one with this id. For system jobs.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn everywhere(
        &self,
        job: &'static str,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Vec<(Nid, AuditEvent)>, StoreFault> {
        self.0.store.audit_events_everywhere(Scope::system(job), after, limit).await
    }

    /// Writes an event before it returns.
    ///
    /// # Errors
    /// When the store did not take it.
    pub async fn append(&self, nid: Nid, event: AuditEvent) -> Result<(), StoreFault> {
        self.0.store.append_audit_events(Scope::tenant(nid), vec![(nid, event)]).await
    }

    /// Writes events before it returns. Those that are there already stay as they are.
    ///
    /// # Errors
    /// When the store did not take them; then none was written.
    pub(crate) async fn append_all(&self, events: Vec<(Nid, AuditEvent)>) -> Result<(), StoreFault> {
        if events.is_empty() {
            return Ok(());
        }
        self.0.store.append_audit_events(Scope::system("audit trail"), events).await
    }

    /// Removes what goes with time from before an instant, and nothing else; how many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn forget_failures(&self, before: Timestamp) -> Result<u64, StoreFault> {
        let mut forgotten = 0;
        loop {
            let scope = Scope::system("retention of the audit trail");
            let part = self.0.store.forget_failures(scope, before, FORGET_MAX).await?;
            forgotten += part;
            if part < u64::from(FORGET_MAX) {
                return Ok(forgotten);
            }
        }
    }

    /// Writes what waits. What cannot be written now waits on.
    pub async fn flush(&self) {
        let now_ns = self.0.clock.monotonic_ns();
        self.end_minutes(|minute| minute.is_over(now_ns), Some(now_ns));
        self.write().await;
    }

    /// Writes everything, also of minutes that are not over, and waits for what is being written.
    pub async fn close(&self) {
        self.end_minutes(|_| true, None);
        self.write().await;
    }

    fn end_minutes(&self, is_over: impl Fn(&Minute) -> bool, now_ns: Option<u64>) {
        let mut waiting = self.0.waiting.lock();
        let over: Vec<(Nid, Minute)> = waiting.minutes.extract_if(|_, minute| is_over(minute)).collect();
        for (nid, minute) in over {
            self.end(&mut waiting, nid, minute);
        }
        let events = waiting.requests.end_all(now_ns);
        self.push_all(&mut waiting, events);
    }

    fn push_all(&self, waiting: &mut Waiting, events: Vec<(Nid, AuditEvent)>) {
        for (nid, event) in events {
            self.push(waiting, nid, event);
        }
    }

    fn end(&self, waiting: &mut Waiting, nid: Nid, minute: Minute) {
        if let Some(last) = minute.end() {
            self.push(waiting, nid, event_of(&last));
        }
    }

    fn push(&self, waiting: &mut Waiting, nid: Nid, event: AuditEvent) {
        if waiting.events.len() < WAITING_MAX {
            waiting.events.push_back((nid, event));
        } else {
            self.0.metrics.audit_dropped.inc();
        }
    }

    async fn write(&self) {
        let _turn = self.0.writing.lock().await;
        loop {
            let batch: Vec<_> = {
                let mut waiting = self.0.waiting.lock();
                let count = waiting.events.len().min(WRITE_MAX);
                waiting.events.drain(..count).collect()
            };
            if batch.is_empty() {
                return;
            }
            let scope = Scope::system("audit trail");
            if let Err(fault) = self.0.store.append_audit_events(scope, batch.clone()).await {
                tracing::warn!(error = &fault as &dyn std::error::Error, "audit events were not written");
                let mut waiting = self.0.waiting.lock();
                let room = WAITING_MAX.saturating_sub(waiting.events.len());
                self.0.metrics.audit_dropped.inc_by(batch.len().saturating_sub(room) as u64);
                batch.into_iter().take(room).rev().for_each(|event| waiting.events.push_front(event));
                return;
            }
        }
    }
}

/// The id is of the moment in which the event is queued, so that readers in order of ids do not miss it.
fn event_of(sample: &Sample) -> AuditEvent {
    AuditEvent {
        id: Uuid::now_v7(),
        at: sample.at,
        action: VERIFICATION_FAILED.to_owned(),
        object: sample.key_id.clone().unwrap_or_default(),
        actor: NOBODY.to_owned(),
        role: CLIENT_ROLE.to_owned(),
        before_digest: None,
        after_digest: None,
        detail: sample.detail(),
        origin: JsonObject::default(),
        told: None,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future as _, poll_fn};
    use std::task::Poll;

    use bh_domain::audit::TrailFilter;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::ports::{StoreResult, SystemClock, TrailOrder};

    /// Takes events when it is let.
    struct Slow {
        asked: Arc<Semaphore>,
        answers: Arc<Semaphore>,
        written: Arc<Mutex<usize>>,
    }

    impl Slow {
        fn new() -> Self {
            let none = || Arc::new(Semaphore::new(0));
            Self { asked: none(), answers: none(), written: Arc::default() }
        }
    }

    impl AuditStore for Slow {
        fn audit_events(
            &self,
            _: Scope,
            _: TrailFilter,
            _: TrailOrder,
            _: Option<Uuid>,
            _: u32,
        ) -> StoreResult<Vec<AuditEvent>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn audit_events_everywhere(
            &self,
            _: Scope,
            _: Option<Uuid>,
            _: u32,
        ) -> StoreResult<Vec<(Nid, AuditEvent)>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn append_audit_events(&self, _: Scope, events: Vec<(Nid, AuditEvent)>) -> StoreResult<()> {
            let (asked, answers) = (Arc::clone(&self.asked), Arc::clone(&self.answers));
            let written = Arc::clone(&self.written);
            Box::pin(async move {
                asked.add_permits(1);
                answers.acquire().await.unwrap().forget();
                *written.lock() += events.len();
                Ok(())
            })
        }
        fn forget_failures(&self, _: Scope, _: Timestamp, _: u32) -> StoreResult<u64> {
            Box::pin(async { Ok(0) })
        }
    }

    #[tokio::test]
    async fn who_closes_the_trail_waits_for_what_is_being_written() {
        let store = Arc::new(Slow::new());
        let shared: Arc<dyn AuditStore> = Arc::<Slow>::clone(&store);
        let trail = AuditTrail::new(shared, Arc::new(SystemClock::new()), Metrics::new());
        let (code, of) = (VerificationError::NotFound, CredentialType::Issued);
        trail.failed(Failure { nid: Nid::SYSTEM, code, of, key_id: None, address: None });
        let flushing = trail.clone();
        let flush = tokio::spawn(async move { flushing.flush().await });
        store.asked.acquire().await.unwrap().forget();

        let mut close = std::pin::pin!(trail.close());
        let first = poll_fn(|cx| Poll::Ready(close.as_mut().poll(cx))).await;
        assert!(first.is_pending(), "an event is on its way");
        store.answers.add_permits(1);
        close.await;
        assert_eq!(*store.written.lock(), 1);
        flush.await.unwrap();
    }
}
