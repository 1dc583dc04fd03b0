//! The record's text is its canonical text.

use proptest::prelude::*;

use super::*;
use crate::evidence::canonical::{INTEGER_MAX, canonical};
use crate::evidence::{ChainHead, HmacKey, seal};
use crate::money::NanoUsd;
use crate::time::Timestamp;

fn record(draft: Draft) -> Record {
    Record { draft, prev_hash: [7; 32], seq: 42, signature: format!("hmac-sha256:{}", "0".repeat(64)) }
}

fn assert_canonical(record: &Record) {
    let text = serde_json::to_string(record).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text, canonical(&value));
    assert_eq!(&serde_json::from_str::<Record>(&text).unwrap(), record);
}

#[test]
fn a_sealed_record_is_this_text_for_ever() {
    let key = HmacKey::parse("a signing key of thirty-two bytes").unwrap();
    // Members that came later leave the text of a record without them as it was.
    let before_keys = Draft { key_id: None, ..samples::full() };
    let sealed = seal(&before_keys, &ChainHead::default(), &key).unwrap();
    let golden = include_str!("golden.json").trim_end();
    assert_eq!(sealed.canonical, golden);
    assert_eq!(hex::encode(&sealed.leaf_hash), GOLDEN_LEAF_HASH);
}

/// Like the golden text, computed outside this crate: SHA-256 over a zero byte and the text with an empty signature.
const GOLDEN_LEAF_HASH: &str = "6cd67c80a9b4ec383e13f3d36639ddb4797181df71e7a07945fbe582ee92b27a";

#[test]
fn absent_and_empty_members_are_left_out() {
    let text = serde_json::to_string(&record(samples::minimal())).unwrap();
    for absent in ["session_id", "explanations", "classification", "ttft_ms", "usage_estimated", "null"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    assert!(text.contains("\"secrets_accessed\":[]"), "an empty list of secrets is a statement");
    assert_canonical(&record(samples::minimal()));
    assert_canonical(&record(samples::full()));
}

fn text() -> impl Strategy<Value = Text> {
    any::<String>().prop_map(Text::Owned)
}

fn amount() -> impl Strategy<Value = NanoUsd> {
    (-(INTEGER_MAX as i64)..=INTEGER_MAX as i64).prop_map(NanoUsd)
}

prop_compose! {
    fn arbitrary_execution()(
        cost in amount(), estimated_cost in proptest::option::of(amount()),
        (currency, provider, model_used) in (text(), text(), text()),
        (error, original_model) in (proptest::option::of(text()), proptest::option::of(text())),
        http_status in proptest::option::of(any::<u16>()), ttft_ms in proptest::option::of(0..=INTEGER_MAX),
        (streamed, usage_estimated, pricing_known) in any::<(bool, bool, bool)>(),
        counts in proptest::array::uniform6(0..=INTEGER_MAX),
    ) -> Execution {
        let [duration_ms, cache_read, cache_write, input, output, reasoning] = counts;
        Execution {
            cost, cost_nano_usd: cost, currency, duration_ms, error, estimated_cost, http_status, model_used,
            original_model, pricing_basis: "table".into(), pricing_known, provider, streamed,
            tokens: Tokens { cache_read, cache_write, input, output, reasoning }, ttft_ms, usage_estimated,
        }
    }
}

prop_compose! {
    fn arbitrary_record()(
        execution in arbitrary_execution(),
        (id, agent_id, status, tenant_id) in (text(), text(), text(), text()),
        (team, session_id, failure_reason) in proptest::array::uniform3(proptest::option::of(text())).prop_map(<[_; 3]>::into),
        (full_explanations, full_failover, full_routing) in any::<(bool, bool, bool)>(),
        gateway_annotations in proptest::collection::vec(text(), 0..4),
        secrets_accessed in proptest::collection::vec(text(), 0..4),
        timestamp in 0_i64..4_102_444_800_000, seq in 1..=INTEGER_MAX, prev_hash in any::<[u8; 32]>(),
        retry_attempt in proptest::option::of(any::<u32>()),
    ) -> Record {
        let full = samples::full();
        let draft = Draft {
            agent_id, execution, failure_reason, gateway_annotations, id, retry_attempt, secrets_accessed, session_id,
            status, team, tenant_id, timestamp: Timestamp(timestamp),
            explanations: if full_explanations { full.explanations } else { Vec::new() },
            failover: full.failover.filter(|_| full_failover),
            routing_decision: full.routing_decision.filter(|_| full_routing),
            ..samples::minimal()
        };
        Record { draft, prev_hash, seq, signature: String::new() }
    }
}

proptest! {
    #[test]
    fn the_plain_serialisation_of_any_record_is_its_canonical_text(record in arbitrary_record()) {
        assert_canonical(&record);
    }
}
