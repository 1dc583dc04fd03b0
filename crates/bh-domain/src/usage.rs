//! Usage: what is counted, in which hour, and calendar days and months in UTC (seed 001; Connectors dossier §3, §10).

use jiff::civil::Date;

use crate::time::{DAY_MS, Timestamp};

const HOUR_MS: i64 = 3_600_000;
/// Hours of a day.
pub const DAY_HOURS: i64 = 24;
/// How a month is written.
const MONTH_FORM: &str = "%Y-%m";

/// A text that is no calendar day or month.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// Not a day.
    #[error("`{0}` is no calendar day: write it as 2026-11-21")]
    Day(String),
    /// Not a month.
    #[error("`{0}` is no month: write it as 2026-11")]
    Month(String),
}

/// An hour, in hours since 1970 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i64);

impl Hour {
    /// The hour of an instant.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(HOUR_MS))
    }

    /// Its first instant.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(HOUR_MS))
    }
}

/// A calendar day in UTC, in days since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcDay(pub i64);

impl UtcDay {
    /// The day of an instant.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(at.0.div_euclid(DAY_MS))
    }

    /// Reads `2026-11-21`.
    ///
    /// # Errors
    /// [`CalendarError::Day`] repeats the text.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        date.and_then(day_of).ok_or_else(|| CalendarError::Day(text.to_owned()))
    }

    /// The day's first hour.
    #[must_use]
    pub fn first_hour(self) -> Hour {
        Hour(self.0.saturating_mul(DAY_HOURS))
    }

    /// The day this many days later.
    #[must_use]
    pub fn plus(self, days: i64) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl std::fmt::Display for UtcDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Timestamp(self.0.saturating_mul(DAY_MS)).rfc3339().split('T').next().unwrap_or_default())
    }
}

/// A calendar month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UtcMonth {
    /// Its first day.
    pub first: UtcDay,
    /// Its last day.
    pub last: UtcDay,
}

impl UtcMonth {
    /// The month of an instant; `None` outside the calendar's range.
    #[must_use]
    pub fn of(at: Timestamp) -> Option<Self> {
        let instant = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Self::around(instant.to_zoned(jiff::tz::TimeZone::UTC).date())
    }

    /// Reads `2026-11`.
    ///
    /// # Errors
    /// [`CalendarError::Month`] repeats the text.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let first = format!("{text}-01").parse::<Date>().ok();
        let first = first.filter(|first| first.strftime(MONTH_FORM).to_string() == text);
        first.and_then(Self::around).ok_or_else(|| CalendarError::Month(text.to_owned()))
    }

    fn around(date: Date) -> Option<Self> {
        Some(Self { first: day_of(date.first_of_month())?, last: day_of(date.last_of_month())? })
    }
}

impl std::fmt::Display for UtcMonth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let day = self.first.to_string();
        f.write_str(day.rsplit_once('-').map_or(&day, |(month, _)| month))
    }
}

fn day_of(date: Date) -> Option<UtcDay> {
    let instant = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(UtcDay::of(Timestamp(instant.as_millisecond())))
}

/// What a row of the usage ledger counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageKind {
    /// Requests at an LLM door.
    Llm,
    /// Verifications of keys; those of bad ones are denied.
    Keys,
    /// Requests at the tool doors; a unit is one tool that was invoked.
    Tools,
    /// Custom servers; a unit is one second that one of them ran.
    Servers,
    /// Storage; a unit is one MiB kept for an hour.
    Storage,
}

impl UsageKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Llm, Self::Keys, Self::Tools, Self::Servers, Self::Storage];

    /// Its name in the ledger.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Keys => "keys",
            Self::Tools => "tools",
            Self::Servers => "servers",
            Self::Storage => "storage",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Counts of durations, by powers of two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency(pub [u64; LATENCY_BUCKETS]);

/// How many counts a [`Latency`] has.
pub const LATENCY_BUCKETS: usize = 12;
/// Milliseconds below which a duration falls in the first bucket; each further one reaches twice as far, the last one
/// has no end.
const FIRST_BUCKET_MS: u64 = 64;

impl Latency {
    /// One duration.
    #[must_use]
    pub fn one(ms: u64) -> Self {
        let mut counts = Self::default();
        let bucket = (ms / FIRST_BUCKET_MS).checked_ilog2().map_or(0, |log| log as usize + 1);
        if let Some(count) = counts.0.get_mut(bucket.min(LATENCY_BUCKETS - 1)) {
            *count = 1;
        }
        counts
    }

    /// Adds counts.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(count);
        }
    }

    /// Milliseconds within which `percent` of the durations lie, as far as the buckets tell: a bucket's own durations
    /// are taken to be spread evenly over it. `None` when nothing was counted.
    #[must_use]
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let total: u128 = self.0.iter().copied().map(u128::from).sum();
        let rank = (total * u128::from(percent)).div_ceil(100).max(1);
        let mut below = 0_u128;
        let mut low = 0_u64;
        let mut high = FIRST_BUCKET_MS;
        for count in self.0.iter().copied().map(u128::from) {
            if count > 0 && below + count >= rank {
                let inside = u128::from(high - low) * (rank - below) / count;
                return Some(low + u64::try_from(inside).unwrap_or(0));
            }
            below += count;
            (low, high) = (high, high * 2);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_months_are_utcs_own() {
        let last = Timestamp::parse("2026-11-30T23:59:59.999Z").unwrap();
        let month = UtcMonth::of(last).unwrap();
        assert_eq!(month, UtcMonth::parse("2026-11").unwrap());
        assert_eq!(
            (month.first.to_string(), month.last.to_string()),
            ("2026-11-01".into(), "2026-11-30".into())
        );
        assert_eq!(month.to_string(), "2026-11");
        assert_eq!(UtcDay::of(last).to_string(), "2026-11-30");
        assert_eq!(UtcDay::of(last.plus_ms(1)).to_string(), "2026-12-01");
        assert_eq!(UtcDay::of(last).first_hour().0 + 23, Hour::of(last).0);
        assert_eq!(UtcMonth::parse("2028-02").unwrap().last.to_string(), "2028-02-29");
        assert_eq!(UtcDay::of(Timestamp(-1)).to_string(), "1969-12-31");
    }

    #[test]
    fn what_is_no_day_and_no_month_is_said() {
        for text in
            ["", "2026-11", "2026-11-31", "2026-1-1", "21.11.2026", "2026-11-21T00:00:00Z", "20261121"]
        {
            assert_eq!(UtcDay::parse(text), Err(CalendarError::Day(text.to_owned())), "{text}");
        }
        for text in ["", "2026", "2026-13", "2026-1", "2026-11-01", "11-2026", "202611"] {
            assert_eq!(UtcMonth::parse(text), Err(CalendarError::Month(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn percentiles_lie_in_the_bucket_of_their_rank() {
        let mut latency = Latency::default();
        assert_eq!(latency.percentile(50), None);
        for ms in [0, 63, 64, 127, 128, 65_535, 65_536, u64::MAX] {
            latency.add(&Latency::one(ms));
        }
        assert_eq!(latency.0, [2, 2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!([25, 50, 62].map(|percent| latency.percentile(percent)), [Some(64), Some(128), Some(256)]);
        assert_eq!(latency.percentile(99), Some(131_072), "the last bucket ends where the next would");
        let mut one = Latency::one(300);
        assert_eq!(one.percentile(1), Some(512));
        one.add(&Latency::one(300));
        assert_eq!((one.percentile(50), one.percentile(99)), (Some(384), Some(512)));
    }

    #[test]
    fn every_kind_is_found_by_its_name() {
        assert!(UsageKind::ALL.into_iter().all(|kind| UsageKind::parse(kind.as_str()) == Some(kind)));
        assert_eq!(UsageKind::parse("mcp"), None);
    }
}
