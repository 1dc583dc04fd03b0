//! One contract, both databases.

mod budgets;
mod durability;
mod evidence;
mod fixture;
mod housekeeping;
mod keys;
mod opening;
mod outbox;
mod plans;
mod tenants;
mod usage;
mod vault;
