use bh_domain::evidence::checkpoint::origin;
use bh_domain::evidence::{Draft, seal};
use bh_domain::tenant::Nid;

use bh_app::ports::Columns;

use super::*;

const GOLDEN: &str = include_str!("../../../../../bh-domain/src/evidence/record/golden.json");
const NID: &str = "00000000-0000-0000-0000-0000acce0001";

fn key() -> HmacKey {
    HmacKey::parse("a signing key of thirty-two bytes").unwrap()
}

/// A chain of five records as a store keeps it, with its head.
fn chain() -> (Vec<StoredRecord>, StoredHead) {
    let mut record: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    record["nid"] = NID.into();
    let (mut head, mut rows) = (ChainHead::default(), Vec::new());
    for number in 1..=5 {
        record["id"] = format!("gw_{number:012}").into();
        let draft: Draft = serde_json::from_value(record.clone()).unwrap();
        let sealed = seal(&draft, &head, &key()).unwrap();
        head.advance(&sealed);
        rows.push(StoredRecord {
            nid: Nid(NID.parse().unwrap()),
            seq: sealed.seq,
            at: draft.timestamp,
            id: draft.id.to_string(),
            leaf_hash: sealed.leaf_hash,
            record: Some(sealed.canonical),
            columns: Columns {
                caller: draft.agent_id.to_string(),
                invocation_type: draft.invocation_type.to_string(),
                allowed: draft.policy_decision.allowed,
                model: draft.execution.model_used.to_string(),
                session_id: draft.session_id.as_ref().map(ToString::to_string),
            },
        });
    }
    let ChainHead { seq, leaf_hash, frontier } = head;
    (rows, StoredHead { seq, leaf_hash, frontier: frontier.to_bytes() })
}

fn checkpoint(rows: &[StoredRecord]) -> Checkpoint {
    let mut frontier = Frontier::default();
    rows.iter().for_each(|row| drop(frontier.append(row.leaf_hash)));
    Checkpoint { origin: origin("bulkhead", NID), size: frontier.size(), root: frontier.root(), time: None }
}

/// The verdict over rows that should be `chain()`, whose first four a checkpoint covers.
fn verdict(rows: &[StoredRecord], head: Option<&StoredHead>) -> Result<(), String> {
    let mut walk = ChainWalk::new("acme", &key(), Some(checkpoint(&chain().0[..4])));
    let walked = rows.iter().try_for_each(|row| walk.take(row)).and_then(|()| walk.end(head));
    walked.map_err(|fault| fault.to_string())
}

#[test]
fn an_untouched_chain_is_sound_with_and_without_tombstones() {
    let (mut rows, head) = chain();
    assert_eq!(verdict(&rows, Some(&head)), Ok(()));
    rows[0].record = None;
    rows[1].record = None;
    assert_eq!(verdict(&rows, Some(&head)), Ok(()));
    let mut walk = ChainWalk::new("acme", &key(), None);
    rows.iter().for_each(|row| walk.take(row).unwrap());
    assert_eq!((walk.records(), walk.tombstones(), walk.newest_tombstone()), (5, 2, Some("gw_000000000002")));
}

#[test]
fn a_missing_record_is_named_wherever_it_was() {
    let (rows, head) = chain();
    for gone in 0..rows.len() {
        let mut left = rows.clone();
        left.remove(gone);
        let fault = verdict(&left, Some(&head)).unwrap_err();
        assert!(fault.ends_with(&format!("record {} of tenant acme is missing here", gone + 1)), "{fault}");
    }
}

#[test]
fn a_record_that_was_changed_swapped_or_forged_is_named() {
    let (rows, head) = chain();
    let after = |change: fn(&mut Vec<StoredRecord>)| {
        let mut changed = rows.clone();
        change(&mut changed);
        verdict(&changed, Some(&head)).unwrap_err()
    };
    let edited = after(|rows| {
        rows[2].record = rows[2].record.as_ref().map(|text| text.replacen("\"cost\":\"", "\"cost\":\"9", 1))
    });
    assert_eq!(edited, "record at index 2, id gw_000000000003, seq 3: its content or signature was changed");
    let swapped = after(|rows| {
        let (first, second) = rows.split_at_mut(2);
        std::mem::swap(&mut first[1].record, &mut second[0].record);
    });
    assert!(swapped.starts_with("record at index 1, id gw_000000000002, seq 2: "), "{swapped}");
    let damaged = after(|rows| rows[4].record = Some("{".to_owned()));
    assert!(
        damaged.starts_with("record at index 4, id gw_000000000005, seq 5: it cannot be read"),
        "{damaged}"
    );
    for (change, column) in [
        ((|rows| rows[3].columns.caller.push('x')) as fn(&mut Vec<StoredRecord>), "caller"),
        (|rows| rows[3].columns.model.push('x'), "model"),
        (|rows| rows[3].columns.invocation_type.push('x'), "invocation type"),
        (|rows| rows[3].columns.allowed ^= true, "decision"),
        (|rows| rows[3].columns.session_id = Some("x".to_owned()), "session"),
        (|rows| rows[3].at = rows[3].at.plus_ms(1), "instant"),
    ] {
        let told = "record at seq 4, id gw_000000000004: the stored";
        assert_eq!(after(change), format!("{told} {column} is not the one in the record"));
    }
    let foreign = after(|rows| rows[3].nid = Nid::SYSTEM);
    assert!(
        foreign.starts_with("record at index 3, id gw_000000000004, seq 4: it belongs to tenant"),
        "{foreign}"
    );
}

#[test]
fn whoever_holds_the_hmac_key_cannot_rewrite_what_a_checkpoint_covers() {
    let (rows, head) = chain();
    let mut walk = ChainWalk::new("acme", &key(), Some(checkpoint(&rows[1..5])));
    let fault = rows.iter().try_for_each(|row| walk.take(row)).unwrap_err();
    assert_eq!(fault, ChainFault::Rewritten(4));
    // A tail that is gone, with a head put back to match.
    let mut frontier = Frontier::default();
    rows[..3].iter().for_each(|row| drop(frontier.append(row.leaf_hash)));
    let forged = StoredHead { seq: 3, leaf_hash: rows[2].leaf_hash, frontier: frontier.to_bytes() };
    let cut_off = "a checkpoint was signed over 4 records, and the chain ends before record 4: it is missing";
    assert_eq!(verdict(&rows[..3], Some(&forged)), Err(cut_off.to_owned()));
    let another = StoredHead { leaf_hash: [7; 32], ..head };
    assert_eq!(verdict(&rows, Some(&another)), Err(ChainFault::Head.to_string()));
    assert_eq!(verdict(&rows, None), Err(ChainFault::Head.to_string()));
}
