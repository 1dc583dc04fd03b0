//! Go's duration notation, which the seeds use: a sequence of numbers with a unit each.

use std::fmt;
use std::time::Duration;

/// The longest duration a setting may hold: a hundred years, far from any overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);
const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `250ms`, `1.5s`, `1m30s`, `24h` or a bare `0`.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a duration such as 250ms, 10s or 1m30s".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total_ns: u128 = 0;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit_ns = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, ns)| *ns).ok_or_else(wrong)?;
        total_ns = total_ns.saturating_add(scaled(number, unit_ns).ok_or_else(wrong)?);
        rest = tail;
    }
    if total_ns > DURATION_MAX.as_nanos() {
        return Err("the longest duration is a hundred years".to_owned());
    }
    Ok(Duration::from_nanos_u128(total_ns))
}

/// `number` (digits with at most one point) times `unit_ns`, without floats.
fn scaled(number: &str, unit_ns: u64) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let mut total = whole.parse::<u64>().ok().map(|w| u128::from(w) * u128::from(unit_ns))?;
    if fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    total += u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit_ns) / scale;
    Some(total)
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
