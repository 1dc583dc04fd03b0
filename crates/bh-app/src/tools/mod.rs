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
mod place;
mod record;
mod select;
mod servers;
mod under_way;
mod view;

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Scope;
use bh_domain::tools::ToolNameError;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::metrics::Metrics;
use crate::ports::{Clock, StoreFault, Tokenizer, ToolStore, Upstream};
use crate::recorder::Recorder;
use crate::snapshot::{Live, McpSettings, Tenant};
use crate::vault::{AccessToken, Integration, Vault};
use client::Client;
use place::Place;
use under_way::UnderWay;

pub use catalog::{Categories, CategoryView, Listed, ToolQuery};
pub use invoke::{Invocation, Invoked};
pub use select::{Selected, Selection, check_bounds};
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
    under_way: UnderWay,
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
        Self(Arc::new(Inner { parts, client, under_way: UnderWay::default() }))
    }

    fn parts(&self) -> &ToolParts {
        &self.0.parts
    }

    fn store(&self) -> &dyn ToolStore {
        self.0.parts.store.as_ref()
    }

    /// How a server is reached, with the tenant's credential for it where it may have that.
    async fn place(
        &self,
        tenant: &Tenant,
        server: (&str, Uuid),
        source: &Source,
        settings: &McpSettings,
    ) -> Result<Place, Refusal> {
        let (name, deployment) = server;
        let (uri, address) = source.uri().zip(source.address()).ok_or_else(|| {
            tracing::error!(server = name, "a stored server has no address");
            Refusal::new(Code::Internal, "The server's address cannot be read")
        })?;
        let mut place =
            Place { nid: tenant.nid, deployment, uri, authorization: NO_CREDENTIAL, is_withheld: false };
        let stored = self.parts().vault.access_token(tenant.nid, &Integration::parse(name)?).await;
        let AccessToken { token, token_type, shown_to } = match stored {
            Err(refusal) if refusal.code == Code::NotFound => return Ok(place),
            stored => stored?,
        };
        // A key of the tenant's can have any address take the name; what was stored for one address is shown to no other. Nor does
        // it leave where others may read it, unless servers are in the operator's own network.
        let is_safe = place.uri.scheme_str() == Some("https") || settings.private_network;
        if shown_to.as_ref() != Some(&address) || !is_safe {
            place.is_withheld = true;
            return Ok(place);
        }
        place.authorization = Some(shown(&token_type, &token, name)?);
        Ok(place)
    }

    /// Where a tenant's server of this name is, for credentials that are stored for it.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn address_of(&self, tenant: &Tenant, name: &str) -> Result<Option<String>, Refusal> {
        let found = self.store().server(Scope::tenant(tenant.nid), name.to_owned()).await.map_err(told)?;
        Ok(found.and_then(|server| Source::stored(&server.source)?.address()))
    }
}

fn shown(token_type: &str, token: &SecretString, server: &str) -> Result<HeaderValue, Refusal> {
    let text = format!("{token_type} {}", token.expose_secret());
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        let message = "The stored access token cannot be sent in a header: store it anew";
        Refusal::new(Code::UpstreamCredentialMissing, message).with("integration", server)
    })?;
    value.set_sensitive(true);
    Ok(value)
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
