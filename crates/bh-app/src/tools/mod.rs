//! Tools: MCP servers that tenants bring, what tools these have, which of them fit a task, and calling them (seed 001, "SDK
//! Usage"; Connectors dossier §2, §9; decision 31).
//!
//! A tool belongs to its tenant's server and shows nowhere else. What is asked of a server goes out under the egress guard, with
//! the tenant's own credential; what came of it is a record, a row of the usage ledger and an event of the trail, in one
//! transaction.

mod catalog;
mod client;
mod invoke;
mod mask;
mod record;
mod select;
mod servers;
mod view;

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tools::ToolNameError;
use http::{HeaderValue, Uri};
use secrecy::ExposeSecret;

use crate::metrics::Metrics;
use crate::ports::{Clock, ServerRow, StoreFault, Tokenizer, ToolStore, Upstream};
use crate::recorder::Recorder;
use crate::snapshot::{Live, Tenant};
use crate::vault::{Integration, Vault};
use client::{Client, Place};

pub use catalog::{Categories, CategoryView, Listed, ToolQuery};
pub use invoke::{Invocation, Invoked};
pub use select::{Selected, Selection, TOOLS_DEFAULT, TOOLS_MAX as SELECTED_MAX};
pub use servers::{NewServer, Source};
pub use view::{DeploymentView, IntegrationView, ServerView, ToolView};

/// The credential of a server is its integration's: `admin.oauth.storeCredentials(tenant, name, …)`.
const NO_CREDENTIAL: Option<HeaderValue> = None;

/// What the story is built from.
pub struct ToolParts {
    /// Servers and tools.
    pub store: Arc<dyn ToolStore>,
    /// The way to them.
    pub upstream: Arc<dyn Upstream>,
    /// Has what they are shown.
    pub vault: Vault,
    /// Evidence.
    pub recorder: Recorder,
    /// Counts tokens.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// The configuration in force.
    pub live: Live,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

struct Inner {
    parts: ToolParts,
    client: Client,
}

/// Tools, listed, chosen and called.
#[derive(Clone)]
pub struct ToolStory(Arc<Inner>);

impl std::fmt::Debug for ToolParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolParts").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ToolStory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolStory").finish_non_exhaustive()
    }
}

impl ToolStory {
    /// The story, from its parts.
    #[must_use]
    pub fn new(parts: ToolParts) -> Self {
        let client = Client::new(Arc::clone(&parts.upstream), Arc::clone(&parts.clock));
        Self(Arc::new(Inner { parts, client }))
    }

    fn parts(&self) -> &ToolParts {
        &self.0.parts
    }

    fn store(&self) -> &dyn ToolStore {
        self.0.parts.store.as_ref()
    }

    /// How a server is reached, with the tenant's credential for it where there is one.
    async fn place(&self, tenant: &Tenant, server: &ServerRow) -> Result<Place, Refusal> {
        let uri = Source::stored(&server.source).and_then(|source| source.uri());
        let uri: Uri = uri.ok_or_else(|| {
            tracing::error!(server = server.name, "a stored server has no address");
            Refusal::new(Code::Internal, "The server's address cannot be read")
        })?;
        let authorization = self.authorization(tenant, &server.name).await?;
        Ok(Place { nid: tenant.nid, deployment: server.deployment, uri, authorization })
    }

    /// What a tenant shows a server: the access token that is stored for an integration of the server's name.
    async fn authorization(&self, tenant: &Tenant, server: &str) -> Result<Option<HeaderValue>, Refusal> {
        let integration = Integration::parse(server)?;
        let token = match self.parts().vault.access_token(tenant.nid, &integration).await {
            Ok(token) => token,
            Err(refusal) if refusal.code == Code::NotFound => return Ok(NO_CREDENTIAL),
            Err(refusal) => return Err(refusal),
        };
        let mut value =
            HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).map_err(|_| {
                let message = "The stored access token cannot be sent in a header: store it anew";
                Refusal::new(Code::UpstreamCredentialMissing, message).with("integration", server.to_owned())
            })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn told(fault: StoreFault) -> Refusal {
    fault.refusal()
}

fn misnamed(error: &ToolNameError) -> Refusal {
    Refusal::new(Code::InvalidRequest, error.to_string()).with("field", error.field)
}

fn no_server(name: &str) -> Refusal {
    let message = "The tenant has no server of this name: ask for /api/v1/mcp/custom";
    Refusal::new(Code::ServerNotFound, message).with("name", name.to_owned())
}

fn no_tool(id: &str) -> Refusal {
    let message = "The tenant has no tool of this id: ask for /api/v1/tools/list";
    Refusal::new(Code::ToolNotFound, message).with("toolId", id.to_owned())
}
