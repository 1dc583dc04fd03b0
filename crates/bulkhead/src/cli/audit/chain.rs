//! Walking a tenant's whole chain: is each record what was signed, linked to the one before it, and none missing?

use bh_app::evidence::differing_column;
use bh_app::ports::{StoredHead, StoredRecord};
use bh_domain::evidence::checkpoint::{Checkpoint, CheckpointError};
use bh_domain::evidence::export::{BadRecord, Fault};
use bh_domain::evidence::merkle::Frontier;
use bh_domain::evidence::reading::Reading;
use bh_domain::evidence::{ChainHead, HmacKey};
use bh_domain::time::Timestamp;

/// What is wrong with a whole chain.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChainFault {
    #[error("{0}")]
    Record(BadRecord),
    #[error(
        "a checkpoint was signed over {signed} records, and the chain ends before record {missing}: it is missing"
    )]
    CutOff { signed: u64, missing: u64 },
    #[error(
        "records up to seq {0} are not the ones that the checkpoint was signed over: the chain was rewritten"
    )]
    Rewritten(u64),
    #[error("the newest checkpoint is no proof: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("the stored head of the chain is not the one of its records")]
    Head,
    #[error("record at seq {seq}, id {id}: the stored {column} is not the one in the record")]
    Row { seq: u64, id: String, column: &'static str },
    #[error("the content of record {id} is gone, and no record of retention accounts for it")]
    Unaccounted { id: String },
}

/// How far a chain has been walked, from its first record on.
#[derive(Debug)]
pub(super) struct ChainWalk {
    tenant_id: String,
    key: HmacKey,
    signed: Option<Checkpoint>,
    head: ChainHead,
    tombstones: u64,
    newest_tombstone: Option<(Timestamp, String)>,
}

impl ChainWalk {
    /// At the start of a tenant's chain, whose records `key` signed and whose newest checkpoint is `signed`.
    pub(super) fn new(tenant_id: &str, key: &HmacKey, signed: Option<Checkpoint>) -> Self {
        let (head, tombstones, newest_tombstone) = (ChainHead::default(), 0, None);
        Self { tenant_id: tenant_id.to_owned(), key: key.clone(), signed, head, tombstones, newest_tombstone }
    }

    /// How many records there were so far.
    pub(super) fn records(&self) -> u64 {
        self.head.seq
    }

    /// How many of them retention has emptied.
    pub(super) fn tombstones(&self) -> u64 {
        self.tombstones
    }

    /// Id of the newest record without content: when retention accounts for it, it does for all.
    pub(super) fn newest_tombstone(&self) -> Option<&str> {
        self.newest_tombstone.as_ref().map(|(_, id)| id.as_str())
    }

    /// Takes the next stored row.
    pub(super) fn take(&mut self, stored: &StoredRecord) -> Result<(), ChainFault> {
        let fault = match &stored.record {
            _ if stored.seq != self.head.seq + 1 => Some(self.missing()),
            Some(text) => self.content_fault(stored, text),
            None => None,
        };
        if let Some(fault) = fault {
            let (id, seq) = (Some(stored.id.clone()), Some(stored.seq));
            return Err(ChainFault::Record(BadRecord { index: self.head.seq, id, seq, fault }));
        }
        if stored.record.is_none() {
            self.count_tombstone(stored);
        } else if let Some(column) = differing_column(stored) {
            return Err(ChainFault::Row { seq: stored.seq, id: stored.id.clone(), column });
        }
        self.head.seq = stored.seq;
        self.head.leaf_hash = stored.leaf_hash;
        self.head.frontier.append(stored.leaf_hash);
        self.compare_with_checkpoint()
    }

    /// The rows end here: so must the chain, at the head that the store has for it.
    pub(super) fn end(&self, stored: Option<&StoredHead>) -> Result<(), ChainFault> {
        if stored.is_some_and(|stored| self.head.seq < stored.seq) {
            let bad = BadRecord { index: self.head.seq, id: None, seq: None, fault: self.missing() };
            return Err(ChainFault::Record(bad));
        }
        if let Some(signed) = self.signed.as_ref().filter(|signed| signed.size > self.head.seq) {
            return Err(ChainFault::CutOff { signed: signed.size, missing: self.head.seq + 1 });
        }
        let same = match stored {
            None => self.head.seq == 0,
            Some(stored) => {
                let root = Frontier::from_bytes(&stored.frontier).map(|frontier| frontier.root());
                stored.leaf_hash == self.head.leaf_hash
                    && root.is_ok_and(|root| root == self.head.frontier.root())
            }
        };
        if same { Ok(()) } else { Err(ChainFault::Head) }
    }

    fn missing(&self) -> Fault {
        Fault::Missing { tenant_id: self.tenant_id.clone(), seq: self.head.seq + 1 }
    }

    fn compare_with_checkpoint(&self) -> Result<(), ChainFault> {
        let here = self.signed.as_ref().filter(|signed| signed.size == self.head.seq);
        match here {
            Some(signed) if signed.root != self.head.frontier.root() => {
                Err(ChainFault::Rewritten(signed.size))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn content_fault(&self, stored: &StoredRecord, text: &str) -> Option<Fault> {
        let reading = match Reading::of(text.as_bytes()) {
            Ok(reading) => reading,
            Err(error) => return Some(Fault::Malformed(error.to_string())),
        };
        if reading.nid != stored.nid.to_string() {
            return Some(Fault::Foreign { tenant_id: reading.tenant_id.into_owned() });
        }
        let in_place = reading.seq == stored.seq && reading.id == stored.id;
        if !in_place || reading.leaf_hash != stored.leaf_hash {
            return Some(Fault::Edited);
        }
        if !reading.signed_by(&self.key) {
            return Some(Fault::Signature);
        }
        (reading.prev_hash != self.head.leaf_hash).then_some(Fault::BrokenLink)
    }

    fn count_tombstone(&mut self, stored: &StoredRecord) {
        self.tombstones += 1;
        if self.newest_tombstone.as_ref().is_none_or(|(at, _)| *at <= stored.at) {
            self.newest_tombstone = Some((stored.at, stored.id.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
