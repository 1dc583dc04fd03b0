//! Whoever does something, and the event that tells of it.

use bh_domain::keys::key::JsonObject;
use serde_json::Value;
use uuid::Uuid;

use super::Provenance;
use crate::ports::{AuditEvent, Clock};

/// Who does something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doer<'d> {
    /// Name of the admin key or caller.
    pub(crate) name: &'d str,
    /// Its role.
    pub(crate) role: &'d str,
    /// Where the request came from, which is told of by this.
    pub(crate) origin: &'d Provenance,
}

impl Doer<'_> {
    /// The event of something that is done now and changes no row; `detail` is an object, and never holds a secret.
    pub(crate) fn event(self, clock: &dyn Clock, action: &str, object: &str, detail: &Value) -> AuditEvent {
        let Self { name, role, origin } = self;
        AuditEvent {
            id: Uuid::now_v7(),
            at: clock.now(),
            action: action.to_owned(),
            object: object.to_owned(),
            actor: name.to_owned(),
            role: role.to_owned(),
            before_digest: None,
            after_digest: None,
            detail: JsonObject::parse(detail.to_string()).unwrap_or_default(),
            origin: origin.tell(clock.monotonic_ns()),
            told: None,
        }
    }
}
