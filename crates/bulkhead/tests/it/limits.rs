//! Requests per minute: of a caller, of a tenant, of everybody.

use bh_testkit::{Answer, Call, Gateway, on_both_stores};
use serde_json::json;

use crate::money::{
    APP, BATCH, WEB, at_once, call, config, count_of, entries, gateway, provider, read, reload,
};

const NO_POLICY: &str = "{}";
/// At 6 requests per minute, one is free again after ten seconds: long after a test has looked.
const PER_MINUTE: usize = 6;

fn number(answer: &Answer, header: &str) -> u64 {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}

/// What was answered, for whoever wonders why.
fn texts(answers: &[Answer]) -> Vec<String> {
    answers.iter().map(|answer| format!("{} {}", answer.status, answer.text())).collect()
}

/// Uses up an allowance and returns the refusal of the next call.
async fn used_up(gateway: &Gateway, key: &str, allowance: usize) -> Answer {
    let answers = at_once(&call(gateway, key), allowance).await;
    assert_eq!(count_of(&answers, 200), allowance, "{:?}", texts(&answers));
    let refused = call(gateway, key).send().await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    refused
}

on_both_stores! {
    /// Proves: TALON-37
    async fn a_burst_beyond_a_caller_s_limit_is_told_when_to_come_back(store) {
        let provider = provider();
        let config = config(&provider, ["{requests_per_minute: 6}", NO_POLICY, NO_POLICY], "");
        let gateway = gateway(&config).store(store).start().await;
        let first = call(&gateway, APP).send().await;
        assert_eq!((number(&first, "x-ratelimit-limit"), number(&first, "x-ratelimit-remaining")), (6, 5));

        let refused = used_up(&gateway, APP, PER_MINUTE - 1).await;
        let wait = number(&refused, "retry-after");
        assert!((1..=10).contains(&wait), "{wait}");
        assert_eq!((number(&refused, "x-ratelimit-limit"), number(&refused, "x-ratelimit-remaining")), (6, 0));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let reset = number(&refused, "x-ratelimit-reset");
        assert!((now + 40..=now + 61).contains(&reset), "epoch seconds: {reset}, now {now}");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"requests\";q=6;w=60"));
        let limit = refused.header("ratelimit").unwrap();
        assert!(limit.starts_with("\"requests\";r=0;t="), "{limit}");

        assert_eq!(provider.hits(), PER_MINUTE, "a refused call reaches nobody");
        assert_eq!(call(&gateway, BATCH).send().await.status, 200, "another caller has its own allowance");
        let denied: Vec<_> = entries(&gateway, APP).await.into_iter().filter(|e| e["allowed"] == false).collect();
        assert_eq!(denied.len(), 1);
        let told = ["agent_id", "policy_action", "status", "cost"].map(|name| denied[0][name].as_str().unwrap());
        assert_eq!(told, ["app", "limit", "denied", "0"]);
        let record = read(&gateway, APP, &format!("/v1/evidence/{}", denied[0]["id"].as_str().unwrap())).await;
        assert_eq!(record["failure_reason"], "rate_limited");
        assert_eq!(refused.header("x-bulkhead-request-id"), record["id"].as_str());
    }
}

/// Each dialect raises its own typed error from a 429, so it must look like its provider's.
#[tokio::test]
async fn a_429_is_told_in_the_words_of_the_provider_s_family() {
    let provider = provider();
    let config = config(&provider, ["{requests_per_minute: 1}", NO_POLICY, NO_POLICY], "");
    let gateway = gateway(&config).start().await;
    let openai = used_up(&gateway, APP, 1).await;
    let error = &openai.json()["error"];
    assert_eq!((&error["message"], &error["code"]), (&json!("Rate limit exceeded"), &json!("rate_limited")));
    assert_eq!((&error["type"], &error["limited"]), (&json!("rate_limited"), &json!("caller")));

    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let ask = Call::post(gateway.at("/v1/proxy/anthropic/v1/messages"), &body).header("x-api-key", APP);
    let anthropic = ask.header("anthropic-version", "2023-06-01").send().await;
    let body = anthropic.json();
    assert_eq!((anthropic.status, &body["type"]), (429, &json!("error")));
    assert_eq!(
        (&body["error"]["type"], &body["error"]["message"]),
        (&json!("rate_limit_error"), &json!("Rate limit exceeded"))
    );
    assert!(number(&anthropic, "retry-after") >= 1);
}

on_both_stores! {
    async fn the_callers_of_a_tenant_share_its_limit_and_no_other_tenant_does(store) {
        let provider = provider();
        let more = "tenants: [{id: acme, rate_limits: {requests_per_minute: 6}}]\n";
        let gateway = gateway(&config(&provider, [NO_POLICY; 3], more)).store(store).start().await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 4).await, 200), 4);
        let refused = used_up(&gateway, BATCH, 2).await;
        assert_eq!((&refused.json()["error"]["limited"], provider.hits()), (&json!("tenant"), 6));
        assert_eq!(count_of(&at_once(&call(&gateway, WEB), 10).await, 200), 10);
    }

    async fn everybody_shares_the_global_limit_and_what_it_refuses_costs_no_caller_its_own(store) {
        let provider = provider();
        let base = config(&provider, ["{requests_per_minute: 8}", NO_POLICY, NO_POLICY], "");
        let limited = |global: &str| base.replace("gateway:\n", &format!("gateway:\n  rate_limits: {global}\n"));
        let mut gateway = gateway(&limited("{global_requests_per_min: 6}")).store(store).start().await;
        assert_eq!(count_of(&at_once(&call(&gateway, WEB), 4).await, 200), 4);
        let answers = at_once(&call(&gateway, APP), 6).await;
        assert_eq!((count_of(&answers, 200), count_of(&answers, 429), provider.hits()), (2, 4, 6));
        let refused = answers.iter().find(|answer| answer.status == 429).unwrap();
        assert_eq!(refused.json()["error"]["limited"], "gateway");
        // Of its eight, the caller has used the two that went through, not the four that were refused for others' sake.
        reload(&mut gateway, &limited("{}")).await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 8).await, 200), 6);
    }

    async fn a_limit_that_a_reload_changes_binds_at_once_and_a_reload_refills_nothing(store) {
        let provider = provider();
        let with = |limit: &str| config(&provider, [limit, NO_POLICY, NO_POLICY], "");
        let mut gateway = gateway(&with("{requests_per_minute: 6}")).store(store).start().await;
        used_up(&gateway, APP, PER_MINUTE).await;
        reload(&mut gateway, &with("{requests_per_minute: 6, max_daily_cost: 50}")).await;
        assert_eq!(call(&gateway, APP).send().await.status, 429, "the same limit, as used up as before");
        reload(&mut gateway, &with("{}")).await;
        let answers = at_once(&call(&gateway, APP), 20).await;
        assert_eq!(count_of(&answers, 200), 20, "no limit any more: {:?}", texts(&answers));
        reload(&mut gateway, &with("{requests_per_minute: 1}")).await;
        let answers = at_once(&call(&gateway, APP), 5).await;
        assert!(count_of(&answers, 429) >= 4, "a tighter one");
    }
}
