//! A tenant's servers: added, listed, removed (seed 001, `mcp.add`; Connectors dossier §9).

use std::collections::HashSet;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Scope;
use bh_domain::tools::{ServerName, URL_BYTES_MAX, category, is_tool_name};
use bh_wire::mcp::ToolHead;
use http::Uri;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::client::{ClientFault, strange};
use super::view::{DeploymentView, IntegrationView, ServerView};
use super::{ToolStory, misnamed, no_server, told};
use crate::audit::Doer;
use crate::keys::Asker;
use crate::ports::{AuditEvent, ServerRow, ServerStored, ToolRow};
use crate::snapshot::Tenant;

/// What is said of a server may have so many bytes.
const DESCRIPTION_BYTES_MAX: usize = 1_024;
/// What a server tells of one tool may have so many.
const DEFINITION_BYTES_MAX: usize = 64 * 1024;
/// And of all its tools: they are read for each question.
const DEFINITIONS_BYTES_MAX: usize = 1024 * 1024;
/// The category of a server that names none.
const CUSTOM: &str = "custom";

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Source {
    /// It runs, at this address.
    Http {
        /// Its endpoint for streamable HTTP.
        url: String,
    },
}

impl Source {
    /// As it was stored.
    pub(super) fn stored(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The address.
    pub(super) fn uri(&self) -> Option<Uri> {
        let Self::Http { url } = self;
        url.parse().ok()
    }

    /// Scheme, host, port and path, in one spelling: what a credential is stored for.
    pub(super) fn address(&self) -> Option<String> {
        Some(self.origin()? + self.uri()?.path())
    }

    /// Scheme, host and port.
    fn origin(&self) -> Option<String> {
        let uri = self.uri()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let default = if scheme == "https" { 443 } else { 80 };
        let port = authority.port_u16().unwrap_or(default);
        Some(format!("{scheme}://{}:{port}", authority.host().to_ascii_lowercase()))
    }

    /// Checks an address.
    ///
    /// # Errors
    /// `invalid_request`, without repeating what may be a secret.
    pub fn http(url: &str) -> Result<Self, Refusal> {
        let wrong = |problem: &str| {
            let message = format!("`source.url` {problem}");
            Err(Refusal::new(Code::InvalidRequest, message).with("field", "source.url"))
        };
        if url.len() > URL_BYTES_MAX {
            return wrong(&format!("is longer than {URL_BYTES_MAX} bytes"));
        }
        let Ok(uri) = url.parse::<Uri>() else { return wrong("is no address") };
        let Some(authority) = uri.authority() else { return wrong("must be an http or https address") };
        if !matches!(uri.scheme_str(), Some("http" | "https")) || authority.host().is_empty() {
            return wrong("must be an http or https address");
        }
        if authority.as_str().contains('@') || uri.query().is_some() || url.contains('#') {
            return wrong(
                "must have no user, query or fragment: what a server is shown is stored with \
                 admin.oauth.storeCredentials under the server's name, and never in an address",
            );
        }
        Ok(Self::Http { url: url.to_owned() })
    }
}

/// A server that is to be added.
#[derive(Clone, Debug)]
pub struct NewServer {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub source: Source,
    /// What kind of tools it has; `custom` unless told.
    pub category: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

impl ToolStory {
    /// Adds a server: it is asked for its tools first, and stored with them; or, where that fails, with why it failed.
    ///
    /// # Errors
    /// `invalid_request`; `server_already_exists` for one that runs; `quota_exceeded`; those of the store and the vault.
    pub async fn add(&self, by: &Asker, given: NewServer) -> Result<DeploymentView, Refusal> {
        let tenant = &by.tenant;
        let name = ServerName::parse(&given.name).map_err(|error| misnamed(&error))?;
        let category = given.category.as_deref().unwrap_or(CUSTOM);
        let category = category_of(category)?;
        let description = described(given.description)?;
        self.room_for(tenant, &name).await?;
        let _turn = self.0.under_way.begin(tenant.nid)?;
        let deployment = Uuid::now_v7();
        let settings = self.parts().live.load().mcp;
        let place = self.place(tenant, (name.as_str(), deployment), &given.source, &settings).await?;
        let found = self.0.client.tools(&place, &settings).await;
        let found = found.and_then(|tools| rows(&name, category, &tools));
        let (tools, error) = match found {
            Ok(tools) => (tools, None),
            Err(fault) => (Vec::new(), Some(fault.to_string())),
        };
        if error.is_some() {
            self.0.client.forget(tenant.nid, deployment);
        }
        let server = ServerRow {
            nid: tenant.nid,
            name: name.as_str().to_owned(),
            deployment,
            source: json!(given.source).to_string(),
            category: category.to_owned(),
            description,
            running: error.is_none(),
            error,
            tools: tools.len() as u64,
            created: self.parts().clock.now(),
        };
        self.stored(by, server, tools).await
    }

    async fn stored(
        &self,
        by: &Asker,
        server: ServerRow,
        tools: Vec<ToolRow>,
    ) -> Result<DeploymentView, Refusal> {
        let view = DeploymentView::of(&server);
        let detail = json!({
            "deploymentId": view.deployment_id, "status": view.status, "error": view.error, "tools": server.tools,
            "category": server.category, "origin": Source::stored(&server.source).and_then(|source| source.origin()),
        });
        let event = self.event(by, "server.added", &server.name, &detail);
        let (scope, max) = (Scope::tenant(by.tenant.nid), by.tenant.limits.max_custom_servers);
        let name = server.name.clone();
        let stored = self.store().add_server(scope, server, tools, max, event).await;
        match stored.map_err(told)? {
            ServerStored::Stored => Ok(view),
            ServerStored::Exists => Err(exists(&name)),
            ServerStored::Full(used) => Err(full(used, max.unwrap_or(used))),
            ServerStored::TenantGone => Err(Refusal::new(Code::TenantNotFound, "The tenant was deleted")),
        }
    }

    /// Refuses what the store would refuse, before a server is asked anything.
    async fn room_for(&self, tenant: &Tenant, name: &ServerName) -> Result<(), Refusal> {
        let servers = self.server_rows(tenant).await?;
        if servers.iter().any(|server| server.name == name.as_str() && server.running) {
            return Err(exists(name.as_str()));
        }
        let others = servers.iter().filter(|server| server.name != name.as_str()).count() as u64;
        match tenant.limits.max_custom_servers {
            Some(max) if others >= max => Err(full(others, max)),
            Some(_) | None => Ok(()),
        }
    }

    async fn server_rows(&self, tenant: &Tenant) -> Result<Vec<ServerRow>, Refusal> {
        let mut servers = self.store().servers(Scope::tenant(tenant.nid)).await.map_err(told)?;
        // Databases have orders of their own.
        servers.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(servers)
    }

    /// A tenant's servers, by name.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn servers(&self, tenant: &Tenant) -> Result<Vec<ServerView>, Refusal> {
        let servers = self.server_rows(tenant).await?;
        Ok(servers.iter().map(ServerView::of).collect())
    }

    /// The same as integrations: those whose tools can be called.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn integrations(&self, tenant: &Tenant) -> Result<Vec<IntegrationView>, Refusal> {
        let servers = self.server_rows(tenant).await?;
        Ok(servers.iter().filter(|server| server.running).map(IntegrationView::of).collect())
    }

    /// One server.
    ///
    /// # Errors
    /// `server_not_found`; those of the store.
    pub async fn server(&self, tenant: &Tenant, name: &str) -> Result<ServerView, Refusal> {
        let found = self.store().server(Scope::tenant(tenant.nid), name.to_owned()).await.map_err(told)?;
        found.as_ref().map(ServerView::of).ok_or_else(|| no_server(name))
    }

    /// How a deployment went.
    ///
    /// # Errors
    /// `deployment_not_found`, also once its server was removed or added anew; those of the store.
    pub async fn deployment(&self, tenant: &Tenant, id: &str) -> Result<DeploymentView, Refusal> {
        let unknown = || {
            let message = "The tenant has no such deployment: its server may have been removed or added anew";
            Refusal::new(Code::DeploymentNotFound, message).with("deploymentId", id.to_owned())
        };
        let parsed = id.strip_prefix(super::view::DEPLOYMENT_PREFIX).and_then(|id| Uuid::parse_str(id).ok());
        let parsed = parsed.ok_or_else(unknown)?;
        let found = self.store().deployment(Scope::tenant(tenant.nid), parsed).await.map_err(told)?;
        found.as_ref().map(DeploymentView::of).ok_or_else(unknown)
    }

    /// Removes a server and its tools. Its credentials stay, as an operator stored them.
    ///
    /// # Errors
    /// `server_not_found`; those of the store.
    pub async fn remove(&self, by: &Asker, name: &str) -> Result<(), Refusal> {
        let scope = || Scope::tenant(by.tenant.nid);
        let found = self.store().server(scope(), name.to_owned()).await.map_err(told)?;
        let found = found.ok_or_else(|| no_server(name))?;
        let event = self.event(by, "server.removed", name, &json!({}));
        if !self.store().remove_server(scope(), name.to_owned(), event).await.map_err(told)? {
            return Err(no_server(name));
        }
        self.0.client.forget(by.tenant.nid, found.deployment);
        Ok(())
    }

    fn event(&self, by: &Asker, action: &str, object: &str, detail: &serde_json::Value) -> AuditEvent {
        let by = Doer { name: &by.actor, role: by.role, origin: &by.origin };
        by.event(self.parts().clock.as_ref(), action, object, detail)
    }
}

/// Tools as they are stored. What cannot be stored or called is left out: names that no id can have, definitions that are very
/// long, hold a NUL or cannot be read whole; of two of one name the second.
fn rows(server: &ServerName, category: &str, tools: &[Box<RawValue>]) -> Result<Vec<ToolRow>, ClientFault> {
    let mut rows: Vec<ToolRow> = Vec::with_capacity(tools.len());
    let (mut names, mut bytes) = (HashSet::new(), 0);
    for definition in tools.iter().map(|tool| tool.get()) {
        // What cannot be read whole could not be told either, nor could its secrets be known.
        let is_plain = definition.len() <= DEFINITION_BYTES_MAX && !definition.contains("\\u0000");
        if !is_plain || serde_json::from_str::<serde_json::Value>(definition).is_err() {
            tracing::warn!(server = server.as_str(), "a tool was left out: its definition cannot be kept");
            continue;
        }
        let head: ToolHead = serde_json::from_str(definition).map_err(|error| strange("a tool", &error))?;
        if !is_tool_name(&head.name) || !names.insert(head.name.clone()) {
            tracing::warn!(server = server.as_str(), "a tool was left out: its name cannot be used");
            continue;
        }
        bytes += definition.len();
        if bytes > DEFINITIONS_BYTES_MAX {
            let what = format!("its tools' definitions have more than {DEFINITIONS_BYTES_MAX} bytes");
            return Err(ClientFault::Strange(what));
        }
        rows.push(ToolRow {
            server: server.as_str().to_owned(),
            name: head.name,
            category: category.to_owned(),
            definition: definition.to_owned(),
        });
    }
    Ok(rows)
}

fn category_of(text: &str) -> Result<&str, Refusal> {
    category(text).map_err(|error| misnamed(&error))
}

fn described(given: Option<String>) -> Result<String, Refusal> {
    let description = given.unwrap_or_default();
    if description.len() > DESCRIPTION_BYTES_MAX || description.contains('\0') {
        let message = format!("`description` must have at most {DESCRIPTION_BYTES_MAX} bytes and no NUL");
        return Err(Refusal::new(Code::InvalidRequest, message).with("field", "description"));
    }
    Ok(description)
}

fn exists(name: &str) -> Refusal {
    let message = "The tenant has a server of this name: remove it first";
    Refusal::new(Code::ServerExists, message).with("name", name.to_owned())
}

fn full(used: u64, max: u64) -> Refusal {
    let message = format!(
        "The tenant has {used} custom servers and may have {max} (`maxCustomServers`): remove one, a failed one too, or raise \
         the limit"
    );
    let refusal = Refusal::new(Code::QuotaExceeded, message).with("quota", "maxCustomServers");
    refusal.with("used", used.to_string()).with("limit", max.to_string())
}
