//! `billing.period_closed`: once for each tenant when a month, UTC, is over (seed 001, Billing Integration).

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;
use bh_domain::webhook::{self, EventKind, Month};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::outbox::{body, with_tenant};
use crate::ports::{Clock, OutboxEvent, OutboxStore, StoreFault};
use crate::snapshot::{Live, Snapshot};

/// Where the store remembers which month was closed last.
const PROGRESS: &str = "billing closed through";
/// Months that are caught up with after a long pause; older ones are left to `billing/close`.
const MONTHS_MAX: usize = 12;
/// Tenants whose events are written in one transaction.
const TENANTS_AT_ONCE: usize = 256;

/// A month that was closed by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPeriod {
    /// The event that tells of it.
    pub event_id: String,
    /// Whether it was closed by this: another time before, and nothing is sent again.
    pub is_new: bool,
}

/// Closes months.
#[derive(Clone)]
pub struct PeriodCloser(Arc<Inner>);

struct Inner {
    store: Arc<dyn OutboxStore>,
    live: Live,
    clock: Arc<dyn Clock>,
    /// The last month that is known to be closed.
    closed: Mutex<Option<Month>>,
}

impl std::fmt::Debug for PeriodCloser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeriodCloser").finish_non_exhaustive()
    }
}

impl PeriodCloser {
    /// A closer for the tenants and endpoints of the configuration in force.
    #[must_use]
    pub fn new(store: Arc<dyn OutboxStore>, live: Live, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { store, live, clock, closed: Mutex::default() }))
    }

    /// Closes every month that is over and was not closed yet: of an installation that was down meanwhile, several. What
    /// was before an installation's first month is not its to bill. To be run now and then, by any number of processes.
    ///
    /// # Errors
    /// When the store does not answer; the next round goes on where this one stopped.
    pub async fn round(&self) -> Result<(), StoreFault> {
        let snapshot = self.0.live.load_full();
        let delay_ms = i64::try_from(snapshot.webhooks.billing_close_delay.as_millis()).unwrap_or(i64::MAX);
        let last = Month::of(self.0.clock.now().plus_ms(-delay_ms)).previous();
        if *self.0.closed.lock() == Some(last) {
            return Ok(());
        }
        let found = self.0.store.progress(PROGRESS).await?.and_then(|text| Month::parse(&text));
        let mut reached = found.unwrap_or(last);
        let mut open = Vec::new();
        while reached < last {
            reached = reached.next();
            open.push(reached);
        }
        if open.len() > MONTHS_MAX {
            tracing::warn!(
                months = open.len(),
                "too many months were missed to close them all: only the last ones are"
            );
            open.drain(..open.len() - MONTHS_MAX);
        }
        for month in open {
            self.close_all(&snapshot, month).await?;
        }
        if found.is_none_or(|found| found < last) {
            self.0.store.set_progress(PROGRESS, last.to_string()).await?;
        }
        *self.0.closed.lock() = Some(last);
        Ok(())
    }

    async fn close_all(&self, snapshot: &Snapshot, month: Month) -> Result<(), StoreFault> {
        let now = self.0.clock.now();
        // Suspended ones as well: what they used before is owed.
        let tenants = snapshot.every_tenant();
        let event = |(id, nid): &(TenantId, Nid)| self.event(snapshot, (*nid, id), month, now);
        let wanted = tenants.iter().map(event).filter(|event| !event.endpoints.is_empty());
        let events: Vec<OutboxEvent> = wanted.collect();
        for part in events.chunks(TENANTS_AT_ONCE) {
            self.0.store.append_outbox(Scope::system("close months"), part.to_vec()).await?;
        }
        tracing::info!(%month, tenants = events.len(), "the month is closed");
        Ok(())
    }

    /// Closes a month of one tenant now, and tells of it. A month that was closed before stays closed.
    ///
    /// # Errors
    /// `invalid_request` for what is no month, or not over yet; what a store that does not answer leads to.
    pub async fn close(&self, tenant: (Nid, &TenantId), month: &str) -> Result<ClosedPeriod, Refusal> {
        let now = self.0.clock.now();
        let Some(month) = Month::parse(month) else {
            return Err(invalid(&format!("`month` is `{month}`; it must be a month such as 2026-10")));
        };
        if month.end() > now {
            let over = month.end().rfc3339();
            return Err(invalid(&format!("The month {month} is not over: it can be closed from {over} on")));
        }
        let event = self.event(&self.0.live.load(), tenant, month, now);
        let event_id = event.id.clone();
        let added = self.0.store.append_outbox(Scope::system("close a month"), vec![event]).await;
        let is_new = added.map_err(|fault| fault.refusal())?.contains(&true);
        Ok(ClosedPeriod { event_id, is_new })
    }

    fn event(
        &self,
        snapshot: &Snapshot,
        (nid, tenant): (Nid, &TenantId),
        month: Month,
        now: Timestamp,
    ) -> OutboxEvent {
        let kind = EventKind::BillingPeriodClosed;
        let texts = |pairs: &[(&str, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into())).collect()
        };
        // The seed's receiver looks for the tenant and the month beside `data`.
        let beside = texts(&[("tenantId", tenant.to_string()), ("month", month.to_string())]);
        let data = texts(&[
            ("month", month.to_string()),
            ("periodStart", month.start().rfc3339()),
            ("periodEnd", month.end().rfc3339()),
        ]);
        OutboxEvent {
            nid,
            id: webhook::id_of(&["billing", &nid.to_string(), &month.to_string()]),
            kind,
            at: now,
            payload: body(kind, now, beside, with_tenant(Some(tenant), data)),
            endpoints: snapshot.webhooks.wanted_by(kind, Some(tenant)),
        }
    }
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, message).with("field", "month")
}
