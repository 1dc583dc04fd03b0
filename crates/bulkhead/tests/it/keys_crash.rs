//! `kill -9` while keys are issued, rotated and imported (acceptance 8): every key that a client was told about exists,
//! none exists by half, and a request that is sent again makes no second key.

use std::time::Duration;

use bh_testkit::{Answer, Call, Gateway, on_both_stores};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::keys_setup::{BATCH_IMPORT, IMPORTED, ISSUED, Side, import_body, open_gateway};
use crate::money::tamper;

/// Requests of each kind.
const REQUESTS: usize = 60;
/// Keys of one batch.
const BATCH: usize = 5;
/// Rounds, each with a kill at another moment.
const ROUNDS: usize = 4;

/// What one request wanted, to be sent again as it was.
#[derive(Clone, Debug)]
enum Wish {
    Issue,
    Import,
    Batch,
    /// Of a key that was there before.
    Rotate {
        old: String,
        secret: String,
    },
}

/// A request and its answer, if one arrived whole.
struct Sent {
    id: String,
    wish: Wish,
    answer: Option<Answer>,
}

fn request(side: Side<'_>, id: &str, wish: &Wish) -> Call {
    let import = |raw: String| {
        let mut body = import_body(&raw);
        body["request_id"] = json!(raw);
        body
    };
    let (path, body) = match wish {
        Wish::Issue => (ISSUED.to_owned(), json!({"name": id, "request_id": id})),
        Wish::Import => (IMPORTED.to_owned(), import(id.to_owned())),
        Wish::Batch => {
            let requests: Vec<Value> = (0..BATCH).map(|n| import(format!("{id}-{n}"))).collect();
            (BATCH_IMPORT.to_owned(), json!({ "requests": requests }))
        }
        Wish::Rotate { old, .. } => (format!("{ISSUED}/{old}:rotate"), json!({"name": id})),
    };
    side.call("POST", &path).json(&body)
}

/// Sends everything at once and kills the gateway once so many were answered.
async fn killed_among(gateway: &mut Gateway, wishes: Vec<(String, Wish)>, answered: usize) -> Vec<Sent> {
    let mut running = JoinSet::new();
    for (id, wish) in wishes {
        let call = request(Side::of(gateway, ""), &id, &wish);
        running.spawn(async move {
            let answer = call.try_send().await.ok().filter(|answer| answer.status < 300);
            Sent { id, wish, answer }
        });
    }
    let mut sent = Vec::new();
    while sent.len() < answered
        && let Some(done) = running.join_next().await
    {
        sent.push(done.unwrap());
    }
    gateway.kill9();
    sent.extend(running.join_all().await);
    sent
}

/// What was told is so, and whatever was not told is there whole or not at all, before and after it is asked for again.
async fn is_whole(gateway: &Gateway, sent: &Sent) {
    let (side, id) = (Side::of(gateway, ""), sent.id.as_str());
    match &sent.wish {
        Wish::Issue => {
            let again = request(side, id, &sent.wish).send().await;
            assert_eq!(again.status, 201, "{id}: {}", again.text());
            let again = again.json();
            let Some(told) = sent.answer.as_ref().map(Answer::json) else { return };
            assert_eq!(again["issued_api_key"]["key_id"], told["issued_api_key"]["key_id"], "{id}");
            assert_eq!(again.get("secret"), None, "{id}: a replay");
            assert_eq!(side.fault(told["secret"].as_str().unwrap()).await, "", "{id}");
        }
        Wish::Import => {
            let again = request(side, id, &sent.wish).send().await;
            assert_eq!((again.status, side.fault(id).await.as_str()), (201, ""), "{id}: {}", again.text());
            if let Some(told) = sent.answer.as_ref().map(Answer::json) {
                assert_eq!(again.json()["key_id"], told["key_id"], "{id}");
            }
        }
        Wish::Batch => {
            let there = async || {
                let mut there = Vec::new();
                for n in 0..BATCH {
                    there.push(side.fault(&format!("{id}-{n}")).await.is_empty());
                }
                there
            };
            let before = there().await;
            assert!(before == [true; BATCH] || before == [false; BATCH], "{id}: a half batch: {before:?}");
            assert!(sent.answer.is_none() || before == [true; BATCH], "{id}: told and not there");
            let again = request(side, id, &sent.wish).send().await.json();
            assert_eq!(
                (&again["success_count"], there().await),
                (&json!(BATCH), vec![true; BATCH]),
                "{id}: {again}"
            );
        }
        Wish::Rotate { old, secret } => {
            let key = side.read(&format!("{ISSUED}/{old}")).await;
            let done = key["status"] == "KEY_STATUS_REVOKED";
            assert_eq!(side.fault(secret).await, if done { "REVOKED" } else { "" }, "{id}: {key}");
            let successors = tamper(gateway, &format!("SELECT COUNT(*) FROM api_keys WHERE name = '{id}'"));
            assert_eq!(successors, if done { "1" } else { "0" }, "{id}: both or neither");
            if let Some(told) = sent.answer.as_ref().map(Answer::json) {
                assert!(done, "{id}: told and not done");
                assert_eq!(side.fault(told["secret"].as_str().unwrap()).await, "", "{id}");
            }
        }
    }
}

on_both_stores! {
    async fn a_kill_leaves_every_key_that_was_told_and_no_half_one(store) {
        let mut gateway = open_gateway(store, "").start().await;
        let mut open = 0;
        for round in 0..ROUNDS {
            let mut wishes = Vec::new();
            for n in 0..REQUESTS {
                wishes.push((format!("issue-{round}-{n}"), Wish::Issue));
                wishes.push((format!("import-{round}-{n}"), Wish::Import));
                if n % 3 == 0 {
                    wishes.push((format!("batch-{round}-{n}"), Wish::Batch));
                    let key = Side::of(&gateway, "").issue(&json!({})).await;
                    wishes.push((format!("rotate-{round}-{n}"), Wish::Rotate { old: key.id, secret: key.secret }));
                }
            }
            let sent = killed_among(&mut gateway, wishes, 20 + 25 * round).await;
            gateway.restart().await;
            open += sent.iter().filter(|sent| sent.answer.is_none()).count();
            for sent in &sent {
                is_whole(&gateway, sent).await;
            }
        }
        assert!(open > 0, "no kill came in the middle");
        // The count of live keys is that of the rows: the quota can be believed.
        let live = |table: &str| tamper(&gateway, &format!("SELECT COUNT(*) FROM {table} WHERE status = 1"));
        let wanted = live("api_keys").parse::<u64>().unwrap() + live("imported_api_keys").parse::<u64>().unwrap();
        let max = format!("quota: {{api_keys_max: {}}}\n", wanted + 1);
        gateway.try_restart_as(|same| same.config(&max)).await.unwrap();
        let side = Side::of(&gateway, "");
        assert_eq!(side.post(ISSUED, &json!({})).await.status, 201);
        assert_eq!(side.post(ISSUED, &json!({})).await.status, 429);
        tokio::time::timeout(Duration::from_secs(20), async { assert!(gateway.terminate().await) }).await.unwrap();
    }
}
