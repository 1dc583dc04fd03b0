//! Durations as Go writes them: a sequence of numbers with a unit each, e.g. `1h30m`.

/// A unit's name and its length in nanoseconds.
pub type Unit = (&'static str, u64);

const SECOND_NS: u64 = 1_000_000_000;

/// Go's units.
pub const GO_UNITS: [Unit; 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND_NS),
    ("m", 60 * SECOND_NS),
    ("h", 3_600 * SECOND_NS),
];

/// The units of Go and those of calendars: days, weeks, months of 30 and years of 365 days.
pub const CALENDAR_UNITS: [Unit; 12] = {
    let [ns, us, micro, greek, ms, s, m, h] = GO_UNITS;
    let day = 86_400 * SECOND_NS;
    [ns, us, micro, greek, ms, s, m, h, ("d", day), ("w", 7 * day), ("mo", 30 * day), ("y", 365 * day)]
};

/// The nanoseconds of `250ms`, `1.5s` or `1m30s`; `None` when a number lacks a unit, or a unit is not among `units`.
#[must_use]
pub fn parse(text: &str, units: &[Unit]) -> Option<u128> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut total_ns: u128 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let (_, unit_ns) = units.iter().find(|(name, _)| *name == unit)?;
        total_ns = total_ns.saturating_add(scaled(number, *unit_ns)?);
        rest = tail;
    }
    Some(total_ns)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        let cases = [
            ("250ms", 250_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0s", 0),
            ("3µs2μs", 5_000),
            ("1mo1m", 2_592_060_000_000_000),
            ("1y2w3d", (365 + 14 + 3) * 86_400_000_000_000),
        ];
        for (text, ns) in cases {
            assert_eq!(parse(text, &CALENDAR_UNITS), Some(ns), "{text}");
        }
        assert_eq!(parse("1d", &GO_UNITS), None);
        for bad in [
            "",
            "0",
            "10",
            "s",
            "10 s",
            "-1s",
            "+1s",
            "1..5s",
            "1.s",
            ".5s",
            "1s5",
            "1S",
            "1é",
            "99999999999999999999h",
        ] {
            assert_eq!(parse(bad, &CALENDAR_UNITS), None, "{bad}");
        }
    }
}
