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
use crate::snapshot::Caller;

/// Keys kept in memory; those that are used least go first.
const ROWS_MAX: usize = 200_000;
/// Parts of the count of changes; a power of two.
const EPOCHS: usize = 256;
/// How long an unknown key is known to be unknown. Short: another replica's import does not always name the id under
/// which it was looked for here.
const ABSENT_MS: i64 = 1_000;

/// The configuration that a caller was made with, and the state of the identity that its key belongs to.
pub(crate) type MadeWith = (u64, Option<(IdentityId, u64)>);

/// A key, and the identity that it belongs to.
#[derive(Clone)]
pub(crate) struct FoundKey {
    pub(crate) row: Arc<Row>,
    pub(crate) identity: Option<Arc<IdentityRow>>,
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

impl Default for Rows {
    fn default() -> Self {
        Self {
            kept: Cache::new(ROWS_MAX),
            epochs: std::iter::repeat_with(AtomicU64::default).take(EPOCHS).collect(),
            hears: AtomicBool::new(false),
            fences: Fences::default(),
            heard_first: Notify::new(),
        }
    }
}

impl Rows {
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
        match self.kept.get(&RowRef(nid, key_id)) {
            Some(Kept::Present { row, until }) if now < until => Known::Present(row),
            Some(Kept::Absent { until }) if now < until => Known::Absent,
            Some(Kept::Present { .. } | Kept::Absent { .. }) | None => Known::Unknown,
        }
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

    /// Keeps what was read under one of some ids, unless it has changed since. A key that is not there is remembered under
    /// the first.
    pub(super) fn keep(
        &self,
        readings: Vec<Reading>,
        row: Option<&Arc<Row>>,
        until: Timestamp,
        now: Timestamp,
    ) {
        let of_row = |reading: &Reading| row.is_none_or(|row| row.key.key_id == reading.place.1);
        let Some(Reading { place, epoch }) = readings.into_iter().find(of_row) else { return };
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
mod tests {
    use bh_domain::keys::key::KeyKind;

    use super::super::Attributes;
    use super::super::issue::new_key;
    use super::*;

    const NID: Nid = Nid(uuid::Uuid::nil());
    /// An instant of a day, counted from 1970.
    fn at(day: i64, ms: i64) -> Timestamp {
        Timestamp(day * DAY_MS + ms)
    }

    fn row(last_used: Option<Timestamp>) -> Arc<Row> {
        let id = KeyId::parse("key-1").unwrap();
        let key = new_key(KeyKind::Issued, id, Attributes::default(), at(1, 0), None);
        Arc::new(Row::new(Key { last_used, ..key }))
    }

    fn keep(rows: &Rows, row: Option<&Arc<Row>>, until: Timestamp, now: Timestamp) {
        let reading = rows.reading(NID, &KeyId::parse("key-1").unwrap());
        rows.keep(vec![reading], row, until, now);
    }

    fn is_present(rows: &Rows, now: Timestamp) -> bool {
        matches!(rows.known(NID, "key-1", now), Known::Present(_))
    }

    /// The black-box half is `the_first_use_of_a_day_is_remembered_and_no_other`.
    #[test]
    fn a_key_is_used_once_a_day() {
        let used = row(None);
        assert!(used.used_first(at(20_000, 5)));
        assert!(!used.used_first(at(20_000, 6)) && !used.used_first(at(20_000, DAY_MS - 1)));
        assert!(used.used_first(at(20_001, 0)), "the next day, from midnight in UTC on");
        assert!(!used.used_first(at(20_001, 1)) && !used.used_first(at(20_000, 7)), "clocks may go back");
        let read_back = row(Some(at(20_000, 5)));
        assert!(!read_back.used_first(at(20_000, 9)) && read_back.used_first(at(20_001, 9)));
    }

    #[test]
    fn a_row_is_kept_until_its_time_or_a_change_and_not_when_it_changed_while_it_was_read() {
        let (rows, row, now) = (Rows::default(), row(None), at(1, 0));
        let id = KeyId::parse("key-1").unwrap();
        keep(&rows, Some(&row), now.plus_ms(10), now);
        assert!(is_present(&rows, now.plus_ms(9)) && !is_present(&rows, now.plus_ms(10)));
        rows.evict(NID, &id);
        assert!(!is_present(&rows, now));
        let reading = rows.reading(NID, &id);
        rows.evict(NID, &id);
        rows.keep(vec![reading], Some(&row), now.plus_ms(10), now);
        assert!(!is_present(&rows, now), "it was read before the change");
        keep(&rows, Some(&row), now.plus_ms(10), now);
        rows.evict_tenant(Nid(uuid::Uuid::from_u128(7)));
        assert!(is_present(&rows, now), "another tenant's keys changed");
        rows.evict_tenant(NID);
        assert!(!is_present(&rows, now));
        keep(&rows, None, now.plus_ms(10), now);
        assert!(matches!(rows.known(NID, "key-1", now), Known::Absent));
        assert!(matches!(rows.known(NID, "key-1", now.plus_ms(ABSENT_MS)), Known::Unknown));
    }

    #[test]
    fn memory_is_believed_only_while_changes_are_heard() {
        let rows = Rows::default();
        assert!(!rows.hears(), "not before they are");
        rows.hear();
        keep(&rows, Some(&row(None)), at(9, 0), at(1, 0));
        assert!(rows.hears() && is_present(&rows, at(1, 0)));
        rows.distrust();
        assert!(!rows.hears() && !is_present(&rows, at(1, 0)));
    }
}
