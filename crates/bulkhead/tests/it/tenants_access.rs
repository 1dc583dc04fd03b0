//! Who may call as which tenant: headers, keys with names, keyless calls while migrating, and the command line (seed 001).

use bh_testkit::{Answer, Call, CliOutput, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{KEY, PRICES, binary, config, providers};

const ADMIN_KEY: &str = "ops-admin-key-7f21c9";
const TENANTS: &str = "/api/v1/admin/tenants";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";

async fn start(store: Store, provider: &FakeProvider, more: &str) -> Gateway {
    let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
    binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await
}

fn chat(gateway: &Gateway) -> Call {
    let body = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    Call::post(gateway.at(CHAT), &body)
}

async fn operate(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Answer {
    let call = Call::new(method, gateway.at(&format!("{TENANTS}{path}"))).bearer(ADMIN_KEY);
    if method == "GET" { call.send().await } else { call.json(body).send().await }
}

async fn made(gateway: &Gateway, path: &str, body: &Value) -> Value {
    let answer = operate(gateway, "POST", path, body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["data"].take()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn tenant_of(record: &Answer) -> String {
    text(&record.json()["entries"][0]["tenant_id"])
}

on_both_stores! {
    /// Proves: CONN-05
    async fn a_key_under_another_tenants_name_is_refused_on_every_door_and_changes_nothing(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, "").await;
        let a = text(&made(&gateway, "", &json!({"id": "a"})).await["apiKey"]);
        made(&gateway, "", &json!({"id": "b"})).await;
        let hits = provider.hits();
        for (method, path) in [
            ("POST", CHAT), ("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("GET", "/v1/evidence"),
            ("GET", "/v1/costs"), ("GET", "/v1/status"), ("GET", "/api/v1/audit"), ("GET", "/api/v1/tools/list"),
        ] {
            for key in [a.as_str(), KEY] {
                let call = Call::new(method, gateway.at(path)).bearer(key).header("x-tenant-id", "b");
                let answer = if method == "POST" { call.json(&json!({"model": "thinker"})).send().await } else { call.send().await };
                assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
                assert!(answer.text().contains("CROSS_TENANT_ACCESS_DENIED"), "{path}: {}", answer.text());
            }
        }
        assert_eq!(provider.hits(), hits);
        let evidence = Call::get(gateway.at("/v1/evidence?tenant_id=b")).bearer(ADMIN_KEY).send().await;
        assert_eq!(evidence.json()["entries"], json!([]));
    }

    /// Proves: CONN-02, CONN-04
    async fn the_headers_that_name_a_tenant_and_carry_its_key_are_configured(store) {
        let provider = FakeProvider::start();
        let more = "multiTenant: {tenantIdHeader: X-Customer, apiKeyHeader: X-Customer-Key}\n";
        let gateway = start(store, &provider, more).await;
        let key = text(&made(&gateway, "", &json!({"id": "a"})).await["apiKey"]);
        assert_eq!(chat(&gateway).send().await.status, 401, "a key is needed");
        // As it is in the header of its own, as Bearer, and where the providers' SDKs put it.
        for call in [
            chat(&gateway).header("x-customer-key", &key),
            chat(&gateway).bearer(&key),
            chat(&gateway).header("x-api-key", &key),
            chat(&gateway).bearer(&key).header("x-customer", "a"),
            chat(&gateway).bearer(&key).header("x-tenant-id", "nobody"),
        ] {
            let answer = call.send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let other = chat(&gateway).bearer(&key).header("x-customer", "b").send().await;
        assert_eq!(other.status, 403, "{}", other.text());
        // The configured header wins over the others.
        let both = chat(&gateway).header("x-customer-key", "nobody").bearer(&key).send().await;
        assert_eq!(both.status, 401, "{}", both.text());
    }

    /// Proves: CONN-03
    async fn calls_without_a_key_are_the_fallback_tenants_while_the_window_is_open(store) {
        let provider = FakeProvider::start();
        let more = "multiTenant: {requireApiKey: false, fallbackTenantId: legacy}\n";
        let gateway = start(store, &provider, more).await;
        made(&gateway, "", &json!({"id": "a"})).await;
        let answer = chat(&gateway).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let evidence = Call::get(gateway.at("/v1/evidence?tenant_id=legacy")).bearer(ADMIN_KEY).send().await;
        assert_eq!(tenant_of(&evidence), "legacy");
        // A header alone makes nobody another tenant, and a bad key is not rescued.
        assert_eq!(chat(&gateway).header("x-tenant-id", "a").send().await.status, 403);
        assert_eq!(chat(&gateway).bearer("nobody").send().await.status, 401);
        assert_eq!(Call::get(gateway.at("/v1/evidence")).send().await.status, 401, "reads need a key");
    }

    /// Proves: CONN-47
    async fn calls_without_a_key_are_counted_by_address_and_flagged_until_the_window_closes(store) {
        let provider = FakeProvider::start();
        let open = "server:\n  trusted_proxy_cidrs: [127.0.0.1/32]\nmultiTenant: {requireApiKey: false, fallbackTenantId: default}\n";
        let mut gateway = start(store, &provider, open).await;
        let yaml = std::fs::read_to_string(gateway.config_path()).unwrap();
        let from = |gateway: &Gateway, address: &str| chat(gateway).header("x-forwarded-for", address);
        for address in ["198.51.100.7", "198.51.100.7", "2001:db8::7", "198.51.100.7"] {
            assert_eq!(from(&gateway, address).send().await.status, 200);
        }
        let record = Call::get(gateway.at("/v1/evidence?tenant_id=default")).bearer(ADMIN_KEY).send().await.json();
        let id = text(&record["entries"][0]["id"]);
        let record = Call::get(gateway.at(&format!("/v1/evidence/{id}?tenant_id=default"))).bearer(ADMIN_KEY).send().await.json();
        assert_eq!(record["gateway_annotations"], json!(["keyless"]), "{record}");
        assert_eq!(crate::verify_setup::metric(&gateway, "bulkhead_keyless_calls_total").await, 4);
        let told = async |gateway: &Gateway| {
            let answer = operate(gateway, "GET", "/default/keyless-calls", &json!({})).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let told = answer.json()["data"].clone();
            let addresses: Vec<(String, u64)> = told["addresses"].as_array().unwrap().iter().map(|one| (text(&one["address"]), one["calls"].as_u64().unwrap())).collect();
            (told["windowOpen"].clone(), told["calls"].clone(), addresses)
        };
        let counted = vec![("198.51.100.7".to_owned(), 3), ("2001:db8::7".to_owned(), 1)];
        assert_eq!(told(&gateway).await, (json!(true), json!(4), counted));
        // What was told is there after a kill, and is added to.
        gateway.kill9();
        gateway.restart().await;
        assert_eq!(from(&gateway, "2001:db8::7").send().await.status, 200);
        assert_eq!(from(&gateway, "203.0.113.1").send().await.status, 200);
        let counted = vec![("198.51.100.7".to_owned(), 3), ("2001:db8::7".to_owned(), 2), ("203.0.113.1".to_owned(), 1)];
        assert_eq!(told(&gateway).await, (json!(true), json!(6), counted.clone()));
        // The window ends: whoever has no key yet is refused, and still named.
        crate::verify_setup::reload(&mut gateway, &yaml.replace("requireApiKey: false", "requireApiKey: true")).await;
        assert_eq!(from(&gateway, "198.51.100.7").send().await.status, 401);
        let (window, calls, addresses) = told(&gateway).await;
        assert_eq!((window, calls, addresses), (json!(false), json!(6), counted));
        assert!(gateway.terminate().await);
        gateway.restart().await;
        let trail = operate(&gateway, "GET", "/default/audit?action=call.keyless", &json!({})).await.json();
        let mut flagged: Vec<String> = trail["data"].as_array().unwrap().iter().map(|event| {
            assert_eq!(event["params"]["keyless"], json!(true), "{event}");
            text(&event["object"])
        }).collect();
        flagged.sort();
        flagged.dedup();
        assert_eq!(flagged, ["198.51.100.7", "2001:db8::7", "203.0.113.1"], "{trail}");
        let printed = gateway.cli(&["tenants", "--endpoint", gateway.url(), "keyless", "default", "--json"]);
        assert!(printed.ok() && printed.stdout.contains("203.0.113.1"), "{printed}");
    }

    /// Proves: CONN-63
    async fn a_tenant_has_keys_with_names_scopes_and_ends_of_their_own(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, "rate_limit: {enabled: true}\n").await;
        made(&gateway, "", &json!({"id": "a", "limits": {"maxApiKeys": 3}})).await;
        let reader = made(&gateway, "/a/api-keys", &json!({"name": "dashboard", "scopes": ["read"]})).await;
        let key = text(&reader["apiKey"]);
        let costs = Call::get(gateway.at("/v1/costs")).bearer(&key).send().await;
        assert_eq!(costs.status, 200, "{}", costs.text());
        let refused = chat(&gateway).bearer(&key).send().await;
        assert!(refused.status == 403 && refused.text().contains("`llm`"), "{}", refused.text());
        let short = made(&gateway, "/a/api-keys", &json!({"name": "short", "expiresAt": "2027-01-01", "rateLimit": {"requestsPerMinute": 1}})).await;
        let limited = text(&short["apiKey"]);
        assert!(text(&short["expiresAt"]).starts_with("2027-01-01T00:00:0"), "{short}");
        assert_eq!(chat(&gateway).bearer(&limited).send().await.status, 200);
        assert_eq!(chat(&gateway).bearer(&limited).send().await.status, 429);
        let full = operate(&gateway, "POST", "/a/api-keys", &json!({"name": "one too many"})).await;
        assert_eq!((full.status, full.json()["error"]["code"].clone()), (429, json!("QUOTA_EXCEEDED")), "{}", full.text());
        let listed = operate(&gateway, "GET", "/a/api-keys", &json!({})).await.json();
        let mut names: Vec<String> = listed["data"].as_array().unwrap().iter().map(|key| text(&key["name"])).collect();
        names.sort_unstable();
        assert_eq!(names, ["dashboard", "default", "short"]);
        assert!(!listed.to_string().contains(&key), "{listed}");
        let gone = operate(&gateway, "DELETE", &format!("/a/api-keys/{}", text(&reader["id"])), &json!({})).await;
        assert_eq!(gone.status, 200, "{}", gone.text());
        assert_eq!(Call::get(gateway.at("/v1/costs")).bearer(&key).send().await.status, 401);
        made(&gateway, "/a/api-keys", &json!({"name": "room again"})).await;
        for (body, field) in [
            (json!({}), "name"),
            (json!({"name": "x", "expiresAt": "yesterday"}), "expiresAt"),
            (json!({"name": "x", "expiresAt": "2020-01-01"}), "expiresAt"),
            (json!({"name": "x", "rateLimit": {"requestsPerMinute": 0}}), "rateLimit"),
        ] {
            let wrong = operate(&gateway, "POST", "/a/api-keys", &body).await;
            assert_eq!((wrong.status, &wrong.json()["error"]["context"]["field"]), (400, &json!(field)), "{}", wrong.text());
        }
    }

    async fn tenants_are_administered_from_the_command_line(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, "").await;
        let run = |args: &[&str]| -> CliOutput {
            gateway.cli(&[&["tenants", "--endpoint", gateway.url()], args].concat())
        };
        let created = run(&["create", "acme-corp", "--name", "ACME", "--plan", "enterprise", "--limit", "requestsPerMinute=2000", "--feature", "oauth=false", "--budget", "daily=12.50", "--json"]);
        assert!(created.ok(), "{created}");
        let created: Value = serde_json::from_str(&created.stdout).unwrap();
        let key = text(&created["apiKey"]);
        assert_eq!(chat(&gateway).bearer(&key).send().await.status, 200);
        assert_eq!((&created["limits"]["requestsPerMinute"], &created["features"]["oauth"], &created["budgets"]["daily"]), (&json!(2000), &json!(false), &json!("12.5")));
        let changed = run(&["update", "acme-corp", "--limit", "requestsPerMinute=", "--allow-ip", "127.0.0.0/8", "--hostname", "Acme.example", "--json"]);
        let changed: Value = serde_json::from_str(&changed.stdout).unwrap();
        assert_eq!((&changed["limits"]["requestsPerMinute"], &changed["security"]["allowedIPs"]), (&json!(1000), &json!(["127.0.0.0/8"])));
        let listed = run(&["list"]);
        assert!(listed.ok() && listed.stdout.contains("acme-corp") && listed.stdout.trim_start().starts_with("TENANT"), "{listed}");
        assert!(run(&["suspend", "acme-corp"]).ok());
        assert_eq!(chat(&gateway).bearer(&key).send().await.status, 403);
        assert!(run(&["resume", "acme-corp"]).ok());
        let turned = run(&["rotate-key", "acme-corp", "--json"]);
        let turned: Value = serde_json::from_str(&turned.stdout).unwrap();
        assert_eq!(chat(&gateway).bearer(&key).send().await.status, 401);
        assert_eq!(chat(&gateway).bearer(text(&turned["apiKey"])).send().await.status, 200);
        let trail = run(&["audit", "acme-corp", "--action", "tenant.*"]);
        assert!(trail.ok() && trail.stdout.contains("tenant.suspended"), "{trail}");
        for (args, told) in [
            (vec!["get", "nobody"], "No such tenant (404 TENANT_NOT_FOUND)"),
            (vec!["update", "acme-corp"], "nothing to change"),
            (vec!["update", "acme-corp", "--limit", "requestsPerMinute"], "expected NAME=VALUE"),
            (vec!["delete", "acme-corp"], "say so with --yes"),
        ] {
            let failed = run(&args);
            assert!(!failed.ok() && failed.stderr.contains(told), "{args:?}: {failed}");
        }
        assert!(run(&["delete", "acme-corp", "--yes"]).ok());
        assert!(!run(&["get", "acme-corp"]).ok());
    }
}
