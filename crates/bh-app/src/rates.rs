//! Request limits: exact counts in this process's memory, and those of tenants in what replicas share, where that is
//! configured.

mod named;
mod requests;
mod shared;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bh_domain::limit::{RateLimit, RateVerdict};
use bh_domain::tenant::Nid;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;

pub use named::{NamedCount, charge};
pub use requests::{Counted, count};
pub use shared::{OnOutage, SharedNames, SharedRates};

/// One limit's count.
#[derive(Debug)]
pub struct RateCell {
    nid: Nid,
    /// The caller's; empty for a tenant or everybody.
    name: Box<str>,
    /// The theoretical arrival time of its next request, in nanoseconds.
    next_ns: AtomicU64,
    /// The same of what this process has let in under a limit that replicas count together: should they forget it.
    noted_ns: AtomicU64,
}

impl RateCell {
    pub(crate) fn new(nid: Nid, name: &str) -> Self {
        Self { nid, name: name.into(), next_ns: AtomicU64::new(0), noted_ns: AtomicU64::new(0) }
    }

    /// Takes one request from the limit, or says why not.
    pub fn take(&self, limit: RateLimit, now_ns: u64) -> RateVerdict {
        self.decide(|seen| limit.decide(seen, now_ns))
    }

    /// Decides on what was counted, and counts.
    fn decide<V>(&self, decide: impl Fn(u64) -> (V, Option<u64>)) -> V {
        let mut seen = self.next_ns.load(Ordering::Acquire);
        loop {
            let (verdict, next) = decide(seen);
            let Some(next) = next else { return verdict };
            match self.next_ns.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return verdict,
                Err(current) => seen = current,
            }
        }
    }

    /// Puts back what is still held, some time later, of a request that was let in with this verdict. What has come back
    /// by itself meanwhile is not given twice: it may be others' by now.
    pub(crate) fn put_back_later(&self, limit: RateLimit, taken: &RateVerdict, elapsed_ns: u64) {
        self.give(limit.increment_ns().min(taken.reset_after_ns.saturating_sub(elapsed_ns)));
    }

    /// Notes a request that was let in under a limit that others count too.
    pub(crate) fn note(&self, limit: RateLimit, now_ns: u64) {
        let next =
            |seen: u64| Some((seen.max(now_ns) + limit.increment_ns()).min(now_ns + limit.period_ns()));
        // It always has a next value.
        let _seen = self.noted_ns.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// Nanoseconds until all that was noted has come back. One request is left out: what others count is never less for a
    /// clock that reads a little differently here.
    pub(crate) fn noted(&self, limit: RateLimit, now_ns: u64) -> u64 {
        let backlog = self.noted_ns.load(Ordering::Acquire).saturating_sub(now_ns);
        backlog.min(limit.period_ns()).saturating_sub(limit.increment_ns())
    }

    fn give(&self, ns: u64) {
        self.next_ns.fetch_sub(ns, Ordering::AcqRel);
    }
}

/// All cells, by whose they are. A cell outlives reloads, so that a reload gives nobody a fresh allowance.
/// They are their own keys: two for each of thousands of callers, in a table that is read by reloads only.
#[derive(Debug, Default)]
pub struct RateCells {
    table: Mutex<HashTable<Arc<RateCell>>>,
    hasher: RandomState,
}

/// So few cells are not worth looking through.
const ROOMY: usize = 16_384;

impl RateCells {
    /// The cell of one caller, of a tenant (`name` empty), or of everybody (`Nid::SYSTEM`).
    pub fn cell(&self, nid: Nid, name: &str) -> Arc<RateCell> {
        let hash = self.hasher.hash_one((nid, name));
        let is_it = |cell: &Arc<RateCell>| cell.nid == nid && *cell.name == *name;
        let again = |cell: &Arc<RateCell>| self.hasher.hash_one((cell.nid, &*cell.name));
        match self.table.lock().entry(hash, is_it, again) {
            Entry::Occupied(found) => Arc::clone(found.get()),
            Entry::Vacant(place) => Arc::clone(place.insert(Arc::new(RateCell::new(nid, name))).get()),
        }
    }

    /// Makes room before the table grows: cells that nobody holds, and whose allowance is whole again, are forgotten.
    /// For callers that come and go with their keys.
    pub fn make_room(&self, now_ns: u64) {
        let mut cells = self.table.lock();
        if cells.len() == cells.capacity() && cells.len() >= ROOMY {
            cells.retain(|cell| Arc::strong_count(cell) > 1 || cell.next_ns.load(Ordering::Relaxed) > now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_requests_never_pass_more_than_the_limit() {
        let cell = RateCell::new(Nid::SYSTEM, "web");
        let limit = RateLimit::per_minute(100).unwrap();
        let now = 3_600_000_000_000;
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).filter(|_| cell.take(limit, now).allowed).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(passed, 100);
    }

    #[test]
    fn what_is_put_back_late_makes_no_room_for_more_than_it_had_taken() {
        let limit = RateLimit::per_minute(2).unwrap();
        let (half_ns, now) = (30_000_000_000, 3_600_000_000_000);
        // When it is put back, and how many are let in after the other that was let in meanwhile.
        for (elapsed, let_in) in [(0, 1), (half_ns / 2, 1), (half_ns, 1), (2 * half_ns, 1)] {
            let cell = RateCell::new(Nid::SYSTEM, "web");
            let taken = cell.take(limit, now);
            assert!(cell.take(limit, now + elapsed).allowed);
            cell.put_back_later(limit, &taken, elapsed);
            let passed = (0..5).filter(|_| cell.take(limit, now + elapsed).allowed).count();
            assert_eq!(passed, let_in, "after {elapsed} ns");
        }
    }
}
