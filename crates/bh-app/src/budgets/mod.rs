//! Budgets that cannot be overspent: reserve before, settle after.
//!
//! A call holds an upper bound of its cost in every budget it falls under, or none. What it holds was leased from
//! the store in blocks before, so no call waits for the store until a budget runs short.

mod ahead;
mod cell;
mod cells;
mod changes;
mod desk;
mod keeper;
mod notes;
mod turns;

pub use cell::{BudgetCell, Short, ZoneClock};
pub use keeper::{BudgetKeeper, Hold, NoBudget, settle_all};
pub use notes::Note;

#[cfg(test)]
mod tests;
