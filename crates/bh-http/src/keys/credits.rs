//! Credits on the wire: an addition to Talos, in its manner.

use bh_app::ports::CreditsChange;
use bh_domain::keys::credits::{Refill, RefillInterval, left};
use bh_domain::keys::extras::Extras;
use bh_domain::keys::key::Key;
use bh_domain::refusal::Refusal;
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::int64::Int64;
use super::wire::invalid;
use crate::object::Object;

/// Credits as a new key gets them.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NewCredits")]
pub(super) struct CreditsIn {
    remaining: Option<Int64>,
    refill: Option<Object<RefillIn>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NewCreditsRefill")]
struct RefillIn {
    interval: Option<String>,
    amount: Option<Int64>,
    day: Option<i8>,
}

/// A change of credits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreditsChange", extend("required" = ["operation"]))]
pub(super) struct UpdateCreditsIn {
    #[schemars(required, extend("enum" = ["set", "increment", "decrement"]))]
    operation: Option<String>,
    value: Option<Int64>,
}

/// Credits that a verification takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CreditsUse")]
pub(super) struct CreditsUseIn {
    cost: Option<Int64>,
}

/// Credits as they are told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Credits")]
pub(super) struct CreditsOut {
    pub(super) remaining: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refill: Option<RefillOut>,
    /// The key whose credits a rotated one spends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credits_of: Option<Box<str>>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CreditsRefill")]
pub(super) struct RefillOut {
    interval: &'static str,
    amount: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    day: Option<i8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_time: Option<String>,
}

impl CreditsIn {
    /// How many there are, and when they are replaced. Without a number they begin as after a refill.
    pub(super) fn read(self) -> Result<(Option<i64>, Option<Refill>), Refusal> {
        let refill = self.refill.map(|Object(refill)| refill.read()).transpose()?;
        let remaining = self.remaining.map(|Int64(number)| number).or(refill.map(|refill| refill.amount));
        let remaining = remaining.ok_or_else(|| invalid("credits.remaining", "is missing"))?;
        Ok((Some(remaining), refill))
    }
}

impl RefillIn {
    fn read(self) -> Result<Refill, Refusal> {
        let text = self.interval.unwrap_or_default();
        let interval = RefillInterval::ALL.into_iter().find(|interval| interval.as_str() == text);
        let wrong = || invalid("credits.refill.interval", "expected `daily` or `monthly`");
        let amount = self.amount.map_or(0, |Int64(amount)| amount);
        Ok(Refill { interval: interval.ok_or_else(wrong)?, amount, day: self.day.unwrap_or(1) })
    }
}

impl UpdateCreditsIn {
    pub(super) fn read(self) -> Result<CreditsChange, Refusal> {
        let value = self.value.map(|Int64(value)| value);
        let operation = self.operation.unwrap_or_default();
        let number = || {
            let number = value.filter(|value| *value >= 0);
            number.ok_or_else(|| invalid("value", "expected a number of uses, 0 or more"))
        };
        match operation.as_str() {
            "set" => Ok(CreditsChange::Set(value.map(|_| number()).transpose()?)),
            "increment" => Ok(CreditsChange::Add(number()?)),
            "decrement" => Ok(CreditsChange::Add(-number()?)),
            _ => Err(invalid("operation", "expected `set`, `increment` or `decrement`")),
        }
    }
}

impl CreditsUseIn {
    /// How many are taken; `place` is what stands before its members in an error.
    pub(super) fn read(self, place: &str) -> Result<u64, Refusal> {
        let cost = self.cost.map_or(1, |Int64(cost)| cost);
        let fits = (0..=bh_domain::keys::credits::CREDITS_MAX).contains(&cost);
        let cost = u64::try_from(cost).ok().filter(|_| fits);
        let most = bh_domain::keys::credits::CREDITS_MAX;
        cost.ok_or_else(|| invalid(&format!("{place}credits.cost"), format!("expected 0 to {most}")))
    }
}

impl CreditsOut {
    /// What a use has left of them.
    pub(super) fn remaining(remaining: i64) -> Self {
        Self { remaining: remaining.to_string(), refill: None, credits_of: None }
    }

    /// A key's credits at an instant; `None` for any number.
    pub(super) fn of(key: &Key, extras: &Extras, now: Timestamp) -> Option<Self> {
        let refill = extras.credits_refill;
        let remaining = left(key, refill, now)?.to_string();
        let refill = refill.map(|refill| RefillOut {
            interval: refill.interval.as_str(),
            amount: refill.amount.to_string(),
            day: match refill.interval {
                RefillInterval::Daily => None,
                RefillInterval::Monthly => Some(refill.day),
            },
            next_time: key.refills.map(|_| refill.next(now).rfc3339()),
        });
        Some(Self { remaining, refill, credits_of: extras.credits_of.clone() })
    }
}
