//! Making events. Nobody pays for one that no endpoint wants.

use std::sync::Arc;

use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;
use bh_domain::webhook::EventKind;
use serde_json::{Map, Value, json};

use crate::ports::OutboxEvent;
use crate::snapshot::{Live, WebhookSettings};

/// Makes events for the endpoints of the configuration in force.
#[derive(Clone, Debug)]
pub struct Outbox(Option<Live>);

impl Outbox {
    /// An outbox for the endpoints that are configured at the time of each event.
    #[must_use]
    pub fn new(live: Live) -> Self {
        Self(Some(live))
    }

    /// One that tells nobody: for tools that work on a store by themselves.
    #[must_use]
    pub fn silent() -> Self {
        Self(None)
    }

    /// An event about a tenant, or about the installation ([`Nid::SYSTEM`] and no tenant); `None` when nobody wants it. Give
    /// it to the store's method that makes what it tells of: both become durable together, or neither. `data` is told as it
    /// is, with the tenant's id.
    #[must_use]
    pub fn event(
        &self,
        kind: EventKind,
        (nid, tenant): (Nid, Option<&TenantId>),
        id: String,
        at: Timestamp,
        data: Map<String, Value>,
    ) -> Option<OutboxEvent> {
        let endpoints = self.settings()?.wanted_by(kind, tenant);
        if endpoints.is_empty() {
            return None;
        }
        let payload = body(kind, at, Map::new(), with_tenant(tenant, data));
        Some(OutboxEvent { nid, id, kind, at, payload, endpoints })
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Option<Arc<WebhookSettings>> {
        self.0.as_ref().map(|live| Arc::clone(&live.load().webhooks))
    }
}

/// `data` that names its tenant.
pub(super) fn with_tenant(tenant: Option<&TenantId>, data: Map<String, Value>) -> Map<String, Value> {
    let mut named = Map::new();
    named.insert("tenantId".to_owned(), tenant.map_or(Value::Null, |tenant| tenant.as_str().into()));
    named.extend(data);
    named
}

/// The body of an event's deliveries. `beside` stands beside `data`, for receivers that look for it there.
pub(super) fn body(
    kind: EventKind,
    at: Timestamp,
    beside: Map<String, Value>,
    data: Map<String, Value>,
) -> String {
    let mut body = Map::new();
    body.insert("type".to_owned(), kind.as_str().into());
    body.insert("timestamp".to_owned(), at.rfc3339().into());
    body.extend(beside);
    body.insert("data".to_owned(), json!(data));
    Value::Object(body).to_string()
}
