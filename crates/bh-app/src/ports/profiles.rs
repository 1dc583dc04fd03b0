//! Tenants that are rows, as the stories see them.
//!
//! Every change writes its row and one audit event in one transaction, and is told as [`super::KeyChange::Profile`].

use bh_domain::keys::key::{Key, KeyId};
use bh_domain::tenant::profile::Profile;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::{AuditEvent, StoreResult};

/// What became of a tenant that was to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is stored, with its key.
    Created,
    /// There is one of that name; nothing was stored.
    Exists,
    /// The name belongs to a tenant that is no row: one that a configuration has named, now or before, under this
    /// network id. Nothing was stored.
    Known(Nid),
    /// A host name of it leads to another tenant that is a row; nothing was stored.
    HostTaken(String),
}

/// What became of a profile that was to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is stored.
    Done,
    /// It is not what it was any more; nothing was stored.
    Outdated,
    /// A host name of it leads to another tenant that is a row; nothing was stored.
    HostTaken(String),
}

/// A key that takes the place of a tenant's first one.
#[derive(Clone, Debug)]
pub enum KeyTurn {
    /// A new one: the old one is gone or over.
    Fresh {
        /// The new key.
        new: Box<Key>,
        /// What the trail says of it.
        event: AuditEvent,
    },
    /// The old one's successor.
    Rotated {
        /// The new key.
        new: Box<Key>,
        /// The old one, as it is then.
        old: Box<Key>,
        /// What revision it must have until then.
        old_revision: u64,
        /// What the trail says of it.
        event: AuditEvent,
    },
}

/// The tenants that were made at run time.
pub trait ProfileStore: Send + Sync + 'static {
    /// Profiles that changed at `since` or later, in order of network id, after one. System jobs only.
    fn profiles_everywhere(
        &self,
        scope: Scope,
        since: Timestamp,
        after: Option<Nid>,
        limit: u32,
    ) -> StoreResult<Vec<Profile>>;
    /// The scope's own profile.
    fn profile(&self, scope: Scope) -> StoreResult<Option<Profile>>;
    /// Makes a tenant with its first key: its name, its row, the key and the events of both, or nothing.
    fn make_tenant(&self, profile: Profile, key: Key, events: [AuditEvent; 2]) -> StoreResult<Made>;
    /// Replaces the profile whose revision is still `expected_revision`; the row then has the next one. A host name is one
    /// tenant's; those of a deleted tenant are free again.
    fn replace_profile(
        &self,
        scope: Scope,
        profile: Profile,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<Replaced>;
    /// The same, together with a new key; nothing unless both are what they were. Host names stay as they are.
    fn replace_profile_and_key(
        &self,
        scope: Scope,
        profile: Profile,
        expected_revision: u64,
        key: KeyTurn,
        event: AuditEvent,
    ) -> StoreResult<bool>;
    /// Whose issued keys these are; those that are nobody's are left out. System jobs only.
    fn owners_of_keys(&self, scope: Scope, ids: Vec<KeyId>) -> StoreResult<Vec<(KeyId, Nid)>>;
}
