//! Lists, one record, and its neighbours in time.

use crate::ports::{EvidenceFilter, Position, StoredRecord};

use super::view::{IndexEntry, Tombstone};
use super::{EvidenceReads, Reach, ReadFault};

/// Records of one page.
pub const PAGE_RECORDS_MAX: u32 = 1_000;
/// Neighbours on one side of a record.
pub const TIMELINE_RECORDS_MAX: u32 = 100;

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its entries, in the list's order.
    pub entries: Vec<IndexEntry>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<Position>,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// JSON exactly as it is stored.
    Record(String),
    /// What retention left of it.
    Tombstone(Tombstone),
}

impl EvidenceReads {
    /// One page of the records in reach that pass `filter`, whose `limit` is at most [`PAGE_RECORDS_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn page(&self, reach: &Reach, mut filter: EvidenceFilter) -> Result<Page, ReadFault> {
        let Some(scope) = reach.scope() else { return Ok(Page { entries: Vec::new(), next: None }) };
        let wanted = filter.limit.clamp(1, PAGE_RECORDS_MAX);
        // One more than asked for tells whether there is another page.
        filter.limit = wanted + 1;
        let mut records = self.store.records(scope, filter).await?;
        let more = records.len() > wanted as usize;
        records.truncate(wanted as usize);
        let next = if more { records.last().map(position) } else { None };
        Ok(Page { entries: records.iter().map(IndexEntry::of).collect(), next })
    }

    /// One record by id; `None` when there is none in reach.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn record(&self, reach: &Reach, id: &str) -> Result<Option<Found>, ReadFault> {
        let stored = self.stored(reach, id).await?;
        Ok(stored.map(|stored| match stored.record {
            Some(text) => Found::Record(text),
            None => Found::Tombstone(Tombstone::of(&stored)),
        }))
    }

    /// A record with at most `before` and `after` neighbours in time (each at most [`TIMELINE_RECORDS_MAX`]), oldest
    /// first; `None` when there is no such record in reach.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn timeline(
        &self,
        reach: &Reach,
        around: &str,
        before: u32,
        after: u32,
    ) -> Result<Option<Vec<IndexEntry>>, ReadFault> {
        let Some(middle) = self.stored(reach, around).await? else { return Ok(None) };
        let mut records = self.neighbours(reach, &middle, before, false).await?;
        records.reverse();
        let later = self.neighbours(reach, &middle, after, true).await?;
        records.push(middle);
        records.extend(later);
        Ok(Some(records.iter().map(IndexEntry::of).collect()))
    }

    async fn neighbours(
        &self,
        reach: &Reach,
        of: &StoredRecord,
        limit: u32,
        oldest_first: bool,
    ) -> Result<Vec<StoredRecord>, ReadFault> {
        let limit = limit.min(TIMELINE_RECORDS_MAX);
        let Some(scope) = reach.scope().filter(|_| limit > 0) else { return Ok(Vec::new()) };
        let filter = EvidenceFilter { after: Some(position(of)), oldest_first, limit, ..Default::default() };
        Ok(self.store.records(scope, filter).await?)
    }

    /// A stored record by id, if it is in reach.
    pub(super) async fn stored(&self, reach: &Reach, id: &str) -> Result<Option<StoredRecord>, ReadFault> {
        let Some(scope) = reach.scope() else { return Ok(None) };
        Ok(self.store.record(scope, id.to_owned()).await?)
    }
}

/// A record's place in every list.
pub(super) fn position(stored: &StoredRecord) -> Position {
    Position { at: stored.at, nid: stored.nid, seq: stored.seq }
}
