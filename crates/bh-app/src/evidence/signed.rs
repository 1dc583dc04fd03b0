//! Signed exports: three walks over the records, so that memory holds twelve bytes of each.
//!
//! First which records there are, then what proves them, then the records themselves in the order of their chains.

use std::collections::BTreeMap;
use std::sync::Arc;

use bh_domain::evidence::export::{ExportWriter, Format, Group, GroupBuilder, Heading};
use bh_domain::evidence::merkle::plan::multiproof_ranges;
use bh_domain::evidence::reading::Reading;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::export::{EXPORT_RECORDS_MAX, ExportQuery};
use super::table::pages;
use super::{EvidenceReads, Pieces, Reach, ReadFault};
use crate::ports::{EvidenceStore, StoredRecord};

/// Rows of a chain that one read spans.
const SPAN_ROWS: u64 = 512;

/// The records of one tenant.
#[derive(Debug, Default)]
struct Picked {
    tenant_id: String,
    /// Ascending.
    seqs: Vec<u64>,
}

impl EvidenceReads {
    pub(super) async fn signed(
        &self,
        reach: &Reach,
        query: &ExportQuery,
        format: Format,
        now: Timestamp,
    ) -> Result<Pieces, ReadFault> {
        let mut picked = self.pick(reach, query).await?;
        let mut groups = Vec::with_capacity(picked.len());
        for (nid, records) in &mut picked {
            records.seqs.sort_unstable();
            groups.push(self.group(*nid, records).await?);
        }
        let heading = Heading {
            generated_at: now,
            bulkhead_version: env!("CARGO_PKG_VERSION").to_owned(),
            filter: query.asked(reach),
        };
        let writer = ExportWriter::new(heading, groups, self.checkpointer.key(), format)?;
        let header = Bytes::from(writer.header());
        let walk =
            Walk { store: Arc::clone(&self.store), picked: picked.into_iter().collect(), tenant: 0, next: 0 };
        let records = stream::try_unfold(Some((writer, walk)), write_span);
        Ok(stream::iter([Ok(header)]).chain(records).boxed())
    }

    /// Which records the export holds. Tombstones have no content to export.
    async fn pick(&self, reach: &Reach, query: &ExportQuery) -> Result<BTreeMap<Nid, Picked>, ReadFault> {
        let mut picked: BTreeMap<Nid, Picked> = BTreeMap::new();
        let Some(scope) = reach.scope() else { return Ok(picked) };
        let limit = query.limit.min(EXPORT_RECORDS_MAX);
        let mut pages = pages(Arc::clone(&self.store), scope, query.filter(), limit);
        while let Some(page) = pages.try_next().await? {
            for stored in page {
                let Some(text) = &stored.record else { continue };
                let group = picked.entry(stored.nid).or_default();
                if group.tenant_id.is_empty()
                    && let Ok(reading) = Reading::of(text.as_bytes())
                {
                    group.tenant_id = reading.tenant_id.into_owned();
                }
                group.seqs.push(stored.seq);
            }
        }
        Ok(picked)
    }

    /// What proves one tenant's records.
    async fn group(&self, nid: Nid, records: &mut Picked) -> Result<Group, ReadFault> {
        let scope = Scope::tenant(nid);
        let mut builder = GroupBuilder::new(&records.tenant_id, nid);
        let mut listed = Vec::with_capacity(records.seqs.len());
        let mut next = 0;
        while let Some(span) = span(&records.seqs, next) {
            next += span.len();
            for stored in read(self.store.as_ref(), &scope, nid, span).await? {
                let Some(text) = &stored.record else { continue };
                // The hash as stored and the signature as it stands: whoever verifies names the record that differs.
                let reading = Reading::of(text.as_bytes()).ok();
                let signature = reading.as_ref().map_or("", |reading| reading.signature.as_ref());
                builder.push(stored.seq, &stored.leaf_hash, signature)?;
                listed.push(stored.seq);
            }
        }
        let tree = self.covering(&scope, nid, builder.leaf_set().end()).await?;
        let proof = self.hashes(&scope, nid, &multiproof_ranges(tree.size, builder.leaf_set())).await?;
        records.seqs = listed;
        Ok(builder.finish(tree.note, &proof))
    }
}

/// A walk over the picked records, tenant by tenant.
struct Walk {
    store: Arc<dyn EvidenceStore>,
    picked: Vec<(Nid, Picked)>,
    tenant: usize,
    next: usize,
}

impl Walk {
    /// The next records; `None` after the last.
    async fn step(&mut self) -> Result<Option<Vec<StoredRecord>>, ReadFault> {
        while let Some((nid, records)) = self.picked.get(self.tenant) {
            if let Some(span) = span(&records.seqs, self.next) {
                self.next += span.len();
                return Ok(Some(read(self.store.as_ref(), &Scope::tenant(*nid), *nid, span).await?));
            }
            (self.tenant, self.next) = (self.tenant + 1, 0);
        }
        Ok(None)
    }
}

type Writing = Option<(ExportWriter, Walk)>;

/// Writes the next records, or the end.
async fn write_span(writing: Writing) -> Result<Option<(Bytes, Writing)>, ReadFault> {
    let Some((mut writer, mut walk)) = writing else { return Ok(None) };
    let mut text = String::new();
    match walk.step().await? {
        Some(records) => {
            let texts = records.iter().filter_map(|stored| stored.record.as_deref());
            texts.for_each(|record| writer.record(record, &mut text));
            Ok(Some((Bytes::from(text), Some((writer, walk)))))
        }
        None => {
            // Fails when retention removed a record meanwhile: better no end than one that does not verify.
            writer.finish(&mut text)?;
            Ok(Some((Bytes::from(text), None)))
        }
    }
}

/// The positions from `start` on that one read spans.
fn span(seqs: &[u64], start: usize) -> Option<&[u64]> {
    let rest = seqs.get(start..).filter(|rest| !rest.is_empty())?;
    let first = rest.first().copied()?;
    let count = rest.partition_point(|seq| seq - first < SPAN_ROWS);
    rest.get(..count)
}

/// Reads the records at these ascending positions.
async fn read(
    store: &dyn EvidenceStore,
    scope: &Scope,
    nid: Nid,
    seqs: &[u64],
) -> Result<Vec<StoredRecord>, ReadFault> {
    let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(Vec::new()) };
    let limit = u32::try_from(last - first + 1).unwrap_or(u32::MAX);
    let mut rows = store.chain(scope.clone(), nid, *first, *last, limit).await?;
    rows.retain(|row| seqs.binary_search(&row.seq).is_ok());
    Ok(rows)
}
