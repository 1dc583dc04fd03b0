//! The outbox: events on their way to webhooks.
//!
//! An event is written in the transaction of what it tells of, with one delivery for each endpoint that wants it. From
//! then on it is nobody's memory that matters: whichever process finds a delivery due takes it for a while, sends it, and
//! says what became of it. One that dies meanwhile is not waited for: what it had taken is due again when its time is over.

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use bh_domain::webhook::EventKind;

use super::{Holder, StoreResult};

/// Something that happened, and who is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEvent {
    /// The tenant; [`Nid::SYSTEM`] for the installation's own.
    pub nid: Nid,
    /// Names the event for good, at every endpoint. An event that is there already is not written again.
    pub id: String,
    /// What it tells of.
    pub kind: EventKind,
    /// When it happened.
    pub at: Timestamp,
    /// The body of every delivery, as it is signed and sent: JSON.
    pub payload: String,
    /// The endpoints that are told, by id.
    pub endpoints: Vec<String>,
}

/// What has become of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It waits for its next attempt, or is being attempted.
    Pending,
    /// The endpoint took it.
    Delivered,
    /// It was given up: a dead letter.
    Dead,
}

impl DeliveryState {
    /// Its word, in the store and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    /// The state that a word means.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Dead].into_iter().find(|state| state.as_str() == word)
    }
}

/// An event as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEvent {
    /// The tenant, or [`Nid::SYSTEM`].
    pub nid: Nid,
    /// Its id.
    pub id: String,
    /// The word of its kind, also of one that this version does not know.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The body of its deliveries.
    pub payload: String,
}

impl From<OutboxEvent> for StoredEvent {
    fn from(event: OutboxEvent) -> Self {
        let OutboxEvent { nid, id, kind, at, payload, .. } = event;
        Self { nid, id, kind: kind.as_str().to_owned(), at, payload }
    }
}

/// A delivery as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDelivery {
    /// The event's tenant.
    pub nid: Nid,
    /// Which event.
    pub event_id: String,
    /// To which endpoint.
    pub endpoint: String,
    /// When the event happened.
    pub event_at: Timestamp,
    /// What has become of it.
    pub state: DeliveryState,
    /// Attempts begun since it was last asked for.
    pub attempts: u32,
    /// When it is due, while it is pending. One that is being attempted is due when its time is over.
    pub next_at: Timestamp,
    /// The end of the last attempt.
    pub last_at: Option<Timestamp>,
    /// The status that the endpoint last answered with.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

/// A delivery that this process has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenDelivery {
    /// The event's tenant.
    pub nid: Nid,
    /// Which event.
    pub event_id: String,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// What is sent.
    pub payload: String,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// What becomes of the delivery.
    pub state: DeliveryState,
    /// When it is due again, if it is.
    pub next_at: Timestamp,
    /// The end of the attempt.
    pub at: Timestamp,
    /// What the endpoint answered.
    pub status: Option<u16>,
    /// Why it failed.
    pub error: Option<String>,
}

/// Which events a list wants, all conditions together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxFilter {
    /// Of one tenant.
    pub nid: Option<Nid>,
    /// Of one kind.
    pub kind: Option<EventKind>,
    /// With a delivery in this state.
    pub state: Option<DeliveryState>,
}

/// A place in a list: what comes after it is older.
pub type OutboxPlace = (Timestamp, String, String);

/// What waits, and what was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// When the oldest event happened that is not delivered yet.
    pub oldest_pending: Option<Timestamp>,
    /// Dead letters, counted up to a bound.
    pub dead: u64,
}

/// How many deliveries of an endpoint are in a state, counted up to a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// On their way.
    pub pending: u64,
    /// Given up.
    pub dead: u64,
}

/// Events and their deliveries. Everything here is for operators and system jobs: a [`Scope`] that is one tenant's reads
/// that tenant's alone.
pub trait OutboxStore: Send + Sync + 'static {
    /// Writes events that belong to no other change; for each, whether it was not there before.
    fn append_outbox(&self, scope: Scope, events: Vec<OutboxEvent>) -> StoreResult<Vec<bool>>;
    /// Writes events that tell of closed periods, each unless its period was closed before, also when the event that told of
    /// it is forgotten by now; for each, when it was closed before.
    fn close_periods(&self, scope: Scope, events: Vec<OutboxEvent>) -> StoreResult<Vec<Option<Timestamp>>>;
    /// Takes at most `limit` deliveries of an endpoint that are due at `now`, until an instant: no other process has them
    /// until then.
    fn take_deliveries(
        &self,
        holder: Holder,
        endpoint: String,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> StoreResult<Vec<TakenDelivery>>;
    /// Says how an attempt ended; `false` when the delivery is not this attempt's any more.
    fn end_attempt(
        &self,
        holder: Holder,
        endpoint: String,
        taken: TakenDelivery,
        end: AttemptEnd,
    ) -> StoreResult<bool>;
    /// Events, newest first, after a place.
    fn outbox_events(
        &self,
        scope: Scope,
        filter: OutboxFilter,
        after: Option<OutboxPlace>,
        limit: u32,
    ) -> StoreResult<Vec<StoredEvent>>;
    /// One event and its deliveries, by endpoint.
    fn outbox_event(
        &self,
        scope: Scope,
        id: String,
    ) -> StoreResult<Option<(StoredEvent, Vec<StoredDelivery>)>>;
    /// Dead letters, the newest event's first, after a place; of one tenant, or of all.
    fn dead_letters(
        &self,
        scope: Scope,
        nid: Option<Nid>,
        after: Option<OutboxPlace>,
        limit: u32,
    ) -> StoreResult<Vec<(StoredDelivery, String)>>;
    /// Has an event delivered again to these endpoints, from the first attempt on, also to one that was not told before.
    /// A delivery that is being attempted is left alone. How many deliveries are due now.
    fn redeliver(&self, event: StoredEvent, endpoints: Vec<String>, now: Timestamp) -> StoreResult<u64>;
    /// What waits and what was given up.
    fn backlog(&self, scope: Scope) -> StoreResult<Backlog>;
    /// How many deliveries of an endpoint wait and were given up.
    fn endpoint_counts(&self, scope: Scope, endpoint: String) -> StoreResult<EndpointCounts>;
    /// Removes at most about `limit` of the oldest events from before an instant, with their deliveries; how many.
    fn forget_outbox(&self, scope: Scope, before: Timestamp, limit: u32) -> StoreResult<u64>;
    /// How far a job has come, as a short text; `None` before it ever began.
    fn progress(&self, job: &'static str) -> StoreResult<Option<String>>;
    /// A job has come so far.
    fn set_progress(&self, job: &'static str, value: String) -> StoreResult<()>;
}
