//! Verification of keys (Talos dossier §4): every verdict, addresses, rate limits, rotation of secrets, uses.

use std::time::{Duration, Instant};

use bh_domain::keys::format::{self, Prefix};
use bh_domain::keys::secrets::KeySecrets;
use bh_domain::time::Timestamp;
use bh_testkit::{Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::money::tamper;
use crate::verify_setup::{
    Api, BATCH_VERIFY, IMPORTED, ISSUED, PATIENCE, SECRET, VERIFY, metric, reload, verdict,
};

const RAW: &str = "sk_live_0123456789abcdef";
const NETWORKS: &str = "\
multitenancy:
  enabled: true
  networks:
    - {hostname: a.example, id: 550e8400-e29b-41d4-a716-446655440001}
    - {hostname: b.example, id: 550e8400-e29b-41d4-a716-446655440002}
";

fn secrets(current: &str, retired: &str) -> String {
    format!("secrets: {{hmac: {{current: {current}, retired: [{retired}]}}}}\n")
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A key's text as somebody with the secret can make it, minted so many seconds from now.
fn forged(prefix: &str, seconds: i64, key_id: &str) -> String {
    use secrecy::ExposeSecret as _;
    let secrets = KeySecrets::new(SECRET.into(), Vec::new()).unwrap();
    let prefix = Prefix::issued(prefix).unwrap();
    let at = Timestamp(now_ms() + 1_000 * seconds);
    let key = format::mint(&secrets, &prefix, at, key_id.parse().unwrap(), &[7; 16]);
    key.expose_secret().to_owned()
}

async fn becomes(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

on_both_stores! {
    /// Proves: TALOS-C04
    async fn every_way_in_which_a_credential_is_not_good_has_its_code(store) {
        let yaml = |more: &str| format!("{}rate_limit: {{enabled: true}}\n{NETWORKS}{more}", secrets(SECRET, ""));
        let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml("")).start().await;
        let api = Api::at(&gateway, "a.example");
        // INVALID_FORMAT: nothing there, alone and in a batch. Too long is a bad request, and an item that is not good.
        assert_eq!(verdict(&api.done(VERIFY, &json!({}), 200).await), "INVALID_FORMAT");
        assert_eq!(api.verdict("").await, "INVALID_FORMAT");
        let long = "x".repeat(8_193);
        assert_eq!(api.post(VERIFY, &json!({"credential": long})).await.status, 400);
        let batch = json!({"requests": [null, {}, {"credential": long}, {"credential": "x".repeat(8_192)}]});
        let told = api.done(BATCH_VERIFY, &batch, 200).await;
        let codes: Vec<String> = told["results"].as_array().unwrap().iter().map(verdict).collect();
        assert_eq!(codes, ["INVALID_FORMAT", "INVALID_FORMAT", "INVALID_FORMAT", "NOT_FOUND"]);

        // EXPIRED, and REVOKED, which beats it.
        let short = api.issue(&json!({"name": "short", "ttl": "1s"})).await;
        let imported = api.import(RAW, json!({"ttl": "1s"})).await;
        api.verdict_becomes(&short.secret, "EXPIRED").await;
        api.verdict_becomes(RAW, "EXPIRED").await;
        api.revoke(&short.id, json!({})).await;
        assert_eq!(api.verdict(&short.secret).await, "REVOKED");
        let reason = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        api.done(&format!("{IMPORTED}/{imported}:revoke"), &reason, 204).await;
        assert_eq!(api.verdict(RAW).await, "REVOKED");

        // NOT_FOUND: in every case the same code, whatever is wrong.
        let key = api.issue(&json!({"name": "good"})).await;
        assert_eq!(api.verdict(&key.secret).await, "valid");
        let flipped = format!("{}{}", &key.secret[..key.secret.len() - 1], if key.secret.ends_with('a') { 'b' } else { 'a' });
        let cases = [
            (flipped, "invalid API key checksum"),
            (forged("ory_ak", 400, &key.id), "timestamp out of range"),
            (forged("ory_ak", -366 * 86_400, &key.id), "timestamp out of range"),
            (forged("other", 0, &key.id), "prefix not allowed"),
            (forged("ory_ak", 0, "00000000-0000-4000-8000-000000000000"), "API key not found"),
            // Whoever has the secret and a key's id cannot make the key: the row wants its own random bytes.
            (forged("ory_ak", 0, &key.id), "API key not found"),
            ("no key at all".to_owned(), "API key not found"),
        ];
        for (credential, message) in &cases {
            let told = api.verify(credential).await;
            assert_eq!((verdict(&told).as_str(), &told["error_message"]), ("NOT_FOUND", &json!(message)), "{credential}");
        }
        assert_eq!(Api::at(&gateway, "b.example").verdict(&key.secret).await, "NOT_FOUND", "another tenant's");

        // IP_NOT_ALLOWED, RATE_LIMITED, AUDIENCE_MISMATCH.
        let elsewhere = json!({"ip_restriction": {"allowed_cidrs": ["10.0.0.0/8"]}});
        let elsewhere = api.issue(&elsewhere).await;
        assert_eq!(api.verdict(&elsewhere.secret).await, "IP_NOT_ALLOWED");
        let once = api.issue(&json!({"rate_limit_policy": {"quota": "1", "window": "3600s"}})).await;
        assert_eq!(api.verdict(&once.secret).await, "valid");
        assert_eq!(api.verdict(&once.secret).await, "RATE_LIMITED");
        let expected = json!({"credential": key.secret, "expected_audiences": ["x"]});
        assert_eq!(verdict(&api.verify_with(&expected, &[]).await.json()), "AUDIENCE_MISMATCH");

        // SIGNATURE_INVALID: a signature, an end, an issuer. Another type of token is INVALID_FORMAT.
        let token = api.derive(&key.secret, "JWT", json!({})).await;
        let macaroon = api.derive(&key.secret, "MACAROON", json!({"ttl": "1s"})).await;
        assert_eq!(api.verdict(&token).await, "valid");
        let (head, signature) = token.rsplit_once('.').unwrap();
        let torn = format!("{head}.{}", signature.chars().rev().collect::<String>());
        assert_eq!(api.verdict(&torn).await, "SIGNATURE_INVALID");
        api.verdict_becomes(&macaroon, "SIGNATURE_INVALID").await;
        assert_eq!(api.verify(&macaroon).await["error_message"], json!("the token has expired"));
        reload(&mut gateway, &yaml("credentials: {issuer: https://other.example}\n")).await;
        let api = Api::at(&gateway, "a.example");
        assert_eq!(api.verdict(&token).await, "SIGNATURE_INVALID");
        assert_eq!(api.verify(&token).await["error_message"], json!("the token's issuer is not accepted"));

        // A key that is older than keys may get, and one whose prefix went, is not found.
        assert_eq!(api.verdict(&key.secret).await, "valid");
        reload(&mut gateway, &yaml("credentials: {api_keys: {prefix: {current: new}}}\n")).await;
        assert_eq!(Api::at(&gateway, "a.example").verdict(&key.secret).await, "NOT_FOUND");
        reload(&mut gateway, &yaml("credentials: {api_keys: {prefix: {current: new, retired: [ory_ak]}}}\n")).await;
        assert_eq!(Api::at(&gateway, "a.example").verdict(&key.secret).await, "valid");
        reload(&mut gateway, &yaml("credentials: {api_keys: {max_ttl: 1s}}\n")).await;
        Api::at(&gateway, "a.example").verdict_becomes(&key.secret, "NOT_FOUND").await;

        // INTERNAL: the store does not answer, and nothing more is said.
        reload(&mut gateway, &yaml("cache: {type: noop}\n")).await;
        tamper(&gateway, "ALTER TABLE imported_api_keys RENAME TO elsewhere");
        let told = Api::at(&gateway, "a.example").verify(RAW).await;
        assert_eq!(verdict(&told), "INTERNAL");
        assert!(!told.to_string().contains("elsewhere") && !told.to_string().contains("api_keys"), "{told}");
    }

    /// Proves: TALOS-C03
    async fn a_retired_secret_verifies_until_it_expires(store) {
        let (old, new) = (SECRET, "another-hmac-secret-of-more-than-32-characters");
        let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&secrets(old, "")).start().await;
        let key = Api::of(&gateway).issue(&json!({"name": "old"})).await.secret;
        let macaroon = Api::of(&gateway).derive(&key, "MACAROON", json!({})).await;
        assert_eq!(Api::of(&gateway).verdict(&key).await, "valid");
        reload(&mut gateway, &secrets(new, old)).await;
        let api = Api::of(&gateway);
        assert_eq!((api.verdict(&key).await, api.verdict(&macaroon).await), ("valid".into(), "valid".into()));
        let young = api.issue(&json!({"name": "young"})).await.secret;
        let later = format!("{{value: {old}, expires_at: \"2100-01-01T00:00:00Z\"}}");
        reload(&mut gateway, &secrets(new, &later)).await;
        let api = Api::of(&gateway);
        assert_eq!(api.verdict(&key).await, "valid");
        let gone = format!("{{value: {old}, expires_at: \"2026-01-01T00:00:00Z\"}}");
        reload(&mut gateway, &secrets(new, &gone)).await;
        let api = Api::of(&gateway);
        let told = api.verify(&key).await;
        assert_eq!((verdict(&told).as_str(), &told["error_message"]), ("NOT_FOUND", &json!("invalid API key checksum")));
        assert_eq!(api.verdict(&macaroon).await, "SIGNATURE_INVALID");
        assert_eq!(api.verdict(&young).await, "valid");
    }

    /// Proves: TALOS-C18
    async fn a_keys_rate_limit_holds_and_the_answer_is_still_200(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).config("rate_limit: {enabled: true}\n").start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"rate_limit_policy": {"quota": "5", "window": "60s"}})).await.secret;
        let mut last = Value::Null;
        for left in (0..5).rev() {
            // Also where memory is passed over, and in a batch: each is a use.
            let answer = api.verify_with(&json!({"credential": key}), &[("cache-control", "no-cache")]).await;
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=5;w=60"));
            assert_eq!(answer.header("ratelimit"), Some(format!("\"default\";r={left}").as_str()));
            assert_eq!((answer.header("cache-control"), answer.header("retry-after")), (Some("no-store"), None));
            last = answer.json();
            assert_eq!((verdict(&last).as_str(), &last["rate_limit_remaining"]), ("valid", &json!(left.to_string())));
        }
        assert_eq!(last["rate_limit_policy"], json!({"quota": "5", "window": "60s", "unit": "requests"}));
        assert!(last["rate_limit_reset_time"].as_str().is_some_and(|at| at.ends_with('Z')), "{last}");
        let answer = api.verify_with(&json!({"credential": key}), &[]).await;
        let told = answer.json();
        assert_eq!((verdict(&told).as_str(), &told["rate_limit_remaining"]), ("RATE_LIMITED", &json!("0")));
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=12).contains(&wait), "a sixth of a minute's five comes back within twelve seconds: {wait}");
        let batch = json!({"requests": [{"credential": key}]});
        assert_eq!(verdict(&api.done(BATCH_VERIFY, &batch, 200).await["results"][0]), "RATE_LIMITED");
        let other = api.issue(&json!({"rate_limit_policy": {"quota": "5", "window": "60s"}})).await.secret;
        assert_eq!(api.verdict(&other).await, "valid", "each key has its own");
    }

    async fn without_enforcement_a_policy_is_told_and_not_counted(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"rate_limit_policy": {"quota": "1", "window": "60s"}})).await.secret;
        for _ in 0..3 {
            let answer = api.verify_with(&json!({"credential": key}), &[]).await;
            assert_eq!(verdict(&answer.json()), "valid");
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=1;w=60"));
            assert_eq!((answer.header("ratelimit"), answer.header("cache-control")), (None, None));
        }
    }

    /// That a key's last use is written once a day only; that it is written again on the next day needs a clock that can
    /// be set: `a_key_is_used_once_a_day`.
    /// Proves: TALOS-C13
    async fn the_first_use_of_a_day_is_remembered_and_no_other(store) {
        let yaml = "last_used: {flush_interval: 100ms}\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(yaml).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "used"})).await;
        let imported = api.import(RAW, json!({})).await;
        let rows = [(format!("{ISSUED}/{}", key.id), key.secret.as_str()), (format!("{IMPORTED}/{imported}"), RAW)];
        for (path, credential) in &rows {
            let used = async || api.call("GET", path).send().await.json()["last_used_time"].clone();
            assert_eq!(used().await, Value::Null);
            assert_eq!(api.verdict(credential).await, "valid");
            becomes("a use is written", async || used().await != Value::Null).await;
            let first = used().await;
            // The second use is read from the store, so memory is not what keeps it from being written.
            assert_eq!(api.seen(credential, &[("cache-control", "no-cache")]).await.0, "valid");
            let marker = api.issue(&json!({"name": "marker"})).await;
            assert_eq!(api.verdict(&marker.secret).await, "valid");
            let marker = format!("{ISSUED}/{}", marker.id);
            let marked = async || api.call("GET", &marker).send().await.json()["last_used_time"] != Value::Null;
            becomes("a later use of another key is written", marked).await;
            assert_eq!(used().await, first);
        }
    }

    async fn a_use_that_is_not_written_yet_is_written_when_the_gateway_stops(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "used"})).await;
        assert_eq!(api.verdict(&key.secret).await, "valid");
        assert!(gateway.terminate().await, "{}", gateway.output());
        gateway.restart().await;
        let told = Api::of(&gateway).call("GET", &format!("{ISSUED}/{}", key.id)).send().await.json();
        assert_ne!(told["last_used_time"], Value::Null, "{told}");
    }

    /// Proves: TALOS-S01
    async fn audiences_have_to_meet(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "parent"})).await.secret;
        api.import(RAW, json!({})).await;
        for form in ["JWT", "MACAROON"] {
            let bare = api.derive(&key, form, json!({})).await;
            let named = api.derive(&key, form, json!({"audiences": ["https://a.example", "https://b.example"]})).await;
            for (credential, expected, wanted) in [
                (&bare, json!([]), "valid"),
                (&bare, json!(["https://a.example"]), "AUDIENCE_MISMATCH"),
                (&named, json!([]), "AUDIENCE_MISMATCH"),
                (&named, json!(["https://a.example"]), "valid"),
                (&named, json!(["https://x.example", "https://b.example"]), "valid"),
                (&named, json!(["https://a.example/"]), "AUDIENCE_MISMATCH"),
                (&named, json!(["https://A.example"]), "AUDIENCE_MISMATCH"),
                (&key, json!(["https://a.example"]), "AUDIENCE_MISMATCH"),
                (&RAW.to_owned(), json!(["https://a.example"]), "AUDIENCE_MISMATCH"),
                (&key, json!(null), "valid"),
            ] {
                let body = json!({"credential": credential, "expected_audiences": expected});
                let told = api.verify_with(&body, &[]).await.json();
                assert_eq!(verdict(&told), wanted, "{form} {expected}");
                if wanted == "valid" && expected.as_array().is_some_and(|list| !list.is_empty()) {
                    assert_eq!(told["audiences"], json!(["https://a.example", "https://b.example"]));
                }
                let batch = json!({"requests": [body]});
                assert_eq!(verdict(&api.done(BATCH_VERIFY, &batch, 200).await["results"][0]), wanted);
            }
        }
    }

    /// Proves: TALOS-S07
    async fn a_rotated_key_works_through_its_grace_and_a_disabled_one_when_it_is_enabled(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let old = api.issue(&json!({"name": "old", "actor_id": "someone"})).await;
        assert_eq!(api.verdict(&old.secret).await, "valid");
        let told = api.done(&format!("{ISSUED}/{}:rotate", old.id), &json!({"grace_ttl": "2s"}), 201).await;
        let new = told["secret"].as_str().unwrap();
        assert_eq!(told["old_issued_api_key"]["status"], json!("KEY_STATUS_ACTIVE"));
        assert_eq!((api.verdict(&old.secret).await, api.verdict(new).await), ("valid".into(), "valid".into()));
        api.verdict_becomes(&old.secret, "EXPIRED").await;
        assert_eq!(api.verdict(new).await, "valid");

        let id = told["issued_api_key"]["key_id"].as_str().unwrap();
        let enabled = async |verb: &str| api.done(&format!("{ISSUED}/{id}:{verb}"), &json!({}), 200).await;
        for _ in 0..2 {
            enabled("disable").await;
            let told = api.verify(new).await;
            assert_eq!((verdict(&told).as_str(), &told["error_message"]), ("NOT_FOUND", &json!("the API key is disabled")));
            let refused = api.post(crate::verify_setup::DERIVE, &json!({"credential": new})).await;
            assert_eq!(refused.status, 401, "{}", refused.text());
            enabled("enable").await;
            assert_eq!(api.verdict(new).await, "valid");
        }
    }

    async fn every_metric_of_verification_is_there(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "counted"})).await;
        becomes("memory knows the key", async || api.seen(&key.secret, &[]).await.1 == "HIT").await;
        let verified = |of: &str, result: &str| format!("talos_verifications_total{{type=\"{of}\",result=\"{result}\"}}");
        let took = "talos_verification_duration_seconds_count{type=\"issued\",cache_hit=\"hit\"}";
        let counted = [
            ("talos_keys_created_total".to_owned(), 0),
            ("talos_keys_rotated_total".to_owned(), 1),
            ("talos_tokens_minted_total".to_owned(), 1),
            (verified("issued", "success"), 3),
            (verified("issued", "failure"), 0),
            (verified("imported", "failure"), 1),
            (verified("derived_jwt", "success"), 1),
            (took.to_owned(), 3),
            ("talos_cache_hits_total".to_owned(), 3),
            ("talos_cache_misses_total".to_owned(), 1),
        ];
        let mut before = Vec::new();
        for (name, _) in &counted {
            before.push(metric(&gateway, name).await);
        }
        for _ in 0..3 {
            assert_eq!(api.verdict(&key.secret).await, "valid");
        }
        assert_eq!(api.verdict("junk").await, "NOT_FOUND");
        let token = api.derive(&key.secret, "JWT", json!({})).await;
        assert_eq!(api.verdict(&token).await, "valid");
        let rotated = api.done(&format!("{ISSUED}/{}:rotate", key.id), &json!({}), 201).await;
        api.revoke(rotated["issued_api_key"]["key_id"].as_str().unwrap(), json!({})).await;
        for ((name, more), before) in counted.iter().zip(before) {
            assert_eq!(metric(&gateway, name).await - before, *more, "{name}");
        }
        for reason in ["rotation", "REVOCATION_REASON_KEY_COMPROMISE"] {
            let name = format!("talos_keys_revoked_total{{reason=\"{reason}\"}}");
            assert_eq!(metric(&gateway, &name).await, 1, "{name}");
        }
        let served = Call::get(gateway.at("/metrics")).send().await;
        assert!(!served.text().contains(&key.id), "no key is a label");
    }
}
