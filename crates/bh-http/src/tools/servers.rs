//! `/api/v1/mcp`: servers that a tenant brings (seed 001, `mcp.add`; Connectors dossier §9).

use std::sync::Arc;

use axum::response::Response;
use bh_app::keys::Asker;
use bh_app::tools::{IntegrationView, NewServer, ServerView, Source};
use bh_domain::refusal::{Code, Refusal};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{caller, confirmed, mirrored};
use crate::ask::Ask;

/// Role in the trail.
const TENANT: &str = "tenant";
/// The parameter of the path.
const NAME: &str = "name";
/// A server's body.
const ADD_BYTES_MAX: usize = 64 * 1024;
/// Sources that have to be built and run.
const BUILT: [&str; 3] = ["github", "stdio", "docker"];

/// A server that is to be added.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "McpServerCreate")]
pub(super) struct AddIn {
    /// Its name: a DNS label.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"))]
    name: String,
    /// Where it is.
    source: SourceIn,
    /// What kind of tools it has.
    #[serde(default)]
    category: Option<String>,
    /// What it is for.
    #[serde(default)]
    description: Option<String>,
    /// The key's tenant.
    #[serde(default)]
    tenant_id: Option<String>,
    /// Only `true`: a server is always asked for its tools.
    #[serde(default)]
    auto_discover: Option<bool>,
    /// Of a server that is run here; of one at an address there is none.
    #[serde(default)]
    env: Option<Map<String, Value>>,
}

/// Where a server is: `{"type": "http", "url": …}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "McpSource")]
struct SourceIn {
    /// `http`: its endpoint for streamable HTTP.
    #[serde(rename = "type")]
    kind: String,
    /// The address, without user, query or fragment.
    #[serde(default)]
    url: Option<String>,
    #[serde(flatten)]
    #[schemars(skip)]
    further: Map<String, Value>,
}

/// Servers.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "McpServers")]
pub(super) struct Servers {
    /// In order of names.
    servers: Vec<ServerView>,
    count: usize,
    tenant_id: String,
}

/// Servers whose tools can be called.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Integrations")]
pub(super) struct Integrations {
    /// In order of names.
    integrations: Vec<IntegrationView>,
}

fn asker(ask: &Ask) -> Result<Asker, Refusal> {
    let caller = caller(ask)?;
    Ok(Asker {
        tenant: Arc::clone(&caller.tenant),
        actor: caller.name.clone(),
        role: TENANT,
        origin: Arc::clone(&ask.origin),
    })
}

/// `POST /api/v1/mcp/add`: the server is asked for its tools before this is answered.
pub(crate) async fn add(mut ask: Ask) -> Result<Response, Refusal> {
    let (caller, by) = (caller(&ask)?, asker(&ask)?);
    let asked: AddIn = ask.untold_json(ADD_BYTES_MAX).await?;
    confirmed(&caller, asked.tenant_id.as_deref())?;
    let wrong = |field: &'static str, problem: &str| {
        Err(Refusal::new(Code::InvalidRequest, format!("`{field}` {problem}")).with("field", field))
    };
    if asked.auto_discover == Some(false) {
        return wrong("autoDiscover", "can only be true: a server is always asked for its tools");
    }
    if asked.env.as_ref().is_some_and(|env| !env.is_empty()) {
        return wrong("env", "is for servers that are run here; one at an address has its own");
    }
    let source = asked.source.read()?;
    let AddIn { name, category, description, .. } = asked;
    let new = NewServer { name, source, category, description };
    let deployment = ask.doors.tools.clone().add(&by, new).await?;
    mirrored(&ask, StatusCode::ACCEPTED, &deployment, Map::new())
}

impl SourceIn {
    fn read(&self) -> Result<Source, Refusal> {
        let wrong = |field: &'static str, problem: &str| {
            Err(Refusal::new(Code::InvalidRequest, format!("`{field}` {problem}")).with("field", field))
        };
        if BUILT.contains(&self.kind.as_str()) {
            let message = format!(
                "A server from `{}` has to be built and run, which this release does not do yet: run it yourself, and add it \
                 with `{{\"type\": \"http\", \"url\": …}}`",
                self.kind
            );
            return Err(Refusal::new(Code::NotImplemented, message).with("field", "source.type"));
        }
        if self.kind != "http" {
            return wrong("source.type", "must be `http`");
        }
        let headers = self.further.get("headers");
        if headers.is_some_and(|headers| !headers.is_null() && *headers != json!({})) {
            return wrong(
                "source.headers",
                "is not stored: an operator stores what a server is shown with admin.oauth.storeCredentials, under the \
                 server's name",
            );
        }
        if self.further.keys().any(|name| name != "headers") {
            return wrong("source", "has a member that is none: there are `type` and `url`");
        }
        match &self.url {
            Some(url) => Source::http(url),
            None => wrong("source.url", "is missing"),
        }
    }
}

/// `GET /api/v1/mcp/custom`.
pub(crate) async fn custom(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    confirmed(&caller, ask.query()?.text("tenantId"))?;
    let servers = ask.doors.tools.servers(&caller.tenant).await?;
    let told = Servers { count: servers.len(), servers, tenant_id: caller.tenant.id.to_string() };
    mirrored(&ask, StatusCode::OK, &told, Map::new())
}

/// `GET /api/v1/mcp/integrations`.
pub(crate) async fn integrations(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let integrations = ask.doors.tools.integrations(&caller.tenant).await?;
    mirrored(&ask, StatusCode::OK, &Integrations { integrations }, Map::new())
}

/// `GET /api/v1/mcp/custom/{name}` shows a server, `DELETE` removes it.
pub(crate) async fn one(ask: Ask) -> Result<Response, Refusal> {
    let by = asker(&ask)?;
    confirmed(&*caller(&ask)?, ask.query()?.text("tenantId"))?;
    if ask.parts.method != Method::DELETE {
        let server = ask.doors.tools.server(&by.tenant, ask.path(NAME)).await?;
        return mirrored(&ask, StatusCode::OK, &server, Map::new());
    }
    let name = ask.path(NAME).to_owned();
    ask.doors.tools.clone().remove(&by, &name).await?;
    let told = json!({ "name": name, "message": format!("`{name}` and its tools are gone") });
    mirrored(&ask, StatusCode::OK, &told, Map::new())
}

/// `GET /api/v1/mcp/deployments/{id}`.
pub(crate) async fn deployment(ask: Ask) -> Result<Response, Refusal> {
    let caller = caller(&ask)?;
    let deployment = ask.doors.tools.deployment(&caller.tenant, ask.path("id")).await?;
    mirrored(&ask, StatusCode::OK, &deployment, Map::new())
}
