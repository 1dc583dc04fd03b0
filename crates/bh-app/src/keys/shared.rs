//! Rows in memory that replicas share, between a process's own memory and the store (decision 19).
//!
//! What is kept there is sealed with a key of the installation, for one tenant and one key, and says until when it may
//! be believed. Nothing there says what is current: that is the store's news, and keys that changed lately are not looked
//! for there (`fences`). When it does not answer, everything goes on without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind, KeyRateLimit};
use bh_domain::keys::verdict::{KeyStatus, Visibility};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::fences::{CLOCKS_APART_MAX, SHARED_FOR_MAX};
use crate::metrics::{CacheOperation, Metrics};
use crate::ports::{Clock, SharedFault, SharedMemory};

/// How long shared memory that did not answer is not asked.
const REST_NS: u64 = 1_000_000_000;
/// Rows on their way there at once; further ones are not kept.
const WRITES_MAX: usize = 64;
/// Keys that are being forgotten there at once; further ones are not. Whoever hears of a change passes over what is there.
const FORGETS_MAX: usize = 64;
/// The first byte of what is kept: how it is written.
const FORM: u8 = 1;

/// What shared memory is used with.
#[derive(Clone)]
pub struct SharedParts {
    /// The memory.
    pub memory: Arc<dyn SharedMemory>,
    /// The first part of every name there.
    pub prefix: String,
    /// Seals what is kept there; derived from the installation's master key.
    pub seal: [u8; 32],
}

impl std::fmt::Debug for SharedParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedParts").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

pub(super) struct SharedRows {
    parts: SharedParts,
    seal: Option<RandomizedNonceKey>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    resting_until_ns: AtomicU64,
    told: AtomicBool,
    writes: Arc<Semaphore>,
    forgets: Arc<Semaphore>,
}

impl SharedRows {
    pub(super) fn new(parts: SharedParts, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            seal: RandomizedNonceKey::new(&AES_256_GCM, &parts.seal).ok(),
            parts,
            clock,
            metrics,
            resting_until_ns: AtomicU64::new(0),
            told: AtomicBool::new(false),
            writes: Arc::new(Semaphore::new(WRITES_MAX)),
            forgets: Arc::new(Semaphore::new(FORGETS_MAX)),
        })
    }

    /// A good key that is kept under an id, and until when it may be believed.
    pub(super) async fn find(&self, nid: Nid, kind: KeyKind, id: &KeyId) -> Option<(Key, Timestamp)> {
        if self.rests() {
            return None;
        }
        let found = match self.parts.memory.get(vec![self.name(nid, id)]).await {
            Ok(found) => found,
            Err(fault) => {
                self.failed(CacheOperation::Read, &fault);
                return None;
            }
        };
        self.answered();
        let sealed = found.into_iter().next().flatten()?;
        self.open(nid, kind, id, &sealed, self.clock.now())
    }

    /// Keeps a good key that was read at an instant, on a task of its own: nobody waits for it.
    pub(super) fn keep(self: &Arc<Self>, nid: Nid, key: &Key, read: Timestamp, until: Timestamp) {
        let until = until.min(read.plus_ms(ms(SHARED_FOR_MAX)));
        let ttl = u64::try_from(until.0.saturating_sub(self.clock.now().0)).unwrap_or(0);
        if !worth_keeping(key) || ttl == 0 || self.rests() {
            return;
        }
        let Some(sealed) = self.sealed(nid, key, until) else { return };
        let Ok(place) = Arc::clone(&self.writes).try_acquire_owned() else { return };
        let (shared, name) = (Arc::clone(self), self.name(nid, &key.key_id));
        tokio::spawn(async move {
            match shared.parts.memory.put(name, sealed, Duration::from_millis(ttl)).await {
                Ok(()) => shared.answered(),
                Err(fault) => shared.failed(CacheOperation::Write, &fault),
            }
            drop(place);
        });
    }

    /// Forgets a key that this process has changed, and tells the others, on a task of its own. Only to be sooner than the
    /// store's news, which count: not while shared memory rests, nor when much is being forgotten already.
    pub(super) fn forget(self: &Arc<Self>, nid: Nid, key_id: &KeyId) {
        if self.rests() {
            return;
        }
        let Ok(place) = Arc::clone(&self.forgets).try_acquire_owned() else { return };
        let (shared, name) = (Arc::clone(self), self.name(nid, key_id));
        let news = format!("{nid}/{key_id}");
        tokio::spawn(async move {
            if let Err(fault) = shared.parts.memory.forget(name, news).await {
                shared.failed(CacheOperation::Write, &fault);
            }
            drop(place);
        });
    }

    /// Calls `heard` with the keys that others have changed, until the connection is lost.
    pub(super) async fn listen(&self, heard: impl Fn(Nid, KeyId) + Send + Sync + 'static) {
        let read = move |news: &str| {
            let Some((nid, key_id)) = news.split_once('/') else { return };
            let nid = uuid::Uuid::parse_str(nid).ok().map(Nid);
            if let (Some(nid), Ok(key_id)) = (nid, KeyId::parse(key_id)) {
                heard(nid, key_id);
            }
        };
        if let Err(fault) = self.parts.memory.listen(Box::new(read)).await {
            self.failed(CacheOperation::Read, &fault);
        }
    }

    fn name(&self, nid: Nid, key_id: &KeyId) -> String {
        format!("{}:{nid}:key:{key_id}", self.parts.prefix)
    }

    fn rests(&self) -> bool {
        self.clock.monotonic_ns() < self.resting_until_ns.load(Ordering::Relaxed)
    }

    fn answered(&self) {
        if self.told.load(Ordering::Relaxed) && self.told.swap(false, Ordering::Relaxed) {
            tracing::info!("the shared cache answers again");
        }
    }

    fn failed(&self, operation: CacheOperation, fault: &SharedFault) {
        self.metrics.keys.cache_failed(operation);
        self.resting_until_ns.store(self.clock.monotonic_ns().saturating_add(REST_NS), Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            let error = fault as &dyn std::error::Error;
            tracing::warn!(error, "the shared cache does not answer: keys are read from the store");
        }
    }

    fn sealed(&self, nid: Nid, key: &Key, until: Timestamp) -> Option<Vec<u8>> {
        let mut body = serde_json::to_vec(&Sealed::of(key, until)).ok()?;
        let aad = aad(nid, key.kind, &key.key_id);
        let nonce = self.seal.as_ref()?.seal_in_place_append_tag(aad, &mut body).ok()?;
        Some([[FORM].as_slice(), nonce.as_ref(), body.as_slice()].concat())
    }

    fn open(
        &self,
        nid: Nid,
        kind: KeyKind,
        key_id: &KeyId,
        sealed: &[u8],
        now: Timestamp,
    ) -> Option<(Key, Timestamp)> {
        let (nonce, body) = sealed.strip_prefix(&[FORM])?.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let aad = aad(nid, kind, key_id);
        let plain = self.seal.as_ref()?.open_in_place(nonce, aad, &mut body).ok()?;
        let read: Sealed = serde_json::from_slice(plain).ok()?;
        let until = Timestamp(read.until);
        let furthest = now.plus_ms(ms(SHARED_FOR_MAX + CLOCKS_APART_MAX));
        let believed = now < until && until <= furthest;
        Some((read.key(kind, key_id.clone())?, until)).filter(|_| believed)
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn aad(nid: Nid, kind: KeyKind, key_id: &KeyId) -> Aad<Vec<u8>> {
    let kind = match kind {
        KeyKind::Issued => "issued",
        KeyKind::Imported => "imported",
    };
    Aad::from(format!("{nid}\u{1f}{kind}\u{1f}{key_id}").into_bytes())
}

/// Whether a key's verdict is likely to be good again, and nothing in its row changes with each use.
fn worth_keeping(key: &Key) -> bool {
    key.status == KeyStatus::Active && key.enabled && key.revocation.is_none() && key.credits.is_none()
}

/// A good key as it is kept; times in milliseconds since 1970.
#[derive(Serialize, Deserialize)]
struct Sealed {
    until: i64,
    name: String,
    actor_id: Option<String>,
    scopes: Vec<String>,
    metadata: String,
    public: bool,
    token_prefix: Option<String>,
    version: u32,
    secret_digest: Option<[u8; 32]>,
    created: i64,
    updated: i64,
    expires: Option<i64>,
    last_used: Option<i64>,
    rate_limit: Option<(u64, u64)>,
    allowed_cidrs: Vec<String>,
    request_id: Option<String>,
    extras: String,
    revision: u64,
}

impl Sealed {
    fn of(key: &Key, until: Timestamp) -> Self {
        Self {
            until: until.0,
            name: key.name.clone(),
            actor_id: key.actor_id.clone(),
            scopes: key.scopes.clone(),
            metadata: key.metadata.as_str().to_owned(),
            public: key.visibility == Visibility::Public,
            token_prefix: key.token_prefix.clone(),
            version: key.version,
            secret_digest: key.secret_digest,
            created: key.created.0,
            updated: key.updated.0,
            expires: key.expires.map(|at| at.0),
            last_used: key.last_used.map(|at| at.0),
            rate_limit: key.rate_limit.map(|limit| (limit.quota, limit.window_s)),
            allowed_cidrs: key.allowed_cidrs.clone(),
            request_id: key.request_id.clone(),
            extras: key.extras.as_str().to_owned(),
            revision: key.revision,
        }
    }

    fn key(self, kind: KeyKind, key_id: KeyId) -> Option<Key> {
        Some(Key {
            kind,
            key_id,
            name: self.name,
            actor_id: self.actor_id,
            scopes: self.scopes,
            metadata: JsonObject::parse(self.metadata).ok()?,
            status: KeyStatus::Active,
            enabled: true,
            visibility: if self.public { Visibility::Public } else { Visibility::Secret },
            token_prefix: self.token_prefix,
            version: self.version,
            secret_digest: self.secret_digest,
            created: Timestamp(self.created),
            updated: Timestamp(self.updated),
            expires: self.expires.map(Timestamp),
            last_used: self.last_used.map(Timestamp),
            rate_limit: self.rate_limit.map(|(quota, window_s)| KeyRateLimit { quota, window_s }),
            allowed_cidrs: self.allowed_cidrs,
            revocation: None,
            request_id: self.request_id,
            extras: JsonObject::parse(self.extras).ok()?,
            credits: None,
            refills: None,
            revision: self.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::super::Attributes;
    use super::super::issue::new_key;
    use super::*;
    use crate::ports::{SharedResult, SystemClock};

    const NID: Nid = Nid(uuid::Uuid::from_u128(7));
    const HOUR_MS: i64 = 3_600_000;

    /// Keeps nothing, and never says that it has forgotten something.
    #[derive(Default)]
    struct Nowhere {
        forgets: AtomicUsize,
    }

    impl SharedMemory for Nowhere {
        fn get(&self, names: Vec<String>) -> SharedResult<Vec<Option<Vec<u8>>>> {
            Box::pin(async move { Ok(vec![None; names.len()]) })
        }
        fn put(&self, _: String, _: Vec<u8>, _: Duration) -> SharedResult<()> {
            Box::pin(async { Ok(()) })
        }
        fn forget(&self, _: String, _: String) -> SharedResult<()> {
            self.forgets.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::pending())
        }
        fn listen(&self, _: Box<dyn Fn(&str) + Send + Sync>) -> SharedResult<()> {
            Box::pin(async { Ok(()) })
        }
    }

    fn shared(seal: u8) -> Arc<SharedRows> {
        shared_in(Arc::default(), seal)
    }

    fn shared_in(memory: Arc<Nowhere>, seal: u8) -> Arc<SharedRows> {
        let parts = SharedParts { memory, prefix: "t".to_owned(), seal: [seal; 32] };
        SharedRows::new(parts, Arc::new(SystemClock::new()), Metrics::new())
    }

    fn key(id: &str, now: Timestamp) -> Key {
        let key = new_key(KeyKind::Issued, KeyId::parse(id).unwrap(), Attributes::default(), now, None);
        Key {
            scopes: vec!["read".to_owned()],
            metadata: JsonObject::parse(r#"{"a":1}"#).unwrap(),
            visibility: Visibility::Public,
            secret_digest: Some([3; 32]),
            expires: Some(now.plus_ms(HOUR_MS)),
            rate_limit: Some(KeyRateLimit { quota: 5, window_s: 60 }),
            allowed_cidrs: vec!["10.0.0.0/8".to_owned()],
            revision: 4,
            ..key
        }
    }

    #[test]
    fn a_sealed_row_is_what_it_was_for_its_own_key_in_its_own_time_and_nowhere_else() {
        let shared_rows = shared(1);
        let now = shared_rows.clock.now();
        let (key, until) = (key("one", now), now.plus_ms(1_000));
        let sealed = shared_rows.sealed(NID, &key, until).unwrap();
        let opened = |rows: &SharedRows, nid, kind, id: &str, sealed: &[u8], now| {
            rows.open(nid, kind, &KeyId::parse(id).unwrap(), sealed, now)
        };
        let issued = KeyKind::Issued;
        let whole = opened(&shared_rows, NID, issued, "one", &sealed, now);
        assert!(whole.is_some_and(|(read, told)| read == key && told == until));
        let none = |found: Option<(Key, Timestamp)>| assert!(found.is_none());
        none(opened(&shared_rows, Nid(uuid::Uuid::from_u128(8)), issued, "one", &sealed, now));
        none(opened(&shared_rows, NID, KeyKind::Imported, "one", &sealed, now));
        none(opened(&shared_rows, NID, issued, "two", &sealed, now));
        none(opened(&shared(2), NID, issued, "one", &sealed, now));
        none(opened(&shared_rows, NID, issued, "one", &sealed, until));
        let far = shared_rows.sealed(NID, &key, now.plus_ms(HOUR_MS)).unwrap();
        none(opened(&shared_rows, NID, issued, "one", &far, now));
        for length in [0, 1, NONCE_LEN, sealed.len() - 1] {
            none(opened(&shared_rows, NID, issued, "one", &sealed[..length], now));
        }
    }

    #[tokio::test]
    async fn few_keys_are_forgotten_at_once_and_none_while_shared_memory_rests() {
        let memory = Arc::<Nowhere>::default();
        let rows = shared_in(Arc::clone(&memory), 1);
        let forget = async |count: usize| {
            for _ in 0..count {
                rows.forget(NID, &KeyId::parse("one").unwrap());
            }
            // On this one thread, what was spawned before runs before this goes on.
            tokio::spawn(async {}).await.unwrap();
            memory.forgets.load(Ordering::Relaxed)
        };
        assert_eq!(forget(1).await, 1);
        rows.failed(CacheOperation::Write, &SharedFault("gone".into()));
        assert_eq!(forget(9).await, 1, "it rests");
        rows.resting_until_ns.store(0, Ordering::Relaxed);
        assert_eq!(forget(2 * FORGETS_MAX).await, FORGETS_MAX);
    }

    #[test]
    fn only_good_keys_that_no_use_changes_are_kept() {
        let good = key("one", Timestamp(0));
        assert!(worth_keeping(&good));
        for other in [
            Key { status: KeyStatus::Revoked, ..good.clone() },
            Key { enabled: false, ..good.clone() },
            Key { credits: Some(1), ..good },
        ] {
            assert!(!worth_keeping(&other));
        }
    }
}
