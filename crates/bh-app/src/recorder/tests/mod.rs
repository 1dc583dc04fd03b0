//! The recorder over a store in memory.

mod bounds;
mod unwritable;
