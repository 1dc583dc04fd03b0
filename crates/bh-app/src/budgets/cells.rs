//! Every budget of this process, found by whose it is.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bh_domain::budget::{Owner, Period};
use bh_domain::tenant::Nid;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::cell::{BudgetCell, ZoneClock};

/// A table of cells that are their own keys: with ten thousand tenants, keys beside them take five MiB.
#[derive(Default)]
pub(super) struct Cells {
    table: HashTable<Arc<BudgetCell>>,
    hasher: RandomState,
}

impl Cells {
    /// The cell of one budget, made when there is none yet.
    pub(super) fn cell(
        &mut self,
        nid: Nid,
        owner: Arc<Owner>,
        period: Period,
        clock: &Arc<ZoneClock>,
    ) -> Arc<BudgetCell> {
        let hasher = &self.hasher;
        let hash = hasher.hash_one((nid, &owner, period));
        let is_it = |cell: &Arc<BudgetCell>| cell.nid == nid && cell.period == period && cell.owner == owner;
        let again = |cell: &Arc<BudgetCell>| hasher.hash_one((cell.nid, &cell.owner, cell.period));
        match self.table.entry(hash, is_it, again) {
            Entry::Occupied(found) => Arc::clone(found.get()),
            Entry::Vacant(place) => {
                let made = Arc::new(BudgetCell::new(nid, owner, period, Arc::clone(clock)));
                Arc::clone(place.insert(made).get())
            }
        }
    }

    /// Forgets the cells that `keep` does not want.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Arc<BudgetCell>) -> bool) {
        self.table.retain(|cell| keep(cell));
    }
}
