//! What the audit log says of a change.

use std::net::IpAddr;

use bh_domain::audit::{IMPORT_FAILED, VERIFICATION_FAILED};
use bh_domain::hash::sha256;
use bh_domain::keys::identity::Identity;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::webhook::{self, EventKind};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Asker, KeyStory};
use crate::audit::{Doer, Failure};
use crate::metrics::CredentialType;
use crate::ports::{AuditEvent, OutboxEvent};
use crate::snapshot::Tenant;

/// A change, as the audit log names it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Issued,
    Imported,
    Updated,
    CreditsUpdated,
    Rotated,
    Revoked,
    Deleted,
    Enabled,
    Disabled,
    TokensDenied,
    TokenDerived,
    ImportFailed,
    IdentityCreated,
    IdentityUpdated,
    IdentityDeleted,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "key.issued",
            Self::Imported => "key.imported",
            Self::Updated => "key.updated",
            Self::CreditsUpdated => "key.credits_updated",
            Self::Rotated => "key.rotated",
            Self::Revoked => "key.revoked",
            Self::Deleted => "key.deleted",
            Self::Enabled => "key.enabled",
            Self::Disabled => "key.disabled",
            Self::TokensDenied => "key.tokens_denied",
            Self::TokenDerived => "key.token_derived",
            Self::ImportFailed => IMPORT_FAILED,
            Self::IdentityCreated => "identity.created",
            Self::IdentityUpdated => "identity.updated",
            Self::IdentityDeleted => "identity.deleted",
        }
    }
}

/// How the actions of requests begin that changed nothing.
const REQUESTS: &str = "request.";

/// Whether an action may have left older rows of its object behind, in memory outside this process. Not one that made a
/// key, nor one that changes no row. An action that this version does not know may have.
pub(super) fn outdates_rows(action: &str) -> bool {
    let harmless = [
        Action::Issued,
        Action::Imported,
        Action::TokenDerived,
        Action::ImportFailed,
        // Shared memory keeps keys, and not whom they belong to.
        Action::IdentityCreated,
        Action::IdentityUpdated,
        Action::IdentityDeleted,
    ];
    let of_requests = action.starts_with(REQUESTS);
    action != VERIFICATION_FAILED
        && !of_requests
        && harmless.iter().all(|harmless| harmless.as_str() != action)
}

/// An id that comes before those of all events since an instant.
pub(super) fn before(at: Timestamp) -> Uuid {
    uuid::Builder::from_unix_timestamp_millis(u64::try_from(at.0).unwrap_or(0), &[0; 10]).into_uuid()
}

impl Action {
    /// What webhooks are told of it; `None` for what is no change of a key.
    fn kind(self) -> Option<EventKind> {
        match self {
            Self::Issued | Self::Imported => Some(EventKind::KeyCreated),
            Self::Updated | Self::CreditsUpdated | Self::Enabled | Self::Disabled => {
                Some(EventKind::KeyUpdated)
            }
            Self::Rotated => Some(EventKind::KeyRotated),
            Self::Revoked => Some(EventKind::KeyRevoked),
            Self::Deleted => Some(EventKind::KeyDeleted),
            Self::TokensDenied
            | Self::TokenDerived
            | Self::ImportFailed
            | Self::IdentityCreated
            | Self::IdentityUpdated
            | Self::IdentityDeleted => None,
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
        let event = AuditEvent {
            before_digest: before.map(row_digest),
            after_digest: after.map(row_digest),
            ..self.plain_event(asker, action, key_id.as_str(), &json!({}))
        };
        let told = action.kind().zip(after.or(before));
        let told = told.and_then(|(kind, key)| self.told(asker, kind, &event, key));
        AuditEvent { told, ..event }
    }

    /// What webhooks are told of a change of a key: nothing that lets anybody use it.
    fn told(&self, asker: &Asker, kind: EventKind, event: &AuditEvent, key: &Key) -> Option<OutboxEvent> {
        let mut data = Map::new();
        let mut tell = |name: &str, value: Value| data.insert(name.to_owned(), value);
        tell("keyId", event.object.as_str().into());
        if key.key_id.as_str() != event.object {
            tell("newKeyId", key.key_id.as_str().into());
        }
        tell("kind", kind_text(key.kind).into());
        tell("name", key.name.as_str().into());
        tell("action", event.action.as_str().into());
        tell("actor", event.actor.as_str().into());
        tell("role", event.role.as_str().into());
        tell("auditEventId", event.id.to_string().into());
        let Tenant { nid, id, .. } = &*asker.tenant;
        self.0.parts.outbox.event(kind, (*nid, Some(id)), webhook::id_from(event.id), event.at, data)
    }

    /// The event of one change of an identity, to be written with it.
    pub(super) fn identity_event(
        &self,
        asker: &Asker,
        action: Action,
        before: Option<&Identity>,
        after: Option<&Identity>,
    ) -> AuditEvent {
        let object = after.or(before).map_or_else(String::new, |identity| identity.id.to_string());
        AuditEvent {
            before_digest: before.filter(|before| before.is_whole).map(identity_digest),
            after_digest: after.map(identity_digest),
            ..self.plain_event(asker, action, &object, &json!({}))
        }
    }

    /// An event of something that changes no row.
    pub(super) fn plain_event(
        &self,
        asker: &Asker,
        action: Action,
        object: &str,
        detail: &Value,
    ) -> AuditEvent {
        let by = Doer { name: &asker.actor, role: asker.role, origin: &asker.origin };
        by.event(self.0.parts.clock.as_ref(), action.as_str(), object, detail)
    }

    /// Tells the trail of a credential that was not good. A store that did not answer says nothing about it.
    pub(crate) fn failed(
        &self,
        nid: Nid,
        of: CredentialType,
        code: VerificationError,
        key_id: Option<&str>,
        address: Option<IpAddr>,
    ) {
        if code != VerificationError::Internal {
            self.0.parts.trail.failed(Failure { nid, code, of, key_id, address });
        }
    }
}

fn kind_text(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Issued => "issued",
        KeyKind::Imported => "imported",
    }
}

/// SHA-256 of everything that an identity says.
fn identity_digest(identity: &Identity) -> [u8; 32] {
    let row = json!([
        identity.id.to_string(),
        identity.external_id,
        identity.metadata.as_str(),
        identity.rate_limits,
        identity.created.0,
        identity.updated.0,
    ]);
    sha256(row.to_string().as_bytes())
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
