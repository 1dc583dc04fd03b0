//! Every setting, as types. The doc comment of a field is its documentation: the default file, the published JSON
//! Schema and `config explain` are all made from it.
//!
//! A field marked `x-comes-with` belongs to a part of the product that a later release implements: it is read and
//! validated, and reported as "accepted, not active yet".

mod audit;
mod billing;
mod caches;
mod connectors;
mod evidence;
mod gateway;
mod limits;
mod mcp;
mod money;
mod plans;
mod policy;
mod server;
mod talon;
mod talos;
mod tenant_keys;
mod tenants;
mod webhooks;

pub use audit::*;
pub use billing::*;
pub use caches::*;
pub use connectors::*;
pub use evidence::*;
pub use gateway::*;
pub use limits::*;
pub use mcp::*;
pub use money::*;
pub use plans::*;
pub use policy::*;
pub use server::*;
pub use talon::*;
pub use talos::*;
pub use tenant_keys::*;
pub use tenants::*;
pub use webhooks::*;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::GoDuration;
use crate::yaml::typed::whole_list;

/// Which release of the product a setting becomes active with.
pub(crate) mod comes_with {
    pub(crate) const AGENTS: &str = "agent runtime";
    pub(crate) const COMPLIANCE: &str = "dashboard & compliance";
    pub(crate) const GOVERNANCE: &str = "governance";
    pub(crate) const HARDENING: &str = "scale & hardening";
    pub(crate) const TOOLS: &str = "MCP & tools";
}

use comes_with::{AGENTS, COMPLIANCE, GOVERNANCE, HARDENING, TOOLS};

/// The whole configuration of one Bulkhead.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listeners and the limits of what they accept.
    pub server: Server,
    /// Directory that holds every state file. Default: `$HOME/.bulkhead`, chosen by the program.
    #[schemars(example = &"/var/lib/bulkhead")]
    pub data_dir: Option<String>,
    /// What the program writes to stderr.
    pub log: Log,
    /// Where tenants, budgets and evidence are kept.
    pub store: Store,
    /// Server secrets. Those left out are generated on first start into a file only its owner can read.
    pub secrets: Secrets,
    /// Operators' keys for the control plane (Talon). Without any, admin routes are closed.
    pub admin_keys: Vec<AdminKey>,
    /// Tenant keys outside the gateway block, as `BULKHEAD_API_KEYS=key:tenant,...` gives them (Talon).
    pub api_keys: Vec<ApiKey>,
    /// The LLM gateway. Without this block no tenant key of `gateway.callers` exists (Talon).
    pub gateway: Option<Gateway>,
    /// Bring-your-own-key mode for one developer's machine: `serve --proxy-quickstart` (Talon).
    pub quickstart: Quickstart,
    /// Model names of the native routes: each an alias for `provider/model`, or for a list of candidates in order.
    #[schemars(example = serde_json::json!({"fast": "openai/gpt-4o-mini", "safe": [{"provider": "openai", "model": "gpt-4o"}]}))]
    pub models: BTreeMap<String, ModelTarget>,
    /// What tokens cost.
    pub pricing: Pricing,
    /// What tenants are charged for what they use.
    pub billing: Billing,
    /// The ledger of what tenants use.
    pub usage: UsageLedger,
    /// Caps on money for the whole installation, and how budgets are kept.
    pub budgets: Budgets,
    /// Customers. A tenant that only a caller names needs no entry.
    #[serde(deserialize_with = "whole_list")]
    pub tenants: Vec<Tenant>,
    /// Presets for tenants, by name. Without any, a tenant's plan is only a word.
    #[schemars(example = serde_json::json!({
        "enterprise": {
            "limits": {
                "requestsPerMinute": 5000, "requestsPerHour": 100_000, "requestsPerDay": 2_000_000,
                "maxCustomServers": 50, "maxToolInvocations": 1_000_000, "maxStorageMB": 5000, "maxApiKeys": 100,
            },
            "features": {"customServers": true, "oauth": true, "advancedAnalytics": true},
            "budgets": {"daily": 100, "monthly": 2000, "session": 10},
            "prices": {
                "api_call": 0.001, "tool_invocation": 0.002, "server_hour": 0.05, "key_verification": 0.0001,
            },
            "included": {
                "api_calls": 10_000, "tool_invocations": 1_000, "server_hours": 720, "key_verifications": 100_000,
            },
        },
        "starter": {
            "prices": {"api_calls_per_1k": 0.5, "tool_invocations_per_1k": 1.5, "key_verifications_per_1k": 0.1},
        },
    }))]
    pub plans: BTreeMap<String, Plan>,
    /// The signed record of every decision.
    pub evidence: Evidence,
    /// The trail of who did what to which key.
    pub audit: Audit,
    /// Who is told of billing periods, budgets, tenants and keys.
    pub webhooks: Webhooks,
    /// MCP servers that tenants bring.
    pub mcp: Mcp,
    /// Tenancy of the tool gateway, as Connectors writes it.
    #[serde(rename = "multiTenant")]
    pub multi_tenant: Option<ConnectorsTenancy>,
    /// Tenancy by host name, as Talos writes it.
    pub multitenancy: Option<MultiTenancy>,
    /// Listeners of the API-key server, as Talos writes them.
    pub serve: Option<Serve>,
    /// Issued keys and derived tokens (Talos).
    pub credentials: Option<Credentials>,
    /// Caches: of key verification (Talos) and of answers (Talon).
    pub cache: Option<Cache>,
    /// Database, in Talos's spelling; `store.url` is ours, and wins.
    pub db: Option<Db>,
    /// Rate limits of tenants and of issued keys (Connectors, Talos).
    pub rate_limit: Option<RateLimit>,
    /// When each issued key was last used (Talos).
    pub last_used: Option<LastUsed>,
    /// Traces (Talos).
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub tracing: Option<Tracing>,
    /// How many things a tenant may keep (Talos).
    pub quota: Option<Quota>,
    /// A tenant's own settings, free in form (Talos, overlay prefix `talos.*`).
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub talos: Option<serde_json::Map<String, serde_json::Value>>,
    /// The Redis server that several replicas share (Connectors). Read at start.
    pub redis: Option<RedisStore>,
    /// HashiCorp-compatible vault for tenants' credentials (Connectors).
    #[schemars(extend("x-comes-with" = TOOLS))]
    pub vault: Option<Vault>,
    /// Policy file of the agents without one of their own.
    #[schemars(extend("x-comes-with" = AGENTS))]
    pub default_policy: Option<String>,
    /// Directory of agent files.
    #[schemars(extend("x-comes-with" = AGENTS))]
    pub agents_dir: Option<String>,
    /// How often agent files are looked at; `0` never. Default `30s`.
    #[schemars(extend("x-comes-with" = AGENTS))]
    pub agents_reload_interval: Option<GoDuration>,
    /// Days that the records of a removed agent are kept. Default 90.
    #[schemars(range(min = 1), extend("x-comes-with" = AGENTS))]
    pub orphan_retention_days: Option<u32>,
    /// Largest attachment in MiB. Default 10.
    #[schemars(range(min = 1), extend("x-comes-with" = GOVERNANCE))]
    pub max_attachment_mb: Option<u32>,
    /// Where the agent runtime finds Ollama. Default `http://localhost:11434`.
    #[schemars(extend("x-comes-with" = AGENTS))]
    pub ollama_base_url: Option<crate::text::HttpUrl>,
    /// Models of the agent runtime.
    #[schemars(extend("x-comes-with" = AGENTS))]
    pub llm: Option<Llm>,
    /// Where data may go.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub sovereignty: Option<Sovereignty>,
    /// Who answers for the processing of personal data.
    #[schemars(extend("x-comes-with" = COMPLIANCE))]
    pub compliance: Option<Compliance>,
    /// What finds personal data.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub scanner: Option<Scanner>,
}
