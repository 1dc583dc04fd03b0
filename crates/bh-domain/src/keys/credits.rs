//! Credits of a key: uses that are paid for, and when they are replaced.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::time::Timestamp;

/// The most credits of one key, and the most that one use costs.
pub const CREDITS_MAX: i64 = 1_000_000_000_000;

/// How often credits are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RefillInterval {
    /// At each midnight, UTC.
    Daily,
    /// At midnight, UTC, at the beginning of a day of each month.
    Monthly,
}

impl RefillInterval {
    /// Every interval.
    pub const ALL: [Self; 2] = [Self::Daily, Self::Monthly];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Monthly => "monthly",
        }
    }
}

/// A replacement of credits: whatever is left, there are so many again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub struct Refill {
    /// How often.
    pub interval: RefillInterval,
    /// How many there are then.
    pub amount: i64,
    /// On which day of a month, 1 to 31; in a month that is shorter, on its last. Of no use for daily ones.
    pub day: i8,
}

/// Why credits are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreditsError {
    /// No number of uses.
    #[error("`remaining` must be 0 to {CREDITS_MAX}")]
    Remaining,
    /// No number of uses.
    #[error("`refill.amount` must be 1 to {CREDITS_MAX}")]
    Amount,
    /// No day.
    #[error("`refill.day` must be 1 to 31, and only stands with a monthly refill")]
    Day,
}

impl Refill {
    /// Checks it.
    ///
    /// # Errors
    /// [`CreditsError`] names the member.
    pub fn check(self) -> Result<(), CreditsError> {
        if !(1..=CREDITS_MAX).contains(&self.amount) {
            return Err(CreditsError::Amount);
        }
        let day_fits = match self.interval {
            RefillInterval::Daily => self.day == 1,
            RefillInterval::Monthly => (1..=31).contains(&self.day),
        };
        if day_fits { Ok(()) } else { Err(CreditsError::Day) }
    }

    /// The first replacement after an instant.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Timestamp {
        let instant = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let today = instant.to_zoned(TimeZone::UTC).date();
        let next = match self.interval {
            RefillInterval::Daily => today.tomorrow().unwrap_or(Date::MAX),
            RefillInterval::Monthly => {
                let this_month = self.day_in(today);
                let next_month = || today.last_of_month().tomorrow().map(|first| self.day_in(first));
                if today < this_month { this_month } else { next_month().unwrap_or(Date::MAX) }
            }
        };
        let midnight = next.to_zoned(TimeZone::UTC);
        midnight.map_or(Timestamp(i64::MAX), |midnight| Timestamp(midnight.timestamp().as_millisecond()))
    }

    /// Its day in the month of a date.
    fn day_in(self, date: Date) -> Date {
        let last = date.last_of_month();
        Date::new(date.year(), date.month(), self.day.clamp(1, last.day())).unwrap_or(last)
    }
}

/// The uses a key has left at an instant; `None` for any number.
#[must_use]
pub fn left(key: &Key, refill: Option<Refill>, now: Timestamp) -> Option<i64> {
    left_until(key, refill, now).map(|(left, _)| left)
}

/// The same, and the instant from which on a refill makes them more.
#[must_use]
pub fn left_until(key: &Key, refill: Option<Refill>, now: Timestamp) -> Option<(i64, Timestamp)> {
    let credits = key.credits?;
    let due = key.refills.is_some_and(|at| at <= now);
    Some(match refill {
        Some(refill) if due => (refill.amount, refill.next(now)),
        Some(_) | None => (credits, key.refills.unwrap_or(Timestamp(i64::MAX))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(interval: RefillInterval, day: i8, now: &str) -> String {
        Refill { interval, amount: 5, day }.next(Timestamp::parse(now).unwrap()).rfc3339()
    }

    #[test]
    fn the_next_refill_is_at_midnight_in_utc_of_the_next_day_or_of_the_months_day() {
        use RefillInterval::{Daily, Monthly};
        for (interval, day, now, wanted) in [
            (Daily, 1, "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"),
            (Daily, 1, "2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z"),
            (Monthly, 15, "2026-11-14T23:59:59Z", "2026-11-15T00:00:00Z"),
            (Monthly, 15, "2026-11-15T00:00:00Z", "2026-12-15T00:00:00Z"),
            (Monthly, 31, "2026-11-21T10:00:00Z", "2026-11-30T00:00:00Z"),
            (Monthly, 31, "2026-11-30T10:00:00Z", "2026-12-31T00:00:00Z"),
            (Monthly, 31, "2027-01-31T00:00:00Z", "2027-02-28T00:00:00Z"),
            (Monthly, 30, "2028-02-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            (Monthly, 1, "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ] {
            let next = next(interval, day, now);
            assert_eq!(
                Timestamp::parse(&next).unwrap(),
                Timestamp::parse(wanted).unwrap(),
                "{day} after {now}"
            );
        }
    }

    #[test]
    fn a_refill_that_cannot_be_is_refused() {
        let refill = |interval, amount, day| Refill { interval, amount, day }.check();
        assert_eq!(refill(RefillInterval::Monthly, 1, 31), Ok(()));
        assert_eq!(refill(RefillInterval::Monthly, 1, 32), Err(CreditsError::Day));
        assert_eq!(refill(RefillInterval::Daily, 1, 2), Err(CreditsError::Day));
        assert_eq!(refill(RefillInterval::Daily, 0, 1), Err(CreditsError::Amount));
        assert_eq!(refill(RefillInterval::Daily, CREDITS_MAX + 1, 1), Err(CreditsError::Amount));
    }
}
