//! The policy of one key, laid over that of callers without one of their own: `policy_overrides`, with the member names
//! of `gateway.callers[].policy_overrides`.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::money::NanoUsd;

/// The longest text of a policy, in bytes.
pub const OVERRIDES_BYTES_MAX: usize = 16 * 1024;
/// The most models of one list.
const MODELS_MAX: usize = 256;
/// The longest name of a model, in characters.
const MODEL_CHARS_MAX: usize = 255;
/// The most requests per minute.
const REQUESTS_MAX: u32 = 100_000_000;
/// What can be set, in the order in which it is told.
const MEMBERS: [&str; 6] = [
    "max_daily_cost",
    "max_monthly_cost",
    "max_session_cost",
    "allowed_models",
    "blocked_models",
    "requests_per_minute",
];
/// What a configured caller may have and no release enforces for keys yet: kept by nobody, it would be a false promise.
const NOT_YET: [&str; 8] = [
    "pii_action",
    "response_pii_action",
    "max_data_tier",
    "attachment_policy",
    "allowed_tools",
    "forbidden_tools",
    "tool_policy_action",
    "egress",
];

/// A key's own policy. What it leaves out is as for callers without a policy of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyOverrides {
    /// Most money per calendar day.
    pub max_daily_cost: Option<NanoUsd>,
    /// Most money per calendar month.
    pub max_monthly_cost: Option<NanoUsd>,
    /// Most money per session.
    pub max_session_cost: Option<NanoUsd>,
    /// The only models it may use; empty leaves the default.
    pub allowed_models: Vec<String>,
    /// Models it may not use; empty leaves the default.
    pub blocked_models: Vec<String>,
    /// Requests per minute.
    pub requests_per_minute: Option<u32>,
}

/// What is wrong with a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverridesError {
    /// Not a JSON object.
    #[error("not a JSON object of policy members")]
    NotAnObject,
    /// Larger than any honest policy.
    #[error("larger than {OVERRIDES_BYTES_MAX} bytes")]
    TooLong,
    /// A member that does not exist.
    #[error("`{0}` is no member of a policy; the members are {members}", members = MEMBERS.join(", "))]
    Unknown(String),
    /// A member that no release enforces for keys yet.
    #[error("`{0}` is not enforced for keys by this release; leave it out")]
    NotYet(&'static str),
    /// A member that cannot be read.
    #[error("`{member}` {problem}")]
    Bad {
        /// Which.
        member: &'static str,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// How much of an unknown name is repeated.
const NAME_CHARS_SHOWN: usize = 64;

impl PolicyOverrides {
    /// Reads a policy. A member that is `null` is as good as absent. Amounts are decimal numbers or texts, exact to nine
    /// fraction digits.
    ///
    /// # Errors
    /// [`OverridesError`] names the first member that cannot be kept, and why.
    pub fn parse(json: &str) -> Result<Self, OverridesError> {
        if json.len() > OVERRIDES_BYTES_MAX {
            return Err(OverridesError::TooLong);
        }
        if !json.trim_ascii_start().starts_with('{') {
            return Err(OverridesError::NotAnObject);
        }
        let members: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(json).map_err(|_| OverridesError::NotAnObject)?;
        let mut read = Self::default();
        for (name, value) in &members {
            read.set(name, value.get())?;
        }
        Ok(read)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), OverridesError> {
        if value == "null" && (MEMBERS.contains(&name) || NOT_YET.contains(&name)) {
            return Ok(());
        }
        match name {
            "max_daily_cost" => self.max_daily_cost = Some(amount("max_daily_cost", value)?),
            "max_monthly_cost" => self.max_monthly_cost = Some(amount("max_monthly_cost", value)?),
            "max_session_cost" => self.max_session_cost = Some(amount("max_session_cost", value)?),
            "allowed_models" => self.allowed_models = models("allowed_models", value)?,
            "blocked_models" => self.blocked_models = models("blocked_models", value)?,
            "requests_per_minute" => self.requests_per_minute = Some(requests(value)?),
            name => {
                let known = NOT_YET.into_iter().find(|not_yet| *not_yet == name);
                let unknown = || OverridesError::Unknown(name.chars().take(NAME_CHARS_SHOWN).collect());
                return Err(known.map_or_else(unknown, OverridesError::NotYet));
            }
        }
        Ok(())
    }
}

fn amount(member: &'static str, value: &str) -> Result<NanoUsd, OverridesError> {
    let bad = || OverridesError::Bad {
        member,
        problem: "must be an amount that is not negative, such as 50 or \"0.25\", of at most nine fraction digits",
    };
    let text: String = match value.starts_with('"') {
        true => serde_json::from_str(value).map_err(|_| bad())?,
        false => value.to_owned(),
    };
    NanoUsd::parse_decimal(&text).ok().filter(|amount| *amount >= NanoUsd::ZERO).ok_or_else(bad)
}

fn models(member: &'static str, value: &str) -> Result<Vec<String>, OverridesError> {
    let bad = |problem| OverridesError::Bad { member, problem };
    let models: Vec<String> =
        serde_json::from_str(value).map_err(|_| bad("must be a list of names of models"))?;
    if models.len() > MODELS_MAX {
        return Err(bad("has more than 256 entries"));
    }
    let plain = |name: &String| {
        !name.is_empty() && name.chars().nth(MODEL_CHARS_MAX).is_none() && !name.chars().any(char::is_control)
    };
    if !models.iter().all(plain) {
        return Err(bad(
            "has an entry that is empty, longer than 255 characters or holds control characters",
        ));
    }
    Ok(models)
}

fn requests(value: &str) -> Result<u32, OverridesError> {
    let number = value.parse().ok().filter(|number| (1..=REQUESTS_MAX).contains(number));
    number.ok_or(OverridesError::Bad {
        member: "requests_per_minute",
        problem: "must be a whole number from 1 to 100000000",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_exactly() {
        let read = PolicyOverrides::parse(
            r#" {"max_daily_cost": 0.1, "max_monthly_cost": "12.000000001", "max_session_cost": null,
                "allowed_models": ["a", "b"], "blocked_models": [], "requests_per_minute": 7}"#,
        );
        let expected = PolicyOverrides {
            max_daily_cost: Some(NanoUsd(100_000_000)),
            max_monthly_cost: Some(NanoUsd(12_000_000_001)),
            max_session_cost: None,
            allowed_models: vec!["a".to_owned(), "b".to_owned()],
            blocked_models: Vec::new(),
            requests_per_minute: Some(7),
        };
        assert_eq!(read, Ok(expected));
        assert_eq!(PolicyOverrides::parse("{}"), Ok(PolicyOverrides::default()));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let said = |json: &str| PolicyOverrides::parse(json).unwrap_err().to_string();
        for (json, words) in [
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            (r#"{"max_cost": 1}"#, "`max_cost` is no member"),
            (r#"{"pii_action": "block"}"#, "`pii_action` is not enforced"),
            (r#"{"max_daily_cost": -1}"#, "`max_daily_cost` must be an amount"),
            (r#"{"max_daily_cost": 1e3}"#, "`max_daily_cost` must be an amount"),
            (r#"{"max_daily_cost": "1.0000000001"}"#, "`max_daily_cost` must be an amount"),
            (r#"{"max_daily_cost": true}"#, "`max_daily_cost` must be an amount"),
            (r#"{"allowed_models": "a"}"#, "`allowed_models` must be a list"),
            (r#"{"blocked_models": [""]}"#, "`blocked_models` has an entry"),
            (r#"{"requests_per_minute": 0}"#, "`requests_per_minute` must be"),
            (r#"{"requests_per_minute": "5"}"#, "`requests_per_minute` must be"),
        ] {
            assert!(said(json).contains(words), "{json}: {}", said(json));
        }
        let long = format!(r#"{{"allowed_models": ["{}"]}}"#, "x".repeat(OVERRIDES_BYTES_MAX));
        assert_eq!(PolicyOverrides::parse(&long), Err(OverridesError::TooLong));
    }
}
