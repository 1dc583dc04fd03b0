//! The evidence writer: many decisions share one transaction and one fsync, and each waits for its own.
//!
//! Records get their place in the tenant's chain here, in the order in which they are committed, never in the
//! request. A batch that the store did not take is kept and tried again; nothing is skipped, so a chain has no gaps. A
//! record that can never be written, because of what is in it, is replaced by a plain one of the same call.

mod batch;
mod checkpoints;
mod queue;
mod receipt;
mod stand_in;
#[cfg(test)]
mod tests;
mod writer;

pub use checkpoints::{Checkpointer, ROUND_TREES_MAX};
pub use queue::{Committed, Entry, Recorder, RecorderOptions};
pub use receipt::{EvidenceLost, Receipt};
