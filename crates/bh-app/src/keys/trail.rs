//! What the audit log says of a change.

use bh_domain::hash::sha256;
use bh_domain::keys::key::{JsonObject, Key, KeyId};
use serde_json::json;

use super::{Asker, KeyStory};
use crate::ports::AuditEvent;

/// A change, as the audit log names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Issued,
    Imported,
    Updated,
    Rotated,
    Revoked,
    Deleted,
    Enabled,
    Disabled,
    TokensDenied,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "key.issued",
            Self::Imported => "key.imported",
            Self::Updated => "key.updated",
            Self::Rotated => "key.rotated",
            Self::Revoked => "key.revoked",
            Self::Deleted => "key.deleted",
            Self::Enabled => "key.enabled",
            Self::Disabled => "key.disabled",
            Self::TokensDenied => "key.tokens_denied",
        }
    }
}

impl KeyStory {
    /// The event of one change, to be written with it.
    pub(super) fn event(
        &self,
        asker: &Asker,
        action: Action,
        key_id: &KeyId,
        before: Option<&Key>,
        after: Option<&Key>,
    ) -> AuditEvent {
        AuditEvent {
            id: uuid::Uuid::now_v7(),
            at: self.0.parts.clock.now(),
            action: action.as_str().to_owned(),
            object: key_id.as_str().to_owned(),
            actor: asker.actor.clone(),
            role: asker.role.to_owned(),
            before_digest: before.map(row_digest),
            after_digest: after.map(row_digest),
            detail: JsonObject::default(),
        }
    }
}

/// SHA-256 of everything a row says but for what changes with each use.
fn row_digest(key: &Key) -> [u8; 32] {
    let revocation = key.revocation.as_ref();
    let row = json!([
        key.key_id.as_str(),
        key.name,
        key.actor_id,
        key.scopes,
        key.metadata.as_str(),
        key.status.as_str(),
        key.enabled,
        key.visibility.as_str(),
        key.token_prefix,
        key.version,
        key.created.0,
        key.updated.0,
        key.expires.map(|at| at.0),
        key.rate_limit.map(|limit| (limit.quota, limit.window_s)),
        key.allowed_cidrs,
        revocation.map(|revocation| (revocation.reason.as_str(), &revocation.description)),
        key.extras.as_str(),
    ]);
    sha256(row.to_string().as_bytes())
}
