//! What a tenant used, and what that comes to (seed 001; Connectors dossier §3.1, §10; decision 22).

mod metrics;
mod month;
#[cfg(test)]
mod tests;
mod verifications;

use std::fmt;
use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::usage::{UtcDay, UtcMonth};

use crate::ports::{Clock, StoreFault, UsageDays, UsageStore};
use crate::snapshot::{Live, Tenant};

pub use metrics::{DayUsage, KeyCounts, ModelUsage, Percentiles, RequestCounts, TokenTotals, UsageMetrics};
pub use month::{LineItem, MonthUsage};
pub use verifications::Verifications;

/// Days of one question, some three years.
pub const DAYS_MAX: i64 = 1_100;
/// Days that are told when nobody says which: today and the 29 before it.
const DAYS_DEFAULT: i64 = 30;
/// Models that are told one by one; the others are told together.
const MODELS_MAX: u32 = 100;

/// Reads usage.
#[derive(Clone)]
pub struct UsageReads {
    store: Arc<dyn UsageStore>,
    clock: Arc<dyn Clock>,
    live: Live,
}

impl fmt::Debug for UsageReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageReads").finish_non_exhaustive()
    }
}

/// Whose usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Tenant.
    pub tenant_id: String,
    /// Its network id.
    pub nid: Nid,
    /// Its plan, which may have prices of its own.
    pub plan: Option<String>,
}

impl Account {
    /// A tenant's account.
    #[must_use]
    pub fn of(tenant: &Tenant) -> Self {
        Self { tenant_id: tenant.id.to_string(), nid: tenant.nid, plan: tenant.plan.clone() }
    }
}

/// Days that nobody can be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DaysError {
    /// The last one comes first.
    #[error("the last day, {last}, is before the first, {first}")]
    Backwards {
        /// First day.
        first: UtcDay,
        /// Last day.
        last: UtcDay,
    },
    /// Too many.
    #[error("from {first} to {last} are more than {DAYS_MAX} days: ask for a shorter time")]
    TooMany {
        /// First day.
        first: UtcDay,
        /// Last day.
        last: UtcDay,
    },
}

/// Why nobody can be told what a month comes to.
#[derive(Debug, thiserror::Error)]
pub enum MonthError {
    /// Part of it has been forgotten: the sum of the rest would be too small.
    #[error(
        "The month {month} is not known whole any more: usage is kept from {kept_from} on, as `usage.retention_days` says"
    )]
    Forgotten {
        /// The month.
        month: UtcMonth,
        /// From which day on usage is kept.
        kept_from: UtcDay,
    },
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreFault),
}

impl MonthError {
    /// What whoever asks is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Forgotten { .. } => {
                Refusal::new(Code::InvalidRequest, self.to_string()).with("field", "month")
            }
            Self::Store(fault) => fault.refusal(),
        }
    }
}

impl UsageReads {
    /// Stories over `store`, with the prices of the configuration in force.
    pub fn new(store: Arc<dyn UsageStore>, clock: Arc<dyn Clock>, live: Live) -> Self {
        Self { store, clock, live }
    }

    /// The days from one to another, both included. Without a last one until today, without a first one 30 days.
    ///
    /// # Errors
    /// [`DaysError`] says why these are no days to ask for.
    pub fn days(&self, first: Option<UtcDay>, last: Option<UtcDay>) -> Result<UsageDays, DaysError> {
        days(first, last, self.clock.now())
    }

    /// The month that a text names, or this one.
    ///
    /// # Errors
    /// [`bh_domain::usage::CalendarError`] repeats a text that names none.
    pub fn month_of(&self, text: Option<&str>) -> Result<UtcMonth, bh_domain::usage::CalendarError> {
        let now = self.clock.now();
        let this = || now.rfc3339().get(.."2026-11".len()).unwrap_or_default().to_owned();
        text.map_or_else(|| UtcMonth::parse(&this()), UtcMonth::parse)
    }
}

fn days(first: Option<UtcDay>, last: Option<UtcDay>, now: Timestamp) -> Result<UsageDays, DaysError> {
    let last = last.unwrap_or(UtcDay::of(now));
    let first = first.unwrap_or(last.plus(1 - DAYS_DEFAULT));
    if last < first {
        return Err(DaysError::Backwards { first, last });
    }
    if last.0 - first.0 >= DAYS_MAX {
        return Err(DaysError::TooMany { first, last });
    }
    Ok(UsageDays { first, last })
}
