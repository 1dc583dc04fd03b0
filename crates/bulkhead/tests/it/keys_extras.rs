//! What keys have beyond Talos's members: permissions and named limits.

use bh_domain::keys::token::{Caveat, attenuate};
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_setup::assert_bad_request;
use crate::money::{ADMIN, CALL_TOKENS, config, provider};
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

pub(crate) async fn patch(api: &Api<'_>, path: &str, body: &Value) -> Value {
    let answer = api.call("PATCH", path).json(body).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

fn narrowed(macaroon: &str, permissions: &[&str]) -> String {
    let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
    let caveat = Caveat { permissions: Some(permissions), ..Caveat::default() };
    attenuate(macaroon, &caveat).unwrap().expose_secret().to_owned()
}

/// A limit that is whole again long after a test has looked.
pub(crate) fn hourly(name: &str, quota: &str, unit: &str, auto_apply: bool) -> Value {
    json!({"name": name, "quota": quota, "window": "3600s", "unit": unit, "auto_apply": auto_apply})
}

/// What a verdict says of each limit: its name, what is left, and whether it refused.
fn left(told: &Value) -> Vec<(String, String, bool)> {
    let limits = told["rate_limits"].as_array().cloned().unwrap_or_default();
    let told = |limit: &Value| {
        assert!(limit["reset_time"].as_str().is_some_and(|at| at.ends_with('Z')), "{limit}");
        let text = |name: &str| limit[name].as_str().unwrap().to_owned();
        // Money comes back by the nano-unit: what a moment adds is not looked at.
        let remaining = text("remaining");
        let shown = remaining.find('.').map_or(remaining.len(), |point| remaining.len().min(point + 3));
        (text("name"), remaining[..shown].to_owned(), limit["exceeded"] == true)
    };
    limits.iter().map(told).collect()
}

fn says(name: &str, remaining: &str, exceeded: bool) -> (String, String, bool) {
    (name.to_owned(), remaining.to_owned(), exceeded)
}

pub(crate) async fn start(store: Store, provider: &FakeProvider) -> Gateway {
    crate::money::gateway(&config(provider, ["{}", "{}", "{}"], "")).store(store).start().await
}

/// A key of tenant acme for LLM calls, with these limits: its text and its path.
pub(crate) async fn caller_key(gateway: &Gateway, limits: Value) -> (String, String) {
    let body = json!({"name": "bot", "scopes": ["llm"], "rate_limits": limits});
    let call = Call::post(gateway.at(ISSUED), &body).bearer(ADMIN).header("x-tenant-id", "acme");
    let answer = call.send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told = answer.json();
    let id = told["issued_api_key"]["key_id"].as_str().unwrap();
    (told["secret"].as_str().unwrap().to_owned(), format!("{ISSUED}/{id}"))
}

pub(crate) async fn chat(gateway: &Gateway, key: &str) -> Answer {
    crate::money::call(gateway, key).header("x-tenant-id", "acme").send().await
}

on_both_stores! {
    /// Proves: TALOS-S09
    async fn named_limits_are_taken_together_or_not_at_all(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let limits = json!([
            hourly("all", "4", "requests", true),
            hourly("export", "3", "requests", false),
            hourly("spend", "0.5", "cost", false),
        ]);
        let key = api.issue(&json!({"name": "k", "rate_limits": limits})).await;
        let raw = api.import(RAW, json!({"rate_limits": limits})).await;
        for credential in [key.secret.as_str(), RAW] {
            let asked = async |limits: Value| {
                api.verify_with(&json!({"credential": credential, "rate_limits": limits}), &[]).await
            };
            assert_eq!(left(&api.verify(credential).await), [says("all", "3", false)], "by itself");
            let told = asked(json!([{"name": "export", "cost": 2}, {"name": "spend", "cost": "0.25"}, {"name": "no"}])).await;
            assert_eq!(told.header("cache-control"), Some("no-store"));
            let now = [says("all", "2", false), says("export", "1", false), says("spend", "0.25", false)];
            assert_eq!(left(&told.json()), now);
            // Two of `export` are not there: neither of the others is taken.
            let refused = asked(json!([{"name": "export", "cost": "2"}, {"name": "spend", "cost": "0.25"}])).await;
            assert!(refused.header("retry-after").is_some());
            let refused = refused.json();
            assert_eq!(verdict(&refused), "RATE_LIMITED");
            assert!(refused["error_message"].as_str().unwrap().contains("`export`"), "{refused}");
            assert_eq!(left(&refused), [says("all", "2", false), says("export", "1", true), says("spend", "0.25", false)]);
            let body = json!({"credential": credential, "rate_limits": [{"name": "all", "cost": 0}, {"name": "export", "cost": 0}]});
            let batch = api.done(BATCH_VERIFY, &json!({"requests": [body]}), 200).await;
            assert_eq!(left(&batch["results"][0]), [says("all", "2", false), says("export", "1", false)], "0 only asks");
            for _ in 0..2 {
                assert_eq!(api.verdict(credential).await, "valid");
            }
            let refused = api.verify(credential).await;
            assert_eq!((verdict(&refused).as_str(), left(&refused)), ("RATE_LIMITED", vec![says("all", "0", true)]));
        }
        for path in [format!("{ISSUED}/{}", key.id), format!("{IMPORTED}/{raw}")] {
            assert_eq!(api.call("GET", &path).send().await.json()["rate_limits"], limits);
            let fewer = json!({"rate_limits": [hourly("export", "9", "requests", true)]});
            let told = patch(&api, &format!("{path}?update_mask=rate_limits"), &fewer).await;
            assert_eq!(told["rate_limits"], fewer["rate_limits"]);
        }
        assert_eq!(left(&api.verify(RAW).await)[0].0, "export");
        let rotated = api.done(&format!("{ISSUED}/{}:rotate", key.id), &json!({}), 201).await;
        assert_eq!(rotated["issued_api_key"]["rate_limits"][0]["quota"], "9");
    }

    async fn a_key_s_one_limit_and_its_named_ones_are_taken_together_too(store) {
        let yaml = "rate_limit: {enabled: true}\n";
        let gateway = Gateway::builder(BULKHEAD).store(store).config(yaml).start().await;
        let api = Api::of(&gateway);
        let one = json!({"quota": "3", "window": "3600s"});
        let limits = json!([hourly("named", "5", "requests", true)]);
        let key = api.issue(&json!({"rate_limit_policy": one, "rate_limits": limits})).await.secret;
        let asked = async |cost: u64| {
            let limits = json!([{"name": "named", "cost": cost}]);
            let told = api.verify_with(&json!({"credential": key, "rate_limits": limits}), &[]).await.json();
            (verdict(&told), told["rate_limit_remaining"].as_str().unwrap().to_owned(), left(&told)[0].1.clone())
        };
        let words = |verdict: &str, one: &str, named: &str| (verdict.to_owned(), one.to_owned(), named.to_owned());
        assert_eq!(asked(2).await, words("valid", "2", "3"));
        assert_eq!(asked(4).await, words("RATE_LIMITED", "2", "3"));
        assert_eq!(asked(0).await, words("valid", "1", "3"));
        assert_eq!(asked(1).await, words("valid", "0", "2"));
        assert_eq!(asked(1).await, words("RATE_LIMITED", "0", "2"), "the one limit refused, the named one is whole");
        // A token takes from its key's limits where it is asked to.
        let jwt = api.derive(&key, "JWT", json!({})).await;
        let body = json!({"credential": jwt, "rate_limits": [{"name": "named", "cost": 2}]});
        assert_eq!(left(&api.verify_with(&body, &[]).await.json()), [says("named", "0", false)]);
        assert_eq!(verdict(&api.verify_with(&body, &[]).await.json()), "RATE_LIMITED");
    }

    /// Proves: TALOS-S09
    async fn tokens_and_money_are_owed_by_a_key_at_the_llm_doors_once_they_are_used(store) {
        let provider = provider();
        let gateway = start(store, &provider).await;
        // A call uses 17 tokens and a cent.
        let tokens = (7 + CALL_TOKENS).to_string();
        for (limit, policy) in [
            (hourly("tpm", "20", "tokens", false), "\"tokens\";q=20;w=3600"),
            (hourly("purse", "0.015", "cost", false), "\"cost\";q=15000000;w=3600"),
            (hourly("calls", "2", "requests", true), "\"requests\";q=2;w=3600"),
        ] {
            let unit = limit["unit"].clone();
            let (key, _) = caller_key(&gateway, json!([limit, hourly("unnamed", "1", "requests", false)])).await;
            for _ in 0..2 {
                let answer = chat(&gateway, &key).await;
                assert_eq!(answer.status, 200, "{unit} {tokens}: {}", answer.text());
            }
            let hits = provider.hits();
            let refused = chat(&gateway, &key).await;
            assert_eq!(refused.status, 429, "{unit}: {}", refused.text());
            assert_eq!(refused.json()["error"]["code"], "rate_limited", "{}", refused.text());
            assert_eq!(refused.header("ratelimit-policy"), Some(policy));
            assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
            assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").is_some());
            assert_eq!(provider.hits(), hits, "a refused call reaches nobody");
        }
        let (free, path) = caller_key(&gateway, json!([hourly("tpm", "1", "tokens", false)])).await;
        assert_eq!(chat(&gateway, &free).await.status, 200, "nothing is owed yet");
        assert_eq!(chat(&gateway, &free).await.status, 429);
        let change = Call::new("PATCH", gateway.at(&format!("{path}?update_mask=rate_limits")));
        let change = change.bearer(ADMIN).header("x-tenant-id", "acme").json(&json!({"rate_limits": []}));
        assert_eq!(change.send().await.status, 200);
        assert_eq!(chat(&gateway, &free).await.status, 200, "from the next call on");
    }

    async fn a_limit_that_cannot_be_kept_is_refused_with_its_place(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let good = hourly("a", "1", "requests", false);
        let with = |name: &str, value: Value| {
            let mut bad = hourly("b", "1", "requests", false);
            bad[name] = value;
            json!({"rate_limits": [good, bad]})
        };
        for (body, words) in [
            (with("name", json!("a")), "entry 1: another one has this name"),
            (with("name", json!("a b")), "entry 1: `name`"),
            (with("unit", json!("bytes")), "`rate_limits[1].unit`"),
            (with("quota", json!("0")), "entry 1: `quota`"),
            (with("quota", json!("1.5")), "`rate_limits[1].quota`: expected a whole number"),
            (with("window", json!("0.5s")), "window"),
            (json!({"rate_limits": vec![good.clone(); 21]}), "more than 20"),
        ] {
            assert_bad_request(&api.post(ISSUED, &body).await, words);
        }
        let key = api.issue(&json!({"rate_limits": [good]})).await.secret;
        for (limits, words) in [
            (json!([{"name": "a"}, {"name": "a"}]), "`rate_limits[1].name`"),
            (json!([{"cost": 1}]), "`rate_limits[0].name`"),
            (json!([{"name": "a", "cost": -1}]), "`rate_limits[0].cost`"),
            (json!([{"name": "a", "cost": "x"}]), "`rate_limits[0].cost`"),
        ] {
            assert_bad_request(&api.post(VERIFY, &json!({"credential": key, "rate_limits": limits})).await, words);
        }
    }

    /// Proves: TALOS-S09
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

    /// Proves: TALOS-S09
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
