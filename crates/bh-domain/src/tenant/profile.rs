//! What is known of a tenant that was made at run time: its settings, and how a change is laid over them (seed 001,
//! "Tenant Management").

mod amount;
mod change;
mod hosts;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use self::change::{first_bad, is_group, is_object, merge};
pub use self::hosts::HOSTNAMES_MAX;
use super::{Nid, TenantId};
use crate::keys::key::KeyId;
use crate::money::NanoUsd;
use crate::network::Network;
use crate::time::Timestamp;

/// Longest name, address or plan, in bytes.
pub const TEXT_BYTES_MAX: usize = 256;
/// Most address ranges of one tenant.
pub const ALLOWED_IPS_MAX: usize = 256;
/// Largest metadata, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 16_384;
/// The largest limit: what a request counter holds.
pub const REQUESTS_MAX: u64 = 100_000_000;

/// Slugs that would stand for something else where a tenant's name is part of a path (Connectors dossier §3.1).
const RESERVED: [&str; 4] = ["api-keys", "oauth-apps", "oauth-configs", "tenants"];

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It is.
    #[default]
    Active,
    /// It is not, for now.
    Suspended,
    /// It never will be again: what it kept secret cannot be read any more.
    Deleted,
}

impl Status {
    /// Its name on the wire and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Deleted => "deleted",
        }
    }

    /// Reads [`Status::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::Suspended, Self::Deleted].into_iter().find(|status| status.as_str() == text)
    }
}

/// A tenant as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Slug.
    pub id: TenantId,
    /// Network id.
    pub nid: Nid,
    /// Whether it is served.
    pub status: Status,
    /// What was asked for.
    pub settings: Settings,
    /// The key that it was made with, or the one that took its place.
    pub api_key: Option<KeyId>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// Counts changes, from 1.
    pub revision: u64,
}

/// What a tenant is given. What is not given is as its plan says, else as the configuration does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "TenantSettings")]
pub struct Settings {
    /// Name for people.
    #[serde(deserialize_with = "text")]
    pub name: Option<String>,
    /// Whom to write to.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub email: Option<String>,
    /// Its preset.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "text")]
    pub plan: Option<String>,
    /// Host names that lead to it, where these tell tenants apart: whole names, without wildcards.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Option<Vec<String>>")]
    pub hostnames: Vec<String>,
    /// Numbers it may not go beyond.
    #[schemars(with = "Option<Limits>")]
    pub limits: Limits,
    /// Functions it may use.
    #[schemars(with = "Option<Features>")]
    pub features: Features,
    /// From where it may call.
    #[schemars(with = "Option<Security>")]
    pub security: Security,
    /// What it may spend.
    #[schemars(with = "Option<Budgets>")]
    pub budgets: Budgets,
    /// Whatever its operator wants to remember of it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub metadata: Map<String, Value>,
}

/// Requests and quotas, under the seed's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "TenantLimits")]
pub struct Limits {
    /// Requests per minute of all its callers together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = REQUESTS_MAX))]
    pub requests_per_minute: Option<u64>,
    /// Requests per hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = REQUESTS_MAX))]
    pub requests_per_hour: Option<u64>,
    /// Requests per day.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = REQUESTS_MAX))]
    pub requests_per_day: Option<u64>,
    /// Custom servers at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_custom_servers: Option<u64>,
    /// Tool invocations in a calendar month, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tool_invocations: Option<u64>,
    /// Stored MB of its custom servers.
    #[serde(rename = "maxStorageMB", skip_serializing_if = "Option::is_none")]
    pub max_storage_mb: Option<u64>,
    /// Live API keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_api_keys: Option<u64>,
}

impl Limits {
    /// These, and where they say nothing, others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            requests_per_minute: self.requests_per_minute.or(other.requests_per_minute),
            requests_per_hour: self.requests_per_hour.or(other.requests_per_hour),
            requests_per_day: self.requests_per_day.or(other.requests_per_day),
            max_custom_servers: self.max_custom_servers.or(other.max_custom_servers),
            max_tool_invocations: self.max_tool_invocations.or(other.max_tool_invocations),
            max_storage_mb: self.max_storage_mb.or(other.max_storage_mb),
            max_api_keys: self.max_api_keys.or(other.max_api_keys),
        }
    }
}

/// A function that can be switched off (seed 001, `features`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// Servers of its own.
    CustomServers,
    /// Connections to its users' accounts elsewhere.
    OAuth,
    /// Metrics beyond totals.
    AdvancedAnalytics,
}

impl Feature {
    /// Its name, as the seed writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CustomServers => "customServers",
            Self::OAuth => "oauth",
            Self::AdvancedAnalytics => "advancedAnalytics",
        }
    }

    /// What is said of it.
    #[must_use]
    pub fn of(self, features: &Features) -> Option<bool> {
        match self {
            Self::CustomServers => features.custom_servers,
            Self::OAuth => features.oauth,
            Self::AdvancedAnalytics => features.advanced_analytics,
        }
    }
}

/// Functions that can be switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "TenantFeatures")]
pub struct Features {
    /// Servers of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_servers: Option<bool>,
    /// Connections to its users' accounts elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<bool>,
    /// Metrics beyond totals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advanced_analytics: Option<bool>,
}

impl Features {
    /// These, and where they say nothing, others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            custom_servers: self.custom_servers.or(other.custom_servers),
            oauth: self.oauth.or(other.oauth),
            advanced_analytics: self.advanced_analytics.or(other.advanced_analytics),
        }
    }
}

/// From where a tenant may call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "TenantSecurity")]
pub struct Security {
    /// Addresses and ranges; none = from anywhere.
    #[serde(rename = "allowedIPs")]
    #[schemars(with = "Option<Vec<String>>")]
    pub allowed_ips: Vec<String>,
}

impl Security {
    /// The ranges, read.
    #[must_use]
    pub fn networks(&self) -> Vec<Network> {
        self.allowed_ips.iter().filter_map(|text| Network::parse(text)).collect()
    }
}

/// What a tenant may spend: decimal texts, or `None` for as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schemars(rename = "TenantBudgets")]
pub struct Budgets {
    /// In a day.
    #[serde(skip_serializing_if = "Option::is_none", with = "amount")]
    #[schemars(with = "amount::Wire")]
    pub daily: Option<NanoUsd>,
    /// In a month.
    #[serde(skip_serializing_if = "Option::is_none", with = "amount")]
    #[schemars(with = "amount::Wire")]
    pub monthly: Option<NanoUsd>,
    /// In a session.
    #[serde(skip_serializing_if = "Option::is_none", with = "amount")]
    #[schemars(with = "amount::Wire")]
    pub session: Option<NanoUsd>,
}

impl Budgets {
    /// These, and where they say nothing, others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            daily: self.daily.or(other.daily),
            monthly: self.monthly.or(other.monthly),
            session: self.session.or(other.session),
        }
    }
}

/// Why settings cannot be a tenant's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}`: {problem}")]
pub struct SettingsError {
    /// Where, as a path: `limits.requestsPerMinute`.
    pub field: String,
    /// What is wrong, and what is wanted.
    pub problem: String,
}

impl SettingsError {
    fn new(field: &str, problem: impl Into<String>) -> Self {
        Self { field: field.to_owned(), problem: problem.into() }
    }
}

impl Settings {
    /// Lays a change over these settings: what it names is replaced, `null` takes away, and what it does not name stays
    /// (RFC 7396).
    ///
    /// # Errors
    /// [`SettingsError`] for a member that is none, or whose value cannot be.
    pub fn changed(&self, change: &Map<String, Value>) -> Result<Self, SettingsError> {
        // Left to itself, serde reads a struct from an array too, member by member.
        if let Some((name, _)) = change.iter().find(|(name, value)| is_group(name) && !is_object(value)) {
            return Err(SettingsError::new(name, "an object"));
        }
        let unreadable = |error: serde_json::Error| SettingsError::new("settings", error.to_string());
        let mut whole = serde_json::to_value(self).map_err(unreadable)?;
        merge(&mut whole, &Value::Object(change.clone()));
        let changed: Self = match serde_json::from_value(whole) {
            Ok(changed) => changed,
            Err(error) => return Err(SettingsError::new(&first_bad(change), error.to_string())),
        };
        changed.checked()
    }

    fn checked(mut self) -> Result<Self, SettingsError> {
        self.hostnames = hosts::normalised(&self.hostnames)?;
        for (field, text) in [("name", &self.name), ("email", &self.email), ("plan", &self.plan)] {
            let text = text.as_deref().unwrap_or_default();
            if text.len() > TEXT_BYTES_MAX || text.contains(char::is_control) {
                let problem = format!("at most {TEXT_BYTES_MAX} bytes without control characters");
                return Err(SettingsError::new(field, problem));
            }
        }
        if self.email.as_deref().is_some_and(|email| !is_address(email)) {
            return Err(SettingsError::new("email", "not an e-mail address: name@host"));
        }
        let Limits { requests_per_minute, requests_per_hour, requests_per_day, .. } = self.limits;
        let requests = [
            ("limits.requestsPerMinute", requests_per_minute),
            ("limits.requestsPerHour", requests_per_hour),
            ("limits.requestsPerDay", requests_per_day),
        ];
        for (field, value) in requests {
            if value.is_some_and(|value| !(1..=REQUESTS_MAX).contains(&value)) {
                return Err(SettingsError::new(field, format!("a whole number from 1 to {REQUESTS_MAX}")));
            }
        }
        for (field, cap) in [
            ("budgets.daily", self.budgets.daily),
            ("budgets.monthly", self.budgets.monthly),
            ("budgets.session", self.budgets.session),
        ] {
            if cap.is_some_and(|cap| cap < NanoUsd::ZERO) {
                return Err(SettingsError::new(field, "an amount of money, not below zero"));
            }
        }
        if self.security.allowed_ips.len() > ALLOWED_IPS_MAX {
            let problem = format!("at most {ALLOWED_IPS_MAX} addresses and ranges");
            return Err(SettingsError::new("security.allowedIPs", problem));
        }
        if let Some(bad) = self.security.allowed_ips.iter().find(|text| Network::parse(text).is_none()) {
            let problem =
                format!("`{bad}` is no address and no range: 203.0.113.0/24, 198.51.100.42 or 2001:db8::/32");
            return Err(SettingsError::new("security.allowedIPs", problem));
        }
        let bytes = serde_json::to_vec(&self.metadata).map_or(usize::MAX, |text| text.len());
        if bytes > METADATA_BYTES_MAX {
            return Err(SettingsError::new("metadata", format!("at most {METADATA_BYTES_MAX} bytes")));
        }
        Ok(self)
    }
}

/// Whether a new tenant may be called so.
///
/// # Errors
/// [`SettingsError`] for what is no slug, and for a reserved one.
pub fn slug(text: &str) -> Result<TenantId, SettingsError> {
    let id = TenantId::parse(text).map_err(|error| SettingsError::new("id", error.to_string()))?;
    if RESERVED.contains(&text) {
        return Err(SettingsError::new("id", format!("`{text}` is reserved: choose another")));
    }
    Ok(id)
}

fn is_address(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    parts.is_some_and(|(name, host)| {
        !name.is_empty() && !host.is_empty() && !text.contains(char::is_whitespace)
    })
}

/// An empty text is none.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.trim().is_empty()))
}

#[cfg(test)]
mod tests;
