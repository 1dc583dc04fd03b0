//! Instants as epoch milliseconds, and their texts.

use jiff::tz::TimeZone;

/// Milliseconds since 1970-01-01T00:00:00Z. Passed in wherever time matters; never read here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// One second, in milliseconds.
pub const SECOND_MS: i64 = 1_000;
/// One day, in milliseconds.
pub const DAY_MS: i64 = 86_400_000;

/// A text that is no RFC 3339 time and no calendar date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an RFC 3339 time (2026-11-21T09:30:00Z) nor a date (2026-11-21)")]
pub struct TimeError(pub String);

impl Timestamp {
    /// RFC 3339 in UTC with milliseconds, e.g. `2026-11-21T09:30:00.000Z`.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let instant = jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        format!("{instant:.3}")
    }

    /// Reads an RFC 3339 time, or a date as its first instant in UTC.
    ///
    /// # Errors
    /// [`TimeError`] repeats the text that could not be read.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
            let date = text.parse::<jiff::civil::Date>().ok()?;
            (text.len() == 10).then_some(())?;
            Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
        });
        instant.map(|i| Self(i.as_millisecond())).ok_or_else(|| TimeError(text.to_owned()))
    }

    /// This instant moved by `ms` milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_round_trip_and_a_date_means_its_start() {
        let text = "2026-11-21T09:30:00.125Z";
        assert_eq!(Timestamp::parse(text).unwrap().rfc3339(), text);
        assert_eq!(Timestamp::parse("2026-11-21").unwrap().rfc3339(), "2026-11-21T00:00:00.000Z");
        assert_eq!(
            Timestamp::parse("2026-11-21T10:30:00+01:00").unwrap().rfc3339(),
            "2026-11-21T09:30:00.000Z"
        );
        assert!(Timestamp::parse("yesterday").is_err());
    }
}
