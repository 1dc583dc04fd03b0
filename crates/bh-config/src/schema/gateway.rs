//! The LLM gateway: providers, callers, routes (seeds 000 and 002; Talon dossier §4.6 and §13.1).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comes_with::{COMPLIANCE, GOVERNANCE, HARDENING};
use super::limits::{
    GatewayRateLimits, GatewayTimeouts, NetworkInterception, ProviderTimeouts, ResponseScanning,
};
use super::policy::{DefaultPolicy, OrganizationPolicy, PolicyOverrides, Retry, ToolPolicyAction, words};
use super::server::tenant_or_default;
use crate::secret::Secret;
use crate::text::{Cidr, HttpUrl, ListenAddress, TenantId};
use crate::yaml::typed::whole_list;

/// The LLM gateway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gateway {
    /// Whether the gateway serves. `false` is as if the block were not there.
    pub enabled: bool,
    /// Path under which providers are reached: `<prefix>/<provider>/...`.
    #[schemars(regex(pattern = r"^/"))]
    pub listen_prefix: String,
    /// `enforce` refuses what policy refuses; `shadow` and `log_only` only record it. Keys, rate limits and budgets
    /// hold in every mode.
    pub mode: GatewayMode,
    /// Upstreams, by the id that paths and models use.
    pub providers: BTreeMap<String, Provider>,
    /// Apps and agents, each with its key and tenant.
    #[serde(deserialize_with = "whole_list")]
    pub callers: Vec<Caller>,
    /// The policy of callers that don't say otherwise.
    pub default_policy: DefaultPolicy,
    /// Rules of the whole organisation.
    pub organization_policy: Option<OrganizationPolicy>,
    /// Requests per minute.
    pub rate_limits: GatewayRateLimits,
    /// How long a provider is waited for.
    pub timeouts: GatewayTimeouts,
    /// Peers whose `X-Forwarded-For` is believed; joined with `server.trusted_proxy_cidrs`.
    pub trusted_proxy_cidrs: Vec<Cidr>,
    /// Scanning of answers.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub response_scanning: Option<ResponseScanning>,
    /// Separate address for the dashboard.
    #[schemars(extend("x-comes-with" = COMPLIANCE))]
    pub dashboard_listen: Option<ListenAddress>,
    /// Interception of calls that bypass the gateway.
    #[schemars(extend("x-comes-with" = HARDENING))]
    pub network_interception: Option<NetworkInterception>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            enabled: true,
            listen_prefix: "/v1/proxy".to_owned(),
            mode: GatewayMode::Enforce,
            providers: BTreeMap::new(),
            callers: Vec::new(),
            default_policy: DefaultPolicy::default(),
            organization_policy: None,
            rate_limits: GatewayRateLimits::default(),
            timeouts: GatewayTimeouts::default(),
            trusted_proxy_cidrs: Vec::new(),
            response_scanning: None,
            dashboard_listen: None,
            network_interception: None,
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// Whether it may be used.
    pub enabled: bool,
    /// Where it answers, up to but not including the provider's own path. Absent: the family's public address;
    /// Azure OpenAI has none and needs this.
    #[schemars(example = &"https://api.openai.com")]
    pub base_url: Option<HttpUrl>,
    /// Which wire it speaks. Absent: by the provider's id, `openai` when that says nothing.
    pub api_family: Option<ApiFamily>,
    /// Where it processes data, e.g. `EU` or `US`. Recorded in evidence.
    #[schemars(example = &"US")]
    pub region: Option<String>,
    /// Name of the provider's key in the vault.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub secret_name: Option<String>,
    /// The provider's key. Give this or `api_key_file`.
    #[schemars(example = &"${env:OPENAI_API_KEY}")]
    pub api_key: Option<Secret>,
    /// File that holds the provider's key.
    pub api_key_file: Option<String>,
    /// `secret`: our key is sent. `client_bearer`: the caller's own (quickstart only). `none`: none.
    pub upstream_auth_mode: UpstreamAuthMode,
    /// The only models allowed; empty allows all.
    pub allowed_models: Vec<String>,
    /// Models refused.
    pub blocked_models: Vec<String>,
    /// Tools refused, as case-insensitive globs.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub forbidden_tools: Option<Vec<String>>,
    /// `filter` removes a refused tool from the request, `block` refuses the request.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub tool_policy_action: Option<ToolPolicyAction>,
    /// Who is asked next, in order, when this one fails before its first byte. Same wire family only.
    pub fallback: Vec<Candidate>,
    /// What the gateway does to `store` in `/v1/responses` requests.
    pub responses_store_mode: ResponsesStoreMode,
    /// Whether a streamed chat is asked for its usage when the client did not ask; the extra chunk is taken out again.
    pub inject_stream_usage: bool,
    /// Requests that make something on a path whose price is not known beforehand (images, audio, files, batches),
    /// from callers for whom somebody set a budget or a model rule; the built-in default caps alone let them pass.
    /// `refuse` answers 403; `allow` lets them pass, and what they cost is counted only as far as the answer tells.
    pub unmetered_paths: UnmeteredPaths,
    /// Azure OpenAI's `api-version`, added when the client sends none.
    #[schemars(example = &"2024-10-21")]
    pub api_version: Option<String>,
    /// How often it is asked again. Absent: `gateway.organization_policy.defaults.retry`, else never.
    pub retry: Option<Retry>,
    /// Timeouts that differ from `gateway.timeouts`.
    pub timeouts: ProviderTimeouts,
    /// Whether `base_url` may resolve to a private or loopback address. Absent: only when it names one itself.
    pub allow_private_network: Option<bool>,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            enabled: true,
            base_url: None,
            api_family: None,
            region: None,
            secret_name: None,
            api_key: None,
            api_key_file: None,
            upstream_auth_mode: UpstreamAuthMode::Secret,
            allowed_models: Vec::new(),
            blocked_models: Vec::new(),
            forbidden_tools: None,
            tool_policy_action: None,
            fallback: Vec::new(),
            responses_store_mode: ResponsesStoreMode::Preserve,
            inject_stream_usage: true,
            unmetered_paths: UnmeteredPaths::Refuse,
            api_version: None,
            retry: None,
            timeouts: ProviderTimeouts::default(),
            allow_private_network: None,
        }
    }
}

impl Provider {
    /// The wire family: as configured, else as the provider's `id` suggests.
    #[must_use]
    pub fn family(&self, id: &str) -> ApiFamily {
        self.api_family.unwrap_or(match id {
            "anthropic" => ApiFamily::Anthropic,
            "azure-openai" | "azure_openai" | "azure" => ApiFamily::AzureOpenai,
            "ollama" => ApiFamily::Ollama,
            _ => ApiFamily::Openai,
        })
    }

    /// Where it answers: as configured, else the public address of its family. `None` when it must be configured:
    /// an unknown id must not be sent to OpenAI by accident.
    #[must_use]
    pub fn base_url(&self, id: &str) -> Option<&str> {
        if let Some(url) = &self.base_url {
            return Some(&url.0);
        }
        match (self.family(id), id) {
            (ApiFamily::Openai, "openai") => Some("https://api.openai.com"),
            (ApiFamily::Openai, "mistral") => Some("https://api.mistral.ai"),
            (ApiFamily::Openai, "deepseek") => Some("https://api.deepseek.com"),
            (ApiFamily::Anthropic, "anthropic") => Some("https://api.anthropic.com"),
            (ApiFamily::Ollama, "ollama") => Some("http://localhost:11434"),
            (ApiFamily::Openai | ApiFamily::Anthropic | ApiFamily::Ollama | ApiFamily::AzureOpenai, _) => {
                None
            }
        }
    }
}

/// A provider and a model of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Id under `gateway.providers`.
    #[schemars(example = &"openai")]
    pub provider: String,
    /// The provider's own name of the model. Absent in a fallback: the model that was asked for.
    #[schemars(example = &"gpt-4o-mini")]
    pub model: Option<String>,
}

/// What a model name of the native routes stands for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ModelTarget {
    /// `provider/model`.
    One(String),
    /// Candidates in order.
    Many(Vec<Candidate>),
}

impl ModelTarget {
    /// The candidates in order. A text without a `/` has no provider and yields none.
    #[must_use]
    pub fn candidates(&self) -> Vec<Candidate> {
        match self {
            Self::Many(candidates) => candidates.clone(),
            Self::One(text) => text
                .split_once('/')
                .map(|(provider, model)| Candidate {
                    provider: provider.to_owned(),
                    model: Some(model.to_owned()),
                })
                .into_iter()
                .collect(),
        }
    }
}

/// One app or agent of a tenant.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Its name; unique, recorded in evidence.
    #[schemars(example = &"customer-acme-app1", length(min = 1))]
    pub name: String,
    /// Its key (Talon). Give this, `api_key_file` or `tenant_key`, unless `identify_by` is `source_ip`.
    #[schemars(example = &"${env:ACME_APP1_KEY}")]
    pub api_key: Option<Secret>,
    /// File that holds `api_key`.
    pub api_key_file: Option<String>,
    /// Its key, in its newer spelling.
    pub tenant_key: Option<Secret>,
    /// File that holds `tenant_key`.
    pub tenant_key_file: Option<String>,
    /// Whose it is. Absent: `default`.
    #[schemars(example = &"acme")]
    pub tenant_id: Option<TenantId>,
    /// Team that pays.
    pub team: Option<String>,
    /// Words to filter costs and evidence by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// How it is known: by its key, or by the address it calls from.
    #[serde(default)]
    pub identify_by: IdentifyBy,
    /// The addresses it calls from, for `identify_by: source_ip`.
    #[serde(default)]
    pub source_ip_ranges: Vec<Cidr>,
    /// The only providers it may use; empty allows all.
    #[serde(default)]
    pub allowed_providers: Vec<String>,
    /// Whether its session, team and agent headers are recorded.
    #[serde(default = "yes")]
    pub accept_client_metadata: bool,
    /// Its own policy.
    #[serde(default)]
    pub policy_overrides: PolicyOverrides,
}

impl Caller {
    /// Its key, under either name.
    #[must_use]
    pub fn key(&self) -> Option<&Secret> {
        self.api_key.as_ref().or(self.tenant_key.as_ref())
    }

    /// The tenant it belongs to.
    #[must_use]
    pub fn tenant(&self) -> &str {
        tenant_or_default(self.tenant_id.as_ref())
    }
}

fn yes() -> bool {
    true
}

words!(
    /// What the gateway does with a refusal of policy.
    GatewayMode {
        /// Refuses.
        Enforce,
        /// Records what would have been refused.
        Shadow,
        /// Records only.
        LogOnly,
    }
);
words!(
    /// A wire that providers speak.
    ApiFamily {
        /// OpenAI and everything compatible with it.
        Openai,
        /// Anthropic.
        Anthropic,
        /// Azure OpenAI: deployments in the path, `api-version` in the query, `api-key` header.
        AzureOpenai,
        /// Ollama: OpenAI-compatible, without a key.
        Ollama,
    }
);
words!(
    /// Whose key the provider gets.
    UpstreamAuthMode {
        /// Ours.
        Secret,
        /// The caller's.
        ClientBearer,
        /// None.
        None,
    }
);
words!(
    /// What the gateway does to `store` in `/v1/responses` requests.
    ResponsesStoreMode {
        /// Leaves it.
        Preserve,
        /// Sets `store: true` when the client says nothing.
        ForceIfAbsent,
        /// Sets `store: true`.
        ForceTrue,
    }
);
words!(
    /// What becomes of requests whose price is not known beforehand, where a budget or a model rule is in force.
    UnmeteredPaths {
        /// They are refused.
        Refuse,
        /// They pass.
        Allow,
    }
);

/// How a caller is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentifyBy {
    /// By its key.
    #[default]
    ApiKey,
    /// By its key, as the newer generation spells it.
    TenantKey,
    /// By the address it calls from.
    SourceIp,
}
