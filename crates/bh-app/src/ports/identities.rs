//! Identities as the stories see them.
//!
//! Every change writes its row and one audit event in one transaction, and is told as [`super::KeyChange::Identity`].

use bh_domain::keys::identity::{Identity, IdentityId};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;

use super::{AuditEvent, StoreResult};

/// The identities of all tenants. A [`Scope`] must be one tenant's: with one that reaches everywhere, reads find nothing
/// and changes are a fault.
pub trait IdentityStore: Send + Sync + 'static {
    /// An identity by its id.
    fn identity(&self, scope: Scope, id: IdentityId) -> StoreResult<Option<Identity>>;
    /// An identity by what its tenant calls it.
    fn identity_called(&self, scope: Scope, external_id: String) -> StoreResult<Option<Identity>>;
    /// Identities in order of (created, id), newest first, after a place.
    fn identities(
        &self,
        scope: Scope,
        after: Option<(Timestamp, IdentityId)>,
        limit: u32,
    ) -> StoreResult<Vec<Identity>>;
    /// Inserts an identity; `false` when its tenant has one that is called the same.
    fn insert_identity(&self, scope: Scope, identity: Identity, event: AuditEvent) -> StoreResult<bool>;
    /// Replaces metadata and limits of an identity whose revision is still `expected_revision`; the row then has the
    /// next one.
    fn replace_identity(
        &self,
        scope: Scope,
        identity: Identity,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<bool>;
    /// Removes an identity, and none of its keys; `false` when it is gone already.
    fn delete_identity(&self, scope: Scope, identity: Identity, event: AuditEvent) -> StoreResult<bool>;
}
