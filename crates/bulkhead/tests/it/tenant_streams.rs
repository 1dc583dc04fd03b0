//! What tenants don't share: streams of their own (`isolation.separateLogs`), and functions that are switched off for some
//! (seed 001; Connectors dossier §15, 10 and 31).

use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{KEY, PATIENCE, PRICES, binary, config, providers};

const ADMIN_KEY: &str = "ops-admin-key-of-the-streams";
const TENANTS: &str = "/api/v1/admin/tenants";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";

async fn start(store: Store, provider: &FakeProvider, more: &str) -> Gateway {
    let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
    binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await
}

async fn operate(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Answer {
    Call::new(method, gateway.at(&format!("{TENANTS}{path}"))).bearer(ADMIN_KEY).json(body).send().await
}

async fn make(gateway: &Gateway, id: &str) -> String {
    let made = operate(gateway, "POST", "", &json!({ "id": id })).await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["data"]["apiKey"].as_str().unwrap().to_owned()
}

async fn chat(gateway: &Gateway, key: &str) -> Answer {
    let body = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    Call::post(gateway.at(CHAT), &body).bearer(key).send().await
}

/// A tenant's stream, once it has so many lines.
async fn stream(gateway: &Gateway, tenant: &str, lines: usize) -> Vec<Value> {
    let path = gateway.data_dir().join("logs").join(format!("{tenant}.ndjson"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let told: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        if told.len() >= lines {
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            return told;
        }
        assert!(Instant::now() < deadline, "{tenant}: {text}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

on_both_stores! {
    /// Proves: CONN-31
    async fn a_tenants_stream_tells_its_calls_and_its_changes_and_names_no_other_tenant(store) {
        let provider = FakeProvider::start();
        let mut gateway = start(store, &provider, "multiTenant: {isolation: {separateLogs: true}}\n").await;
        let (alpha, bravo) = (make(&gateway, "alpha").await, make(&gateway, "bravo").await);
        for key in [&alpha, &bravo, &alpha] {
            assert_eq!(chat(&gateway, key).await.status, 200);
        }
        // Another tenant's name in a request is nobody's line but its own tenant's, without that name.
        let crossed = Call::get(gateway.at("/v1/evidence")).bearer(&alpha).header("x-tenant-id", "bravo").send().await;
        assert_eq!(crossed.status, 403);
        assert_eq!(operate(&gateway, "POST", "/bravo/suspend", &json!({})).await.status, 200);
        // Made, with a key; two calls; the denial. Made, with a key; a call; the suspension.
        for (tenant, other, lines, calls) in [("alpha", "bravo", 5, 2), ("bravo", "alpha", 4, 1)] {
            let told = stream(&gateway, tenant, lines).await;
            assert_eq!(told.len(), lines, "{told:#?}");
            assert!(told.iter().all(|line| line["tenantId"] == *tenant), "{told:#?}");
            assert!(!json!(told).to_string().contains(other), "{told:#?}");
            assert_eq!(told.iter().filter(|line| line["kind"] == "call" && line["model"] == "thinker").count(), calls, "{told:#?}");
        }
        // A restart goes on where it was.
        assert!(gateway.terminate().await);
        gateway.restart().await;
        assert_eq!(chat(&gateway, &alpha).await.status, 200);
        assert_eq!(chat(&gateway, KEY).await.status, 200);
        assert_eq!(stream(&gateway, "alpha", 6).await.len(), 6);
        assert_eq!(stream(&gateway, "acme", 1).await.len(), 1, "a file's tenant has one too");
    }

    async fn without_separate_logs_there_are_no_streams(store) {
        let provider = FakeProvider::start();
        let mut gateway = start(store, &provider, "multiTenant: {isolation: {separateLogs: false}}\n").await;
        assert_eq!(chat(&gateway, KEY).await.status, 200);
        assert!(gateway.terminate().await);
        assert!(!gateway.data_dir().join("logs").exists());
    }

    /// Proves: CONN-10
    async fn each_function_that_is_switched_off_is_refused_and_nothing_else(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, "plans: {starter: {features: {oauth: false}}}\n").await;
        let key = make(&gateway, "acme-corp").await;
        let doors = [
            ("customServers", "/api/v1/mcp/custom", 200),
            ("oauth", "/api/v1/tenants/acme-corp/integrations/github/oauth-config", 501),
            ("advancedAnalytics", "/api/v1/usage/metrics?startDate=2026-11-01&endDate=2026-11-30", 200),
        ];
        let ask = async |path: &str| Call::get(gateway.at(path)).bearer(&key).send().await;
        for off in [None, Some("customServers"), Some("oauth"), Some("advancedAnalytics")] {
            let features = |name: &str| (name.to_owned(), json!(Some(name) != off));
            let features: serde_json::Map<String, Value> = doors.iter().map(|(name, _, _)| features(name)).collect();
            assert_eq!(operate(&gateway, "PATCH", "/acme-corp", &json!({ "features": features })).await.status, 200);
            for (name, path, served) in doors {
                let answer = ask(path).await;
                if Some(name) == off {
                    assert_eq!((answer.status, &answer.json()["error"]["code"]), (403, &json!("FEATURE_DISABLED")), "{name}: {}", answer.text());
                } else {
                    assert_eq!(answer.status, served, "{name} with {off:?} off: {}", answer.text());
                }
            }
            assert_eq!(ask("/api/v1/usage").await.status, 200, "the bill is no analytics");
            assert_eq!(chat(&gateway, &key).await.status, 200);
        }
        // A plan switches off as well, until the tenant has its own word.
        let change = json!({"plan": "starter", "features": {"oauth": null}});
        assert_eq!(operate(&gateway, "PATCH", "/acme-corp", &change).await.status, 200);
        assert_eq!(ask(doors[1].1).await.status, 403);
        let metrics = Call::get(gateway.at(&format!("{TENANTS}/acme-corp/metrics"))).bearer(ADMIN_KEY).send().await;
        assert_eq!(metrics.status, 200, "an operator sees it all the same: {}", metrics.text());
    }
}
