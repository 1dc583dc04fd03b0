//! The process itself: listeners, log, store, secrets, operators.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::talos::Rotation;
use crate::secret::{Secret, SecretUrl};
use crate::text::{Cidr, HttpUrl, ListenAddress, TenantId};

/// Listeners and the limits of what they accept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Address and port of every door. Loopback unless you say otherwise.
    pub listen: ListenAddress,
    /// Separate address for `/metrics`, without authentication. Absent: no metrics listener.
    #[schemars(example = &"127.0.0.1:9090")]
    pub metrics_listen: Option<ListenAddress>,
    /// `key`: admin routes need an admin key. `none`: they are open; only for a listener nobody else reaches.
    pub admin_auth: AdminAuth,
    /// Largest request body in bytes; above it the answer is 413.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub body_bytes_max: u64,
    /// Largest request head (request line and headers) in bytes; above it the answer is 431.
    #[schemars(range(min = 1024, max = 1_048_576))]
    pub header_bytes_max: u32,
    /// Most headers in one request.
    #[schemars(range(min = 8, max = 1000))]
    pub headers_max: u32,
    /// Time to send a complete request head, in milliseconds: the first one counts from the connection's start, a
    /// later one from its first byte.
    #[schemars(range(min = 100, max = 600_000))]
    pub header_timeout_ms: u64,
    /// How long a connection without a call stays open, in milliseconds. Longer than a load balancer in front keeps
    /// its own, so that it never uses one that is about to close.
    #[schemars(range(min = 100, max = 86_400_000))]
    pub idle_timeout_ms: u64,
    /// Longest silence inside a request body, in milliseconds.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub body_idle_timeout_ms: u64,
    /// How long a client may leave an answer unread while more of it is ready, in milliseconds. Then the call ends,
    /// and what was used is settled.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub write_timeout_ms: u64,
    /// Time that running calls get to finish when the process is told to stop, in milliseconds. What is left
    /// then is cut off, and what was used is settled.
    #[schemars(range(min = 0, max = 3_600_000))]
    pub drain_timeout_ms: u64,
    /// Peers whose `X-Forwarded-For` is believed, as address ranges.
    #[schemars(example = serde_json::json!(["10.0.0.0/8"]))]
    pub trusted_proxy_cidrs: Vec<Cidr>,
    /// Most connections open at once; further ones wait in the listen queue.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: ListenAddress(std::net::SocketAddr::from(([127, 0, 0, 1], 8080))),
            metrics_listen: None,
            admin_auth: AdminAuth::Key,
            body_bytes_max: 33_554_432,
            header_bytes_max: 65_536,
            headers_max: 100,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 75_000,
            body_idle_timeout_ms: 30_000,
            write_timeout_ms: 60_000,
            drain_timeout_ms: 10_000,
            trusted_proxy_cidrs: Vec::new(),
            max_connections: 10_000,
        }
    }
}

/// Whether admin routes ask for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminAuth {
    /// Yes.
    Key,
    /// No.
    None,
}

/// What the program writes to stderr.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The least important lines to write.
    pub level: LogLevel,
    /// `text` (or its older name `console`) for people, `json` for machines.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Text }
    }
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// What a developer needs.
    Debug,
    /// What an operator needs.
    Info,
    /// What may need a hand.
    Warn,
    /// What failed.
    Error,
}

impl LogLevel {
    /// The word, as log filters spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// The same as `text`.
    Console,
    /// One JSON object per line.
    Json,
}

/// Where tenants, budgets and evidence are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// `postgres://user:password@host/database`. Absent: an SQLite file in the data directory.
    #[schemars(example = &"postgres://bulkhead:${env:PGPASSWORD}@db/bulkhead")]
    pub url: Option<SecretUrl>,
    /// File that holds the URL, instead of `url`.
    pub url_file: Option<String>,
    /// Most database connections. Absent: chosen by the store.
    #[schemars(range(min = 1, max = 1000))]
    pub pool_size: Option<u32>,
}

/// Server secrets.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// Key that wraps every tenant's data key; at least 32 characters.
    #[schemars(length(min = 32))]
    pub master_key: Option<Secret>,
    /// File that holds `master_key`.
    pub master_key_file: Option<String>,
    /// Other master keys that may still wrap something, at most 8: the one before while a rotation is under way. Each at
    /// least 32 characters.
    #[schemars(length(max = 8), inner(length(min = 32)))]
    pub master_keys_retired: Vec<Secret>,
    /// Ed25519 seed that signs checkpoints and exports: 32 bytes in base64 or hex.
    #[schemars(length(min = 32))]
    pub signing_key: Option<Secret>,
    /// File that holds `signing_key`.
    pub signing_key_file: Option<String>,
    /// HMAC-SHA256 key of each evidence record; at least 32 characters.
    #[schemars(length(min = 32))]
    pub evidence_key: Option<Secret>,
    /// File that holds `evidence_key`.
    pub evidence_key_file: Option<String>,
    /// Keys that issued API keys are hashed with (Talos).
    pub hmac: Option<Rotation>,
    /// Keys that seal page tokens (Talos).
    pub pagination: Option<Rotation>,
    /// Keys for any use that has none of its own (Talos).
    pub default: Option<Rotation>,
}

/// One operator's key.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminKey {
    /// Who holds it; recorded with what they do.
    #[schemars(example = &"alice", length(min = 1))]
    pub name: String,
    /// The key. Give this or `key_file`.
    #[schemars(example = &"${env:ALICE_ADMIN_KEY}")]
    pub key: Option<Secret>,
    /// File that holds the key.
    pub key_file: Option<String>,
    /// What the holder may do.
    #[serde(default = "admin")]
    pub role: AdminRole,
}

fn admin() -> AdminRole {
    AdminRole::Admin
}

/// What an operator may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    /// Everything.
    Admin,
    /// Read, and decide reviews.
    Reviewer,
    /// Read.
    Viewer,
}

impl From<AdminRole> for bh_domain::tenant::Role {
    fn from(role: AdminRole) -> Self {
        match role {
            AdminRole::Admin => Self::Admin,
            AdminRole::Reviewer => Self::Reviewer,
            AdminRole::Viewer => Self::Viewer,
        }
    }
}

/// One tenant key without a caller of its own.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// The key.
    #[schemars(example = &"${env:ACME_KEY}")]
    pub key: Secret,
    /// Whose it is. Absent: `default`.
    #[schemars(example = &"acme")]
    pub tenant_id: Option<TenantId>,
}

impl ApiKey {
    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        tenant_or_default(self.tenant_id.as_ref())
    }
}

/// A key that names no tenant belongs to `default` (Talon).
pub(crate) fn tenant_or_default(id: Option<&TenantId>) -> &str {
    id.map_or(bh_domain::tenant::DEFAULT_TENANT, |id| id.0.as_str())
}

/// Bring-your-own-key mode for one developer's machine.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quickstart {
    /// Provider key that is used when the caller sends none. Usually from `OPENAI_API_KEY`.
    pub api_key: Option<Secret>,
    /// File that holds `api_key`.
    pub api_key_file: Option<String>,
    /// Where OpenAI answers. Default `https://api.openai.com`.
    pub openai_base_url: Option<HttpUrl>,
    /// `enforce` refuses what policy refuses; `shadow` only records it.
    pub mode: QuickstartMode,
    /// Whether models outside the quickstart list are let through.
    pub allow_all_models: bool,
}

impl Default for Quickstart {
    fn default() -> Self {
        Self {
            api_key: None,
            api_key_file: None,
            openai_base_url: None,
            mode: QuickstartMode::Enforce,
            allow_all_models: false,
        }
    }
}

/// What quickstart does with a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuickstartMode {
    /// Refuses.
    Enforce,
    /// Records and lets through.
    Shadow,
}
