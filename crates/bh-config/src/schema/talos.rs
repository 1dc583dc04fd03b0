//! Seed 003's settings: tenancy by host name and the API-key server (Talos dossier §7.4 and §8.2).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comes_with::HARDENING;
use super::policy::{Free, words};
use crate::secret::{Secret, SecretUrl};
use crate::text::{GoDuration, Hostname, Instant, KeyPrefix, NetworkId};

/// First part of issued keys where nothing is configured.
pub const KEY_PREFIX_DEFAULT: &str = "ory_ak";
/// First part of macaroons where nothing is configured.
pub const MACAROON_PREFIX_DEFAULT: &str = "mc";

/// Tenancy by host name.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MultiTenancy {
    /// Whether the host name decides the tenant. Then an unknown one is 404, and a key opens its own tenant's hosts only.
    pub enabled: bool,
    /// The known host names.
    pub networks: Vec<Network>,
}

/// One host name and the tenant behind it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Host name, compared in lower case, without port and brackets; `*.example.com` for all below a domain, `*` for
    /// every other. The narrowest wins.
    #[schemars(example = &"tenant1.talos.example.com")]
    pub hostname: Hostname,
    /// The tenant's network id, a UUID.
    #[schemars(example = &"550e8400-e29b-41d4-a716-446655440001")]
    pub id: NetworkId,
    /// YAML file with the tenant's own `talos`, `secrets`, `credentials`, `cache`, `rate_limit` and `quota`, laid over
    /// those of this file. Relative to this file's folder.
    #[schemars(example = &"/etc/talos/tenant1.yaml")]
    pub config_path: Option<String>,
}

/// Listeners of the API-key server. `grpc` and `tls` are free in form.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Serve {
    /// The HTTP listener.
    pub http: ServeHttp,
    /// The metrics listener, where `server.metrics_listen` is not given. Health checks answer there too.
    pub metrics: HostPort,
    /// The gRPC listener.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub grpc: Free,
    /// Certificates.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub tls: Free,
}

/// The HTTP listener.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServeHttp {
    /// Address to listen on, where `server.listen` is not given. Default `0.0.0.0`.
    pub host: Option<String>,
    /// Port to listen on, where `server.listen` is not given. Default 4420.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
    /// Cross-origin requests.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub cors: Cors,
    /// Where a caller's address is read from. Headers are believed from `server.trusted_proxy_cidrs` only.
    pub client_ip_source: Option<ClientIpSource>,
    /// Whether `X-Forwarded-Host` wins over `Host`; only behind a proxy that rewrites it.
    pub trust_forwarded_host: bool,
    /// Lines per request.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub request_log: RequestLog,
}

/// An address and a port.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HostPort {
    /// Address to listen on. Default `0.0.0.0`.
    pub host: Option<String>,
    /// Port to listen on. Default 4422.
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<u16>,
}

/// Cross-origin requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cors {
    /// Whether they are answered.
    pub enabled: bool,
    /// From where; one `*` per origin. Default `["*"]`.
    pub allowed_origins: Option<Vec<String>>,
    /// With which methods.
    pub allowed_methods: Option<Vec<String>>,
    /// With which headers.
    pub allowed_headers: Option<Vec<String>>,
    /// Which headers scripts may read.
    pub exposed_headers: Option<Vec<String>>,
    /// Whether credentials may come along.
    pub allow_credentials: bool,
    /// Seconds that a preflight holds.
    #[schemars(range(min = 0, max = 86_400))]
    pub max_age: u32,
    /// Whether decisions are logged.
    pub debug: bool,
}

/// Lines per request.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestLog {
    /// Whether health checks are left out.
    pub exclude_health_endpoints: bool,
}

/// Where a caller's address is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientIpSource {
    /// `X-Forwarded-For` from trusted proxies, else the connection.
    #[serde(rename = "CLIENT_IP_SOURCE_UNSPECIFIED")]
    Unspecified,
    /// The connection.
    #[serde(rename = "CLIENT_IP_SOURCE_REMOTE_ADDR")]
    RemoteAddr,
    /// `CF-Connecting-IP`.
    #[serde(rename = "CLIENT_IP_SOURCE_CF_CONNECTING_IP")]
    CfConnectingIp,
    /// `X-Forwarded-For`: the nearest hop that is no trusted proxy.
    #[serde(rename = "CLIENT_IP_SOURCE_X_FORWARDED_FOR")]
    XForwardedFor,
    /// `X-Real-IP`.
    #[serde(rename = "CLIENT_IP_SOURCE_X_REAL_IP")]
    XRealIp,
    /// `True-Client-IP`.
    #[serde(rename = "CLIENT_IP_SOURCE_TRUE_CLIENT_IP")]
    TrueClientIp,
}

/// Issued keys and derived tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Credentials {
    /// Issuer named in derived tokens.
    #[schemars(length(min = 1))]
    pub issuer: Option<String>,
    /// Issuers still accepted.
    pub issuer_retired: Vec<Retired>,
    /// How far clocks may differ. Default `5m`, at most `10m`.
    pub clock_skew: Option<GoDuration>,
    /// Issued keys.
    pub api_keys: ApiKeySettings,
    /// Derived tokens.
    pub derived_tokens: DerivedTokens,
    /// Keys that were made elsewhere.
    pub imported_keys: ImportedKeySettings,
}

/// Keys that were made elsewhere.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportedKeySettings {
    /// How new ones are hashed: `3` with a key of this installation, and a key and its SHA-256 are one key; `2` with that
    /// key as well, but not so; `1` as Talos does. Default 3.
    #[schemars(range(min = 1, max = 3))]
    pub hash_version: Option<u8>,
}

/// A value that is on its way out: the bare value, or with the instant after which it is refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Retired {
    /// The value.
    Value(String),
    /// The value and its end.
    Until(RetiredUntil),
}

/// A retired value and its end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetiredUntil {
    /// The value.
    pub value: String,
    /// RFC 3339 instant after which it is refused.
    pub expires_at: Option<Instant>,
}

/// Issued keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiKeySettings {
    /// Lifetime of a key that asks for none.
    pub default_ttl: Option<GoDuration>,
    /// Longest lifetime. Default `8760h`.
    pub max_ttl: Option<GoDuration>,
    /// First part of issued keys.
    pub prefix: Prefix,
}

/// First part of issued keys.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Prefix {
    /// Of new keys.
    #[schemars(example = &"t3")]
    pub current: Option<KeyPrefix>,
    /// Still accepted.
    pub retired: Vec<KeyPrefix>,
    /// Of new keys that are no secret.
    pub public_current: Option<KeyPrefix>,
    /// Still accepted for keys that are no secret.
    pub public_retired: Vec<KeyPrefix>,
}

/// Derived tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DerivedTokens {
    /// Lifetime of a token that asks for none. Default `1h`.
    pub default_ttl: Option<GoDuration>,
    /// Signed tokens.
    pub jwt: Jwt,
    /// Chained tokens.
    pub macaroon: Macaroon,
}

/// Signed tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Jwt {
    /// Which key signs.
    pub signing_key_id: Option<String>,
    /// Where keys come from.
    pub signing_keys: SigningKeys,
}

/// Where signing keys come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SigningKeys {
    /// Key sets, as `base64://...` or as addresses. May hold private keys, so they are treated as secrets.
    pub urls: Vec<Secret>,
}

/// Chained tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Macaroon {
    /// First part of tokens.
    pub prefix: MacaroonPrefix,
}

/// First part of chained tokens.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MacaroonPrefix {
    /// Of new tokens. Default `mc`; 1 to 8 characters.
    #[schemars(length(min = 1, max = 8))]
    pub current: Option<String>,
    /// Still accepted.
    #[schemars(inner(length(min = 1, max = 8)))]
    pub retired: Vec<String>,
}

/// A secret and its predecessors.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// What is used now; at least 32 characters.
    #[schemars(length(min = 32))]
    pub current: Option<Secret>,
    /// File that holds `current`.
    pub current_file: Option<String>,
    /// What is still accepted.
    pub retired: Vec<Rotated>,
}

/// A retired secret: bare, or with the instant after which it is refused.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Rotated {
    /// The secret; at least 32 characters.
    Value(#[schemars(length(min = 32))] Secret),
    /// The secret and its end.
    Until(RotatedUntil),
}

/// A retired secret and its end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RotatedUntil {
    /// The secret; at least 32 characters.
    #[schemars(length(min = 32))]
    pub value: Secret,
    /// RFC 3339 instant after which it is refused.
    pub expires_at: Option<Instant>,
}

/// Database in Talos's spelling.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Db {
    /// `sqlite://`, `postgres://`, `cockroach://` or `mysql` address, pool settings in the query.
    pub dsn: Option<SecretUrl>,
    /// File that holds the address.
    pub dsn_file: Option<String>,
}

/// Rate limits: whether they hold, and where they are counted.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimit {
    /// Whether they hold. Default: those of tenants do, those of issued keys don't; `true` and `false` are for both.
    pub enabled: Option<bool>,
    /// Where tenants' requests are counted: `memory`, by each replica alone; `redis`, by all of them together, on the
    /// server of `redis.url`. Read at start. Default `memory`.
    pub backend: Option<RateLimitBackend>,
    /// What holds while Redis does not answer: `share`, each replica counts alone, against the limit divided by the number
    /// of replicas; `open`, no limit of a tenant; `closed`, requests are refused with 503. Read at start. Default `share`.
    pub on_outage: Option<RateLimitOutage>,
    /// How long a request waits for Redis. Read at start. Default `50ms`.
    pub timeout: Option<GoDuration>,
}

/// When each issued key was last used.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LastUsed {
    /// Most updates waiting. Default 10000.
    #[schemars(range(min = 256, max = 1_000_000), extend("x-comes-with" = HARDENING))]
    pub queue_size: Option<u32>,
    /// Most updates in one write. Default 100.
    #[schemars(range(min = 1, max = 10_000), extend("x-comes-with" = HARDENING))]
    pub flush_size: Option<u32>,
    /// How often updates are written. Default `30s`.
    pub flush_interval: Option<GoDuration>,
    /// Writers. Default 4.
    #[schemars(range(min = 1, max = 64), extend("x-comes-with" = HARDENING))]
    pub num_workers: Option<u32>,
}

/// Traces.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// Whether traces are sent.
    pub enabled: bool,
    /// Name of this service.
    pub service_name: Option<String>,
    /// Its version.
    pub service_version: Option<String>,
    /// Where it runs. Default `development`.
    pub environment: Option<String>,
    /// How traces are sent. Default `otlp`.
    pub exporter: Option<String>,
    /// Where they are sent.
    pub endpoint: Option<String>,
    /// Part of the requests that are traced, 0 to 1. Default 0.001.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub sample_rate: Option<f64>,
}

/// How many things a tenant may keep.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quota {
    /// Issued keys; 0 for no limit.
    pub api_keys_max: u64,
}

words!(
    /// Where rate limits are counted.
    RateLimitBackend {
        /// In the process.
        Memory,
        /// In Redis.
        Redis,
    }
);

words!(
    /// What holds while shared counts do not answer.
    RateLimitOutage {
        /// This replica's part of the limit.
        Share,
        /// No limit.
        Open,
        /// No request.
        Closed,
    }
);
