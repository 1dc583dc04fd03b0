//! Money as integers: nano-USD inside, decimal strings at the edge. Floats never touch it.

use std::borrow::Cow;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

const NANO_PER_UNIT: i64 = 1_000_000_000;
const FRACTION_DIGITS: usize = 9;

/// An amount in billionths of the configured currency (USD unless `pricing.currency` says otherwise).
///
/// Arithmetic saturates: at the far end of the range a cap must hold rather than wrap round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoUsd(pub i64);

/// Why a text is not an amount of money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Something other than an optional sign, digits and one point.
    #[error("not a decimal number")]
    NotDecimal,
    /// More than nine digits after the point.
    #[error("more than 9 digits after the point")]
    TooFine,
    /// Beyond what 64 bits of nano units hold.
    #[error("too large")]
    TooLarge,
}

impl NanoUsd {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The largest amount; stands for "no cap".
    pub const MAX: Self = Self(i64::MAX);

    /// Parses `12`, `12.5` or `-0.000001`, exactly.
    ///
    /// # Errors
    /// [`MoneyError`] when the text is not a decimal number of at most nine fraction digits.
    pub fn parse_decimal(text: &str) -> Result<Self, MoneyError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
            return Err(MoneyError::NotDecimal);
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > FRACTION_DIGITS {
            return Err(MoneyError::TooFine);
        }
        let units: i64 = whole.parse().map_err(|_| MoneyError::TooLarge)?;
        let mut nano = 0_i64;
        for digit in fraction.bytes().chain(std::iter::repeat(b'0')).take(FRACTION_DIGITS) {
            nano = nano * 10 + i64::from(digit - b'0');
        }
        let total =
            units.checked_mul(NANO_PER_UNIT).and_then(|n| n.checked_add(nano)).ok_or(MoneyError::TooLarge)?;
        Ok(Self(if negative { -total } else { total }))
    }

    /// The smaller of two amounts.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self(self.0.min(other.0))
    }

    /// The larger of two amounts.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }

    /// This amount times a whole number.
    #[must_use]
    pub fn times(self, factor: i64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl JsonSchema for NanoUsd {
    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An amount of money, exactly, as a decimal text.",
            "type": "string",
            "pattern": "^-?[0-9]{1,10}(\\.[0-9]{1,9})?$",
            "examples": ["12.5"],
        })
    }
}

impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let unit = NANO_PER_UNIT.unsigned_abs();
        let (whole, nano) = (magnitude / unit, magnitude % unit);
        if nano == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{nano:09}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl serde::Serialize for NanoUsd {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for NanoUsd {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse_decimal(&text).map_err(serde::de::Error::custom)
    }
}

impl Add for NanoUsd {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for NanoUsd {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for NanoUsd {
    type Output = Self;
    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl AddAssign for NanoUsd {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for NanoUsd {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_text_survives_the_round_trip() {
        for text in ["0", "1", "50", "0.000000001", "12.5", "-3.25", "9223372036.854775807"] {
            assert_eq!(NanoUsd::parse_decimal(text).unwrap().to_string(), text);
        }
        assert_eq!(NanoUsd::parse_decimal("50.00"), Ok(NanoUsd(50_000_000_000)));
    }

    #[test]
    fn text_that_is_not_money_is_named() {
        for text in ["", ".", ".5", "1e3", "1,5", "+1", "1.2.3", " 1", "--1"] {
            assert_eq!(NanoUsd::parse_decimal(text), Err(MoneyError::NotDecimal), "{text:?}");
        }
        assert_eq!(NanoUsd::parse_decimal("0.0000000001"), Err(MoneyError::TooFine));
        assert_eq!(NanoUsd::parse_decimal("9223372037"), Err(MoneyError::TooLarge));
    }
}
