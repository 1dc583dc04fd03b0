//! Requests for keys whose answer was lost: made again under the same name they are answered again, and make nothing more.

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::keys_cache::SHARED;
use crate::llm_setup::{PRICES, binary, config, providers};

const ADMIN_KEY: &str = "ops-admin-key-7f21c9";
const TENANTS: &str = "/api/v1/admin/tenants";
/// Requests that are made at once.
const AT_ONCE: usize = 8;

/// A gateway with a tenant `acme-corp`.
struct House {
    gateway: Gateway,
    key: String,
    yaml: String,
    _provider: FakeProvider,
}

impl House {
    async fn start(store: Store, limits: Value) -> Self {
        let provider = FakeProvider::start();
        let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{SHARED}"));
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        let body = json!({"id": "acme-corp", "limits": limits});
        let made = Call::post(gateway.at(TENANTS), &body).bearer(ADMIN_KEY).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let key = text(&made.json()["data"]["apiKey"]);
        Self { gateway, key, yaml, _provider: provider }
    }

    fn call(&self, verb: &str, name: &str, body: &Value) -> Call {
        call(&self.gateway, verb, name, body)
    }

    async fn listed(&self, what: &str) -> Vec<Value> {
        let path = format!("{TENANTS}/acme-corp/{what}");
        let told = Call::get(self.gateway.at(&path)).bearer(ADMIN_KEY).send().await.json();
        told["data"].as_array().unwrap_or_else(|| panic!("{told}")).clone()
    }

    /// How many keys there are, and how many the trail says were made by name or by turn.
    async fn counts(&self) -> (usize, usize, usize) {
        let keys = self.listed("api-keys").await.len();
        let issued = self.listed("audit?action=key.issued").await.len();
        (keys, issued, self.listed("audit?action=tenant.key_rotated").await.len())
    }
}

fn call(gateway: &Gateway, verb: &str, name: &str, body: &Value) -> Call {
    let call = Call::post(gateway.at(&format!("{TENANTS}/acme-corp/{verb}")), body).bearer(ADMIN_KEY);
    if name.is_empty() { call } else { call.header("idempotency-key", name) }
}

async fn opens(gateway: &Gateway, key: &str) -> u16 {
    Call::get(gateway.at("/v1/costs")).bearer(key).send().await.status
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value}")).to_owned()
}

/// The data of an answer, which has a key in it.
fn data(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let data = answer.json()["data"].clone();
    assert!(data["apiKey"].is_string(), "{data}");
    data
}

fn assert_used_up(answer: &Answer, why: &str) {
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (409, &json!("CONFLICT")),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains(why), "{}", answer.text());
}

on_both_stores! {
    async fn a_key_that_is_asked_for_again_is_made_once_and_told_again(store) {
        let mut house = House::start(store, json!({"maxApiKeys": 3})).await;
        let body = json!({"name": "ci", "scopes": ["llm", "read"], "expiresAt": "2027-06-01T00:00:00Z"});
        let first = data(&house.call("api-keys", "order 7", &body).send().await, 201);
        assert_eq!(data(&house.call("api-keys", "order 7", &body).send().await, 201), first);
        house.gateway.kill9();
        house.gateway.restart().await;
        assert_eq!(data(&house.call("api-keys", "order 7", &body).send().await, 201), first);
        assert_eq!(opens(&house.gateway, &text(&first["apiKey"])).await, 200);
        assert_eq!(house.counts().await, (2, 2, 0), "the tenant's own key, and this one");
        // Another body under that name is another request; another name makes another key, and none makes one each time.
        for other in [json!({"name": "cd", "scopes": body["scopes"]}), json!({"name": "ci"})] {
            assert_used_up(&house.call("api-keys", "order 7", &other).send().await, "had another body");
        }
        let second = data(&house.call("api-keys", "order 8", &body).send().await, 201);
        assert_ne!(second["apiKey"], first["apiKey"]);
        // As many keys as it may have: one that was made is told all the same.
        assert_eq!(house.call("api-keys", "order 9", &body).send().await.status, 429);
        assert_eq!(data(&house.call("api-keys", "order 8", &body).send().await, 201), second);
        let long = "x".repeat(256);
        let refused = house.call("api-keys", &long, &body).send().await;
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!("VALIDATION_ERROR")));
        assert_eq!(house.counts().await, (3, 3, 0));
        assert!(!house.gateway.output().contains(&text(&first["apiKey"])));
    }

    async fn a_key_that_was_revoked_or_deleted_does_not_come_to_life_by_a_repetition(store) {
        let house = House::start(store, json!({})).await;
        let body = json!({"name": "ci"});
        let first = data(&house.call("api-keys", "order 7", &body).send().await, 201);
        let (id, key) = (text(&first["id"]), text(&first["apiKey"]));
        let revoke = Call::new("DELETE", house.gateway.at(&format!("{TENANTS}/acme-corp/api-keys/{id}"))).bearer(ADMIN_KEY);
        assert_eq!(revoke.send().await.status, 200);
        let again = data(&house.call("api-keys", "order 7", &body).send().await, 201);
        assert_eq!((&again["apiKey"], &again["status"]), (&first["apiKey"], &json!("revoked")));
        assert_eq!(opens(&house.gateway, &key).await, 401);
        let path = format!("/v2alpha1/admin/issuedApiKeys/{id}");
        let delete = Call::new("DELETE", house.gateway.at(&path)).bearer(ADMIN_KEY).header("x-tenant-id", "acme-corp");
        assert_eq!(delete.send().await.status, 204);
        assert_used_up(&house.call("api-keys", "order 7", &body).send().await, "was deleted");
        assert_eq!(opens(&house.gateway, &key).await, 401);
    }

    async fn a_rotation_that_is_asked_for_again_is_made_once_and_its_key_told_again(store) {
        let mut house = House::start(store, json!({})).await;
        let grace = json!({"gracePeriodSeconds": 3600});
        let first = data(&house.call("rotate-api-key", "turn 1", &grace).send().await, 200);
        assert!(first["previousKeyExpiresAt"].is_string(), "{first}");
        assert_eq!(data(&house.call("rotate-api-key", "turn 1", &grace).send().await, 200), first);
        house.gateway.kill9();
        house.gateway.restart().await;
        assert_eq!(data(&house.call("rotate-api-key", "turn 1", &grace).send().await, 200), first);
        for key in [&house.key, &text(&first["apiKey"])] {
            assert_eq!(opens(&house.gateway, key).await, 200, "both, for the time of grace");
        }
        assert_eq!(house.counts().await, (2, 1, 1));
        assert_used_up(&house.call("rotate-api-key", "turn 1", &json!({})).send().await, "had another body");
        // Without grace, and without a body; then the earlier one is over.
        let second = data(&house.call("rotate-api-key", "turn 2", &json!({})).send().await, 200);
        assert_eq!(second.get("previousKeyExpiresAt"), None);
        assert_eq!(data(&house.call("rotate-api-key", "turn 2", &json!({})).send().await, 200), second);
        assert_used_up(&house.call("rotate-api-key", "turn 1", &grace).send().await, "rotated again since");
        assert_eq!(opens(&house.gateway, &text(&first["apiKey"])).await, 401);
        assert_eq!(opens(&house.gateway, &text(&second["apiKey"])).await, 200);
        assert_eq!(house.counts().await, (3, 1, 2));
    }

    async fn the_same_request_many_times_at_once_makes_one_key(store) {
        let house = House::start(store, json!({})).await;
        let body = json!({"name": "ci"});
        for (verb, body, status) in [("api-keys", &body, 201), ("rotate-api-key", &json!({}), 200)] {
            let calls = (0..AT_ONCE).map(|_| house.call(verb, "once", body)).map(|call| async move { call.send().await });
            let told: Vec<Value> = join_all(calls).await.iter().map(|answer| data(answer, status)).collect();
            assert!(told.iter().all(|one| *one == told[0]), "{verb}: {told:?}");
        }
        assert_eq!(house.counts().await, (3, 2, 1));
    }
}

/// An operator's names are its own, and every replica tells what any of them made.
#[tokio::test]
async fn another_replica_tells_it_again_and_another_operator_is_told_nothing() {
    let house = House::start(Store::Postgres, json!({})).await;
    let url = house.gateway.database().unwrap().url();
    let more = "admin_keys:\n  - {name: second, key: second-admin-key-91ab, role: admin}\n";
    let other = binary().config(&format!("{}{more}", house.yaml)).env("DATABASE_URL", &url);
    let other = other.env("ADMIN_API_KEY", ADMIN_KEY).start().await;
    for (verb, body, status) in [("api-keys", json!({"name": "ci"}), 201), ("rotate-api-key", json!({}), 200)]
    {
        let first = data(&house.call(verb, "order 7", &body).send().await, status);
        assert_eq!(data(&call(&other, verb, "order 7", &body).send().await, status), first, "{verb}");
        let stranger = Call::post(other.at(&format!("{TENANTS}/acme-corp/{verb}")), &body)
            .bearer("second-admin-key-91ab");
        let stranger = data(&stranger.header("idempotency-key", "order 7").send().await, status);
        assert_ne!(stranger["apiKey"], first["apiKey"]);
    }
}
