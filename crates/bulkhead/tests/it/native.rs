//! The governed native endpoints: `model` decides the provider, and the caller's rules decide the model.

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Reply, Store, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{KEY, PRICES, binary, chat, config, outcome, post, record, request_id, streamed};

/// A gateway with two providers of OpenAI's wire and one of Anthropic's, each a server of its own.
struct Native {
    gateway: Gateway,
    openai: FakeProvider,
    local: FakeProvider,
    anthropic: FakeProvider,
}

const MODELS: &str = "
models:
  fast: openai/gpt-4o-mini
  either: [{provider: anthropic, model: claude}, {provider: local, model: llama-3}]
  thinker: local/llama-3
";

async fn native(store: Store, caller: &str) -> Native {
    let [openai, local, anthropic] = std::array::from_fn(|_| FakeProvider::start());
    let providers = format!(
        "    openai: {{base_url: \"{}/v1\", api_key: k1}}
    local: {{base_url: \"{}\", allowed_models: [llama-3, shared], blocked_models: [qwen]}}
    anthropic: {{base_url: \"{}\", api_key: k3}}
",
        openai.url(),
        local.url(),
        anthropic.url()
    );
    let config = config(&providers, caller, &format!("{PRICES}{MODELS}"));
    let config = config
        .replace("openai: {models: {", "openai: {models: {shared: {input_per_1m: 1, output_per_1m: 1}, ");
    Native { gateway: binary().store(store).config(&config).start().await, openai, local, anthropic }
}

impl Native {
    async fn ask(&self, path: &str, body: &Value) -> Answer {
        post(&self.gateway, path, body).send().await
    }

    /// Hits of the three providers since the last look.
    fn hits(&self) -> [usize; 3] {
        [&self.openai, &self.local, &self.anthropic].map(|provider| {
            let hits = provider.hits();
            provider.forget();
            hits
        })
    }

    async fn execution(&self, answer: &Answer) -> Value {
        record(&self.gateway, request_id(&answer.headers)).await["execution"].clone()
    }
}

/// The named members of an object.
fn picked(value: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), value[*name].clone())).collect()
}

const CHAT: &str = "/v1/chat/completions";

on_both_stores! {
    async fn the_model_decides_the_provider_and_the_record_says_which(store) {
        let native = native(store, "{}").await;
        // What is asked for, who serves it, as which model, and what the record calls the original.
        let cases = [
            ("gpt-4o-mini", [1, 0, 0], "openai", "gpt-4o-mini", Value::Null),
            ("fast", [1, 0, 0], "openai", "gpt-4o-mini", json!("fast")),
            ("local/llama-3", [0, 1, 0], "local", "llama-3", json!("local/llama-3")),
            ("openai/anything/at-all", [1, 0, 0], "openai", "anything/at-all", json!("openai/anything/at-all")),
            // The alias hides the openai model of the same name; its first candidate of this wire is taken.
            ("thinker", [0, 1, 0], "local", "llama-3", json!("thinker")),
            ("either", [0, 1, 0], "local", "llama-3", json!("either")),
            // Both serve it, and openai has a price for it.
            ("shared", [1, 0, 0], "openai", "shared", Value::Null),
            // Nobody has a price for it: the first id of those that serve it, so that every replica decides alike.
            ("llama-3", [0, 1, 0], "local", "llama-3", Value::Null),
        ];
        for (asked, hits, provider, model, original) in cases {
            let answer = native.ask(CHAT, &chat(asked)).await;
            assert_eq!((answer.status, &answer.json()["model"]), (200, &json!(model)), "{asked}");
            let execution = native.execution(&answer).await;
            let told = picked(&execution, &["provider", "model_used", "original_model"]);
            let wanted = json!({"provider": provider, "model_used": model, "original_model": original});
            assert_eq!((told, native.hits()), (wanted, hits), "{asked}");
        }
    }
}

#[tokio::test]
async fn each_native_endpoint_reaches_its_own_path_with_everything_untouched() {
    let native = native(Store::Sqlite, "{}").await;
    let parts = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    ]);
    let tool = json!({"type": "function", "function": {"name": "weather", "strict": true,
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}});
    let history = json!([
        {"role": "system", "content": "Be brief.", "name": "sys"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]);
    let openai = [
        (
            CHAT,
            json!({"model": "gpt-4o-mini", "messages": history, "tools": [tool], "tool_choice": "auto",
            "response_format": {"type": "json_object"}, "seed": 7, "unknown": {"kept": [true]}}),
        ),
        ("/v1/completions", json!({"model": "gpt-4o-mini", "prompt": "Once", "max_tokens": 4})),
        (
            "/v1/responses",
            json!({"model": "gpt-4o-mini", "input": [{"role": "user", "content": "hi"}], "tools": []}),
        ),
        ("/v1/embeddings", json!({"model": "text-embedding-3-small", "input": ["a", "b"], "dimensions": 3})),
    ];
    for (path, body) in openai {
        assert_eq!(native.ask(path, &body).await.status, 200, "{path}");
        let seen = native.openai.last();
        assert_eq!((seen.target.as_str(), seen.json()), (path, body));
        assert_eq!(native.hits(), [1, 0, 0]);
    }
    let message = json!({"model": "claude", "max_tokens": 9, "system": [{"type": "text", "text": "Be brief.",
        "cache_control": {"type": "ephemeral"}}], "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}], "thinking": {"type": "disabled"}});
    for path in ["/v1/messages", "/v1/messages/count_tokens"] {
        let answer =
            post(&native.gateway, path, &message).header("anthropic-version", "2023-06-01").send().await;
        assert_eq!(answer.status, 200, "{path}");
        let seen = native.anthropic.last();
        assert_eq!(
            (seen.target.as_str(), seen.json(), seen.header("x-api-key")),
            (path, message.clone(), Some("k3"))
        );
        assert_eq!(native.hits(), [0, 0, 1]);
    }
}

#[tokio::test]
async fn a_tool_call_comes_back_whole_plain_and_streamed() {
    let native = native(Store::Sqlite, "{}").await;
    native.openai.reply(Reply::tool("weather", r#"{"city":"Oslo"}"#));
    let plain = native.ask(CHAT, &chat("fast")).await.json();
    let call = json!({"id": "call_fake", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}});
    assert_eq!(plain["choices"][0]["message"]["tool_calls"], json!([call]));
    let stream = native.ask(CHAT, &streamed("fast")).await.text();
    assert!(stream.contains(r#""arguments":"{\"city\":\"Oslo\"}""#), "{stream}");
    assert!(!stream.contains("\"choices\":[]"), "the client did not ask for usage: {stream}");
}

on_both_stores! {
    async fn embeddings_cost_their_input_and_counting_tokens_costs_nothing(store) {
        let native = native(store, "{max_daily_cost: 1}").await;
        native.openai.reply(Reply::default().using(Usage::of(1000, 0)));
        native.anthropic.reply(Reply::default().using(Usage::of(1000, 0)));
        let embedding = json!({"model": "thinker", "input": "hello"});
        let answer = post(&native.gateway, "/v1/proxy/openai/v1/embeddings", &embedding).send().await;
        let told = record(&native.gateway, request_id(&answer.headers)).await;
        assert_eq!(outcome(&told), ("completed", None, 1000 * 2000));

        let answer = native.ask("/v1/messages/count_tokens", &chat("claude")).await;
        assert_eq!(answer.json(), json!({"input_tokens": 1000}));
        let told = record(&native.gateway, request_id(&answer.headers)).await;
        assert_eq!((outcome(&told), &told["invocation_type"]), (("completed", None, 0), &json!("gateway_count_tokens")));
        assert_eq!(told["execution"]["pricing_known"], json!(true));
    }

    async fn a_model_nobody_serves_is_not_found_in_the_endpoint_s_own_words(store) {
        let native = native(store, "{}").await;
        // The openai providers are closed to it; the anthropic one would take any model, but not this wire.
        let closed = "{base_url: \"http://127.0.0.1:9\", allowed_models: [llama-3]}";
        let config = config(&format!("    openai: {closed}\n"), "{}", "");
        let gateway = binary().store(store).config(&config).start().await;
        let message = |model: &str| format!("No configured provider serves the model `{model}` on this endpoint");
        let answer = post(&gateway, CHAT, &chat("gpt-9")).send().await;
        let error = json!({"message": message("gpt-9"), "type": "model_not_found", "param": null, "code": "model_not_found"});
        assert_eq!((answer.status, answer.json()), (404, json!({ "error": error })));
        let answer = post(&gateway, "/v1/messages", &chat("claude")).send().await;
        let error = json!({"type": "not_found_error", "message": message("claude"), "code": "model_not_found"});
        let wanted = json!({"type": "error", "error": error, "request_id": request_id(&answer.headers)});
        assert_eq!((answer.status, answer.json()), (404, wanted));
        let told = record(&gateway, request_id(&answer.headers)).await;
        assert_eq!(outcome(&told), ("denied", Some("model_not_found"), 0));

        let missing = native.ask(CHAT, &json!({"messages": []})).await;
        assert_eq!((missing.status, &missing.json()["error"]["code"]), (400, &json!("invalid_request")));
        assert_eq!(native.hits(), [0, 0, 0]);
    }
}

/// What a caller with this policy gets for these models, in order: the status and the code.
async fn verdicts(native: &Native, path: &str, models: &[&str]) -> Vec<(u16, String)> {
    let mut verdicts = Vec::new();
    for model in models {
        let answer = native.ask(path, &chat(model)).await;
        let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        if answer.status != 200 {
            let told = record(&native.gateway, request_id(&answer.headers)).await;
            assert_eq!(outcome(&told), ("denied", Some(code.as_str()), 0), "{model}");
            assert_eq!(told["explanations"][0]["code"], json!("POLICY_DENIED_ROUTING"));
            assert_eq!(told["policy_decision"]["allowed"], json!(false));
        }
        verdicts.push((answer.status, code));
    }
    verdicts
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn refused(code: &str) -> (u16, String) {
    (403, code.to_owned())
}

on_both_stores! {
    /// Proves: TALON-06
    async fn a_caller_gets_the_models_its_policy_allows_and_no_other(store) {
        let native = native(store, "{allowed_models: [gpt-4o-mini, llama-3], blocked_models: [llama-3]}").await;
        let models = ["gpt-4o-mini", "fast", "gpt-4o", "local/llama-3", "gpt-4o-mini-2024-07-18"];
        let no = || refused("model_not_allowed");
        for path in [CHAT, "/v1/proxy/openai/v1/chat/completions"] {
            // Through the proxy an alias is just a model that the list does not name.
            let alias = if path == CHAT { ok() } else { no() };
            assert_eq!(verdicts(&native, path, &models).await, [ok(), alias, no(), no(), no()], "{path}");
        }
        assert_eq!(native.hits(), [3, 0, 0]);
        let counted = native.ask("/v1/messages/count_tokens", &chat("claude")).await;
        assert_eq!((counted.status, &counted.json()["error"]["code"]), (403, &json!("model_not_allowed")));
        assert_eq!(native.hits(), [0, 0, 0]);
        let nameless = native.ask("/v1/proxy/openai/v1/chat/completions", &json!({"messages": []})).await;
        let code = &nameless.json()["error"]["code"];
        assert_eq!((nameless.status, code), (400, &json!("model_required_for_policy_evaluation")));
    }

    /// Proves: TALON-06
    async fn a_caller_gets_the_providers_it_is_allowed_and_no_other(store) {
        let provider = FakeProvider::start();
        let lines = ["openai", "anthropic"].map(|id| format!("    {id}: {{base_url: \"{}\"}}\n", provider.url()));
        let yaml = config(&lines.concat(), "{}", PRICES).replace("tenant_id: acme,", "tenant_id: acme, allowed_providers: [openai],");
        let gateway = binary().store(store).config(&yaml).start().await;
        assert_eq!(post(&gateway, CHAT, &chat("thinker")).send().await.status, 200);
        for path in ["/v1/messages", "/v1/proxy/anthropic/v1/messages"] {
            let answer = post(&gateway, path, &chat("claude")).send().await;
            let error = &answer.json()["error"];
            let told = (error["type"].as_str(), error["code"].as_str(), error["message"].as_str());
            let wanted = (Some("permission_error"), Some("provider_not_allowed"), Some("Caller not allowed for this provider: `anthropic`"));
            assert_eq!((answer.status, told), (403, wanted), "{path}");
            let told = record(&gateway, request_id(&answer.headers)).await;
            assert_eq!(outcome(&told), ("denied", Some("provider_not_allowed"), 0));
        }
        assert_eq!(provider.hits(), 1);
    }
}

fn ids(catalogue: &Value) -> Vec<&str> {
    catalogue["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn the_catalogue_lists_what_the_caller_may_ask_for_in_the_asker_s_dialect() {
    let native = native(
        Store::Sqlite,
        "{allowed_models: [fast, gpt-4o-mini, llama-3, claude], blocked_models: [shared]}",
    )
    .await;
    let list = Call::get(native.gateway.at("/v1/models")).bearer(KEY);
    let openai = list.send().await.json();
    assert_eq!(ids(&openai), ["claude", "fast", "gpt-4o-mini", "llama-3"]);
    assert_eq!(openai["object"], json!("list"));
    assert_eq!(
        openai["data"][1],
        json!({"id": "fast", "object": "model", "created": 0, "owned_by": "openai"})
    );
    let one = Call::get(native.gateway.at("/v1/models/llama-3")).bearer(KEY).send().await.json();
    assert_eq!(one, json!({"id": "llama-3", "object": "model", "created": 0, "owned_by": "local"}));

    let anthropic = list.clone().header("anthropic-version", "2023-06-01").send().await.json();
    assert_eq!(
        picked(&anthropic, &["has_more", "first_id", "last_id"]),
        json!({"has_more": false, "first_id": "claude", "last_id": "llama-3"})
    );
    assert_eq!(
        (&anthropic["data"][0]["type"], &anthropic["data"][0]["id"]),
        (&json!("model"), &json!("claude"))
    );

    let unknown = Call::get(native.gateway.at("/v1/models/gpt-9")).bearer(KEY).send().await;
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert_eq!(Call::get(native.gateway.at("/v1/models")).send().await.status, 401);
    assert_eq!(native.hits(), [0, 0, 0], "the catalogue is the gateway's own");
}

on_both_stores! {
    /// A NUL reaches no column: PostgreSQL would refuse it, and with it the whole group of records.
    async fn a_model_with_a_control_character_is_refused_and_the_next_call_is_recorded(store) {
        let native = native(store, "").await;
        let refused = native.ask("/v1/chat/completions", &json!({"model": "x\u{0}y", "messages": []})).await;
        assert_eq!(refused.status, 400);
        let answered = native.ask("/v1/chat/completions", &chat("llama-3")).await;
        assert_eq!(answered.status, 200);
    }
}

#[tokio::test]
async fn a_background_response_is_refused_because_its_usage_never_comes() {
    let native = native(Store::Sqlite, "").await;
    let asked = json!({"model": "gpt-4o-mini", "input": "hi", "background": true});
    let refused = native.ask("/v1/responses", &asked).await;
    assert_eq!((refused.status, native.openai.hits()), (400, 0));
}
