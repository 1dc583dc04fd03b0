//! Retention: what goes, what stays provable, and what is said about it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bh_domain::evidence::Record;
use bh_domain::evidence::export::{Format, verify_export};
use bh_domain::time::DAY_MS;
use futures_util::TryStreamExt;

use super::house::{ACME, House, NOW, acme, draft, record_id, signing_key};
use crate::evidence::retention::{RETENTION, Retention};
use crate::evidence::{Checks, ExportFormat, ExportQuery, Found, IndexEntry};
use crate::ports::{Clock, EvidenceFilter, Store};

async fn aged() -> (House, Retention) {
    let house = House::with(900).await;
    house.clock.0.store(NOW.0 + 30 * DAY_MS, Ordering::Relaxed);
    let mut young = draft("acme", ACME, 901);
    young.timestamp = house.clock.now();
    house.put(young);
    house.written().await;
    let store = Arc::clone(&house.store) as Arc<dyn Store>;
    let clock = Arc::clone(&house.clock) as Arc<dyn Clock>;
    let retention = Retention::new(store, house.recorder.clone(), clock, Arc::clone(&house.live), 7);
    (house, retention)
}

#[tokio::test]
async fn old_content_goes_in_rounds_and_one_record_for_each_tenant_says_so() {
    let (house, retention) = aged().await;
    assert_eq!(retention.run().await.unwrap(), 903);
    assert_eq!(retention.run().await.unwrap(), 0, "nothing is left to remove, and nothing more is recorded");
    let filter =
        EvidenceFilter { invocation_type: Some(RETENTION.to_owned()), limit: 10, ..Default::default() };
    let page = house.evidence.page(&acme(), filter).await.unwrap();
    assert_eq!(page.entries.len(), 1);
    let IndexEntry::Record(summary) = &page.entries[0] else { panic!("{:?}", page.entries) };
    let Some(Found::Record(text)) = house.evidence.record(&acme(), &summary.id).await.unwrap() else {
        panic!()
    };
    let record: Record = serde_json::from_str(&text).unwrap();
    assert_eq!(
        record.draft.gateway_annotations,
        ["removed_before=2026-12-14T09:30:00.000Z", "removed=900", "seqs=1-900"]
    );
    assert_eq!(
        (record.seq, record.draft.policy_decision.reasons[0].as_ref()),
        (902, "evidence.retention_days=7")
    );
}

#[tokio::test]
async fn a_tombstone_stays_in_the_lists_and_is_proven_by_what_is_left() {
    let (house, retention) = aged().await;
    retention.run().await.unwrap();
    let verdict = house.evidence.verify(&acme(), &record_id("acme", 450)).await.unwrap().unwrap();
    let expected = Checks { signature: None, row: true, chain: true, inclusion: true };
    assert_eq!(
        (verdict.purged, verdict.checks, verdict.valid(), verdict.reasons),
        (true, expected, true, Vec::new())
    );
    let young = house.evidence.verify(&acme(), &record_id("acme", 901)).await.unwrap().unwrap();
    assert!(young.valid() && !young.purged);
    let found = house.evidence.record(&acme(), &record_id("acme", 450)).await.unwrap();
    assert!(matches!(found, Some(Found::Tombstone(left)) if left.purged && !left.damaged && left.seq == 450));
}

#[tokio::test]
async fn content_younger_than_retention_went_is_not_excused_by_it() {
    let (house, retention) = aged().await;
    retention.run().await.unwrap();
    house.store.edit(&record_id("acme", 901), |row| row.record = None);
    let verdict = house.evidence.verify(&acme(), &record_id("acme", 901)).await.unwrap().unwrap();
    assert_eq!((verdict.checks.row, verdict.valid()), (false, false));
}

#[tokio::test]
async fn a_signed_export_leaves_tombstones_out_and_verifies() {
    let (house, retention) = aged().await;
    retention.run().await.unwrap();
    let query = ExportQuery {
        caller: None,
        from: None,
        to: None,
        session_id: None,
        violations_only: false,
        limit: 10_000,
        format: ExportFormat::Signed(Format::Ndjson),
    };
    let pieces: Vec<_> =
        house.evidence.export(&acme(), &query, NOW).await.unwrap().try_collect().await.unwrap();
    let report = verify_export(&pieces.concat(), &signing_key().public_key()).unwrap();
    assert_eq!((report.records, &report.groups[0].seqs), (2, &vec![[901, 902]]));
}
