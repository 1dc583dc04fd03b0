//! Keys that come from elsewhere (Talos dossier §3.3 and §6): what they are known by, what they clash with, batches.

use bh_testkit::on_both_stores;
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, DERIVE, IMPORTED, ISSUED, ONE, Side, assert_bad_request, assert_error, import_body,
    open_gateway,
};
use crate::money::tamper;

/// Dossier §3.3: what `sk_live_abc123` is known by in the network `ONE`.
const V1_ID: &str = "792697dfd6c018b9110c216ca7bfcf0515852e050f21315b0b896cc74d76630b";

fn tenant(more: &str) -> String {
    format!("tenants:\n  - {{id: default, nid: {ONE}}}\n{more}")
}

fn code(item: &Value) -> &str {
    item["error_code"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("BATCH_CREATE_IMPORTED_API_KEYS_ERROR_")
}

on_both_stores! {
    /// Proves: TALOS-C05
    async fn an_imported_key_is_known_by_its_hash_old_or_new(store) {
        let old = tenant("credentials: {imported_keys: {hash_version: 1}}\n");
        let mut gateway = open_gateway(store, &old).start().await;
        let side = Side::of(&gateway, "");
        assert_eq!(side.import("sk_live_abc123").await["key_id"], V1_ID);
        assert_eq!(side.verdict("sk_live_abc123").await["key_id"], V1_ID);
        let with_id = |raw: &str, id: &str| {
            let mut body = import_body(raw);
            body["request_id"] = json!(id);
            body
        };
        let first = side.post(IMPORTED, &with_id("sk_again", "again")).await.json();
        // New imports get a peppered hash, which nobody can guess at; the old ones go on.
        gateway.try_restart_as(|same| same.config(&tenant(""))).await.unwrap();
        let side = Side::of(&gateway, "");
        assert_eq!(side.verdict("sk_live_abc123").await["key_id"], V1_ID);
        let twice = side.post(IMPORTED, &import_body("sk_live_abc123")).await;
        assert_error(&twice, 409, "ALREADY_EXISTS", "CONFLICT");
        let twice = side.post(BATCH_IMPORT, &json!({"requests": [import_body("sk_live_abc123"), import_body("sk_new")]})).await.json();
        assert_eq!((code(&twice["results"][0]), code(&twice["results"][1])), ("ALREADY_EXISTS", ""), "{twice}");
        // The same request makes the same key, whatever its hash would be by now.
        let replay = side.post(IMPORTED, &with_id("sk_again", "again")).await;
        assert_eq!((replay.status, &replay.json()["key_id"]), (201, &first["key_id"]), "{}", replay.text());
        let requests = [with_id("sk_again", "again"), with_id("sk_again_not", "new")];
        let batch = side.post(BATCH_IMPORT, &json!({ "requests": requests })).await.json();
        assert_eq!(batch["results"][0]["imported_api_key"]["key_id"], first["key_id"], "{batch}");
        assert_eq!(batch["success_count"], 2, "{batch}");
        let other = side.post(IMPORTED, &with_id("sk_again", "other")).await;
        assert_error(&other, 409, "ALREADY_EXISTS", "CONFLICT");
        let new = side.import("sk_live_abc124").await["key_id"].as_str().unwrap().to_owned();
        assert!(new.len() == 64 && new.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{new}");
        assert_eq!(side.verdict("sk_live_abc124").await["key_id"], json!(new));
        for (path, bytes) in gateway.files() {
            let found = bytes.windows(15).any(|part| part == b"sk_live_abc123/" || part == b"\"sk_live_abc12");
            assert!(!found, "{}", path.display());
        }
        assert_eq!(tamper(&gateway, "SELECT COUNT(*) FROM imported_api_keys WHERE metadata LIKE '%sk_%' OR name LIKE '%sk_%'"), "0");
    }

    /// Proves: TALOS-C05
    async fn what_cannot_be_imported_says_why_alone_and_in_a_batch(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let issued = side.issue(&json!({"scopes": ["a"]})).await.secret;
        let derive = async |algorithm: &str| {
            let told = side.post(DERIVE, &json!({"credential": issued, "algorithm": algorithm})).await.json();
            told["token"]["token"].as_str().unwrap().to_owned()
        };
        let (jwt, macaroon) = (derive("TOKEN_ALGORITHM_JWT").await, derive("TOKEN_ALGORITHM_MACAROON").await);
        side.import("sk_here").await;
        let (longest, longer) = ("x".repeat(8_192), "x".repeat(8_193));
        let conflict = ("ALREADY_EXISTS", "CONFLICT");
        let ours = ("FAILED_PRECONDITION", "FAILED_PRECONDITION");
        let cases = [
            (issued.as_str(), conflict, "FAILED_PRECONDITION"),
            (jwt.as_str(), ours, "FAILED_PRECONDITION"),
            (macaroon.as_str(), ours, "FAILED_PRECONDITION"),
            ("sk_here", conflict, "ALREADY_EXISTS"),
        ];
        for (raw, (status, reason), item) in cases {
            assert_error(&side.post(IMPORTED, &import_body(raw)).await, 409, status, reason);
            let told = side.post(BATCH_IMPORT, &json!({"requests": [import_body(raw)]})).await;
            let code = if item == "ALREADY_EXISTS" { ("ALREADY_EXISTS", "CONFLICT") } else { ours };
            assert_error(&told, 409, code.0, code.1);
        }
        let (mut nameless, mut actorless) = (import_body("sk_n"), import_body("sk_a"));
        nameless["name"] = Value::Null;
        actorless["actor_id"] = json!("");
        let unreadable = [
            (import_body(""), "`raw_key`: is missing or empty"),
            (import_body(&longer), "`raw_key`: longer than 8192 bytes"),
            (import_body(&"é".repeat(4_097)), "`raw_key`: longer than 8192 bytes"),
            (nameless, "`name`: is missing or empty"),
            (actorless, "`actor_id`: is missing or empty"),
            (json!({"raw_key": "sk", "name": "n", "actor_id": "a", "ttl": "8761h"}), "`ttl`: longer than the longest life"),
        ];
        for (index, (body, problem)) in unreadable.into_iter().enumerate() {
            assert_bad_request(&side.post(IMPORTED, &body).await, problem);
            let both = json!({"requests": [body, import_body(&format!("sk_good_{index}"))]});
            let told = side.post(BATCH_IMPORT, &both).await.json();
            assert_eq!(code(&told["results"][0]), "INVALID_ARGUMENT", "{told}");
            assert!(told["results"][0]["error_message"].as_str().unwrap().contains(problem), "{told}");
        }
        assert_eq!(side.import(&longest).await["status"], "KEY_STATUS_ACTIVE");
        assert_eq!(side.fault(&longest).await, "");
        // What only looks like one of ours.
        for odd in ["ory_ak_v1_x_y", "a.b.c", "eyJ..x", "mc_v2_x", " ", "тест", "sk live\t\n"] {
            side.import(odd).await;
            assert_eq!(side.fault(odd).await, "", "{odd:?}");
        }
    }

    /// Proves: TALOS-C05
    async fn a_batch_takes_a_thousand_keys_each_on_its_own(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let batch = |requests: Vec<Value>| json!({ "requests": requests });
        for (body, count) in [(json!({}), 0), (json!({"requests": null}), 0), (batch(vec![]), 0)] {
            assert_bad_request(&side.post(BATCH_IMPORT, &body).await, &format!("`requests`: {count} keys; a batch has 1 to 1000"));
        }
        // The longest texts there are fit.
        let long = |n: usize| import_body(&format!("{n:08}{}", "x".repeat(8_184)));
        let too_many = side.post(BATCH_IMPORT, &batch((0..1_001).map(long).collect())).await;
        assert_bad_request(&too_many, "1001 keys");
        let told = side.post(BATCH_IMPORT, &batch((0..1_000).map(long).collect())).await;
        assert_eq!(told.status, 200, "{}", told.text());
        let told = told.json();
        assert_eq!((&told["success_count"], &told["failure_count"]), (&json!(1_000), &json!(0)));
        let in_order = told["results"].as_array().unwrap().iter().enumerate();
        assert!(in_order.clone().all(|(at, item)| item["index"] == at && item["imported_api_key"]["key_id"].is_string()));
        // Every item on its own, in order, whatever stands there.
        let mixed = json!({"requests": [import_body("a"), null, import_body("b"), import_body("a"), [], 7, "x",
            {"raw_key": 5}, {"raw_key": "c", "name": "n", "actor_id": "a", "scopes": "s"}, long(3), import_body("c")]});
        let told = side.post(BATCH_IMPORT, &mixed).await.json();
        let codes: Vec<&str> = told["results"].as_array().unwrap().iter().map(code).collect();
        let bad = "INVALID_ARGUMENT";
        assert_eq!(codes, ["", bad, "", "ALREADY_EXISTS", bad, bad, bad, bad, bad, "ALREADY_EXISTS", ""], "{told}");
        assert_eq!((&told["success_count"], &told["failure_count"]), (&json!(3), &json!(8)));
        let message = |at: usize| told["results"][at]["error_message"].as_str().unwrap().to_owned();
        assert!(message(3).contains("index 0"), "{told}");
        assert!(message(1).contains("null, expected an object"), "{told}");
        assert!(message(7).contains("integer `5`, expected a string"), "{told}");
    }

    /// When no item is taken, the reason that most of them share is the answer (dossier §2.6).
    async fn a_batch_of_nothing_good_is_an_error_of_its_own(store) {
        let gateway = open_gateway(store, "quota: {api_keys_max: 2}\n").start().await;
        let side = Side::of(&gateway, "");
        let issued = side.issue(&json!({})).await.secret;
        side.import("a").await;
        let ask = async |raws: &[&str]| {
            let requests: Vec<Value> = raws.iter().map(|raw| import_body(raw)).collect();
            side.post(BATCH_IMPORT, &json!({ "requests": requests })).await
        };
        assert_error(&ask(&["a", &issued, &issued]).await, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");
        assert_error(&ask(&["a", &issued]).await, 409, "ALREADY_EXISTS", "CONFLICT");
        assert_error(&ask(&["a", "", ""]).await, 400, "INVALID_ARGUMENT", "BAD_REQUEST");
        assert_error(&ask(&["b", "c"]).await, 429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED");
        // There is room for one: the first gets it.
        let id = side.read(ISSUED).await["issued_api_keys"][0]["key_id"].as_str().unwrap().to_owned();
        assert_eq!(side.delete(&format!("{ISSUED}/{id}")).await.status, 204);
        let told = ask(&["b", "c"]).await.json();
        assert_eq!((code(&told["results"][0]), code(&told["results"][1])), ("", "RESOURCE_EXHAUSTED"), "{told}");
    }
}
