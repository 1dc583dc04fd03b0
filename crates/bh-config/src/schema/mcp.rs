//! Tenants' MCP servers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// MCP servers that tenants bring (`mcp.add`).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mcp {
    /// How long a server may take to answer, in milliseconds: a tool's call, or the whole list of its tools.
    #[schemars(range(min = 100, max = 600_000))]
    pub timeout_ms: u64,
    /// Whether a tenant's server may be at a loopback, private or link-local address. Tenants choose these addresses.
    pub allow_private_network: bool,
}

impl Default for Mcp {
    fn default() -> Self {
        Self { timeout_ms: 30_000, allow_private_network: false }
    }
}
