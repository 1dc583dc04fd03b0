//! The queue in front of the writer.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bh_domain::evidence::record::Durability as Recorded;
use bh_domain::evidence::{Draft, HmacKey};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::batch::Sealer;
use super::receipt::Receipt;
use crate::metrics::Metrics;
use crate::ports::{AuditEvent, Batch, ContentRow, EvidenceStore, Holder, SpendDelta, UsageDelta};
use crate::snapshot::{Durability, OnFailure};

/// Relaxed records wait this long for company: within 5 ms, the flush included.
const LINGER: Duration = Duration::from_millis(4);
/// While so few calls are open, this many records are company enough: a commit takes the core from the next call for as
/// long as it has records to write.
const FEW_CALLS: i64 = 2;
const FEW_RECORDS: usize = 16;
/// With so many strict records waiting, calls end so densely that a moment more brings about as many again; a commit
/// costs about as much as twenty records, however many it holds. With fewer nobody waits for company.
const DENSE_RECORDS: usize = 12;
const DENSE_LINGER: Duration = Duration::from_millis(1);
/// How often the writer lets other tasks go first while they keep bringing records.
const GATHER_ROUNDS_MAX: usize = 64;
/// Records of one transaction.
const BATCH_RECORDS_MAX: usize = 256;
/// Records that may wait in memory. Beyond it new calls are refused, or with `degrade`, records are given up.
const PENDING_MAX: usize = 65_536;
/// With so many waiting (some 5 MiB), relaxed calls wait for the writer too: clients that are faster than the store
/// then wait in their sockets, and not as records in memory.
pub(super) const RELAXED_AHEAD_MAX: usize = 2_048;
/// Note on a record whose call went on while evidence could not be written (`evidence.on_failure: degrade`).
const DEGRADED: &str = "evidence_degraded";

/// One decision to be recorded, with the money that becomes durable together with it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The record, before it has a place in the chain.
    pub draft: Draft,
    /// What it adds to the ledger.
    pub spend: Vec<SpendDelta>,
    /// What it counts as in the usage ledger.
    pub usage: Option<UsageDelta>,
    /// Sealed content to keep.
    pub contents: Vec<ContentRow>,
    /// What the audit trail tells of it.
    pub audit: Option<Box<AuditEvent>>,
}

impl Entry {
    /// A decision that moved no money and is counted nowhere else.
    #[must_use]
    pub fn of(draft: Draft) -> Self {
        Self { draft, spend: Vec::new(), usage: None, contents: Vec::new(), audit: None }
    }
}

/// What the writer needs to know.
#[derive(Debug)]
pub struct RecorderOptions {
    /// Signs records.
    pub signing_key: HmacKey,
    /// The process, for the ledger.
    pub holder: Holder,
    /// What happens to calls while nothing can be written.
    pub on_failure: OnFailure,
}

/// Hears of records that have become durable. It must not take long: the next batch waits for it.
pub trait Committed: Send + Sync + 'static {
    /// A batch is durable.
    fn committed(&self, batch: &Batch);
}

/// The way into the evidence log.
#[derive(Clone)]
pub struct Recorder(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn EvidenceStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) on_failure: OnFailure,
    pub(super) holder: Holder,
    pub(super) queue: Mutex<Queue>,
    /// Set when the queue stops being empty.
    filled: Notify,
    /// Set when somebody waits for durability, or there is company enough, which ends the linger.
    urgent: Notify,
    pub(super) pending: AtomicUsize,
    healthy: AtomicBool,
    pub(super) sealer: tokio::sync::Mutex<Sealer>,
    pub(super) heard_by: OnceLock<Arc<dyn Committed>>,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: Vec<Pending>,
    pub(super) strict: usize,
}

pub(super) struct Pending {
    pub(super) entry: Entry,
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Pending {
    /// Lets the call go on before its record is durable; the record says so.
    pub(super) fn degrade(&mut self) {
        let Some(done) = self.done.take() else { return };
        if self.entry.draft.durability == Recorded::Strict {
            self.entry.draft.durability = Recorded::Relaxed;
            self.entry.draft.gateway_annotations.push(DEGRADED.into());
        }
        // A client that hung up no longer waits.
        let _gone = done.send(());
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("healthy", &self.healthy()).finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder in front of `store`. [`Recorder::run`] does the writing.
    pub fn new(store: Arc<dyn EvidenceStore>, metrics: Arc<Metrics>, options: RecorderOptions) -> Self {
        let RecorderOptions { signing_key, holder, on_failure } = options;
        Self(Arc::new(Inner {
            store,
            metrics,
            on_failure,
            holder,
            queue: Mutex::default(),
            filled: Notify::new(),
            urgent: Notify::new(),
            pending: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            sealer: tokio::sync::Mutex::new(Sealer::new(signing_key)),
            heard_by: OnceLock::new(),
        }))
    }

    /// The process that writes.
    pub(crate) fn holder(&self) -> Holder {
        self.0.holder
    }

    /// Has somebody hear of what becomes durable from now on; the first one to ask, and nobody else.
    pub fn be_heard_by(&self, listener: Arc<dyn Committed>) {
        // A second listener is a mistake of the assembly, and hears nothing.
        let _first = self.0.heard_by.set(listener);
    }

    /// Whether evidence can be written, as far as the last attempt tells.
    #[must_use]
    pub fn healthy(&self) -> bool {
        self.0.healthy.load(Ordering::Acquire)
    }

    /// Whether nothing is waiting to be written.
    #[must_use]
    pub fn idle(&self) -> bool {
        self.0.pending.load(Ordering::Acquire) == 0
    }

    /// Says what an attempt to write to the store showed.
    pub fn set_healthy(&self, healthy: bool) {
        if self.0.healthy.swap(healthy, Ordering::AcqRel) != healthy {
            if healthy {
                tracing::info!("evidence can be written again");
            } else {
                tracing::error!("evidence cannot be written");
            }
        }
        self.0.metrics.evidence_healthy.set(i64::from(healthy));
    }

    /// Whether a new call may start: its evidence will find a place.
    ///
    /// # Errors
    /// `evidence_unavailable` while nothing can be written or too much is waiting, unless degraded calls are allowed.
    pub fn accepting(&self) -> Result<(), Refusal> {
        let room = self.0.pending.load(Ordering::Relaxed) < PENDING_MAX;
        if (self.healthy() && room) || self.0.on_failure == OnFailure::Degrade {
            return Ok(());
        }
        let message = "Evidence cannot be written right now, so no call is forwarded; try again";
        Err(Refusal::new(Code::EvidenceUnavailable, message).retry_after(1))
    }

    /// Queues a record. A strict one returns a receipt to wait for, unless calls go on without: then it says so. A
    /// relaxed one returns a receipt only when the writer is far behind.
    pub fn submit(&self, entry: Entry, durability: Durability) -> Option<Receipt> {
        let inner = &self.0;
        let degrades = inner.on_failure == OnFailure::Degrade;
        let waiting = inner.pending.load(Ordering::Relaxed);
        // What a call has cost is never given up while calls are refused; their refusals are.
        if waiting >= PENDING_MAX && (degrades || !entry.draft.policy_decision.allowed) {
            inner.metrics.evidence_dropped.inc();
            return None;
        }
        let (done, receipt) = match durability {
            // A writer that cannot write is not waited for: what is behind it does not get shorter.
            Durability::Relaxed if waiting < RELAXED_AHEAD_MAX || !self.healthy() => (None, None),
            Durability::Relaxed | Durability::Strict => {
                let (sender, receipt) = Receipt::new(durability);
                (Some(sender), Some(receipt))
            }
        };
        let mut pending = Pending { entry, done };
        if degrades && !self.healthy() {
            pending.degrade();
        }
        inner.pending.fetch_add(1, Ordering::Relaxed);
        let (was_empty, enough) = {
            let mut queue = inner.queue.lock();
            let was_empty = queue.waiting.is_empty();
            let strict = pending.done.is_some();
            queue.strict += usize::from(strict);
            let first_strict = strict && queue.strict == 1;
            queue.waiting.push(pending);
            let count = queue.waiting.len();
            let open = self.open_calls();
            let enough = count == BATCH_RECORDS_MAX
                || (count == FEW_RECORDS && open <= FEW_CALLS)
                || (strict && i64::try_from(count).is_ok_and(|count| count == open));
            (was_empty, first_strict || enough)
        };
        if was_empty {
            inner.filled.notify_one();
        }
        if enough {
            inner.urgent.notify_one();
        }
        receipt
    }

    /// Writes what is submitted, for as long as it is polled. One task runs this.
    pub async fn run(&self) {
        loop {
            self.0.filled.notified().await;
            while self.waiting().0 > 0 {
                self.gather().await;
                let batch = self.take();
                self.write(batch).await;
            }
        }
    }

    /// Waits until everything submitted so far is durable; returns false when that takes longer than `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        let done = async {
            while self.0.pending.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(limit, done).await.is_ok()
    }

    /// At most `count` chain heads as last committed by this process, for checkpoints; those that wait longest first.
    pub(super) async fn take_dirty_heads(&self, count: usize) -> Vec<(Nid, u64, [u8; 32])> {
        self.0.sealer.lock().await.take_dirty(count)
    }

    /// Lets a batch fill up: by time while nobody waits for it, else for as long as what is ready to run brings more.
    async fn gather(&self) {
        let (mut seen, strict) = self.waiting();
        if !strict && seen < BATCH_RECORDS_MAX {
            tokio::select! {
                () = tokio::time::sleep(LINGER) => {}
                () = self.0.urgent.notified() => {}
            }
        }
        if strict && seen >= DENSE_RECORDS && !self.all_wait() {
            let company = async {
                while !self.all_wait() {
                    self.0.urgent.notified().await;
                }
            };
            // Either way what has come by then is written.
            let _late = tokio::time::timeout(DENSE_LINGER, company).await;
        }
        for _ in 0..GATHER_ROUNDS_MAX {
            tokio::task::yield_now().await;
            let (waiting, strict) = self.waiting();
            if !strict || waiting == seen || waiting >= BATCH_RECORDS_MAX {
                return;
            }
            seen = waiting;
        }
    }

    /// Whether more company is not worth waiting for: as many calls wait for their record as are still on their way to
    /// one, or the batch is full.
    fn all_wait(&self) -> bool {
        let (waiting, _) = self.waiting();
        waiting >= BATCH_RECORDS_MAX || i64::try_from(waiting).is_ok_and(|count| count >= self.open_calls())
    }

    /// Whether so few calls are open that each of them notices a commit.
    pub(super) fn few_calls(&self) -> bool {
        self.open_calls() <= FEW_CALLS
    }

    /// Calls that have no record yet, waiting or written.
    fn open_calls(&self) -> i64 {
        self.0.metrics.in_flight.get()
    }

    /// How many records wait, and whether somebody waits for one of them.
    fn waiting(&self) -> (usize, bool) {
        let queue = self.0.queue.lock();
        (queue.waiting.len(), queue.strict > 0)
    }

    fn take(&self) -> Vec<Pending> {
        let mut queue = self.0.queue.lock();
        let count = queue.waiting.len().min(BATCH_RECORDS_MAX);
        let taken: Vec<Pending> = if count == queue.waiting.len() {
            std::mem::take(&mut queue.waiting)
        } else {
            queue.waiting.drain(..count).collect()
        };
        queue.strict -= taken.iter().filter(|pending| pending.done.is_some()).count();
        taken
    }
}
