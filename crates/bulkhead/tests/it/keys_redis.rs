//! Rows of keys that replicas share in Redis (decision 19): read there instead of in the store, believed only when
//! nothing has changed, and never needed.

use std::time::{Duration, Instant};

use bh_domain::evidence::hex;
use bh_domain::hash::sha256;
use bh_testkit::{Gateway, Redis, Store, on_both_stores};
use serde_json::json;

use crate::auth::BULKHEAD;
use crate::verify_setup::{Api, IMPORTED, Issued, PATIENCE, metric};

/// Secrets that replicas share.
const SHARED: &str = "secrets: {master_key: a-master-key-that-replicas-share-01, evidence_key: an-evidence-key-that-replicas-share, signing_key: 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a}\n";

fn cache(redis: &Redis) -> String {
    format!("cache: {{type: redis, redis: {{addrs: [\"{}\"], timeout: 5s}}}}\n", redis.address())
}

async fn replica(redis: &Redis, url: &str) -> Gateway {
    let yaml = format!("store: {{url: \"{url}\"}}\n{SHARED}{}", cache(redis));
    Gateway::builder(BULKHEAD).config(&yaml).start().await
}

async fn reads(gateway: &Gateway) -> u64 {
    metric(gateway, "bulkhead_key_reads_total").await
}

/// The name of a key's row in Redis, once it is there.
async fn kept(redis: &Redis, key: &Issued) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let names = redis.names();
        if let Some(name) = names.iter().find(|name| name.ends_with(&key.id)) {
            return name.clone();
        }
        assert!(Instant::now() < deadline, "never kept: {names:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

async fn two_replicas(redis: &Redis) -> (Gateway, Gateway, String) {
    let yaml = format!("{SHARED}{}", cache(redis));
    let one = Gateway::builder(BULKHEAD).store(Store::Postgres).config(&yaml).start().await;
    let url = one.database().unwrap().url();
    let two = replica(redis, &url).await;
    (one, two, url)
}

#[tokio::test]
async fn a_row_that_one_replica_has_read_is_not_read_from_the_store_by_another() {
    let redis = Redis::private();
    let (one, two, _) = two_replicas(&redis).await;
    let metadata = json!({"team": "a-team-nobody-else-knows"});
    let body = json!({"name": "a-name-of-its-own", "actor_id": "svc-ci", "metadata": metadata});
    let key = Api::of(&one).issue(&body).await;
    let told = Api::of(&one).verify(&key.secret).await;
    let name = kept(&redis, &key).await;
    let before = reads(&two).await;
    assert_eq!(Api::of(&two).verify(&key.secret).await, told, "word for word");
    assert_eq!(reads(&two).await, before, "not from the store");
    // An imported key as well, whose name there is a hash.
    let id = Api::of(&one).import("sk_live_9876543210", json!({})).await;
    assert_eq!(Api::of(&one).verdict("sk_live_9876543210").await, "valid");
    kept(&redis, &Issued { id, secret: String::new() }).await;
    assert_eq!(Api::of(&two).verdict("sk_live_9876543210").await, "valid");
    assert_eq!(reads(&two).await, before);
    // A hit skips no check.
    let mut other = key.secret.clone().into_bytes();
    let last = other.len() - 1;
    other[last] = if other[last] == b'1' { b'2' } else { b'1' };
    assert_eq!(Api::of(&two).verdict(&String::from_utf8(other).unwrap()).await, "NOT_FOUND");
    // What lies there names tenants and says nothing.
    for name in redis.names() {
        assert!(name.starts_with("tenant:"), "{name}");
        let value = redis.ask(&["GET", &name]);
        for text in [key.secret.as_str(), "a-name-of-its-own", "svc-ci", "a-team", "sk_live_9876543210"] {
            assert!(!holds(&value, text) && !name.contains(text), "{name} shows {text}");
        }
    }
    // Replicas hear of changes there as well: whoever is told that a key has changed asks the store.
    let channel = "tenant:news:keys";
    let deadline = Instant::now() + PATIENCE;
    while redis.ask(&["PUBSUB", "NUMSUB", channel]) != format!("{channel}\n2\n").into_bytes() {
        assert!(Instant::now() < deadline, "not everybody listens");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let nid = name.split(':').nth(1).unwrap();
    assert_eq!(redis.ask(&["PUBLISH", channel, &format!("{nid}/{}", key.id)]), b"2\n");
    while reads(&two).await == before {
        assert_eq!(Api::of(&two).verdict(&key.secret).await, "valid");
        assert!(Instant::now() < deadline, "news are not heard");
    }
    let left: u64 = String::from_utf8(redis.ask(&["PTTL", &name])).unwrap().trim().parse().unwrap();
    assert!((1..=300_000).contains(&left), "{left} ms");
}

/// What replicas share says nothing of identities: each replica asks the store, once for a tenant that has none.
#[tokio::test]
async fn a_row_from_redis_is_told_with_the_identity_of_the_store() {
    let redis = Redis::private();
    let (one, two, _) = two_replicas(&redis).await;
    let (api_one, api_two) = (Api::of(&one), Api::of(&two));
    let mut keys = Vec::new();
    for actor in ["first", "second", "third"] {
        let key = api_one.issue(&json!({"name": "k", "actor_id": actor})).await;
        assert_eq!(api_one.verdict(&key.secret).await, "valid");
        kept(&redis, &key).await;
        keys.push(key);
    }
    let identity_reads = async || metric(&two, "bulkhead_identity_reads_total").await;
    let before = (reads(&two).await, identity_reads().await);
    for key in &keys {
        assert_eq!(api_two.verify(&key.secret).await.get("identity"), None);
    }
    assert_eq!((reads(&two).await, identity_reads().await), (before.0, before.1 + 1), "once for all actors");
    let identity = json!({"external_id": "second", "metadata": {"plan": "known-to-the-store-alone"}});
    let id = api_one.done("/v2alpha1/admin/identities", &identity, 201).await["identity_id"].clone();
    let deadline = Instant::now() + PATIENCE;
    while api_two.verify(&keys[1].secret).await["identity"]["identity_id"] != id {
        assert!(Instant::now() < deadline, "the identity is not heard of");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(api_two.verify(&keys[0].secret).await.get("identity"), None);
    assert_eq!(reads(&two).await, before.0, "the keys themselves are read from Redis");
    for name in redis.names() {
        assert!(!holds(&redis.ask(&["GET", &name]), "known-to-the-store-alone"), "{name}");
    }
}

#[tokio::test]
async fn what_is_revoked_is_refused_by_every_replica_whatever_redis_says() {
    let redis = Redis::private();
    let (one, two, url) = two_replicas(&redis).await;
    let key = Api::of(&one).issue(&json!({"name": "k"})).await;
    assert_eq!(Api::of(&one).verdict(&key.secret).await, "valid");
    let name = kept(&redis, &key).await;
    // Somebody keeps the good row, and puts it back after the key was revoked.
    assert_eq!(redis.ask(&["COPY", &name, "kept-by-somebody"]), b"1\n");
    assert_eq!(Api::of(&two).verdict(&key.secret).await, "valid");
    Api::of(&one).revoke(&key.id, json!({})).await;
    let deadline = Instant::now() + PATIENCE;
    while redis.names().contains(&name) {
        assert!(Instant::now() < deadline, "who changes a key forgets it there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(redis.ask(&["COPY", "kept-by-somebody", &name]), b"1\n");
    assert_eq!(Api::of(&one).verdict(&key.secret).await, "REVOKED");
    Api::of(&two).verdict_becomes(&key.secret, "REVOKED").await;
    // A replica that was not there to hear of it learns of it before it believes anything.
    let three = replica(&redis, &url).await;
    assert_eq!(Api::of(&three).verdict(&key.secret).await, "REVOKED");
    assert!(redis.names().contains(&name), "the row was there all the time");
}

/// A key that was imported again as its hash is answered for by that row, which a row in Redis under an older id cannot know.
#[tokio::test]
async fn a_row_under_an_older_id_is_not_shared() {
    let redis = Redis::private();
    let older = "credentials: {imported_keys: {hash_version: 2}}\n";
    let yaml = format!("{SHARED}{}{older}", cache(&redis));
    let one = Gateway::builder(BULKHEAD).store(Store::Postgres).config(&yaml).start().await;
    let two = replica(&redis, &one.database().unwrap().url()).await;
    let api = Api::of(&one);
    let raw = "sk_live_9876543210";
    let old = api.import(raw, json!({})).await;
    assert_eq!(api.verdict(raw).await, "valid");
    // What was read after it is there.
    let other = api.issue(&json!({"name": "other"})).await;
    assert_eq!(api.verdict(&other.secret).await, "valid");
    kept(&redis, &other).await;
    assert!(redis.names().iter().all(|name| !name.ends_with(&old)), "{:?}", redis.names());
    let hashed = json!({"algorithm": "SHA256", "digest": hex::encode(&sha256(raw.as_bytes()))});
    let body = json!({"hashed": hashed, "name": "again", "actor_id": "ci"});
    let new = api.done(IMPORTED, &body, 201).await["key_id"].as_str().unwrap().to_owned();
    let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED"});
    assert_eq!(api.post(&format!("{IMPORTED}/{new}:revoke"), &end).await.status, 204);
    assert_eq!(api.verdict(raw).await, "REVOKED");
    assert_eq!(Api::of(&two).verdict(raw).await, "REVOKED");
}

#[tokio::test]
async fn a_row_that_somebody_else_has_written_is_no_row() {
    let redis = Redis::private();
    let (one, two, _) = two_replicas(&redis).await;
    let mine = Api::of(&one).issue(&json!({"name": "mine", "actor_id": "mine"})).await;
    let other = Api::of(&one).issue(&json!({"name": "other", "actor_id": "other"})).await;
    for key in [&mine, &other] {
        assert_eq!(Api::of(&one).verdict(&key.secret).await, "valid");
    }
    let (mine_there, other_there) = (kept(&redis, &mine).await, kept(&redis, &other).await);
    assert_eq!(redis.ask(&["COPY", &mine_there, &other_there, "REPLACE"]), b"1\n");
    assert_eq!(redis.ask(&["SET", &mine_there, "forged"]), b"OK\n");
    let before = reads(&two).await;
    for (key, name) in [(&mine, "mine"), (&other, "other")] {
        let told = Api::of(&two).verify(&key.secret).await;
        assert_eq!((&told["is_valid"], &told["actor_id"]), (&json!(true), &json!(name)));
    }
    assert_eq!(reads(&two).await, before + 2, "both from the store");
}

on_both_stores! {
    async fn nobody_notices_that_redis_is_gone_but_the_metrics(store) {
        let mut redis = Redis::private();
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&cache(&redis)).start().await;
        let api = Api::of(&gateway);
        let first = api.issue(&json!({"name": "first"})).await;
        assert_eq!(api.verdict(&first.secret).await, "valid");
        kept(&redis, &first).await;
        redis.crash();
        for number in 0..5 {
            let key = api.issue(&json!({"name": format!("without {number}")})).await;
            assert_eq!(api.verdict(&key.secret).await, "valid");
            api.revoke(&key.id, json!({})).await;
            api.verdict_becomes(&key.secret, "REVOKED").await;
        }
        assert!(metric(&gateway, "talos_cache_errors_total{operation=\"read\"}").await > 0);
        let said = gateway.output().matches("the shared cache does not answer").count();
        assert_eq!(said, 1, "once: {}", gateway.output());
        redis.start();
        // It is used again as soon as it answers.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let key = api.issue(&json!({"name": "again"})).await;
            assert_eq!(api.verdict(&key.secret).await, "valid");
            if !redis.names().is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "never used again: {}", gateway.output());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(gateway.prints("the shared cache answers again", PATIENCE).await);
    }
}
