//! Events as they are told, in lists and exports alike.

use bh_domain::evidence::hex;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

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

/// What ends the name of an action that was refused.
const FAILED: &str = "_failed";

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
}

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
        }
    }

    /// How it ended, in the seed's words: `success`, or `denied`.
    #[must_use]
    pub fn result(&self) -> &'static str {
        if self.action.ends_with(FAILED) { "denied" } else { "success" }
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
