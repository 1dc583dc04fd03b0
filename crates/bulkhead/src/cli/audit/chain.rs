//! Walking a tenant's whole chain: is each record what was signed, linked to the one before it, and none missing?

use bh_domain::evidence::export::{BadRecord, Fault};
use bh_domain::evidence::merkle::Frontier;
use bh_domain::evidence::reading::Reading;
use bh_domain::evidence::{ChainHead, Hash, HmacKey};

use bh_app::ports::StoredRecord;
use bh_domain::time::Timestamp;

/// How far a chain has been walked, from its first record on.
#[derive(Debug)]
pub(super) struct ChainWalk {
    tenant_id: String,
    key: HmacKey,
    head: ChainHead,
    tombstones: u64,
    newest_tombstone: Option<(Timestamp, String)>,
}

impl ChainWalk {
    /// At the start of a tenant's chain, whose records `key` signed.
    pub(super) fn new(tenant_id: &str, key: &HmacKey) -> Self {
        let (head, tombstones, newest_tombstone) = (ChainHead::default(), 0, None);
        Self { tenant_id: tenant_id.to_owned(), key: key.clone(), head, tombstones, newest_tombstone }
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

    /// Root of the tree over the records so far.
    pub(super) fn root(&self) -> Hash {
        self.head.frontier.root()
    }

    /// The tree's right edge over the records so far.
    pub(super) fn frontier(&self) -> &Frontier {
        &self.head.frontier
    }

    /// Takes the next stored row.
    pub(super) fn take(&mut self, stored: &StoredRecord) -> Result<(), BadRecord> {
        let bad = |fault| BadRecord {
            index: self.head.seq,
            id: Some(stored.id.clone()),
            seq: Some(stored.seq),
            fault,
        };
        let expected = self.head.seq + 1;
        if stored.seq != expected {
            return Err(bad(Fault::Missing { tenant_id: self.tenant_id.clone(), seq: expected }));
        }
        match &stored.record {
            Some(text) => self.content_fault(stored, text).map_or(Ok(()), |fault| Err(bad(fault)))?,
            None => self.count_tombstone(stored),
        }
        self.head.seq = stored.seq;
        self.head.leaf_hash = stored.leaf_hash;
        self.head.frontier.append(stored.leaf_hash);
        Ok(())
    }

    /// The chain ends here, at the head the store has for it.
    pub(super) fn end(&self, head_seq: u64) -> Result<(), BadRecord> {
        if self.head.seq >= head_seq {
            return Ok(());
        }
        let fault = Fault::Missing { tenant_id: self.tenant_id.clone(), seq: self.head.seq + 1 };
        Err(BadRecord { index: self.head.seq, id: None, seq: None, fault })
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
