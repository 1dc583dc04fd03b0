//! What belongs to one call: its failed attempts, and whatever shares its correlation id.

use std::collections::BTreeMap;

use bh_domain::evidence::Record;
use bh_domain::tenant::Scope;
use serde_json::value::RawValue;

use crate::ports::{EvidenceFilter, StoredRecord};

use super::list::position;
use super::view::{IndexEntry, Tombstone, parsed};
use super::{EvidenceReads, Found, Reach, ReadFault};

/// How far around a record others of the same correlation id are looked for.
const WINDOW_MS: i64 = 15 * 60 * 1_000;
/// How many records are looked at on that search, at most; as many again where a session helps.
pub const TRACE_SCAN_MAX: u32 = 4_000;
/// Retries and fallbacks of one call that are looked for.
const ATTEMPTS_MAX: u32 = 64;
/// What the ids of failover groups start with; the id of the call follows.
const GROUP_PREFIX: &str = "fog_";
const SCAN_PAGE: u32 = 500;

/// A record and what belongs to the same call.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The record asked for.
    pub evidence: Found,
    /// Every record of the call, this one included, oldest first.
    pub steps: Vec<IndexEntry>,
    /// False when there were more records around it than [`TRACE_SCAN_MAX`], so that a step may be missing.
    pub complete: bool,
}

/// Records by instant and position.
type Steps = BTreeMap<(i64, u64), StoredRecord>;

impl EvidenceReads {
    /// A record with the steps of the same call; `None` when there is no such record in reach.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn trace(&self, reach: &Reach, id: &str) -> Result<Option<Trace>, ReadFault> {
        let Some(stored) = self.stored(reach, id).await? else { return Ok(None) };
        let mut steps = Steps::new();
        let mut complete = true;
        if let Some(record) = parsed(&stored) {
            // A call belongs to one tenant, whoever asks.
            let scope = Scope::tenant(stored.nid);
            self.attempts(&scope, &record, &mut steps).await?;
            complete = self.correlated(&scope, &stored, &record, &mut steps).await?;
        }
        let evidence = match &stored.record {
            Some(text) => Found::Record(text.clone()),
            None => Found::Tombstone(Tombstone::of(&stored)),
        };
        keep(&mut steps, stored);
        Ok(Some(Trace { evidence, steps: steps.values().map(IndexEntry::of).collect(), complete }))
    }

    /// The call of a failover group and its failed attempts. Their ids follow from the group's, so none is missed.
    async fn attempts(&self, scope: &Scope, record: &Record, steps: &mut Steps) -> Result<(), ReadFault> {
        let group = record.draft.failover.as_ref().map(|failover| failover.group_id.as_ref());
        let Some(call) = group.and_then(|group| group.strip_prefix(GROUP_PREFIX)) else { return Ok(()) };
        if let Some(decision) = self.store.record(scope.clone(), call.to_owned()).await? {
            keep(steps, decision);
        }
        for number in 1..=ATTEMPTS_MAX {
            let Some(attempt) = self.store.record(scope.clone(), format!("{call}_a{number}")).await? else {
                break;
            };
            keep(steps, attempt);
        }
        Ok(())
    }

    /// Records of the same correlation id around this one. Returns whether all of them were looked at.
    async fn correlated(
        &self,
        scope: &Scope,
        stored: &StoredRecord,
        record: &Record,
        steps: &mut Steps,
    ) -> Result<bool, ReadFault> {
        let correlation = record.draft.correlation_id.as_ref();
        let around = EvidenceFilter {
            from: Some(stored.at.plus_ms(-WINDOW_MS)),
            to: Some(stored.at.plus_ms(WINDOW_MS)),
            after: Some(position(stored)),
            limit: SCAN_PAGE,
            ..Default::default()
        };
        let complete = self.both_ways(scope, &around, correlation, steps).await?;
        if let (false, Some(session)) = (complete, &record.draft.session_id) {
            // Too busy to look at everything: what shares the session is found all the same.
            let session_id = Some(session.to_string());
            self.both_ways(scope, &EvidenceFilter { session_id, ..around }, correlation, steps).await?;
        }
        Ok(complete)
    }

    async fn both_ways(
        &self,
        scope: &Scope,
        around: &EvidenceFilter,
        correlation: &str,
        steps: &mut Steps,
    ) -> Result<bool, ReadFault> {
        let (earlier, later) = (around.clone(), EvidenceFilter { oldest_first: true, ..around.clone() });
        let before = self.scan(scope, earlier, correlation, steps).await?;
        Ok(self.scan(scope, later, correlation, steps).await? && before)
    }

    /// Walks one way from a record. Half of the limit is for each way.
    async fn scan(
        &self,
        scope: &Scope,
        mut filter: EvidenceFilter,
        correlation: &str,
        steps: &mut Steps,
    ) -> Result<bool, ReadFault> {
        for _ in 0..TRACE_SCAN_MAX / SCAN_PAGE / 2 {
            let page = self.store.records(scope.clone(), filter.clone()).await?;
            let last = page.len() < SCAN_PAGE as usize;
            filter.after = page.last().map(position).or(filter.after);
            let shares = |stored: &StoredRecord| {
                // Cheaper than parsing each: the id occurs in the text, or the record is none of this call's.
                stored.record.as_deref().is_some_and(|text| text.contains(correlation))
                    && parsed(stored).is_some_and(|record| record.draft.correlation_id == correlation)
            };
            page.into_iter().filter(shares).for_each(|stored| keep(steps, stored));
            if last {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn keep(steps: &mut Steps, stored: StoredRecord) {
    steps.insert((stored.at.0, stored.seq), stored);
}

impl Found {
    /// The record as raw JSON, where it still is JSON.
    #[must_use]
    pub fn raw(&self) -> Option<Box<RawValue>> {
        match self {
            Self::Record(text) => RawValue::from_string(text.clone()).ok(),
            Self::Tombstone(left) => serde_json::value::to_raw_value(left).ok(),
        }
    }
}
