//! The gateway's rate limits and timeouts, and the blocks of it that are accepted but not active yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::GoDuration;

/// Requests per minute. Absent: unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayRateLimits {
    /// Of all callers together.
    #[schemars(range(min = 1, max = 100_000_000), example = 60_000)]
    pub global_requests_per_min: Option<u32>,
    /// Of each tenant.
    #[schemars(range(min = 1, max = 100_000_000), example = 1_000)]
    pub per_tenant_requests_per_min: Option<u32>,
    /// Of each caller. Also spelled `per_agent_requests_per_min`.
    #[schemars(range(min = 1, max = 100_000_000), example = 300)]
    pub per_caller_requests_per_min: Option<u32>,
}

/// How long a provider is waited for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayTimeouts {
    /// To connect.
    pub connect_timeout: GoDuration,
    /// For a whole answer that is not streamed.
    pub request_timeout: GoDuration,
    /// For the answer's head. Absent: as `request_timeout`.
    pub response_header_timeout: Option<GoDuration>,
    /// Longest silence inside a stream.
    pub stream_idle_timeout: GoDuration,
}

impl Default for GatewayTimeouts {
    fn default() -> Self {
        let seconds = |s| GoDuration(std::time::Duration::from_secs(s));
        Self {
            connect_timeout: seconds(10),
            request_timeout: seconds(120),
            response_header_timeout: None,
            stream_idle_timeout: seconds(60),
        }
    }
}

/// One provider's timeouts where they differ from `gateway.timeouts`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderTimeouts {
    /// To connect.
    pub connect_timeout: Option<GoDuration>,
    /// For a whole answer that is not streamed.
    pub request_timeout: Option<GoDuration>,
    /// For the answer's head.
    pub response_header_timeout: Option<GoDuration>,
    /// Longest silence inside a stream.
    pub stream_idle_timeout: Option<GoDuration>,
}

/// Scanning of answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ResponseScanning {
    /// Whether answers are scanned.
    pub enabled: bool,
}

/// Interception of calls that bypass the gateway.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkInterception {
    /// Whether calls are intercepted.
    pub enabled: bool,
    /// Hosts whose calls are taken over.
    pub intercept_hosts: Vec<InterceptHost>,
    /// Certificates for intercepted hosts.
    pub tls: InterceptTls,
}

/// One intercepted host.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterceptHost {
    /// Host name that callers use.
    pub original: String,
    /// Provider that answers instead.
    pub provider: String,
    /// A remark.
    pub note: Option<String>,
}

/// Certificates for intercepted hosts.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InterceptTls {
    /// Directory of certificates.
    pub cert_dir: Option<String>,
}
