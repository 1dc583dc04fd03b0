//! Keys of which only a plain SHA-256 is known: an addition to Talos, for those who come from servers that keep no more.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bh_domain::evidence::hex;
use bh_domain::hash::sha256;
use bh_testkit::on_both_stores;
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, IMPORTED, SELF_REVOKE, Side, assert_bad_request, assert_error, assert_not_found,
    import_body, open_gateway, two_tenants,
};
use crate::money::tamper;
use crate::verify_setup::{PATIENCE, metric};

const RAW: &str = "unkey_3ZqYQ8mRk2vXwT7p";

fn digest(raw: &str) -> String {
    hex::encode(&sha256(raw.as_bytes()))
}

fn hashed_body(digest: &str) -> Value {
    let hashed = json!({"algorithm": "SHA256", "digest": digest});
    json!({"hashed": hashed, "name": "from elsewhere", "actor_id": "ci"})
}

async fn imported(side: &Side<'_>, digest: &str) -> String {
    let answer = side.post(IMPORTED, &hashed_body(digest)).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    answer.json()["key_id"].as_str().unwrap().to_owned()
}

fn code(item: &Value) -> &str {
    let code = item["error_code"].as_str().unwrap_or_default();
    code.trim_start_matches("BATCH_CREATE_IMPORTED_API_KEYS_ERROR_")
}

on_both_stores! {
    async fn a_key_of_which_only_the_hash_was_known_verifies_and_the_hash_itself_does_not(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        // Asked for before: that it was unknown must not be remembered.
        assert_eq!(side.fault(RAW).await, "NOT_FOUND");
        let id = imported(&side, &digest(RAW)).await;
        let told = side.verdict(RAW).await;
        assert_eq!((&told["is_valid"], &told["key_id"], &told["actor_id"]), (&json!(true), &json!(id), &json!("ci")), "{told}");
        for form in [digest(RAW), STANDARD.encode(sha256(RAW.as_bytes()))] {
            assert_eq!(side.fault(&form).await, "NOT_FOUND", "whoever has the hash has no key");
            assert_ne!(form, id);
        }
        // Nothing at rest is the plain hash: from it alone a weak key could be guessed.
        let (plain, text) = (sha256(RAW.as_bytes()), digest(RAW));
        for (path, bytes) in gateway.files() {
            let has = |part: &[u8]| bytes.windows(part.len()).any(|found| found == part);
            assert!(!has(&plain) && !has(text.as_bytes()), "{}", path.display());
        }
        let rows = "SELECT COUNT(*) FROM imported_api_keys WHERE key_id = ";
        assert_eq!(tamper(&gateway, &format!("{rows}'{text}'")), "0");
        assert_eq!(tamper(&gateway, &format!("{rows}'{id}'")), "1");

        let upper = digest("unkey_2").to_uppercase();
        for (raw, form) in [("unkey_2", upper), ("unkey_3", URL_SAFE_NO_PAD.encode(sha256(b"unkey_3")))] {
            let id = imported(&side, &form).await;
            assert_eq!(side.verdict(raw).await["key_id"], json!(id), "{form}");
        }
    }

    async fn a_key_and_its_hash_are_one_key_whichever_comes_first(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let id = imported(&side, &digest(RAW)).await;
        assert_error(&side.post(IMPORTED, &import_body(RAW)).await, 409, "ALREADY_EXISTS", "CONFLICT");
        side.import("raw_first").await;
        assert_error(&side.post(IMPORTED, &hashed_body(&digest("raw_first"))).await, 409, "ALREADY_EXISTS", "CONFLICT");
        let requests = [import_body("a"), hashed_body(&digest("a")), hashed_body(&digest("b")), import_body("b"), hashed_body(&digest(RAW))];
        let batch = side.post(BATCH_IMPORT, &json!({ "requests": requests })).await.json();
        let codes: Vec<&str> = batch["results"].as_array().unwrap().iter().map(code).collect();
        assert_eq!(codes, ["", "ALREADY_EXISTS", "", "ALREADY_EXISTS", "ALREADY_EXISTS"], "{batch}");
        // The same request makes the same key, in either form.
        let (mut first, mut again) = (hashed_body(&digest("c")), import_body("c"));
        (first["request_id"], again["request_id"]) = (json!("r1"), json!("r1"));
        let (first, again) = (side.post(IMPORTED, &first).await, side.post(IMPORTED, &again).await);
        assert_eq!((first.status, again.status), (201, 201), "{}", again.text());
        assert_eq!(first.json()["key_id"], again.json()["key_id"]);

        // To revoke it is to revoke both.
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(&format!("{IMPORTED}/{id}:revoke"), &end).await.status, 204);
        assert_eq!(side.fault(RAW).await, "REVOKED");
        assert_error(&side.post(IMPORTED, &import_body(RAW)).await, 409, "ALREADY_EXISTS", "CONFLICT");
        let of_holder = json!({"credential": "b", "reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(SELF_REVOKE, &of_holder).await.status, 200);
        assert_eq!(side.fault("b").await, "REVOKED");
        // As for every imported key there is nothing to rotate.
        assert_eq!(side.post(&format!("{IMPORTED}/{id}:rotate"), &json!({})).await.status, 404);
        assert_eq!(side.delete(&format!("{IMPORTED}/{id}")).await.status, 204);
        assert_eq!(side.fault(RAW).await, "NOT_FOUND");
    }

    /// Nobody can tell from a hash whether its key is here under version 1 or 2. Then the newer row answers, and says so.
    async fn a_hash_of_a_key_that_is_kept_in_an_older_way_answers_for_it_and_is_told_of(store) {
        for version in [1, 2] {
            let yaml = format!("credentials: {{imported_keys: {{hash_version: {version}}}}}\n");
            let gateway = open_gateway(store, &yaml).start().await;
            let side = Side::of(&gateway, "");
            let old = side.import(RAW).await["key_id"].as_str().unwrap().to_owned();
            let new = imported(&side, &digest(RAW)).await;
            assert_ne!(old, new);
            assert_eq!(side.verdict(RAW).await["key_id"], json!(new));
            assert!(gateway.prints("a key was imported twice", PATIENCE).await, "{}", gateway.output());
            let of_holder = json!({"credential": RAW, "reason": "REVOCATION_REASON_SUPERSEDED"});
            assert_eq!(side.post(SELF_REVOKE, &of_holder).await.status, 200);
            assert_eq!(side.fault(RAW).await, "REVOKED");
            // The other way round it is known, in a batch as well.
            imported(&side, &digest("hash_first")).await;
            assert_error(&side.post(IMPORTED, &import_body("hash_first")).await, 409, "ALREADY_EXISTS", "CONFLICT");
            let requests = [import_body("a"), hashed_body(&digest("a")), hashed_body(&digest("b")), import_body("b")];
            let batch = side.post(BATCH_IMPORT, &json!({ "requests": requests })).await.json();
            let codes: Vec<&str> = batch["results"].as_array().unwrap().iter().map(code).collect();
            assert_eq!(codes, ["", "ALREADY_EXISTS", "", "ALREADY_EXISTS"], "{batch}");
        }
    }

    /// The newer row answers, whatever becomes of the other, which memory knows to be good.
    async fn a_revoked_hash_of_a_key_that_memory_knows_in_an_older_way_is_refused(store) {
        let yaml = "credentials: {imported_keys: {hash_version: 2}}\n";
        let gateway = open_gateway(store, yaml).start().await;
        let side = Side::of(&gateway, "");
        let old = side.import(RAW).await["key_id"].clone();
        // On PostgreSQL a process hears of its own changes as well, a moment later, and then reads once more.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let reads = metric(&gateway, "bulkhead_key_reads_total").await;
            assert_eq!(side.verdict(RAW).await["key_id"], old);
            if metric(&gateway, "bulkhead_key_reads_total").await == reads {
                break;
            }
            assert!(Instant::now() < deadline, "memory never knows it");
        }
        let new = imported(&side, &digest(RAW)).await;
        let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
        assert_eq!(side.post(&format!("{IMPORTED}/{new}:revoke"), &end).await.status, 204);
        assert_eq!(side.fault(RAW).await, "REVOKED");
        assert_eq!(side.fault(RAW).await, "REVOKED", "from memory as well");
        assert_eq!(side.delete(&format!("{IMPORTED}/{new}")).await.status, 204);
        assert_eq!(side.verdict(RAW).await["key_id"], old, "there is but one row again");
    }

    async fn what_is_no_hash_says_why_alone_and_in_a_batch(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let with = |name: &str, value: Value| {
            let mut body = hashed_body(&digest(RAW));
            body["hashed"][name] = value;
            body
        };
        let mut both = hashed_body(&digest(RAW));
        both["raw_key"] = json!(RAW);
        let mut neither = hashed_body("");
        neither["hashed"] = Value::Null;
        let short = &digest(RAW)[1..];
        let cases = [
            (both, "`hashed`: a key is given as `raw_key` or as `hashed`, not as both"),
            (neither, "`raw_key`: is missing or empty; give the key, or its SHA-256 in `hashed`"),
            (with("algorithm", json!("MD5")), "`hashed.algorithm`: expected `SHA256`"),
            (with("algorithm", Value::Null), "`hashed.algorithm`: expected `SHA256`"),
            (with("digest", Value::Null), "`hashed.digest`: expected a SHA-256: 64 hexadecimal digits"),
            (with("digest", json!(short)), "`hashed.digest`: expected a SHA-256"),
            (with("digest", json!(STANDARD.encode([7_u8; 31]))), "`hashed.digest`: expected a SHA-256"),
        ];
        for (index, (body, words)) in cases.into_iter().enumerate() {
            let refused = side.post(IMPORTED, &body).await;
            assert_bad_request(&refused, words);
            assert!(!refused.text().contains(short), "the hash shows: {}", refused.text());
            let requests = [body, import_body(&format!("good {index}"))];
            let batch = side.post(BATCH_IMPORT, &json!({ "requests": requests })).await.json();
            assert_eq!(code(&batch["results"][0]), "INVALID_ARGUMENT", "{batch}");
            assert!(batch["results"][0]["error_message"].as_str().unwrap().contains(words), "{batch}");
        }
    }

    async fn a_hashed_key_is_its_tenant_s_and_outlives_a_change_of_the_hmac_secret(store) {
        let secret = |text: &str| format!("secrets: {{hmac: {{current: {text}-of-more-than-32-characters-in-all}}}}\n");
        let mut gateway = two_tenants(store, "", "", &secret("before")).start().await;
        let (one, two) = (Side::of(&gateway, crate::keys_setup::HOST_ONE), Side::of(&gateway, crate::keys_setup::HOST_TWO));
        let id = imported(&one, &digest(RAW)).await;
        assert_eq!(one.fault(RAW).await, "");
        assert_eq!(two.fault(RAW).await, "NOT_FOUND");
        assert_not_found(&two.get(&format!("{IMPORTED}/{id}")).await);
        assert_ne!(imported(&two, &digest(RAW)).await, id, "each tenant has its own");
        let issued = one.issue(&json!({})).await.secret;
        let yaml = crate::keys_setup::two_networks(&secret("after"));
        gateway.try_restart_as(|same| same.config(&yaml)).await.unwrap();
        let one = Side::of(&gateway, crate::keys_setup::HOST_ONE);
        assert_eq!(one.fault(&issued).await, "NOT_FOUND", "the secret is another");
        assert_eq!(one.verdict(RAW).await["key_id"], json!(id));
    }
}
