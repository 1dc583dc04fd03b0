//! The audit trail as the stories see it: events are appended and read, never changed. What goes with time tells of what
//! nobody was let do, and of what was only read.
//!
//! Most events are written by whatever they tell of, in its own transaction; those of [`AuditStore::append_audit_events`]
//! tell of what changed nothing.

use bh_domain::audit::TrailFilter;
use bh_domain::keys::key::JsonObject;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::{OutboxEvent, StoreResult};

/// The most that the instant in an event's id and the event's own may be apart, in milliseconds: readers look up a span of
/// time by ids, and so much around it.
pub const EVENT_ID_SKEW_MS: i64 = 300_000;

/// Who did what to which object. Digests are of the object's row before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEvent {
    /// A UUID of version 7: events are listed in its order.
    pub id: Uuid,
    /// When.
    pub at: Timestamp,
    /// What was done, as a stable word: `key.revoked`.
    pub action: String,
    /// To what.
    pub object: String,
    /// By whom.
    pub actor: String,
    /// In which role.
    pub role: String,
    /// SHA-256 of what was there before.
    pub before_digest: Option<[u8; 32]>,
    /// SHA-256 of what is there now.
    pub after_digest: Option<[u8; 32]>,
    /// What else there is to say; never a secret.
    pub detail: JsonObject,
    /// Where the request came from that did it: see [`crate::audit::Provenance`].
    pub origin: JsonObject,
    /// What webhooks are told of it, written in the same transaction. Never read back.
    pub told: Option<OutboxEvent>,
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailOrder {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Events that one evidence record proves together (decision 27).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Names it, and with a word before it the record.
    pub id: Uuid,
    /// When it was made.
    pub made: Timestamp,
    /// Whether its events go with time.
    pub fading: bool,
}

/// The audit trails of all tenants.
pub trait AuditStore: Send + Sync + 'static {
    /// A tenant's events that pass a filter, in an order, after the one with this id; none with a scope that reaches
    /// everywhere.
    fn audit_events(
        &self,
        scope: Scope,
        filter: TrailFilter,
        order: TrailOrder,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<AuditEvent>>;
    /// All tenants' audit events, oldest first, after the one with this id. Operators and system jobs only. An event
    /// is seen once its change is durable, which may be after a younger one was: whoever follows the trail asks again
    /// from a little before the last one seen.
    fn audit_events_everywhere(
        &self,
        scope: Scope,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<(Nid, AuditEvent)>>;
    /// Writes events that belong to no change, in one transaction; one that is there already stays as it is, so that a
    /// call may be repeated. Another tenant's than the scope's are a fault.
    fn append_audit_events(&self, scope: Scope, events: Vec<(Nid, AuditEvent)>) -> StoreResult<()>;
    /// Removes at most `limit` of all tenants' oldest events of those that go with time, from before an instant, as their
    /// ids say it; how many. No other event is ever removed. System jobs only.
    fn forget_failures(&self, scope: Scope, before: Timestamp, limit: u32) -> StoreResult<u64>;
}

/// What makes audit events part of the evidence. System jobs only.
pub trait AnchorStore: Send + Sync + 'static {
    /// Gives an anchor to at most `limit` of all tenants' oldest events that have none and are of its kind; how many.
    /// Without any nothing is written.
    fn anchor_events(&self, scope: Scope, anchor: Anchor, limit: u32) -> StoreResult<u64>;
    /// All tenants' events of an anchor, in order of their ids.
    fn anchored_events(&self, scope: Scope, anchor: Uuid) -> StoreResult<Vec<(Nid, AuditEvent)>>;
    /// Anchors whose record is not known to be written, oldest first.
    fn open_anchors(&self, scope: Scope) -> StoreResult<Vec<Anchor>>;
    /// The record of an anchor is written.
    fn close_anchor(&self, scope: Scope, anchor: Uuid) -> StoreResult<()>;
    /// How many of all tenants' events have no anchor yet.
    fn unanchored_events(&self, scope: Scope) -> StoreResult<u64>;
}
