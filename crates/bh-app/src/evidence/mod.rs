//! Reading the evidence back: lists, neighbours, traces, verification, exports, checkpoints, retention
//! (issue section 6; Talon dossier sections 2.4 and 5).
//!
//! Every story takes a [`Reach`], which says whose records it is about; nothing widens it. What is read is what is
//! stored: a record that was changed behind the gateway's back is shown as it stands, and [`EvidenceReads::verify`]
//! says what is wrong with it.

mod cursor;
mod export;
mod list;
pub(crate) mod own;
mod reach;
pub mod retention;
mod signed;
pub(crate) mod table;
mod trace;
mod tree;
mod verify;
pub(crate) mod view;

use std::fmt;
use std::sync::Arc;

use bh_domain::evidence::HmacKey;
use bh_domain::evidence::export::BuildError;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use crate::ports::{EvidenceStore, StoreFault};
use crate::recorder::Checkpointer;

pub use cursor::{CursorError, cursor, parse_cursor};
pub use export::{EXPORT_COLUMNS, EXPORT_RECORDS_MAX, ExportFormat, ExportQuery};
pub use list::{Found, PAGE_RECORDS_MAX, Page, TIMELINE_RECORDS_MAX};
pub use reach::Reach;
pub use trace::{TRACE_SCAN_MAX, Trace};
pub use tree::{SignedTree, TreeDamage};
pub use verify::{Checks, Verdict, differing_column};
pub use view::{IndexEntry, Tombstone};

/// A document on its way out, piece by piece. A fault in the middle ends it early: what came so far is no document.
pub type Pieces = BoxStream<'static, Result<Bytes, ReadFault>>;

/// Why evidence could not be read. Logged where it is handled, never shown to a caller.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreFault),
    /// The stored tree proves nothing.
    #[error("the evidence tree is damaged: {0}")]
    Tree(#[from] TreeDamage),
    /// A signed export could not be put together.
    #[error("the export cannot be written")]
    Build(#[from] BuildError),
}

/// Reads evidence.
#[derive(Clone)]
pub struct EvidenceReads {
    store: Arc<dyn EvidenceStore>,
    checkpointer: Checkpointer,
    key: HmacKey,
}

impl fmt::Debug for EvidenceReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EvidenceReads").finish_non_exhaustive()
    }
}

impl EvidenceReads {
    /// Stories over `store`, whose records `key` signed and whose trees `checkpointer` signs.
    pub fn new(store: Arc<dyn EvidenceStore>, checkpointer: Checkpointer, key: HmacKey) -> Self {
        Self { store, checkpointer, key }
    }
}

#[cfg(test)]
pub(crate) mod tests;
