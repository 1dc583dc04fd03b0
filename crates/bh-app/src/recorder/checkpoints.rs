//! Signs what every tenant's tree looks like, now and then rather than per record.

use std::sync::Arc;

use bh_domain::evidence::checkpoint::{self, SigningKey};
use bh_domain::tenant::Nid;

use super::queue::Recorder;
use crate::ports::{Checkpoint, Clock, EvidenceStore, StoreFault};

/// Trees that one round signs. When thousands of tenants call each second, signing all of them each second would be a
/// third of the process's work; so each waits its turn, for some seconds.
pub const ROUND_TREES_MAX: usize = 1_024;
/// Trees that are signed without a pause, and kept in one transaction: calls and records wait no longer than for these.
const TOGETHER_MAX: usize = 64;

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

    /// Signs trees that have grown since they were last signed: at most [`ROUND_TREES_MAX`], those that wait longest
    /// first. Returns how many; when that is the most, others may wait.
    ///
    /// # Errors
    /// When the store does not take the checkpoints; the next growth of each tree brings a newer one.
    pub async fn round(&self) -> Result<usize, StoreFault> {
        self.sign_grown(ROUND_TREES_MAX).await
    }

    /// Signs every tree that has grown since it was last signed, for the end of the process.
    ///
    /// # Errors
    /// As [`Self::round`].
    pub async fn sign_all(&self) -> Result<usize, StoreFault> {
        self.sign_grown(usize::MAX).await
    }

    async fn sign_grown(&self, most: usize) -> Result<usize, StoreFault> {
        let mut count = 0;
        while count < most {
            let grown = self.recorder.take_dirty_heads(TOGETHER_MAX.min(most - count)).await;
            if grown.is_empty() {
                break;
            }
            let signed: Vec<_> =
                grown.into_iter().map(|(nid, size, root)| self.sign(nid, size, root)).collect();
            count += signed.len();
            self.store.put_checkpoints(signed).await?;
            // Whoever became ready while this signed goes first.
            tokio::task::yield_now().await;
        }
        Ok(count)
    }
}
