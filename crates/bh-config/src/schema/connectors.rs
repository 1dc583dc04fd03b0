//! Seed 001's settings: tenancy of the tool gateway, Vault and Redis (Connectors dossier §5.1 and §5.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::text::{HeaderName, HttpUrl, TenantId};

/// Tenancy of the tool gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ConnectorsTenancy {
    /// Whether there are several tenants; `false`: all calls are `fallbackTenantId`'s.
    pub enabled: bool,
    /// Header that names the tenant; it may only confirm what the key says.
    pub tenant_id_header: HeaderName,
    /// Tenant of calls that neither a key nor a header decides. Default `default`.
    pub fallback_tenant_id: Option<TenantId>,
    /// Whether a key is needed; `false` only while migrating.
    pub require_api_key: bool,
    /// Header that carries the key; `Authorization` expects `Bearer`.
    pub api_key_header: HeaderName,
    /// Limits of a tenant that has none of its own.
    pub rate_limits: RequestRates,
    /// Quotas of a tenant that has none of its own.
    pub quotas: ResourceQuotas,
    /// What tenants don't share.
    pub isolation: Isolation,
}

impl Default for ConnectorsTenancy {
    fn default() -> Self {
        Self {
            enabled: true,
            tenant_id_header: HeaderName("X-Tenant-ID".to_owned()),
            fallback_tenant_id: None,
            require_api_key: true,
            api_key_header: HeaderName("Authorization".to_owned()),
            rate_limits: RequestRates::default(),
            quotas: ResourceQuotas::default(),
            isolation: Isolation::default(),
        }
    }
}

/// Requests per window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct RequestRates {
    /// Per minute.
    #[schemars(range(min = 1))]
    pub requests_per_minute: u64,
    /// Per hour.
    #[schemars(range(min = 1))]
    pub requests_per_hour: u64,
    /// Per day.
    #[schemars(range(min = 1))]
    pub requests_per_day: u64,
}

impl Default for RequestRates {
    fn default() -> Self {
        Self { requests_per_minute: 1_000, requests_per_hour: 50_000, requests_per_day: 1_000_000 }
    }
}

/// How much a tenant may keep or do.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceQuotas {
    /// Custom servers at the same time.
    pub max_custom_servers: u64,
    /// Tool invocations per calendar month, UTC.
    pub max_tool_invocations: u64,
    /// Stored MB of custom servers' sources and artefacts.
    #[serde(rename = "maxStorageMB")]
    pub max_storage_mb: u64,
}

impl Default for ResourceQuotas {
    fn default() -> Self {
        Self { max_custom_servers: 10, max_tool_invocations: 100_000, max_storage_mb: 1_000 }
    }
}

/// What tenants don't share.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Isolation {
    /// Each its own data key, which seals its secrets and prompts. Read at start.
    pub separate_vault_keys: bool,
    /// Each its own key prefix in Redis, for its counts of requests. Read at start.
    pub separate_redis_namespace: bool,
    /// Each its own stream of calls and audit events, `logs/<tenant>.ndjson` in the data directory. Read at start.
    pub separate_logs: bool,
}

impl Default for Isolation {
    fn default() -> Self {
        Self { separate_vault_keys: true, separate_redis_namespace: true, separate_logs: true }
    }
}

/// Shared state of several replicas.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisStore {
    /// `redis://[user:password@]host:port[/db]`, `rediss` for an encrypted connection. Default: the server of
    /// `cache.redis`.
    pub url: Option<Secret>,
    /// File that holds the URL.
    pub url_file: Option<String>,
    /// First part of every tenant's keys.
    pub tenant_prefix: String,
}

impl Default for RedisStore {
    fn default() -> Self {
        Self { url: None, url_file: None, tenant_prefix: "tenant".to_owned() }
    }
}

/// HashiCorp-compatible vault.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Vault {
    /// Where it answers.
    #[schemars(example = &"http://vault:8200")]
    pub addr: Option<HttpUrl>,
    /// Token for it.
    pub token: Option<Secret>,
    /// File that holds the token.
    pub token_file: Option<String>,
    /// Path of tenants' credentials inside the mount.
    pub tenant_prefix: String,
}

impl Default for Vault {
    fn default() -> Self {
        Self { addr: None, token: None, token_file: None, tenant_prefix: "connectors/tenants".to_owned() }
    }
}
