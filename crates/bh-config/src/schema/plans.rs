//! Plans: presets for tenants (issue of seed 001's `plan`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::billing::{UsageIncluded, UsagePrices};
use super::money::Budget;

/// A preset. A tenant's own settings win, and what a plan leaves out is as `multiTenant` says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Plan {
    /// Numbers that its tenants may not go beyond.
    pub limits: PlanLimits,
    /// Functions that its tenants may use.
    pub features: PlanFeatures,
    /// What each of its tenants may spend.
    pub budgets: Budget,
    /// What its tenants are charged. Absent: as `billing.prices` says.
    pub prices: UsagePrices,
    /// What a month includes. Absent: as `billing.included` says.
    pub included: UsageIncluded,
}

/// Requests and quotas, under the names that the admin API has for them.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PlanLimits {
    /// Requests per minute of all callers together.
    #[schemars(range(min = 1, max = 100_000_000), example = 2000)]
    pub requests_per_minute: Option<u64>,
    /// Requests per hour.
    #[schemars(range(min = 1, max = 100_000_000), example = 50_000)]
    pub requests_per_hour: Option<u64>,
    /// Requests per day.
    #[schemars(range(min = 1, max = 100_000_000), example = 1_000_000)]
    pub requests_per_day: Option<u64>,
    /// Custom servers at the same time.
    #[schemars(example = 20)]
    pub max_custom_servers: Option<u64>,
    /// Tool invocations per calendar month, UTC.
    #[schemars(example = 100_000)]
    pub max_tool_invocations: Option<u64>,
    /// Stored MB of custom servers.
    #[serde(rename = "maxStorageMB")]
    #[schemars(example = 1000)]
    pub max_storage_mb: Option<u64>,
    /// Live API keys.
    #[schemars(example = 100)]
    pub max_api_keys: Option<u64>,
}

/// Functions that a plan switches.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct PlanFeatures {
    /// Servers of the tenant's own. Absent: on.
    #[schemars(example = true)]
    pub custom_servers: Option<bool>,
    /// Connections to its users' accounts elsewhere. Absent: on.
    #[schemars(example = true)]
    pub oauth: Option<bool>,
    /// Metrics beyond totals. Absent: on.
    #[schemars(example = false)]
    pub advanced_analytics: Option<bool>,
}
