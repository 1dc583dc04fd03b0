//! Keys in memory.
//!
//! A row is kept until something says that it changed. While this process does not hear of changes, nothing is kept and
//! nothing that was kept is believed.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use bh_domain::keys::extras::Extras;
use bh_domain::keys::identity::IdentityId;
use bh_domain::keys::key::{Key, KeyId};
use bh_domain::keys::named::NamedLimit;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::network::Network;
use bh_domain::tenant::Nid;
use bh_domain::time::{DAY_MS, Timestamp};
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use tokio::sync::Notify;

use super::credits::AtMost;
use super::fences::Fences;
use super::identities::IdentityRow;
use super::verdict::Denied;
use crate::snapshot::{Caller, Origin};

/// Keys kept in memory; those that are used least go first.
const ROWS_MAX: usize = 200_000;
/// Parts of the count of changes; a power of two.
const EPOCHS: usize = 256;
/// How long an unknown key is known to be unknown. Short: another replica's import does not always name the id under
/// which it was looked for here.
const ABSENT_MS: i64 = 1_000;

/// The configuration that a caller was made with, its tenant's state, and that of the identity that its key belongs to.
pub(crate) type MadeWith = (u64, Origin, Option<(IdentityId, u64)>);

/// A key, and the identity that it belongs to.
#[derive(Clone)]
pub(crate) struct FoundKey {
    pub(crate) row: Arc<Row>,
    pub(crate) identity: Option<Arc<IdentityRow>>,
}

impl FoundKey {
    /// Whether everything about it is known that could speak against its use.
    ///
    /// # Errors
    /// `INTERNAL` when its own extras, or its identity, cannot be read.
    pub(super) fn readable(&self) -> Result<(), Denied> {
        self.row.readable_extras()?;
        self.identity.as_ref().map_or(Ok(()), |identity| identity.readable())
    }
}

/// A key as it is kept in memory.
pub struct Row {
    /// The key.
    pub key: Key,
    /// Where it may be used, read once.
    pub(super) networks: Vec<Network>,
    /// Its extras, read once; `None` when the row holds something else, and then it is good for nothing.
    pub extras: Option<Extras>,
    /// How many credits it has at most.
    pub(super) credits: AtMost,
    /// The last day on which a use of it was noted.
    used_day: AtomicI64,
    /// The caller made of it, and what it was made with.
    caller: ArcSwapOption<(MadeWith, Arc<Caller>)>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Row {
    pub(super) fn new(key: Key) -> Self {
        let networks = key.allowed_cidrs.iter().filter_map(|cidr| Network::parse(cidr)).collect();
        let used_day = key.last_used.map_or(i64::MIN, |at| at.0.div_euclid(DAY_MS));
        let extras = Extras::read(&key.extras).inspect_err(|error| {
            tracing::error!(key_id = %key.key_id, %error, "a stored key's extras cannot be read");
        });
        let extras = extras.ok();
        Self {
            networks,
            extras,
            credits: AtMost::of(&key),
            used_day: AtomicI64::new(used_day),
            caller: ArcSwapOption::empty(),
            key,
        }
    }

    /// The caller that this key is under a configuration and as its identity's, made once for all.
    pub(crate) fn caller(&self, with: MadeWith, make: impl FnOnce() -> Caller) -> Arc<Caller> {
        if let Some(made) = self.caller.load().as_ref().filter(|made| made.0 == with) {
            return Arc::clone(&made.1);
        }
        let caller = Arc::new(make());
        self.caller.store(Some(Arc::new((with, Arc::clone(&caller)))));
        caller
    }

    /// Its extras.
    ///
    /// # Errors
    /// `INTERNAL` for a row that holds something else: it is never taken for a key without permissions, limits and refills.
    pub(super) fn readable_extras(&self) -> Result<&Extras, Denied> {
        self.extras.as_ref().ok_or_else(|| Denied::because(VerificationError::Internal))
    }

    /// Its named limits. A row whose extras cannot be read has none, and is good for nothing.
    pub(super) fn named_limits(&self) -> &[NamedLimit] {
        self.extras.as_ref().map_or(&[], |extras| &extras.rate_limits)
    }

    /// Whether it may be used from there; an unknown address passes only where nothing restricts it.
    pub(crate) fn admits_address(&self, address: Option<IpAddr>) -> bool {
        let from_there = |address: IpAddr| self.networks.iter().any(|network| network.contains(address));
        self.key.allowed_cidrs.is_empty() || address.is_some_and(from_there)
    }

    /// Whether this is its first use of the day.
    pub(super) fn used_first(&self, now: Timestamp) -> bool {
        let day = now.0.div_euclid(DAY_MS);
        // Read first: almost every use is not the first, and must not take the line of memory from others.
        self.used_day.load(Ordering::Relaxed) < day && self.used_day.fetch_max(day, Ordering::Relaxed) < day
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct RowKey(pub(super) Nid, pub(super) KeyId);

/// A [`RowKey`] to look one up by: a look-up allocates nothing.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct RowRef<'a>(pub(super) Nid, pub(super) &'a str);

impl Equivalent<RowKey> for RowRef<'_> {
    fn equivalent(&self, key: &RowKey) -> bool {
        self.0 == key.0 && self.1 == key.1.as_str()
    }
}

/// A reading of a key that has begun: how many changes there had been near it.
pub(super) struct Reading {
    place: RowKey,
    epoch: u64,
}

impl Reading {
    /// Whether it is of this key of its tenant.
    pub(super) fn is_of(&self, key_id: &KeyId) -> bool {
        self.place.1 == *key_id
    }
}

#[derive(Clone)]
enum Kept {
    Present {
        row: Arc<Row>,
        until: Timestamp,
    },
    Absent {
        until: Timestamp,
    },
    /// Not here, though it could be: the row under another id answers. Goes when this id appears.
    Elsewhere {
        key_id: Arc<KeyId>,
        until: Timestamp,
    },
}

impl Kept {
    fn until(&self) -> Timestamp {
        match self {
            Self::Present { until, .. } | Self::Absent { until } | Self::Elsewhere { until, .. } => *until,
        }
    }
}

/// What memory knows.
pub(super) enum Known {
    Present(Arc<Row>),
    Absent,
    Unknown,
}

pub(super) struct Rows {
    kept: Cache<RowKey, Kept>,
    /// Counts changes, so that what was read before one is not kept after it.
    epochs: Box<[AtomicU64]>,
    /// Whether this process hears of changes.
    hears: AtomicBool,
    /// Keys that shared memory is not asked for.
    pub(super) fences: Fences,
    heard_first: Notify,
}

impl Rows {
    /// Nothing yet, for a process that shares memory with others, or not.
    pub(super) fn new(shares: bool) -> Self {
        Self {
            kept: Cache::new(ROWS_MAX),
            epochs: std::iter::repeat_with(AtomicU64::default).take(EPOCHS).collect(),
            hears: AtomicBool::new(false),
            fences: Fences::new(shares),
            heard_first: Notify::new(),
        }
    }

    /// Whether memory may be believed: this process hears of changes.
    pub(super) fn hears(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }

    /// Changes are missed from now on, or may have been: memory is not believed until [`Rows::hear`].
    pub(super) fn distrust(&self) {
        self.hears.store(false, Ordering::Release);
        self.clear();
    }

    /// Changes are heard from now on.
    pub(super) fn hear(&self) {
        self.hears.store(true, Ordering::Release);
        self.heard_first.notify_waiters();
    }

    /// Waits until changes are heard.
    pub(super) async fn hearing(&self) {
        loop {
            let heard = self.heard_first.notified();
            if self.hears() {
                return;
            }
            heard.await;
        }
    }

    /// What memory knows of a key.
    pub(super) fn known(&self, nid: Nid, key_id: &str, now: Timestamp) -> Known {
        match self.fresh(nid, key_id, now) {
            Some(Kept::Present { row, .. }) => Known::Present(row),
            Some(Kept::Absent { .. }) => Known::Absent,
            Some(Kept::Elsewhere { .. }) | None => Known::Unknown,
        }
    }

    /// What memory knows of a key that may be kept under several ids, looked for under the likeliest. A row under another
    /// one is believed only while it is known that there is none under this: that row would answer in its place.
    pub(super) fn known_by_likeliest(&self, nid: Nid, likeliest: &str, now: Timestamp) -> Known {
        match self.fresh(nid, likeliest, now) {
            Some(Kept::Present { row, .. }) => Known::Present(row),
            Some(Kept::Absent { .. }) => Known::Absent,
            Some(Kept::Elsewhere { key_id, .. }) => match self.fresh(nid, key_id.as_str(), now) {
                Some(Kept::Present { row, .. }) => Known::Present(row),
                Some(Kept::Absent { .. } | Kept::Elsewhere { .. }) | None => Known::Unknown,
            },
            None => Known::Unknown,
        }
    }

    fn fresh(&self, nid: Nid, key_id: &str, now: Timestamp) -> Option<Kept> {
        self.kept.get(&RowRef(nid, key_id)).filter(|kept| now < kept.until())
    }

    /// Begins a reading of a key, whose result may be kept.
    pub(super) fn reading(&self, nid: Nid, key_id: &KeyId) -> Reading {
        let epoch = self.counter(nid, key_id).load(Ordering::Acquire);
        Reading { place: RowKey(nid, key_id.clone()), epoch }
    }

    /// Whether the key of a reading was changed since it began, here or as others have told.
    pub(super) fn is_over(&self, reading: &Reading) -> bool {
        self.counter(reading.place.0, &reading.place.1).load(Ordering::Acquire) != reading.epoch
    }

    /// Keeps what was read under one of some ids, the likeliest first, unless it has changed since. A key that is not there
    /// is remembered under the first, and so is that the row under another one answers.
    pub(super) fn keep(
        &self,
        readings: Vec<Reading>,
        row: Option<&Arc<Row>>,
        until: Timestamp,
        now: Timestamp,
    ) {
        let mut readings = readings.into_iter();
        let Some(first) = readings.next() else { return };
        let Some(row) = row else {
            return self.put(first, Kept::Absent { until: now.plus_ms(ABSENT_MS) });
        };
        let key_id = &row.key.key_id;
        let present = Kept::Present { row: Arc::clone(row), until };
        if first.is_of(key_id) {
            return self.put(first, present);
        }
        if let Some(reading) = readings.find(|reading| reading.is_of(key_id)) {
            self.put(reading, present);
            self.put(first, Kept::Elsewhere { key_id: Arc::new(key_id.clone()), until });
        }
    }

    fn put(&self, Reading { place, epoch }: Reading, kept: Kept) {
        self.kept.insert(place.clone(), kept);
        // After the insert: a change that was counted before it has looked for the entry too early.
        if self.counter(place.0, &place.1).load(Ordering::Acquire) != epoch {
            self.kept.remove(&place);
        }
    }

    /// Forgets a key that was changed.
    pub(super) fn evict(&self, nid: Nid, key_id: &KeyId) {
        self.fences.add(nid, key_id);
        self.appeared(nid, key_id);
    }

    /// Forgets that a key was not there.
    pub(super) fn appeared(&self, nid: Nid, key_id: &KeyId) {
        self.counter(nid, key_id).fetch_add(1, Ordering::AcqRel);
        self.kept.remove(&RowKey(nid, key_id.clone()));
    }

    /// Forgets a tenant's keys.
    pub(super) fn evict_tenant(&self, nid: Nid) {
        self.count_change_of_all();
        self.kept.retain(|key, _| key.0 != nid);
    }

    /// Forgets everything.
    fn clear(&self) {
        self.count_change_of_all();
        self.kept.clear();
    }

    fn count_change_of_all(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn counter(&self, nid: Nid, key_id: &KeyId) -> &AtomicU64 {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((nid, key_id));
        let place = usize::try_from(hash % EPOCHS as u64).unwrap_or(0);
        self.epochs.get(place).unwrap_or(&self.epochs[0])
    }
}

#[cfg(test)]
mod tests;
