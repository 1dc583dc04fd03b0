//! The queue's bounds.

use std::sync::Arc;
use std::time::Duration;

use bh_domain::evidence::record::Durability as Recorded;

use crate::evidence::tests::fake::FakeStore;
use crate::evidence::tests::house::{ACME, draft, key};
use crate::metrics::Metrics;
use crate::ports::Holder;
use crate::recorder::queue::RELAXED_AHEAD_MAX;
use crate::recorder::{Entry, EvidenceLost, Receipt, Recorder, RecorderOptions};
use crate::snapshot::{Durability, OnFailure};

/// A recorder whose writer does not run yet.
fn recorder(on_failure: OnFailure) -> Recorder {
    let options = RecorderOptions { signing_key: key(), holder: Holder::default(), on_failure };
    Recorder::new(Arc::new(FakeStore::default()), Metrics::new(), options)
}

fn submit(recorder: &Recorder, number: usize) -> Option<Receipt> {
    let mut draft = draft("acme", ACME, u32::try_from(number).unwrap());
    draft.durability = Recorded::Relaxed;
    recorder.submit(Entry { draft, spend: Vec::new(), contents: Vec::new() }, Durability::Relaxed)
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
