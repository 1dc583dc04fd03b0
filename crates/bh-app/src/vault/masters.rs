//! Master keys: what wraps every other key. They are in no database.
//!
//! A process knows a ring of them: the one that it wants in force, and older ones. Which one is in force is a fact of the
//! store, told by the root key's row; every process follows it (decision 26).

use std::sync::Arc;

use arc_swap::ArcSwap;
use bh_domain::evidence::hex;
use bh_domain::time::Timestamp;
use secrecy::zeroize::Zeroizing;

use super::seal::{Place, SealingKey, derived};
use crate::ports::{KeyRef, KeyState, WrappedKey};

/// Bytes of a digest that name a master key.
const ID_BYTES: usize = 8;

/// A master key.
pub struct MasterKey {
    id: String,
    bytes: Zeroizing<[u8; 32]>,
    wrapping: SealingKey,
}

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MasterKey").field(&self.id).finish()
    }
}

impl MasterKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        let digest = derived(&bytes, "master key id");
        let id = hex::encode(digest.get(..ID_BYTES).unwrap_or_default());
        Self { id, wrapping: SealingKey::new(derived(&bytes, "key wrapping")), bytes: Zeroizing::new(bytes) }
    }

    /// What names it wherever it is told of; nothing follows from it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The root key of an installation that was made when the master key was the root itself.
    pub(super) fn as_root(&self) -> SealingKey {
        SealingKey::new(*self.bytes)
    }

    /// A key as it is stored; `None` when the machine has no randomness.
    pub(super) fn wrap(
        &self,
        (id, state): (KeyRef, KeyState),
        key: &SealingKey,
        created: Timestamp,
    ) -> Option<WrappedKey> {
        let wrapped = self.wrapping.seal(&place(id), key.bytes())?;
        Some(WrappedKey { id, state, wrapped, master_id: self.id.clone(), created })
    }

    /// The key in a row; `None` when this is not the key that wraps it, or the row was changed.
    pub(super) fn unwrap(&self, row: &WrappedKey) -> Option<SealingKey> {
        let bytes = self.wrapping.open(&place(row.id), &row.wrapped)?;
        Some(SealingKey::new(bytes.as_slice().try_into().ok()?))
    }
}

fn place(id: KeyRef) -> Place {
    Place::of(&[&"data key", &id.nid, &id.version])
}

/// The master keys that a process knows.
#[derive(Clone, Debug)]
pub struct Ring {
    /// The one that it wants in force.
    pub current: Arc<MasterKey>,
    /// Older ones, and whatever else may still wrap something.
    pub retired: Vec<Arc<MasterKey>>,
    /// Whether the configuration gives the current one: then nobody else can make a new one.
    pub configured: bool,
}

impl Ring {
    /// All of them, the current one first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<MasterKey>> {
        std::iter::once(&self.current).chain(&self.retired)
    }

    fn find(&self, id: &str) -> Option<Arc<MasterKey>> {
        self.all().find(|master| master.id() == id).map(Arc::clone)
    }
}

/// Why master keys cannot be had or changed.
#[derive(Debug, thiserror::Error)]
pub enum MasterFault {
    /// The configuration gives them.
    #[error("the configuration gives the master key")]
    Configured,
    /// As many older ones are kept as may be.
    #[error("too many older master keys are kept")]
    TooMany,
    /// They cannot be read or written.
    #[error("the master keys cannot be read or written")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where master keys come from.
pub trait MasterSource: Send + Sync + 'static {
    /// All of them, as they are there now.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&self) -> Result<Ring, MasterFault>;
    /// Makes a new one, durable before this returns, and keeps the others. Where the current one is not the one in force,
    /// one was made already, and it stays.
    ///
    /// # Errors
    /// [`MasterFault::Configured`]; when they cannot be written.
    fn renew(&self, in_force: &str) -> Result<Ring, MasterFault>;
    /// Forgets all but the current one, if that is the one in force.
    ///
    /// # Errors
    /// [`MasterFault::Configured`]; when they cannot be written.
    fn forget_retired(&self, in_force: &str) -> Result<Ring, MasterFault>;
}

/// The master keys of a process, and where they come from.
pub struct Masters {
    ring: ArcSwap<Ring>,
    source: Box<dyn MasterSource>,
}

impl std::fmt::Debug for Masters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Masters").field(&self.ring.load()).finish()
    }
}

impl Masters {
    /// Those that a source has.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn new(source: Box<dyn MasterSource>) -> Result<Self, MasterFault> {
        Ok(Self { ring: ArcSwap::from_pointee(source.read()?), source })
    }

    /// What is known of them.
    #[must_use]
    pub fn ring(&self) -> Arc<Ring> {
        self.ring.load_full()
    }

    /// Reads them anew.
    ///
    /// # Errors
    /// When they cannot be read; what was known of them stays known.
    pub fn refresh(&self) -> Result<Arc<Ring>, MasterFault> {
        Ok(self.take(self.source.read()?))
    }

    /// The one with this id. One that is not known may be there by now: another process has made it.
    pub(super) fn find(&self, id: &str) -> Option<Arc<MasterKey>> {
        let known = self.ring.load().find(id);
        known.or_else(|| {
            let read = self.refresh();
            let read = read.inspect_err(|fault| {
                tracing::error!(error = fault as &dyn std::error::Error, "master keys were not read anew");
            });
            read.ok()?.find(id)
        })
    }

    pub(super) fn renew(&self, in_force: &str) -> Result<Arc<Ring>, MasterFault> {
        Ok(self.take(self.source.renew(in_force)?))
    }

    pub(super) fn forget_retired(&self, in_force: &str) -> Result<Arc<Ring>, MasterFault> {
        Ok(self.take(self.source.forget_retired(in_force)?))
    }

    fn take(&self, ring: Ring) -> Arc<Ring> {
        let ring = Arc::new(ring);
        self.ring.store(Arc::clone(&ring));
        ring
    }
}
