//! Events that belong to no change: told without waiting, written later and together.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::{Nid, Scope};
use parking_lot::Mutex;
use uuid::Uuid;

use super::sampler::{Minute, Sample};
use crate::metrics::{CredentialType, Metrics};
use crate::ports::{AuditEvent, AuditStore, Clock, StoreFault};

/// Events that wait to be written; more are dropped, and counted.
const WAITING_MAX: usize = 8_192;
/// Tenants with a minute under way; failures of more are dropped, and counted.
const MINUTES_MAX: usize = 65_536;
/// Events of one write.
const WRITE_MAX: usize = 500;

/// The action of an event that tells of a credential that was not good.
pub(crate) const VERIFICATION_FAILED: &str = "key.verification_failed";
/// How the trail names whoever shows a credential that proves nothing.
const NOBODY: &str = "unknown";
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
}

struct Inner {
    store: Arc<dyn AuditStore>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    waiting: Mutex<Waiting>,
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
        Self(Arc::new(Inner { store, clock, metrics, waiting: Mutex::default() }))
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

    /// Writes what waits. What cannot be written now waits on.
    pub async fn flush(&self) {
        let now_ns = self.0.clock.monotonic_ns();
        self.end_minutes(|minute| minute.is_over(now_ns));
        self.write().await;
    }

    /// Writes everything, also of minutes that are not over.
    pub async fn close(&self) {
        self.end_minutes(|_| true);
        self.write().await;
    }

    fn end_minutes(&self, is_over: impl Fn(&Minute) -> bool) {
        let mut waiting = self.0.waiting.lock();
        let over: Vec<(Nid, Minute)> = waiting.minutes.extract_if(|_, minute| is_over(minute)).collect();
        for (nid, minute) in over {
            self.end(&mut waiting, nid, minute);
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
    }
}
