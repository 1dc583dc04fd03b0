//! The way to the store for leases: those that are asked for at the same time share a transaction.
//!
//! Thousands of keys that are used now and then each need a lease when they come back. One transaction for each would
//! be one flush of the disk for each.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::ports::{BudgetStore, Grant, Holder, LeaseRequest, StoreFault};

/// Leases of one transaction: what bounds how long the windows of a batch stay locked.
const BATCH_MAX: usize = 32;

/// Requests that wait for their turn at the store.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: Mutex<Vec<Waiting>>,
    /// Whoever has it serves everybody that waits.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    request: LeaseRequest,
    answer: oneshot::Sender<Result<Grant, Arc<StoreFault>>>,
}

/// A fault that several requests met together.
#[derive(Clone, Debug, thiserror::Error)]
enum Shared {
    #[error(transparent)]
    Fault(Arc<StoreFault>),
    #[error("whoever asked the store for this lease was stopped")]
    Stopped,
}

impl Desk {
    /// Asks for a lease, together with all others that wait by then.
    pub(super) async fn lease(
        &self,
        store: &dyn BudgetStore,
        holder: Holder,
        request: LeaseRequest,
    ) -> Result<Grant, StoreFault> {
        let (answer, mut answered) = oneshot::channel();
        self.waiting.lock().push(Waiting { request, answer });
        let _turn = self.turn.lock().await;
        loop {
            match answered.try_recv() {
                Ok(outcome) => return outcome.map_err(|fault| shared(Shared::Fault(fault))),
                Err(oneshot::error::TryRecvError::Closed) => return Err(shared(Shared::Stopped)),
                Err(oneshot::error::TryRecvError::Empty) => self.serve(store, holder).await,
            }
        }
    }

    async fn serve(&self, store: &dyn BudgetStore, holder: Holder) {
        let batch: Vec<Waiting> = {
            let mut waiting = self.waiting.lock();
            let count = waiting.len().min(BATCH_MAX);
            waiting.drain(..count).collect()
        };
        let requests = batch.iter().map(|waiting| waiting.request.clone()).collect();
        let outcome = store.lease(holder, requests).await.map_err(Arc::new);
        for (place, Waiting { answer, .. }) in batch.into_iter().enumerate() {
            let one = match &outcome {
                Ok(grants) => grants.get(place).copied().ok_or_else(unanswered),
                Err(fault) => Err(Arc::clone(fault)),
            };
            // Whoever asked may have been stopped: its request is asked for again by its id.
            let _gone = answer.send(one);
        }
    }
}

fn shared(cause: Shared) -> StoreFault {
    StoreFault { step: "lease budgets", cause: Box::new(cause) }
}

fn unanswered() -> Arc<StoreFault> {
    let cause = "the store answered fewer requests than it was asked";
    Arc::new(StoreFault { step: "lease budgets", cause: cause.into() })
}
