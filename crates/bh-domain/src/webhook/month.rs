//! Billing periods: calendar months in UTC.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};

use crate::time::Timestamp;
use crate::usage::{UtcDay, UtcMonth};

/// A calendar month in UTC, e.g. `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// Reads `2026-11`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-').filter(|_| text.len() == 7)?;
        Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)
    }

    /// The month of an instant.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let instant = jiff::Timestamp::from_duration(SignedDuration::from_millis(at.0)).unwrap_or_default();
        Self(instant.to_zoned(TimeZone::UTC).date().first_of_month())
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1.month()))
    }

    /// The month before it.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1.month()))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        let start = self.0.to_zoned(TimeZone::UTC).map(|start| start.timestamp().as_millisecond());
        Timestamp(start.unwrap_or_default())
    }

    /// The first instant after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.next().start()
    }
}

impl From<Month> for UtcMonth {
    fn from(month: Month) -> Self {
        Self { first: UtcDay::of(month.start()), last: UtcDay::of(month.end()).plus(-1) }
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_and_ends_in_utc_and_leads_to_the_next() {
        let month = Month::parse("2026-12").unwrap();
        assert_eq!(month.start().rfc3339(), "2026-12-01T00:00:00.000Z");
        assert_eq!(month.end().rfc3339(), "2027-01-01T00:00:00.000Z");
        assert_eq!(Month::of(month.end()).to_string(), "2027-01");
        assert_eq!(Month::of(month.end().plus_ms(-1)), month);
        assert_eq!(month.next().previous(), month);
        assert_eq!(Ok(UtcMonth::from(month)), UtcMonth::parse("2026-12"), "as the ledger has it");
        for stranger in ["2026-13", "2026-1", "2026-00", "2026/11", "2026-11-01", "", "latest"] {
            assert_eq!(Month::parse(stranger), None, "{stranger}");
        }
    }
}
