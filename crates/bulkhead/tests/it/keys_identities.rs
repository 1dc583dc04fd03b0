//! Identities: whom keys belong to, and the limits that their keys share (decision 21).

use std::time::Instant;

use bh_testkit::{Answer, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::keys_extras::hourly;
use crate::keys_setup::{Side, assert_bad_request, assert_error, open_gateway};
use crate::money::tamper;
use crate::verify_setup::{Api, BATCH_VERIFY, PATIENCE, metric, verdict};

pub(crate) const IDENTITIES: &str = "/v2alpha1/admin/identities";
const EVENTS: &str = "/v2alpha1/admin/auditEvents";
const RAW: &str = "sk_live_0123456789abcdef";

/// Makes an identity; its id.
pub(crate) async fn made(side: &Side<'_>, body: &Value) -> String {
    let answer = side.post(IDENTITIES, body).await;
    assert_eq!(answer.status, 201, "{body}: {}", answer.text());
    answer.json()["identity_id"].as_str().unwrap().to_owned()
}

pub(crate) async fn patched(side: &Side<'_>, id: &str, mask: &str, body: &Value) -> Value {
    let answer = side.send("PATCH", &format!("{IDENTITIES}/{id}?update_mask={mask}"), body).await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer.json()
}

pub(crate) fn assert_unknown(answer: &Answer) {
    assert_eq!(assert_error(answer, 404, "NOT_FOUND", "NOT_FOUND"), "identity not found");
}

/// How often keys, and identities alone, were read from the store.
async fn reads(gateway: &Gateway) -> (u64, u64) {
    let keys = metric(gateway, "bulkhead_key_reads_total").await;
    (keys, metric(gateway, "bulkhead_identity_reads_total").await)
}

/// What is left of a limit after a use that names it; `None` where it does not hold for the credential.
pub(crate) async fn left(api: &Api<'_>, credential: &str, name: &str) -> Option<String> {
    let body = json!({"credential": credential, "rate_limits": [{"name": name}]});
    let told = api.verify_with(&body, &[]).await.json();
    let limits = told["rate_limits"].as_array().cloned().unwrap_or_default();
    let limit = limits.into_iter().find(|limit| limit["name"] == name)?;
    Some(if limit["exceeded"] == true {
        "exceeded".to_owned()
    } else {
        limit["remaining"].as_str()?.to_owned()
    })
}

on_both_stores! {
    async fn an_identity_is_made_read_listed_changed_and_removed(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let limits = json!([hourly("all", "5", "requests", true)]);
        let body = json!({"external_id": "acme/ü", "metadata": {"plan": "gold"}, "rate_limits": limits});
        let answer = side.post(IDENTITIES, &body).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made_one = answer.json();
        for (name, value) in body.as_object().unwrap() {
            assert_eq!(&made_one[name], value, "{name}");
        }
        let id = made_one["identity_id"].as_str().unwrap();
        let path = format!("{IDENTITIES}/{id}");
        assert_eq!(side.read(&path).await, made_one);
        assert_error(&side.post(IDENTITIES, &body).await, 409, "ALREADY_EXISTS", "CONFLICT");

        let changed = patched(&side, id, "metadata", &json!({"metadata": {"plan": "iron"}, "rate_limits": []})).await;
        assert_eq!((&changed["metadata"], &changed["rate_limits"]), (&json!({"plan": "iron"}), &limits), "as the mask says");
        assert_eq!(patched(&side, id, "rateLimits", &json!({})).await.get("rate_limits"), None);
        let whole = side.send("PATCH", &path, &json!({"external_id": "acme/ü", "metadata": {}})).await.json();
        assert_eq!(whole["metadata"], json!({}), "without a mask what the body has");
        let renamed = side.send("PATCH", &path, &json!({"external_id": "other"})).await;
        assert_bad_request(&renamed, "`external_id`: cannot be changed");

        let mut names = vec!["acme/ü".to_owned()];
        for number in 0..6 {
            names.push(format!("customer-{number}"));
            made(&side, &json!({"external_id": names[number + 1]})).await;
        }
        names.reverse();
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let page = side.read(&format!("{IDENTITIES}?page_size=3&page_token={token}")).await;
            let identities = page["identities"].as_array().unwrap();
            assert!(identities.len() <= 3, "{page}");
            listed.extend(identities.iter().map(|identity| identity["external_id"].as_str().unwrap().to_owned()));
            token = page["next_page_token"].as_str().unwrap().to_owned();
            if token.is_empty() {
                break;
            }
            let other = side.get(&format!("{IDENTITIES}?page_token={token}&filter=external_id%3D%22a%22")).await;
            assert_bad_request(&other, "`page_token`");
        }
        let (mut sorted, mut wanted) = (listed.clone(), names.clone());
        sorted.sort();
        wanted.sort();
        assert_eq!(sorted, wanted, "each once");
        let one = side.read(&format!("{IDENTITIES}?filter=external_id%3D%22customer-4%22")).await;
        assert_eq!(one["identities"].as_array().unwrap().len(), 1, "{one}");
        assert_eq!(side.read(&format!("{IDENTITIES}?filter=external_id%3D%22x%22")).await["identities"], json!([]));

        assert_eq!(side.delete(&path).await.status, 204);
        assert_unknown(&side.delete(&path).await);
        assert_unknown(&side.get(&path).await);
        let trail = side.read(&format!("{EVENTS}?order_by=create_time&filter=object%3D%22{id}%22")).await;
        let events = trail["audit_events"].as_array().unwrap();
        let actions: Vec<&str> = events.iter().map(|event| event["action"].as_str().unwrap()).collect();
        let updated = "identity.updated";
        assert_eq!(actions, ["identity.created", updated, updated, updated, "identity.deleted"], "{trail}");
        let digests = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
        let (before, after) = (digests("before_digest"), digests("after_digest"));
        assert_eq!(before[1..], after[..4], "a chain of states");
        let family = side.read(&format!("{EVENTS}?filter=action%3D%22identity.*%22")).await;
        assert_eq!(family["audit_events"].as_array().unwrap().len(), 11, "{family}");
    }

    async fn what_cannot_be_an_identity_says_why(store) {
        let gateway = open_gateway(store, "").start().await;
        let side = Side::of(&gateway, "");
        let limit = hourly("a", "1", "requests", true);
        let with = |name: &str, value: Value| {
            let mut body = json!({"external_id": "acme"});
            body[name] = value;
            body
        };
        for (body, words) in [
            (json!({}), "`external_id`: is missing or empty"),
            (with("external_id", json!("x".repeat(256))), "`external_id`: longer than 255 characters"),
            (with("external_id", json!("a\0b")), "holds a NUL character"),
            (with("metadata", json!([])), "`metadata`: not a JSON object"),
            (with("rate_limits", json!([limit, limit])), "`rate_limits`: entry 1: another one has this name"),
            (with("rate_limits", json!([{"name": "a", "quota": "x"}])), "`rate_limits[0].quota`"),
        ] {
            assert_bad_request(&side.post(IDENTITIES, &body).await, words);
        }
        let id = made(&side, &json!({"external_id": "acme"})).await;
        let refused = side.send("PATCH", &format!("{IDENTITIES}/{id}?update_mask=external_id"), &json!({})).await;
        assert_bad_request(&refused, "`update_mask`: the paths are metadata, rate_limits");
        assert_bad_request(&side.get(&format!("{IDENTITIES}?filter=name%3D%22a%22")).await, "`filter`: expected `external_id`");
        assert_unknown(&side.get(&format!("{IDENTITIES}/no-uuid")).await);
    }

    async fn a_verdict_tells_whom_its_key_belongs_to_and_costs_one_read_when_cold_and_none_when_warm(store) {
        let gateway = open_gateway(store, "").start().await;
        let (side, api) = (Side::of(&gateway, ""), Api::of(&gateway));
        let key = api.issue(&json!({"name": "k", "actor_id": "acme"})).await;
        api.import(RAW, json!({})).await;
        let other = api.issue(&json!({"name": "k", "actor_id": "other"})).await.secret;
        for credential in [key.secret.as_str(), RAW, &other] {
            assert_eq!(api.verify(credential).await.get("identity"), None);
        }
        // From the next verification on, for keys that are in memory already.
        let id = made(&side, &json!({"external_id": "acme", "metadata": {"plan": "gold"}})).await;
        let someone = made(&side, &json!({"external_id": "someone"})).await;
        let told = json!({"identity_id": id, "external_id": "acme", "metadata": {"plan": "gold"}});
        assert_eq!(api.verify(&key.secret).await["identity"], told);
        assert_eq!(api.verify(RAW).await["identity"]["identity_id"], json!(someone));
        assert_eq!(api.verify(&other).await.get("identity"), None);
        let batch = api.done(BATCH_VERIFY, &json!({"requests": [{"credential": key.secret}]}), 200).await;
        assert_eq!(batch["results"][0]["identity"], told);
        // A token's key is looked at where something is asked that only its key has.
        let token = api.derive(&key.secret, "MACAROON", json!({})).await;
        assert_eq!(api.verify(&token).await.get("identity"), None);
        let asked = json!({"credential": token, "rate_limits": [{"name": "any"}]});
        assert_eq!(api.verify_with(&asked, &[]).await.json()["identity"], told);

        // PostgreSQL tells a process of its own changes too, a moment later, and then what they touch is read anew.
        let deadline = Instant::now() + PATIENCE;
        let cold = loop {
            let cold = api.issue(&json!({"name": "cold", "actor_id": "acme"})).await.secret;
            let (keys, identities) = reads(&gateway).await;
            assert_eq!(api.verify(&cold).await["identity"], told);
            let both_at_once = reads(&gateway).await == (keys + 1, identities);
            for credential in [cold.as_str(), &key.secret, RAW, &other] {
                api.verify(credential).await;
            }
            let known = reads(&gateway).await == (keys + 1, identities);
            let fresh = [("cache-control", "no-store")];
            assert_eq!(api.verify_with(&json!({"credential": cold}), &fresh).await.json()["identity"], told);
            if both_at_once && known && reads(&gateway).await == (keys + 2, identities) {
                break cold;
            }
            assert!(Instant::now() < deadline, "a cold key costs more than a read, or a warm one does at all");
        };

        // What earlier changes are told to this process late, on PostgreSQL, is read once more: so it is tried until nothing came
        // in between.
        let deadline = Instant::now() + PATIENCE;
        for turn in 0.. {
            let plan = json!({"plan": turn});
            patched(&side, &id, "metadata", &json!({"metadata": plan})).await;
            let (keys, identities) = reads(&gateway).await;
            for credential in [cold.as_str(), &key.secret] {
                assert_eq!(api.verify(credential).await["identity"]["metadata"], plan);
            }
            let now = reads(&gateway).await;
            // Whether there are any, and this one: once for all its keys, none of which is read.
            if now == (keys, identities + 2) {
                break;
            }
            assert!(Instant::now() < deadline, "a change costs more than that: {now:?} after {:?}", (keys, identities));
        }
        assert_eq!(side.delete(&format!("{IDENTITIES}/{id}")).await.status, 204);
        let gone = api.verify(&key.secret).await;
        assert_eq!((verdict(&gone).as_str(), gone.get("identity")), ("valid", None), "its keys stay");
        assert_ne!(made(&side, &json!({"external_id": "acme"})).await, id);
        assert_eq!(api.verify(&key.secret).await["identity"]["metadata"], json!({}), "another one of that name");
    }

    async fn without_a_cache_a_key_and_its_identity_are_one_read(store) {
        let gateway = open_gateway(store, "cache: {type: noop}\n").start().await;
        let (side, api) = (Side::of(&gateway, ""), Api::of(&gateway));
        let id = made(&side, &json!({"external_id": "acme"})).await;
        let key = api.issue(&json!({"name": "k", "actor_id": "acme"})).await.secret;
        let plain = api.issue(&json!({"name": "k"})).await.secret;
        let (keys, identities) = reads(&gateway).await;
        for n in 1..=2 {
            assert_eq!(api.verify(&key).await["identity"]["identity_id"], json!(id));
            assert_eq!(api.verify(&plain).await.get("identity"), None);
            assert_eq!(reads(&gateway).await, (keys + 2 * n, identities));
        }
    }

    /// As a newer version or a hand in the database would leave it.
    async fn the_keys_of_an_identity_that_cannot_be_read_are_good_for_nothing_until_it_is_written_anew(store) {
        let gateway = open_gateway(store, "").start().await;
        let (side, api) = (Side::of(&gateway, ""), Api::of(&gateway));
        let limits = json!([hourly("all", "9", "requests", true)]);
        let id = made(&side, &json!({"external_id": "acme", "metadata": {"a": 1}, "rate_limits": limits})).await;
        let other = made(&side, &json!({"external_id": "other"})).await;
        let key = api.issue(&json!({"actor_id": "acme", "permissions": ["a"]})).await.secret;
        let jwt = api.derive(&key, "JWT", json!({})).await;
        tamper(&gateway, &format!("UPDATE identities SET rate_limits = '[{{\"unit\":\"moons\"}}]' WHERE identity_id = '{id}'"));
        let fresh = [("cache-control", "no-cache")];
        assert_eq!(api.seen(&key, &fresh).await.0, "INTERNAL");
        assert_eq!(api.verdict(&key).await, "INTERNAL", "also from memory");
        let asks = json!({"credential": jwt, "permissions": "a"});
        assert_eq!(verdict(&api.verify_with(&asks, &[]).await.json()), "INTERNAL");
        let list = side.read(IDENTITIES).await;
        let told: Vec<_> = list["identities"].as_array().unwrap().iter().map(|one| (&one["identity_id"], &one["metadata"])).collect();
        assert_eq!(told, [(&json!(other), &json!({})), (&json!(id), &json!({}))]);
        let path = format!("{IDENTITIES}/{id}?update_mask=metadata");
        let refused = side.send("PATCH", &path, &json!({"metadata": {"b": 2}})).await;
        assert_error(&refused, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");
        patched(&side, &id, "metadata,rate_limits", &json!({"metadata": {"b": 2}, "rate_limits": limits})).await;
        assert_eq!(left(&api, &key, "all").await.as_deref(), Some("8"));
    }
}
