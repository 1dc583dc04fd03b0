//! What keys share through their identity: its limits, at every door and on every replica, and nothing with another tenant's
//! (decision 21).

use std::time::Instant;

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_cache::{SHARED, replica};
use crate::keys_extras::hourly;
use crate::keys_identities::{IDENTITIES, assert_unknown, left, made, patched};
use crate::keys_setup::{HOST_ONE, HOST_TWO, Side, open_gateway, two_tenants};
use crate::money::{ADMIN, config, provider};
use crate::verify_setup::{Api, PATIENCE, verdict};

on_both_stores! {
    async fn the_keys_of_an_identity_share_its_limits_and_a_limit_of_their_own_wins(store) {
        let gateway = open_gateway(store, "").start().await;
        let (side, api) = (Side::of(&gateway, ""), Api::of(&gateway));
        let limits = json!([hourly("shared", "4", "requests", false), hourly("own", "1", "requests", false)]);
        let id = made(&side, &json!({"external_id": "acme", "rate_limits": limits})).await;
        made(&side, &json!({"external_id": "globex", "rate_limits": limits})).await;
        let key = async |actor: &str, limits: Value| {
            api.issue(&json!({"name": "k", "actor_id": actor, "rate_limits": limits})).await.secret
        };
        let first = key("acme", json!([hourly("own", "9", "requests", false)])).await;
        let second = key("acme", json!([])).await;
        let foreign = key("globex", json!([])).await;
        let left = async |credential: &str, name: &str| left(&api, credential, name).await.unwrap();
        assert_eq!(left(&first, "shared").await, "3");
        assert_eq!(left(&second, "shared").await, "2");
        assert_eq!(left(&foreign, "shared").await, "3", "another identity's count");
        assert_eq!((left(&first, "own").await.as_str(), left(&first, "own").await.as_str()), ("8", "7"));
        assert_eq!(left(&second, "own").await, "0", "the first has its own, and took nothing of this");
        assert_eq!(left(&first, "shared").await, "1");
        assert_eq!(left(&second, "shared").await, "0");
        for credential in [&first, &second] {
            let body = json!({"credential": credential, "rate_limits": [{"name": "shared"}, {"name": "own", "cost": 0}]});
            let refused = api.verify_with(&body, &[]).await.json();
            assert_eq!(verdict(&refused), "RATE_LIMITED");
            assert!(refused["error_message"].as_str().unwrap().contains("`shared`"), "{refused}");
            assert_eq!(refused["identity"]["identity_id"], json!(id), "{refused}");
        }
        let token = api.derive(&second, "JWT", json!({})).await;
        assert_eq!(left(&token, "shared").await, "exceeded", "a token's key is counted");
        // A limit that applies by itself, from the next use on and for each key.
        let shared = json!({"rate_limits": [hourly("all", "2", "requests", true)]});
        patched(&side, &id, "rate_limits", &shared).await;
        assert_eq!(api.verdict(&first).await, "valid");
        assert_eq!(api.verdict(&second).await, "valid");
        assert_eq!(api.verdict(&first).await, "RATE_LIMITED");
        assert_eq!(api.verdict(&foreign).await, "valid");
        assert_eq!(side.delete(&format!("{IDENTITIES}/{id}")).await.status, 204);
        assert_eq!(api.verdict(&first).await, "valid", "nobody's limit any more");
    }

    async fn the_limits_of_an_identity_hold_at_the_llm_doors_for_all_its_keys(store) {
        let provider = provider();
        let gateway = doors(store, &provider).await;
        for (limit, calls) in [
            (hourly("calls", "2", "requests", true), 2),
            // A call uses 17 tokens: two are let in while nothing is owed.
            (hourly("tpm", "20", "tokens", false), 2),
        ] {
            let name = limit["name"].as_str().unwrap().to_owned();
            let body = json!({"external_id": name, "rate_limits": [limit]});
            let made = admin(&gateway, "POST", IDENTITIES).json(&body).send().await;
            assert_eq!(made.status, 201, "{}", made.text());
            let id = made.json()["identity_id"].as_str().unwrap().to_owned();
            let keys = [caller(&gateway, &name).await, caller(&gateway, &name).await];
            let stranger = caller(&gateway, "stranger").await;
            for key in keys.iter().cycle().take(calls) {
                let answer = chat(&gateway, key).await;
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
            }
            for key in &keys {
                let refused = chat(&gateway, key).await;
                assert_eq!(refused.status, 429, "{name}: {}", refused.text());
                assert!(refused.header("retry-after").is_some(), "{name}");
            }
            assert_eq!(chat(&gateway, &stranger).await.status, 200, "{name}");
            let path = format!("{IDENTITIES}/{id}?update_mask=rate_limits");
            assert_eq!(admin(&gateway, "PATCH", &path).json(&json!({})).send().await.status, 200);
            for key in &keys {
                assert_eq!(chat(&gateway, key).await.status, 200, "{name}: from the next call on");
            }
        }
    }

    async fn no_identity_of_a_tenant_is_anything_to_another(store) {
        let gateway = two_tenants(store, "", "", "").start().await;
        let (one, two) = (Side::of(&gateway, HOST_ONE), Side::of(&gateway, HOST_TWO));
        let limits = json!([hourly("shared", "2", "requests", false)]);
        let body = json!({"external_id": "acme", "metadata": {"of": "one"}, "rate_limits": limits});
        let id = made(&one, &body).await;
        let unknown = "00000000-0000-4000-8000-000000000000";
        for method in ["GET", "PATCH", "DELETE"] {
            let asked = async |id: &str| {
                let answer = two.send(method, &format!("{IDENTITIES}/{id}"), &json!({"metadata": {}})).await;
                assert_unknown(&answer);
                answer.text()
            };
            assert_eq!(asked(&id).await, asked(unknown).await, "{method}");
        }
        assert_eq!(two.read(IDENTITIES).await["identities"], json!([]));
        let keys = [one.issue(&json!({"actor_id": "acme"})).await, two.issue(&json!({"actor_id": "acme"})).await];
        let (of_one, of_two) = (Api::at(&gateway, HOST_ONE), Api::at(&gateway, HOST_TWO));
        assert_eq!(of_one.verify(&keys[0].secret).await["identity"]["metadata"], json!({"of": "one"}));
        assert_eq!(of_two.verify(&keys[1].secret).await.get("identity"), None);
        assert_eq!(left(&of_two, &keys[1].secret, "shared").await, None);
        // The same name there is another identity, with counts of its own.
        let other = made(&two, &json!({"external_id": "acme", "rate_limits": limits})).await;
        assert_ne!(other, id);
        assert_eq!(left(&of_one, &keys[0].secret, "shared").await.as_deref(), Some("1"));
        assert_eq!(left(&of_one, &keys[0].secret, "shared").await.as_deref(), Some("0"));
        assert_eq!(left(&of_two, &keys[1].secret, "shared").await.as_deref(), Some("1"));
        assert_eq!(two.delete(&format!("{IDENTITIES}/{other}")).await.status, 204);
        assert_eq!(of_one.verify(&keys[0].secret).await["identity"]["identity_id"], json!(id));
        let page = one.read(&format!("{IDENTITIES}?page_size=1")).await;
        assert_eq!(page["next_page_token"], json!(""), "{page}");
    }
}

async fn doors(store: Store, provider: &FakeProvider) -> Gateway {
    crate::money::gateway(&config(provider, ["{}", "{}", "{}"], "")).store(store).start().await
}

fn admin(gateway: &Gateway, method: &str, path: &str) -> Call {
    Call::new(method, gateway.at(path)).bearer(ADMIN).header("x-tenant-id", "acme")
}

/// A key of an actor of tenant acme for LLM calls.
async fn caller(gateway: &Gateway, actor: &str) -> String {
    let body = json!({"name": "bot", "actor_id": actor, "scopes": ["llm"]});
    let answer = admin(gateway, "POST", crate::keys_setup::ISSUED).json(&body).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["secret"].as_str().unwrap().to_owned()
}

async fn chat(gateway: &Gateway, key: &str) -> Answer {
    crate::money::call(gateway, key).header("x-tenant-id", "acme").send().await
}

/// Asks until a key's identity says this.
async fn becomes(api: &Api<'_>, credential: &str, wanted: &Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = api.verify(credential).await;
        if told["identity"]["metadata"] == *wanted {
            return;
        }
        assert!(Instant::now() < deadline, "never {wanted}: {told}: {}", api.gateway.output());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn every_replica_hears_of_a_changed_identity() {
    let first = Gateway::builder(BULKHEAD).store(Store::Postgres).config(SHARED).start().await;
    let second = replica(&first.database().unwrap().url()).await;
    let (side, other) = (Side::of(&first, ""), Api::of(&second));
    let key = Api::of(&first).issue(&json!({"name": "k", "actor_id": "acme"})).await.secret;
    // In memory there, and known to belong to nobody.
    becomes(&other, &key, &Value::Null).await;
    // News of the key itself may come a moment later, and then it is read once more.
    let deadline = Instant::now() + PATIENCE;
    while other.seen(&key, &[]).await.1 != "HIT" {
        assert!(Instant::now() < deadline, "memory never answers");
    }
    let id = made(&side, &json!({"external_id": "acme", "metadata": {"plan": "gold"}})).await;
    becomes(&other, &key, &json!({"plan": "gold"})).await;
    patched(&side, &id, "metadata", &json!({"metadata": {"plan": "iron"}})).await;
    becomes(&other, &key, &json!({"plan": "iron"})).await;
    assert_eq!(side.delete(&format!("{IDENTITIES}/{id}")).await.status, 204);
    becomes(&other, &key, &Value::Null).await;
}
