//! Webhooks when processes die and when there are several: nothing is lost, nothing is sent under another id (acceptance 5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bh_testkit::{FakeProvider, Gateway, Recorded, Script, Store, on_both_stores};
use serde_json::json;
use tokio::task::JoinSet;

use crate::keys_cache::SHARED;
use crate::keys_setup::ISSUED;
use crate::webhooks_setup::{
    event_ids, events_become, failing, gateway, id, ids, issue, local, ops, receiver, taken, text, yaml,
};

/// What a kill may come in the middle of is another each time.
const SEEDS: u64 = 6;
/// Keys that are issued while the gateway is killed.
const KEYS: usize = 24;

/// The key that each event tells of. An event that is told twice is told in the same words.
fn keys_by_event(requests: &[Recorded]) -> BTreeMap<String, String> {
    let mut told: BTreeMap<String, (String, Vec<u8>)> = BTreeMap::new();
    for request in requests {
        let key = text(&request.json()["data"]["keyId"]);
        let (_, body) = told.entry(id(request)).or_insert_with(|| (key, request.body.clone()));
        assert_eq!(*body, request.body, "{}", id(request));
    }
    told.into_iter().map(|(event, (key, _))| (event, key)).collect()
}

/// Fails now and then and is slow, by the number of the request.
fn moody(receiver: &FakeProvider, seed: u64) {
    let count = std::sync::atomic::AtomicU64::new(seed);
    receiver.on(move |_| {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            >> 60;
        let script = if n < 5 { failing() } else { taken() };
        Some(script.after(Duration::from_millis(n * 4)))
    });
}

/// Issues keys at once, and kills the gateway in the middle; the ids of those that were answered.
async fn killed_among(gateway: &mut Gateway, seed: u64) -> Vec<String> {
    let mut running = JoinSet::new();
    for n in 0..KEYS {
        let call = ops(gateway, "POST", ISSUED)
            .header("x-tenant-id", "acme")
            .json(&json!({"name": format!("k{seed}-{n}")}));
        running.spawn(async move { call.try_send().await.ok().filter(|answer| answer.status == 201) });
    }
    let mut made = Vec::new();
    let enough = 4 + usize::try_from(seed).unwrap() * 3;
    while made.len() < enough
        && let Some(done) = running.join_next().await
    {
        made.extend(done.unwrap().map(|answer| text(&answer.json()["issued_api_key"]["key_id"])));
    }
    tokio::time::sleep(Duration::from_millis(seed * 37 % 150)).await;
    gateway.kill9();
    let rest = running.join_all().await;
    made.extend(rest.into_iter().flatten().map(|answer| text(&answer.json()["issued_api_key"]["key_id"])));
    made
}

on_both_stores! {
    async fn a_kill_loses_no_event_and_sends_none_under_another_id(store) {
        let receiver = receiver();
        let settings = "  first_retry: 5ms\n  timeout_ms: 500\n  attempts_max: 100\n";
        let mut gateway = gateway(store, &yaml(&[local("ops", &receiver, ", events: [key.created]")], settings)).start().await;
        let mut made = BTreeSet::new();
        for seed in 0..SEEDS {
            moody(&receiver, seed);
            made.extend(killed_among(&mut gateway, seed).await);
            gateway.restart().await;
        }
        receiver.on(|_| Some(taken()));
        let written = event_ids(&gateway, "").await;
        let delivered = events_become(&gateway, "&state=delivered", written.len()).await;
        assert_eq!(delivered, written);
        let keys = keys_by_event(&receiver.requests());
        assert_eq!(keys.keys().cloned().collect::<Vec<_>>().len(), written.len());
        assert!(written.iter().all(|event| keys.contains_key(event)), "an event was sent that was not written");
        let told: BTreeSet<String> = keys.values().cloned().collect();
        assert_eq!(told.len(), keys.len(), "a key was told of under two ids");
        assert!(made.is_subset(&told), "a key that a client has was not told of");
    }
}

#[tokio::test]
async fn two_gateways_on_one_database_send_each_event_once() {
    let receiver = receiver();
    receiver.on(|_| Some(taken().after(Duration::from_millis(30))));
    let config = format!(
        "{SHARED}{}",
        yaml(&[local("ops", &receiver, "")], "  timeout_ms: 30000\n  concurrency: 4\n")
    );
    let one = gateway(Store::Postgres, &config).start().await;
    let url = one.database().unwrap().url();
    let two = gateway(Store::Sqlite, &format!("store: {{url: \"{url}\"}}\n{config}")).start().await;
    for n in 0..20 {
        issue(if n % 2 == 0 { &one } else { &two }, "acme", &format!("key {n}")).await;
    }
    assert_eq!(events_become(&two, "&state=delivered", 20).await.len(), 20);
    let requests = receiver.requests();
    assert_eq!((requests.len(), ids(&requests).len()), (20, 20));
}

#[tokio::test]
async fn what_a_dead_gateway_was_sending_is_sent_by_another() {
    let receiver = receiver();
    receiver.on(|_| Some(Script::hang()));
    let config = format!(
        "{SHARED}{}",
        yaml(&[local("ops", &receiver, "")], "  first_retry: 5ms\n  timeout_ms: 1000\n")
    );
    let mut one = gateway(Store::Postgres, &config).start().await;
    let url = one.database().unwrap().url();
    let event = {
        issue(&one, "acme", "first").await;
        assert!(receiver.hits_reach(1, crate::webhooks_setup::PATIENCE).await);
        event_ids(&one, "").await.remove(0)
    };
    one.kill9();
    receiver.on(|_| Some(taken()));
    let two = gateway(Store::Sqlite, &format!("store: {{url: \"{url}\"}}\n{config}")).start().await;
    events_become(&two, "&state=delivered", 1).await;
    assert_eq!(ids(&receiver.requests()).into_iter().collect::<Vec<_>>(), [event]);
    assert_eq!(receiver.hits(), 2);
}
