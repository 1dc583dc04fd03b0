//! The writer's way with a store that does not take a batch.
//!
//! As long as the store takes nothing, a batch waits as it is. A store that takes other writes, and this batch not, is
//! refusing something in it: then the batch is halved until the record is alone, and a plain one takes its place.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bh_domain::tenant::{Nid, Scope};

use super::batch::Sealer;
use super::queue::{Entry, Pending, Recorder};
use crate::ports::{Appended, Batch, StoreFault, UsageSums};
use crate::snapshot::OnFailure;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// So many times in a row the store gives the same fault for a batch, and takes another write after each, before the
/// fault is looked for in the batch.
const REFUSALS_MIN: u32 = 3;

/// The faults of one batch so far.
struct Faults {
    backoff: Duration,
    last: String,
    /// How often in a row the store gave `last` while it took another write.
    refusals: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self { backoff: RETRY_FIRST, last: String::new(), refusals: 0 }
    }
}

impl Faults {
    /// Notes a fault, and whether the store took another write after it; returns whether it is the batch's own.
    fn note(&mut self, fault: &StoreFault, store_writes: bool) -> bool {
        let told = format!("{fault}: {}", fault.cause);
        let again = if told == self.last { self.refusals } else { 0 };
        self.refusals = if store_writes { again + 1 } else { 0 };
        self.last = told;
        self.refusals >= REFUSALS_MIN
    }

    /// Whether the store took another write after the last fault.
    fn store_writes(&self) -> bool {
        self.refusals > 0
    }

    async fn wait(&mut self) {
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(RETRY_MAX);
    }
}

impl Recorder {
    /// Makes one batch durable, however long it takes.
    pub(super) async fn write(&self, pending: Vec<Pending>) {
        let mut sealer = self.0.sealer.lock().await;
        // In the order of the chains: a part is durable before the next one is tried.
        let mut parts = VecDeque::from([pending]);
        let mut faults = Faults::default();
        while let Some(mut part) = parts.pop_front() {
            match self.try_write(&mut sealer, &mut part).await {
                Ok(true) => {
                    self.durable(part);
                    faults = Faults::default();
                    continue;
                }
                Ok(false) => tracing::debug!("another replica moved a chain on; sealing again"),
                Err(fault) => {
                    if !self.refuses(&mut faults, &fault).await {
                        self.unwritable_unless(faults.store_writes(), &mut part, &mut parts);
                        faults.wait().await;
                    } else if part.len() > 1 {
                        parts.push_front(part.split_off(part.len() / 2));
                        faults = Faults::default();
                    } else if self.try_stand_in(&mut sealer, &mut part).await {
                        self.durable(part);
                        faults = Faults::default();
                        continue;
                    } else {
                        // Not even a plain record is taken: the fault is the store's after all.
                        self.unwritable_unless(false, &mut part, &mut parts);
                        faults.wait().await;
                    }
                }
            }
            parts.push_front(part);
        }
        drop(sealer);
        self.set_healthy(true);
    }

    /// Whether the store refuses this part, which was not written, and nothing else.
    async fn refuses(&self, faults: &mut Faults, fault: &StoreFault) -> bool {
        tracing::error!(error = fault as &dyn std::error::Error, "evidence was not written");
        self.0.metrics.evidence_failures.inc();
        let probed = self.0.store.probe().await;
        faults.note(fault, probed.is_ok())
    }

    /// While nothing can be written, new calls are told so, or with `degrade`, nobody waits any more: not those of this
    /// batch, and not those behind it.
    fn unwritable_unless(&self, writes: bool, part: &mut [Pending], parts: &mut VecDeque<Vec<Pending>>) {
        if writes {
            return;
        }
        self.set_healthy(false);
        if self.0.on_failure == OnFailure::Degrade {
            part.iter_mut().chain(parts.iter_mut().flatten()).for_each(Pending::degrade);
            let mut queue = self.0.queue.lock();
            queue.waiting.iter_mut().for_each(Pending::degrade);
            queue.strict = 0;
        }
    }

    /// Whether the store takes a plain record in place of the one that `part` is down to. If not, that one stays as
    /// it was.
    async fn try_stand_in(&self, sealer: &mut Sealer, part: &mut [Pending]) -> bool {
        let originals: Vec<Entry> = part.iter().map(|pending| pending.entry.clone()).collect();
        part.iter_mut().for_each(|pending| pending.entry = pending.entry.acceptable());
        if !matches!(self.try_write(sealer, part).await, Ok(true)) {
            part.iter_mut().zip(originals).for_each(|(pending, original)| pending.entry = original);
            return false;
        }
        let id = part.first().map(|pending| pending.entry.draft.id.as_ref());
        tracing::error!(id, "the store refuses a record; a plain one stands in its place");
        self.0.metrics.evidence_replaced.inc();
        true
    }

    /// These records are durable: whoever waits for one of them goes on.
    fn durable(&self, part: Vec<Pending>) {
        let (inner, count) = (&self.0, part.len());
        inner.metrics.evidence_records.inc_by(count as u64);
        let mut used = UsageSums::default();
        part.iter()
            .filter_map(|pending| pending.entry.usage.as_ref())
            .for_each(|delta| used.add(&delta.sums));
        inner.metrics.used(&used);
        for waiter in part.into_iter().filter_map(|pending| pending.done) {
            // A client that hung up no longer waits.
            let _gone = waiter.send(());
        }
        let left = inner.pending.fetch_sub(count, Ordering::AcqRel) - count;
        inner.metrics.evidence_pending.set(i64::try_from(left).unwrap_or(i64::MAX));
    }

    async fn try_write(&self, sealer: &mut Sealer, pending: &mut [Pending]) -> Result<bool, StoreFault> {
        sealer.load_heads(self.0.store.as_ref(), pending).await?;
        let nobody_waits = pending.iter().all(|pending| pending.done.is_none());
        let gentle = nobody_waits && self.few_calls();
        let batch: Arc<Batch> = sealer.seal(self.0.holder, pending, gentle).await?;
        match self.0.store.append(Arc::clone(&batch)).await? {
            Appended::Durable => {
                sealer.commit();
                self.tell(&batch);
                Ok(true)
            }
            Appended::Stale(nids) => {
                let landed = self.landed(&batch).await?;
                let all: Vec<Nid> = batch.heads.iter().map(|head| head.nid).collect();
                sealer.forget(if landed { &all } else { &nids });
                if landed {
                    self.tell(&batch);
                }
                Ok(landed)
            }
        }
    }

    fn tell(&self, batch: &Batch) {
        if let Some(listener) = self.0.heard_by.get() {
            listener.committed(batch);
        }
    }

    /// Whether this very batch is durable already: its commit succeeded, but the answer to it was lost. A batch lands
    /// whole or not at all, so one of its records tells.
    async fn landed(&self, batch: &Batch) -> Result<bool, StoreFault> {
        let Some(first) = batch.records.first() else { return Ok(false) };
        let found = self.0.store.record(Scope::tenant(first.nid), first.id.clone()).await?;
        Ok(found.is_some())
    }
}
