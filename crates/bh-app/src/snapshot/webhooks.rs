//! Webhook endpoints, as deliveries use them.

use std::sync::Arc;
use std::time::Duration;

use bh_domain::tenant::TenantId;
use bh_domain::webhook::{Backoff, EventKind, EventPattern, SigningSecret};
use http::Uri;

/// Everything about webhooks.
#[derive(Clone, Debug)]
pub struct WebhookSettings {
    /// Who is told.
    pub endpoints: Vec<Arc<WebhookEndpoint>>,
    /// Attempts before a delivery is given up.
    pub attempts_max: u32,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// How attempts are spaced.
    pub backoff: Backoff,
    /// Deliveries under way at one endpoint at a time.
    pub concurrency: usize,
    /// Days that events are kept.
    pub retention_days: u32,
    /// From the end of a month until it is closed.
    pub billing_close_delay: Duration,
}

/// Somebody who is told.
#[derive(Clone, Debug)]
pub struct WebhookEndpoint {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub uri: Uri,
    /// What its deliveries are signed with, the current secret first.
    pub secrets: Vec<SigningSecret>,
    /// Which events it wants.
    pub events: Vec<EventPattern>,
    /// The words for them, as configured.
    pub event_words: Vec<String>,
    /// Whose events; empty for everybody's.
    pub tenants: Vec<TenantId>,
    /// Whether it may live on a loopback or private address.
    pub private_network: bool,
}

impl WebhookEndpoint {
    /// Whether it is to be told of such an event of a tenant, or of the installation's own.
    #[must_use]
    pub fn wants(&self, kind: EventKind, tenant: Option<&TenantId>) -> bool {
        let theirs = self.tenants.is_empty() || tenant.is_some_and(|tenant| self.tenants.contains(tenant));
        theirs && self.events.iter().any(|pattern| pattern.matches(kind))
    }

    /// Where it is, without what may be a secret in it: the query.
    #[must_use]
    pub fn shown(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or("http");
        format!("{scheme}://{}{}", self.uri.authority().map_or("", |host| host.as_str()), self.uri.path())
    }
}

impl WebhookSettings {
    /// The ids of the endpoints that are to be told.
    #[must_use]
    pub fn wanted_by(&self, kind: EventKind, tenant: Option<&TenantId>) -> Vec<String> {
        let wanting = self.endpoints.iter().filter(|endpoint| endpoint.wants(kind, tenant));
        wanting.map(|endpoint| endpoint.id.clone()).collect()
    }

    /// An endpoint by its id.
    #[must_use]
    pub fn endpoint(&self, id: &str) -> Option<&Arc<WebhookEndpoint>> {
        self.endpoints.iter().find(|endpoint| endpoint.id == id)
    }
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            attempts_max: 1,
            timeout: Duration::from_secs(1),
            backoff: Backoff::default(),
            concurrency: 1,
            retention_days: 1,
            billing_close_delay: Duration::ZERO,
        }
    }
}
