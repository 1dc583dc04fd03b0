//! The endpoint-to-key matrix of seed 002: one table, from which the router is built.
//!
//! A row whose function comes with a later release still authenticates first and only then answers 501, so that the
//! matrix holds for every family today.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bh_app::hosts::Host;
use bh_app::identity::{Access, Door, Knock};
use bh_app::snapshot::Snapshot;
use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::Endpoint;
use http::header::{ALLOW, CONTENT_LENGTH};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body::Body as _;
use percent_encoding::percent_decode_str;

use crate::ask::{Ask, Doors, without_nul};
use crate::respond::{self, Dialect, REQUEST_ID};
use crate::serve::Answers;
use crate::surface::Surface;
use crate::{costs, evidence, health, keys, llm, secrets, status};

/// A control-plane handler.
#[derive(Clone, Copy)]
pub struct Handler(fn(Ask) -> Answering);

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
    /// Whether it answers on every host alike: probes, and what is the process's rather than a tenant's.
    pub any_host: bool,
}

/// What is known of a request before its row answers.
pub(crate) struct Arrival {
    /// The configuration that holds for it, to its end.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where it is addressed to.
    pub(crate) host: Host,
    /// The peer's address.
    pub(crate) peer: IpAddr,
}

macro_rules! now {
    ($handler:path) => {
        Family::Control(Handler(|ask| Box::pin($handler(ask))))
    };
}

const fn row(methods: &'static str, path: &'static str, access: Access, answer: Family) -> Row {
    Row { methods, path, access, answer, any_host: false }
}

const fn probe(path: &'static str, answer: Family) -> Row {
    Row { methods: "GET", path, access: Access::Open, answer, any_host: true }
}

use Access::{Admin, KeyAdmin, Open, Tenant, TenantOrAdmin};
use Family::{Later, Llm};

const AGENTS: Family = Later("the agent runtime");
const GOVERNANCE: Family = Later("governance");
const MCP: Family = Later("the MCP gateway");
const DASHBOARDS: Family = Later("dashboards");

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
    row("GET", "/api/v1/metrics", Admin, DASHBOARDS),
    row("GET", "/api/v1/metrics/stream", Admin, DASHBOARDS),
];

const METRICS: Row = probe("/metrics", now!(health::metrics));

/// Builds the router of the main listener. With `quickstart`, the host root belongs to the quickstart (seed 002).
pub fn router(doors: Arc<Doors>, quickstart: bool, metrics_here: bool, surface: Surface) -> Router {
    let answered = |row: &Row| if quickstart { llm::under_quickstart(row) } else { Some(row.answer) };
    let open = MATRIX.iter().filter(|row| surface.has(row));
    let rows = open.filter_map(|row| Some(Row { answer: answered(row)?, ..*row }));
    Router::new(doors, rows.chain(metrics_here.then_some(METRICS)))
}

/// The router of a metrics listener of its own: metrics and probes.
pub fn metrics_router(doors: Arc<Doors>) -> Router {
    Router::new(doors, MATRIX.iter().filter(|row| row.any_host).copied().chain([METRICS]))
}

/// Answers requests by the rows of the matrix.
#[derive(Clone)]
pub struct Router(Arc<Routes>);

struct Routes {
    doors: Arc<Doors>,
    rows: matchit::Router<Row>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

impl Router {
    fn new(doors: Arc<Doors>, matrix: impl IntoIterator<Item = Row>) -> Self {
        let mut rows = matchit::Router::new();
        for row in matrix {
            // A test inserts every row; at run time a row in another's way could only be left out.
            if let Err(conflict) = rows.insert(row.path, row) {
                tracing::error!(path = row.path, %conflict, "two rows of the matrix take the same path");
            }
        }
        Self(Arc::new(Routes { doors, rows }))
    }

    async fn row_answer(&self, request: Request<Body>, peer: IpAddr) -> Response {
        let Routes { doors, rows } = &*self.0;
        let snapshot = doors.live.load_full();
        let found = rows.at(request.uri().path());
        let host = if found.as_ref().is_ok_and(|found| found.value.any_host) {
            Host::Any
        } else {
            Host::resolve(&snapshot, request.uri(), request.version(), request.headers())
        };
        let Ok(found) = found else { return no_route(doors, &host, request.uri().path()) };
        let row = *found.value;
        if !row.takes(request.method()) {
            return wrong_method(doors, &row, &host);
        }
        let arrival = Arrival { snapshot, host, peer };
        match row.answer {
            Llm(llm::Entry::Models) => match path_params(&found.params) {
                Ok(path) => llm::models(doors, &path, &request.into_parts().0, &arrival).await,
                Err(refusal) => plain_refusal(doors, &refusal, Dialect::Control),
            },
            Llm(entry) => llm::answer(doors, entry, request, arrival).await,
            Family::Control(_) | Later(_) => {
                let path = path_params(&found.params);
                control(Arc::clone(doors), row, path, request, arrival).await
            }
        }
    }
}

impl Answers for Router {
    async fn answer(&self, request: Request<Body>, peer: IpAddr) -> Response {
        let head = request.method() == Method::HEAD;
        let headers = keys::ApiHeaders::of(&request);
        let mut response = self.row_answer(request, peer).await;
        if let Some(headers) = headers {
            headers.write(response.headers_mut());
        }
        // Over HTTP/1 hyper leaves the body out by itself, over HTTP/2 it does not.
        if head { without_body(response) } else { response }
    }
}

impl Row {
    /// The methods this row answers; what answers GET answers HEAD.
    fn accepted(&self) -> impl Iterator<Item = &'static str> {
        let own = if self.methods == "*" { EVERY_METHOD } else { self.methods };
        let head = own.split(' ').any(|method| method == "GET") && !own.ends_with("HEAD");
        own.split(' ').chain(head.then_some("HEAD"))
    }

    fn takes(&self, method: &Method) -> bool {
        self.accepted().any(|accepted| accepted == method.as_str())
    }
}

/// The answer to HEAD: all that GET would have said about its body, without the body. A provider's answer is one
/// already, and is left alone: its body, though empty, settles the call.
fn without_body(mut response: Response) -> Response {
    let Some(length @ 1..) = response.body().size_hint().exact() else { return response };
    response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    response.map(|_| Body::empty())
}

fn not_yet() -> Refusal {
    Refusal::new(
        Code::NotImplemented,
        "Your key may use this endpoint, but this release does not serve it yet",
    )
}

async fn control(
    doors: Arc<Doors>,
    row: Row,
    path: Result<Vec<(String, String)>, Refusal>,
    request: Request<Body>,
    arrival: Arrival,
) -> Response {
    let request_id = llm::new_request_id();
    let now = doors.clock.now();
    let (parts, body) = request.into_parts();
    let Arrival { snapshot, host, peer } = arrival;
    let metrics = Arc::clone(&doors.metrics);
    let path = without_nul(&parts.uri).and(path);
    let knock = Knock::of(&snapshot, &host, peer, &parts);
    let known = doors.gate.authenticate(&snapshot, knock, row.access, Door::of(row.access, row.path)).await;
    let outcome = match (known, path) {
        (Err(refusal), _) | (Ok(_), Err(refusal)) => Err(refusal),
        (Ok(principal), Ok(path)) => {
            let ask = Ask { doors, snapshot, principal, host, peer, parts, path, body };
            match row.answer {
                Family::Control(Handler(handler)) => handler(ask).await,
                Later(_) | Llm(_) => Err(not_yet()),
            }
        }
    };
    let mut response = outcome.unwrap_or_else(|refusal| {
        metrics.refusal(refusal.code.as_str());
        respond::refusal(&refusal, Dialect::of(row.path), &request_id, now)
    });
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if let (StatusCode::NOT_IMPLEMENTED, Later(with)) = (response.status(), row.answer) {
        // A constant of ours: always a valid header value.
        response.headers_mut().insert("x-bulkhead-arrives-with", HeaderValue::from_static(with));
    }
    response
}

/// A path that is no route. On a host that leads nowhere, that is what is told: in one way, whatever the path.
fn no_route(doors: &Doors, host: &Host, path: &str) -> Response {
    match host.tenant() {
        Ok(_) => plain_refusal(doors, &Refusal::new(Code::NotFound, "No such route"), Dialect::of(path)),
        Err(refusal) => plain_refusal(doors, &refusal, Dialect::Aip193),
    }
}

fn wrong_method(doors: &Doors, row: &Row, host: &Host) -> Response {
    if let Err(refusal) = host.tenant() {
        return plain_refusal(doors, &refusal, Dialect::of(row.path));
    }
    let refusal = Refusal::new(Code::MethodNotAllowed, "This route does not take this method");
    let mut response = plain_refusal(doors, &refusal, Dialect::of(row.path));
    let allowed = row.accepted().collect::<Vec<_>>().join(", ");
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

fn plain_refusal(doors: &Doors, refusal: &Refusal, dialect: Dialect) -> Response {
    let request_id = llm::new_request_id();
    let mut response: Response = respond::refusal(refusal, dialect, &request_id, doors.clock.now());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The path's parameters, percent-decoded.
fn path_params(found: &matchit::Params<'_, '_>) -> Result<Vec<(String, String)>, Refusal> {
    let decoded = |(name, raw): (&str, &str)| {
        let value = percent_decode_str(raw).decode_utf8().map_err(|_| {
            Refusal::new(Code::InvalidRequest, format!("The `{name}` in the path is not UTF-8"))
        })?;
        Ok((name.to_owned(), value.into_owned()))
    };
    found.iter().map(decoded).collect()
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
}
