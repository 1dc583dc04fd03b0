//! What streams cost: the brake that ends one before its budget is overspent, and a price for each kind of token.

use std::time::Duration;

use bh_testkit::{Reply, Script, Usage, on_both_stores};
use serde_json::json;

use crate::llm_setup::{
    CHAT, MESSAGES, PATIENCE, PRICES, RESPONSES, chat, outcome, rig, rig_with, streamed, streamed_response,
};
use crate::streaming::{assert_ended_by_us, spent, wires};

/// A word costs a tenth of a cent here; input is free.
const DEAR: &str = "
pricing:
  providers:
    openai: {models: {thinker: {input_per_1m: 0, output_per_1m: 1000}}}
    anthropic: {models: {claude: {input_per_1m: 0, output_per_1m: 1000}}}
";

on_both_stores! {
    async fn a_stream_is_ended_when_its_cost_has_used_up_the_budget(store) {
        const CAP: u64 = 50_000_000;
        for wire in 0..3 {
            let rig = rig_with(store, "{max_daily_cost: 0.05}", DEAR).await;
            // The request says 16 tokens; the provider does not care, and makes 400.
            let (path, asked, stream) = wires(400).into_iter().nth(wire).unwrap();
            rig.provider.then(Script::stream(stream).paced(Duration::from_millis(2)));
            let answer = rig.post(path, &asked).send().await;
            let text = answer.text();
            let message = "The budget is used up; the stream ends here";
            assert_ended_by_us(path, &text, &answer.headers, "budget_exceeded", message);
            assert!(rig.provider.sees_a_hang_up(PATIENCE).await, "{path}: the provider goes on");

            let record = rig.record(&answer.headers).await;
            let (status, reason, cost) = outcome(&record);
            assert_eq!((status, reason), ("stopped", Some("budget_exhausted_mid_stream")), "{path}");
            assert!((CAP / 2..=CAP).contains(&cost), "{path}: {cost}");
                // Most of what the budget held was delivered: a word counts as two tokens by its length.
            let words = text.matches("word").count();
            assert!((15..=50).contains(&words), "{path}: {words} words");
            let refused = rig.post(path, &asked).send().await;
            assert_eq!((refused.status, rig.provider.hits()), (403, 1), "{path}");
        }
    }

    async fn a_stream_within_its_budget_runs_on_past_its_reservation(store) {
        let rig = rig_with(store, "{max_daily_cost: 1}", DEAR).await;
        for (path, asked, stream) in wires(60) {
            rig.provider.then(Script::stream(stream.clone()));
            let answer = rig.post(path, &asked).send().await;
            assert_eq!(answer.status, 200);
            assert_eq!(outcome(&rig.record(&answer.headers).await), ("completed", None, 60_000_000), "{path}");
        }
    }

    async fn cached_written_and_reasoning_tokens_have_prices_of_their_own(store) {
        let rig = rig(store).await;
        let usage = Usage { input: 1001, output: 307, cached: 403, cache_write: 100, reasoning: 211 };
        rig.provider.reply(Reply::text("four short words here").using(usage));
        // Per token in nano-USD: input 2000, output 8000, read 500, written 2500, reasoning 16000.
        let openai = 598 * 2000 + 403 * 500 + 96 * 8000 + 211 * 16_000;
        let anthropic = 498 * 2000 + 403 * 500 + 100 * 2500 + 307 * 8000;
        let mut total = 0;
        for (path, asked, cost) in [
            (CHAT, streamed("thinker"), openai),
            (RESPONSES, streamed_response("thinker"), openai),
            (MESSAGES, streamed("claude"), anthropic),
        ] {
            for stream in [true, false] {
                let mut asked = asked.clone();
                asked["stream"] = json!(stream);
                let answer = rig.post(path, &asked).send().await;
                let record = rig.record(&answer.headers).await;
                assert_eq!(outcome(&record), ("completed", None, cost), "{path}, stream {stream}");
                let (pricing, streamed) = (&record["execution"]["pricing_known"], &record["execution"]["streamed"]);
                assert_eq!((pricing, streamed), (&json!(true), &json!(stream)));
                total += cost;
            }
        }
        let told = spent(&rig).await;
        let dollars = format!("{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
        assert_eq!(told, json!(dollars.trim_end_matches('0')), "the ledger is the sum of the records");
    }

    async fn a_model_without_a_price_is_priced_by_the_fallback_and_flagged(store) {
        let rig = rig(store).await;
        rig.provider.reply(Reply::text("x").using(Usage::of(100, 10)));
        for asked in [streamed("brand-new"), chat("brand-new")] {
            let answer = rig.post(CHAT, &asked).send().await;
            let record = rig.record(&answer.headers).await;
            assert_eq!(outcome(&record), ("completed", None, 100 * 3000 + 10 * 7000));
            let execution = &record["execution"];
            assert_eq!((&execution["pricing_known"], &execution["pricing_basis"]), (&json!(false), &json!("default_estimate")));
        }
    }
}

/// What a provider reads by itself is not in the request, so an allowance for it is held.
#[tokio::test]
async fn tools_of_the_provider_and_context_it_keeps_are_held_for_with_an_allowance() {
    let more = format!("budgets: {{remote_input_tokens: 500000}}\n{PRICES}");
    // A million tokens in cost two dollars: the allowance is one.
    let rig = rig_with(bh_testkit::Store::Sqlite, "{max_daily_cost: 0.9}", &more).await;
    let plain = json!({"model": "thinker", "max_output_tokens": 16, "input": "hi"});
    assert_eq!(rig.post(RESPONSES, &plain).send().await.status, 200);
    for (name, value) in
        [("tools", json!([{"type": "web_search"}])), ("previous_response_id", json!("resp_1"))]
    {
        let mut body = plain.clone();
        body[name] = value;
        let answer = rig.post(RESPONSES, &body).send().await;
        assert_eq!(
            (answer.status, &answer.json()["error"]["code"]),
            (403, &json!("budget_exceeded")),
            "{name}"
        );
    }
    let mut own = plain.clone();
    own["tools"] = json!([{"type": "function", "name": "f", "parameters": {}}]);
    assert_eq!(rig.post(RESPONSES, &own).send().await.status, 200);
    assert_eq!(rig.provider.hits(), 2);
}
