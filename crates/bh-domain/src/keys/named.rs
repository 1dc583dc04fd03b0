//! Limits of a key that have names: so many requests, tokens, or so much money in a time.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::allowance::Allowance;
use crate::money::NanoUsd;
use crate::price::TokenCounts;

/// The most named limits of one key, and the most that one verification names.
pub const RATE_LIMITS_MAX: usize = 20;
/// The longest name, in bytes.
pub const LIMIT_NAME_BYTES_MAX: usize = 64;
/// The most of a limit: nearly a million units of money, or as many requests or tokens as nano-units in it. A number of 15
/// digits, which is what a header takes (RFC 9651).
pub const QUOTA_MAX: u64 = 999_999_999_999_999;

/// What a limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitUnit {
    /// Requests: verifications, and calls of the LLM doors where it is applied by itself.
    #[default]
    Requests,
    /// Tokens of LLM calls, in and out.
    Tokens,
    /// Cost of LLM calls, in nano-units of the installation's currency.
    Cost,
}

impl LimitUnit {
    /// Every unit.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Tokens, Self::Cost];

    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }

    /// An amount as it is told: money as a decimal number.
    #[must_use]
    pub fn text(self, amount: u64) -> String {
        match self {
            Self::Requests | Self::Tokens => amount.to_string(),
            Self::Cost => NanoUsd(i64::try_from(amount).unwrap_or(i64::MAX)).to_string(),
        }
    }

    /// An amount that is asked for, as it is counted. Without one it is one request or token, and no money. A part of a
    /// request or a token counts as a whole one.
    #[must_use]
    pub fn amount(self, asked: Option<Amount>) -> u64 {
        match (self, asked) {
            (Self::Requests | Self::Tokens, None) => 1,
            (Self::Requests | Self::Tokens, Some(Amount { whole, nano })) => {
                whole.saturating_add(u64::from(nano > 0))
            }
            (Self::Cost, None) => 0,
            (Self::Cost, Some(Amount { whole, nano })) => {
                whole.saturating_mul(NANO_PER_UNIT).saturating_add(nano)
            }
        }
    }

    /// What a verification that does not name the limit takes: one request. Tokens and money are charged by calls.
    #[must_use]
    pub fn amount_of_use(self) -> u64 {
        match self {
            Self::Requests => 1,
            Self::Tokens | Self::Cost => 0,
        }
    }

    /// What a call used of it.
    #[must_use]
    pub fn used(self, tokens: &TokenCounts, cost: NanoUsd) -> u64 {
        match self {
            // The call itself was counted when it was let in.
            Self::Requests => 0,
            Self::Tokens => {
                let TokenCounts { input, output, cache_read, cache_write, reasoning: _ } = *tokens;
                [input, output, cache_read, cache_write].into_iter().fold(0, u64::saturating_add)
            }
            Self::Cost => cost.0.max(0).unsigned_abs(),
        }
    }
}

const NANO_PER_UNIT: u64 = 1_000_000_000;

/// An amount that is asked for before it is known in which unit: whole ones, and billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    whole: u64,
    nano: u64,
}

/// A text that is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an amount of 0 to {QUOTA_MAX}, with at most 9 digits after the point")]
pub struct AmountError;

impl Amount {
    /// Parses `12` or `12.5`, exactly.
    ///
    /// # Errors
    /// [`AmountError`] for anything else, and for more than [`QUOTA_MAX`].
    pub fn parse(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.is_empty() || !whole.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(AmountError);
        }
        let whole = whole.parse().ok().filter(|whole| *whole <= QUOTA_MAX).ok_or(AmountError)?;
        let nano = NanoUsd::parse_decimal(&format!("0.{fraction}")).map_err(|_| AmountError)?;
        Ok(Self { whole, nano: nano.0.unsigned_abs() })
    }
}

/// A limit with a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct NamedLimit {
    /// Its name.
    pub name: Box<str>,
    /// How much, in its unit; of money, nano-units.
    pub quota: u64,
    /// The time, in seconds.
    pub window_s: u64,
    /// Of what.
    pub unit: LimitUnit,
    /// Whether it holds for each use, and not only for one that names it.
    pub auto_apply: bool,
}

/// Why limits are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NamedLimitError {
    /// Too many.
    #[error("more than {RATE_LIMITS_MAX}")]
    TooMany,
    /// A name that is none.
    #[error("entry {0}: `name` has 1 to {LIMIT_NAME_BYTES_MAX} letters, digits, `_`, `-`, `.` and `:`")]
    Name(usize),
    /// A name that is there twice.
    #[error("entry {0}: another one has this name")]
    Twice(usize),
    /// No amount, or too large a one.
    #[error("entry {0}: `quota` must be above 0, and at most {QUOTA_MAX} (as money, {money})", money = LimitUnit::Cost.text(QUOTA_MAX))]
    Quota(usize),
    /// No time.
    #[error("entry {0}: `window` must be whole seconds, such as `60s`")]
    Window(usize),
}

/// Whether a text can name a limit.
#[must_use]
pub fn is_limit_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
    (1..=LIMIT_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl NamedLimit {
    /// Whether it concerns calls of the LLM doors, which name no limit.
    #[must_use]
    pub fn concerns_calls(&self) -> bool {
        match self.unit {
            LimitUnit::Requests => self.auto_apply,
            LimitUnit::Tokens | LimitUnit::Cost => true,
        }
    }

    /// The arithmetic of it; `None` for one that allows nothing, which [`check`] refuses.
    #[must_use]
    pub fn allowance(&self) -> Option<Allowance> {
        Allowance::new(self.quota, self.window_s)
    }
}

/// Checks the limits of one key.
///
/// # Errors
/// [`NamedLimitError`] with the first that cannot be kept.
pub fn check(limits: &[NamedLimit]) -> Result<(), NamedLimitError> {
    if limits.len() > RATE_LIMITS_MAX {
        return Err(NamedLimitError::TooMany);
    }
    let mut names = HashSet::new();
    for (index, limit) in limits.iter().enumerate() {
        if !is_limit_name(&limit.name) {
            return Err(NamedLimitError::Name(index));
        }
        if !names.insert(&limit.name) {
            return Err(NamedLimitError::Twice(index));
        }
        if !(1..=QUOTA_MAX).contains(&limit.quota) {
            return Err(NamedLimitError::Quota(index));
        }
        if limit.window_s == 0 {
            return Err(NamedLimitError::Window(index));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str) -> NamedLimit {
        NamedLimit { name: name.into(), quota: 5, window_s: 60, unit: LimitUnit::Requests, auto_apply: false }
    }

    #[test]
    fn what_cannot_be_counted_is_refused_with_its_place() {
        assert_eq!(check(&[limit("a"), limit("b")]), Ok(()));
        let bad = |second: NamedLimit| check(&[limit("a"), second]);
        assert_eq!(bad(limit("a")), Err(NamedLimitError::Twice(1)));
        assert_eq!(bad(limit("a b")), Err(NamedLimitError::Name(1)));
        assert_eq!(bad(limit("")), Err(NamedLimitError::Name(1)));
        assert_eq!(bad(NamedLimit { quota: 0, ..limit("b") }), Err(NamedLimitError::Quota(1)));
        assert_eq!(bad(NamedLimit { quota: QUOTA_MAX + 1, ..limit("b") }), Err(NamedLimitError::Quota(1)));
        assert_eq!(bad(NamedLimit { window_s: 0, ..limit("b") }), Err(NamedLimitError::Window(1)));
        let many: Vec<_> = (0..=RATE_LIMITS_MAX).map(|number| limit(&number.to_string())).collect();
        assert_eq!(check(&many), Err(NamedLimitError::TooMany));
    }

    #[test]
    fn amounts_are_counted_in_the_limits_unit() {
        let asked = |text: &str| Some(Amount::parse(text).unwrap());
        assert_eq!(LimitUnit::ALL.map(|unit| unit.amount(None)), [1, 1, 0]);
        assert_eq!(LimitUnit::ALL.map(|unit| unit.amount(asked("0"))), [0, 0, 0]);
        assert_eq!(LimitUnit::ALL.map(|unit| unit.amount(asked("2.5"))), [3, 3, 2_500_000_000]);
        let most = QUOTA_MAX.to_string();
        assert_eq!(LimitUnit::ALL.map(|unit| unit.amount(asked(&most))), [QUOTA_MAX, QUOTA_MAX, u64::MAX]);
        for text in ["", "-1", "1e3", "1.5.5", "1.-5", "0.0000000001", "1000000000000000"] {
            assert_eq!(Amount::parse(text), Err(AmountError), "{text}");
        }
        let tokens = TokenCounts { input: 1, output: 20, cache_read: 300, cache_write: 4_000, reasoning: 7 };
        assert_eq!(LimitUnit::ALL.map(|unit| unit.used(&tokens, NanoUsd(9))), [0, 4_321, 9]);
        assert_eq!(LimitUnit::ALL.map(|unit| unit.text(1_500_000_000)), ["1500000000", "1500000000", "1.5"]);
    }
}
