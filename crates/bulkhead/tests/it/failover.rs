//! Retries and fallbacks: who is asked next, how long that waits, and what the record says of each attempt.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Ending, FakeProvider, Gateway, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{
    CHAT, MESSAGES, binary, chat, config, get, outcome, post, record, request_id, streamed,
};

/// A primary provider, a spare of the same family, and one of another.
struct Chain {
    gateway: Gateway,
    primary: FakeProvider,
    spare: FakeProvider,
    other: FakeProvider,
}

/// `line` is more of the primary's settings, `policy` the caller's overrides.
async fn chain(store: Store, line: &str, policy: &str) -> Chain {
    let [primary, spare, other] = std::array::from_fn(|_| FakeProvider::start());
    let providers = format!(
        "    openai: {{base_url: \"{}\", api_key: k1{line}}}
    spare: {{base_url: \"{}\", api_key: k2}}
    anthropic: {{base_url: \"{}\", api_key: k3}}
",
        primary.url(),
        spare.url(),
        other.url()
    );
    let gateway = binary().store(store).config(&config(&providers, policy, "")).start().await;
    Chain { gateway, primary, spare, other }
}

impl Chain {
    async fn ask(&self) -> Answer {
        post(&self.gateway, CHAT, &chat("gpt-4o-mini")).send().await
    }

    fn hits(&self) -> [usize; 3] {
        [&self.primary, &self.spare, &self.other].map(FakeProvider::hits)
    }

    async fn record(&self, answer: &Answer) -> Value {
        record(&self.gateway, request_id(&answer.headers)).await
    }

    /// The record of the call's failed attempt with this number, from 1.
    async fn attempt(&self, answer: &Answer, number: usize) -> Value {
        record(&self.gateway, &format!("{}_a{number}", request_id(&answer.headers))).await
    }
}

const FALLBACK: &str = ", fallback: [{provider: spare, model: gpt-4o}]";
const RETRY: &str = ", retry: {max_attempts: 2, initial_backoff: 10ms, max_backoff: 20ms}";

fn down(status: u16) -> Script {
    Script::openai_error(status, "server_error", "it is down")
}

on_both_stores! {
    /// Proves: TALON-39
    async fn a_provider_that_fails_is_followed_by_its_spare_and_the_records_belong_together(store) {
        let chain = chain(store, FALLBACK, "{}").await;
        chain.primary.then(down(503));
        let answer = chain.ask().await;
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!("gpt-4o")));
        assert_eq!(chain.hits(), [1, 1, 0]);
        assert_eq!(chain.spare.last().header("authorization"), Some("Bearer k2"));
        assert_eq!(chain.spare.last().json(), chat("gpt-4o"));

        let call = chain.record(&answer).await;
        assert_eq!(outcome(&call).0, "completed");
        let group = format!("fog_{}", request_id(&answer.headers));
        let mut wanted = json!({"attempt": 2, "chain_position": 0, "group_id": group, "role": "fallback_decision"});
        assert_eq!(call["failover"], wanted);
        let execution = ["provider", "model_used", "original_model"].map(|name| call["execution"][name].clone());
        assert_eq!(execution, ["spare", "gpt-4o", "gpt-4o-mini"]);
        assert_eq!(call["routing_decision"]["selected_provider"], json!("spare"));

        let attempt = chain.attempt(&answer, 1).await;
        wanted = json!({"attempt": 1, "chain_position": 0, "group_id": group, "role": "failed_attempt",
            "error_class": "server_error", "upstream_status": 503});
        assert_eq!((&attempt["failover"], &attempt["invocation_type"]), (&wanted, &json!("gateway_failover_attempt")));
        assert_eq!((outcome(&attempt), &attempt["execution"]["provider"]), (("failed", Some("server_error"), 0), &json!("openai")));
        let costs = get(&chain.gateway, "/v1/costs").await.json();
        assert_eq!(costs["daily"], call["execution"]["cost"], "one call, one price: {costs}");
    }

    /// Proves: TALON-39
    async fn a_spare_follows_whatever_way_the_first_one_fails(store) {
        let line = format!("{FALLBACK}, timeouts: {{response_header_timeout: 400ms}}");
        let chain = chain(store, &line, "{}").await;
        let ways = [
            (down(500), "server_error"),
            (down(429), "rate_limited"),
            (Script::close(), "connection_broken"),
            (Script::raw("nonsense\r\n\r\n"), "connection_broken"),
            (Script::hang(), "timeout"),
        ];
        for (number, (script, class)) in ways.into_iter().enumerate() {
            chain.primary.then(script);
            let answer = chain.ask().await;
            assert_eq!((answer.status, chain.spare.hits()), (200, number + 1), "{class}");
            let attempt = chain.attempt(&answer, 1).await;
            assert_eq!(attempt["failover"]["error_class"], json!(class));
        }
    }
}

#[tokio::test]
async fn a_dead_provider_is_followed_by_its_spare() {
    let spare = FakeProvider::start();
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let providers = format!(
        "    openai: {{base_url: \"http://{dead}\"{FALLBACK}}}\n    spare: {{base_url: \"{}\"}}\n",
        spare.url()
    );
    let gateway = binary().config(&config(&providers, "{}", "")).start().await;
    let answer = post(&gateway, CHAT, &chat("gpt-4o-mini")).send().await;
    assert_eq!((answer.status, spare.hits()), (200, 1));
    let attempt = record(&gateway, &format!("{}_a1", request_id(&answer.headers))).await;
    assert_eq!(attempt["failover"]["error_class"], json!("connect_error"));
}

#[tokio::test]
async fn the_same_provider_is_asked_again_as_often_as_configured() {
    let chain = chain(Store::Sqlite, RETRY, "{}").await;
    chain.primary.then(down(503)).then(down(502));
    let answer = chain.ask().await;
    assert_eq!((answer.status, chain.hits()), (200, [3, 0, 0]));
    for (number, status) in [(1, 503), (2, 502)] {
        let attempt = chain.attempt(&answer, number).await;
        assert_eq!(attempt["execution"]["http_status"], json!(status));
        assert_eq!(attempt["retry_attempt"], json!(number));
    }
    let bodies: Vec<Vec<u8>> = chain.primary.requests().into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, vec![chat("gpt-4o-mini").to_string().into_bytes(); 3]);
}

#[tokio::test]
async fn a_retry_waits_at_least_as_long_as_the_provider_asked() {
    let chain = chain(Store::Sqlite, RETRY, "{}").await;
    chain.primary.then(down(429).retry_after(1));
    assert_eq!(chain.ask().await.status, 200);
    let requests = chain.primary.requests();
    assert!(requests[1].arrived_at - requests[0].arrived_at >= Duration::from_millis(1000));
}

#[tokio::test]
async fn a_wait_that_is_too_long_goes_to_the_spare_at_once() {
    let chain = chain(Store::Sqlite, &format!("{RETRY}{FALLBACK}"), "{}").await;
    chain.primary.then(down(429).retry_after(3600));
    let started = Instant::now();
    assert_eq!(chain.ask().await.status, 200);
    assert_eq!(chain.hits(), [1, 1, 0]);
    assert!(started.elapsed() < Duration::from_secs(20), "an hour was asked for");
}

#[tokio::test]
async fn an_error_that_is_the_client_s_own_is_not_tried_elsewhere() {
    let chain = chain(Store::Sqlite, &format!("{RETRY}{FALLBACK}"), "{}").await;
    for status in [400, 401, 403, 404, 413, 422] {
        chain.primary.then(Script::openai_error(status, "its_own", "no"));
        assert_eq!(chain.ask().await.status, status);
    }
    assert_eq!(chain.hits(), [6, 0, 0]);
}

#[tokio::test]
async fn nothing_is_tried_again_once_the_client_has_seen_a_byte() {
    let chain = chain(Store::Sqlite, &format!("{RETRY}{FALLBACK}"), "{}").await;
    let event = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\n".to_vec();
    chain.primary.then(Script::stream(vec![event.clone()]).ending(Ending::Die));
    let answer = post(&chain.gateway, CHAT, &streamed("gpt-4o-mini")).send().await;
    assert!(answer.body.starts_with(&event), "{}", answer.text());
    assert_eq!((answer.status, chain.hits()), (200, [1, 0, 0]));
    assert_eq!(outcome(&chain.record(&answer).await).0, "failed");
}

#[tokio::test]
async fn an_upload_is_sent_once() {
    let line = format!("{RETRY}{FALLBACK}, unmetered_paths: allow");
    let chain = chain(Store::Sqlite, &line, "{}").await;
    chain.primary.then(down(503));
    let call = post(&chain.gateway, "/v1/proxy/openai/v1/files", &json!({"a": 1}));
    assert_eq!((call.send().await.status, chain.hits()), (503, [1, 0, 0]));
}

#[tokio::test]
async fn another_family_is_never_asked_for_help() {
    let [openai, anthropic] = [FakeProvider::start(), FakeProvider::start()];
    let yaml = |fallback: &str| {
        let providers = format!(
            "    openai: {{base_url: \"{}\"{fallback}}}\n    anthropic: {{base_url: \"{}\"}}\n",
            openai.url(),
            anthropic.url()
        );
        let both = "[{provider: openai, model: gpt-4o-mini}, {provider: anthropic, model: claude}]";
        config(&providers, "{}", &format!("models: {{any: {both}}}\n"))
    };
    let end = binary().config(&yaml(", fallback: [{provider: anthropic}]")).try_start().await.unwrap_err();
    let reason = "gateway.providers.openai.fallback[0].provider: `anthropic` speaks another wire";
    assert!(!end.ok() && end.stderr.contains(reason), "{end}");
    // An alias may name both: it then means one model for each wire.
    let gateway = binary().config(&yaml("")).start().await;
    openai.then(down(503));
    assert_eq!(post(&gateway, "/v1/chat/completions", &chat("any")).send().await.status, 503);
    assert_eq!((openai.hits(), anthropic.hits()), (1, 0));
    assert_eq!(post(&gateway, "/v1/messages", &chat("any")).send().await.status, 200);
    assert_eq!((openai.hits(), anthropic.hits()), (1, 1));
}

#[tokio::test]
async fn a_fallback_that_the_caller_may_not_use_is_passed_by() {
    let chain = chain(Store::Sqlite, FALLBACK, "{allowed_models: [gpt-4o-mini]}").await;
    chain.primary.then(down(503));
    let answer = chain.ask().await;
    // Nobody is left: the provider's own error is the answer.
    assert_eq!((answer.status, answer.body.as_slice()), (503, down(503).body_bytes().as_slice()));
    assert_eq!(chain.hits(), [1, 0, 0]);
}

on_both_stores! {
    async fn when_all_have_failed_the_last_one_s_own_error_is_the_answer(store) {
        let chain = chain(store, FALLBACK, "{max_daily_cost: 1}").await;
        chain.primary.then(down(503));
        chain.spare.then(down(500).header("x-from", "spare"));
        let answer = chain.ask().await;
        assert_eq!((answer.status, answer.header("x-from")), (500, Some("spare")));
        assert_eq!(answer.body, down(500).body_bytes());
        let call = chain.record(&answer).await;
        assert_eq!(outcome(&call), ("failed", Some("provider_error"), 0));
        assert_eq!(chain.attempt(&answer, 1).await["failover"]["group_id"], call["failover"]["group_id"]);
        let costs = get(&chain.gateway, "/v1/costs/budget").await.json();
        assert_eq!(costs["daily_used"], json!("0"), "what was held is free again: {costs}");
    }

    async fn a_provider_that_cannot_be_reached_or_waited_for_is_told_in_the_dialect(store) {
        let provider = FakeProvider::start();
        let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let slow = format!("base_url: \"{}\", timeouts: {{response_header_timeout: 300ms}}", provider.url());
        let providers = format!(
            "    gone: {{base_url: \"http://{dead}\"}}\n    gone-claude: {{base_url: \"http://{dead}\", api_family: anthropic}}
    slow: {{{slow}}}\n    slow-claude: {{{slow}, api_family: anthropic}}\n"
        );
        let gateway = binary().store(store).config(&config(&providers, "{}", "")).start().await;
        let cases = [
            ("gone", 502, "upstream_unreachable", "The provider could not be reached", "api_error"),
            ("slow", 504, "upstream_timeout", "The provider did not answer in time", "timeout_error"),
        ];
        for (id, status, code, message, kind) in cases {
            provider.on(|_| Some(Script::hang()));
            let path = CHAT.replace("openai", id);
            let answer = post(&gateway, &path, &chat("gpt-4o-mini")).send().await;
            let error = json!({"message": message, "type": code, "param": null, "code": code});
            assert_eq!((answer.status, answer.json()), (status, json!({ "error": error })));
            let told = record(&gateway, request_id(&answer.headers)).await;
            let went_out = id == "slow";
            let (ending, reason, cost) = outcome(&told);
            assert_eq!((ending, reason, cost > 0), ("failed", Some(code), went_out), "only what was sent may cost");
            assert_eq!(told["execution"]["usage_estimated"] == true, went_out);

            let path = MESSAGES.replace("anthropic", &format!("{id}-claude"));
            let answer = post(&gateway, &path, &chat("claude")).send().await;
            let error = json!({"type": kind, "message": message, "code": code});
            let wanted = json!({"type": "error", "error": error, "request_id": request_id(&answer.headers)});
            assert_eq!((answer.status, answer.json()), (status, wanted));
        }
    }
}
