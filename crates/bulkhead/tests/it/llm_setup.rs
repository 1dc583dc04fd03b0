//! What the LLM door's tests share: one gateway with a provider of each family, and a caller of tenant `acme`.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, GatewayBuilder, Headers, Store};
use serde_json::{Value, json};

/// The caller's key.
pub(crate) const KEY: &str = "acme-app-key-51c09e77d2";
/// The gateway's own keys for its providers.
pub(crate) const OPENAI_KEY: &str = "sk-openai-0b7e61";
pub(crate) const ANTHROPIC_KEY: &str = "sk-ant-93d2f4";
pub(crate) const AZURE_KEY: &str = "azure-6c18aa";

pub(crate) const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
pub(crate) const RESPONSES: &str = "/v1/proxy/openai/v1/responses";
pub(crate) const MESSAGES: &str = "/v1/proxy/anthropic/v1/messages";

/// How long something that is on its way may take to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
const POLL_EVERY: Duration = Duration::from_millis(10);

/// Round prices, so that a cost can be told to the nano. Dollars per million tokens: thousands of nano-USD per token.
pub(crate) const PRICES: &str = "
pricing:
  fallback: {input_per_1m: 3, output_per_1m: 7}
  providers:
    openai: {models: {thinker: {input_per_1m: 2, output_per_1m: 8, cache_read_per_1m: 0.5, reasoning_per_1m: 16}}}
    anthropic: {models: {claude: {input_per_1m: 2, output_per_1m: 8, cache_read_per_1m: 0.5, cache_write_per_1m: 2.5}}}
";

/// The providers of [`rig`], as the inner lines of `gateway.providers`.
pub(crate) fn providers(url: &str) -> String {
    format!(
        "    openai: {{base_url: \"{url}\", api_key: {OPENAI_KEY}}}
    anthropic: {{base_url: \"{url}\", api_key: {ANTHROPIC_KEY}}}
    azure: {{base_url: \"{url}\", api_key: {AZURE_KEY}, api_family: azure_openai, api_version: \"2024-10-21\"}}
"
    )
}

/// A configuration of these providers and one caller, whose `policy_overrides` is a flow mapping. `more` is further
/// top-level YAML.
pub(crate) fn config(providers: &str, policy: &str, more: &str) -> String {
    format!(
        "gateway:
  providers:
{providers}  callers:
    - {{name: app, api_key: {KEY}, tenant_id: acme, policy_overrides: {policy}}}
{more}"
    )
}

/// The real binary.
pub(crate) fn binary() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_bulkhead"))
}

/// A gateway and the provider behind it.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) provider: FakeProvider,
}

/// A gateway with [`providers`] and [`PRICES`].
pub(crate) async fn rig(store: Store) -> Rig {
    rig_with(store, "{}", PRICES).await
}

/// As [`rig`], with the caller's policy and other top-level YAML than the prices.
pub(crate) async fn rig_with(store: Store, policy: &str, more: &str) -> Rig {
    let provider = FakeProvider::start();
    let config = config(&providers(provider.url()), policy, more);
    Rig { gateway: binary().store(store).config(&config).start().await, provider }
}

impl Rig {
    /// A POST of the caller.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        post(&self.gateway, path, body)
    }

    /// A request of the caller.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        Call::new(method, self.gateway.at(path)).bearer(KEY)
    }

    /// The record of the call that was answered with these headers.
    pub(crate) async fn record(&self, headers: &Headers) -> Value {
        record(&self.gateway, request_id(headers)).await
    }
}

pub(crate) fn post(gateway: &Gateway, path: &str, body: &Value) -> Call {
    Call::post(gateway.at(path), body).bearer(KEY)
}

/// A chat of one short message.
pub(crate) fn chat(model: &str) -> Value {
    json!({"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]})
}

/// The same, streamed.
pub(crate) fn streamed(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = json!(true);
    body
}

/// A streamed Responses request.
pub(crate) fn streamed_response(model: &str) -> Value {
    json!({"model": model, "stream": true, "max_output_tokens": 16, "input": "hi"})
}

/// The id under which the gateway has recorded a call.
pub(crate) fn request_id(headers: &Headers) -> &str {
    headers.get("x-bulkhead-request-id").expect("every answer names its request")
}

/// The record with this id, as soon as it is there.
pub(crate) async fn record(gateway: &Gateway, id: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(gateway, &format!("/v1/evidence/{id}")).await;
        if answer.status == 200 {
            return answer.json();
        }
        assert!(
            answer.status == 404 && Instant::now() < deadline,
            "{id}: {} {}",
            answer.status,
            answer.text()
        );
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// A control-plane read by the caller.
pub(crate) async fn get(gateway: &Gateway, path: &str) -> Answer {
    Call::get(gateway.at(path)).bearer(KEY).send().await
}

/// The status, the failure reason, and the cost in nano-USD that a record tells.
pub(crate) fn outcome(record: &Value) -> (&str, Option<&str>, u64) {
    let cost = record["execution"]["cost_nano_usd"].as_u64().expect("a whole number of nano-USD");
    (record["status"].as_str().unwrap_or_default(), record["failure_reason"].as_str(), cost)
}
