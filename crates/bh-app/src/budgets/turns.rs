//! Turns to ask the store for more of one budget.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bh_domain::money::NanoUsd;
use parking_lot::Mutex;

use super::cell::BudgetCell;

/// The turns of budgets that somebody waits for; few at a time, of ten thousands of budgets.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<usize, Arc<Turn>>>);

#[derive(Debug, Default)]
struct Turn {
    /// Taken by whoever asks the store for more; others wait their turn and look again.
    asking: tokio::sync::Mutex<()>,
    /// What waiting calls need in sum, in nano units, so that one lease serves them all.
    demand: AtomicI64,
}

/// A place in the queue of one budget.
pub(super) struct Place<'a> {
    turns: &'a Turns,
    cell: Arc<BudgetCell>,
    turn: Arc<Turn>,
    amount: NanoUsd,
}

impl Turns {
    /// Queues up for `cell`, in need of `amount`.
    pub(super) fn queue(&self, cell: &Arc<BudgetCell>, amount: NanoUsd) -> Place<'_> {
        let turn = Arc::clone(self.0.lock().entry(key(cell)).or_default());
        turn.demand.fetch_add(amount.0, Ordering::Relaxed);
        Place { turns: self, cell: Arc::clone(cell), turn, amount }
    }
}

impl Place<'_> {
    /// Waits until it is this one's turn, which lasts as long as the guard.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.asking.lock().await
    }

    /// What everybody in the queue needs together.
    pub(super) fn demand(&self) -> NanoUsd {
        NanoUsd(self.turn.demand.load(Ordering::Relaxed))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn.demand.fetch_sub(self.amount.0, Ordering::Relaxed);
        let mut turns = self.turns.0.lock();
        // The map's and this one: nobody else is in the queue, and nobody can join while the map is locked.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&key(&self.cell));
        }
    }
}

/// A cell stays where it is for as long as a place in its queue holds it.
fn key(cell: &Arc<BudgetCell>) -> usize {
    Arc::as_ptr(cell).addr()
}

#[cfg(test)]
mod tests {
    use bh_domain::budget::{Owner, Period, TimeZone};
    use bh_domain::tenant::Nid;
    use bh_domain::time::Timestamp;

    use super::*;
    use crate::budgets::ZoneClock;

    #[test]
    fn a_queue_adds_up_its_demand_and_is_forgotten_with_its_last_place() {
        let clock = Arc::new(ZoneClock::new(TimeZone::UTC, Timestamp(0)));
        let cell = Arc::new(BudgetCell::new(Nid::SYSTEM, Owner::Tenant.into(), Period::Day, clock));
        let turns = Turns::default();
        let first = turns.queue(&cell, NanoUsd(3));
        let second = turns.queue(&cell, NanoUsd(4));
        assert_eq!(first.demand(), NanoUsd(7));
        drop(first);
        assert_eq!((second.demand(), turns.0.lock().len()), (NanoUsd(4), 1));
        drop(second);
        assert!(turns.0.lock().is_empty());
    }
}
