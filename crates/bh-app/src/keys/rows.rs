//! Keys in memory, and how they get there.
//!
//! A row is kept until something says that it changed. Reads of the store share statements: while one is under way all
//! others of the same tenant wait for the next, so that any number of unknown credentials costs a bounded number of
//! reads, and a thousand calls of one cold key cost one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::network::Network;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::{DAY_MS, Timestamp};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinSet;

use crate::ports::{KeyStore, StoreFault};

/// Keys kept in memory; those that are used least go first.
const ROWS_MAX: usize = 200_000;
/// Parts of the count of changes; a power of two.
const EPOCHS: usize = 256;
/// Ids of one read.
const READ_IDS_MAX: usize = 512;
/// Reads under way at once.
const READS_MAX: usize = 4;
/// How long an unknown key is known to be unknown. Short: another replica's import does not always name the id under
/// which it was looked for here.
const ABSENT_MS: i64 = 1_000;

/// A key as it is kept in memory.
pub struct Row {
    /// The key.
    pub key: Key,
    /// Where it may be used, read once.
    pub(super) networks: Vec<Network>,
    /// The last day on which a use of it was noted.
    used_day: AtomicI64,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Row {
    fn new(key: Key) -> Self {
        let networks = key.allowed_cidrs.iter().filter_map(|cidr| Network::parse(cidr)).collect();
        let used_day = key.last_used.map_or(i64::MIN, |at| at.0.div_euclid(DAY_MS));
        Self { networks, used_day: AtomicI64::new(used_day), key }
    }

    /// Whether this is its first use of the day.
    pub(super) fn used_first(&self, now: Timestamp) -> bool {
        let day = now.0.div_euclid(DAY_MS);
        // Read first: almost every use is not the first, and must not take the line of memory from others.
        self.used_day.load(Ordering::Relaxed) < day && self.used_day.fetch_max(day, Ordering::Relaxed) < day
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RowKey(Nid, KeyId);

/// A reading of a key that has begun: how many changes there had been near it.
pub(super) struct Reading {
    place: RowKey,
    epoch: u64,
}

#[derive(Clone)]
enum Kept {
    Present { row: Arc<Row>, until: Timestamp },
    Absent { until: Timestamp },
}

/// What memory knows.
pub(super) enum Known {
    Present(Arc<Row>),
    Absent,
    Unknown,
}

/// A question that waits for a read.
struct Waiting {
    ids: Vec<KeyId>,
    answer: oneshot::Sender<Found>,
}

/// The row, or that there is none; `Err` when the store did not answer.
type Found = Result<Option<Arc<Row>>, Unread>;

/// A store that did not answer; the log has the cause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread;

pub(super) struct Rows {
    store: Arc<dyn KeyStore>,
    kept: Cache<RowKey, Kept>,
    /// Counts changes, so that what was read before one is not kept after it.
    epochs: Box<[AtomicU64]>,
    waiting: Mutex<HashMap<(Nid, KeyKind), Vec<Waiting>>>,
    filled: Notify,
}

impl Rows {
    pub(super) fn new(store: Arc<dyn KeyStore>) -> Self {
        Self {
            store,
            kept: Cache::new(ROWS_MAX),
            epochs: std::iter::repeat_with(AtomicU64::default).take(EPOCHS).collect(),
            waiting: Mutex::default(),
            filled: Notify::new(),
        }
    }

    /// What memory knows of a key.
    pub(super) fn known(&self, nid: Nid, key_id: &KeyId, now: Timestamp) -> Known {
        match self.kept.get(&RowKey(nid, key_id.clone())) {
            Some(Kept::Present { row, until }) if now < until => Known::Present(row),
            Some(Kept::Absent { until }) if now < until => Known::Absent,
            Some(Kept::Present { .. } | Kept::Absent { .. }) | None => Known::Unknown,
        }
    }

    /// Reads a key that is kept under one of these ids.
    pub(super) async fn read(&self, nid: Nid, kind: KeyKind, ids: Vec<KeyId>) -> Found {
        let (answer, told) = oneshot::channel();
        self.waiting.lock().entry((nid, kind)).or_default().push(Waiting { ids, answer });
        self.filled.notify_one();
        told.await.unwrap_or(Err(Unread))
    }

    /// Begins a reading of a key, whose result may be kept.
    pub(super) fn reading(&self, nid: Nid, key_id: &KeyId) -> Reading {
        let epoch = self.counter(nid, key_id).load(Ordering::Acquire);
        Reading { place: RowKey(nid, key_id.clone()), epoch }
    }

    /// Keeps what was read, unless it has changed since.
    pub(super) fn keep(&self, reading: Reading, row: Option<&Arc<Row>>, until: Timestamp, now: Timestamp) {
        let Reading { place, epoch } = reading;
        let kept = match row {
            Some(row) => Kept::Present { row: Arc::clone(row), until },
            None => Kept::Absent { until: now.plus_ms(ABSENT_MS) },
        };
        self.kept.insert(place.clone(), kept);
        // After the insert: a change that was counted before it has looked for the entry too early.
        if self.counter(place.0, &place.1).load(Ordering::Acquire) != epoch {
            self.kept.remove(&place);
        }
    }

    /// Forgets a key that was changed.
    pub(super) fn evict(&self, nid: Nid, key_id: &KeyId) {
        self.counter(nid, key_id).fetch_add(1, Ordering::AcqRel);
        self.kept.remove(&RowKey(nid, key_id.clone()));
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.kept.clear();
    }

    fn counter(&self, nid: Nid, key_id: &KeyId) -> &AtomicU64 {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((nid, key_id));
        let place = usize::try_from(hash % EPOCHS as u64).unwrap_or(0);
        self.epochs.get(place).unwrap_or(&self.epochs[0])
    }

    /// Answers questions, for as long as it is polled. One task runs this.
    pub(super) async fn run(&self) {
        let mut reads = JoinSet::new();
        loop {
            tokio::select! {
                () = self.filled.notified(), if reads.len() < READS_MAX => {}
                Some(_) = reads.join_next() => {}
            }
            while reads.len() < READS_MAX
                && let Some(((nid, kind), waiting)) = self.take()
            {
                reads.spawn(answer(Arc::clone(&self.store), nid, kind, waiting));
            }
        }
    }

    /// Some questions about one tenant's keys.
    fn take(&self) -> Option<((Nid, KeyKind), Vec<Waiting>)> {
        let mut waiting = self.waiting.lock();
        let of = *waiting.keys().next()?;
        let mut taken = waiting.remove(&of)?;
        let mut ids = 0;
        let fits = |question: &Waiting| {
            ids += question.ids.len();
            ids <= READ_IDS_MAX
        };
        let count = taken.iter().map(fits).take_while(|fits| *fits).count().max(1);
        let rest = taken.split_off(count.min(taken.len()));
        if !rest.is_empty() {
            waiting.insert(of, rest);
        }
        Some((of, taken))
    }
}

/// Reads all ids of some questions at once, and answers each.
async fn answer(store: Arc<dyn KeyStore>, nid: Nid, kind: KeyKind, waiting: Vec<Waiting>) {
    let mut ids: Vec<KeyId> = waiting.iter().flat_map(|question| question.ids.iter().cloned()).collect();
    ids.sort_unstable();
    ids.dedup();
    let read: Result<Vec<Key>, StoreFault> = store.keys(Scope::tenant(nid), kind, ids).await;
    let rows: Result<HashMap<KeyId, Arc<Row>>, Unread> = match read {
        Ok(keys) => Ok(keys.into_iter().map(|key| (key.key_id.clone(), Arc::new(Row::new(key)))).collect()),
        Err(fault) => {
            tracing::error!(error = &fault as &dyn std::error::Error, "keys were not read");
            Err(Unread)
        }
    };
    for question in waiting {
        let found = rows.as_ref().map(|rows| question.ids.iter().find_map(|id| rows.get(id).cloned()));
        // Whoever asked may be gone.
        let _gone = question.answer.send(found.map_err(|unread| *unread));
    }
}
