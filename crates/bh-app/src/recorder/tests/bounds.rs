//! The bounds of the queue, and of a round of checkpoints.

use std::sync::Arc;
use std::time::Duration;

use bh_domain::evidence::record::Durability as Recorded;
use bh_domain::tenant::Nid;
use uuid::Uuid;

use crate::evidence::tests::fake::FakeStore;
use crate::evidence::tests::house::{self, ACME, draft, key};
use crate::metrics::Metrics;
use crate::ports::{Holder, SystemClock};
use crate::recorder::checkpoints::ROUND_TREES_MAX;
use crate::recorder::queue::RELAXED_AHEAD_MAX;
use crate::recorder::{Checkpointer, Entry, EvidenceLost, Receipt, Recorder, RecorderOptions};
use crate::snapshot::{Durability, OnFailure};

/// A recorder whose writer does not run yet.
fn recorder(on_failure: OnFailure) -> Recorder {
    let options = RecorderOptions { signing_key: key(), holder: Holder::default(), on_failure };
    Recorder::new(Arc::new(FakeStore::default()), Metrics::new(), options)
}

fn submit(recorder: &Recorder, number: usize) -> Option<Receipt> {
    let mut draft = draft("acme", ACME, u32::try_from(number).unwrap());
    draft.durability = Recorded::Relaxed;
    recorder.submit(Entry::of(draft), Durability::Relaxed)
}

#[tokio::test]
async fn relaxed_calls_wait_for_the_writer_only_when_it_is_far_behind() {
    let recorder = recorder(OnFailure::Refuse);
    for number in 0..RELAXED_AHEAD_MAX {
        assert!(submit(&recorder, number).is_none(), "record {number} waits for nothing");
    }
    let receipt = submit(&recorder, RELAXED_AHEAD_MAX).expect("one more waits");
    let writer = recorder.clone();
    tokio::spawn(async move { writer.run().await });
    receipt.durable().await.unwrap();
    assert!(recorder.drain(Duration::from_secs(60)).await);
    assert!(submit(&recorder, 0).is_none(), "the writer has caught up");
}

#[tokio::test]
async fn nobody_waits_behind_a_writer_that_cannot_write() {
    let recorder = recorder(OnFailure::Refuse);
    recorder.set_healthy(false);
    for number in 0..=RELAXED_AHEAD_MAX {
        assert!(submit(&recorder, number).is_none(), "record {number} waits for nothing");
    }
}

#[tokio::test]
async fn only_a_strict_call_is_lost_with_its_record() {
    for (durability, outcome) in [(Durability::Relaxed, Ok(())), (Durability::Strict, Err(EvidenceLost))] {
        let (done, receipt) = Receipt::new(durability);
        drop(done);
        assert_eq!(receipt.durable().await, outcome);
    }
}

#[tokio::test]
async fn a_round_of_checkpoints_signs_so_many_trees_and_those_that_wait_longest_first() {
    let store = Arc::new(FakeStore::default());
    let options =
        RecorderOptions { signing_key: key(), holder: Holder::default(), on_failure: OnFailure::Refuse };
    let recorder = Recorder::new(store.clone(), Metrics::new(), options);
    let clock = Arc::new(SystemClock::new());
    let checkpointer =
        Checkpointer::new(recorder.clone(), store.clone(), clock, Arc::new(house::signing_key()));
    let writer = recorder.clone();
    tokio::spawn(async move { writer.run().await });
    let tenant = |number: usize| Nid(Uuid::from_u128(number as u128));
    let grow = async |tenants: std::ops::RangeInclusive<usize>, record: u32| {
        for number in tenants {
            recorder.submit(Entry::of(draft("any", tenant(number), record)), Durability::Relaxed);
        }
        assert!(recorder.drain(Duration::from_secs(60)).await);
    };
    let signed = |place: usize| {
        let rows = store.rows.lock();
        (rows.checkpoints[place].nid, rows.checkpoints[place].size)
    };
    grow(0..=0, 1).await;
    grow(1..=ROUND_TREES_MAX - 1, 1).await;
    grow(ROUND_TREES_MAX..=ROUND_TREES_MAX, 1).await;
    // Growing again while it waits costs a tree neither its turn nor another one.
    grow(0..=0, 2).await;
    assert_eq!(checkpointer.round().await.unwrap(), ROUND_TREES_MAX);
    assert_eq!(signed(0), (tenant(0), 2));
    grow(0..=0, 3).await;
    assert_eq!(checkpointer.sign_all().await.unwrap(), 2);
    assert_eq!(signed(ROUND_TREES_MAX), (tenant(ROUND_TREES_MAX), 1), "it has waited longest");
    assert_eq!(signed(ROUND_TREES_MAX + 1), (tenant(0), 3));
    assert_eq!(checkpointer.round().await.unwrap(), 0, "nothing has grown since");
}
