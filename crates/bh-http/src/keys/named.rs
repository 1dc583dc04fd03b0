//! Named limits on the wire: an addition to Talos, in its manner.

use bh_app::keys::{LimitTold, LimitUse};
use bh_domain::keys::named::{Amount, LimitUnit, NamedLimit, RATE_LIMITS_MAX, is_limit_name};
use bh_domain::money::NanoUsd;
use bh_domain::refusal::Refusal;
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::wire::{invalid, lifetime};
use crate::object::Object;

/// A limit as it is given.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NewNamedLimit")]
pub(super) struct NamedIn {
    name: Option<String>,
    #[schemars(with = "Option<Number>")]
    quota: Option<Box<RawValue>>,
    window: Option<String>,
    unit: Option<String>,
    #[serde(alias = "autoApply")]
    auto_apply: Option<bool>,
}

/// A limit that a verification names.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NamedLimitUse")]
pub(super) struct LimitUseIn {
    name: Option<String>,
    #[schemars(with = "Option<Number>")]
    cost: Option<Box<RawValue>>,
}

/// A number as text or as a number, read by its digits: an amount never passes through a float.
fn digits(raw: &RawValue) -> &str {
    raw.get().trim_matches('"')
}

/// A number as it may be written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
#[expect(dead_code, reason = "the schema is all there is to it")]
enum Number {
    Text(String),
    Number(serde_json::Number),
}

/// Limits as they are given. What can be said of them together is checked where they are kept.
pub(super) fn limits(given: Vec<Object<NamedIn>>) -> Result<Vec<NamedLimit>, Refusal> {
    given.into_iter().enumerate().map(|(index, Object(limit))| limit.read(index)).collect()
}

impl NamedIn {
    fn read(self, index: usize) -> Result<NamedLimit, Refusal> {
        let wrong = |member: &str, problem: &str| invalid(&format!("rate_limits[{index}].{member}"), problem);
        let unit = match self.unit.as_deref() {
            None | Some("") => LimitUnit::default(),
            Some(text) => {
                let known = LimitUnit::ALL.into_iter().find(|unit| unit.as_str() == text);
                known.ok_or_else(|| wrong("unit", "expected `requests`, `tokens` or `cost`"))?
            }
        };
        let quota = self.quota.as_deref().map(digits).unwrap_or_default();
        let read = match unit {
            LimitUnit::Requests | LimitUnit::Tokens => quota.parse().ok(),
            LimitUnit::Cost => {
                NanoUsd::parse_decimal(quota).ok().and_then(|amount| u64::try_from(amount.0).ok())
            }
        };
        let quota = read.ok_or_else(|| match unit {
            LimitUnit::Requests | LimitUnit::Tokens => wrong("quota", "expected a whole number above 0"),
            LimitUnit::Cost => wrong("quota", "expected a decimal amount above 0, such as \"2.50\""),
        })?;
        let window = lifetime("rate_limits.window", self.window.as_deref())?;
        let window_s = window.and_then(bh_domain::keys::lifetime::Lifetime::whole_seconds);
        Ok(NamedLimit {
            name: self.name.unwrap_or_default().into(),
            quota,
            window_s: window_s.unwrap_or_default(),
            unit,
            auto_apply: self.auto_apply.unwrap_or(false),
        })
    }
}

/// Limits that a verification names; `place` is what stands before its members in an error.
pub(super) fn uses(given: Vec<Object<LimitUseIn>>, place: &str) -> Result<Vec<LimitUse>, Refusal> {
    let field = format!("{place}rate_limits");
    if given.len() > RATE_LIMITS_MAX {
        return Err(invalid(&field, format!("more than {RATE_LIMITS_MAX}")));
    }
    let mut uses: Vec<LimitUse> = Vec::with_capacity(given.len());
    for (index, Object(LimitUseIn { name, cost })) in given.into_iter().enumerate() {
        let name = name.unwrap_or_default();
        if !is_limit_name(&name) || uses.iter().any(|seen| seen.name == name) {
            return Err(invalid(&format!("{field}[{index}].name"), "expected the name of a limit, once"));
        }
        let cost = cost.as_deref().map(digits).filter(|text| *text != "null").map(Amount::parse);
        let cost = cost.transpose().map_err(|error| invalid(&format!("{field}[{index}].cost"), error))?;
        uses.push(LimitUse { name, cost });
    }
    Ok(uses)
}

/// A limit as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NamedLimit")]
pub(super) struct NamedOut<'a> {
    name: &'a str,
    quota: String,
    window: String,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_apply: Option<bool>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    count: Option<CountOut>,
}

/// What a limit said.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "NamedLimitCount")]
struct CountOut {
    remaining: String,
    /// When all of it is back; absent where no waiting helps, because more was asked for than there ever is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reset_time: Option<String>,
    exceeded: bool,
}

/// Writes a key's limits.
pub(super) fn told<S: Serializer>(limits: &[NamedLimit], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(limits.iter().map(NamedOut::from))
}

impl<'a> From<&'a NamedLimit> for NamedOut<'a> {
    fn from(limit: &'a NamedLimit) -> Self {
        Self {
            name: &limit.name,
            quota: limit.unit.text(limit.quota),
            window: format!("{}s", limit.window_s),
            unit: limit.unit.as_str(),
            auto_apply: Some(limit.auto_apply),
            count: None,
        }
    }
}

impl<'a> NamedOut<'a> {
    /// A limit and what it said at an instant.
    pub(super) fn told(told: &'a LimitTold, now: Timestamp) -> Self {
        let LimitTold { limit, verdict } = told;
        let ms = i64::try_from(verdict.reset_after_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX);
        let count = CountOut {
            remaining: limit.unit.text(verdict.remaining),
            reset_time: verdict.retry_after_ns.map(|_| now.plus_ms(ms).rfc3339()),
            exceeded: !verdict.allowed,
        };
        Self { auto_apply: None, count: Some(count), ..Self::from(limit) }
    }
}
