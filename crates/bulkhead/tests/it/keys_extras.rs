//! What keys have beyond Talos's members: permissions.

use bh_domain::keys::token::{Caveat, attenuate};
use bh_testkit::{Gateway, on_both_stores};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_setup::assert_bad_request;
use crate::verify_setup::{Api, BATCH_VERIFY, IMPORTED, ISSUED, VERIFY, verdict};

const RAW: &str = "sk_live_0123456789abcdef";

/// The verdict on a credential of which permissions are asked, alone and in a batch.
async fn permitted(api: &Api<'_>, credential: &str, query: &str) -> String {
    let body = json!({"credential": credential, "permissions": query});
    let told = verdict(&api.verify_with(&body, &[]).await.json());
    let batch = api.done(BATCH_VERIFY, &json!({"requests": [body]}), 200).await;
    assert_eq!(verdict(&batch["results"][0]), told, "{query}");
    told
}

async fn patch(api: &Api<'_>, path: &str, body: &Value) -> Value {
    let answer = api.call("PATCH", path).json(body).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn narrowed(macaroon: &str, permissions: &[&str]) -> String {
    let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
    let caveat = Caveat { permissions: Some(permissions), ..Caveat::default() };
    attenuate(macaroon, &caveat).unwrap().expose_secret().to_owned()
}

on_both_stores! {
    async fn a_permission_query_is_met_by_what_a_key_was_granted(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let granted = json!(["documents.*", "users.read"]);
        let key = api.issue(&json!({"name": "k", "permissions": granted})).await;
        let imported = api.import(RAW, json!({"permissions": granted})).await;
        let plain = api.issue(&json!({"name": "plain"})).await;
        for (query, wanted) in [
            ("documents.read", "valid"),
            ("users.read AND (documents.write OR admin)", "valid"),
            ("admin OR users.read AND documents.a.b", "valid"),
            ("documents", "INSUFFICIENT_PERMISSIONS"),
            ("users.write", "INSUFFICIENT_PERMISSIONS"),
            ("(admin OR users.read) AND users.write", "INSUFFICIENT_PERMISSIONS"),
        ] {
            for credential in [key.secret.as_str(), RAW] {
                assert_eq!(permitted(&api, credential, query).await, wanted, "{query}");
            }
            assert_eq!(permitted(&api, &plain.secret, query).await, "INSUFFICIENT_PERMISSIONS", "{query}");
        }
        for credential in [key.secret.as_str(), RAW, &plain.secret] {
            assert_eq!(permitted(&api, credential, "").await, "valid", "nothing is asked for");
        }
        assert_eq!(api.verify(&key.secret).await["permissions"], granted);
        assert_eq!(api.verify(&plain.secret).await.get("permissions"), None);

        for path in [format!("{ISSUED}/{}", key.id), format!("{IMPORTED}/{imported}")] {
            let read = async || api.call("GET", &path).send().await.json()["permissions"].clone();
            assert_eq!(read().await, granted);
            patch(&api, &format!("{path}?update_mask=name"), &json!({"name": "n", "permissions": []})).await;
            assert_eq!(read().await, granted, "the mask does not name them");
            patch(&api, &format!("{path}?update_mask=permissions"), &json!({"permissions": ["a.b"]})).await;
            assert_eq!(read().await, json!(["a.b"]));
        }
        assert_eq!(permitted(&api, &key.secret, "a.b").await, "valid", "from the next request on");
        assert_eq!(permitted(&api, RAW, "users.read").await, "INSUFFICIENT_PERMISSIONS");
        let rotated = api.done(&format!("{ISSUED}/{}:rotate", key.id), &json!({}), 201).await;
        assert_eq!(permitted(&api, rotated["secret"].as_str().unwrap(), "a.b").await, "valid");
        let list = api.call("GET", IMPORTED).send().await.json();
        assert_eq!(list["imported_api_keys"][0]["permissions"], json!(["a.b"]));
        let path = format!("{IMPORTED}/{imported}");
        let cleared = patch(&api, &format!("{path}?update_mask=permissions"), &json!({})).await;
        assert_eq!(cleared.get("permissions"), None);
    }

    async fn a_token_has_the_permissions_of_its_key_as_it_is_now_and_as_its_holder_left_them(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "k", "permissions": ["documents.*", "users.read"]})).await;
        let jwt = api.derive(&key.secret, "JWT", json!({"custom_claims": {"permissions": ["admin"]}})).await;
        let macaroon = api.derive(&key.secret, "MACAROON", json!({})).await;
        let reader = narrowed(&macaroon, &["*.read", "admin"]);
        for (token, query, wanted) in [
            (&jwt, "documents.read AND users.read", "valid"),
            (&jwt, "admin", "INSUFFICIENT_PERMISSIONS"),
            (&macaroon, "documents.write", "valid"),
            (&reader, "documents.read", "valid"),
            (&reader, "documents.write", "INSUFFICIENT_PERMISSIONS"),
            (&reader, "admin OR documents.write", "INSUFFICIENT_PERMISSIONS"),
            (&reader, "", "valid"),
        ] {
            assert_eq!(permitted(&api, token, query).await, wanted, "{query}");
        }
        let path = format!("{ISSUED}/{}?update_mask=permissions", key.id);
        patch(&api, &path, &json!({"permissions": ["users.read"]})).await;
        for token in [&jwt, &macaroon, &reader] {
            assert_eq!(permitted(&api, token, "documents.read").await, "INSUFFICIENT_PERMISSIONS");
            assert_eq!(permitted(&api, token, "users.read").await, "valid");
        }
        api.revoke(&key.id, json!({})).await;
        for token in [&jwt, &macaroon, &reader] {
            assert_eq!(permitted(&api, token, "users.read").await, "REVOKED");
        }
    }

    async fn a_permission_or_query_that_is_none_is_refused_with_its_place(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"name": "k"})).await;
        let asked = |query: &str| json!({"credential": key.secret, "permissions": query});
        let deep = "(".repeat(40);
        for (query, words) in [
            ("a.b AND", "`permissions`: expected a permission or `(` at character 8"),
            ("a.*", "without `*`; this one begins at character 1"),
            ("a b", "expected AND, OR or the end at character 3"),
            (deep.as_str(), "at character 34"),
            ("a".repeat(1_001).as_str(), "longer than 1000 characters"),
        ] {
            assert_bad_request(&api.post(VERIFY, &asked(query)).await, words);
        }
        let batch = json!({"requests": [asked("a"), asked("a AND (b")]});
        let refused = api.post(BATCH_VERIFY, &batch).await;
        assert_bad_request(&refused, "`requests[1].permissions`: expected AND, OR or `)` at character 9");
        for (granted, words) in [
            (json!(["a..b"]), "`permissions`: `a..b` is not a permission"),
            (json!(["a b"]), "`a b` is not a permission"),
            (json!(vec!["a"; 101]), "more than 100"),
        ] {
            assert_bad_request(&api.post(ISSUED, &json!({"permissions": granted})).await, words);
            let path = format!("{ISSUED}/{}?update_mask=permissions", key.id);
            let refused = api.call("PATCH", &path).json(&json!({"permissions": granted})).send().await;
            assert_bad_request(&refused, words);
        }
    }
}
