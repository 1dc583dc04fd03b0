//! Keys that changed lately: what memory outside this process says of them may be from before.
//!
//! Every change is heard by every process, from the store, with the change. So a process that hears does not have to
//! believe that others have cleaned up the memory they share: it passes over it until everything that was put there
//! before the change has ended.

use std::collections::HashMap;
use std::time::Duration;

use bh_domain::keys::key::KeyId;
use bh_domain::refusal::Refusal;
use bh_domain::tenant::Nid;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::rows::RowKey;
use super::{KeyStory, store_fault, trail};

/// The longest time anything is kept in shared memory, from when it was read from the store.
pub(super) const SHARED_FOR_MAX: Duration = Duration::from_secs(600);
/// How far the clocks of two machines may be apart.
pub(super) const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);
/// Fences remembered one by one; beyond that, all keys are behind one.
const FENCES_MAX: usize = 100_000;
/// Audit events that one step of catching up reads, and the most steps. Beyond that, every key counts as changed.
const CATCH_UP_PAGE: u32 = 1_000;
const CATCH_UP_PAGES_MAX: usize = 20;

#[derive(Default)]
struct Standing {
    of: HashMap<RowKey, Instant>,
    of_all: Option<Instant>,
}

/// Fences that stand.
#[derive(Default)]
pub(super) struct Fences(Mutex<Standing>);

impl Fences {
    /// Puts one before a key.
    pub(super) fn add(&self, nid: Nid, key_id: &KeyId) {
        let now = Instant::now();
        let until = now + SHARED_FOR_MAX + CLOCKS_APART_MAX;
        let mut standing = self.0.lock();
        if standing.of.len() >= FENCES_MAX {
            standing.of.retain(|_, until| *until > now);
        }
        if standing.of.len() >= FENCES_MAX {
            standing.of.clear();
            standing.of_all = Some(until);
            return;
        }
        standing.of.insert(RowKey(nid, key_id.clone()), until);
    }

    /// Puts one before every key.
    pub(super) fn add_all(&self) {
        self.0.lock().of_all = Some(Instant::now() + SHARED_FOR_MAX + CLOCKS_APART_MAX);
    }

    /// Whether a key is behind one.
    pub(super) fn has(&self, nid: Nid, key_id: &KeyId) -> bool {
        let now = Instant::now();
        let standing = self.0.lock();
        standing.of_all.is_some_and(|until| until > now)
            || standing.of.get(&RowKey(nid, key_id.clone())).is_some_and(|until| *until > now)
    }
}

impl KeyStory {
    /// Learns from the audit trail which keys were changed while this process did not hear of it.
    pub(super) async fn read_fences(&self) -> Result<(), Refusal> {
        if self.0.shared.is_none() {
            return Ok(());
        }
        let window = SHARED_FOR_MAX + CLOCKS_APART_MAX * 2;
        let since = self.0.parts.clock.now().plus_ms(-i64::try_from(window.as_millis()).unwrap_or(i64::MAX));
        let mut after = Some(trail::before(since));
        for _ in 0..CATCH_UP_PAGES_MAX {
            let page = self.0.parts.trail.everywhere("changed keys", after, CATCH_UP_PAGE).await;
            let page = page.map_err(|fault| store_fault(&fault))?;
            after = page.last().map(|(_, event)| event.id);
            let is_last = page.len() < CATCH_UP_PAGE as usize;
            for (nid, event) in page {
                if let Ok(key_id) = KeyId::parse(&event.object)
                    && trail::outdates_rows(&event.action)
                {
                    self.0.rows.evict(nid, &key_id);
                }
            }
            if is_last {
                return Ok(());
            }
        }
        self.0.rows.fences.add_all();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_behind_a_fence_from_its_change_on_and_many_changes_are_one_fence() {
        let (fences, nid) = (Fences::default(), Nid(uuid::Uuid::from_u128(1)));
        let id = |number: usize| KeyId::parse(&format!("key-{number}")).unwrap();
        assert!(!fences.has(nid, &id(1)));
        fences.add(nid, &id(1));
        assert!(fences.has(nid, &id(1)) && !fences.has(nid, &id(2)));
        assert!(!fences.has(Nid(uuid::Uuid::from_u128(2)), &id(1)));
        (0..=FENCES_MAX).for_each(|number| fences.add(nid, &id(number)));
        assert!(fences.has(nid, &id(1)) && fences.has(nid, &id(FENCES_MAX + 7)), "all are behind one");
        assert!(fences.0.lock().of.len() <= FENCES_MAX);
    }
}
