//! What a call waits for before the end of its answer leaves.

use std::time::Duration;

use tokio::sync::oneshot;

use crate::snapshot::Durability;

/// How long the end of an answer waits for its record.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The evidence of a call could not be made durable in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("evidence could not be made durable in time")]
pub struct EvidenceLost;

/// Resolves once a record is durable.
#[derive(Debug)]
pub struct Receipt {
    done: oneshot::Receiver<()>,
    durability: Durability,
}

impl Receipt {
    /// A receipt, and what tells it that the record is durable.
    pub(super) fn new(durability: Durability) -> (oneshot::Sender<()>, Self) {
        let (sender, done) = oneshot::channel();
        (sender, Self { done, durability })
    }

    /// Waits for durability, within a limit.
    ///
    /// # Errors
    /// [`EvidenceLost`] when the store does not take a strict record in time; the record itself stays queued. A relaxed
    /// one waits only so that the queue stays short, and goes on.
    pub async fn durable(self) -> Result<(), EvidenceLost> {
        match (tokio::time::timeout(WAIT_MAX, self.done).await, self.durability) {
            (Ok(Ok(())), _) | (_, Durability::Relaxed) => Ok(()),
            (Ok(Err(_)) | Err(_), Durability::Strict) => Err(EvidenceLost),
        }
    }
}
