//! Headers on their way through the proxy: what each side needs of the other's, and none of what it must not see.

use bh_testkit::{Call, FakeProvider, Script, Store};
use serde_json::json;

use crate::llm_setup::{
    ANTHROPIC_KEY, AZURE_KEY, CHAT, KEY, MESSAGES, OPENAI_KEY, RESPONSES, Rig, chat, request_id, rig,
};

#[tokio::test]
async fn repeated_headers_stay_repeated_and_in_order_both_ways() {
    let rig = rig(Store::Sqlite).await;
    let answer = Script::json(200, &json!({})).header("warning", "first").header("warning", "second");
    rig.provider.then(answer.header("x-ratelimit-remaining-tokens", "9"));
    let call = rig
        .post(MESSAGES, &chat("claude"))
        .header("anthropic-beta", "b-two")
        .header("anthropic-beta", "a-one");
    let answer = call.send().await;
    assert_eq!(rig.provider.last().headers.all("anthropic-beta"), ["b-two", "a-one"]);
    assert_eq!(answer.headers.all("warning"), ["first", "second"]);
    assert_eq!(answer.headers.all("x-ratelimit-remaining-tokens"), ["9"]);
}

/// The names of the headers a provider got, sorted.
fn header_names(provider: &FakeProvider) -> Vec<String> {
    let mut names: Vec<String> =
        provider.last().headers.0.into_iter().map(|(name, _)| name.to_lowercase()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn no_credential_cookie_or_hop_by_hop_header_reaches_the_provider() {
    let rig = rig(Store::Sqlite).await;
    let bearer = format!("Bearer {KEY}");
    let forms = [
        ("authorization", bearer.as_str()),
        ("x-talon-key", KEY),
        ("x-bulkhead-key", KEY),
        ("x-api-key", KEY),
        ("api-key", KEY),
    ];
    for (header, key) in forms {
        let call = Call::post(rig.gateway.at(CHAT), &chat("thinker")).header(header, key);
        let call = [
            ("x-talon-admin-key", "admin-leak"),
            ("x-bulkhead-admin-key", "admin-leak"),
            ("cookie", "session=leak"),
            ("proxy-authorization", "Basic leak"),
            ("x-tenant-id", "acme"),
            ("x-user-id", "leak"),
            ("x-talon-session-id", "leak"),
            ("x-forwarded-for", "203.0.113.9"),
            ("forwarded", "for=203.0.113.9"),
            ("connection", "keep-alive, x-stainless-lang"),
            ("x-stainless-lang", "leak"),
            ("keep-alive", "timeout=99"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("accept-encoding", "gzip"),
        ]
        .into_iter()
        .fold(call, |call, (name, value)| call.header(name, value));
        assert_eq!(call.send().await.status, 200, "{header}");
        let seen = rig.provider.last();
        for secret in [KEY, "leak", "203.0.113.9"] {
            assert!(!seen.mentions(secret), "{header}: {secret} in {:?}", seen.headers);
        }
        let wanted = ["accept-encoding", "authorization", "content-length", "content-type", "host"];
        assert_eq!(header_names(&rig.provider), wanted, "{header}");
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {OPENAI_KEY}").as_str()));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert_eq!(seen.header("host"), rig.provider.url().strip_prefix("http://"));
    }
}

#[tokio::test]
async fn headers_that_the_sdks_rely_on_are_passed_on_as_they_are() {
    let rig = rig(Store::Sqlite).await;
    let needed = [
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "context-1m-2025-08-07"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("openai-beta", "assistants=v2"),
        ("idempotency-key", "idem-1"),
        ("x-stainless-retry-count", "2"),
        ("x-client-request-id", "mine-1"),
        ("user-agent", "OpenAI/Python 3.52.0"),
        ("accept", "application/json"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ];
    let call =
        needed.iter().fold(rig.post(CHAT, &chat("thinker")), |call, (name, value)| call.header(name, value));
    assert_eq!(call.send().await.status, 200);
    let seen = rig.provider.last();
    for (name, value) in needed {
        assert_eq!(seen.headers.all(name), [value], "{name}");
    }
}

#[tokio::test]
async fn each_family_gets_the_gateway_s_key_in_its_own_header() {
    let rig = rig(Store::Sqlite).await;
    let credentials = |rig: &Rig| {
        let seen = rig.provider.last();
        ["authorization", "x-api-key", "api-key"].map(|name| seen.headers.get(name).map(str::to_owned))
    };
    rig.post(CHAT, &chat("thinker")).send().await;
    assert_eq!(credentials(&rig), [Some(format!("Bearer {OPENAI_KEY}")), None, None]);
    rig.post(MESSAGES, &chat("claude")).send().await;
    assert_eq!(credentials(&rig), [None, Some(ANTHROPIC_KEY.to_owned()), None]);

    let azure = "/openai/deployments/d1/chat/completions";
    rig.post(&format!("/v1/proxy/azure{azure}"), &chat("thinker")).send().await;
    assert_eq!(credentials(&rig), [None, None, Some(AZURE_KEY.to_owned())]);
    assert_eq!(rig.provider.last().target, format!("{azure}?api-version=2024-10-21"));
    rig.post(&format!("/v1/proxy/azure{azure}?a=b"), &chat("thinker")).send().await;
    assert_eq!(rig.provider.last().target, format!("{azure}?a=b&api-version=2024-10-21"));
    rig.post(&format!("/v1/proxy/azure{azure}?api-version=2025-01-01"), &chat("thinker")).send().await;
    assert_eq!(rig.provider.last().target, format!("{azure}?api-version=2025-01-01"));
}

#[tokio::test]
async fn every_answer_names_its_request_and_the_gateway_s_own_time() {
    let rig = rig(Store::Sqlite).await;
    let answer = rig.post(CHAT, &chat("thinker")).send().await;
    // The provider's id stays the provider's; ours stands beside it.
    assert_eq!(answer.headers.all("x-request-id"), ["req_fake"]);
    let overhead: u64 = answer.header("x-bulkhead-overhead-us").unwrap().parse().unwrap();
    assert!(overhead < 5_000_000, "{overhead} µs is more than the call took");
    assert_eq!(rig.record(&answer.headers).await["id"], json!(request_id(&answer.headers)));

    for call in [
        Call::post(rig.gateway.at(CHAT), &chat("m")),
        rig.post("/v1/proxy/nobody/v1/chat/completions", &chat("m")),
        rig.call("POST", CHAT).header("content-type", "application/json").body("{"),
        rig.call("GET", "/no/such/route"),
        rig.call("GET", "/v1/models"),
        rig.call("GET", "/v1/status"),
        rig.call("GET", "/healthz"),
    ] {
        let answer = call.send().await;
        let id = answer.header("x-request-id").unwrap_or_default();
        assert!(id.starts_with("gw_"), "{call:?}: {:?}", answer.headers);
    }
    let anthropic =
        rig.call("POST", MESSAGES).header("content-type", "application/json").body("{").send().await;
    assert_eq!(anthropic.header("request-id"), anthropic.header("x-bulkhead-request-id"));
}

#[tokio::test]
async fn a_provider_s_site_headers_stay_with_the_gateway() {
    let rig = rig(Store::Sqlite).await;
    let script = Script::json(200, &json!({}))
        .header("set-cookie", "a=1")
        .header("server", "theirs")
        .header("strict-transport-security", "max-age=1")
        .header("x-bulkhead-overhead-us", "999999999")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("openai-processing-ms", "12");
    rig.provider.then(script);
    let answer = rig.post(RESPONSES, &json!({"model": "m", "input": "hi"})).send().await;
    for name in ["set-cookie", "server", "strict-transport-security", "x-hop"] {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(answer.headers.all("openai-processing-ms"), ["12"]);
    assert_eq!(answer.headers.all("x-bulkhead-overhead-us").len(), 1);
    assert_ne!(answer.header("x-bulkhead-overhead-us"), Some("999999999"));
}
