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
    /// Where verifications of keys are kept: `memory`, exact on every replica; `redis`, the same, and behind it what
    /// replicas share; `noop` for nowhere. Default `memory`.
    pub r#type: Option<CacheType>,
    /// Whether verifications are kept. Default true.
    pub enabled: Option<bool>,
    /// How long a verification holds. Default `5m`.
    pub ttl: Option<GoDuration>,
    /// Settings of `type: memory`.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub memory: Option<CacheMemory>,
    /// The server of `type: redis`, the same for all tenants. Read at start.
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
    /// The server, `host:port`; one of them. Default `["localhost:6379"]`.
    pub addrs: Option<Vec<String>>,
    /// User. Default: the server's default user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// File that holds the password.
    pub password_file: Option<String>,
    /// Database number.
    #[schemars(range(max = 15))]
    pub db: u8,
    /// Accepted: one connection carries all commands at once.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: Option<u32>,
    /// For one command, its connection included. Default `500ms`: the store is asked when it is over.
    pub timeout: Option<GoDuration>,
    /// Accepted: the connection is kept open.
    pub min_idle_conns: Option<u32>,
    /// Accepted: the connection is kept open.
    pub conn_max_idle_time: Option<GoDuration>,
    /// Accepted: the connection is kept open.
    pub conn_max_lifetime: Option<GoDuration>,
    /// Encryption, with a certificate of a public authority.
    pub tls: Switch,
}

impl CacheRedis {
    /// The host and the port of an address; an IPv6 host stands in brackets there, and without them here.
    #[must_use]
    pub fn host_and_port(address: &str) -> Option<(&str, u16)> {
        let (host, port) = address.rsplit_once(':')?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let named = bare.is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok())
            || (!host.is_empty() && host.bytes().all(plain));
        Some((bare.unwrap_or(host), port.parse().ok().filter(|port| *port > 0)?)).filter(|_| named)
    }
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
