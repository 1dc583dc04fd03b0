//! Tenants made at run time (seed 001, "Tenant Management"): one call, and every door knows them.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::keys_setup::{SELF_REVOKE, VERIFY};
use crate::llm_setup::{KEY, PATIENCE, PRICES, binary, config, providers};

const ADMIN_KEY: &str = "ops-admin-key-7f21c9";
const TENANTS: &str = "/api/v1/admin/tenants";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";

/// A gateway with a provider, one caller of a file's tenant, and an operator.
struct House {
    gateway: Gateway,
    provider: FakeProvider,
}

impl House {
    async fn start(store: Store, more: &str) -> Self {
        let provider = FakeProvider::start();
        let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        Self { gateway, provider }
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let call = Call::new(method, self.gateway.at(path)).bearer(ADMIN_KEY);
        body.map_or(call.clone(), |body| call.json(body)).send().await
    }

    /// The data of an answer with this status.
    async fn done(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        let mut told = answer.json();
        assert_eq!(told["success"], json!(true));
        assert!(told["metadata"]["requestId"].is_string() && told["metadata"]["timestamp"].is_string());
        told["data"].take()
    }

    async fn make(&self, body: &Value) -> (Value, String) {
        let made = self.done("POST", TENANTS, Some(body), 201).await;
        let key = made["apiKey"].as_str().unwrap().to_owned();
        (made, key)
    }

    async fn patch(&self, id: &str, body: &Value) -> Value {
        self.done("PATCH", &format!("{TENANTS}/{id}"), Some(body), 200).await
    }

    async fn post(&self, id: &str, verb: &str, body: &Value) -> Value {
        self.done("POST", &format!("{TENANTS}/{id}/{verb}"), Some(body), 200).await
    }

    async fn chat(&self, key: &str) -> Answer {
        chat(&self.gateway, key).send().await
    }
}

fn chat(gateway: &Gateway, key: &str) -> Call {
    let body = json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
    Call::post(gateway.at(CHAT), &body).bearer(key)
}

fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!((&body["success"], &body["error"]["code"]), (&json!(false), &json!(code)), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|message| message.len() > 10), "{body}");
}

/// The seed's own request.
fn acme() -> Value {
    json!({
        "id": "acme-corp", "name": "ACME Corporation", "email": "admin@acme.com", "plan": "enterprise",
        "limits": {"requestsPerMinute": 2000, "maxCustomServers": 20},
    })
}

on_both_stores! {
    /// Proves: CONN-06, CONN-07
    async fn a_tenant_is_made_in_one_call_and_its_key_opens_every_door_at_once(store) {
        let house = House::start(store, "").await;
        let (made, key) = house.make(&acme()).await;
        assert_eq!((&made["id"], &made["plan"], &made["status"]), (&json!("acme-corp"), &json!("enterprise"), &json!("active")));
        let limits = json!({
            "requestsPerMinute": 2000, "requestsPerHour": 50_000, "requestsPerDay": 1_000_000,
            "maxCustomServers": 20, "maxToolInvocations": 100_000, "maxStorageMB": 1000,
        });
        assert_eq!(made["limits"], limits);
        // The key alone says whose it is; the header may confirm it, and nothing else.
        assert_eq!(house.chat(&key).await.status, 200);
        for (header, status) in [("acme-corp", 200), ("acme", 403)] {
            let answer = chat(&house.gateway, &key).header("x-tenant-id", header).send().await;
            assert_eq!(answer.status, status, "{}", answer.text());
        }
        let evidence = Call::get(house.gateway.at("/v1/evidence")).bearer(&key).send().await.json();
        assert!(evidence["entries"].as_array().is_some_and(|entries| entries.len() >= 2), "{evidence}");
        let status = Call::get(house.gateway.at("/v1/status")).bearer(&key).send().await;
        assert_eq!(status.status, 200);
        // It is told once.
        let shown = house.done("GET", &format!("{TENANTS}/acme-corp"), None, 200).await;
        assert!(!shown.to_string().contains(&key) && shown["apiKeyId"].is_string());
        assert!(shown["usage"]["apiCalls"].as_u64().is_some_and(|calls| calls >= 2), "{shown}");
        assert_eq!(shown["limits"], limits);
        // Whatever is left out has a default.
        let (plain, _) = house.make(&json!({"id": "plain"})).await;
        assert_eq!(plain["limits"]["requestsPerMinute"], json!(1000));
        assert_eq!((&plain["name"], plain.get("email")), (&json!("plain"), None));
        assert_eq!(plain["features"], json!({"customServers": true, "oauth": true, "advancedAnalytics": true}));
        assert_refused(&house.ask("POST", TENANTS, Some(&acme())).await, 409, "TENANT_ALREADY_EXISTS");
    }

    /// The answer to a request may be lost; made again under the same name it is answered again, and does nothing.
    async fn a_tenant_that_is_asked_for_again_is_made_once_and_its_key_told_again(store) {
        let mut house = House::start(store, "").await;
        let ask = async |gateway: &Gateway, name: &str, body: &Value| {
            Call::post(gateway.at(TENANTS), body).bearer(ADMIN_KEY).header("idempotency-key", name).send().await
        };
        let first = ask(&house.gateway, "order 7", &acme()).await;
        assert_eq!(first.status, 201, "{}", first.text());
        let key = first.json()["data"]["apiKey"].as_str().unwrap().to_owned();
        let again = ask(&house.gateway, "order 7", &acme()).await;
        assert_eq!((again.status, &again.json()["data"]), (201, &first.json()["data"]), "{}", again.text());
        house.gateway.kill9();
        house.gateway.restart().await;
        let again = ask(&house.gateway, "order 7", &acme()).await;
        assert_eq!((again.status, again.json()["data"]["apiKey"].as_str()), (201, Some(&*key)), "{}", again.text());
        assert_eq!(house.chat(&key).await.status, 200);
        let trail = house.done("GET", &format!("{TENANTS}/acme-corp/audit?action=tenant.created"), None, 200).await;
        assert_eq!(trail.as_array().unwrap().len(), 1);
        // Another name, another body, and a key that was rotated away: no repetition.
        let mut other = acme();
        other["name"] = json!("Another");
        assert_refused(&ask(&house.gateway, "order 8", &acme()).await, 409, "TENANT_ALREADY_EXISTS");
        assert_refused(&ask(&house.gateway, "order 7", &other).await, 409, "TENANT_ALREADY_EXISTS");
        assert_refused(&ask(&house.gateway, &"x".repeat(256), &json!({"id": "b"})).await, 400, "VALIDATION_ERROR");
        house.post("acme-corp", "rotate-api-key", &json!({})).await;
        assert_refused(&ask(&house.gateway, "order 7", &acme()).await, 409, "TENANT_ALREADY_EXISTS");
    }

    /// Proves: CONN-08
    async fn partial_changes_of_a_tenant_all_survive(store) {
        let house = House::start(store, "plans: {enterprise: {limits: {requestsPerHour: 7}, features: {oauth: false}}}\n").await;
        house.make(&acme()).await;
        house.patch("acme-corp", &json!({"limits": {"requestsPerMinute": 5000, "maxCustomServers": 50}})).await;
        house.patch("acme-corp", &json!({"features": {"customServers": true}})).await;
        let told = house.patch("acme-corp", &json!({"security": {"allowedIPs": ["203.0.113.0/24", "198.51.100.42"]}})).await;
        let shown = house.done("GET", &format!("{TENANTS}/acme-corp"), None, 200).await;
        let mut plain = shown.clone();
        let usage = plain.as_object_mut().unwrap().remove("usage").unwrap();
        assert_eq!((&told, &usage["apiCalls"]), (&plain, &json!(0)));
        let limits = &shown["limits"];
        assert_eq!((&limits["requestsPerMinute"], &limits["maxCustomServers"]), (&json!(5000), &json!(50)));
        assert_eq!(limits["requestsPerHour"], json!(7), "the plan's");
        assert_eq!(shown["features"], json!({"customServers": true, "oauth": false, "advancedAnalytics": true}));
        assert_eq!(shown["security"], json!({"allowedIPs": ["203.0.113.0/24", "198.51.100.42"]}));
        assert_eq!((&shown["name"], &shown["email"]), (&json!("ACME Corporation"), &json!("admin@acme.com")));
        // Without a plan of its own the tenant has what everybody has.
        house.patch("acme-corp", &json!({"plan": null, "security": {"allowedIPs": []}})).await;
        let shown = house.done("GET", &format!("{TENANTS}/acme-corp"), None, 200).await;
        assert_eq!((&shown["limits"]["requestsPerHour"], shown.get("plan")), (&json!(50_000), None));
        assert_refused(&house.ask("PATCH", &format!("{TENANTS}/acme-corp"), Some(&json!({"plan": "gold"}))).await, 400, "VALIDATION_ERROR");
    }

    /// Proves: CONN-09
    async fn tenants_are_listed_in_pages_whoever_made_them(store) {
        let house = House::start(store, "tenants: [{id: filed}]\n").await;
        for id in ["b", "a", "c"] {
            house.make(&json!({"id": id, "name": id})).await;
        }
        let ids = |page: &Value| -> Vec<String> {
            page.as_array().unwrap().iter().map(|tenant| tenant["id"].as_str().unwrap().to_owned()).collect()
        };
        let all = house.done("GET", TENANTS, None, 200).await;
        assert_eq!(ids(&all), ["a", "acme", "b", "c", "default", "filed"]);
        let managed: Vec<_> = all.as_array().unwrap().iter().map(|tenant| tenant["managedBy"].clone()).collect();
        assert_eq!(managed, ["api", "installation", "api", "api", "installation", "file"]);
        let mut found = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("{TENANTS}?limit=2{cursor}");
            let page = house.ask("GET", &path, None).await.json();
            found.extend(ids(&page["data"]));
            let Some(next) = page["metadata"]["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ids(&all));
    }

    /// Proves: CONN-11
    async fn a_rotated_key_dies_at_once_or_when_its_grace_ends(store) {
        let house = House::start(store, "").await;
        let (_, first) = house.make(&acme()).await;
        assert_eq!(house.chat(&first).await.status, 200);
        let turned = house.post("acme-corp", "rotate-api-key", &json!({})).await;
        let second = turned["apiKey"].as_str().unwrap().to_owned();
        assert_eq!(turned.get("previousKeyExpiresAt"), None);
        assert_eq!((house.chat(&first).await.status, house.chat(&second).await.status), (401, 200));
        let turned = house.post("acme-corp", "rotate-api-key", &json!({"gracePeriodSeconds": 2})).await;
        let third = turned["apiKey"].as_str().unwrap().to_owned();
        assert!(turned["previousKeyExpiresAt"].is_string());
        assert_eq!((house.chat(&second).await.status, house.chat(&third).await.status), (200, 200));
        let over = Instant::now() + PATIENCE;
        while house.chat(&second).await.status == 200 {
            assert!(Instant::now() < over, "the old key outlives its grace");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(house.chat(&third).await.status, 200);
        let trail = house.done("GET", &format!("{TENANTS}/acme-corp/audit?action=tenant.*"), None, 200).await;
        let actions: Vec<&str> =
            trail.as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["tenant.key_rotated", "tenant.key_rotated", "tenant.created"]);
        assert_eq!((&trail[0]["tenantId"], &trail[0]["result"]), (&json!("acme-corp"), &json!("success")));
        assert!(!trail.to_string().contains(&third));
    }

    async fn a_suspended_tenant_is_refused_everywhere_and_a_deleted_one_is_gone(store) {
        let house = House::start(store, "").await;
        let (_, key) = house.make(&acme()).await;
        let verified = async || {
            let asked = Call::post(house.gateway.at(VERIFY), &json!({"credential": key}));
            let told = asked.bearer(ADMIN_KEY).header("x-tenant-id", "acme-corp").send().await;
            told.json()["is_valid"].clone()
        };
        assert_eq!(verified().await, json!(true));
        house.post("acme-corp", "suspend", &json!({})).await;
        assert_eq!(house.chat(&key).await.status, 403);
        assert_ne!(verified().await, json!(true), "nobody else takes its keys for good either");
        assert_eq!(Call::get(house.gateway.at("/v1/costs")).bearer(&key).send().await.status, 403);
        house.post("acme-corp", "resume", &json!({})).await;
        assert_eq!(house.chat(&key).await.status, 200);
        let one = format!("{TENANTS}/acme-corp");
        assert_refused(&house.ask("DELETE", &one, None).await, 400, "VALIDATION_ERROR");
        house.done("DELETE", &format!("{one}?confirm=true"), None, 200).await;
        assert_eq!(house.chat(&key).await.status, 401);
        assert_refused(&house.ask("GET", &one, None).await, 404, "TENANT_NOT_FOUND");
        assert_refused(&house.ask("PATCH", &one, Some(&json!({"name": "x"}))).await, 404, "TENANT_NOT_FOUND");
        assert_refused(&house.ask("POST", TENANTS, Some(&acme())).await, 409, "TENANT_ALREADY_EXISTS");
        // What it did can still be proven.
        let proof = Call::get(house.gateway.at("/v1/evidence?tenant_id=acme-corp")).bearer(ADMIN_KEY).send().await;
        assert!(!proof.json()["entries"].as_array().unwrap().is_empty(), "{}", proof.text());
    }

    async fn a_tenant_that_a_file_names_is_changed_there_and_one_that_a_key_names_can_be_made_here(store) {
        let house = House::start(store, "tenants: [{id: filed, rate_limits: {requests_per_minute: 9}}]\n").await;
        let filed = house.done("GET", &format!("{TENANTS}/filed"), None, 200).await;
        assert_eq!((&filed["managedBy"], &filed["limits"]["requestsPerMinute"]), (&json!("file"), &json!(9)));
        for (method, path, body) in [
            ("PATCH", format!("{TENANTS}/filed"), json!({"name": "x"})),
            ("POST", format!("{TENANTS}/filed/suspend"), json!({})),
            ("POST", format!("{TENANTS}/filed/rotate-api-key"), json!({})),
            ("DELETE", format!("{TENANTS}/filed?confirm=true"), json!({})),
        ] {
            assert_refused(&house.ask(method, &path, Some(&body)).await, 409, "TENANT_READ_ONLY");
        }
        assert_refused(&house.ask("POST", TENANTS, Some(&json!({"id": "filed"}))).await, 409, "TENANT_ALREADY_EXISTS");
        // Seed 001, migration step 2: those who are there already stay, under the tenant that is made for them.
        assert_eq!(house.chat(KEY).await.status, 200);
        let (made, _) = house.make(&json!({"id": "acme", "limits": {"requestsPerMinute": 4}})).await;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = house.chat(KEY).await;
            if answer.status == 429 {
                assert_eq!(answer.header("x-ratelimit-limit"), Some("4"));
                break;
            }
            assert!(Instant::now() < deadline, "the file's caller never meets the limit: {}", answer.text());
        }
        let evidence = Call::get(house.gateway.at("/v1/evidence?tenant_id=acme")).bearer(ADMIN_KEY).send().await;
        assert!(evidence.text().contains("\"app\"") && made["nid"].is_string(), "{}", evidence.text());
    }

    async fn whoever_holds_a_tenants_key_may_end_it_without_saying_whose_it_is(store) {
        let house = House::start(store, "").await;
        let (_, key) = house.make(&acme()).await;
        let wish = json!({"credential": key, "reason": "REVOCATION_REASON_KEY_COMPROMISE"});
        let ended = Call::post(house.gateway.at(SELF_REVOKE), &wish).send().await;
        assert_eq!((ended.status, house.chat(&key).await.status), (200, 401), "{}", ended.text());
    }

    /// To be named by a file gives a row nothing back.
    async fn a_suspended_tenant_that_a_file_begins_to_name_stays_suspended(store) {
        let mut house = House::start(store, "").await;
        let (_, key) = house.make(&acme()).await;
        house.post("acme-corp", "suspend", &json!({})).await;
        let named = config(&providers(house.provider.url()), "{}", &format!("{PRICES}tenants: [{{id: acme-corp}}]\n"));
        house.gateway.kill9();
        house.gateway.rewrite_config(&named);
        house.gateway.restart().await;
        let shown = house.done("GET", &format!("{TENANTS}/acme-corp"), None, 200).await;
        assert_eq!((&shown["managedBy"], &shown["status"]), (&json!("file"), &json!("suspended")));
        assert_eq!(house.chat(&key).await.status, 403);
    }

    /// A slug is never anybody else's, whatever still names it.
    async fn a_deleted_tenant_that_a_file_still_names_stays_deleted(store) {
        let mut house = House::start(store, "").await;
        let (_, key) = house.make(&json!({"id": "acme"})).await;
        assert_eq!(house.chat(KEY).await.status, 200);
        house.post("acme", "suspend", &json!({})).await;
        // Its callers in the file are refused with the next request, whatever becomes of the file.
        assert_eq!(house.chat(KEY).await.status, 403);
        house.done("DELETE", &format!("{TENANTS}/acme?confirm=true"), None, 200).await;
        for _ in 0..2 {
            assert_eq!((house.chat(KEY).await.status, house.chat(&key).await.status), (403, 401));
            assert_refused(&house.ask("POST", TENANTS, Some(&json!({"id": "acme"}))).await, 409, "TENANT_ALREADY_EXISTS");
            assert_refused(&house.ask("GET", &format!("{TENANTS}/acme"), None).await, 404, "TENANT_NOT_FOUND");
            let trail = house.done("GET", &format!("{TENANTS}/acme/audit?action=tenant.*"), None, 200).await;
            assert_eq!(trail[0]["action"], json!("tenant.deleted"));
            house.done("GET", &format!("{TENANTS}/acme/usage"), None, 200).await;
            house.gateway.kill9();
            house.gateway.restart().await;
        }
    }

    async fn what_is_no_tenant_is_refused_in_words_and_leaves_nothing(store) {
        let house = House::start(store, "").await;
        for (body, field) in [
            (json!({}), "id"),
            (json!({"id": 7}), "id"),
            (json!({"id": "Acme"}), "id"),
            (json!({"id": "api-keys"}), "id"),
            (json!({"id": "x", "limit": {}}), "limit"),
            (json!({"id": "x", "limits": {"requestsPerMinute": -1}}), "limits"),
            (json!({"id": "x", "limits": {"requestsPerMinute": 0}}), "limits.requestsPerMinute"),
            (json!({"id": "x", "email": "nobody"}), "email"),
            (json!({"id": "x", "security": {"allowedIPs": ["10.0.0.0/99"]}}), "security.allowedIPs"),
        ] {
            let answer = house.ask("POST", TENANTS, Some(&body)).await;
            assert_refused(&answer, 400, "VALIDATION_ERROR");
            assert_eq!(answer.json()["error"]["context"]["field"], json!(field), "{}", answer.text());
        }
        let broken = Call::post(house.gateway.at(TENANTS), &json!({})).bearer(ADMIN_KEY).body("{\"id\":").send().await;
        assert_refused(&broken, 400, "VALIDATION_ERROR");
        assert_refused(&house.ask("GET", &format!("{TENANTS}/x"), None).await, 404, "TENANT_NOT_FOUND");
        assert_refused(&house.ask("GET", &format!("{TENANTS}?limit=0"), None).await, 400, "VALIDATION_ERROR");
        let made = house.make(&json!({"id": "y"})).await;
        let rotate = format!("{TENANTS}/y/rotate-api-key");
        assert_refused(&house.ask("POST", &rotate, Some(&json!({"gracePeriodSeconds": -1}))).await, 400, "VALIDATION_ERROR");
        assert_eq!(house.chat(&made.1).await.status, 200, "its key still works");
        // A tenant's key administers nothing.
        let own = Call::get(house.gateway.at(TENANTS)).bearer(&made.1).send().await;
        assert_refused(&own, 401, "INVALID_API_KEY");
        let trail = Call::get(house.gateway.at("/api/v1/audit")).bearer(&made.1).send().await;
        assert_eq!(trail.json()["data"][0]["tenantId"], json!("y"), "{}", trail.text());
    }

    /// Proves: CONN-40
    async fn a_tenant_is_called_from_its_own_addresses_only(store) {
        let house = House::start(store, "").await;
        let (_, key) = house.make(&acme()).await;
        for (allowed, status) in [
            (json!(["203.0.113.0/24", "198.51.100.42"]), 403),
            (json!(["127.0.0.0/8"]), 200),
            (json!(["::ffff:127.0.0.1"]), 200),
            (json!(["2001:db8::/32", "127.0.0.1"]), 200),
            (json!(["::/0"]), 403),
            (json!([]), 200),
        ] {
            house.patch("acme-corp", &json!({"security": {"allowedIPs": allowed}})).await;
            let answer = house.chat(&key).await;
            assert_eq!(answer.status, status, "{allowed}: {}", answer.text());
        }
        // Who is not a trusted proxy cannot speak for others.
        house.patch("acme-corp", &json!({"security": {"allowedIPs": ["203.0.113.0/24"]}})).await;
        let hits = house.provider.hits();
        let spoofed = chat(&house.gateway, &key).header("x-forwarded-for", "203.0.113.7").send().await;
        assert_eq!((spoofed.status, house.provider.hits()), (403, hits), "{}", spoofed.text());
        assert!(spoofed.text().contains("ip_not_allowed"), "{}", spoofed.text());
    }

    /// A second process on the same store knows within a second what the first one did.
    async fn tenants_outlive_the_process_that_made_them(store) {
        let mut house = House::start(store, "").await;
        let (_, key) = house.make(&acme()).await;
        house.patch("acme-corp", &json!({"limits": {"requestsPerMinute": 7}})).await;
        house.gateway.kill9();
        house.gateway.restart().await;
        let answer = house.chat(&key).await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, Some("7")), "{}", answer.text());
        assert_eq!(house.done("GET", &format!("{TENANTS}/acme-corp"), None, 200).await["name"], json!("ACME Corporation"));
    }
}
