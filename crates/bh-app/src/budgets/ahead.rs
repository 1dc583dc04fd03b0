//! Blocks that are fetched ahead, in the background and a few at a time.
//!
//! When thousands of keys call in turn, all their budgets run low together. A task for each took 30 MiB, and calls that
//! needed money stood behind them at the store.

use std::collections::VecDeque;

use bh_domain::money::NanoUsd;
use parking_lot::Mutex;

use crate::snapshot::Capped;

/// Budgets that are filled up at the same time: as many as share a transaction.
const RUNNERS_MAX: usize = 32;

/// Budgets that run low: each at most once, as its cell knows that it waits.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(Capped, NanoUsd)>,
    runners: usize,
}

/// The right to fill up budgets until none waits.
pub(super) struct Runner<'a> {
    ahead: &'a Ahead,
    ended: bool,
}

impl Ahead {
    /// Adds a budget to be filled up so that `amount` fits. True when one more runner is wanted for it.
    pub(super) fn add(&self, capped: Capped, amount: NanoUsd) -> bool {
        let mut queue = self.0.lock();
        queue.waiting.push_back((capped, amount));
        let wanted = queue.runners < RUNNERS_MAX;
        queue.runners += usize::from(wanted);
        wanted
    }

    /// The runner that [`Ahead::add`] asked for.
    pub(super) fn runner(&self) -> Runner<'_> {
        Runner { ahead: self, ended: false }
    }
}

impl Runner<'_> {
    /// The budget that waits longest. Without one the runner has ended: whoever comes next asks for another.
    pub(super) fn next(&mut self) -> Option<(Capped, NanoUsd)> {
        let mut queue = self.ahead.0.lock();
        let next = queue.waiting.pop_front();
        if next.is_none() && !self.ended {
            self.ended = true;
            queue.runners -= 1;
            queue.waiting.shrink_to(RUNNERS_MAX);
        }
        next
    }
}

impl Drop for Runner<'_> {
    /// One that is stopped half-way makes room for another, too.
    fn drop(&mut self) {
        if !self.ended {
            self.ahead.0.lock().runners -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bh_domain::budget::{Owner, Period, TimeZone};
    use bh_domain::tenant::Nid;
    use bh_domain::time::Timestamp;

    use super::*;
    use crate::budgets::{BudgetCell, ZoneClock};

    #[test]
    fn many_budgets_that_run_low_share_a_few_runners_and_none_is_left_behind() {
        let clock = Arc::new(ZoneClock::new(TimeZone::UTC, Timestamp(0)));
        let cell = Arc::new(BudgetCell::new(Nid::SYSTEM, Owner::Tenant.into(), Period::Day, clock));
        let capped = || Capped { cap: NanoUsd(1), cell: Arc::clone(&cell) };
        let ahead = Ahead::default();
        let wanted = (0..1_000).filter(|_| ahead.add(capped(), NanoUsd(1))).count();
        assert_eq!(wanted, RUNNERS_MAX);
        let mut runners: Vec<_> = (0..wanted).map(|_| ahead.runner()).collect();
        let stopped = runners.pop();
        let served = runners.iter_mut().map(|runner| std::iter::from_fn(|| runner.next()).count());
        assert_eq!(served.sum::<usize>(), 1_000);
        assert!(ahead.add(capped(), NanoUsd(1)), "those that found nothing have ended");
        drop((stopped, runners, ahead.runner()));
        assert_eq!(ahead.0.lock().runners, 0);
    }
}
