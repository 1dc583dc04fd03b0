//! Budgets: windows of time, and the arithmetic of one account inside a process.
//!
//! A process draws **blocks** of a budget from the store and spends them in memory. The store never grants more
//! than the cap, so whatever happens to the process, settled + held never exceeds it.

use jiff::ToSpan;
pub use jiff::tz::TimeZone;

use crate::money::NanoUsd;
use crate::time::Timestamp;

/// What a budget covers in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A calendar day in the tenant's time zone.
    Day,
    /// A calendar month in the tenant's time zone.
    Month,
    /// As long as the session lives.
    Session,
}

impl Period {
    /// The word used in bodies and evidence.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "daily",
            Self::Month => "monthly",
            Self::Session => "session",
        }
    }
}

/// Whose spending a budget caps.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// One caller of the tenant, by name.
    Caller(String),
    /// The tenant.
    Tenant,
    /// The whole installation.
    Organization,
    /// One session of a caller.
    Session {
        /// The caller's name.
        caller: String,
        /// The session id the client asserted; namespaced by tenant and caller.
        id: String,
    },
    /// One derived token with a budget of its own, by its `jti`. What it spends it spends over its whole life.
    Token(String),
}

impl Owner {
    /// The stable name under which the store keeps this owner's budget.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Caller(name) => format!("caller:{name}"),
            Self::Tenant => "tenant".to_owned(),
            Self::Organization => "organization".to_owned(),
            // With the length, so that no caller and id read like another pair.
            Self::Session { caller, id } => format!("session:{}:{caller}:{id}", caller.len()),
            Self::Token(id) => format!("token:{id}"),
        }
    }
}

/// The label a session budget has in place of a date.
pub const SESSION_WINDOW: &str = "session";

/// The day and month an instant belongs to in one time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Windows {
    /// `2026-11-21`.
    pub day: String,
    /// The first instant of the day.
    pub day_start: Timestamp,
    /// The first instant after the day.
    pub day_end: Timestamp,
    /// `2026-11`.
    pub month: String,
    /// The first instant of the month.
    pub month_start: Timestamp,
    /// The first instant after the month.
    pub month_end: Timestamp,
}

impl Windows {
    /// The windows of `now` in `zone`.
    #[must_use]
    pub fn at(now: Timestamp, zone: &TimeZone) -> Self {
        let instant = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let date = instant.to_zoned(zone.clone()).date();
        let first = date.first_of_month();
        let start_of = |d: jiff::civil::Date| {
            d.to_zoned(zone.clone()).map_or(now, |z| Timestamp(z.timestamp().as_millisecond()))
        };
        let after = |d: jiff::civil::Date, span: jiff::Span| {
            start_of(d.checked_add(span).unwrap_or(jiff::civil::Date::MAX))
        };
        Self {
            day: date.to_string(),
            day_start: start_of(date),
            day_end: after(date, 1.day()),
            month: date.strftime("%Y-%m").to_string(),
            month_start: start_of(first),
            month_end: after(first, 1.month()),
        }
    }

    /// Whether `now` still lies in the day.
    #[must_use]
    pub fn cover(&self, now: Timestamp) -> bool {
        self.day_start <= now && now < self.day_end
    }
}

/// One budget in one process: what the store has granted and nobody has spent yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Granted by the store and free. Negative after a call cost more than was held for it.
    available: NanoUsd,
    /// Held for calls under way.
    held: NanoUsd,
}

/// The least a block is, so that tiny calls do not lease one by one: a tenth of a cent.
const BLOCK_MIN: NanoUsd = NanoUsd(1_000_000);
/// A block holds this many calls like the one that asked for it.
const BLOCK_CALLS: i64 = 64;
/// No single block is more than this part of the cap: a crash then strands little.
const BLOCK_CAP_PARTS: i64 = 20;

impl Account {
    /// Holds `amount` if it is free.
    pub fn hold(&mut self, amount: NanoUsd) -> bool {
        if self.available < amount {
            return false;
        }
        self.available -= amount;
        self.held += amount;
        true
    }

    /// Adds a block from the store.
    pub fn grant(&mut self, block: NanoUsd) {
        self.available += block;
    }

    /// Replaces a hold by what the call really cost; the rest is free again.
    pub fn settle(&mut self, held: NanoUsd, cost: NanoUsd) {
        self.held -= held;
        self.available += held - cost;
    }

    /// Takes back what is free beyond `keep`, to return it to the store.
    pub fn take_idle(&mut self, keep: NanoUsd) -> NanoUsd {
        let idle = (self.available - keep).max(NanoUsd::ZERO);
        self.available -= idle;
        idle
    }

    /// Free now.
    #[must_use]
    pub fn available(&self) -> NanoUsd {
        self.available
    }

    /// Held for calls under way.
    #[must_use]
    pub fn held(&self) -> NanoUsd {
        self.held
    }

    /// How much must be leased for `amount` to fit.
    #[must_use]
    pub fn missing(&self, amount: NanoUsd) -> NanoUsd {
        (amount - self.available).max(NanoUsd::ZERO)
    }
}

/// How much to ask the store for beyond what is needed at once, for calls of about `amount` under `cap`.
#[must_use]
pub fn block_size(amount: NanoUsd, cap: NanoUsd) -> NanoUsd {
    let wanted = amount.times(BLOCK_CALLS).max(BLOCK_MIN);
    wanted.min(NanoUsd(cap.0 / BLOCK_CAP_PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_tenants_own_even_when_it_has_23_hours() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let windows = Windows::at(Timestamp::parse("2026-03-29T10:00:00Z").unwrap(), &berlin);
        assert_eq!((windows.day.as_str(), windows.month.as_str()), ("2026-03-29", "2026-03"));
        assert_eq!(windows.day_end.0 - windows.day_start.0, 23 * 3_600_000);
        assert_eq!(windows.month_start.rfc3339(), "2026-02-28T23:00:00.000Z");
        assert_eq!(windows.month_end.rfc3339(), "2026-03-31T22:00:00.000Z");
        assert!(windows.cover(windows.day_start) && !windows.cover(windows.day_end));
    }

    #[test]
    fn what_is_held_and_free_always_adds_up_to_what_was_granted_less_what_was_spent() {
        let mut account = Account::default();
        assert!(!account.hold(NanoUsd(1)));
        account.grant(NanoUsd(100));
        assert!(account.hold(NanoUsd(60)) && !account.hold(NanoUsd(41)) && account.hold(NanoUsd(40)));
        account.settle(NanoUsd(60), NanoUsd(10));
        assert_eq!((account.available(), account.held()), (NanoUsd(50), NanoUsd(40)));
        account.settle(NanoUsd(40), NanoUsd(100));
        assert_eq!((account.available(), account.missing(NanoUsd(5))), (NanoUsd(-10), NanoUsd(15)));
    }

    #[test]
    fn idle_money_goes_back_but_never_what_is_held() {
        let mut account = Account::default();
        account.grant(NanoUsd(100));
        assert!(account.hold(NanoUsd(30)));
        assert_eq!(account.take_idle(NanoUsd(20)), NanoUsd(50));
        assert_eq!((account.available(), account.held()), (NanoUsd(20), NanoUsd(30)));
    }
}
