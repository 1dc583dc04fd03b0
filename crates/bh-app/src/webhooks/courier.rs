//! Carries events to endpoints.
//!
//! Every endpoint has a number of places of its own, so a slow one holds up nobody else. A delivery is taken from the store
//! for as long as an attempt may last; whoever dies with it in hand loses it to the next one who looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bh_domain::tenant::Scope;
use bh_domain::time::{DAY_MS, SECOND_MS, Timestamp};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::attempt::{Attempted, Message, attempt};
use super::health::Healths;
use crate::metrics::{DeliveryOutcome, Metrics};
use crate::ports::{
    AttemptEnd, Clock, DeliveryState, Entropy, Holder, OutboxStore, StoreFault, TakenDelivery, Upstream,
};
use crate::snapshot::{Live, Snapshot, WebhookEndpoint};

/// How often the outbox is looked at.
const POLL_EVERY: Duration = Duration::from_millis(250);
/// A delivery is kept from others for this much longer than an attempt may take.
const LEASE_MARGIN: Duration = Duration::from_secs(5);
/// How long deliveries under way may take once the process is to stop. What is cut off is tried again by whoever is next.
const STOP_WITHIN: Duration = Duration::from_secs(5);
const REST_POLL: Duration = Duration::from_millis(10);
/// An answer about a delivery that the store did not take is told again so often.
const END_TRIES_MAX: u32 = 5;
/// Events that are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: u32 = 1_000;
const END_RETRY: Duration = Duration::from_millis(200);

/// What the courier works with.
#[derive(Clone)]
pub struct CourierParts {
    /// The outbox.
    pub store: Arc<dyn OutboxStore>,
    /// The way outside, past the egress guard.
    pub upstream: Arc<dyn Upstream>,
    /// The configuration in force.
    pub live: Live,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for pauses.
    pub entropy: Arc<dyn Entropy>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// This process.
    pub holder: Holder,
}

impl std::fmt::Debug for CourierParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CourierParts").finish_non_exhaustive()
    }
}

/// Carries events to endpoints.
#[derive(Clone, Debug)]
pub struct Courier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: CourierParts,
    healths: Healths,
    /// Places taken at each endpoint.
    busy: Mutex<HashMap<String, Arc<AtomicUsize>>>,
}

/// A place at an endpoint, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Courier {
    /// A courier; [`Courier::run`] makes it work.
    #[must_use]
    pub fn new(parts: CourierParts) -> Self {
        Self(Arc::new(Inner { parts, healths: Healths::default(), busy: Mutex::default() }))
    }

    pub(super) fn parts(&self) -> &CourierParts {
        &self.0.parts
    }

    pub(super) fn healths(&self) -> &Healths {
        &self.0.healths
    }

    /// Delivers what is due until the process is to stop, then ends what is under way; see [`Courier::rest`].
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        let mut stopping = stop.clone();
        loop {
            self.round(&mut under_way, &stop).await;
            while under_way.try_join_next().is_some() {}
            tokio::select! {
                () = tokio::time::sleep(POLL_EVERY) => {}
                // An error means that the sender is gone, which also is the end.
                _ = stopping.wait_for(|stopped| *stopped) => break,
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// Waits until nothing is under way, a little at most. To be done before the store is closed; what is cut off is sent
    /// again by whoever is next.
    pub async fn rest(&self) {
        let is_busy = || self.0.busy.lock().values().any(|busy| busy.load(Ordering::Acquire) > 0);
        let resting = async {
            while is_busy() {
                tokio::time::sleep(REST_POLL).await;
            }
        };
        if tokio::time::timeout(STOP_WITHIN, resting).await.is_err() {
            tracing::info!("webhook deliveries are cut off; they are tried again");
        }
    }

    /// Fills the free places of every endpoint with what is due there.
    async fn round(&self, under_way: &mut JoinSet<()>, stop: &watch::Receiver<bool>) {
        let snapshot = self.0.parts.live.load_full();
        for endpoint in &snapshot.webhooks.endpoints {
            if self.0.healths.is_gone(&endpoint.id, snapshot.generation) {
                continue;
            }
            let busy = Arc::clone(self.0.busy.lock().entry(endpoint.id.clone()).or_default());
            let free = snapshot.webhooks.concurrency.saturating_sub(busy.load(Ordering::Acquire));
            if free == 0 {
                continue;
            }
            match self.take(&snapshot, &endpoint.id, free).await {
                Ok(taken) => {
                    for delivery in taken {
                        busy.fetch_add(1, Ordering::AcqRel);
                        let place = Place(Arc::clone(&busy));
                        under_way.spawn(self.clone().work(
                            endpoint.id.clone(),
                            delivery,
                            place,
                            stop.clone(),
                        ));
                    }
                }
                Err(fault) => {
                    tracing::warn!(error = &fault as &dyn std::error::Error, "the outbox cannot be read");
                }
            }
        }
    }

    async fn take(
        &self,
        snapshot: &Snapshot,
        endpoint: &str,
        limit: usize,
    ) -> Result<Vec<TakenDelivery>, StoreFault> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let until = now.plus_ms(millis(snapshot.webhooks.timeout + LEASE_MARGIN));
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        parts.store.take_deliveries(parts.holder, endpoint.to_owned(), now, until, limit).await
    }

    /// Delivers one thing after the other at one place, for as long as something is due.
    async fn work(self, id: String, first: TakenDelivery, _place: Place, stop: watch::Receiver<bool>) {
        let mut next = Some(first);
        while let Some(taken) = next {
            let snapshot = self.0.parts.live.load_full();
            let Some(endpoint) = snapshot.webhooks.endpoint(&id).cloned() else { return };
            self.deliver(&snapshot, &endpoint, taken).await;
            if *stop.borrow() || self.0.healths.is_gone(&id, snapshot.generation) {
                return;
            }
            // What the store says of itself is logged by the next round.
            next = match self.take(&snapshot, &id, 1).await {
                Ok(mut taken) => taken.pop(),
                Err(_) => None,
            };
        }
    }

    async fn deliver(&self, snapshot: &Snapshot, endpoint: &WebhookEndpoint, taken: TakenDelivery) {
        let parts = &self.0.parts;
        let message = Message { id: &taken.event_id, payload: &taken.payload };
        let timeout = snapshot.webhooks.timeout;
        let attempted = attempt(&parts.upstream, endpoint, message, timeout, parts.clock.now()).await;
        let end = self.judge(snapshot, endpoint, &taken, attempted);
        for _ in 0..END_TRIES_MAX {
            let ended =
                parts.store.end_attempt(parts.holder, endpoint.id.clone(), taken.clone(), end.clone());
            match ended.await {
                Ok(true) => return,
                Ok(false) => {
                    tracing::warn!(
                        event = taken.event_id,
                        endpoint = endpoint.id,
                        "a delivery took longer than it may"
                    );
                    return;
                }
                Err(fault) => {
                    tracing::warn!(
                        error = &fault as &dyn std::error::Error,
                        "a delivery's end was not written"
                    );
                    tokio::time::sleep(END_RETRY).await;
                }
            }
        }
    }

    /// What becomes of a delivery after an attempt; counted and remembered.
    fn judge(
        &self,
        snapshot: &Snapshot,
        endpoint: &WebhookEndpoint,
        taken: &TakenDelivery,
        attempted: Attempted,
    ) -> AttemptEnd {
        let parts = &self.0.parts;
        let at = parts.clock.now();
        let (status, error, pause) = match attempted {
            Attempted::Taken(status) => {
                self.0.healths.delivered(&endpoint.id, at);
                parts.metrics.webhooks.delivered(DeliveryOutcome::Delivered);
                return end(DeliveryState::Delivered, at, at, Some(status), None);
            }
            Attempted::Gone => {
                let error =
                    "answered 410: it is sent nothing more until the configuration is loaded anew".to_owned();
                (Some(StatusCode::GONE), error, None)
            }
            Attempted::Forbidden(error) => (None, error, None),
            Attempted::Failed { status, error, retry_after } => {
                let mut dice = [0; 2];
                parts.entropy.fill(&mut dice);
                let backoff = snapshot.webhooks.backoff;
                let pause = backoff.pause(taken.attempt, u16::from_le_bytes(dice), retry_after);
                (status, error, Some(pause).filter(|_| taken.attempt < snapshot.webhooks.attempts_max))
            }
        };
        let gone_in = (status == Some(StatusCode::GONE)).then_some(snapshot.generation);
        self.0.healths.failed(&endpoint.id, at, &error, gone_in);
        tracing::warn!(
            event = taken.event_id,
            endpoint = endpoint.id,
            attempt = taken.attempt,
            dead = pause.is_none(),
            error,
            "a webhook was not delivered"
        );
        let (state, outcome) = match pause {
            Some(_) => (DeliveryState::Pending, DeliveryOutcome::Failed),
            None => (DeliveryState::Dead, DeliveryOutcome::Dead),
        };
        parts.metrics.webhooks.delivered(outcome);
        end(state, at, at.plus_ms(pause.map_or(0, millis)), status, Some(error))
    }

    /// Brings the gauges up to date. To be run now and then.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn gauge(&self) -> Result<(), StoreFault> {
        let CourierParts { store, clock, metrics, .. } = &self.0.parts;
        let backlog = store.backlog(Scope::system("webhook gauges")).await?;
        let age_ms = backlog.oldest_pending.map_or(0, |oldest| clock.now().0.saturating_sub(oldest.0).max(0));
        metrics.webhooks.backlog(age_ms / SECOND_MS, backlog.dead);
        Ok(())
    }

    /// Forgets events that are older than they are kept; how many.
    ///
    /// # Errors
    /// When the store does not answer; the next time does the rest.
    pub async fn forget_old(&self) -> Result<u64, StoreFault> {
        let CourierParts { store, clock, live, .. } = &self.0.parts;
        let kept_ms = i64::from(live.load().webhooks.retention_days).saturating_mul(DAY_MS);
        let before = clock.now().plus_ms(-kept_ms);
        let mut all = 0;
        loop {
            let some =
                store.forget_outbox(Scope::system("webhook retention"), before, FORGOTTEN_AT_ONCE).await?;
            all += some;
            if some == 0 {
                return Ok(all);
            }
        }
    }
}

fn end(
    state: DeliveryState,
    at: Timestamp,
    next_at: Timestamp,
    status: Option<StatusCode>,
    error: Option<String>,
) -> AttemptEnd {
    AttemptEnd { state, next_at, at, status: status.map(|status| status.as_u16()), error }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
