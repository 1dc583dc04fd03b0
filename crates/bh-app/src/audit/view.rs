//! Events as they are told, in lists and exports alike.

use bh_domain::audit::Outcome;
use bh_domain::evidence::hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::ports::AuditEvent;

/// Columns of an export, in order.
pub(super) const COLUMNS: [&str; 9] = [
    "event_id",
    "create_time",
    "action",
    "object",
    "actor",
    "role",
    "before_digest",
    "after_digest",
    "detail",
];

/// An event as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyAuditEvent")]
pub struct EventView {
    /// Names the event.
    pub event_id: String,
    /// When, RFC 3339.
    pub create_time: String,
    /// What was done: `key.created`.
    pub action: String,
    /// To what.
    pub object: String,
    /// By whom.
    pub actor: String,
    /// As what.
    pub role: String,
    /// SHA-256 of what it was before, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before_digest: Option<String>,
    /// SHA-256 of what it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after_digest: Option<String>,
    /// What else is known, a JSON object.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub detail: Box<RawValue>,
    /// Where the request came from that did it, a JSON object: see [`super::Provenance`].
    #[serde(skip_serializing_if = "is_empty")]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub origin: Box<RawValue>,
}

fn is_empty(object: &RawValue) -> bool {
    object.get() == NO_MEMBERS
}

/// An object without members.
const NO_MEMBERS: &str = "{}";

impl EventView {
    /// What is told of an event.
    #[must_use]
    pub fn of(event: AuditEvent) -> Self {
        let hex = |digest: [u8; 32]| hex::encode(&digest);
        Self {
            event_id: event.id.hyphenated().to_string(),
            create_time: event.at.rfc3339(),
            action: event.action,
            object: event.object,
            actor: event.actor,
            role: event.role,
            before_digest: event.before_digest.map(hex),
            after_digest: event.after_digest.map(hex),
            // A stored object is JSON: it was when it was read.
            detail: RawValue::from_string(event.detail.as_str().to_owned()).unwrap_or_default(),
            origin: RawValue::from_string(event.origin.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// The values of [`COLUMNS`].
    pub(super) fn cells(&self) -> [&str; COLUMNS.len()] {
        [
            &self.event_id,
            &self.create_time,
            &self.action,
            &self.object,
            &self.actor,
            &self.role,
            self.before_digest.as_deref().unwrap_or_default(),
            self.after_digest.as_deref().unwrap_or_default(),
            self.detail.get(),
        ]
    }
}

/// Columns of an export in the seed's words, in order.
pub(super) const SEED_COLUMNS: [&str; 17] = [
    "id",
    "timestamp",
    "tenantId",
    "userId",
    "action",
    "object",
    "toolId",
    "result",
    "duration",
    "actor",
    "role",
    "ip",
    "userAgent",
    "requestId",
    "beforeDigest",
    "afterDigest",
    "params",
];

/// What a call's event names the tool by.
const TOOL: &str = "toolId";

/// An event as seed 001 words it (Connectors dossier §10). What more is known stands in `params`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEvent")]
pub struct SeedView {
    id: String,
    timestamp: String,
    tenant_id: String,
    /// Whom the sender says that it acts for.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    action: String,
    object: String,
    /// The tool that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_id: Option<String>,
    result: &'static str,
    /// Milliseconds from the request's head to the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<u64>,
    actor: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_digest: Option<String>,
    /// What was asked for, without secrets, and what else is known.
    params: Map<String, Value>,
}

/// An origin, read back.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Came {
    client_address: Option<String>,
    user_agent: Option<String>,
    user_id: Option<String>,
    request_id: Option<String>,
    duration_ms: Option<u64>,
    params: Map<String, Value>,
}

impl SeedView {
    /// An event of the tenant of this name.
    #[must_use]
    pub fn of(tenant_id: &str, event: EventView) -> Self {
        // What is stored was written by `Provenance`; what is not is told as nothing.
        let came: Came = serde_json::from_str(event.origin.get()).unwrap_or_default();
        let mut detail: Map<String, Value> = serde_json::from_str(event.detail.get()).unwrap_or_default();
        let tool = detail.remove(TOOL).and_then(|tool| tool.as_str().map(str::to_owned));
        let seen = || detail.get("client_address").and_then(Value::as_str).map(str::to_owned);
        Self {
            ip: came.client_address.or_else(seen),
            id: event.event_id,
            timestamp: event.create_time,
            tenant_id: tenant_id.to_owned(),
            user_id: came.user_id,
            tool_id: tool,
            result: Outcome::of(&event.action).as_str(),
            action: event.action,
            object: event.object,
            duration: came.duration_ms,
            actor: event.actor,
            role: event.role,
            user_agent: came.user_agent,
            request_id: came.request_id,
            before_digest: event.before_digest,
            after_digest: event.after_digest,
            params: came.params.into_iter().chain(detail).collect(),
        }
    }

    /// The values of [`SEED_COLUMNS`].
    pub(super) fn cells(&self) -> [String; SEED_COLUMNS.len()] {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        [
            self.id.clone(),
            self.timestamp.clone(),
            self.tenant_id.clone(),
            text(&self.user_id),
            self.action.clone(),
            self.object.clone(),
            text(&self.tool_id),
            self.result.to_owned(),
            self.duration.map(|ms| ms.to_string()).unwrap_or_default(),
            self.actor.clone(),
            self.role.clone(),
            text(&self.ip),
            text(&self.user_agent),
            text(&self.request_id),
            text(&self.before_digest),
            text(&self.after_digest),
            Value::Object(self.params.clone()).to_string(),
        ]
    }
}
