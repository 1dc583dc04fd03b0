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
use super::{KeyStory, trail};

/// The longest time anything is kept in shared memory, from when it was read from the store.
pub(super) const SHARED_FOR_MAX: Duration = Duration::from_secs(600);
/// How far the clocks of two machines may be apart.
pub(super) const CLOCKS_APART_MAX: Duration = Duration::from_secs(60);
/// Fences remembered one by one; beyond that, all keys are behind one.
const FENCES_MAX: usize = 100_000;
/// How often fences that have ended are looked for among all, at most.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Audit events that one step of catching up reads, and the most steps. Beyond that, every key counts as changed.
const CATCH_UP_PAGE: u32 = 1_000;
const CATCH_UP_PAGES_MAX: usize = 20;

#[derive(Default)]
struct Standing {
    of: HashMap<RowKey, Instant>,
    of_all: Option<Instant>,
    swept: Option<Instant>,
}

impl Standing {
    /// Puts a fence before a key. Those that have ended are looked for when there is no room, though not at each change.
    fn add(&mut self, key: RowKey, now: Instant) {
        let until = now + SHARED_FOR_MAX + CLOCKS_APART_MAX;
        if self.of.len() >= FENCES_MAX && self.swept.is_none_or(|swept| now >= swept + SWEEP_EVERY) {
            self.of.retain(|_, until| *until > now);
            self.swept = Some(now);
        }
        if self.of.len() >= FENCES_MAX {
            self.of.clear();
            self.of_all = Some(until);
            return;
        }
        self.of.insert(key, until);
    }

    fn has(&self, key: &RowKey, now: Instant) -> bool {
        self.of_all.is_some_and(|until| until > now) || self.of.get(key).is_some_and(|until| *until > now)
    }
}

/// Fences that stand. `None` where no memory is shared, and none is needed.
pub(super) struct Fences(Option<Mutex<Standing>>);

impl Fences {
    /// For a process that shares memory with others, or not.
    pub(super) fn new(shares: bool) -> Self {
        Self(shares.then(Mutex::default))
    }

    /// Puts one before a key.
    pub(super) fn add(&self, nid: Nid, key_id: &KeyId) {
        if let Some(standing) = &self.0 {
            standing.lock().add(RowKey(nid, key_id.clone()), Instant::now());
        }
    }

    /// Puts one before every key.
    pub(super) fn add_all(&self) {
        if let Some(standing) = &self.0 {
            standing.lock().of_all = Some(Instant::now() + SHARED_FOR_MAX + CLOCKS_APART_MAX);
        }
    }

    /// Whether a key is behind one. Where none are kept every key is.
    pub(super) fn has(&self, nid: Nid, key_id: &KeyId) -> bool {
        let has =
            |standing: &Mutex<Standing>| standing.lock().has(&RowKey(nid, key_id.clone()), Instant::now());
        self.0.as_ref().is_none_or(has)
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
            let page = page.map_err(|fault| fault.refusal())?;
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

    const NID: Nid = Nid(uuid::Uuid::from_u128(1));

    fn id(number: usize) -> KeyId {
        KeyId::parse(&format!("key-{number}")).unwrap()
    }

    #[test]
    fn a_key_is_behind_a_fence_from_its_change_on_and_none_are_kept_where_nothing_is_shared() {
        let fences = Fences::new(true);
        assert!(!fences.has(NID, &id(1)));
        fences.add(NID, &id(1));
        assert!(fences.has(NID, &id(1)) && !fences.has(NID, &id(2)));
        assert!(!fences.has(Nid(uuid::Uuid::from_u128(2)), &id(1)));
        fences.add_all();
        assert!(fences.has(NID, &id(2)));
        let alone = Fences::new(false);
        alone.add(NID, &id(1));
        assert!(alone.0.is_none() && alone.has(NID, &id(2)), "nothing there would be believed");
    }

    #[test]
    fn many_changes_are_one_fence_and_those_that_have_ended_are_looked_for_once_a_second() {
        let (mut standing, start) = (Standing::default(), Instant::now());
        let key = |number| RowKey(NID, id(number));
        let fill = |standing: &mut Standing, now| {
            (0..FENCES_MAX).for_each(|number| standing.add(key(number), now));
        };
        fill(&mut standing, start);
        let ended = start + SHARED_FOR_MAX + CLOCKS_APART_MAX;
        assert!(standing.has(&key(1), start) && !standing.has(&key(FENCES_MAX), start));
        standing.add(key(FENCES_MAX), ended);
        assert_eq!((standing.of.len(), standing.of_all, standing.swept), (1, None, Some(ended)));
        fill(&mut standing, ended);
        assert!(standing.of.len() <= FENCES_MAX && standing.swept == Some(ended), "not again at once");
        assert!(standing.has(&key(FENCES_MAX + 7), ended), "all are behind one");
        fill(&mut standing, ended + SWEEP_EVERY);
        standing.add(key(FENCES_MAX), ended + SWEEP_EVERY);
        assert_eq!(standing.swept, Some(ended + SWEEP_EVERY));
    }
}
