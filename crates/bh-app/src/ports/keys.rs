//! Keys and denied tokens as the stories see them.
//!
//! Every change writes its rows, the tenant's number of live keys and one audit event in one transaction. Whoever changes
//! a key reads it, decides, and asks the store to replace it where its revision is still the one that was read.

use bh_domain::keys::identity::Identity;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::verdict::KeyStatus;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use tokio::sync::broadcast;

use super::{AuditEvent, StoreResult};

/// The most keys that one call inserts.
pub const INSERT_MANY_MAX: usize = 1_000;

/// What became of a key that was to be inserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is stored.
    Created,
    /// Its `request_id` has made this key before; nothing was stored.
    Replayed(Box<Key>),
    /// Another key of its kind has its id; nothing was stored.
    Exists,
    /// The tenant has as many live keys as it may; nothing was stored.
    QuotaExceeded {
        /// How many live keys it has.
        used: u64,
    },
}

/// Which keys a list wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Whose.
    pub actor_id: Option<String>,
    /// In which state at `now`.
    pub status: Option<KeyStatus>,
    /// What tells active keys from expired ones.
    pub now: Timestamp,
}

/// What is due of a key's credits at an instant: a refill that the row waits for is made first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CreditsDue {
    /// The instant.
    pub now: Timestamp,
    /// How many there are after a refill, and when the next one is; `None` for a key without.
    pub refill: Option<(i64, Timestamp)>,
}

/// A change of a key's credits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreditsChange {
    /// So many; `None` for any number.
    Set(Option<i64>),
    /// So many more, or, below zero, less; never less than none.
    Add(i64),
}

/// A change of a key's credits that was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditsWanted {
    /// The change.
    pub change: CreditsChange,
    /// What is due before it.
    pub due: CreditsDue,
    /// The revision that the key had when it was decided on: a rotation since has moved its credits elsewhere.
    pub expected_revision: u64,
}

/// A key that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Whose key.
    pub nid: Nid,
    /// Which kind.
    pub kind: KeyKind,
    /// Which key.
    pub key_id: KeyId,
    /// When.
    pub at: Timestamp,
}

/// Tokens that are refused although their signature is good, until they would have ended anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Tenant.
    pub nid: Nid,
    /// What is denied: a token's id, or a key's, for all tokens derived from it. At most 255 bytes.
    pub subject: String,
    /// Denied before this instant.
    pub until: Timestamp,
}

/// What of the keys kept in memory may not be true any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// One key was made: nothing that was known of its id before can be of a good key.
    Made {
        /// Tenant.
        nid: Nid,
        /// Key, of either kind.
        key_id: KeyId,
    },
    /// One key was changed or removed.
    Key {
        /// Tenant.
        nid: Nid,
        /// Key, of either kind.
        key_id: KeyId,
    },
    /// Many keys of a tenant were made.
    Tenant(Nid),
    /// An identity was made, changed or removed.
    Identity {
        /// Tenant.
        nid: Nid,
        /// What its keys call it.
        external_id: String,
    },
    /// A tenant was made, or what it is given changed.
    Profile(Nid),
    /// Tokens are denied from now on.
    Denied(Denial),
    /// Nothing is heard from now on, until [`KeyChange::Everything`] says that it is again.
    Deaf,
    /// Anything: changes may have been missed. Read denials again, too.
    Everything,
}

/// Changes that were made since this value was made, by this process and others, in order.
#[derive(Debug)]
pub struct KeyChanges {
    first: Option<KeyChange>,
    receiver: broadcast::Receiver<KeyChange>,
}

impl KeyChanges {
    /// Changes as they are sent.
    #[must_use]
    pub fn new(receiver: broadcast::Receiver<KeyChange>) -> Self {
        Self { first: None, receiver }
    }

    /// The same, with a change before all others.
    #[must_use]
    pub fn after(self, first: KeyChange) -> Self {
        Self { first: Some(first), ..self }
    }

    /// Waits for the next change; `None` once the store is closed. Whoever is too slow to take them one by one is told
    /// [`KeyChange::Everything`]. May be dropped while it waits; nothing is lost by that.
    pub async fn next(&mut self) -> Option<KeyChange> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.receiver.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(KeyChange::Everything),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// The keys of all tenants.
///
/// A [`Scope`] must be one tenant's unless a method says otherwise. With a scope that reaches everywhere, reads find
/// nothing and changes are a fault.
pub trait KeyStore: Send + Sync + 'static {
    /// Keys by id, in no order; an unknown id is absent.
    fn keys(&self, scope: Scope, kind: KeyKind, ids: Vec<KeyId>) -> StoreResult<Vec<Key>>;
    /// The same, each with the identity that its actor names, if there is one: in one read.
    fn keys_with_identities(
        &self,
        scope: Scope,
        kind: KeyKind,
        ids: Vec<KeyId>,
    ) -> StoreResult<Vec<(Key, Option<Identity>)>>;
    /// Inserts a key if the tenant has fewer than `max` live ones of both kinds together (`None` for any number).
    fn insert(&self, scope: Scope, key: Key, max: Option<u64>, event: AuditEvent) -> StoreResult<Inserted>;
    /// Inserts at most [`INSERT_MANY_MAX`] keys of one kind, each with its event, in one transaction, each decided on its
    /// own and in order: what does not fit under `max` any more is refused. One answer for each key.
    fn insert_many(
        &self,
        scope: Scope,
        keys: Vec<(Key, AuditEvent)>,
        max: Option<u64>,
    ) -> StoreResult<Vec<Inserted>>;
    /// Replaces a key whose revision is still `expected_revision`; the row then has the next one. What others change
    /// meanwhile stays as it is: `last_used`, `credits` and `refills`. Who made it and when stays as well: `created`,
    /// `request_id`, `token_prefix`, `version` and `secret_digest`.
    fn replace(&self, scope: Scope, key: Key, expected_revision: u64, event: AuditEvent)
    -> StoreResult<bool>;
    /// Replaces `old` as [`KeyStore::replace`] does and inserts `new` beside it, both or neither. Credits that the
    /// stored row of `old` has left, and when they are replaced, move to `new`, whatever is given there. `new` as it was
    /// inserted; `None` when `old` is not at that revision any more, or when the id of `new` is taken.
    fn rotate(
        &self,
        scope: Scope,
        new: Key,
        old: Key,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<Option<Key>>;
    /// Removes a key for good; `false` when there is none.
    fn delete(&self, scope: Scope, kind: KeyKind, key_id: KeyId, event: AuditEvent) -> StoreResult<bool>;
    /// Keys in order of (created, id), newest first, after a place.
    fn list(
        &self,
        scope: Scope,
        kind: KeyKind,
        filter: KeyFilter,
        after: Option<(Timestamp, KeyId)>,
        limit: u32,
    ) -> StoreResult<Vec<Key>>;
    /// Remembers when keys were last used, each only if that is on a later day than the one remembered. For the job that
    /// collects uses: its scope reaches everywhere, or only its own tenant's uses count.
    fn touch(&self, scope: Scope, uses: Vec<KeyUse>) -> StoreResult<()>;
    /// Takes credits from a key, never below zero, in one statement. What is left; `None` when there are fewer than that,
    /// when the key has any number, or when there is no such key.
    fn spend_credits(
        &self,
        scope: Scope,
        kind: KeyKind,
        key_id: KeyId,
        cost: u64,
        due: CreditsDue,
    ) -> StoreResult<Option<i64>>;
    /// Changes a key's credits. `false` when there is no such key, when it is at another revision, when it has any number
    /// and some are to be added, or when it would have more than [`bh_domain::keys::credits::CREDITS_MAX`]. Like spending,
    /// it leaves the revision as it is.
    fn set_credits(
        &self,
        scope: Scope,
        kind: KeyKind,
        key_id: KeyId,
        wanted: CreditsWanted,
        event: AuditEvent,
    ) -> StoreResult<bool>;
    /// How many live keys of both kinds the tenant has, as counted.
    fn live_keys(&self, scope: Scope) -> StoreResult<u64>;

    /// Denies tokens; a denial is never shortened.
    fn deny(&self, scope: Scope, subject: String, until: Timestamp, event: AuditEvent) -> StoreResult<()>;
    /// Every denial that holds at `now`. System jobs only.
    fn denials_everywhere(&self, scope: Scope, now: Timestamp) -> StoreResult<Vec<Denial>>;
    /// Removes denials that ended before an instant; how many. System jobs only.
    fn forget_denials(&self, scope: Scope, before: Timestamp) -> StoreResult<u64>;

    /// Changes from now on, and [`KeyChange::Everything`] whenever listening starts. On PostgreSQL a change made by any
    /// process arrives; when the connection is lost [`KeyChange::Deaf`] says so. To be called on the runtime.
    fn key_changes(&self) -> KeyChanges;
}
