//! Amounts as providers write them: more digits than money has, and exponents.

use bh_domain::money::NanoUsd;

/// Digits that are read; what is finer than that is no money.
const DIGITS_MAX: usize = 30;
/// Digits of a nano unit.
const NANO_DIGITS: i32 = 9;

/// Reads a decimal number, with an exponent or without, times ten to the power of `shift`, to the nearest nano unit. No
/// float on the way.
pub(super) fn parse(text: &str, shift: i32) -> Option<NanoUsd> {
    let text = text.trim();
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    if whole.is_empty() || digits.len() > 4 * DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let dropped = digits.len().saturating_sub(DIGITS_MAX);
    let kept = digits.get(..digits.len() - dropped)?;
    let digits_after = i32::try_from(fraction.len()).ok()? - i32::try_from(dropped).ok()?;
    let power = NANO_DIGITS.checked_add(shift)?.checked_add(exponent)?.checked_sub(digits_after)?;
    let nano = scaled(kept.parse().ok()?, power)?;
    Some(NanoUsd(i64::try_from(if negative { -nano } else { nano }).ok()?))
}

/// A number times ten to a power, rounded; `None` where it does not fit.
fn scaled(number: i128, power: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        return if number == 0 { Some(0) } else { number.checked_mul(factor?) };
    }
    // Beyond all digits nothing is left.
    Some(factor.map_or(0, |factor| (number + factor / 2) / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_to_the_nearest_nano_unit_without_a_float() {
        let read = |text, shift| parse(text, shift).map(|nano| nano.0);
        assert_eq!(read("0.06", 0), Some(60_000_000));
        assert_eq!(read("0.0003425000000000000214", 0), Some(342_500));
        assert_eq!(read("5e-7", 0), Some(500));
        assert_eq!(read("1.5E+2", 0), Some(150_000_000_000));
        assert_eq!(read("0.00000000051", 0), Some(1));
        assert_eq!(read("-12", 0), Some(-12_000_000_000));
        assert_eq!(read("123.45", -2), Some(1_234_500_000), "cents");
        assert_eq!(read("0.123456789012345678901234567890123456789", 0), Some(123_456_789));
        assert_eq!(read("0e999", 0), Some(0));
        for text in ["", ".", "1e", "1e999", "1,5", "abc", "--1", "99999999999999999999"] {
            assert_eq!(read(text, 0), None, "{text}");
        }
    }
}
