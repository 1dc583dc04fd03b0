//! Data keys: made when something is first sealed, and had by whoever knows the master key.

use std::sync::Arc;

use bh_domain::refusal::Refusal;
use bh_domain::tenant::{Nid, Scope};

use super::masters::MasterKey;
use super::seal::{Place, SealingKey};
use super::{TRIES_MAX, Vault, changed_too_often, gone, locked, no_randomness};
use crate::ports::{AuditEvent, ContentRow, KeyAdded, KeyRef, KeyState, StoredContent, WrappedKey};

/// How long a data key seals prompts before the store is asked whether it still is the current one.
const CONTENT_KEY_NS: u64 = 60_000_000_000;
/// Prompts and answers that are removed in one transaction.
const STEP_CONTENTS: u32 = 1_000;

/// A data key, opened.
#[derive(Debug)]
pub struct DataKey {
    pub(super) id: KeyRef,
    pub(super) key: SealingKey,
}

impl DataKey {
    /// Seals a prompt or an answer; `None` when the machine has no randomness.
    #[must_use]
    pub fn seal_content(
        &self,
        nid: Nid,
        record_id: &str,
        kind: &'static str,
        plain: &[u8],
    ) -> Option<ContentRow> {
        let sealed = self.key.seal(&content_place(nid, record_id, kind, self.id), plain)?;
        Some(ContentRow { nid, record_id: record_id.to_owned(), kind, sealed, key: Some(self.id) })
    }
}

fn content_place(nid: Nid, record_id: &str, kind: &str, key: KeyRef) -> Place {
    Place::of(&[&"content", &nid, &record_id, &kind, &key.nid, &key.version])
}

pub(super) fn scope() -> Scope {
    Scope::system("open data keys")
}

impl Vault {
    /// The data key that seals this tenant's prompts and answers.
    ///
    /// # Errors
    /// `evidence_unavailable`; `master_key_unknown`; `tenant_not_found` for one that was deleted.
    pub async fn content_key(&self, tenant: Nid) -> Result<Arc<DataKey>, Refusal> {
        let now = self.0.parts.clock.monotonic_ns();
        if let Some((key, until)) = self.0.content_keys.get(&tenant)
            && now < until
        {
            return Ok(key);
        }
        let key = Arc::new(self.current_key(tenant).await?);
        self.0.content_keys.insert(tenant, (Arc::clone(&key), now.saturating_add(CONTENT_KEY_NS)));
        Ok(key)
    }

    /// A kept prompt or answer; `None` when its key is destroyed, or it was changed or moved.
    ///
    /// # Errors
    /// `evidence_unavailable`; `master_key_unknown`.
    pub async fn open_content(
        &self,
        nid: Nid,
        record_id: &str,
        content: &StoredContent,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let StoredContent { kind, key, sealed } = content;
        let Some(id) = *key else {
            return Ok(self.0.parts.old_content.open(nid, record_id, kind, sealed));
        };
        let row = self.store().key(scope(), id).await.map_err(|fault| fault.refusal())?;
        let Some(row) = row else { return Ok(None) };
        let Some(key) = self.open_key(&row)? else { return Ok(None) };
        let plain = key.key.open(&content_place(nid, record_id, kind, id), sealed);
        Ok(plain.map(|plain| plain.to_vec()))
    }

    /// Removes prompts and answers of tenants that were deleted: what the installation's key or a shared one seals could be
    /// read otherwise. How many.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget_contents_of_deleted(&self) -> Result<u64, Refusal> {
        let mut forgotten = 0;
        loop {
            let step = self.store().forget_contents_of_deleted(scope(), STEP_CONTENTS).await;
            let step = step.map_err(|fault| fault.refusal())?;
            forgotten += step;
            if step < u64::from(STEP_CONTENTS) {
                return Ok(forgotten);
            }
        }
    }

    /// The data key that seals what is this tenant's; made when there is none yet.
    pub(super) async fn current_key(&self, tenant: Nid) -> Result<DataKey, Refusal> {
        let owner = self.owner(tenant);
        for _ in 0..TRIES_MAX {
            let newest = self.store().newest_key(scope(), owner).await.map_err(|fault| fault.refusal())?;
            if let Some(row) = newest {
                let opened = self.open_key(&row)?;
                return opened.ok_or_else(|| unreadable_key(row.id));
            }
            let first = KeyRef { nid: owner, version: 1 };
            if let Some(made) = self.add_key(first, tenant, None).await? {
                return Ok(made);
            }
        }
        Err(changed_too_often())
    }

    /// Makes a data key in place of the version before it; `None` when somebody else has.
    pub(super) async fn add_key(
        &self,
        id: KeyRef,
        tenant: Nid,
        event: Option<AuditEvent>,
    ) -> Result<Option<DataKey>, Refusal> {
        for _ in 0..TRIES_MAX {
            let master = self.master_in_force().await?;
            let key = SealingKey::random().ok_or_else(no_randomness)?;
            let row = master.wrap((id, KeyState::Current), &key, self.0.parts.clock.now());
            let row = row.ok_or_else(no_randomness)?;
            let added = self.store().add_key(scope(), row, tenant, event.clone()).await;
            match added.map_err(|fault| fault.refusal())? {
                KeyAdded::Added => return Ok(Some(DataKey { id, key })),
                KeyAdded::Exists => return Ok(None),
                KeyAdded::TenantGone => return Err(gone()),
                KeyAdded::MasterChanged => {}
            }
        }
        Err(changed_too_often())
    }

    /// Opens a data key; `None` when it was changed.
    ///
    /// # Errors
    /// `master_key_unknown`.
    pub(super) fn open_key(&self, row: &WrappedKey) -> Result<Option<DataKey>, Refusal> {
        let master = self.0.parts.masters.find(&row.master_id).ok_or_else(|| locked(&row.master_id))?;
        Ok(master.unwrap(row).map(|key| DataKey { id: row.id, key }))
    }

    /// The root key's row: the one that says which master key is in force.
    pub(super) async fn root_row(&self) -> Result<WrappedKey, Refusal> {
        let stored = self.store().stored_root().await.map_err(|fault| fault.refusal())?;
        stored.key.ok_or_else(|| unreadable_key(KeyRef::ROOT))
    }

    async fn master_in_force(&self) -> Result<Arc<MasterKey>, Refusal> {
        let root = self.root_row().await?;
        self.0.parts.masters.find(&root.master_id).ok_or_else(|| locked(&root.master_id))
    }
}

pub(super) fn unreadable_key(id: KeyRef) -> Refusal {
    use bh_domain::refusal::Code;
    tracing::error!(nid = %id.nid, version = id.version, "a stored data key is not what was stored");
    let message = "The data key in the store is not what was stored there: restore it from a backup";
    Refusal::new(Code::SecretUnreadable, message)
}
