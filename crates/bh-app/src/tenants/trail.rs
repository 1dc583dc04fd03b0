//! What the audit trail and webhooks say of a tenant's changes.

use bh_domain::keys::key::KeyId;
use bh_domain::tenant::profile::Profile;
use bh_domain::webhook::{self, EventKind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Actor, TenantStory, TenantView};
use crate::audit::Doer;
use crate::ports::{AuditEvent, OutboxEvent};

impl TenantStory {
    pub(super) fn event(
        &self,
        actor: &Actor,
        action: &'static str,
        before: Option<&Profile>,
        after: Option<&Profile>,
    ) -> AuditEvent {
        let id = after.or(before).map_or_else(String::new, |profile| profile.id.to_string());
        let by = Doer { name: &actor.name, role: actor.role, origin: &actor.origin };
        let event = by.event(self.0.clock.as_ref(), action, &id, &json!({}));
        let told = kind_of(action).zip(after).and_then(|(kind, profile)| self.told(kind, event.id, profile));
        AuditEvent { before_digest: before.map(digest), after_digest: after.map(digest), told, ..event }
    }

    /// What webhooks are told of a tenant that changed: what holds for it by now.
    fn told(&self, kind: EventKind, event_id: Uuid, profile: &Profile) -> Option<OutboxEvent> {
        let view = TenantView::of_row(&self.0.live.load(), profile);
        let Ok(Value::Object(mut data)) = serde_json::to_value(view) else { return None };
        // These are the operator's own business.
        data.retain(|member, _| !matches!(member.as_str(), "metadata" | "security"));
        let (id, of) = (webhook::id_from(event_id), (profile.nid, Some(&profile.id)));
        self.0.outbox.event(kind, of, id, self.0.clock.now(), data)
    }
}

/// What webhooks call a change; `None` for what the key's own event tells.
fn kind_of(action: &str) -> Option<EventKind> {
    let kinds = [
        ("tenant.created", EventKind::TenantCreated),
        ("tenant.updated", EventKind::TenantUpdated),
        ("tenant.suspended", EventKind::TenantSuspended),
        ("tenant.resumed", EventKind::TenantResumed),
        ("tenant.deleted", EventKind::TenantDeleted),
    ];
    kinds.into_iter().find(|(named, _)| *named == action).map(|(_, kind)| kind)
}

/// SHA-256 of everything that a profile says.
fn digest(profile: &Profile) -> [u8; 32] {
    let row = json!([
        profile.id.as_str(),
        profile.status.as_str(),
        profile.settings,
        profile.api_key.as_ref().map(KeyId::as_str),
        profile.created.0,
        profile.updated.0,
    ]);
    bh_domain::hash::sha256(row.to_string().as_bytes())
}
