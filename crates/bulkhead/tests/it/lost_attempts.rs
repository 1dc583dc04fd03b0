//! Calls that went out and died without an answer: the provider may bill their input, so it is charged, as an estimate.

use bh_testkit::{FakeProvider, Gateway, Reply, Script, Store, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{CHAT, binary, chat, config, get, outcome, post, record, request_id};

const PRICES: &str = "
pricing:
  providers:
    openai: {models: {thinker: {input_per_1m: 1000, output_per_1m: 1000}}}
    spare: {models: {thinker: {input_per_1m: 3000, output_per_1m: 1000}}}
";
/// One token of `openai`'s input, in nano-USD.
const TOKEN: u64 = 1_000_000;

struct Rig {
    gateway: Gateway,
    primary: FakeProvider,
    spare: FakeProvider,
}

async fn rig(store: Store, line: &str, policy: &str) -> Rig {
    let [primary, spare] = std::array::from_fn(|_| FakeProvider::start());
    spare.reply(Reply::text("ok").using(Usage::of(5, 2)));
    primary.reply(Reply::text("ok").using(Usage::of(5, 2)));
    let providers = format!(
        "    openai: {{base_url: \"{}\", api_key: k1{line}}}\n    spare: {{base_url: \"{}\", api_key: k2}}\n",
        primary.url(),
        spare.url()
    );
    let gateway = binary().store(store).config(&config(&providers, policy, PRICES)).start().await;
    Rig { gateway, primary, spare }
}

impl Rig {
    async fn used(&self) -> Value {
        get(&self.gateway, "/v1/costs/budget").await.json()["daily_used"].clone()
    }
}

fn dollars(nano: u64) -> Value {
    json!(bh_domain::money::NanoUsd(i64::try_from(nano).unwrap()).to_string())
}

on_both_stores! {
    async fn a_call_that_dies_unanswered_is_charged_its_input_and_marked_as_estimated(store) {
        let rig = rig(store, ", timeouts: {response_header_timeout: 400ms}", "{max_daily_cost: 100}").await;
        let mut charged = 0;
        for (script, reason) in [(Script::close(), "upstream_unreachable"), (Script::hang(), "upstream_timeout")] {
            rig.primary.then(script);
            let answer = post(&rig.gateway, CHAT, &chat("thinker")).send().await;
            let told = record(&rig.gateway, request_id(&answer.headers)).await;
            let input = told["execution"]["tokens"]["input"].as_u64().unwrap();
            assert!(input > 0);
            assert_eq!(outcome(&told), ("failed", Some(reason), input * TOKEN));
            let execution = ["provider", "model_used", "usage_estimated", "pricing_known"].map(|n| told["execution"][n].clone());
            assert_eq!(execution, [json!("openai"), json!("thinker"), json!(true), json!(true)]);
            // The attempt's own record tells of it without charging it again.
            let attempt = record(&rig.gateway, &format!("{}_a1", request_id(&answer.headers))).await;
            assert_eq!(outcome(&attempt).2, 0);
            charged += input * TOKEN;
            assert_eq!(rig.used().await, dollars(charged));
        }
        assert_eq!(get(&rig.gateway, "/v1/costs").await.json()["daily"], dollars(charged));
    }

    async fn each_attempt_that_went_out_is_charged_at_its_own_provider_s_price(store) {
        let rig = rig(store, ", fallback: [{provider: spare}], retry: {max_attempts: 1, initial_backoff: 1ms}", "{max_daily_cost: 100}").await;
        rig.primary.then(Script::close()).then(Script::close());
        let answer = post(&rig.gateway, CHAT, &chat("thinker")).send().await;
        assert_eq!((answer.status, rig.primary.hits(), rig.spare.hits()), (200, 2, 1));
        let told = record(&rig.gateway, request_id(&answer.headers)).await;
        // Five tokens in, at three times the price, and two out.
        assert_eq!(outcome(&told).2, (5 * 3 + 2) * TOKEN);
        assert_ne!(told["execution"]["usage_estimated"], json!(true));
        let mut sum = (5 * 3 + 2) * TOKEN;
        for number in [1, 2] {
            let attempt = record(&rig.gateway, &format!("{}_a{number}", request_id(&answer.headers))).await;
            let input = attempt["execution"]["tokens"]["input"].as_u64().unwrap();
            assert_eq!((outcome(&attempt).2, &attempt["execution"]["usage_estimated"]), (input * TOKEN, &json!(true)));
            assert!(input > 0);
            sum += input * TOKEN;
        }
        assert_eq!(rig.used().await, dollars(sum), "records and budget say the same");
        let usage = get(&rig.gateway, "/api/v1/usage/metrics").await.json()["data"].clone();
        assert_eq!((&usage["requests"]["total"], &usage["cost"]["total"]), (&json!(1), &dollars(sum)), "one request");
        let models = usage["byModel"].as_array().unwrap();
        let requests: Vec<_> = models.iter().map(|m| (&m["provider"], &m["requests"]["total"])).collect();
        assert!(requests.contains(&(&json!("spare"), &json!(1))), "{usage}");
        assert!(requests.contains(&(&json!("openai"), &json!(0))), "an attempt has its cost and is no request: {usage}");
    }
}

#[tokio::test]
async fn a_lost_attempt_is_not_followed_by_one_that_no_budget_holds() {
    let line = ", retry: {max_attempts: 3, initial_backoff: 1ms}";
    let probe = rig(Store::Sqlite, line, "{max_daily_cost: 100}").await;
    let answer = post(&probe.gateway, CHAT, &chat("thinker")).send().await;
    let told = record(&probe.gateway, request_id(&answer.headers)).await;
    let held = told["execution"]["estimated_cost"].as_str().unwrap();

    let exact = rig(Store::Sqlite, line, &format!("{{max_daily_cost: {held}}}")).await;
    exact.primary.then(Script::close());
    let answer = post(&exact.gateway, CHAT, &chat("thinker")).send().await;
    assert_eq!((answer.status, exact.primary.hits()), (502, 1), "{}", answer.text());
    let told = record(&exact.gateway, request_id(&answer.headers)).await;
    assert_eq!(exact.used().await, dollars(outcome(&told).2), "the rest is free again");
}
