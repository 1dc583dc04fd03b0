//! Bad input: each with a clear error in the door's own dialect, nothing lost, and the gateway as well as before.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, RawSocket, Reply, Script, Usage};
use serde_json::{Value, json};

use crate::auth::{BULKHEAD, PROXIED_CHAT, chat};

pub(crate) const KEY: &str = "acme-key-5d1e90";
pub(crate) const PROXIED_MESSAGES: &str = "/v1/proxy/anthropic/v1/messages";
const QUIET: Duration = Duration::from_millis(300);
/// What a step that must not hang may take, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway whose caller's cap holds one call at a time: a hold that is never released refuses the next call.
pub(crate) struct Under {
    pub(crate) provider: FakeProvider,
    pub(crate) gateway: Gateway,
}

impl Under {
    pub(crate) async fn test() -> Self {
        let provider = FakeProvider::start();
        provider.reply(Reply::text("fine").using(Usage::of(0, 1)));
        let url = provider.url();
        let yaml = format!(
            "server:
  header_timeout_ms: 1000
  body_idle_timeout_ms: 1000
pricing:
  providers:
    openai: {{models: {{gpt-4o-mini: {{input_per_1m: 0, output_per_1m: 1000}}}}}}
    anthropic: {{models: {{claude-haiku-4-5: {{input_per_1m: 0, output_per_1m: 1000}}}}}}
gateway:
  providers:
    openai: {{base_url: \"{url}\", api_key: sk-provider, unmetered_paths: allow}}
    anthropic: {{base_url: \"{url}\", api_key: sk-ant-provider}}
    dead: {{base_url: \"http://127.0.0.1:9\", api_family: openai, allow_private_network: true}}
    dead-anthropic: {{base_url: \"http://127.0.0.1:9\", api_family: anthropic, allow_private_network: true}}
  callers:
    - {{name: app, tenant_key: {KEY}, tenant_id: acme, policy_overrides: {{max_daily_cost: 0.03}}}}
"
        );
        Self { gateway: Gateway::builder(BULKHEAD).config(&yaml).start().await, provider }
    }

    pub(crate) fn post(&self, path: &str, body: impl Into<Vec<u8>>) -> Call {
        let call = Call::new("POST", self.gateway.at(path)).bearer(KEY);
        call.header("content-type", "application/json").body(body)
    }

    pub(crate) async fn entries(&self) -> Vec<Value> {
        let list = Call::get(self.gateway.at("/v1/evidence?limit=500")).bearer(KEY).send().await.json();
        list["entries"].as_array().unwrap().clone()
    }

    async fn record(&self, answer: &Answer) -> Value {
        let id = answer.header("x-bulkhead-request-id").unwrap();
        let record = Call::get(self.gateway.at(&format!("/v1/evidence/{id}"))).bearer(KEY).send().await;
        assert_eq!(record.status, 200, "{id}: {}", record.text());
        record.json()
    }

    /// The money that earlier calls held is free, nothing is still under way, and a normal call works.
    pub(crate) async fn is_well(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let metrics = Call::get(self.gateway.at("/metrics")).send().await.text();
            if metrics.lines().any(|line| line == "bulkhead_in_flight 0") {
                break;
            }
            assert!(Instant::now() < deadline, "calls are still under way");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let hits = self.provider.hits();
        let answer = self.post(PROXIED_CHAT, chat().to_string()).send().await;
        assert_eq!((answer.status, self.provider.hits()), (200, hits + 1), "{}", answer.text());
    }

    /// A raw request with a key; `rest` begins after the request line.
    pub(crate) async fn raw(&self, request_line: &str, rest: &str) -> RawSocket {
        let mut socket = RawSocket::connect(self.gateway.url()).await;
        let head = format!("{request_line}\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{rest}");
        socket.write(head).await;
        socket
    }
}

pub(crate) fn assert_openai_error(answer: &Answer, status: u16, code: &str) {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["code"]), (status, &json!(code)), "{body}");
    let message = body["error"]["message"].as_str().unwrap_or_default();
    assert!(message.len() > 10 && body["error"]["type"].is_string(), "{body}");
}

pub(crate) fn assert_anthropic_error(answer: &Answer, status: u16, kind: &str) {
    let body = answer.json();
    assert_eq!(
        (answer.status, &body["type"], &body["error"]["type"]),
        (status, &json!("error"), &json!(kind)),
        "{body}"
    );
    assert!(body["error"]["message"].as_str().unwrap_or_default().len() > 10, "{body}");
}

#[tokio::test]
async fn header_bombs_are_refused_and_the_gateway_lives() {
    let under = Under::test().await;
    let many: String = (0..5_000).map(|n| format!("x-h{n}: v\r\n")).collect();
    let one = format!("x-huge: {}\r\n", "v".repeat(1024 * 1024));
    let path = format!("GET /v1/proxy/openai/{} HTTP/1.1", "p".repeat(1024 * 1024));
    for (line, headers) in [
        ("GET /v1/status HTTP/1.1", &many),
        ("GET /v1/status HTTP/1.1", &one),
        (path.as_str(), &String::new()),
    ] {
        let mut socket = under.raw(line, &format!("{headers}\r\n")).await;
        let answer = socket.read_for(Duration::from_secs(2)).await;
        let refused = answer.is_empty()
            || ["431", "414", "400"].iter().any(|s| answer.starts_with(&format!("HTTP/1.1 {s}")));
        assert!(refused, "{answer}");
    }
    // A credential longer than any key is unknown, not a fault.
    let long = Call::get(under.gateway.at("/v1/status")).bearer("k".repeat(20_000)).send().await;
    assert_eq!(long.status, 401, "{}", long.text());
    assert_eq!(under.provider.hits(), 0);
    under.is_well().await;
}

#[tokio::test]
async fn an_unknown_provider_is_400_and_a_dead_one_502_with_evidence() {
    let under = Under::test().await;
    let body = chat().to_string();
    for path in ["/v1/proxy/opnai/v1/chat/completions", "/v1/proxy/OPENAI/v1/chat/completions"] {
        let answer = under.post(path, body.clone()).send().await;
        assert_openai_error(&answer, 400, "provider_unknown");
        assert!(answer.text().contains("anthropic, dead, dead-anthropic, openai"), "{}", answer.text());
    }
    let unknown = under.post("/v1/proxy/claude/v1/messages", body.clone()).send().await;
    assert_anthropic_error(&unknown, 400, "invalid_request_error");

    let dead = under.post("/v1/proxy/dead/v1/chat/completions", body).send().await;
    assert_openai_error(&dead, 502, "upstream_unreachable");
    let record = under.record(&dead).await;
    assert_eq!(
        (&record["status"], &record["failure_reason"]),
        (&json!("failed"), &json!("upstream_unreachable"))
    );
    assert_eq!(record["policy_decision"]["allowed"], json!(true), "policy had nothing against it");
    let message = json!({"model": "claude-haiku-4-5", "max_tokens": 16, "messages": []}).to_string();
    let dead = under.post("/v1/proxy/dead-anthropic/v1/messages", message).send().await;
    assert_anthropic_error(&dead, 502, "api_error");

    for broken in [Script::close(), Script::raw("no HTTP at all\r\n\r\n")] {
        under.provider.then(broken);
        let answer = under.post(PROXIED_CHAT, chat().to_string()).send().await;
        assert_openai_error(&answer, 502, "upstream_unreachable");
        assert_eq!(under.record(&answer).await["status"], json!("failed"));
    }
    under.is_well().await;
}

#[tokio::test]
async fn a_slow_client_is_cut_off() {
    let under = Under::test().await;
    let mut head = RawSocket::connect(under.gateway.url()).await;
    head.write("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-slow").await;
    assert!(head.closes_within(PATIENCE).await, "a head that never ends");

    let rest = "content-type: application/json\r\ncontent-length: 500\r\n\r\n{\"model\":";
    for (path, told) in
        [(PROXIED_CHAT, "\"code\":\"request_timeout\""), (PROXIED_MESSAGES, "\"type\":\"error\"")]
    {
        let mut body = under.raw(&format!("POST {path} HTTP/1.1"), rest).await;
        let answer = body.read_for(Duration::from_secs(5)).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains(told), "{path}: {answer}");
    }
    // A body that passes through unread ends the same way.
    let mut passing = under.raw("POST /v1/proxy/openai/v1/files HTTP/1.1", rest).await;
    let answer = passing.read_for(Duration::from_secs(5)).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"code\":\"request_timeout\""),
        "{answer}"
    );
    let entries = under.entries().await;
    let calls = entries.iter().filter(|entry| entry["invocation_type"] == json!("gateway"));
    assert_eq!(
        (under.provider.hits(), calls.count()),
        (0, 3),
        "each is on the record, none was forwarded whole"
    );
    under.is_well().await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_its_body_leaves_nothing_behind() {
    let under = Under::test().await;
    let rest = "content-type: application/json\r\ncontent-length: 500\r\n\r\n{\"model\":";
    for path in [PROXIED_CHAT, "/v1/proxy/openai/v1/files"] {
        drop(under.raw(&format!("POST {path} HTTP/1.1"), rest).await);
    }
    under.is_well().await;
    let hits = under.provider.requests();
    assert!(hits.iter().all(|hit| hit.path() == "/v1/chat/completions"), "no half request counts as one");
}

#[tokio::test]
async fn http_1_0_clients_are_served_without_chunks() {
    let under = Under::test().await;
    for stream in [false, true] {
        let mut body = chat();
        body["stream"] = json!(stream);
        let body = body.to_string();
        let rest = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let mut socket = under.raw(&format!("POST {PROXIED_CHAT} HTTP/1.0"), &rest).await;
        let answer = socket.read_for(Duration::from_secs(2)).await;
        let (head, content) = answer.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.0 200 ") && !head.to_lowercase().contains("transfer-encoding"),
            "{head}"
        );
        let wanted = if stream { "data: [DONE]\n\n" } else { "}" };
        assert!(content.contains("fine") && content.ends_with(wanted), "{content}");
        assert!(socket.closes_within(PATIENCE).await);
    }
    under.is_well().await;
}

#[tokio::test]
async fn a_path_with_two_readings_is_refused_and_never_forwarded() {
    let under = Under::test().await;
    for path in [
        "/v1/proxy/openai/../../v1/secrets",
        "/v1/proxy/openai/v1/../../../v1/secrets",
        "/v1/proxy/openai/v1/%2e%2e/chat/completions",
        "/v1/proxy/openai/v1/%2E%2E%2Fchat",
        "/v1/proxy/openai/v1//chat/completions",
        "/v1/proxy/openai/v1/./chat/completions",
        "/v1/proxy/openai/v1/ch%61t/completions",
        "/v1/proxy/openai/v1/..%5cchat",
        "/v1/proxy//v1/chat/completions",
        "/v1/proxy/../v1/secrets",
        "/v1/proxy/openai/v1/%00",
        "/v1/proxy/openai/v1/%",
        "/v1/proxy/openai/v1/%zz",
        "//v1/proxy/openai/v1/chat/completions",
    ] {
        let answer = under.post(path, chat().to_string()).send().await;
        assert!([400, 404].contains(&answer.status), "{path}: {} {}", answer.status, answer.text());
        assert!(answer.json()["error"].is_object() || answer.json()["error"].is_string(), "{path}");
    }
    assert_eq!(under.provider.hits(), 0);
    // An encoded slash is one reading more, not a way round the meter.
    let encoded = under.post("/v1/proxy/openai/v1%2Fchat%2Fcompletions", "{").send().await;
    assert_openai_error(&encoded, 400, "invalid_request");
    assert_eq!(under.provider.hits(), 0);
    under.is_well().await;
}

#[tokio::test]
async fn unusual_methods_are_forwarded_or_refused_but_never_misread() {
    let under = Under::test().await;
    for method in ["HEAD", "OPTIONS", "DELETE", "PATCH"] {
        under.provider.then(Script::bytes(200, "text/plain", ""));
        let answer =
            Call::new(method, under.gateway.at("/v1/proxy/openai/v1/files/f1")).bearer(KEY).send().await;
        assert_eq!(
            (answer.status, under.provider.last().method.as_str()),
            (200, method),
            "{}",
            answer.text()
        );
    }
    let hits = under.provider.hits();
    for method in ["TRACE", "BREW", "get"] {
        let answer =
            Call::new(method, under.gateway.at("/v1/proxy/openai/v1/files/f1")).bearer(KEY).send().await;
        assert!([400, 405].contains(&answer.status), "{method}: {} {}", answer.status, answer.text());
        assert!(!answer.text().contains(KEY), "{method} echoes nothing");
    }
    let refused = Call::new("DELETE", under.gateway.at("/v1/status")).bearer(KEY).send().await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")), "{}", refused.text());
    let head = Call::new("HEAD", under.gateway.at("/v1/status")).bearer(KEY).send().await;
    assert_eq!(
        (head.status, head.text().as_str()),
        (200, ""),
        "what GET answers, HEAD answers without a body"
    );
    let mut tunnel = under.raw("CONNECT example.com:443 HTTP/1.1", "\r\n").await;
    let answer = tunnel.read_for(QUIET).await;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    assert_eq!(under.provider.hits(), hits);
    under.is_well().await;
}

#[tokio::test]
async fn two_requests_hidden_in_one_are_never_read_as_two() {
    let under = Under::test().await;
    let body = chat().to_string();
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let json_type = "content-type: application/json\r\n";
    for (rest, forwarded) in [
        // Both framings: refused, or the chunked one counts; the rest is no second request.
        (format!("{json_type}content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"), 1),
        (format!("{json_type}content-length: {}\r\ncontent-length: 4\r\n\r\n{body}", body.len()), 0),
        (format!("{json_type}content-length: 4, 5\r\n\r\n{body}"), 0),
        (format!("{json_type}content-length: +{}\r\n\r\n{body}", body.len()), 0),
        (format!("{json_type}transfer-encoding: identity\r\n\r\n{body}"), 0),
        (format!("{json_type}transfer-encoding: chunked, identity\r\n\r\n{chunked}"), 0),
        (format!("{json_type}transfer-encoding: chunked\r\n\r\nzz\r\n{body}\r\n0\r\n\r\n"), 0),
        (format!("{json_type}x-a: 1\r\n folded: 2\r\ncontent-length: {}\r\n\r\n{body}", body.len()), 0),
        (format!("{json_type}x-nul: a\0b\r\ncontent-length: {}\r\n\r\n{body}", body.len()), 0),
        // A whole request, then rubbish on the same connection.
        (format!("{json_type}content-length: {}\r\n\r\n{body}\x01GARBAGE\r\n\r\n", body.len()), 1),
    ] {
        under.provider.forget();
        let mut socket = under.raw(&format!("POST {PROXIED_CHAT} HTTP/1.1"), &rest).await;
        let answer = socket.read_for(Duration::from_secs(2)).await;
        assert!(under.provider.hits() <= forwarded, "{rest}\n{answer}");
        assert!(under.provider.requests().iter().all(|request| request.json() == chat()), "{rest}");
        assert!(forwarded == 1 || !answer.starts_with("HTTP/1.1 2"), "{rest}\n{answer}");
    }
    under.is_well().await;
}

#[tokio::test]
async fn bad_control_plane_input_is_named() {
    let under = Under::test().await;
    for (path, body) in [
        ("/v1/evidence/export", "{"),
        ("/v1/evidence/export", "[]"),
        ("/v1/evidence/export", "{\"fromat\": \"csv\"}"),
        ("/v1/evidence/export", "{\"format\": \"exe\"}"),
        ("/v1/costs/export", "{\"limit\": -1}"),
        ("/v1/costs/export", "{\"from\": \"yesterday\"}"),
    ] {
        let answer = under.post(path, body).send().await;
        assert_eq!(
            (answer.status, &answer.json()["error"]),
            (400, &json!("invalid_request")),
            "{path} {body}"
        );
    }
    let huge = under.post("/v1/costs/export", vec![b' '; 2 * 1024 * 1024]).send().await;
    assert_eq!((huge.status, &huge.json()["error"]), (413, &json!("request_too_large")), "{}", huge.text());
    for query in [
        "limit=0",
        "limit=many",
        "limit=1&limit=2",
        "from=never",
        "cursor=%00",
        "allowed=maybe",
        "colour=red",
    ] {
        let answer = Call::get(under.gateway.at(&format!("/v1/evidence?{query}"))).bearer(KEY).send().await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{query}");
    }
    under.is_well().await;
}
