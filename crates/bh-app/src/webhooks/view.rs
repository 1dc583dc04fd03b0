//! Events, deliveries and endpoints as an operator sees them: camel case, as seed 001 writes its JSON.

use bh_domain::tenant::Nid;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::health::Health;
use crate::ports::{EndpointCounts, StoredDelivery, StoredEvent};
use crate::snapshot::{Snapshot, WebhookEndpoint};

/// An event in a list.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookEvent")]
pub struct EventView {
    /// Its id; `webhook-id` of its deliveries.
    pub id: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tenant; none for the installation's own, and for one that is gone.
    pub tenant_id: Option<String>,
    /// When it happened.
    pub timestamp: String,
}

/// An event with all that is known of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "WebhookEventDetail")]
pub struct EventDetail {
    /// As in a list.
    #[serde(flatten)]
    pub event: EventView,
    /// The body of its deliveries.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub payload: Box<RawValue>,
    /// What has become of them.
    pub deliveries: Vec<DeliveryView>,
}

/// A delivery.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookDelivery")]
pub struct DeliveryView {
    /// To which endpoint.
    pub endpoint: String,
    /// `pending`, `delivered` or `dead`.
    pub state: &'static str,
    /// Attempts since it was last asked for.
    pub attempts: u32,
    /// When it is tried again.
    pub next_attempt_at: Option<String>,
    /// When the last attempt ended.
    pub last_attempt_at: Option<String>,
    /// What the endpoint answered then.
    pub last_status: Option<u16>,
    /// Why that attempt failed.
    pub last_error: Option<String>,
}

/// A delivery that was given up.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetter")]
pub struct DeadLetterView {
    /// The event.
    pub event_id: String,
    /// Its kind.
    #[serde(rename = "type")]
    pub kind: String,
    /// The tenant.
    pub tenant_id: Option<String>,
    /// When it happened.
    pub timestamp: String,
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryView,
}

/// An endpoint and how it is doing.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookEndpoint")]
pub struct EndpointView {
    /// Its id.
    pub id: String,
    /// Where it is, without the query.
    pub url: String,
    /// Which events it wants.
    pub events: Vec<String>,
    /// Whose; empty for everybody's.
    pub tenants: Vec<String>,
    /// Whether it may be on a private network.
    pub allow_private_network: bool,
    /// How many secrets its deliveries are signed with.
    pub secrets: usize,
    /// `ok`, `failing`, or `gone` after a 410, until the configuration is loaded anew.
    pub status: &'static str,
    /// Deliveries on their way, up to ten thousand.
    pub pending: u64,
    /// Dead letters, up to ten thousand.
    pub dead_letters: u64,
    /// When it last took something from this process.
    pub last_delivered_at: Option<String>,
    /// When it last failed to.
    pub last_failed_at: Option<String>,
    /// Why.
    pub last_error: Option<String>,
    /// Failures since it last took something.
    pub consecutive_failures: u64,
}

/// What a try of an endpoint came to.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookTest")]
pub struct TestView {
    /// The id that was sent.
    pub event_id: String,
    /// Whether the endpoint took it.
    pub delivered: bool,
    /// What it answered.
    pub status: Option<u16>,
    /// Why it did not take it.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

fn tenant(snapshot: &Snapshot, nid: Nid) -> Option<String> {
    snapshot.tenant_by_nid(nid).map(|tenant| tenant.id.to_string())
}

impl EventView {
    pub(super) fn of(snapshot: &Snapshot, event: &StoredEvent) -> Self {
        Self {
            id: event.id.clone(),
            kind: event.kind.clone(),
            tenant_id: tenant(snapshot, event.nid),
            timestamp: event.at.rfc3339(),
        }
    }
}

impl From<&StoredDelivery> for DeliveryView {
    fn from(delivery: &StoredDelivery) -> Self {
        let waits = delivery.state == crate::ports::DeliveryState::Pending;
        Self {
            endpoint: delivery.endpoint.clone(),
            state: delivery.state.as_str(),
            attempts: delivery.attempts,
            next_attempt_at: waits.then(|| delivery.next_at.rfc3339()),
            last_attempt_at: delivery.last_at.map(|at| at.rfc3339()),
            last_status: delivery.last_status,
            last_error: delivery.last_error.clone(),
        }
    }
}

impl DeadLetterView {
    pub(super) fn of(snapshot: &Snapshot, delivery: &StoredDelivery, kind: &str) -> Self {
        Self {
            event_id: delivery.event_id.clone(),
            kind: kind.to_owned(),
            tenant_id: tenant(snapshot, delivery.nid),
            timestamp: delivery.event_at.rfc3339(),
            delivery: delivery.into(),
        }
    }
}

impl EndpointView {
    pub(super) fn of(endpoint: &WebhookEndpoint, counts: EndpointCounts, health: Health, gone: bool) -> Self {
        let status = match (gone, health.failures) {
            (true, _) => "gone",
            (false, 0) => "ok",
            (false, _) => "failing",
        };
        Self {
            id: endpoint.id.clone(),
            url: endpoint.shown(),
            events: endpoint.event_words.clone(),
            tenants: endpoint.tenants.iter().map(ToString::to_string).collect(),
            allow_private_network: endpoint.private_network,
            secrets: endpoint.secrets.len(),
            status,
            pending: counts.pending,
            dead_letters: counts.dead,
            last_delivered_at: health.delivered_at.map(|at| at.rfc3339()),
            last_failed_at: health.failed_at.map(|at| at.rfc3339()),
            last_error: health.error,
            consecutive_failures: health.failures,
        }
    }
}
