//! The endpoint-to-key matrix of seed 002: one table, from which the router is built.
//!
//! A row whose function comes with a later release still authenticates first and only then answers 501, so that the
//! matrix holds for every family today.

use std::pin::Pin;

use axum::response::Response;
use bh_app::identity::Access;
use bh_domain::refusal::Refusal;
use bh_domain::tenant::profile::Feature;
use bh_wire::family::Endpoint;
use http::Method;

use crate::ask::Ask;
use crate::{
    costs, evidence, health, keys, llm, masters, openapi, secrets, status, tenants, tools, webhooks,
};

/// A control-plane handler.
#[derive(Clone, Copy)]
pub struct Handler(pub(crate) fn(Ask) -> Answering);

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler(..)")
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

/// What `*` stands for: TRACE and CONNECT would echo or tunnel, and methods nobody has heard of stay outside.
const EVERY_METHOD: &str = "GET POST PUT PATCH DELETE OPTIONS HEAD";

/// What answers a row.
#[derive(Clone, Copy)]
pub enum Family {
    /// A control-plane handler, after authentication.
    Control(Handler),
    /// The LLM data plane, which authenticates in its own dialect.
    Llm(llm::Entry),
    /// Nothing yet: 501 after authentication, naming what brings it.
    Later(&'static str),
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control(_) => f.write_str("Control"),
            Self::Llm(entry) => write!(f, "Llm({entry:?})"),
            Self::Later(with) => write!(f, "Later({with})"),
        }
    }
}

/// One row: methods, path, who may, and what answers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// HTTP methods, separated by spaces; `*` = every usual one.
    pub methods: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Accepted credentials.
    pub access: Access,
    /// What answers.
    pub answer: Family,
    /// Whose it is, and so on which hosts it answers where these tell tenants apart.
    pub whose: Whose,
}

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The process's: probes and metrics answer on every host, behind every surface, and until the last call has ended.
    Process,
    /// The installation's: what operators administer, and the description of all doors, answer on every host.
    Installation,
    /// A tenant's: it answers on tenants' hosts alone.
    Tenant,
}

macro_rules! now {
    ($handler:path) => {
        Family::Control(Handler(|ask| Box::pin($handler(ask))))
    };
}

const fn row(methods: &'static str, path: &'static str, access: Access, answer: Family) -> Row {
    Row { methods, path, access, answer, whose: Whose::Tenant }
}

/// A row of the installation's.
const fn ours(methods: &'static str, path: &'static str, access: Access, answer: Family) -> Row {
    Row { methods, path, access, answer, whose: Whose::Installation }
}

const fn probe(path: &'static str, answer: Family) -> Row {
    Row { methods: "GET", path, access: Access::Open, answer, whose: Whose::Process }
}

use Access::{Admin, KeyAdmin, Open, Tenant, TenantOrAdmin};
use Family::{Later, Llm};

const AGENTS: Family = Later("the agent runtime");
const GOVERNANCE: Family = Later("governance");
const MCP: Family = Later("the MCP gateway");
const DASHBOARDS: Family = Later("dashboards");

/// Servers that a tenant brings: what their routes begin with.
const CUSTOM_SERVERS: &str = "/api/v1/mcp/";
/// What belongs to a tenant, some of it to its users' accounts elsewhere.
const OF_TENANT: &str = "/api/v1/tenants/{tenant}/{*rest}";
/// A tenant's tokens for an integration.
const OAUTH_CREDENTIALS: &str = "/api/v1/admin/tenants/{id}/oauth/{integration}/credentials";
/// What a tenant used, in detail.
const OWN_METRICS: &str = "/api/v1/usage/metrics";
const OAUTH_PARTS: [&str; 2] = ["integrations", "oauth"];

/// Keys, whose ids may be followed by a verb.
const WITH_VERBS: [&str; 2] =
    ["/v2alpha1/admin/issuedApiKeys/{key_id}", "/v2alpha1/admin/importedApiKeys/{key_id}"];

/// The matrix.
pub const MATRIX: &[Row] = &[
    probe("/healthz", now!(health::live)),
    probe("/livez", now!(health::live)),
    probe("/health", now!(health::live)),
    probe("/v1/health", now!(health::live)),
    probe("/readyz", now!(health::ready)),
    probe("/ready", now!(health::ready)),
    probe("/health/alive", now!(health::alive)),
    probe("/health/ready", now!(health::prepared)),
    // What the doors say of themselves.
    ours("GET", "/openapi.json", Open, now!(openapi::show)),
    ours("GET", "/docs", Open, now!(openapi::page)),
    ours("GET", "/docs/{part}", Open, now!(openapi::part)),
    // Gateway data plane.
    row("*", "/v1/proxy/{provider}/{*rest}", Tenant, Llm(llm::Entry::Proxy)),
    row("POST", "/v1/chat/completions", Tenant, Llm(llm::Entry::Native(Endpoint::ChatCompletions))),
    row("POST", "/v1/completions", Tenant, Llm(llm::Entry::Native(Endpoint::Completions))),
    row("POST", "/v1/responses", Tenant, Llm(llm::Entry::Native(Endpoint::Responses))),
    row("POST", "/v1/embeddings", Tenant, Llm(llm::Entry::Native(Endpoint::Embeddings))),
    row("POST", "/v1/messages", Tenant, Llm(llm::Entry::Native(Endpoint::Messages))),
    row("POST", "/v1/messages/count_tokens", Tenant, Llm(llm::Entry::Native(Endpoint::CountTokens))),
    row("GET", "/v1/models", Tenant, Llm(llm::Entry::Models)),
    row("GET", "/v1/models/{*model}", Tenant, Llm(llm::Entry::Models)),
    // The API-key server. What follows a key's id after a colon is a verb: `{key_id}:rotate`.
    row("GET POST", "/v2alpha1/admin/issuedApiKeys", KeyAdmin, now!(keys::issued)),
    row("GET PATCH DELETE POST", "/v2alpha1/admin/issuedApiKeys/{key_id}", KeyAdmin, now!(keys::issued_one)),
    row("GET POST", "/v2alpha1/admin/importedApiKeys", KeyAdmin, now!(keys::imported)),
    row("POST", "/v2alpha1/admin/importedApiKeys:batchCreate", KeyAdmin, now!(keys::import_batch)),
    row(
        "GET PATCH DELETE POST",
        "/v2alpha1/admin/importedApiKeys/{key_id}",
        KeyAdmin,
        now!(keys::imported_one),
    ),
    row("POST", "/v2alpha1/admin/apiKeys:verify", KeyAdmin, now!(keys::verify)),
    row("POST", "/v2alpha1/admin/apiKeys:batchVerify", KeyAdmin, now!(keys::batch_verify)),
    row("POST", "/v2alpha1/admin/apiKeys:derive", KeyAdmin, now!(keys::derive)),
    row("POST", "/v2alpha1/admin/derivedTokens/{jti}", KeyAdmin, now!(keys::derived_token)),
    row("GET POST", "/v2alpha1/admin/identities", KeyAdmin, now!(keys::identities)),
    row("GET PATCH DELETE", "/v2alpha1/admin/identities/{identity_id}", KeyAdmin, now!(keys::identity)),
    row("GET", "/v2alpha1/admin/auditEvents", KeyAdmin, now!(keys::audit_list)),
    row("GET", "/v2alpha1/admin/auditEvents:export", KeyAdmin, now!(keys::audit_export)),
    row("GET", "/v2alpha1/derivedKeys/jwks.json", Open, now!(keys::jwks)),
    row("GET", "/.well-known/jwks.json", Open, now!(keys::jwks)),
    row("POST", "/v2alpha1/apiKeys:selfRevoke", Open, now!(keys::self_revoke)),
    // Tenant-only execution.
    row("POST", "/v1/agents/run", Tenant, AGENTS),
    row("POST", "/v1/agents/chat/completions", Tenant, AGENTS),
    row("POST GET DELETE", "/mcp", Tenant, MCP),
    row("POST GET DELETE", "/mcp/proxy", Tenant, MCP),
    // Tenant-or-admin reads.
    row("GET", "/v1/evidence", TenantOrAdmin, now!(evidence::list)),
    row("GET", "/v1/evidence/timeline", TenantOrAdmin, now!(evidence::timeline)),
    row("POST", "/v1/evidence/export", TenantOrAdmin, now!(evidence::export)),
    row("GET", "/v1/evidence/checkpoint", TenantOrAdmin, now!(evidence::checkpoint)),
    row("GET", "/v1/evidence/{id}", TenantOrAdmin, now!(evidence::show)),
    row("GET", "/v1/evidence/{id}/trace", TenantOrAdmin, now!(evidence::trace)),
    row("GET", "/v1/evidence/{id}/verify", TenantOrAdmin, now!(evidence::verify)),
    row("GET", "/v1/status", TenantOrAdmin, now!(status::show)),
    row("GET", "/v1/costs", TenantOrAdmin, now!(costs::show)),
    row("GET", "/v1/costs/budget", TenantOrAdmin, now!(costs::budget)),
    row("GET", "/v1/costs/report", TenantOrAdmin, now!(costs::report)),
    row("POST", "/v1/costs/export", TenantOrAdmin, now!(costs::export)),
    row("GET", "/v1/memory", TenantOrAdmin, AGENTS),
    row("GET", "/v1/memory/as-of", TenantOrAdmin, AGENTS),
    row("GET", "/v1/memory/search", TenantOrAdmin, AGENTS),
    row("GET", "/v1/memory/{id}", TenantOrAdmin, AGENTS),
    row("GET", "/v1/memory/{id}/review", TenantOrAdmin, AGENTS),
    row("GET", "/v1/triggers", TenantOrAdmin, AGENTS),
    row("GET POST", "/v1/triggers/{*rest}", TenantOrAdmin, AGENTS),
    row("GET", "/v1/plans/pending", TenantOrAdmin, AGENTS),
    row("GET", "/v1/plans/{id}", TenantOrAdmin, AGENTS),
    row("GET", "/v1/sessions", TenantOrAdmin, AGENTS),
    row("GET POST", "/v1/sessions/{*rest}", TenantOrAdmin, AGENTS),
    // Admin only.
    row("POST", "/v1/plans/{id}/approve", Admin, AGENTS),
    row("POST", "/v1/plans/{id}/reject", Admin, AGENTS),
    row("POST", "/v1/plans/{id}/modify", Admin, AGENTS),
    row("POST", "/v1/memory/{id}/approve", Admin, AGENTS),
    row("GET", "/v1/secrets", Admin, now!(secrets::list)),
    row("*", "/v1/secrets/{*rest}", Admin, GOVERNANCE),
    row("GET", "/v1/policies", Admin, GOVERNANCE),
    row("*", "/v1/policies/{*rest}", Admin, GOVERNANCE),
    row("GET", "/v1/dashboard/{*rest}", Admin, DASHBOARDS),
    row("GET", "/v1/copaw/{*rest}", Admin, AGENTS),
    row("GET", "/v1/runs", Admin, AGENTS),
    row("*", "/v1/runs/{*rest}", Admin, AGENTS),
    row("GET", "/v1/overrides", Admin, GOVERNANCE),
    row("*", "/v1/overrides/{*rest}", Admin, GOVERNANCE),
    row("GET", "/v1/tool-approvals", Admin, GOVERNANCE),
    row("*", "/v1/tool-approvals/{*rest}", Admin, GOVERNANCE),
    row("GET", "/gateway/dashboard", Admin, DASHBOARDS),
    row("GET", "/api/v1/audit", TenantOrAdmin, now!(tenants::own_audit)),
    ours("GET", "/api/v1/admin/audit", Admin, now!(tenants::installation_trail)),
    ours("GET POST", "/api/v1/admin/tenants", Admin, now!(tenants::all)),
    ours("GET PATCH PUT DELETE", "/api/v1/admin/tenants/{id}", Admin, now!(tenants::one)),
    ours("POST", "/api/v1/admin/tenants/{id}/suspend", Admin, now!(tenants::suspend)),
    ours("POST", "/api/v1/admin/tenants/{id}/resume", Admin, now!(tenants::resume)),
    ours("POST", "/api/v1/admin/tenants/{id}/rotate-api-key", Admin, now!(tenants::rotate_key)),
    ours("GET POST", "/api/v1/admin/tenants/{id}/api-keys", Admin, now!(tenants::keys)),
    ours("DELETE", "/api/v1/admin/tenants/{id}/api-keys/{key_id}", Admin, now!(tenants::revoke_key)),
    ours("GET", "/api/v1/admin/tenants/{id}/audit", Admin, now!(tenants::trail)),
    ours("GET", "/api/v1/admin/tenants/{id}/secrets", Admin, now!(tenants::secrets)),
    ours("GET PUT DELETE", "/api/v1/admin/tenants/{id}/secrets/{*name}", Admin, now!(tenants::secret)),
    ours("GET PUT DELETE", OAUTH_CREDENTIALS, Admin, now!(tenants::credentials)),
    ours("POST", "/api/v1/admin/tenants/{id}/rotate-data-key", Admin, now!(tenants::rotate_data_key)),
    ours("GET", "/api/v1/admin/secrets/master-key", Admin, now!(masters::show)),
    ours("POST", "/api/v1/admin/secrets/rotate-master", Admin, now!(masters::rotate)),
    ours("POST", "/api/v1/admin/secrets/verify", Admin, now!(masters::verify)),
    ours("GET", "/api/v1/admin/tenants/{id}/keyless-calls", Admin, now!(tenants::keyless)),
    row("GET", "/api/v1/usage", TenantOrAdmin, now!(tenants::own_month)),
    row("GET", OWN_METRICS, TenantOrAdmin, now!(tenants::own_metrics)),
    ours("GET", "/api/v1/admin/tenants/{id}/usage", Admin, now!(tenants::month_of)),
    ours("GET", "/api/v1/admin/tenants/{id}/metrics", Admin, now!(tenants::metrics_of)),
    ours("POST", "/api/v1/admin/tenants/{id}/billing/close", Admin, now!(webhooks::close_period)),
    ours("GET", "/api/v1/admin/webhooks/events", Admin, now!(webhooks::events)),
    ours("GET", "/api/v1/admin/webhooks/events/{id}", Admin, now!(webhooks::event)),
    ours("POST", "/api/v1/admin/webhooks/events/{id}/redeliver", Admin, now!(webhooks::redeliver)),
    ours("GET", "/api/v1/admin/webhooks/dead-letters", Admin, now!(webhooks::dead_letters)),
    ours("GET", "/api/v1/admin/webhooks/endpoints", Admin, now!(webhooks::endpoints)),
    ours("POST", "/api/v1/admin/webhooks/endpoints/{id}/test", Admin, now!(webhooks::test)),
    // Tools (seed 001).
    row("POST", "/api/v1/tools/select", Tenant, now!(tools::select)),
    row("POST", "/api/v1/tools/invoke", Tenant, now!(tools::invoke)),
    row("GET", "/api/v1/tools/list", Tenant, now!(tools::list)),
    row("GET", "/api/v1/tools/{tool_id}", Tenant, now!(tools::show)),
    row("GET", "/api/v1/tools/{tool_id}/schema", Tenant, now!(tools::show)),
    row("GET", "/api/v1/tools/{tool_id}/full-schema", Tenant, now!(tools::show)),
    row("GET", "/api/v1/categories", Tenant, now!(tools::categories)),
    row("POST", "/api/v1/mcp/add", Tenant, now!(tools::add)),
    row("GET", "/api/v1/mcp/custom", Tenant, now!(tools::custom)),
    row("GET DELETE", "/api/v1/mcp/custom/{name}", Tenant, now!(tools::one)),
    row("GET", "/api/v1/mcp/deployments/{id}", Tenant, now!(tools::deployment)),
    row("GET", "/api/v1/mcp/integrations", Tenant, now!(tools::integrations)),
    row("GET POST DELETE", OF_TENANT, Tenant, MCP),
    ours("GET", "/api/v1/metrics", Admin, now!(health::totals)),
    row("GET", "/api/v1/metrics/stream", Admin, DASHBOARDS),
];

pub(crate) const METRICS: Row = probe("/metrics", now!(health::metrics));

impl Row {
    /// The methods this row answers; what answers GET answers HEAD.
    pub(crate) fn accepted(&self) -> impl Iterator<Item = &'static str> {
        let own = if self.methods == "*" { EVERY_METHOD } else { self.methods };
        let head = own.split(' ').any(|method| method == "GET") && !own.ends_with("HEAD");
        own.split(' ').chain(head.then_some("HEAD"))
    }

    /// The function it belongs to, where tenants may do without; `rest` is what its wildcard stands for.
    pub(crate) fn feature(&self, rest: &str) -> Option<Feature> {
        let first = rest.split('/').next().unwrap_or_default();
        match self.path {
            path if path.starts_with(CUSTOM_SERVERS) => Some(Feature::CustomServers),
            OWN_METRICS => Some(Feature::AdvancedAnalytics),
            OF_TENANT if OAUTH_PARTS.contains(&first) => Some(Feature::OAuth),
            _ => None,
        }
    }

    /// The methods of one of its paths. A verb is posted, and what has none is not.
    pub(crate) fn allowed(&self, path: &str) -> impl Iterator<Item = &'static str> {
        let last = path.rsplit('/').next().unwrap_or_default();
        let posted = WITH_VERBS.contains(&self.path).then(|| last.contains(':'));
        self.accepted().filter(move |method| posted.is_none_or(|posted| posted == (*method == "POST")))
    }

    /// Whether it belongs, wholly or in part, to a function that tenants may have to do without.
    pub(crate) fn fenced(&self) -> bool {
        self.path.starts_with(CUSTOM_SERVERS) || self.path == OF_TENANT
    }

    /// Whether it answers on every host alike.
    pub(crate) fn on_any_host(&self) -> bool {
        self.whose != Whose::Tenant
    }

    /// Whether it is the process's own.
    pub(crate) fn is_probe(&self) -> bool {
        self.whose == Whose::Process
    }

    pub(crate) fn takes(&self, method: &Method) -> bool {
        self.accepted().any(|accepted| accepted == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_stands_in_the_way_of_another() {
        let mut rows = matchit::Router::new();
        for row in MATRIX.iter().chain([&METRICS]) {
            rows.insert(row.path, row.methods).unwrap_or_else(|conflict| panic!("{}: {conflict}", row.path));
        }
        assert_eq!(rows.at("/v1/proxy/openai/v1/models").map(|found| *found.value), Ok("*"));
    }

    #[test]
    fn what_is_administered_for_the_whole_installation_answers_on_every_host() {
        for row in MATRIX {
            let installation = row.path.starts_with("/api/v1/admin/") || row.path == "/api/v1/metrics";
            assert_eq!(row.on_any_host() && row.access != Open, installation, "{}", row.path);
        }
    }
}
