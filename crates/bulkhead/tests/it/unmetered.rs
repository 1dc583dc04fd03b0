//! Paths whose price nobody knows beforehand: where a budget or a model rule applies, they are no way round it.

use bh_testkit::{FakeProvider, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{Rig, binary, config, get, outcome, record, request_id};

const IMAGES: &str = "/v1/proxy/openai/v1/images/generations";
const BATCHES: &str = "/v1/proxy/anthropic/v1/messages/batches";
const BUDGET: &str = "{max_daily_cost: 1}";
const RULE: &str = "{allowed_models: [thinker]}";

fn image(model: &str) -> Value {
    json!({"model": model, "prompt": "a bulkhead"})
}

/// A gateway that says nothing of unmetered paths.
async fn rig(store: Store, policy: &str, more: &str) -> Rig {
    with(store, "", policy, more).await
}

/// A gateway whose provider takes unmetered requests under any rule.
async fn allowing(policy: &str) -> Rig {
    with(Store::Sqlite, ", unmetered_paths: allow", policy, "").await
}

async fn with(store: Store, line: &str, policy: &str, more: &str) -> Rig {
    let provider = FakeProvider::start();
    let settings = format!("base_url: \"{}\", api_key: k{line}", provider.url());
    let providers = format!("    openai: {{{settings}}}\n    anthropic: {{{settings}}}\n");
    Rig { gateway: binary().store(store).config(&config(&providers, policy, more)).start().await, provider }
}

on_both_stores! {
    async fn under_a_budget_a_path_without_a_price_is_refused_in_the_dialect_and_recorded(store) {
        let rig = rig(store, BUDGET, "").await;
        let answer = rig.post(IMAGES, &image("gpt-image-1")).send().await;
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (403, &json!("unmetered_path_not_allowed")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("gateway.providers.openai.unmetered_paths: allow"));
        let record = rig.record(&answer.headers).await;
        assert_eq!(outcome(&record), ("denied", Some("unmetered_path_not_allowed"), 0));
        assert_eq!(record["explanations"][0]["code"], "POLICY_DENIED_ROUTING");

        let told = rig.post(BATCHES, &json!({"requests": []})).send().await;
        let body = told.json();
        assert_eq!((told.status, &body["type"], &body["error"]["type"]), (403, &json!("error"), &json!("permission_error")));
        assert_eq!(body["error"]["code"], "unmetered_path_not_allowed");
        assert_eq!(rig.provider.hits(), 0);
    }

    async fn budgets_of_the_tenant_the_organisation_and_sessions_close_such_paths_too(store) {
        for (policy, more) in [
            ("{}", "tenants: [{id: acme, budgets: {monthly: 9}}]\n"),
            ("{}", "budgets: {organization: {daily: 9}}\n"),
            ("{max_session_cost: 1}", ""),
            ("{}", "  organization_policy: {constraints: {max_daily_cost: 1}}\n"),
            ("{}", "  default_policy: {max_daily_cost: 100}\n"),
        ] {
            let rig = rig(store, policy, more).await;
            assert_eq!(rig.post(IMAGES, &image("m")).send().await.status, 403, "{policy} {more}");
            assert_eq!(rig.provider.hits(), 0);
        }
    }
}

#[tokio::test]
async fn a_model_rule_closes_them_and_without_any_rule_they_are_open() {
    let ruled = rig(Store::Sqlite, RULE, "").await;
    // Not even with a model that is allowed: other fields may name another one.
    for method in ["POST", "PUT", "PATCH"] {
        let answer = ruled.call(method, IMAGES).body(image("thinker").to_string()).send().await;
        assert_eq!(answer.status, 403, "{method}: {}", answer.text());
    }
    assert_eq!(ruled.provider.hits(), 0);
    // The default caps, which nobody has chosen, are no rule.
    let free = rig(Store::Sqlite, "{}", "").await;
    let passed = free.post(IMAGES, &image("gpt-image-1")).send().await;
    assert_eq!(passed.status, 200);
    let record = free.record(&passed.headers).await;
    assert_eq!(record["execution"]["pricing_known"], json!(false), "{record}");
}

#[tokio::test]
async fn reading_and_deleting_stay_open_under_every_rule() {
    let rig = rig(Store::Sqlite, "{max_daily_cost: 1, allowed_models: [thinker]}", "").await;
    for (method, path) in
        [("GET", "v1/models"), ("GET", "v1/files/f1"), ("HEAD", "v1/files/f1"), ("DELETE", "v1/files/f1")]
    {
        let answer = rig.call(method, &format!("/v1/proxy/openai/{path}")).send().await;
        assert_eq!(answer.status, 200, "{method} {path}");
    }
    assert_eq!(rig.provider.hits(), 4);
}

#[tokio::test]
async fn a_provider_may_be_told_to_take_them_and_an_unknown_price_is_recorded_as_unknown() {
    let rig = allowing(BUDGET).await;
    let upload = rig.post(IMAGES, &image("gpt-4o-mini")).send().await;
    assert_eq!(upload.status, 200);
    let record = rig.record(&upload.headers).await;
    assert_eq!(
        (outcome(&record), &record["execution"]["pricing_known"]),
        (("completed", None, 0), &json!(false))
    );
    // What an answer reports is charged.
    let usage =
        json!({"data": [], "usage": {"input_tokens": 1000, "output_tokens": 1000, "total_tokens": 2000}});
    rig.provider.then(Script::json(200, &usage));
    let priced = rig.post(IMAGES, &image("m")).send().await;
    assert_eq!(outcome(&rig.record(&priced.headers).await), ("completed", None, 4_000_000));
    assert_eq!(get(&rig.gateway, "/v1/costs/budget").await.json()["daily_used"], "0.004");
}

#[tokio::test]
async fn where_they_are_taken_a_model_in_their_body_is_still_ruled() {
    let rig = allowing(RULE).await;
    let send = async |kind: &str, body: &str| {
        rig.call("POST", IMAGES).header("content-type", kind).body(body.as_bytes().to_vec()).send().await
    };
    let (right, wrong) = (image("thinker").to_string(), format!(" \n{}", image("dear")));
    let passed = send("application/json", &right).await;
    assert_eq!((passed.status, rig.provider.last().body), (200, right.clone().into_bytes()));
    for kind in ["application/json", "text/plain", "application/octet-stream"] {
        let answer = send(kind, &wrong).await;
        let code = answer.json()["error"]["code"].clone();
        assert_eq!((answer.status, code), (403, json!("model_not_allowed")), "{kind}");
        let record = record(&rig.gateway, request_id(&answer.headers)).await;
        assert_eq!(record["execution"]["model_used"], "dear");
    }
    // Two readings are none.
    assert_eq!(send("application/json", "{\"model\":\"thinker\",\"model\":\"dear\"}").await.status, 400);
    let packed = rig.call("POST", IMAGES).header("content-encoding", "gzip").body(wrong.clone()).send().await;
    assert_eq!((packed.status, rig.provider.hits()), (415, 1));
    // A body that is no JSON object names no model, and passes as it is.
    let form = "--b\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n1\r\n--b--\r\n";
    for (kind, body) in [("multipart/form-data; boundary=b", form), ("audio/wav", "RIFF"), ("text/plain", "")]
    {
        assert_eq!(send(kind, body).await.status, 200, "{kind}");
        assert_eq!(rig.provider.last().body, body.as_bytes());
    }
}
