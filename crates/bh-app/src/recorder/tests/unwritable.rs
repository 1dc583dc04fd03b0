//! Records that can never be written, over a store in memory.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bh_domain::budget::Owner;
use bh_domain::evidence::canonical::INTEGER_MAX;
use bh_domain::evidence::{Draft, Record};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::Scope;

use crate::evidence::tests::house::{ACME, House, draft, record_id};
use crate::ports::{ContentRow, EvidenceStore as _, SpendDelta};
use crate::recorder::Entry;
use crate::snapshot::Durability;

const SPENT: NanoUsd = NanoUsd(1_000);
/// How many records the store takes before and after the one in question.
const OTHERS: u32 = 9;
const ODD: u32 = 5;

fn entry(draft: Draft) -> Entry {
    let spend = SpendDelta {
        nid: ACME,
        owner: Owner::Caller(draft.agent_id.to_string()),
        window: "2026-11-21".to_owned(),
        calls: 1,
        denied: 0,
        failed: 0,
        tokens: TokenCounts::default(),
        cost: SPENT,
    };
    let contents = vec![ContentRow {
        nid: ACME,
        record_id: draft.id.to_string(),
        kind: "prompt",
        sealed: b"sealed".to_vec(),
        key: None,
    }];
    Entry { spend: vec![spend], contents, ..Entry::of(draft) }
}

/// Submits records `1..=OTHERS`, of which number [`ODD`] is edited, and waits until all are durable.
async fn written(house: &House, edit: impl Fn(&mut Draft)) -> Vec<Record> {
    let receipts: Vec<_> = (1..=OTHERS)
        .map(|number| {
            let mut draft = draft("acme", ACME, number);
            if number == ODD {
                edit(&mut draft);
            }
            house.recorder.submit(entry(draft), Durability::Strict).unwrap()
        })
        .collect();
    for receipt in receipts {
        assert_eq!(receipt.durable().await, Ok(()));
    }
    house.written().await;
    stored(house).await
}

async fn until(holds: impl Fn() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), waited).await.is_ok());
}

async fn stored(house: &House) -> Vec<Record> {
    let rows = house.store.chain(Scope::tenant(ACME), ACME, 1, 100, 100).await.unwrap();
    rows.iter().map(|row| serde_json::from_str(row.record.as_deref().unwrap()).unwrap()).collect()
}

/// What stands in for the odd record, after it was checked that nothing is missing around it.
fn stand_in(house: &House, records: &[Record]) -> Record {
    let ids: Vec<_> = records.iter().map(|record| record.draft.id.to_string()).collect();
    assert_eq!(ids, (1..=OTHERS).map(|number| record_id("acme", number)).collect::<Vec<_>>());
    let spent: NanoUsd = house.store.rows.lock().spend.iter().map(|delta| delta.cost).sum();
    assert_eq!(spent, SPENT.times(i64::from(OTHERS)), "all of the money is settled");
    let noted = |record: &&Record| !record.draft.gateway_annotations.is_empty();
    let mut replaced: Vec<_> = records.iter().filter(noted).cloned().collect();
    assert_eq!(replaced.len(), 1, "only one record is not as it was");
    replaced.remove(0)
}

#[tokio::test]
async fn a_record_without_an_exact_form_is_replaced_before_anything_is_written() {
    let house = House::new();
    let records = written(&house, |draft| draft.execution.tokens.input = INTEGER_MAX + 1).await;
    let told = stand_in(&house, &records).draft;
    assert_eq!(told.gateway_annotations, ["evidence_unsealable: evidence member `input` is beyond ±2^53"]);
    let (was, tokens) = (draft("acme", ACME, ODD), told.execution.tokens);
    assert_eq!(
        (told.agent_id, told.session_id, told.timestamp, told.policy_decision.allowed, told.execution.cost),
        (was.agent_id, was.session_id, was.timestamp, true, was.execution.cost)
    );
    assert_eq!((tokens.input, tokens.output), (0, 7));
    assert_eq!(*house.store.batches.lock(), [OTHERS as usize], "nothing is tried twice");
}

#[tokio::test]
async fn a_record_with_two_costs_tells_the_one_that_was_settled_as_text() {
    let house = House::new();
    let records = written(&house, |draft| draft.execution.cost = NanoUsd(7)).await;
    let told = stand_in(&house, &records).draft;
    let mismatch = "evidence_unsealable: evidence members `cost` and `cost_nano_usd` differ";
    assert_eq!(told.gateway_annotations, [mismatch, "cost_nano_usd=5000"]);
    assert_eq!((told.execution.cost, told.execution.pricing_known), (NanoUsd::ZERO, false));
}

#[tokio::test]
async fn a_record_that_the_store_refuses_is_found_and_a_plain_one_stands_in_for_it() {
    let house = House::new();
    *house.store.refuses.lock() = Some(|row| row.model.contains('\0') || row.caller.contains('\0'));
    let records = written(&house, |draft| {
        draft.execution.model_used = "gpt\0".into();
        draft.agent_id = "a\0".into();
    })
    .await;
    let told = stand_in(&house, &records).draft;
    assert_eq!(told.gateway_annotations, ["evidence_refused_by_store"]);
    assert_eq!((&*told.execution.model_used, &*told.agent_id), ("gpt\u{fffd}", "a\u{fffd}"));
    assert_eq!(told.execution.cost, NanoUsd(5_000));
    assert!(house.recorder.healthy(), "the store can be written");
    let spent = house.store.rows.lock().spend.iter().map(|delta| delta.owner.key()).collect::<Vec<_>>();
    assert!(spent.contains(&"caller:a\u{fffd}".to_owned()) && !spent.iter().any(|key| key.contains('\0')));
}

/// However long the store is away, and however it fails, what waits is written as it was.
#[tokio::test]
async fn a_store_that_takes_nothing_changes_no_record() {
    let house = House::new();
    house.store.down.store(true, Ordering::Relaxed);
    for number in 1..=OTHERS {
        drop(house.recorder.submit(entry(draft("acme", ACME, number)), Durability::Strict));
    }
    until(|| house.store.batches.lock().len() > 5).await;
    assert!(!house.recorder.healthy());
    house.store.down.store(false, Ordering::Relaxed);
    house.written().await;
    let records = stored(&house).await;
    assert_eq!(records.len(), OTHERS as usize);
    assert!(records.iter().all(|record| record.draft.gateway_annotations.is_empty()));
    assert!(house.store.batches.lock().iter().all(|size| *size == OTHERS as usize), "no batch was halved");
}

/// A store that refuses every record, plain ones too, has a fault of its own.
#[tokio::test]
async fn a_store_that_refuses_plain_records_too_gets_them_as_they_were_once_it_is_mended() {
    let house = House::new();
    *house.store.refuses.lock() = Some(|_| true);
    drop(house.recorder.submit(entry(draft("acme", ACME, 1)), Durability::Strict));
    until(|| !house.recorder.healthy()).await;
    assert!(house.recorder.accepting().is_err());
    *house.store.refuses.lock() = None;
    house.written().await;
    assert_eq!(stored(&house).await[0].draft, draft("acme", ACME, 1));
}
