//! Credits of keys: uses that are paid for, counted exactly by all processes.

use bh_testkit::{Gateway, Store, on_both_stores};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_cache::{SHARED, replica};
use crate::keys_extras::{hourly, patch};
use crate::keys_setup::{assert_bad_request, assert_error};
use crate::money::tamper;
use crate::verify_setup::{Api, BATCH_VERIFY, IMPORTED, ISSUED, VERIFY, metric, verdict};

const WRITES: &str = "bulkhead_key_credit_writes_total";
const RAW: &str = "sk_live_0123456789abcdef";

/// The verdict on a credential, what is left, and whether its credits are why.
async fn used(api: &Api<'_>, credential: &str, cost: Value) -> (String, String, bool) {
    let mut body = json!({"credential": credential});
    if !cost.is_null() {
        body["credits"] = json!({"cost": cost});
    }
    let told = api.verify_with(&body, &[]).await.json();
    let left = told["credits"]["remaining"].as_str().unwrap_or_default().to_owned();
    (verdict(&told), left, told["usage_exceeded"] == true)
}

fn valid(left: &str) -> (String, String, bool) {
    ("valid".to_owned(), left.to_owned(), false)
}

fn exceeded(left: &str) -> (String, String, bool) {
    ("RATE_LIMITED".to_owned(), left.to_owned(), true)
}

async fn update(api: &Api<'_>, path: &str, operation: &str, value: Value) -> Value {
    let body = json!({"operation": operation, "value": value});
    api.done(&format!("{path}:updateCredits"), &body, 200).await["credits"]["remaining"].clone()
}

on_both_stores! {
    /// Proves: TALOS-S09
    async fn credits_are_spent_told_and_changed(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let credits = json!({"remaining": "5"});
        let key = api.issue(&json!({"name": "k", "credits": credits})).await;
        let imported = api.import(RAW, json!({"credits": credits})).await;
        let free = api.issue(&json!({"name": "free"})).await;
        assert_eq!(used(&api, &free.secret, json!(3)).await, valid(""), "it has any number");
        for (credential, path) in [
            (key.secret.as_str(), format!("{ISSUED}/{}", key.id)),
            (RAW, format!("{IMPORTED}/{imported}")),
        ] {
            assert_eq!(used(&api, credential, Value::Null).await, valid("4"));
            assert_eq!(used(&api, credential, json!("3")).await, valid("1"));
            assert_eq!(used(&api, credential, json!(0)).await, valid("1"), "0 only asks");
            assert_eq!(used(&api, credential, json!(2)).await, exceeded("1"), "none was taken");
            assert_eq!(used(&api, credential, json!(1)).await, valid("0"));
            assert_eq!(used(&api, credential, Value::Null).await, exceeded("0"));
            assert_eq!(used(&api, credential, json!(0)).await, valid("0"));
            let read = async || api.call("GET", &path).send().await.json()["credits"].clone();
            assert_eq!(read().await, json!({"remaining": "0"}));

            assert_eq!(update(&api, &path, "increment", json!("7")).await, "7");
            assert_eq!(update(&api, &path, "decrement", json!(4)).await, "3");
            assert_eq!(update(&api, &path, "decrement", json!(4)).await, "0", "never less than none");
            assert_eq!(update(&api, &path, "set", json!(2)).await, "2");
            patch(&api, &format!("{path}?update_mask=name"), &json!({"name": "another"})).await;
            assert_eq!(used(&api, credential, Value::Null).await, valid("1"), "an update leaves credits alone");
            assert_eq!(update(&api, &path, "set", Value::Null).await, Value::Null);
            assert_eq!(used(&api, credential, json!(100)).await, valid(""));
            let more = json!({"operation": "increment", "value": 1});
            let refused = api.post(&format!("{path}:updateCredits"), &more).await;
            assert_error(&refused, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");
            assert_eq!(update(&api, &path, "set", json!(1)).await, "1");
        }
    }

    /// Proves: TALOS-S09
    async fn a_key_in_its_time_of_grace_spends_the_credits_of_the_one_in_its_place(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let first = api.issue(&json!({"credits": {"remaining": 5}})).await;
        let rotate = async |id: &str, body: Value| api.done(&format!("{ISSUED}/{id}:rotate"), &body, 201).await;
        assert_eq!(used(&api, &first.secret, Value::Null).await, valid("4"));
        let told = rotate(&first.id, json!({"grace_ttl": "1h"})).await;
        let second = told["issued_api_key"]["key_id"].as_str().unwrap();
        assert_eq!(told["issued_api_key"]["credits"], json!({"remaining": "4"}));
        assert_eq!(told["old_issued_api_key"]["credits"], json!({"remaining": "0", "credits_of": second}));
        let second_secret = told["secret"].as_str().unwrap();
        assert_eq!(used(&api, &first.secret, Value::Null).await, valid("3"), "one balance");
        assert_eq!(used(&api, second_secret, Value::Null).await, valid("2"));
        assert_eq!(used(&api, &first.secret, json!(3)).await, exceeded("2"));

        let told = rotate(second, json!({"grace_ttl": "1h"})).await;
        let third = told["issued_api_key"]["key_id"].as_str().unwrap();
        assert_eq!(used(&api, &first.secret, Value::Null).await, valid("1"), "also after another rotation");
        assert_eq!(used(&api, second_secret, Value::Null).await, valid("0"));
        for secret in [&first.secret, second_secret, told["secret"].as_str().unwrap()] {
            assert_eq!(used(&api, secret, Value::Null).await, exceeded("0"));
        }
        let more = json!({"operation": "increment", "value": 2});
        let refused = api.post(&format!("{ISSUED}/{}:updateCredits", first.id), &more).await;
        assert_error(&refused, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");
        assert!(refused.text().contains(third), "where they are: {}", refused.text());
        update(&api, &format!("{ISSUED}/{third}"), "increment", json!(2)).await;
        assert_eq!(used(&api, &first.secret, Value::Null).await, valid("1"));
        assert_eq!(used(&api, second_secret, json!(0)).await, valid("1"));
    }

    /// Each balance has one key to be rotated: a second successor would spend it beyond the end of the first.
    async fn a_rotated_key_passes_its_credits_on_once_and_finds_them_wherever_they_went(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let first = api.issue(&json!({"credits": {"remaining": 5}})).await;
        let rotate = async |id: &str, body: Value| {
            let told = api.done(&format!("{ISSUED}/{id}:rotate"), &body, 201).await;
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            (text(&told["issued_api_key"]["key_id"]), text(&told["secret"]))
        };
        let refused = async |id: &str| {
            let refused = api.post(&format!("{ISSUED}/{id}:rotate"), &json!({"grace_ttl": "1h"})).await;
            assert_error(&refused, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION")
        };
        let (second, second_secret) = rotate(&first.id, json!({"grace_ttl": "1h"})).await;
        assert!(refused(&first.id).await.contains(&format!("spends the credits of {second}")));
        // Its successor has no time of grace, and still leads to where the credits are.
        let (third, third_secret) = rotate(&second, json!({})).await;
        assert_eq!(api.verdict(&second_secret).await, "REVOKED");
        assert_eq!(used(&api, &first.secret, Value::Null).await, valid("4"));
        assert_eq!(used(&api, &third_secret, Value::Null).await, valid("3"));
        assert!(refused(&first.id).await.contains(&format!("spends the credits of {third}")));
        let gone = api.call("DELETE", &format!("{ISSUED}/{third}")).send().await;
        assert_eq!(gone.status, 204, "{}", gone.text());
        assert_eq!(used(&api, &first.secret, Value::Null).await, exceeded("0"), "they went with their key");
        assert!(refused(&first.id).await.contains(&format!("{third}, which had its credits, was deleted")));
        let more = json!({"operation": "increment", "value": 2});
        let refused = api.post(&format!("{ISSUED}/{}:updateCredits", first.id), &more).await;
        let message = assert_error(&refused, 409, "FAILED_PRECONDITION", "FAILED_PRECONDITION");
        assert!(message.contains("was deleted"), "{message}");
    }

    async fn a_use_finds_credits_that_moved_while_nobody_heard_of_it(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let old = api.issue(&json!({"credits": {"remaining": 5}})).await;
        let new = api.issue(&json!({"credits": {"remaining": 4}})).await;
        assert_eq!(used(&api, &old.secret, Value::Null).await, valid("4"));
        // As another process's rotation leaves the row that memory has from before.
        let extras = format!(r#"{{"credits_of":"{}"}}"#, new.id);
        tamper(&gateway, &format!("UPDATE api_keys SET credits = 0, extras = '{extras}' WHERE key_id = '{}'", old.id));
        assert_eq!(used(&api, &old.secret, Value::Null).await, valid("3"));
        assert_eq!(used(&api, &new.secret, Value::Null).await, valid("2"));
        assert_eq!(used(&api, &old.secret, json!(9)).await, exceeded("2"));
    }

    async fn what_credits_refuse_takes_nothing_from_limits_and_a_token_pays_where_it_is_asked_to(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let limits = json!([hourly("all", "9", "requests", true)]);
        let key = api.issue(&json!({"credits": {"remaining": 2}, "rate_limits": limits})).await.secret;
        let told = api.verify_with(&json!({"credential": key, "credits": {"cost": 3}}), &[]).await.json();
        assert_eq!((verdict(&told).as_str(), &told["rate_limits"][0]["remaining"]), ("RATE_LIMITED", &json!("9")));
        let jwt = api.derive(&key, "JWT", json!({})).await;
        assert_eq!(used(&api, &jwt, Value::Null).await, valid(""), "a token is judged by itself");
        assert_eq!(used(&api, &jwt, json!(2)).await, valid("0"), "unless its key's credits are asked for");
        assert_eq!(used(&api, &jwt, json!(1)).await, exceeded("0"));
        let batch = api.done(BATCH_VERIFY, &json!({"requests": [{"credential": key}]}), 200).await;
        assert_eq!((verdict(&batch["results"][0]).as_str(), &batch["results"][0]["usage_exceeded"]), ("RATE_LIMITED", &json!(true)));
    }

    async fn credits_are_replaced_when_their_time_has_come(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let refill = json!({"interval": "monthly", "amount": "3", "day": 31});
        let key = api.issue(&json!({"credits": {"remaining": 1, "refill": refill}})).await;
        let path = format!("{ISSUED}/{}", key.id);
        let read = async || api.call("GET", &path).send().await.json()["credits"].clone();
        let told = read().await;
        assert_eq!((&told["remaining"], &told["refill"]["day"]), (&json!("1"), &json!(31)));
        let next = told["refill"]["next_time"].as_str().unwrap().to_owned();
        assert!(next.ends_with("T00:00:00Z") || next.contains("T00:00:00."), "{next}");
        assert_eq!(used(&api, &key.secret, json!(1)).await, valid("0"));
        assert_eq!(used(&api, &key.secret, json!(1)).await, exceeded("0"));

        let past = |refill: &str| tamper(&gateway, &format!("UPDATE api_keys SET refills_ms = {refill} WHERE key_id = '{}'", key.id));
        past("1");
        assert_eq!(read().await["remaining"], "3", "told before it is used");
        assert_eq!(used(&api, &key.secret, json!(0)).await, valid("3"));
        assert_eq!(used(&api, &key.secret, json!(2)).await, valid("1"));
        assert_eq!(used(&api, &key.secret, json!(2)).await, exceeded("1"), "once");
        past("1");
        assert_eq!(update(&api, &path, "increment", json!(4)).await, "7", "what is due comes first");
        past("1");
        let rotated = api.done(&format!("{path}:rotate"), &json!({}), 201).await;
        assert_eq!(rotated["issued_api_key"]["credits"]["refill"]["amount"], "3");
        assert_eq!(used(&api, rotated["secret"].as_str().unwrap(), json!(3)).await, valid("0"));
    }

    async fn every_use_is_paid_for_and_a_key_without_credits_costs_no_statement(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let key = api.issue(&json!({"credits": {"remaining": 50}})).await.secret;
        let said = join_all((0..100).map(|_| used(&api, &key, Value::Null))).await;
        assert_eq!(said.iter().filter(|said| said.0 == "valid").count(), 50);
        assert_eq!(said.iter().filter(|said| said.2).count(), 50);
        let plain = api.issue(&json!({"name": "plain"})).await.secret;
        while api.seen(&plain, &[]).await.1 != "HIT" {}
        let before = metric(&gateway, "bulkhead_key_reads_total").await;
        for _ in 0..5 {
            assert_eq!(used(&api, &plain, Value::Null).await, valid(""));
        }
        assert_eq!(metric(&gateway, "bulkhead_key_reads_total").await, before);
    }

    async fn credits_that_are_used_up_are_refused_without_a_statement(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let refill = json!({"interval": "daily", "amount": "2"});
        for credits in [json!({"remaining": 1}), json!({"remaining": 1, "refill": refill})] {
            let key = api.issue(&json!({"credits": credits})).await;
            assert_eq!(used(&api, &key.secret, json!(1)).await, valid("0"));
            let before = metric(&gateway, WRITES).await;
            let said = join_all((0..200).map(|turn| used(&api, &key.secret, json!(1 + turn % 3)))).await;
            assert!(said.iter().all(|said| *said == exceeded("0")), "{said:?}");
            assert_eq!(metric(&gateway, WRITES).await, before);

            update(&api, &format!("{ISSUED}/{}", key.id), "set", json!(1)).await;
            assert_eq!(used(&api, &key.secret, json!(1)).await, valid("0"), "from the next use on");
            // Nobody hears of this change.
            tamper(&gateway, &format!("UPDATE api_keys SET credits = 5 WHERE key_id = '{}'", key.id));
            for header in [("cache-control", "no-cache"), ("cache-control", "no-store")] {
                let asked = api.verify_with(&json!({"credential": key.secret}), &[header]).await.json();
                assert_eq!(verdict(&asked), "valid", "memory was not to be asked");
            }
        }
    }

    async fn credits_that_cannot_be_are_refused_with_their_place(store) {
        let gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        for (credits, words) in [
            (json!({"remaining": -1}), "`remaining` must be"),
            (json!({}), "`credits.remaining`: is missing"),
            (json!({"refill": {"interval": "weekly", "amount": 1}}), "`credits.refill.interval`"),
            (json!({"refill": {"interval": "daily", "amount": 0}}), "`refill.amount`"),
            (json!({"refill": {"interval": "monthly", "amount": 1, "day": 32}}), "`refill.day`"),
            (json!({"refill": {"interval": "daily", "amount": 1, "day": 2}}), "`refill.day`"),
        ] {
            assert_bad_request(&api.post(ISSUED, &json!({"credits": credits})).await, words);
        }
        let key = api.issue(&json!({"credits": {"remaining": 1}})).await;
        for cost in [json!(-1), json!("1000000000001")] {
            let body = json!({"credential": key.secret, "credits": {"cost": cost}});
            assert_bad_request(&api.post(VERIFY, &body).await, "`credits.cost`: expected 0 to 1000000000000");
        }
        let path = format!("{ISSUED}/{}:updateCredits", key.id);
        for (operation, value, words) in [
            ("add", json!(1), "`operation`: expected `set`, `increment` or `decrement`"),
            ("increment", Value::Null, "`value`: expected a number of uses"),
            ("set", json!(-1), "`value`"),
            ("increment", json!(1_000_000_000_000_i64), "`value`: the key would have more than"),
        ] {
            let body = json!({"operation": operation, "value": value});
            assert_bad_request(&api.post(&path, &body).await, words);
        }
        let nobody = format!("{ISSUED}/{}:updateCredits", uuid::Uuid::nil());
        let refused = api.post(&nobody, &json!({"operation": "set", "value": 1})).await;
        assert_error(&refused, 404, "NOT_FOUND", "NOT_FOUND");
    }
}

#[tokio::test]
async fn two_processes_never_pass_more_uses_than_were_paid_for() {
    let first = Gateway::builder(BULKHEAD).store(Store::Postgres).config(SHARED).start().await;
    let second = replica(&first.database().unwrap().url()).await;
    let (first, second) = (Api::of(&first), Api::of(&second));
    let key = first.issue(&json!({"credits": {"remaining": 50}})).await.secret;
    let asked = (0..100).map(|turn| used(if turn % 2 == 0 { &first } else { &second }, &key, Value::Null));
    let asked: Vec<_> = asked.collect();
    let said = join_all(asked).await;
    assert_eq!(said.iter().filter(|said| said.0 == "valid").count(), 50, "{said:?}");
    assert_eq!(used(&second, &key, json!(0)).await, valid("0"));
}

#[tokio::test]
async fn credits_that_one_process_adds_are_there_for_one_that_knew_of_none() {
    let first = Gateway::builder(BULKHEAD).store(Store::Postgres).config(SHARED).start().await;
    let second = replica(&first.database().unwrap().url()).await;
    let (first, second) = (Api::of(&first), Api::of(&second));
    let key = first.issue(&json!({"credits": {"remaining": 0}})).await;
    for api in [&first, &second] {
        assert_eq!(used(api, &key.secret, Value::Null).await, exceeded("0"));
    }
    update(&first, &format!("{ISSUED}/{}", key.id), "increment", json!(2)).await;
    second.verdict_becomes(&key.secret, "valid").await;
    assert_eq!(used(&first, &key.secret, Value::Null).await, valid("0"));
    assert_eq!(used(&second, &key.secret, Value::Null).await, exceeded("0"));
}
