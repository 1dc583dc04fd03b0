//! What extras of keys never let through: rows that cannot be read, and tokens whose keys would not pass.

use bh_testkit::{Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_extras::{caller_key, chat, hourly, patch, start};
use crate::keys_setup::assert_bad_request;
use crate::money::{ADMIN, provider, tamper};
use crate::verify_setup::{Api, BATCH_VERIFY, ISSUED, VERIFY, verdict};

/// Spoils the extras of a key in the store, as a newer version or a hand in the database would.
fn spoil(gateway: &Gateway, key_id: &str) {
    let extras = r#"{"permissions": ["a b"], "rate_limits": []}"#;
    tamper(gateway, &format!("UPDATE api_keys SET extras = '{extras}' WHERE key_id = '{key_id}'"));
}

const FRESH: [(&str, &str); 1] = [("cache-control", "no-cache")];

on_both_stores! {
    async fn a_key_whose_extras_cannot_be_read_is_good_for_nothing_and_hides_no_other(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let limits = json!([{"name": "l", "quota": "1", "window": "3600s", "auto_apply": true}]);
        let key = api.issue(&json!({"name": "spoilt", "rate_limits": limits})).await;
        let other = api.issue(&json!({"name": "other", "permissions": ["a"]})).await;
        let jwt = api.derive(&key.secret, "JWT", json!({})).await;
        spoil(&gateway, &key.id);
        assert_eq!(api.seen(&key.secret, &FRESH).await.0, "INTERNAL", "no permission was asked for");
        for needs in [json!({"rate_limits": [{"name": "l"}]}), json!({"credits": {"cost": 1}}), json!({"permissions": "a"})] {
            let mut body = needs.clone();
            body["credential"] = json!(jwt);
            assert_eq!(verdict(&api.verify_with(&body, &FRESH).await.json()), "INTERNAL", "{needs}");
        }
        assert_eq!(api.verdict(&other.secret).await, "valid");
        let list = api.call("GET", ISSUED).send().await;
        assert_eq!(list.status, 200, "{}", list.text());
        let told: Vec<_> = list.json()["issued_api_keys"].as_array().unwrap().clone();
        let names: Vec<_> = told.iter().map(|key| key["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["other", "spoilt"]);
        assert_eq!((&told[0]["permissions"], told[1].get("permissions")), (&json!(["a"]), None));
    }

    async fn a_key_whose_extras_cannot_be_read_makes_no_calls(store) {
        let provider = provider();
        let gateway = start(store, &provider).await;
        let (key, path) = caller_key(&gateway, json!([])).await;
        spoil(&gateway, path.rsplit_once('/').unwrap().1);
        let refused = chat(&gateway, &key).await;
        assert_eq!((refused.status, provider.hits()), (503, 0), "{}", refused.text());
    }

    async fn a_token_passes_only_from_where_its_key_does_and_as_fresh_as_it_was_asked_for(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"permissions": ["a"], "credits": {"remaining": 9}})).await;
        let jwt = api.derive(&key.secret, "JWT", json!({})).await;
        let asks = json!({"credential": jwt, "permissions": "a"});
        assert_eq!(verdict(&api.verify_with(&asks, &[]).await.json()), "valid");
        // Nobody hears of this change.
        tamper(&gateway, &format!("UPDATE api_keys SET extras = '{{}}' WHERE key_id = '{}'", key.id));
        assert_eq!(verdict(&api.verify_with(&asks, &[]).await.json()), "valid", "memory says so");
        assert_eq!(verdict(&api.verify_with(&asks, &FRESH).await.json()), "INSUFFICIENT_PERMISSIONS");

        let elsewhere = json!({"ip_restriction": {"allowed_cidrs": ["192.0.2.0/24"]}, "permissions": ["a"]});
        patch(&api, &format!("{ISSUED}/{}?update_mask=ip_restriction,permissions", key.id), &elsewhere).await;
        assert_eq!(api.verdict(&key.secret).await, "IP_NOT_ALLOWED");
        assert_eq!(verdict(&api.verify_with(&asks, &[]).await.json()), "IP_NOT_ALLOWED");
        let pays = json!({"credential": jwt, "credits": {"cost": 1}});
        assert_eq!(verdict(&api.verify_with(&pays, &[]).await.json()), "IP_NOT_ALLOWED");
        let left = tamper(&gateway, &format!("SELECT credits FROM api_keys WHERE key_id = '{}'", key.id));
        assert_eq!(left, "9");
    }

    async fn a_changed_limit_begins_anew(store) {
        let yaml = "rate_limit: {enabled: true}\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(yaml).start().await;
        let api = Api::of(&gateway);
        let named = |window: &str| json!({"rate_limits": [{"name": "l", "quota": "1", "window": window, "auto_apply": true}]});
        let own = |window: &str| json!({"rate_limit_policy": {"quota": "1", "window": window}});
        for (mask, before, after) in [
            ("rate_limits", named("86400s"), named("3600s")),
            ("rate_limit_policy", own("86400s"), own("3600s")),
        ] {
            let key = api.issue(&before).await;
            let path = format!("{ISSUED}/{}?update_mask={mask},name", key.id);
            assert_eq!(api.verdict(&key.secret).await, "valid");
            let mut renamed = before.clone();
            renamed["name"] = json!("renamed");
            patch(&api, &path, &renamed).await;
            assert_eq!(api.verdict(&key.secret).await, "RATE_LIMITED", "{mask}: another change forgives nothing");
            patch(&api, &path, &after).await;
            assert_eq!(api.verdict(&key.secret).await, "valid", "{mask}");
            assert_eq!(api.verdict(&key.secret).await, "RATE_LIMITED", "{mask}");
        }
    }

    async fn what_a_call_owed_to_a_limit_is_not_owed_to_the_one_in_its_place(store) {
        let provider = provider();
        let gateway = start(store, &provider).await;
        let (key, path) = caller_key(&gateway, json!([hourly("tpm", "1", "tokens", false)])).await;
        assert_eq!(chat(&gateway, &key).await.status, 200);
        assert_eq!(chat(&gateway, &key).await.status, 429);
        let more = json!({"rate_limits": [hourly("tpm", "1000000", "tokens", false)]});
        let change = Call::new("PATCH", gateway.at(&format!("{path}?update_mask=rate_limits")));
        let changed = change.bearer(ADMIN).header("x-tenant-id", "acme").json(&more).send().await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        for _ in 0..2 {
            assert_eq!(chat(&gateway, &key).await.status, 200);
        }
    }

    async fn who_asks_for_more_than_there_ever_is_is_not_told_to_wait(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"rate_limits": [hourly("l", "3", "requests", false)]})).await.secret;
        let asked = async |cost: u64| {
            let limits = json!([{"name": "l", "cost": cost}]);
            api.verify_with(&json!({"credential": key, "rate_limits": limits}), &[]).await
        };
        assert_eq!(verdict(&asked(1).await.json()), "valid");
        let late = asked(3).await;
        let told = late.json();
        assert_eq!(verdict(&told), "RATE_LIMITED");
        assert!(late.header("retry-after").is_some() && told["rate_limits"][0]["reset_time"].is_string(), "{told}");
        let never = asked(4).await;
        let told = never.json();
        assert_eq!((verdict(&told).as_str(), never.header("retry-after")), ("RATE_LIMITED", None));
        let limit = &told["rate_limits"][0];
        assert_eq!((&limit["exceeded"], &limit["remaining"], limit.get("reset_time")), (&json!(true), &json!("2"), None));
        assert!(told["error_message"].as_str().unwrap().ends_with("ever has, which is 3"), "{told}");
    }

    async fn amounts_reach_as_far_as_quotas(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let most = "999999999999999";
        let limits = json!([hourly("t", most, "tokens", false), hourly("r", most, "requests", false)]);
        let key = api.issue(&json!({"rate_limits": limits})).await.secret;
        let asks = |cost: &str| json!({"credential": key, "rate_limits": [{"name": "t", "cost": cost}, {"name": "r", "cost": cost}]});
        let told = api.verify_with(&asks(most), &[]).await.json();
        assert_eq!(verdict(&told), "valid");
        let refused = api.verify_with(&asks("500000000000000"), &[]).await.json();
        assert_eq!(verdict(&refused), "RATE_LIMITED");
        for cost in ["1000000000000000", "-1", "0.0000000001"] {
            let words = format!("`rate_limits[0].cost`: expected an amount of 0 to {most}, with at most 9 digits");
            assert_bad_request(&api.post(VERIFY, &asks(cost)).await, &words);
        }
    }

    async fn no_update_or_rotation_takes_credits_and_says_nothing(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "k", "credits": {"remaining": 3}})).await;
        let path = format!("{ISSUED}/{}", key.id);
        let body = json!({"name": "n", "credits": {"remaining": "9"}});
        for query in ["", "?update_mask=credits", "?update_mask=name,%20credits"] {
            let refused = api.call("PATCH", &format!("{path}{query}")).json(&body).send().await;
            assert_bad_request(&refused, "`:updateCredits`");
        }
        let wrapped = json!({"issued_api_key": body});
        assert_bad_request(&api.call("PATCH", &path).json(&wrapped).send().await, "`:updateCredits`");
        assert_bad_request(&api.post(&format!("{path}:rotate"), &body).await, "`:updateCredits`");
        let told = patch(&api, &format!("{path}?update_mask=name"), &body).await;
        assert_eq!((&told["name"], &told["credits"]["remaining"]), (&json!("n"), &json!("3")), "what no mask names is passed over");
        assert_eq!(patch(&api, &path, &json!({"name": "m", "credits": null})).await["name"], "m");
    }

    async fn who_only_reads_does_not_say_what_a_key_pays(store) {
        let roles = "admin_keys:\n  - {name: ops, key: admin-key-for-tests-001, role: admin}\n  - {name: eye, key: viewer-key-for-tests-001, role: viewer}\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(roles).start().await;
        let post = async |who: &str, path: &str, body: Value| {
            Call::post(gateway.at(path), &body).bearer(format!("{who}-key-for-tests-001")).send().await
        };
        let issued = post("admin", ISSUED, json!({"credits": {"remaining": 9}})).await;
        let secret = issued.json()["secret"].clone();
        for (who, cost, status) in [("viewer", 0, 200), ("viewer", 3, 403), ("admin", 3, 200)] {
            let body = json!({"credential": secret, "credits": {"cost": cost}});
            let batch = json!({"requests": [{"credential": secret}, body]});
            assert_eq!(post(who, VERIFY, body).await.status, status, "{who} {cost}");
            assert_eq!(post(who, BATCH_VERIFY, batch).await.status, status, "{who} {cost}");
        }
        let told = post("viewer", VERIFY, json!({"credential": secret, "credits": {"cost": 0}})).await.json();
        assert_eq!(told["credits"]["remaining"], "1", "two batches took one each, and the admin three, twice");
    }
}
