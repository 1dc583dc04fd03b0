//! Go's duration notation, which the seeds use: a sequence of numbers with a unit each.

use std::fmt;
use std::time::Duration;

use bh_domain::duration::{self, GO_UNITS};

/// The longest duration a setting may hold: a hundred years, far from any overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Reads `250ms`, `1.5s`, `1m30s`, `24h` or a bare `0`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let total_ns = duration::parse(text, &GO_UNITS)
        .ok_or_else(|| "expected a duration such as 250ms, 10s or 1m30s".to_owned())?;
    if total_ns > DURATION_MAX.as_nanos() {
        return Err("the longest duration is a hundred years".to_owned());
    }
    Ok(Duration::from_nanos_u128(total_ns))
}

/// Writes the shortest exact form: whole hours, minutes and seconds, then the largest unit that divides the rest.
pub(crate) fn show(duration: &Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let ns = duration.as_nanos();
    if ns == 0 {
        return f.write_str("0s");
    }
    let (hours, minutes) = (ns / 3_600_000_000_000, ns / 60_000_000_000 % 60);
    let rest = ns % 60_000_000_000;
    if hours > 0 {
        write!(f, "{hours}h")?;
    }
    if minutes > 0 {
        write!(f, "{minutes}m")?;
    }
    match rest {
        0 => Ok(()),
        rest if rest % 1_000_000_000 == 0 => write!(f, "{}s", rest / 1_000_000_000),
        rest if rest % 1_000_000 == 0 => write!(f, "{}ms", rest / 1_000_000),
        rest if rest % 1_000 == 0 => write!(f, "{}us", rest / 1_000),
        rest => write!(f, "{rest}ns"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::GoDuration;

    #[test]
    fn go_durations_are_read_exactly_and_written_back() {
        let cases = [
            ("250ms", 250_000_000, "250ms"),
            ("1m30s", 90_000_000_000, "1m30s"),
            ("1.5s", 1_500_000_000, "1500ms"),
            ("8760h", 31_536_000_000_000_000, "8760h"),
            ("2us", 2_000, "2us"),
            ("0", 0, "0s"),
        ];
        for (text, ns, shown) in cases {
            let read = GoDuration::parse(text).unwrap();
            assert_eq!((read.0, read.to_string()), (Duration::from_nanos(ns), shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for bad in ["", "10", "s", "10 s", "-1s", "1d", "1..5s", "1s5", "99999999999999999999h", "9000000h"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
