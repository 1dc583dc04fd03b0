//! The root key: what every secret of the installation's own is derived from. It is drawn once and never changes; a rotation
//! of the master key only wraps it anew (decision 26).

use bh_domain::evidence::hex;
use bh_domain::time::Timestamp;

use super::masters::Masters;
use super::seal::{SealingKey, derived};
use crate::ports::{KeyRef, KeyState, StoreFault, VaultStore};

/// What the root is recognised by is derived for this purpose: as the master key was, when it was the root itself.
const CHECK: &str = "master key";

/// The installation's root key.
#[derive(Debug)]
pub struct RootKey(SealingKey);

/// Why the root key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UnlockFault {
    /// The store does not answer.
    #[error("the store cannot be used")]
    Store(#[from] StoreFault),
    /// No known master key opens it.
    #[error("no master key that is known here opens this store")]
    WrongMaster,
    /// There is nothing to make it from.
    #[error("the machine has no randomness to make secrets from")]
    NoRandomness,
}

impl RootKey {
    /// The key for one purpose.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        derived(self.0.bytes(), purpose)
    }

    fn check(&self) -> String {
        hex::encode(&self.derive(CHECK))
    }
}

/// The root key of a store: opened, or made where there is none yet.
///
/// A store that was made when the master key was the root keeps it as its root: what was derived from it stays as it is.
///
/// # Errors
/// [`UnlockFault`].
pub async fn unlock(
    store: &dyn VaultStore,
    masters: &Masters,
    now: Timestamp,
) -> Result<RootKey, UnlockFault> {
    loop {
        let stored = store.stored_root().await?;
        if let Some(row) = &stored.key {
            let master = masters.find(&row.master_id).ok_or(UnlockFault::WrongMaster)?;
            let root = RootKey(master.unwrap(row).ok_or(UnlockFault::WrongMaster)?);
            let ring = masters.ring();
            if ring.current.id() != row.master_id {
                tracing::warn!(
                    in_force = row.master_id,
                    current = ring.current.id(),
                    "the current master key is not in force: run `bulkhead secrets rotate-master`"
                );
            }
            let known = stored.check.is_none_or(|check| check == root.check());
            return if known { Ok(root) } else { Err(UnlockFault::WrongMaster) };
        }
        let ring = masters.ring();
        let (master, root) = match stored.check {
            Some(check) => {
                let mut roots = ring.all().map(|master| (master, RootKey(master.as_root())));
                roots.find(|(_, root)| root.check() == check).ok_or(UnlockFault::WrongMaster)?
            }
            None => (&ring.current, RootKey(SealingKey::random().ok_or(UnlockFault::NoRandomness)?)),
        };
        let row = master.wrap((KeyRef::ROOT, KeyState::Current), &root.0, now);
        if store.keep_root(row.ok_or(UnlockFault::NoRandomness)?, root.check()).await? {
            return Ok(root);
        }
        // Another process was faster: its root is there now.
    }
}
