//! `/api/v1/tools` and `/api/v1/mcp`: tools and the servers that have them (seed 001, "SDK Usage"; Connectors dossier §2.2).
//!
//! Answers hold what they tell twice: as `data`, and beside it, where older clients look for it (§2.3).

mod described;
mod select;
mod servers;

use std::sync::Arc;

use axum::response::Response;
use bh_app::identity::Principal;
use bh_app::snapshot::Caller;
use bh_app::tools::{Invocation, Invoked, ToolQuery, ToolView};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::TenantId;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::{envelope, respond};

pub(crate) use described::chapter;
pub(crate) use select::select;
pub(crate) use servers::{add, custom, deployment, integrations, one};

/// Tools of a page that asks for no number, and the most.
const LIMIT_DEFAULT: u32 = 100;
const LIMIT_MAX: u32 = 1_000;
/// The last page that can be asked for.
const PAGES_MAX: u32 = 1_000_000;
/// A call's body: parameters, and what stands round them.
const INVOKE_BYTES_MAX: usize = 1024 * 1024 + 4 * 1024;
/// The parameter of the path.
const TOOL_ID: &str = "tool_id";

/// Who asks. These rows take keys of tenants alone.
fn caller(ask: &Ask) -> Result<Arc<Caller>, Refusal> {
    match &ask.principal {
        Some(Principal::Caller(caller)) => Ok(Arc::clone(caller)),
        Some(Principal::Operator(_)) | None => {
            Err(Refusal::new(Code::Unauthorized, "Invalid or missing API key"))
        }
    }
}

/// A tenant that a body names may only be the key's own.
fn confirmed(caller: &Caller, named: Option<&str>) -> Result<(), Refusal> {
    match named.map(TenantId::parse) {
        None => Ok(()),
        Some(Ok(id)) if id == caller.tenant.id => Ok(()),
        Some(Ok(_) | Err(_)) => {
            let message = "The key belongs to another tenant than `tenantId` names";
            Err(Refusal::new(Code::CrossTenantAccessDenied, message).with("field", "tenantId"))
        }
    }
}

/// An answer whose members stand beside `data` too. What went wrong stands there alone: beside it, it would be the answer's own.
fn mirrored<T: Serialize>(
    ask: &Ask,
    status: StatusCode,
    data: &T,
    further: Map<String, Value>,
) -> Result<Response, Refusal> {
    let data = serde_json::to_value(data).map_err(|error| respond::internal("render an answer", &error))?;
    envelope::data_beside(ask, status, &data, further, &data)
}

/// A page of tools.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ToolPage")]
struct Page {
    tools: Vec<ToolView>,
    /// How many pass the filter.
    total: usize,
    /// Which page this is, from 1.
    page: usize,
    /// How many a page has.
    limit: usize,
    /// Whether another one follows.
    has_more: bool,
    /// The servers that the tools are of.
    integrations: Vec<bh_app::tools::IntegrationView>,
    pagination: Pagination,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ToolPagination")]
struct Pagination {
    total: usize,
    limit: usize,
    offset: usize,
}

/// `GET /api/v1/tools/list`.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let query = ask.query()?;
    confirmed(&caller, query.text("tenantId"))?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)? as usize;
    let page = query.number("page", 1, PAGES_MAX)? as usize;
    let offset = match query.text("offset") {
        None => (page - 1) * limit,
        Some("0") => 0,
        Some(_) => query.number("offset", 1, u32::MAX)? as usize,
    };
    let text = |name| query.text(name).map(str::to_owned);
    let integration = text("integration").or_else(|| text("server"));
    let wanted = ToolQuery { category: text("category"), integration, search: text("search"), limit, offset };
    let found = ask.doors.tools.list(&caller.tenant, &wanted).await?;
    let total = found.total;
    let page = Page {
        has_more: offset + found.tools.len() < total,
        tools: found.tools,
        total,
        page: offset / limit + 1,
        limit,
        integrations: found.integrations,
        pagination: Pagination { total, limit, offset },
    };
    mirrored(&ask, StatusCode::OK, &page, Map::new())
}

/// `GET /api/v1/tools/{tool_id}`, and with `/schema` behind it: a tool, whole.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let tool = ask.doors.tools.tool(&caller.tenant, ask.path(TOOL_ID)).await?;
    mirrored(&ask, StatusCode::OK, &tool, Map::new())
}

/// `GET /api/v1/categories`.
pub(crate) async fn categories(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let categories = ask.doors.tools.categories(&caller.tenant).await?;
    mirrored(&ask, StatusCode::OK, &categories, Map::new())
}

/// A call that is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "ToolInvocation")]
struct InvokeIn {
    /// The tool: its server's name, a dot, and its own.
    #[schemars(length(min = 1))]
    tool_id: String,
    /// Its server, which the tool's id names too.
    #[serde(default)]
    integration: Option<String>,
    /// The key's tenant.
    #[serde(default)]
    tenant_id: Option<String>,
    /// What the tool is given.
    #[serde(default)]
    #[schemars(with = "Option<Map<String, Value>>")]
    parameters: Option<Box<RawValue>>,
}

/// `POST /api/v1/tools/invoke`: the tool's own result, as it came, and how long it took.
pub(crate) async fn invoke(mut ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let asked: InvokeIn = ask.untold_json(INVOKE_BYTES_MAX).await?;
    confirmed(&caller, asked.tenant_id.as_deref())?;
    let given = asked.parameters.filter(|parameters| parameters.get() != "null");
    let invocation = Invocation {
        caller,
        snapshot: Arc::clone(&ask.snapshot),
        origin: Arc::clone(&ask.origin),
        request_id: ask.request_id.clone(),
        tool_id: asked.tool_id.clone(),
        integration: asked.integration,
        parameters: given.map_or_else(no_parameters, Ok)?,
    };
    let invoked = ask.doors.tools.clone().invoke(invocation).await?;
    told(&ask, &asked.tool_id, &invoked)
}

fn no_parameters() -> Result<Box<RawValue>, Refusal> {
    RawValue::from_string("{}".to_owned()).map_err(|error| respond::internal("make an empty object", &error))
}

/// The result is not read and written again: its numbers stay as they are.
fn told(ask: &Ask, tool_id: &str, invoked: &Invoked) -> Result<Response, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Told<'i> {
        success: bool,
        data: &'i RawValue,
        tool_id: &'i str,
        result: &'i RawValue,
        performance: Value,
        execution_time_ms: u64,
        metadata: Map<String, Value>,
    }
    let Invoked { result, is_error, took_ms } = invoked;
    let further = [("executionTime", json!(took_ms)), ("isError", json!(is_error))];
    let further = further.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let told = Told {
        success: true,
        data: result,
        tool_id,
        result,
        performance: json!({ "latency_ms": took_ms }),
        execution_time_ms: *took_ms,
        metadata: envelope::metadata_with(ask, further),
    };
    respond::json_with(StatusCode::OK, &told)
}
