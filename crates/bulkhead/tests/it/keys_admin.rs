//! Keys and those who administer them (Talos dossier §2.5): issue once, list, update, revoke, make public, delete.

use std::collections::HashSet;

use bh_testkit::{Answer, on_both_stores};
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, DERIVE, IMPORTED, ISSUED, Issued, SELF_REVOKE, Side, assert_bad_request, assert_error,
    assert_not_found, import_body, open_gateway,
};
use crate::money::tamper;

const YEAR_S: i64 = 8_760 * 3_600;
const DAY_S: i64 = 24 * 3_600;

/// An RFC 3339 instant in seconds.
fn seconds(instant: &Value) -> i64 {
    let text = instant.as_str().unwrap_or_else(|| panic!("no instant: {instant}"));
    bh_domain::time::Timestamp::parse(text).unwrap().0 / 1_000
}

/// The ids of a page, and the token of the next.
async fn page(side: Side<'_>, path: &str, query: &str) -> (Vec<String>, String) {
    let told = side.read(&format!("{path}?{query}")).await;
    let member = if path == ISSUED { "issued_api_keys" } else { "imported_api_keys" };
    let keys = told[member].as_array().unwrap();
    let ids = keys.iter().map(|key| key["key_id"].as_str().unwrap().to_owned()).collect();
    (ids, told["next_page_token"].as_str().unwrap().to_owned())
}

async fn batch(side: Side<'_>, numbers: std::ops::Range<usize>) -> Answer {
    let requests: Vec<Value> = numbers.map(|n| import_body(&format!("sk_{n}"))).collect();
    side.post(BATCH_IMPORT, &json!({ "requests": requests })).await
}

on_both_stores! {
    /// Proves: TALOS-C10
    async fn a_list_is_cut_into_pages_of_one_to_a_thousand_newest_first(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        assert_eq!(batch(side, 0..1_000).await.status, 200);
        assert_eq!(batch(side, 1_000..1_002).await.status, 200);
        for (size, keys) in [("0", 50), ("-1", 50), ("1", 1), ("999", 999), ("1000", 1_000), ("1001", 1_000), ("9223372036854775807", 1_000)] {
            let (ids, next) = page(side, IMPORTED, &format!("page_size={size}")).await;
            assert_eq!((ids.len(), next.is_empty()), (keys, false), "page_size={size}");
        }
        let (unasked, _) = page(side, IMPORTED, "").await;
        let (camel, _) = page(side, IMPORTED, "pageSize=2&pageToken=").await;
        assert_eq!((unasked.len(), camel.len()), (50, 2));
        let (first, next) = page(side, IMPORTED, "page_size=1000").await;
        let (last, end) = page(side, IMPORTED, &format!("page_size=1000&page_token={next}")).await;
        let all: HashSet<&String> = first.iter().chain(&last).collect();
        assert_eq!((last.len(), end.as_str(), all.len()), (2, "", 1_002));

        let mut made = Vec::new();
        for n in 0..5 {
            made.push(side.issue(&json!({"name": n.to_string(), "actor_id": format!("a{}", n % 2)})).await.id);
        }
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let (ids, next) = page(side, ISSUED, &format!("page_size=2&page_token={token}")).await;
            listed.extend(ids);
            if next.is_empty() {
                break;
            }
            token = next;
        }
        let created = |told: &Value| told["issued_api_keys"].as_array().unwrap().iter().map(|key| seconds(&key["create_time"])).collect::<Vec<_>>();
        let times = created(&side.read(ISSUED).await);
        assert!(times.is_sorted_by(|newer, older| newer >= older), "{times:?}");
        listed.sort();
        made.sort();
        assert_eq!(listed, made);
        for (query, problem) in [
            ("page_size=many", "not a whole number"),
            ("page_size=1.5", "not a whole number"),
            ("page_size=99999999999999999999", "not a whole number"),
            ("page_size=1&page_size=2", "`page_size` is given twice"),
            ("page_token=nonsense", "not a token of this tenant"),
            ("page_token=%FF%FE", "not a token of this tenant"),
        ] {
            assert_bad_request(&side.get(&format!("{ISSUED}?{query}")).await, problem);
        }
        let (_, token) = page(side, ISSUED, "page_size=1").await;
        for other in [format!("{IMPORTED}?page_token={token}"), format!("{ISSUED}?filter=actor_id%3D%22a1%22&page_token={token}")] {
            assert_bad_request(&side.get(&other).await, "not a token of this tenant, this list and this filter");
        }
    }

    async fn a_list_is_filtered_by_actor_and_status_and_says_what_it_cannot_read(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let ann = side.issue(&json!({"actor_id": "ann lee"})).await.id;
        let bob = side.issue(&json!({"actor_id": "bob"})).await.id;
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(&format!("{ISSUED}/{bob}:revoke"), &end).await.status, 204);
        for (filter, ids) in [
            ("actor_id%3D%22ann%20lee%22", vec![&ann]),
            ("actor_id=%22ann+lee%22", vec![&ann]),
            ("actor_id=%22bob%22+AND+status=KEY_STATUS_ACTIVE", vec![]),
            ("status=KEY_STATUS_REVOKED%20AND%20actor_id=%22bob%22", vec![&bob]),
            ("status%3DKEY_STATUS_ACTIVE", vec![&ann]),
            ("status=KEY_STATUS_EXPIRED", vec![]),
        ] {
            let (listed, _) = page(side, ISSUED, &format!("filter={filter}")).await;
            assert_eq!(listed.iter().collect::<Vec<_>>(), ids, "{filter}");
        }
        for (filter, problem) in [
            ("status=ACTIVE", "expected one of KEY_STATUS_ACTIVE"),
            ("status=KEY_STATUS_ACTIVE+OR+actor_id=%22a%22", "expected ` AND `"),
            ("name=%22a%22", "expected `actor_id` or `status`"),
            ("actor_id=%22a%22+AND+actor_id=%22b%22", "stands there twice"),
            ("actor_id=%22a%22%0AAND+status=KEY_STATUS_ACTIVE", "expected ` AND `"),
            ("actor_id=%22a%22+--+all", "expected ` AND `"),
            ("actor_id=%22a", "no closing quote"),
            ("actor_id=%22%00%22", "NUL"),
        ] {
            assert_bad_request(&side.get(&format!("{ISSUED}?filter={filter}")).await, problem);
        }
    }

    /// Proves: TALOS-C09
    async fn a_repeated_request_makes_one_key_and_tells_its_text_once(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let body = json!({"name": "once", "request_id": "r-1"});
        let first = side.issue(&body).await;
        let again = side.post(ISSUED, &json!({"name": "other", "requestId": "r-1"})).await;
        assert_eq!(again.status, 201, "{}", again.text());
        assert_eq!(again.json(), json!({ "issued_api_key": first.key }), "the stored key, and no text");
        // At once: one of them makes it.
        let racing: Vec<Answer> = futures_util::future::join_all((0..8).map(|_| async {
            side.post(ISSUED, &json!({"request_id": "r-2"})).await
        })).await;
        let ids: HashSet<String> = racing.iter().map(|answer| {
            assert_eq!(answer.status, 201, "{}", answer.text());
            answer.json()["issued_api_key"]["key_id"].to_string()
        }).collect();
        let texts = racing.iter().filter(|answer| answer.json().get("secret").is_some()).count();
        assert_eq!((ids.len(), texts), (1, 1));
        let rows = |table: &str| tamper(&gateway, &format!("SELECT COUNT(*) FROM {table} WHERE request_id IS NOT NULL"));
        assert_eq!(rows("api_keys"), "2");
        // Imports, alone and in a batch; each table has requests of its own.
        let import = |raw: &str, id: &str| json!({"raw_key": raw, "name": "n", "actor_id": "a", "request_id": id});
        let one = side.post(IMPORTED, &import("sk_1", "r-1")).await;
        let two = side.post(IMPORTED, &import("sk_1", "r-1")).await;
        assert_eq!((one.status, two.status, one.json()), (201, 201, two.json()));
        let requests = json!({"requests": [import("sk_1", "r-1"), import("sk_2", "r-2"), import("sk_3", "")]});
        for third_is_new in [true, false] {
            let told = side.post(BATCH_IMPORT, &requests).await.json();
            assert_eq!(told["results"][0]["imported_api_key"], one.json(), "{told}");
            assert!(told["results"][1]["imported_api_key"].is_object(), "{told}");
            assert_eq!(told["results"][2]["imported_api_key"].is_object(), third_is_new, "{told}");
        }
        assert_eq!(rows("imported_api_keys"), "2");
        let long = "r".repeat(37);
        assert_bad_request(&side.post(ISSUED, &json!({ "request_id": long })).await, "`request_id`: longer than 36");
        assert_bad_request(&side.post(IMPORTED, &import("sk_4", &long)).await, "`request_id`: longer than 36");
    }

    /// Proves: TALOS-C08
    async fn a_key_ends_for_a_reason_that_is_kept(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        for reason in ["KEY_COMPROMISE", "AFFILIATION_CHANGED", "SUPERSEDED", "PRIVILEGE_WITHDRAWN"] {
            let reason = format!("REVOCATION_REASON_{reason}");
            let raw = format!("sk_{reason}");
            let issued = side.issue(&json!({"ttl": "1h"})).await;
            let imported = side.import(&raw).await["key_id"].as_str().unwrap().to_owned();
            for (path, credential) in [(format!("{ISSUED}/{}", issued.id), &issued.secret), (format!("{IMPORTED}/{imported}"), &raw)] {
                let before = seconds(&side.read(&path).await["expire_time"]);
                let revoke = format!("{path}:revoke");
                let revoked = side.post(&revoke, &json!({ "reason": reason })).await;
                assert_eq!((revoked.status, revoked.text().as_str()), (204, ""), "{path}");
                assert_eq!(side.fault(credential).await, "REVOKED");
                let key = side.read(&path).await;
                assert_eq!((&key["status"], &key["revocation_reason"]), (&json!("KEY_STATUS_REVOKED"), &json!(reason)));
                let kept = seconds(&key["expire_time"]) - seconds(&key["update_time"]);
                assert!(kept >= 30 * DAY_S - 5 && seconds(&key["expire_time"]) >= before, "{key}");
                let again = side.post(&revoke, &json!({ "reason": reason })).await;
                assert_error(&again, 409, "ALREADY_EXISTS", "CONFLICT");
            }
        }
        let key = side.issue(&json!({})).await;
        let revoke = format!("{ISSUED}/{}:revoke", key.id);
        for (body, problem) in [
            (json!({}), "`reason`: is needed: one of REVOCATION_REASON_KEY_COMPROMISE"),
            (json!({"reason": "REVOCATION_REASON_UNSPECIFIED"}), "`reason`: is needed"),
            (json!({"reason": "BOREDOM"}), "`reason`"),
            (json!({"reason": 4}), "expected a string"),
            (json!({"reason": "REVOCATION_REASON_SUPERSEDED", "description": "x"}), "`description`: only"),
            (json!({"reason": "REVOCATION_REASON_PRIVILEGE_WITHDRAWN", "description": "x".repeat(501)}), "longer than 500"),
        ] {
            assert_bad_request(&side.post(&revoke, &body).await, problem);
        }
        assert_eq!(side.fault(&key.secret).await, "", "no refusal has ended it");
        let why = json!({"reason": "REVOCATION_REASON_PRIVILEGE_WITHDRAWN", "description": "é".repeat(500)});
        assert_eq!(side.post(&revoke, &why).await.status, 204);
        assert_eq!(side.read(&format!("{ISSUED}/{}", key.id)).await["revocation_description"], why["description"]);
    }

    /// Proves: TALOS-C08
    async fn whoever_holds_a_key_may_end_it(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let end = async |credential: &str, reason: Value| {
            side.post(SELF_REVOKE, &json!({"credential": credential, "reason": reason})).await
        };
        side.import("sk_own").await;
        let issued = side.issue(&json!({})).await;
        for credential in [issued.secret.as_str(), "sk_own"] {
            let refused = end(credential, json!("REVOCATION_REASON_PRIVILEGE_WITHDRAWN")).await;
            assert_bad_request(&refused, "is for administrators");
            for none in [Value::Null, json!(""), json!("REVOCATION_REASON_UNSPECIFIED")] {
                let refused = end(credential, none).await;
                assert_bad_request(&refused, "`reason`: is needed: one of REVOCATION_REASON_KEY_COMPROMISE,");
            }
            assert_eq!(side.fault(credential).await, "");
            for _ in 0..2 {
                let done = end(credential, json!("REVOCATION_REASON_AFFILIATION_CHANGED")).await;
                assert_eq!((done.status, done.json()), (200, json!({})), "once or again");
            }
            assert_eq!(side.fault(credential).await, "REVOKED");
        }
        let told = side.read(&format!("{ISSUED}/{}", issued.id)).await;
        assert_eq!(told["revocation_reason"], "REVOCATION_REASON_AFFILIATION_CHANGED");
        // A public text, or one character of it changed, is no proof.
        let mut forged = side.issue(&json!({})).await.secret;
        forged.pop();
        for unknown in [forged.as_str(), "sk_other", "ory_ak_v1_", &issued.id, "a\0b"] {
            assert_not_found(&end(unknown, Value::Null).await);
        }
    }

    /// Proves: TALOS-C12
    async fn a_public_key_has_a_prefix_of_its_own_and_cannot_end_itself(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let public = json!({"visibility": "KEY_VISIBILITY_PUBLIC"});
        assert_bad_request(&side.post(ISSUED, &public).await, "prefix.public_current");
        let yaml = "credentials: {api_keys: {prefix: {current: sk, public_current: pk}}}\n";
        let gateway = open_gateway(store, yaml).start().await;
        let side = Side::of(&gateway, "");
        let secret = side.issue(&json!({"visibility": "KEY_VISIBILITY_UNSPECIFIED"})).await;
        let Issued { id, secret: text, key } = side.issue(&public).await;
        assert!(secret.secret.starts_with("sk_v1_") && text.starts_with("pk_v1_"), "{key}");
        assert_eq!(secret.key["visibility"], "KEY_VISIBILITY_SECRET");
        assert_eq!(key["visibility"], "KEY_VISIBILITY_PUBLIC");
        assert_eq!(side.verdict(&text).await["visibility"], "KEY_VISIBILITY_PUBLIC");
        let refused = side.post(SELF_REVOKE, &json!({ "credential": text })).await;
        assert_error(&refused, 403, "PERMISSION_DENIED", "FORBIDDEN");
        let derived = side.post(DERIVE, &json!({ "credential": text })).await.json();
        let told = side.verdict(derived["token"]["token"].as_str().unwrap()).await;
        assert_eq!(told["visibility"], "KEY_VISIBILITY_PUBLIC", "{told}");
        // A rotation keeps it, or changes it and the prefix with it.
        let rotate = async |id: &str, body: &Value| {
            let answer = side.post(&format!("{ISSUED}/{id}:rotate"), body).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
            let told = answer.json();
            (told["issued_api_key"]["key_id"].as_str().unwrap().to_owned(), told["secret"].as_str().unwrap().to_owned())
        };
        let (id, text) = rotate(&id, &json!({"visibility": "KEY_VISIBILITY_UNSPECIFIED"})).await;
        assert!(text.starts_with("pk_v1_"));
        let (_, text) = rotate(&id, &json!({"visibility": "KEY_VISIBILITY_SECRET"})).await;
        assert!(text.starts_with("sk_v1_"));
        let wish = json!({"credential": text, "reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(SELF_REVOKE, &wish).await.status, 200);
        assert_bad_request(&side.post(ISSUED, &json!({"visibility": "PUBLIC"})).await, "`visibility`");
    }

    /// Proves: TALOS-M18
    async fn a_name_and_an_actor_are_enough_for_a_key(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let smoke = side.call("POST", ISSUED).header("content-type", "application/json");
        let answer = smoke.body(r#"{"name":"smoketest","actor_id":"system"}"#).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let key = answer.json()["issued_api_key"].clone();
        assert_eq!((&key["name"], &key["actor_id"]), (&json!("smoketest"), &json!("system")));
        assert_eq!(seconds(&key["expire_time"]) - seconds(&key["create_time"]), YEAR_S, "no key lives for ever");
        // Even these are not needed; nor is there anything but loopback to need a key for.
        for body in ["", "{}", " {\"name\":null,\"ttl\":null,\"scopes\":null,\"metadata\":null,\"rate_limit_policy\":null,\"unknown\":[1]} "] {
            let answer = side.call("POST", ISSUED).body(body).send().await;
            assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        }
    }

    async fn an_update_changes_what_the_mask_names_or_the_body_has(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let limit = json!({"quota": "5", "window": "60s", "unit": "requests"});
        let body = json!({"name": "n", "scopes": ["a"], "metadata": {"k": 1}, "rate_limit_policy": limit,
            "ip_restriction": {"allowed_cidrs": ["10.0.0.0/8"]}});
        let key = side.issue(&body).await;
        let path = format!("{ISSUED}/{}", key.id);
        let update = async |query: &str, body: Value| {
            let answer = side.send("PATCH", &format!("{path}{query}"), &body).await;
            assert_eq!(answer.status, 200, "{query}: {}", answer.text());
            answer.json()
        };
        assert_eq!(key.key["rate_limit_policy"], limit);
        // What clients write without meaning it.
        let noise = json!({"status": "KEY_STATUS_UNSPECIFIED", "visibility": "KEY_VISIBILITY_UNSPECIFIED",
            "revocation_reason": "REVOCATION_REASON_UNSPECIFIED", "name": "", "scopes": []});
        let told = update("", noise).await;
        assert_eq!((&told["name"], &told["scopes"], &told["metadata"]), (&json!("n"), &json!(["a"]), &json!({"k": 1})));
        let told = update("", json!({"rate_limit_policy": {"quota": 9, "window": "1m"}})).await;
        assert_eq!(told["rate_limit_policy"], json!({"quota": "9", "window": "60s", "unit": "requests"}));
        let told = update("?update_mask=name%2Cscopes", json!({"name": "m", "scopes": ["b", "c"], "metadata": {}})).await;
        assert_eq!((&told["name"], &told["scopes"], &told["metadata"]), (&json!("m"), &json!(["b", "c"]), &json!({"k": 1})));
        let told = update("?updateMask=ipRestriction,rateLimitPolicy", json!({})).await;
        assert_eq!((told.get("ip_restriction"), told.get("rate_limit_policy")), (None, None), "{told}");
        let told = update("?update_mask=name", json!({"issued_api_key": {"name": "wrapped"}})).await;
        assert_eq!((&told["name"], &told["scopes"]), (&json!("wrapped"), &json!(["b", "c"])));
        assert!(seconds(&told["update_time"]) >= seconds(&told["create_time"]));
        for (mask, problem) in [
            ("actor_id", "`actor_id` (path 1) cannot be updated"),
            ("name,ttl", "`ttl` (path 2) cannot be updated"),
            ("visibility", "cannot be updated"),
            ("status", "cannot be updated"),
            ("*", "wildcard"),
            ("name,,scopes", "path 2 is empty"),
            ("metadata.k", "cannot be updated"),
        ] {
            // The mask is looked at before the key is.
            for id in [key.id.as_str(), "no-such-key"] {
                let answer = side.send("PATCH", &format!("{ISSUED}/{id}?update_mask={mask}"), &json!({})).await;
                assert_bad_request(&answer, problem);
            }
        }
    }
}
