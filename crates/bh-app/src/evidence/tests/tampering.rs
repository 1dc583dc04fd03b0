//! Everything that can be done to the rows, and what verification says to it.

use std::sync::atomic::Ordering;

use bh_domain::evidence::merkle::verify_inclusion;

use super::fake::Row;
use super::house::{ACME, House, acme, draft, record_id, signing_key};
use crate::evidence::{Checks, Verdict};
use crate::ports::Checkpoint;

const SOUND: Checks = Checks { signature: Some(true), row: true, chain: true, inclusion: true };

async fn verdict(house: &House, number: u32) -> Verdict {
    house.evidence.verify(&acme(), &record_id("acme", number)).await.unwrap().unwrap()
}

#[tokio::test]
async fn an_untouched_record_is_proven_by_a_fresh_checkpoint_and_its_proof() {
    let house = House::with(700).await;
    for number in [1, 2, 255, 256, 257, 512, 513, 699, 700] {
        let verdict = verdict(&house, number).await;
        assert_eq!(
            (verdict.checks, verdict.valid(), &verdict.reasons),
            (SOUND, true, &Vec::new()),
            "{number}"
        );
        let tree = verdict.tree.unwrap();
        let signed = signing_key().public_key().verify(&tree.note).unwrap();
        assert_eq!((signed.size, signed.root), (tree.size, tree.root));
        let index = u64::from(number) - 1;
        assert_eq!(
            verify_inclusion(&verdict.leaf_hash, index, signed.size, &verdict.proof, &signed.root),
            Ok(())
        );
    }
    assert_eq!(house.store.rows.lock().checkpoints.len(), 1, "signed once, then used again");
}

#[tokio::test]
async fn a_checkpoint_that_does_not_cover_the_record_is_followed_by_one_that_does() {
    let house = House::with(3).await;
    assert_eq!(house.evidence.checkpoint(&acme()).await.unwrap().unwrap().size, 3);
    for number in 4..=6 {
        house.put(draft("acme", ACME, number));
    }
    house.written().await;
    let old = verdict(&house, 2).await;
    assert_eq!((old.valid(), old.tree.unwrap().size), (true, 3));
    let new = verdict(&house, 5).await;
    assert_eq!((new.valid(), new.tree.unwrap().size), (true, 6));
    assert_eq!(house.evidence.checkpoint(&acme()).await.unwrap().unwrap().size, 6);
}

#[tokio::test]
async fn verification_reads_a_few_hundred_rows_however_many_there_are() {
    let house = House::with(5_000).await;
    assert!(verdict(&house, 2_500).await.valid());
    house.store.rows_read.store(0, Ordering::Relaxed);
    assert!(verdict(&house, 2_501).await.valid());
    let read = house.store.rows_read.load(Ordering::Relaxed);
    assert!(read < 600, "{read} rows");
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_the_record_is_found() {
    let house = House::with(5).await;
    let id = record_id("acme", 3);
    let original = house.store.rows.lock().records.iter().find(|row| row.row.id == id).unwrap().clone();
    let text = original.record.clone().unwrap();
    for position in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[position] ^= 1;
        let Ok(flipped) = String::from_utf8(bytes) else { continue };
        house.store.edit(&id, |row| row.record = Some(flipped.clone()));
        let verdict = verdict(&house, 3).await;
        assert!(!verdict.valid() && !verdict.reasons.is_empty(), "byte {position}: {flipped}");
        house.store.edit(&id, |row| *row = original.clone());
    }
    assert!(verdict(&house, 3).await.valid());
}

#[tokio::test]
async fn every_edited_column_is_found_and_named() {
    type Edit = fn(&mut Row);
    let cases: [(Edit, &str); 9] = [
        (|row| row.row.at.0 += 1, "the stored instant is not the one in the record"),
        (|row| row.row.leaf_hash[0] ^= 1, "the stored leaf hash is not the one in the record"),
        (|row| row.row.caller.push('x'), "the stored caller is not the one in the record"),
        (|row| row.row.model.clear(), "the stored model is not the one in the record"),
        (|row| row.row.allowed ^= true, "the stored decision is not the one in the record"),
        (|row| row.row.invocation_type.push('x'), "the stored invocation type is not the one in the record"),
        (|row| row.row.session_id = None, "the stored session is not the one in the record"),
        (
            |row| row.record = row.record.take().map(|text| text.replacen(':', ": ", 1)),
            "the stored text is not in canonical form",
        ),
        (|row| row.record = Some("not json".to_owned()), "the stored text is no record: "),
    ];
    for (number, (edit, reason)) in cases.into_iter().enumerate() {
        let house = House::with(7).await;
        assert!(verdict(&house, 5).await.valid());
        house.store.edit(&record_id("acme", 5), edit);
        let verdict = verdict(&house, 5).await;
        assert!(!verdict.valid() && !verdict.checks.row, "case {number}");
        assert!(
            verdict.reasons.iter().any(|said| said.starts_with(reason)),
            "case {number}: {:?}",
            verdict.reasons
        );
    }
}

#[tokio::test]
async fn a_record_that_was_sealed_again_with_another_key_is_found() {
    use bh_domain::evidence::{ChainHead, HmacKey, seal};
    let house = House::with(5).await;
    verdict(&house, 5).await;
    let forger = HmacKey::parse("another signing key of thirty-two bytes").unwrap();
    let mut forged = draft("acme", ACME, 1);
    forged.execution.duration_ms = 4;
    let sealed = seal(&forged, &ChainHead::default(), &forger).unwrap();
    house.store.edit(&record_id("acme", 1), |row| {
        (row.record, row.row.leaf_hash) = (Some(sealed.canonical.clone()), sealed.leaf_hash);
    });
    let expected = Checks { signature: Some(false), row: true, chain: false, inclusion: false };
    assert_eq!(verdict(&house, 1).await.checks, expected);
    assert!(!verdict(&house, 2).await.checks.chain, "its neighbour is no longer linked");
}

#[tokio::test]
async fn a_deleted_neighbour_is_named() {
    let house = House::with(5).await;
    house.store.rows.lock().records.retain(|row| row.row.id != record_id("acme", 4));
    let before = verdict(&house, 3).await;
    assert_eq!(
        (before.checks.chain, before.reasons[0].as_str()),
        (false, "record 4 of the chain is missing")
    );
    let after = verdict(&house, 5).await;
    assert_eq!((after.checks.chain, after.reasons[0].as_str()), (false, "record 4 of the chain is missing"));
}

#[tokio::test]
async fn a_record_whose_content_just_vanished_is_no_tombstone() {
    let house = House::with(5).await;
    house.store.edit(&record_id("acme", 3), |row| row.record = None);
    let verdict = verdict(&house, 3).await;
    let expected = Checks { signature: None, row: false, chain: true, inclusion: true };
    assert_eq!((verdict.purged, verdict.checks, verdict.valid()), (true, expected, false));
    assert_eq!(verdict.reasons, ["the content is gone and no record of retention accounts for it"]);
}

#[tokio::test]
async fn a_tree_that_was_rewritten_is_not_signed() {
    let house = House::with(5).await;
    assert_eq!(house.evidence.checkpoint(&acme()).await.unwrap().unwrap().size, 5);
    // The whole chain again, with other content and the right key, as whoever holds the server could do it.
    let other = House::new();
    for number in 1..=6 {
        let mut changed = draft("acme", ACME, number);
        changed.execution.duration_ms = 99;
        other.put(changed);
    }
    other.written().await;
    {
        let (mut here, mut there) = (house.store.rows.lock(), other.store.rows.lock());
        std::mem::swap(&mut here.records, &mut there.records);
        std::mem::swap(&mut here.heads, &mut there.heads);
    }
    let verdict = verdict(&house, 6).await;
    let expected = Checks { signature: Some(true), row: true, chain: true, inclusion: false };
    assert_eq!(verdict.checks, expected);
    assert!(
        verdict.reasons[0].starts_with("the tree has been rewritten since its last checkpoint"),
        "{:?}",
        verdict.reasons
    );
    assert!(house.evidence.checkpoint(&acme()).await.is_err());
    assert_eq!(house.store.rows.lock().checkpoints.len(), 1);
}

#[tokio::test]
async fn a_damaged_checkpoint_proves_nothing_and_one_by_an_older_key_is_replaced() {
    let house = House::with(5).await;
    house.evidence.checkpoint(&acme()).await.unwrap();
    house.store.rows.lock().checkpoints[0].note.insert(0, 'x');
    let bad = verdict(&house, 1).await;
    assert!(!bad.checks.inclusion && bad.tree.is_none());

    let old_key =
        bh_domain::evidence::checkpoint::SigningKey::from_seed("bulkhead.example", &[8; 32]).unwrap();
    let origin = bh_domain::evidence::checkpoint::origin("bulkhead.example", &ACME.to_string());
    let note = old_key.sign(&bh_domain::evidence::checkpoint::Checkpoint {
        origin,
        size: 5,
        root: [0; 32],
        time: None,
    });
    house.store.rows.lock().checkpoints =
        vec![Checkpoint { nid: ACME, size: 5, note, at: super::house::NOW }];
    assert!(verdict(&house, 1).await.valid());
}

#[tokio::test]
async fn an_empty_tree_has_a_checkpoint_too() {
    let house = House::new();
    let tree = house.evidence.checkpoint(&acme()).await.unwrap().unwrap();
    assert_eq!((tree.size, tree.root), (0, bh_domain::evidence::merkle::empty_root()));
    assert!(signing_key().public_key().verify(&tree.note).is_ok());
}
