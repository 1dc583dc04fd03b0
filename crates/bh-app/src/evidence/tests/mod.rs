//! The read stories over a store in memory.

pub(crate) mod fake;
pub(crate) mod house;

mod exports;
mod lists;
mod retained;
mod tampering;
