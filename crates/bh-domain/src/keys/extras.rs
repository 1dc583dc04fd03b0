//! What a key has beyond Talos's members: what permissions it has been granted, its named limits, and when its credits are replaced.
//!
//! Kept as one JSON object in its row, beside the key's own policy ([`super::overrides`]).

use serde::{Deserialize, Serialize};

use super::credits::Refill;
use super::key::JsonObject;
use super::named::NamedLimit;
use super::permission::Permission;

/// The most permissions of one key.
pub const PERMISSIONS_MAX: usize = 100;

/// The member under which permissions are kept.
pub const PERMISSIONS: &str = "permissions";
/// The member under which named limits are kept.
pub const RATE_LIMITS: &str = "rate_limits";
/// The member under which it is kept when credits are replaced.
pub const CREDITS_REFILL: &str = "credits_refill";
/// The member under which it is kept whose credits a key spends.
pub const CREDITS_OF: &str = "credits_of";

/// The member under which it is kept which key of a tenant's this one took the place of.
pub const SUCCEEDS: &str = "succeeds";

/// A key's extras, read. A key without any has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Extras {
    /// What it may do, in the permission language.
    pub permissions: Vec<Permission>,
    /// How often and how much it may be used, beside its one rate limit.
    pub rate_limits: Vec<NamedLimit>,
    /// When its credits are replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_refill: Option<Refill>,
    /// The key whose credits it spends: after a rotation with a time of grace, the one that took its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credits_of: Option<Box<str>>,
    /// The tenant's key that it took the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub succeeds: Option<Box<str>>,
}

impl Extras {
    /// Reads what a row keeps.
    ///
    /// # Errors
    /// The member that is not what it should be.
    pub fn read(stored: &JsonObject) -> Result<Self, serde_json::Error> {
        if *stored == JsonObject::default() {
            return Ok(Self::default());
        }
        serde_json::from_str(stored.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Extras, serde_json::Error> {
        Extras::read(&JsonObject::parse(text).unwrap())
    }

    #[test]
    fn what_is_kept_is_read_back_and_a_policy_beside_it_is_passed_over() {
        let extras = read(r#"{"permissions": ["a.*"], "policy_overrides": {"max_daily_cost": 1}}"#).unwrap();
        assert_eq!(extras.permissions, [Permission::parse("a.*").unwrap()]);
        assert_eq!(read("{}").unwrap(), Extras::default());
    }

    #[test]
    fn what_cannot_be_read_is_no_empty_list() {
        for text in [r#"{"permissions": ["a b"]}"#, r#"{"permissions": 1}"#] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
