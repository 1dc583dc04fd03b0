//! Azure OpenAI behind `/v1/proxy`: the deployment in the path is the model, for rules, prices, evidence and fallbacks.

use bh_testkit::{FakeProvider, Gateway, Reply, Script, Store, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{binary, chat, config, outcome, post, record, request_id};

const PRICES: &str = "
pricing:
  fallback: {input_per_1m: 900, output_per_1m: 900}
  providers:
    azure: {models: {cheap: {input_per_1m: 1, output_per_1m: 1}, dear: {input_per_1m: 100, output_per_1m: 100}}}
    openai: {models: {cheap: {input_per_1m: 1, output_per_1m: 1}}}
";

struct Rig {
    gateway: Gateway,
    azure: FakeProvider,
    openai: FakeProvider,
}

/// `line` is more of Azure's settings.
async fn rig(store: Store, line: &str, policy: &str) -> Rig {
    let [azure, openai] = std::array::from_fn(|_| FakeProvider::start());
    for provider in [&azure, &openai] {
        provider.reply(Reply::text("ok").using(Usage::of(7, 3)));
    }
    let providers = format!(
        "    azure: {{base_url: \"{}\", api_key: k1, api_family: azure_openai{line}}}
    openai: {{base_url: \"{}\", api_key: k2}}\n",
        azure.url(),
        openai.url()
    );
    let gateway = binary().store(store).config(&config(&providers, policy, PRICES)).start().await;
    Rig { gateway, azure, openai }
}

fn deployed(deployment: &str) -> String {
    format!("/v1/proxy/azure/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21")
}

impl Rig {
    async fn ask(&self, path: &str, body: &Value) -> (u16, Value, Value) {
        let answer = post(&self.gateway, path, body).send().await;
        let told = record(&self.gateway, request_id(&answer.headers)).await;
        (answer.status, answer.json(), told)
    }
}

on_both_stores! {
    async fn rules_prices_and_records_look_at_the_deployment_and_not_at_the_body(store) {
        let rig = rig(store, "", "{allowed_models: [cheap]}").await;
        let (status, said, told) = rig.ask(&deployed("dear"), &chat("cheap")).await;
        assert_eq!((status, &said["error"]["code"]), (403, &json!("model_not_allowed")));
        assert_eq!((&told["execution"]["model_used"], rig.azure.hits()), (&json!("dear"), 0));

        for body in [chat("dear"), json!({"messages": [{"role": "user", "content": "hi"}]})] {
            let (status, _, told) = rig.ask(&deployed("cheap"), &body).await;
            // Ten tokens, a thousandth of a cent each.
            assert_eq!((status, outcome(&told)), (200, ("completed", None, 10_000)), "{told}");
            assert_eq!(told["execution"]["pricing_known"], json!(true));
            assert_eq!(rig.azure.last().json(), body, "the body is passed on as it is");
        }
    }
}

#[tokio::test]
async fn a_blocked_deployment_is_blocked_in_any_case_and_an_unmetered_one_too() {
    let rig = rig(Store::Sqlite, ", unmetered_paths: allow", "{blocked_models: [dear]}").await;
    for path in [
        deployed("dear"),
        deployed("DEAR"),
        deployed("dear").replace("chat/completions", "images/generations"),
    ] {
        let (status, said, _) = rig.ask(&path, &chat("cheap")).await;
        assert_eq!((status, &said["error"]["code"]), (403, &json!("model_not_allowed")), "{path}");
    }
    assert_eq!(rig.azure.hits(), 0);
}

#[tokio::test]
async fn on_the_path_without_a_deployment_the_model_in_the_body_counts() {
    let rig = rig(Store::Sqlite, "", "{allowed_models: [cheap]}").await;
    for (model, wanted) in [("dear", 403), ("cheap", 200)] {
        let (status, _, told) = rig.ask("/v1/proxy/azure/openai/v1/chat/completions", &chat(model)).await;
        assert_eq!((status, &told["execution"]["model_used"]), (wanted, &json!(model)));
    }
}

#[tokio::test]
async fn where_a_provider_might_read_either_both_have_to_name_the_same_model() {
    let rig = rig(Store::Sqlite, "", "{}").await;
    let path = "/v1/proxy/openai/openai/deployments/cheap/chat/completions";
    let (status, said, _) = rig.ask(path, &chat("dear")).await;
    assert_eq!(status, 400);
    assert!(
        said["error"]["message"].as_str().unwrap().contains("`cheap` and the body the model `dear`"),
        "{said}"
    );
    assert_eq!(rig.ask(path, &chat("cheap")).await.0, 200);
    assert_eq!(rig.openai.hits(), 1);
}

#[tokio::test]
async fn a_fallback_is_asked_at_its_own_deployment_with_its_own_version() {
    let [first, spare] = std::array::from_fn(|_| FakeProvider::start());
    let providers = format!(
        "    azure: {{base_url: \"{}\", api_family: azure_openai, fallback: [{{provider: spare, model: dear}}]}}
    spare: {{base_url: \"{}\", api_family: azure_openai, api_version: \"2025-01-01\"}}\n",
        first.url(),
        spare.url()
    );
    let gateway = binary().config(&config(&providers, "{}", "")).start().await;
    first.then(Script::openai_error(503, "server_error", "down"));
    let answer = post(&gateway, &format!("{}&a=b", deployed("cheap")), &chat("ignored")).send().await;
    assert_eq!(answer.status, 200);
    let told = record(&gateway, request_id(&answer.headers)).await;
    assert_eq!(told["execution"]["original_model"], json!("cheap"));
    assert_eq!(spare.last().target, "/openai/deployments/dear/chat/completions?a=b&api-version=2025-01-01");
}

#[tokio::test]
async fn a_fallback_without_deployments_gets_the_model_in_the_body() {
    let [first, spare] = std::array::from_fn(|_| FakeProvider::start());
    let providers = format!(
        "    openai: {{base_url: \"{}\", fallback: [{{provider: spare}}]}}\n    spare: {{base_url: \"{}\"}}\n",
        first.url(),
        spare.url()
    );
    let gateway = binary().config(&config(&providers, "{}", "")).start().await;
    first.then(Script::openai_error(503, "server_error", "down"));
    let mut body = chat("cheap");
    body.as_object_mut().unwrap().remove("model");
    let path = "/v1/proxy/openai/openai/deployments/cheap/chat/completions?api-version=1&a=b";
    assert_eq!(post(&gateway, path, &body).send().await.status, 200);
    assert_eq!((first.hits(), spare.last().target.as_str()), (1, "/v1/chat/completions?a=b"));
    assert_eq!(spare.last().json(), chat("cheap"));
}
