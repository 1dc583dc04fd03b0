//! `billing.period_closed`: once for each tenant when a month, UTC, is over (seed 001, Billing Integration).

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::{SECOND_MS, Timestamp};
use bh_domain::webhook::{self, EventKind, Month};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::outbox::{body, with_tenant};
use crate::ports::{Clock, OutboxEvent, OutboxStore, StoreFault, StoredEvent, UsageStore};
use crate::snapshot::{Live, Snapshot};
use crate::usage::{MonthError, UsageReads};

/// Where the store remembers which month was closed last.
const PROGRESS: &str = "billing closed through";
/// Months that are caught up with after a long pause; older ones are left to `billing/close`.
const MONTHS_MAX: usize = 12;
/// Tenants whose events are written in one transaction.
const TENANTS_AT_ONCE: usize = 256;

/// How long after a month's end what ended in it may still be on its way to the ledger: no month is closed sooner.
const SETTLED_WITHIN_MS: i64 = 60 * SECOND_MS;

/// A month that was closed by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedPeriod {
    /// The event that tells of it, which may be forgotten by now.
    pub event: StoredEvent,
    /// Whether it was closed by this: another time before, and nothing is sent again.
    pub is_new: bool,
}

/// Closes months.
#[derive(Clone)]
pub struct PeriodCloser(Arc<Inner>);

struct Inner {
    store: Arc<dyn OutboxStore>,
    usage: UsageReads,
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
    pub fn new(
        store: Arc<dyn OutboxStore>,
        usage: Arc<dyn UsageStore>,
        live: Live,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let usage = UsageReads::new(usage, Arc::clone(&clock), Arc::clone(&live));
        Self(Arc::new(Inner { store, usage, live, clock, closed: Mutex::default() }))
    }

    /// Closes every month that is over and was not closed yet: of an installation that was down meanwhile, several. What
    /// was before an installation's first month is not its to bill. To be run now and then, by any number of processes.
    ///
    /// # Errors
    /// When the store does not answer; the next round goes on where this one stopped.
    pub async fn round(&self) -> Result<(), StoreFault> {
        let snapshot = self.0.live.load_full();
        let delay_ms = i64::try_from(snapshot.webhooks.billing_close_delay.as_millis()).unwrap_or(i64::MAX);
        let last = last_settled(self.0.clock.now(), delay_ms);
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
            match self.0.usage.whole(month.into()).await {
                Ok(()) => self.close_all(&snapshot, month).await?,
                Err(MonthError::Store(fault)) => return Err(fault),
                Err(error @ MonthError::Forgotten { .. }) => {
                    tracing::error!(%month, "the month is not closed, and nobody is told of it: {error}")
                }
            }
        }
        if found.is_none_or(|found| found < last) {
            self.0.store.set_progress(PROGRESS, last.to_string()).await?;
        }
        *self.0.closed.lock() = Some(last);
        Ok(())
    }

    async fn close_all(&self, snapshot: &Snapshot, month: Month) -> Result<(), StoreFault> {
        let now = self.0.clock.now();
        // Suspended and since then deleted ones as well: what they used before is owed.
        let tenants = snapshot.every_debtor(month.start());
        let event = |(id, nid): &(TenantId, Nid)| self.event(snapshot, (*nid, id), month, now);
        let wanted = tenants.iter().map(event).filter(|event| !event.endpoints.is_empty());
        let events: Vec<OutboxEvent> = wanted.collect();
        for part in events.chunks(TENANTS_AT_ONCE) {
            self.0.store.close_periods(Scope::system("close months"), part.to_vec()).await?;
        }
        tracing::info!(%month, tenants = events.len(), "the month is closed");
        Ok(())
    }

    /// Closes a month of one tenant now, and tells of it. A month that was closed before stays closed.
    ///
    /// # Errors
    /// `invalid_request` for what is no month, not over yet, or forgotten in part; what a store that does not answer leads to.
    pub async fn close(&self, tenant: (Nid, &TenantId), month: &str) -> Result<ClosedPeriod, Refusal> {
        let now = self.0.clock.now();
        let Some(month) = Month::parse(month) else {
            return Err(invalid(&format!("`month` is `{month}`; it must be a month such as 2026-10")));
        };
        if month > last_settled(now, 0) {
            let from = month.end().plus_ms(SETTLED_WITHIN_MS).rfc3339();
            return Err(invalid(&format!("The month {month} is not over: it can be closed from {from} on")));
        }
        self.0.usage.whole(month.into()).await.map_err(|error| error.refusal())?;
        let snapshot = self.0.live.load_full();
        let event = self.event(&snapshot, tenant, month, now);
        let closed = self.0.store.close_periods(Scope::system("close a month"), vec![event.clone()]).await;
        let before = closed.map_err(|fault| fault.refusal())?.into_iter().next().flatten();
        // What was told then: an event is made of nothing but tenant, month and when it was closed.
        let told = before.map_or(event, |at| self.event(&snapshot, tenant, month, at));
        Ok(ClosedPeriod { event: told.into(), is_new: before.is_none() })
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
            id: webhook::id_of_period(nid, month),
            kind,
            at: now,
            payload: body(kind, now, beside, with_tenant(Some(tenant), data)),
            endpoints: snapshot.webhooks.wanted_by(kind, Some(tenant)),
        }
    }
}

/// The last month of which everything that ended in it has reached the ledger, and that has been over for this long. A call
/// is counted when it ends: one that ends later is the next month's.
fn last_settled(now: Timestamp, delay_ms: i64) -> Month {
    Month::of(now.plus_ms(-delay_ms.max(SETTLED_WITHIN_MS))).previous()
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, message).with("field", "month")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_closed_no_sooner_than_what_ended_in_it_has_reached_the_ledger() {
        let last = |now: &str, delay_ms| last_settled(Timestamp::parse(now).unwrap(), delay_ms).to_string();
        assert_eq!(last("2026-12-01T00:00:59.999Z", 0), "2026-10");
        assert_eq!(last("2026-12-01T00:01:00Z", 0), "2026-11");
        assert_eq!(last("2026-12-01T00:01:00Z", 3_600 * SECOND_MS), "2026-10", "configured to take longer");
        assert_eq!(last("2026-12-01T01:00:00Z", 3_600 * SECOND_MS), "2026-11");
    }
}
