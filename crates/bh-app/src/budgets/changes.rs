//! Changes of leases that the store has not confirmed yet: they are asked for again until it has.
//!
//! A change has an id, under which the store makes it once, however often it is asked for. So a fault of the store, or an
//! answer that got lost on the way, neither loses money nor counts it twice.

use std::collections::BTreeMap;

use bh_domain::money::NanoUsd;
use parking_lot::Mutex;

use crate::ports::{BudgetWindow, Change, ChangeId};

/// The most changes that wait for the store. While so many wait, no further idle money is collected; overdrafts beyond
/// it are told in the log. Calls are refused long before: they need the same store.
pub(super) const PENDING_MAX: usize = 65_536;

/// The most changes that the store is asked for at once.
const ROUND_MAX: usize = 1_024;

/// What is under way to the store.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<Open>);

#[derive(Debug, Default)]
struct Open {
    next: ChangeId,
    /// Leases under way have nothing to repeat here: their budget's cell keeps the request.
    open: BTreeMap<ChangeId, Option<(Direction, Change)>>,
    forgotten: ChangeId,
}

/// Which way money goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// Unspent money, back to the store.
    Back,
    /// Money that was spent without having been leased.
    Over,
}

impl Changes {
    /// Begins a lease.
    pub(super) fn begin(&self) -> ChangeId {
        let mut open = self.0.lock();
        let id = open.next;
        open.next += 1;
        open.open.insert(id, None);
        id
    }

    /// Adds a change that the store is to make. False when too many wait already.
    pub(super) fn add(&self, direction: Direction, budget: BudgetWindow, amount: NanoUsd) -> bool {
        let mut open = self.0.lock();
        if open.open.len() >= PENDING_MAX {
            return false;
        }
        let id = open.next;
        open.next += 1;
        open.open.insert(id, Some((direction, Change { id, budget, amount })));
        true
    }

    /// Whether money of a budget waits to go back.
    pub(super) fn goes_back(&self, budget: &BudgetWindow) -> bool {
        let open = self.0.lock();
        let mut waiting = open.open.values().flatten();
        waiting.any(|(direction, change)| *direction == Direction::Back && change.budget == *budget)
    }

    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.0.lock().open.len() < PENDING_MAX
    }

    /// What waits longest, in one direction: at most [`ROUND_MAX`] changes.
    pub(super) fn pending(&self, wanted: Direction) -> Vec<Change> {
        let open = self.0.lock();
        let waiting = open.open.values().flatten().filter(|(direction, _)| *direction == wanted);
        waiting.take(ROUND_MAX).map(|(_, change)| change.clone()).collect()
    }

    /// The store has answered to these.
    pub(super) fn done(&self, ids: impl IntoIterator<Item = ChangeId>) {
        let mut open = self.0.lock();
        for id in ids {
            open.open.remove(&id);
        }
    }

    /// The first change whose answer is still awaited, when that is another one than at the last time.
    pub(super) fn answered_before(&self) -> Option<ChangeId> {
        let open = self.0.lock();
        let first = open.open.keys().next().copied().unwrap_or(open.next);
        (first > open.forgotten).then_some(first)
    }

    /// The store has forgotten changes before this one.
    pub(super) fn forgot(&self, before: ChangeId) {
        self.0.lock().forgotten = before;
    }
}
