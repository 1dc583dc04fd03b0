//! Identities in memory, beside the rows of keys: found by what their keys call them, and forgotten when they change.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bh_domain::keys::identity::{Identity, IdentityId};
use bh_domain::keys::named::NamedLimit;
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

use crate::keys::verdict::Denied;

/// Identities kept in memory, and actors that are known to be none; those that are used least go first. As many as there
/// are keys in memory, each of which may be another actor's.
const IDENTITIES_MAX: usize = 200_000;

/// Bytes of identities kept in memory: what tenants wrote about each is theirs to choose, within limits.
const IDENTITIES_BYTES_MAX: u64 = 128 << 20;
/// What an entry takes beside its texts, in bytes, and each limit beside its name.
const ENTRY_BYTES: usize = 256;
const LIMIT_BYTES: usize = size_of::<NamedLimit>();
/// Parts in which it is remembered when something changed; a power of two.
const PARTS: usize = 256;

/// What stands for any identity of a tenant: no identity is called so.
pub(super) const ANY: &str = "";

/// An identity as it is kept in memory.
pub struct IdentityRow {
    /// The identity.
    pub identity: Identity,
    /// What its limits are counted under; no key id is like it.
    counted_as: Box<str>,
}

impl std::fmt::Debug for IdentityRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.identity.fmt(f)
    }
}

impl IdentityRow {
    pub(in crate::keys) fn new(identity: Identity) -> Self {
        Self { counted_as: format!("identity:{}", identity.id).into(), identity }
    }

    /// Whether its limits are known.
    ///
    /// # Errors
    /// `INTERNAL` for a row that holds something else: its keys are never taken for keys without limits.
    pub(in crate::keys) fn readable(&self) -> Result<(), Denied> {
        if self.identity.is_whole { Ok(()) } else { Err(Denied::because(VerificationError::Internal)) }
    }

    pub(in crate::keys) fn counted_as(&self) -> &str {
        &self.counted_as
    }

    /// Tells one state of one identity from every other.
    pub(crate) fn state(&self) -> (IdentityId, u64) {
        (self.identity.id, self.identity.revision)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place(Nid, Box<str>);

/// A [`Place`] to look one up by: a look-up allocates nothing.
#[derive(Clone, Copy, Debug, Hash)]
struct PlaceRef<'a>(Nid, &'a str);

impl Equivalent<Place> for PlaceRef<'_> {
    fn equivalent(&self, place: &Place) -> bool {
        self.0 == place.0 && *self.1 == *place.1
    }
}

#[derive(Clone)]
struct Kept {
    identity: Option<Arc<IdentityRow>>,
    until: Timestamp,
}

/// Whom is looked for, when, and until when the answer may be kept.
#[derive(Clone, Copy, Debug)]
pub(in crate::keys) struct Lookup<'a> {
    pub(in crate::keys) nid: Nid,
    pub(in crate::keys) external_id: &'a str,
    pub(in crate::keys) now: Timestamp,
    pub(in crate::keys) until: Timestamp,
}

/// Weighs entries by the bytes that they take.
#[derive(Clone, Copy, Debug)]
struct Bytes;

impl Weighter<Place, Kept> for Bytes {
    fn weight(&self, place: &Place, kept: &Kept) -> u64 {
        let of = |row: &Arc<IdentityRow>| {
            let Identity { external_id, metadata, rate_limits, .. } = &row.identity;
            let limits: usize = rate_limits.iter().map(|limit| LIMIT_BYTES + limit.name.len()).sum();
            external_id.len() + metadata.as_str().len() + limits
        };
        let bytes = ENTRY_BYTES + place.1.len() + kept.identity.as_ref().map_or(0, of);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// How many changes there had been when a read began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::keys) struct Begun(u64);

pub(in crate::keys) struct Identities {
    kept: Cache<Place, Kept, Bytes>,
    /// Counts changes of any identity: a read may begin before it is known whose identity it finds.
    changes: AtomicU64,
    /// The number of the last change in each part, so that what was read before a change is not kept after it, and other
    /// identities are kept all the same.
    changed: Box<[AtomicU64]>,
}

impl Default for Identities {
    fn default() -> Self {
        Self::bounded(IDENTITIES_MAX, IDENTITIES_BYTES_MAX)
    }
}

impl Identities {
    fn bounded(entries: usize, bytes_max: u64) -> Self {
        Self {
            kept: Cache::with_weighter(entries, bytes_max, Bytes),
            changes: AtomicU64::new(0),
            changed: std::iter::repeat_with(AtomicU64::default).take(PARTS).collect(),
        }
    }

    /// To be called before a read whose result may be kept.
    pub(in crate::keys) fn begin(&self) -> Begun {
        Begun(self.changes.load(Ordering::Acquire))
    }

    /// What memory knows; the inner `None`: there is no such identity.
    pub(in crate::keys) fn known(&self, lookup: Lookup<'_>) -> Option<Option<Arc<IdentityRow>>> {
        let kept = self.kept.get(&PlaceRef(lookup.nid, lookup.external_id))?;
        (lookup.now < kept.until).then_some(kept.identity)
    }

    /// Whether an identity may have changed since a read began.
    fn is_over(&self, place: PlaceRef<'_>, begun: Begun) -> bool {
        self.part(place).load(Ordering::Acquire) > begun.0
    }

    fn part(&self, place: PlaceRef<'_>) -> &AtomicU64 {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(place);
        let at = usize::try_from(hash % PARTS as u64).unwrap_or(0);
        self.changed.get(at).unwrap_or(&self.changed[0])
    }

    /// Keeps what was read, unless it may have changed since the read began.
    pub(in crate::keys) fn keep(&self, lookup: Lookup<'_>, identity: Option<Arc<IdentityRow>>, begun: Begun) {
        let place = Place(lookup.nid, lookup.external_id.into());
        self.kept.insert(place.clone(), Kept { identity, until: lookup.until });
        // After the insert: a change that was counted before it has looked for the entry too early.
        if self.is_over(PlaceRef(lookup.nid, lookup.external_id), begun) {
            self.kept.remove(&place);
        }
    }

    /// What memory knows, or one read that all share who ask meanwhile.
    pub(in crate::keys) async fn known_or_read<E>(
        &self,
        lookup: Lookup<'_>,
        read: impl Future<Output = Result<Option<Identity>, E>>,
    ) -> Result<Option<Arc<IdentityRow>>, E> {
        if let Some(known) = self.known(lookup) {
            return Ok(known);
        }
        let place = Place(lookup.nid, lookup.external_id.into());
        self.kept.remove_if(&place, |kept| kept.until <= lookup.now);
        match self.kept.get_value_or_guard_async(&place).await {
            Ok(kept) => Ok(kept.identity),
            Err(guard) => {
                let begun = self.begin();
                let identity = read.await?.map(|identity| Arc::new(IdentityRow::new(identity)));
                let is_over = || self.is_over(PlaceRef(lookup.nid, lookup.external_id), begun);
                if !is_over() {
                    // What was changed or kept by others meanwhile stays as they left it.
                    guard.insert(Kept { identity: identity.clone(), until: lookup.until }).ok();
                    if is_over() {
                        self.kept.remove(&place);
                    }
                }
                Ok(identity)
            }
        }
    }

    /// Forgets an identity that was made, changed or removed.
    pub(in crate::keys) fn evict(&self, nid: Nid, external_id: &str) {
        let number = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        for place in [PlaceRef(nid, external_id), PlaceRef(nid, ANY)] {
            self.part(place).fetch_max(number, Ordering::AcqRel);
            self.kept.remove(&place);
        }
    }

    /// Forgets everything.
    pub(in crate::keys) fn clear(&self) {
        let number = self.changes.fetch_add(1, Ordering::AcqRel) + 1;
        for part in &self.changed {
            part.fetch_max(number, Ordering::AcqRel);
        }
        self.kept.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bh_domain::keys::key::JsonObject;
    use uuid::Uuid;

    use super::*;

    const NID: Nid = Nid(Uuid::nil());

    fn identity(revision: u64) -> Identity {
        Identity {
            id: IdentityId(Uuid::from_u128(7)),
            external_id: "acme".to_owned(),
            metadata: JsonObject::default(),
            rate_limits: Vec::new(),
            created: Timestamp(1),
            updated: Timestamp(1),
            revision,
            is_whole: true,
        }
    }

    fn lookup(nid: Nid, now: i64) -> Lookup<'static> {
        Lookup { nid, external_id: "acme", now: Timestamp(now), until: Timestamp(now + 10) }
    }

    fn known(identities: &Identities, now: i64) -> Option<Option<u64>> {
        let known = identities.known(lookup(NID, now))?;
        Some(known.map(|row| row.identity.revision))
    }

    async fn read(identities: &Identities, now: i64, found: Option<Identity>) -> Option<u64> {
        let read = std::future::ready(Ok::<_, Infallible>(found));
        let row =
            identities.known_or_read(lookup(NID, now), read).await.unwrap_or_else(|never| match never {});
        row.map(|row| row.identity.revision)
    }

    #[tokio::test]
    async fn an_identity_is_kept_for_its_tenant_until_its_time_or_a_change() {
        let identities = Identities::default();
        assert_eq!(known(&identities, 0), None);
        assert_eq!(read(&identities, 0, None).await, None);
        assert_eq!(known(&identities, 9), Some(None), "that there is none is known too");
        assert_eq!(read(&identities, 10, Some(identity(1))).await, Some(1), "its time is over");
        assert_eq!(read(&identities, 11, Some(identity(2))).await, Some(1), "from memory");
        assert!(identities.known(lookup(Nid(Uuid::from_u128(1)), 11)).is_none(), "another tenant's");
        identities.evict(NID, "acme");
        assert_eq!(known(&identities, 11), None);
        assert_eq!(read(&identities, 11, Some(identity(3))).await, Some(3));
        identities.clear();
        assert_eq!(known(&identities, 11), None);
    }

    #[tokio::test]
    async fn what_was_read_before_a_change_is_not_kept_after_it() {
        let identities = Identities::default();
        let row = Arc::new(IdentityRow::new(identity(1)));
        let begun = identities.begin();
        identities.evict(NID, "acme");
        identities.keep(lookup(NID, 0), Some(Arc::clone(&row)), begun);
        assert_eq!(known(&identities, 0), None);
        identities.keep(lookup(NID, 0), Some(row), identities.begin());
        assert_eq!(known(&identities, 0), Some(Some(1)));
        identities.clear();
        for change in [|identities: &Identities| identities.evict(NID, "acme"), Identities::clear] {
            let changed_meanwhile = async {
                change(&identities);
                Ok::<_, Infallible>(Some(identity(1)))
            };
            assert!(identities.known_or_read(lookup(NID, 0), changed_meanwhile).await.is_ok());
            assert_eq!(known(&identities, 0), None);
        }
    }

    #[tokio::test]
    async fn what_changes_elsewhere_keeps_nothing_out_of_memory() {
        let identities = Identities::default();
        let others = [(NID, "other"), (Nid(Uuid::from_u128(1)), "acme")];
        let row = Arc::new(IdentityRow::new(identity(1)));
        let begun = identities.begin();
        others.iter().for_each(|(nid, external_id)| identities.evict(*nid, external_id));
        identities.keep(lookup(NID, 0), Some(row), begun);
        assert_eq!(known(&identities, 0), Some(Some(1)));
        identities.evict(NID, "acme");
        let changed_meanwhile = async {
            others.iter().for_each(|(nid, external_id)| identities.evict(*nid, external_id));
            Ok::<_, Infallible>(Some(identity(2)))
        };
        assert!(identities.known_or_read(lookup(NID, 0), changed_meanwhile).await.is_ok());
        assert_eq!(known(&identities, 0), Some(Some(2)));
    }

    #[test]
    fn what_is_kept_is_bounded_by_the_bytes_it_takes() {
        const BYTES_MAX: u64 = 1 << 20;
        let identities = Identities::bounded(1_000, BYTES_MAX);
        let metadata = JsonObject::parse(format!(r#"{{"a":"{}"}}"#, "x".repeat(4_096))).unwrap();
        for number in 0..1_000 {
            let (external_id, metadata) = (format!("user-{number}"), metadata.clone());
            let row = Arc::new(IdentityRow::new(Identity { metadata, ..identity(1) }));
            identities.keep(
                Lookup { external_id: &external_id, ..lookup(NID, 0) },
                Some(row),
                identities.begin(),
            );
        }
        let (kept, weight) = (identities.kept.len() as u64, identities.kept.weight());
        assert!(weight <= BYTES_MAX && kept > 0 && kept * 4_096 <= weight, "{kept} entries, {weight} bytes");
    }
}
