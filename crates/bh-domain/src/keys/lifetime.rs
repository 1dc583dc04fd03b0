//! How long a key or token lives (Talos dossier §2.1): `"3600s"`, `"1h30m"`, `"90d"`, `"1y"`.

use std::fmt;

use crate::duration::{self, CALENDAR_UNITS};
use crate::time::{SECOND_MS, Timestamp};

/// The shortest lifetime: one second.
pub const LIFETIME_SECONDS_MIN: u64 = 1;
/// The longest lifetime: ten years of 365 days.
pub const LIFETIME_SECONDS_MAX: u64 = 315_360_000;

const MS_PER_SECOND: u64 = SECOND_MS.unsigned_abs();

/// A span of time between [`LIFETIME_SECONDS_MIN`] and [`LIFETIME_SECONDS_MAX`], in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime {
    ms: u64,
}

/// Why a text is no lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// It cannot be read.
    #[error(
        "expected a duration such as \"3600s\", \"24h\", \"1h30m\" or \"90d\", in ms, s, m, h, d, w, mo (30 days) \
         and y (365 days)"
    )]
    Unreadable,
    /// It is too short or too long.
    #[error("a duration lies between {LIFETIME_SECONDS_MIN}s and {LIFETIME_SECONDS_MAX}s (ten years)")]
    OutOfBounds,
}

impl Lifetime {
    /// Reads a duration; `None` when it is zero, which stands for "not given". What is finer than a millisecond is cut
    /// off.
    ///
    /// # Errors
    /// [`LifetimeError`] says whether it cannot be read or is out of bounds.
    pub fn parse(text: &str) -> Result<Option<Self>, LifetimeError> {
        let text = if text == "0" { "0s" } else { text };
        let ns = duration::parse(text, &CALENDAR_UNITS).ok_or(LifetimeError::Unreadable)?;
        if ns == 0 {
            return Ok(None);
        }
        let ms = u64::try_from(ns / 1_000_000).map_err(|_| LifetimeError::OutOfBounds)?;
        Self::from_ms(ms).map(Some)
    }

    /// From whole seconds.
    ///
    /// # Errors
    /// [`LifetimeError::OutOfBounds`].
    pub fn from_seconds(seconds: u64) -> Result<Self, LifetimeError> {
        Self::from_ms(seconds.saturating_mul(MS_PER_SECOND))
    }

    /// From milliseconds.
    ///
    /// # Errors
    /// [`LifetimeError::OutOfBounds`].
    pub fn from_ms(ms: u64) -> Result<Self, LifetimeError> {
        let bounds = LIFETIME_SECONDS_MIN * MS_PER_SECOND..=LIFETIME_SECONDS_MAX * MS_PER_SECOND;
        if bounds.contains(&ms) { Ok(Self { ms }) } else { Err(LifetimeError::OutOfBounds) }
    }

    /// In milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.ms
    }

    /// In seconds, when they are whole: a rate limit's window has no fractions.
    #[must_use]
    pub fn whole_seconds(self) -> Option<u64> {
        self.ms.is_multiple_of(MS_PER_SECOND).then_some(self.ms / MS_PER_SECOND)
    }

    /// The end of a life that begins at `start`.
    #[must_use]
    pub fn after(self, start: Timestamp) -> Timestamp {
        start.plus_ms(self.ms.cast_signed())
    }
}

/// As proto messages have it in JSON: seconds, with three decimals when they are not whole.
impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.ms / MS_PER_SECOND, self.ms % MS_PER_SECOND);
        if ms == 0 { write!(f, "{seconds}s") } else { write!(f, "{seconds}.{ms:03}s") }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_of_every_style_are_read_and_written_as_seconds() {
        let cases = [
            ("3600s", "3600s"),
            ("1s", "1s"),
            ("1.5s", "1.500s"),
            ("1500ms", "1.500s"),
            ("1.000000001s", "1s"),
            ("24h", "86400s"),
            ("1h30m", "5400s"),
            ("1d", "86400s"),
            ("2w", "1209600s"),
            ("1mo", "2592000s"),
            ("1y", "31536000s"),
            ("1y1mo1w1d1h1m1s", "34822861s"),
            ("10y", "315360000s"),
            ("315360000s", "315360000s"),
        ];
        for (text, written) in cases {
            assert_eq!(Lifetime::parse(text).unwrap().unwrap().to_string(), written, "{text}");
        }
        for zero in ["0", "0s", "0h0m", "0.000s"] {
            assert_eq!(Lifetime::parse(zero), Ok(None), "{zero}");
        }
    }

    #[test]
    fn the_bounds_are_one_second_and_ten_years() {
        for outside in
            ["999ms", "0.999999999s", "1ns", "315360001s", "315360000.001s", "11y", "99999999999999y"]
        {
            assert_eq!(Lifetime::parse(outside), Err(LifetimeError::OutOfBounds), "{outside}");
        }
        assert_eq!(Lifetime::from_seconds(0), Err(LifetimeError::OutOfBounds));
        assert_eq!(Lifetime::from_seconds(u64::MAX), Err(LifetimeError::OutOfBounds));
        assert_eq!(
            LifetimeError::OutOfBounds.to_string(),
            "a duration lies between 1s and 315360000s (ten years)"
        );
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for bad in
            ["", " ", "3600", "-1s", "+1s", " 1s", "1s ", "1 s", "1M", "1year", "P1D", "1,5s", "1e3s", "s"]
        {
            assert_eq!(Lifetime::parse(bad), Err(LifetimeError::Unreadable), "{bad}");
        }
    }

    #[test]
    fn a_life_has_an_end_and_perhaps_whole_seconds() {
        let (minute, odd) = (Lifetime::from_seconds(60).unwrap(), Lifetime::from_ms(1_001).unwrap());
        assert_eq!((minute.whole_seconds(), odd.whole_seconds()), (Some(60), None));
        assert_eq!(odd.after(Timestamp(10)), Timestamp(1_011));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 1_000..=LIFETIME_SECONDS_MAX * 1_000) {
            let lifetime = Lifetime::from_ms(ms).unwrap();
            prop_assert_eq!(Lifetime::parse(&lifetime.to_string()), Ok(Some(lifetime)));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "(.{0,40}|[0-9.smhdwoy]{0,40})") {
            let _ = Lifetime::parse(&text);
        }
    }
}
