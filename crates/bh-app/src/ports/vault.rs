//! The sealed store, as the stories see it: keys that only ever leave the process wrapped, and secrets that only ever leave
//! it sealed.
//!
//! Version 0 of [`Nid::SYSTEM`] is the installation's root key. The master key that wraps it is the one in force: nothing is
//! wrapped by another one from then on.

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::{AuditEvent, StoreResult};

/// Names a key: whose it is, and which of its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRef {
    /// The tenant, or [`Nid::SYSTEM`].
    pub nid: Nid,
    /// From 1; 0 is the root key.
    pub version: u64,
}

impl KeyRef {
    /// The root key.
    pub const ROOT: Self = Self { nid: Nid::SYSTEM, version: 0 };
}

/// What has become of a data key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// What is sealed now is sealed with it.
    Current,
    /// A newer one has taken its place; secrets may still be sealed with it.
    Retiring,
    /// No secret is sealed with it any more; prompts may be.
    Retired,
}

impl KeyState {
    /// Its number in the store.
    #[must_use]
    pub fn number(self) -> i64 {
        match self {
            Self::Current => 0,
            Self::Retiring => 1,
            Self::Retired => 2,
        }
    }

    /// The state with this number.
    #[must_use]
    pub fn of(number: i64) -> Option<Self> {
        [Self::Current, Self::Retiring, Self::Retired].into_iter().find(|state| state.number() == number)
    }
}

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which one.
    pub id: KeyRef,
    /// What has become of it.
    pub state: KeyState,
    /// The key, sealed by a master key.
    pub wrapped: Vec<u8>,
    /// Which master key.
    pub master_id: String,
    /// When it was made.
    pub created: Timestamp,
}

/// What a store was made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRoot {
    /// The root key; `None` in a store that has none yet.
    pub key: Option<WrappedKey>,
    /// What is remembered to recognise it by; without a root key, to recognise the master key by, which then is the root.
    pub check: Option<String>,
}

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// Whose.
    pub nid: Nid,
    /// Its name.
    pub name: String,
    /// The data key that seals it.
    pub key: KeyRef,
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// What may be told of it: a JSON object.
    pub metadata: String,
    /// When it was first stored.
    pub created: Timestamp,
    /// When it was last stored.
    pub updated: Timestamp,
    /// How often it was stored.
    pub revision: u64,
}

/// What became of a data key that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAdded {
    /// It is stored, and its predecessor retires.
    Added,
    /// Somebody else has added one meanwhile.
    Exists,
    /// Another master key is in force than the one that wraps it.
    MasterChanged,
    /// The tenant was deleted.
    TenantGone,
}

/// What became of a secret that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretStored {
    /// It is stored, for the first time.
    Created,
    /// It is stored in place of an older one.
    Replaced,
    /// Its key is not the current one any more.
    KeyRetired,
    /// The tenant was deleted.
    TenantGone,
    /// The tenant has as many secrets as it may have.
    Full,
}

/// Wrapped keys and sealed secrets. Keys are read by system jobs, secrets within a tenant's scope.
pub trait VaultStore: Send + Sync + 'static {
    /// What the store was made with.
    fn stored_root(&self) -> StoreResult<StoredRoot>;
    /// Keeps the root key of a store that has none, and what it is recognised by; `false` when it has one.
    fn keep_root(&self, key: WrappedKey, check: String) -> StoreResult<bool>;
    /// One key.
    fn key(&self, scope: Scope, id: KeyRef) -> StoreResult<Option<WrappedKey>>;
    /// The newest data key of a tenant or, for [`Nid::SYSTEM`], of all who have none of their own.
    fn newest_key(&self, scope: Scope, owner: Nid) -> StoreResult<Option<WrappedKey>>;
    /// Adds the successor of `key.id.version - 1`, for something of `tenant`, if its master key is in force.
    fn add_key(
        &self,
        scope: Scope,
        key: WrappedKey,
        tenant: Nid,
        event: Option<AuditEvent>,
    ) -> StoreResult<KeyAdded>;
    /// Keys after one, in order of their ids.
    fn keys_after(&self, scope: Scope, after: Option<KeyRef>, limit: u32) -> StoreResult<Vec<WrappedKey>>;
    /// Keys that a master key wraps.
    fn keys_of_master(&self, scope: Scope, master_id: String, limit: u32) -> StoreResult<Vec<WrappedKey>>;
    /// Puts the root key in place of the one that `from` wraps: another master key is in force then. `false` when that is
    /// not what is stored.
    fn rewrap_root(
        &self,
        scope: Scope,
        key: WrappedKey,
        from: String,
        event: AuditEvent,
    ) -> StoreResult<bool>;
    /// Puts keys in place of those that `from` wraps. A key that has changed meanwhile stays as it is; `None`, and nothing
    /// is changed, when the master key that wraps the new ones is not in force.
    fn rewrap(&self, scope: Scope, keys: Vec<WrappedKey>, from: String) -> StoreResult<Option<u64>>;
    /// Keys whose secrets are still to be sealed anew: an owner's, or all.
    fn retiring_keys(&self, scope: Scope, owner: Option<Nid>, limit: u32) -> StoreResult<Vec<KeyRef>>;
    /// Says that no secret is sealed with a key any more; `false` when one is.
    fn key_retired(&self, scope: Scope, id: KeyRef) -> StoreResult<bool>;

    /// Stores a secret, unless its tenant has `max` others.
    fn put_secret(
        &self,
        scope: Scope,
        secret: SecretRow,
        max: u64,
        event: AuditEvent,
    ) -> StoreResult<SecretStored>;
    /// The scope's own secret of this name.
    fn secret(&self, scope: Scope, name: String) -> StoreResult<Option<SecretRow>>;
    /// The scope's own secrets by name, after one.
    fn secrets(&self, scope: Scope, after: String, limit: u32) -> StoreResult<Vec<SecretRow>>;
    /// Removes a secret; `false` when there is none.
    fn delete_secret(&self, scope: Scope, name: String, event: AuditEvent) -> StoreResult<bool>;
    /// All tenants' secrets in order of tenant and name, after one. System jobs only.
    fn secrets_everywhere(
        &self,
        scope: Scope,
        after: Option<(Nid, String)>,
        limit: u32,
    ) -> StoreResult<Vec<SecretRow>>;
    /// Secrets that a key seals, of all tenants, in the same order. System jobs only.
    fn secrets_of_key(
        &self,
        scope: Scope,
        key: KeyRef,
        after: Option<(Nid, String)>,
        limit: u32,
    ) -> StoreResult<Vec<SecretRow>>;
    /// Puts secrets, sealed anew, in place of those that `from` seals; one that was stored meanwhile stays as it is. `None`,
    /// and nothing is changed, when the key that seals them is not a current one.
    fn reseal(&self, scope: Scope, secrets: Vec<SecretRow>, from: KeyRef) -> StoreResult<Option<u64>>;
    /// Removes at most about `limit` prompts and answers of tenants that were deleted; how many.
    fn forget_contents_of_deleted(&self, scope: Scope, limit: u32) -> StoreResult<u64>;
}
