//! The endpoint-to-key matrix of seed 002: one table, from which the router is built.
//!
//! A row whose function comes with a later release still authenticates first and only then answers 501, so that the
//! matrix holds for every family today.

use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use bh_app::identity::{Access, authenticate};
use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::Endpoint;
use http::{HeaderValue, Method, StatusCode};

use crate::ask::{Ask, Doors, path_params, without_nul};
use crate::respond::{self, Dialect, REQUEST_ID};
use crate::{costs, evidence, health, llm, secrets, status};

/// A control-plane handler.
#[derive(Clone, Copy)]
pub struct Handler(fn(Ask) -> Answering);

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler(..)")
    }
}

type Answering = Pin<Box<dyn Future<Output = Result<Response, Refusal>> + Send>>;

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
    /// HTTP methods, separated by spaces; `*` = every method.
    pub methods: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// Accepted credentials.
    pub access: Access,
    /// What answers.
    pub answer: Family,
}

macro_rules! now {
    ($handler:path) => {
        Family::Control(Handler(|ask| Box::pin($handler(ask))))
    };
}

const fn row(methods: &'static str, path: &'static str, access: Access, answer: Family) -> Row {
    Row { methods, path, access, answer }
}

use Access::{Admin, Open, Tenant, TenantOrAdmin};
use Family::{Later, Llm};

const AGENTS: Family = Later("the agent runtime");
const GOVERNANCE: Family = Later("governance");
const MCP: Family = Later("the MCP gateway");
const DASHBOARDS: Family = Later("dashboards");

/// The matrix.
pub const MATRIX: &[Row] = &[
    row("GET", "/healthz", Open, now!(health::live)),
    row("GET", "/livez", Open, now!(health::live)),
    row("GET", "/health", Open, now!(health::live)),
    row("GET", "/v1/health", Open, now!(health::live)),
    row("GET", "/readyz", Open, now!(health::ready)),
    row("GET", "/ready", Open, now!(health::ready)),
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

/// Builds the router of the main listener. With `quickstart`, the host root belongs to the quickstart (seed 002).
pub fn router(doors: Arc<Doors>, quickstart: bool, metrics_here: bool) -> Router {
    let mut router = Router::new();
    for row in MATRIX {
        if let Some(answer) = if quickstart { llm::under_quickstart(row) } else { Some(row.answer) } {
            router = router.route(row.path, route(Arc::clone(&doors), Row { answer, ..*row }));
        }
    }
    if metrics_here {
        router = router.route("/metrics", route(Arc::clone(&doors), METRICS));
    }
    router.fallback(unknown).with_state(doors)
}

const METRICS: Row = row("GET", "/metrics", Open, now!(health::metrics));

/// The router of a metrics listener of its own.
pub fn metrics_router(doors: Arc<Doors>) -> Router {
    let metrics = route(Arc::clone(&doors), METRICS);
    Router::new().route("/metrics", metrics).fallback(unknown).with_state(doors)
}

fn route(doors: Arc<Doors>, row: Row) -> MethodRouter<Arc<Doors>> {
    let handler =
        move |params: RawPathParams, request: Request| answer(Arc::clone(&doors), row, params, request);
    let filter = methods(row.methods);
    on(filter, handler).fallback(wrong_method)
}

fn methods(list: &str) -> MethodFilter {
    let all = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"];
    let wanted = list.split(' ').flat_map(|name| if name == "*" { all.to_vec() } else { vec![name] });
    let filters = wanted.filter_map(|name| Method::from_bytes(name.as_bytes()).ok()?.try_into().ok());
    filters.reduce(MethodFilter::or).unwrap_or(MethodFilter::GET)
}

async fn answer(doors: Arc<Doors>, row: Row, params: RawPathParams, request: Request) -> Response {
    match row.answer {
        Llm(entry) => llm::answer(doors, entry, path_params(&params), request).await,
        Family::Control(Handler(handler)) => control(doors, row.access, params, request, handler).await,
        Later(with) => {
            let handler: fn(Ask) -> Answering = |_| Box::pin(async { Err(not_yet()) });
            let mut response = control(doors, row.access, params, request, handler).await;
            if response.status() == StatusCode::NOT_IMPLEMENTED {
                // A constant of ours: always a valid header value.
                response.headers_mut().insert("x-bulkhead-arrives-with", HeaderValue::from_static(with));
            }
            response
        }
    }
}

fn not_yet() -> Refusal {
    Refusal::new(
        Code::NotImplemented,
        "Your key may use this endpoint, but this release does not serve it yet",
    )
}

async fn control(
    doors: Arc<Doors>,
    access: Access,
    params: RawPathParams,
    request: Request,
    handler: fn(Ask) -> Answering,
) -> Response {
    let request_id = llm::new_request_id();
    let now = doors.clock.now();
    let (parts, body) = request.into_parts();
    let snapshot = doors.live.load_full();
    let metrics = Arc::clone(&doors.metrics);
    let known = authenticate(&snapshot, access, &parts.headers);
    let outcome = match known.and_then(|principal| without_nul(&parts.uri).map(|()| principal)) {
        Err(refusal) => Err(refusal),
        Ok(principal) => {
            let path = path_params(&params);
            handler(Ask { doors, snapshot, principal, parts, path, body }).await
        }
    };
    let mut response = outcome.unwrap_or_else(|refusal| {
        metrics.refusal(refusal.code.as_str());
        respond::refusal(&refusal, Dialect::Control, &request_id, now)
    });
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn unknown(State(doors): State<Arc<Doors>>) -> Response {
    let refusal = Refusal::new(Code::NotFound, "No such route");
    plain_refusal(&doors, &refusal)
}

async fn wrong_method(State(doors): State<Arc<Doors>>) -> Response {
    let refusal = Refusal::new(Code::MethodNotAllowed, "This route does not take this method");
    plain_refusal(&doors, &refusal)
}

fn plain_refusal(doors: &Doors, refusal: &Refusal) -> Response {
    let request_id = llm::new_request_id();
    let mut response: Response<Body> =
        respond::refusal(refusal, Dialect::Control, &request_id, doors.clock.now());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}
