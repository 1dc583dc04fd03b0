//! Verifications of keys: counted in memory, and written together a moment later.
//!
//! A verification writes nothing, so there is no transaction that could count it. What is written is how often this process
//! was asked in the hour so far, and not by how much that has grown: written twice, it is the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use bh_domain::usage::{Hour, UsageKind};
use parking_lot::Mutex;

use crate::ports::{Holder, UsageDelta, UsageKey, UsageStore, UsageSums};

/// Tenants and hours that are counted at a time: those of the hour, and those that could not be written yet.
const COUNTED_MAX: usize = 262_144;
/// Rows of one write.
const WRITE_MAX: usize = 1_000;

/// Counts verifications by tenant and hour.
#[derive(Clone, Default)]
pub struct Verifications(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    by_hour: HashMap<(Nid, Hour), Count>,
    /// Found no room.
    left_out: u64,
}

#[derive(Clone, Copy, Default)]
struct Count {
    asked: u64,
    refused: u64,
    /// Has grown since it was written.
    grown: bool,
}

impl fmt::Debug for Verifications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifications").finish_non_exhaustive()
    }
}

impl Verifications {
    /// So many credentials of a tenant were verified at an instant, and so many of them found bad.
    pub fn note(&self, nid: Nid, at: Timestamp, asked: u64, refused: u64) {
        let mut counts = self.0.lock();
        let key = (nid, Hour::of(at));
        if counts.by_hour.len() >= COUNTED_MAX && !counts.by_hour.contains_key(&key) {
            counts.left_out += asked;
            return;
        }
        let count = counts.by_hour.entry(key).or_default();
        *count = Count { asked: count.asked + asked, refused: count.refused + refused, grown: true };
    }

    /// Writes what has grown, and forgets hours that are over. What cannot be written now is tried again with the next
    /// flush.
    pub async fn flush(&self, store: &dyn UsageStore, holder: Holder, now: Timestamp) {
        let grown = self.take();
        for rows in grown.chunks(WRITE_MAX) {
            if let Err(fault) = store.put_usage(holder, rows.to_vec()).await {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "verifications were not counted yet"
                );
                self.put_back(rows);
            }
        }
        self.forget_before(Hour::of(now));
    }

    fn take(&self) -> Vec<UsageDelta> {
        let mut counts = self.0.lock();
        if counts.left_out > 0 {
            let left_out = std::mem::take(&mut counts.left_out);
            tracing::error!(left_out, "verifications of too many tenants at a time were not counted");
        }
        let grown = |(&(nid, hour), count): (&(Nid, Hour), &mut Count)| {
            std::mem::take(&mut count.grown).then(|| UsageDelta {
                key: UsageKey::new(nid, hour, UsageKind::Keys, ["", "", ""]),
                sums: UsageSums { requests: count.asked, denied: count.refused, ..UsageSums::default() },
            })
        };
        counts.by_hour.iter_mut().filter_map(grown).collect()
    }

    fn put_back(&self, rows: &[UsageDelta]) {
        let mut counts = self.0.lock();
        for UsageDelta { key, .. } in rows {
            if let Some(count) = counts.by_hour.get_mut(&(key.nid, key.hour)) {
                count.grown = true;
            }
        }
    }

    fn forget_before(&self, hour: Hour) {
        self.0.lock().by_hour.retain(|(_, of), count| *of >= hour || count.grown);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use bh_domain::tenant::Scope;
    use bh_domain::usage::UtcDay;
    use uuid::Uuid;

    use super::*;
    use crate::ports::{ModelDay, StoreFault, StoreResult, TenantUsage, UsageDays};

    const HOUR_MS: i64 = 3_600_000;

    /// Keeps the last totals that were put; refuses while it is told to.
    #[derive(Default)]
    struct Put {
        rows: Mutex<HashMap<(Nid, Hour), (u64, u64)>>,
        puts: Mutex<usize>,
        broken: AtomicBool,
    }

    impl UsageStore for Put {
        fn usage(&self, _: Scope, _: Nid, _: UsageDays, _: u32) -> StoreResult<TenantUsage> {
            Box::pin(async { Ok(TenantUsage::default()) })
        }
        fn usage_by_model_day(&self, _: Scope, _: String, _: UsageDays) -> StoreResult<Vec<ModelDay>> {
            Box::pin(async { Ok(Vec::new()) })
        }
        fn put_usage(&self, _: Holder, rows: Vec<UsageDelta>) -> StoreResult<()> {
            if self.broken.load(Ordering::Relaxed) {
                return Box::pin(async { Err(StoreFault { step: "put", cause: "broken".into() }) });
            }
            *self.puts.lock() += 1;
            let put = rows
                .into_iter()
                .map(|UsageDelta { key, sums }| ((key.nid, key.hour), (sums.requests, sums.denied)));
            self.rows.lock().extend(put);
            Box::pin(async { Ok(()) })
        }
        fn roll_usage_up(&self, _: UtcDay) -> StoreResult<u64> {
            Box::pin(async { Ok(0) })
        }
        fn forget_usage(&self, _: UtcDay) -> StoreResult<u64> {
            Box::pin(async { Ok(0) })
        }
        fn usage_kept_from(&self) -> StoreResult<Option<UtcDay>> {
            Box::pin(async { Ok(None) })
        }
    }

    #[tokio::test]
    async fn totals_of_the_hour_are_written_when_they_have_grown_and_again_when_that_failed() {
        let (counts, store, holder) = (Verifications::default(), Put::default(), Holder::default());
        let nid = Nid(Uuid::from_u128(1));
        let (first, second) = (Timestamp(HOUR_MS - 1), Timestamp(HOUR_MS));
        counts.note(nid, first, 2, 1);
        counts.flush(&store, holder, first).await;
        counts.flush(&store, holder, first).await;
        assert_eq!(*store.puts.lock(), 1, "nothing has grown since");
        counts.note(nid, first, 3, 0);
        counts.note(nid, second, 1, 0);
        store.broken.store(true, Ordering::Relaxed);
        counts.flush(&store, holder, second).await;
        store.broken.store(false, Ordering::Relaxed);
        counts.flush(&store, holder, second).await;
        let told = [((nid, Hour(0)), (5, 1)), ((nid, Hour(1)), (1, 0))];
        assert_eq!(*store.rows.lock(), HashMap::from(told));
        assert_eq!(counts.0.lock().by_hour.len(), 1, "the hour that is over is forgotten");
    }
}
