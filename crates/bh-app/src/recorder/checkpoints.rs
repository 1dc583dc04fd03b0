//! Signs what every tenant's tree looks like, now and then rather than per record.

use std::sync::Arc;

use bh_domain::evidence::checkpoint::{self, SigningKey};
use bh_domain::tenant::Nid;

use super::queue::Recorder;
use crate::ports::{Checkpoint, Clock, EvidenceStore, StoreFault};

/// Signs and keeps checkpoints.
#[derive(Clone)]
pub struct Checkpointer {
    recorder: Recorder,
    store: Arc<dyn EvidenceStore>,
    clock: Arc<dyn Clock>,
    signer: Arc<SigningKey>,
}

impl std::fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkpointer").finish_non_exhaustive()
    }
}

impl Checkpointer {
    /// A checkpointer for what `recorder` commits.
    pub fn new(
        recorder: Recorder,
        store: Arc<dyn EvidenceStore>,
        clock: Arc<dyn Clock>,
        signer: Arc<SigningKey>,
    ) -> Self {
        Self { recorder, store, clock, signer }
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.signer
    }

    /// Signs one tree.
    #[must_use]
    pub fn sign(&self, nid: Nid, size: u64, root: [u8; 32]) -> Checkpoint {
        let at = self.clock.now();
        let origin = checkpoint::origin(self.signer.name(), &nid.to_string());
        let note = self.signer.sign(&checkpoint::Checkpoint { origin, size, root, time: Some(at) });
        Checkpoint { nid, size, note, at }
    }

    /// Signs every tree that has grown since the last round.
    ///
    /// # Errors
    /// When the store does not take the checkpoints; the next growth of each tree brings a newer one.
    pub async fn round(&self) -> Result<usize, StoreFault> {
        let grown = self.recorder.take_dirty_heads().await;
        if grown.is_empty() {
            return Ok(0);
        }
        let signed: Vec<_> = grown.into_iter().map(|(nid, size, root)| self.sign(nid, size, root)).collect();
        let count = signed.len();
        self.store.put_checkpoints(signed).await?;
        Ok(count)
    }
}
