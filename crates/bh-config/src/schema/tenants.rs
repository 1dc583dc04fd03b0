//! Customers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::evidence::Durability;
use super::money::Budget;
use crate::text::{Hostname, NetworkId, TenantId, TimeZoneName};

/// One customer (`spec/product.md`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// Slug: 1 to 56 lower-case letters, digits and inner hyphens.
    #[schemars(example = &"acme")]
    pub id: TenantId,
    /// Name for people.
    #[schemars(example = &"ACME Corporation")]
    pub name: Option<String>,
    /// Whom to write to.
    #[schemars(example = &"admin@acme.example")]
    pub email: Option<String>,
    /// Plan: a preset of limits and prices.
    #[schemars(example = &"enterprise")]
    pub plan: Option<String>,
    /// `suspended` refuses every call; `deleting` too, and hides the tenant.
    #[serde(default)]
    pub status: TenantStatus,
    /// Time zone of its budget windows. Absent: `budgets.timezone`.
    #[schemars(example = &"Europe/Berlin")]
    pub timezone: Option<TimeZoneName>,
    /// Caps of all its callers together.
    #[serde(default)]
    pub budgets: Budget,
    /// Requests per minute of all its callers together.
    #[serde(default)]
    pub rate_limits: TenantRateLimits,
    /// How its evidence is kept.
    #[serde(default)]
    pub evidence: TenantEvidence,
    /// Network id, a UUID: the tenant of the `multitenancy.networks` with this `id`. Absent: chosen when it is first met.
    #[schemars(example = &"550e8400-e29b-41d4-a716-446655440001")]
    pub nid: Option<NetworkId>,
    /// Host names that lead to it where `multitenancy.enabled`; written as `multitenancy.networks[].hostname`.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["acme.example.com"]))]
    pub hostnames: Vec<Hostname>,
}

/// Requests per minute of one tenant.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TenantRateLimits {
    /// Absent: `gateway.rate_limits.per_tenant_requests_per_min`.
    #[schemars(range(min = 1, max = 100_000_000), example = 2000)]
    pub requests_per_minute: Option<u32>,
}

/// How one tenant's evidence is kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TenantEvidence {
    /// Absent: as the route or `evidence.durability` says.
    #[schemars(example = &"strict")]
    pub durability: Option<Durability>,
}

/// Whether a tenant is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// It is.
    #[default]
    Active,
    /// It is not, for now.
    Suspended,
    /// It never will be again.
    Deleting,
}
