//! Caches: of key verification (Talos dossier §8.2) and of answers (Talon dossier §13.1).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comes_with::HARDENING;
use super::policy::words;
use crate::secret::Secret;
use crate::text::GoDuration;

/// Caches.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cache {
    /// Where verifications of keys are kept: `memory`, exact on every replica, or `noop` for nowhere. `redis` is refused
    /// by this release. Default `memory`.
    pub r#type: Option<CacheType>,
    /// Whether verifications are kept. Default true.
    pub enabled: Option<bool>,
    /// How long a verification holds. Default `5m`.
    pub ttl: Option<GoDuration>,
    /// Settings of `type: memory`.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub memory: Option<CacheMemory>,
    /// Settings of `type: redis`.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub redis: Option<CacheRedis>,
    /// How long a cached answer holds, in seconds (Talon). Default 3600.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub default_ttl: Option<u32>,
    /// The same by data tier: `public`, `internal`, `confidential` (Talon).
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub ttl_by_tier: std::collections::BTreeMap<String, u32>,
    /// How alike two prompts must be, 0 to 1 (Talon). Default 0.92.
    #[schemars(range(min = 0.0, max = 1.0), extend("x-comes-with" = HARDENING))]
    pub similarity_threshold: Option<f64>,
    /// Most cached answers per tenant (Talon). Default 10000.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub max_entries_per_tenant: Option<u32>,
}

/// Settings of the memory cache.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheMemory {
    /// Most bytes. Default 104857600.
    #[schemars(range(min = 1_048_576, max = 10_737_418_240_u64))]
    pub max_size: Option<u64>,
    /// Most counters. Default 10000.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub num_counters: Option<u32>,
}

/// Settings of the Redis cache.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheRedis {
    /// Servers. Default `["localhost:6379"]`.
    pub addrs: Option<Vec<String>>,
    /// Password.
    pub password: Option<Secret>,
    /// File that holds the password.
    pub password_file: Option<String>,
    /// Database number.
    #[schemars(range(max = 15))]
    pub db: u8,
    /// Most connections. Default 100.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: Option<u32>,
    /// For one command. Default `3s`.
    pub timeout: Option<GoDuration>,
    /// Connections kept open. Default 2.
    pub min_idle_conns: Option<u32>,
    /// How long an idle connection lives. Default `5m`.
    pub conn_max_idle_time: Option<GoDuration>,
    /// How long a connection lives. Default `30m`.
    pub conn_max_lifetime: Option<GoDuration>,
    /// Encryption.
    pub tls: Switch,
}

/// Something that is on or off.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// On or off.
    pub enabled: bool,
}

words!(
    /// Where verifications are cached.
    CacheType {
        /// In the process.
        Memory,
        /// In Redis.
        Redis,
        /// Nowhere.
        Noop,
    }
);
