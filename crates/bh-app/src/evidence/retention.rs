//! Retention: content older than so many days goes, hash and position stay, and that itself goes on the record.
//!
//! The record says up to which instant content was removed. Verification of a tombstone looks for it: content that is
//! gone without such a record was not removed by retention.

use std::fmt;
use std::sync::Arc;

use bh_domain::evidence::reading::Reading;
use bh_domain::evidence::{Draft, HmacKey};
use bh_domain::tenant::Scope;
use bh_domain::time::{DAY_MS, Timestamp};

use super::own::OwnRecord;
use super::view::parsed;
use crate::ports::{Clock, EvidenceFilter, Purge, Store, StoreFault, StoredRecord, TenantRow};
use crate::recorder::{Entry, Recorder};
use crate::snapshot::{Durability, Live};

/// `invocation_type` of the record.
pub const RETENTION: &str = "retention";
/// Who decided, and the thread that ties the runs together; lists find it by an index. A client may assert the same
/// session, but not the invocation type.
const ACTOR: &str = "bulkhead:retention";
/// Records emptied in one transaction: small enough that calls do not notice the wait.
const RECORDS_PER_ROUND: u32 = 500;
/// Rounds for one tenant in one run; the rest waits for the next run.
const ROUNDS_MAX: u32 = 2_000;
/// The newest records of retention that verification looks at.
const LOOK_BACK: u32 = 8;
const BEFORE: &str = "removed_before=";

/// Removes old content.
#[derive(Clone)]
pub struct Retention {
    store: Arc<dyn Store>,
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    live: Live,
    days: u32,
}

impl fmt::Debug for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retention").field("days", &self.days).finish_non_exhaustive()
    }
}

/// What a run removed from one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Removed {
    records: u64,
    first_seq: u64,
    last_seq: u64,
}

impl Retention {
    /// Keeps content for `days` days (`evidence.retention_days`).
    pub fn new(
        store: Arc<dyn Store>,
        recorder: Recorder,
        clock: Arc<dyn Clock>,
        live: Live,
        days: u32,
    ) -> Self {
        Self { store, recorder, clock, live, days }
    }

    /// One run over all tenants. Returns how many records were emptied. Run it now and then, on one process at a time.
    ///
    /// # Errors
    /// When the store does not answer. What was removed until then is on the record or will be at the next run.
    pub async fn run(&self) -> Result<u64, StoreFault> {
        let before = self.clock.now().plus_ms(-i64::from(self.days) * DAY_MS);
        let mut total = 0;
        for tenant in self.store.tenants_everywhere(Scope::system("retention")).await? {
            if let Some(removed) = self.purge(&tenant, before).await? {
                total += removed.records;
                self.put_on_record(&tenant, before, removed).await;
            }
        }
        Ok(total)
    }

    async fn purge(&self, tenant: &TenantRow, before: Timestamp) -> Result<Option<Removed>, StoreFault> {
        let mut removed: Option<Removed> = None;
        for _ in 0..ROUNDS_MAX {
            let scope = Scope::tenant(tenant.nid);
            let Some(round) = self.store.purge(scope, tenant.nid, before, RECORDS_PER_ROUND).await? else {
                break;
            };
            removed = Some(Removed::add(removed, &round));
        }
        Ok(removed)
    }

    async fn put_on_record(&self, tenant: &TenantRow, before: Timestamp, removed: Removed) {
        let draft = self.draft(tenant, before, removed);
        let entry = Entry::of(draft);
        if let Some(receipt) = self.recorder.submit(entry, Durability::Strict)
            && receipt.durable().await.is_err()
        {
            tracing::error!(tenant = %tenant.id, "a run of retention is not on the record yet; it stays queued");
        }
        tracing::info!(tenant = %tenant.id, records = removed.records, before = before.rfc3339(), "old evidence emptied");
    }

    fn draft(&self, tenant: &TenantRow, before: Timestamp, removed: Removed) -> Draft {
        let now = self.clock.now();
        let snapshot = self.live.load();
        let Removed { records, first_seq, last_seq } = removed;
        let rule = format!("evidence.retention_days={}", self.days);
        let annotations = [
            format!("{BEFORE}{}", before.rfc3339()),
            format!("removed={records}"),
            format!("seqs={first_seq}-{last_seq}"),
        ];
        OwnRecord {
            nid: tenant.nid,
            tenant_id: tenant.id.to_string(),
            id: format!("{RETENTION}_{}_{}", tenant.nid.0.simple(), now.0),
            invocation_type: RETENTION,
            actor: ACTOR,
            action: "purge",
            rule,
            reason: format!("The content of {records} records from before {} was removed", before.rfc3339()),
            notes: annotations.into(),
        }
        .draft(&snapshot, now)
    }
}

impl Removed {
    fn add(so_far: Option<Self>, round: &Purge) -> Self {
        let Self { records, first_seq, last_seq } =
            so_far.unwrap_or(Self { records: 0, first_seq: round.first_seq, last_seq: round.last_seq });
        Self {
            records: records + round.removed,
            first_seq: first_seq.min(round.first_seq),
            last_seq: last_seq.max(round.last_seq),
        }
    }
}

/// A tenant's newest records of retention.
pub(super) fn records_of_retention() -> EvidenceFilter {
    EvidenceFilter {
        caller: Some(ACTOR.to_owned()),
        invocation_type: Some(RETENTION.to_owned()),
        session_id: Some(ACTOR.to_owned()),
        limit: LOOK_BACK,
        ..Default::default()
    }
}

/// The instant before which a record of retention says content was removed; `None` when it is not one, or is not
/// signed by us.
pub(super) fn removed_before(stored: &StoredRecord, key: &HmacKey) -> Option<Timestamp> {
    let reading = Reading::of(stored.record.as_deref()?.as_bytes()).ok()?;
    let draft = parsed(stored)?.draft;
    let ours = reading.signed_by(key) && draft.invocation_type == RETENTION && draft.nid == stored.nid;
    let said = draft.gateway_annotations.iter().find_map(|note| note.strip_prefix(BEFORE))?;
    Timestamp::parse(said).ok().filter(|_| ours)
}
