//! Changes of tenants when the process dies in the middle: done as a whole or not at all, and told of once (acceptance 5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bh_domain::time::Timestamp;
use bh_domain::webhook::Month;
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Recorded, Store, on_both_stores};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::webhooks_setup::{event_ids, events_become, gateway, id, local, ops, receiver, text, yaml};

const TENANTS: &str = "/api/v1/admin/tenants";
/// What a kill may come in the middle of is another each time.
const SEEDS: u64 = 25;
/// Tenants that are made, and tenants that are deleted, while the gateway is killed.
const MADE: usize = 6;
const DELETED: usize = 4;
/// Tenants whose keys are rotated.
const ROTATED: usize = 6;

/// A gateway that is killed again and again, and who is told what it did.
struct House {
    gateway: Gateway,
    receiver: FakeProvider,
}

impl House {
    async fn start(store: Store) -> Self {
        let receiver = receiver();
        let wants = ", events: ['tenant.*', 'key.rotated', 'billing.*']";
        let settings = "  first_retry: 5ms\n  timeout_ms: 2000\n  attempts_max: 100\n";
        let gateway = gateway(store, &yaml(&[local("ops", &receiver, wants)], settings)).start().await;
        Self { gateway, receiver }
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Call {
        ops(&self.gateway, method, &format!("{TENANTS}{path}")).json(body)
    }

    async fn get(&self, path: &str) -> Answer {
        ops(&self.gateway, "GET", &format!("{TENANTS}{path}")).send().await
    }

    async fn make(&self, id: &str) -> Answer {
        self.call("POST", "", &json!({"id": id})).send().await
    }

    async fn rotate(&self, id: &str) -> String {
        let turned = self.call("POST", &format!("/{id}/rotate-api-key"), &json!({})).send().await;
        key_of(&turned, 200)
    }

    /// What a key is answered at a tenant's door.
    async fn opens(&self, key: &str) -> u16 {
        Call::get(self.gateway.at("/v1/costs")).bearer(key).send().await.status
    }

    /// How often the trail of a tenant says this.
    async fn told(&self, id: &str, action: &str) -> usize {
        let trail = self.get(&format!("/{id}/audit?action={action}&limit=1000")).await;
        trail.json()["data"].as_array().map_or(0, Vec::len)
    }

    async fn active_keys(&self, id: &str) -> usize {
        let keys = self.get(&format!("/{id}/api-keys")).await.json();
        keys["data"].as_array().unwrap().iter().filter(|key| key["status"] == "active").count()
    }

    /// Kills the gateway in the middle of these calls; their answers, those that came.
    async fn killed_among(&mut self, calls: Vec<Call>, seed: u64) -> Vec<Option<Answer>> {
        let mut answers: Vec<Option<Answer>> = calls.iter().map(|_| None).collect();
        let enough = usize::try_from(seed).unwrap() * 5 % (calls.len() + 1);
        let mut running = JoinSet::new();
        for (place, call) in calls.into_iter().enumerate() {
            running.spawn(async move { (place, call.try_send().await.ok()) });
        }
        for _ in 0..enough {
            let (place, answer) = running.join_next().await.unwrap().unwrap();
            answers[place] = answer;
        }
        tokio::time::sleep(Duration::from_millis(seed * 7 % 23)).await;
        self.gateway.kill9();
        for (place, answer) in running.join_all().await {
            answers[place] = answer;
        }
        self.gateway.restart().await;
        answers
    }

    /// A tenant that was to be made is there as a whole or not at all; its key, whichever way it has one in the end.
    async fn made_whole(&self, id: &str, answer: Option<&Answer>) -> String {
        let there = self.get(&format!("/{id}")).await.status;
        let key = match answer {
            Some(answer) => key_of(answer, 201),
            None => match self.make(id).await {
                // The last of a dead process may reach PostgreSQL late.
                made if made.status == 409 => {
                    assert_eq!(self.active_keys(id).await, 1, "{id}");
                    self.rotate(id).await
                }
                made => {
                    assert_eq!(there, 404, "{id}");
                    key_of(&made, 201)
                }
            },
        };
        assert_eq!((self.opens(&key).await, self.told(id, "tenant.created").await), (200, 1), "{id}");
        key
    }

    /// A tenant that was to be deleted is gone as a whole or not at all, and gone in the end.
    async fn gone_whole(&self, id: &str, key: &str, answer: Option<&Answer>) {
        let left = (self.get(&format!("/{id}")).await.status, self.opens(key).await);
        match answer {
            Some(answer) => assert_eq!((answer.status, left), (200, (404, 401)), "{id}"),
            None if left == (200, 200) => assert_eq!(self.deletion(id).send().await.status, 200),
            None => assert_eq!(left, (404, 401), "{id}"),
        }
        assert_eq!((self.opens(key).await, self.told(id, "tenant.deleted").await), (401, 1), "{id}");
    }

    fn deletion(&self, id: &str) -> Call {
        self.call("DELETE", &format!("/{id}?confirm=true"), &json!({}))
    }

    /// A key that was to be rotated is the old one or a new one, never both and never neither; the one that opens now.
    async fn turned_whole(&self, id: &str, old: &str, answer: Option<&Answer>, turns: &mut usize) -> String {
        assert_eq!(self.active_keys(id).await, 1, "{id}");
        let key = match answer {
            Some(answer) => {
                *turns += 1;
                key_of(answer, 200)
            }
            None if self.opens(old).await == 200 => old.to_owned(),
            // It happened, and nobody heard of the new one.
            None => {
                *turns += 2;
                self.rotate(id).await
            }
        };
        assert!(key == old || self.opens(old).await == 401, "{id}: the old key lives");
        assert_eq!(
            (self.opens(&key).await, self.told(id, "tenant.key_rotated").await),
            (200, *turns),
            "{id}"
        );
        key
    }

    /// Every event that was written was delivered, and each of its things under one id: kind and thing to ids.
    async fn everything_told(&self, thing: fn(&Value) -> String) -> BTreeMap<(String, String), usize> {
        let written = event_ids(&self.gateway, "").await;
        let delivered = events_become(&self.gateway, "&state=delivered", written.len()).await;
        assert_eq!(delivered, written);
        let mut told: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for request in &self.receiver.requests() {
            let body = Recorded::json(request);
            told.entry((text(&body["type"]), thing(&body["data"]))).or_default().insert(id(request));
        }
        let ids: BTreeSet<&String> = told.values().flatten().collect();
        assert_eq!(ids, written.iter().collect(), "what was sent is what was written");
        told.into_iter().map(|(of, ids)| (of, ids.len())).collect()
    }
}

fn key_of(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.status, status, "{}", answer.text());
    text(&answer.json()["data"]["apiKey"])
}

/// The month so many months ago.
fn months_ago(count: u64) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let mut month = Month::of(Timestamp(i64::try_from(since.as_millis()).unwrap()));
    for _ in 0..count {
        month = month.previous();
    }
    month.to_string()
}

on_both_stores! {
    async fn a_kill_leaves_no_tenant_half_made_or_half_deleted(store) {
        let mut house = House::start(store).await;
        let mut alive: Vec<(String, String)> = Vec::new();
        let (mut made, mut deleted) = (0, 0);
        for seed in 0..SEEDS {
            let leaving = alive.split_off(alive.len().saturating_sub(DELETED));
            let coming: Vec<String> = (0..MADE).map(|n| format!("t{seed}-{n}")).collect();
            let births = coming.iter().map(|id| house.call("POST", "", &json!({"id": id})));
            let calls = births.chain(leaving.iter().map(|(id, _)| house.deletion(id))).collect();
            let answers = house.killed_among(calls, seed).await;
            for (id, answer) in coming.iter().zip(&answers) {
                let key = house.made_whole(id, answer.as_ref()).await;
                alive.push((id.clone(), key));
            }
            for ((id, key), answer) in leaving.iter().zip(&answers[MADE..]) {
                house.gone_whole(id, key, answer.as_ref()).await;
            }
            (made, deleted) = (made + coming.len(), deleted + leaving.len());
        }
        let told = house.everything_told(|data| text(&data["tenantId"])).await;
        let once = |kind: &str| told.iter().filter(|((of, _), ids)| of == kind && **ids == 1).count();
        assert_eq!((once("tenant.created"), once("tenant.deleted")), (made, deleted));
    }

    async fn a_kill_leaves_a_tenant_one_key_and_closes_no_month_twice(store) {
        let mut house = House::start(store).await;
        let mut keys: Vec<(String, String, usize)> = Vec::new();
        for n in 0..ROTATED {
            let id = format!("r{n}");
            let key = key_of(&house.make(&id).await, 201);
            keys.push((id, key, 0));
        }
        for seed in 0..SEEDS {
            let month = json!({"month": months_ago(seed + 1)});
            let close = house.call("POST", "/acme/billing/close", &month);
            let turn = |(id, ..): &(String, String, usize)| house.call("POST", &format!("/{id}/rotate-api-key"), &json!({}));
            let calls = keys.iter().map(turn).chain([close]).collect();
            let answers = house.killed_among(calls, seed).await;
            for ((id, key, turns), answer) in keys.iter_mut().zip(&answers) {
                *key = house.turned_whole(id, key, answer.as_ref(), turns).await;
            }
            let again = house.call("POST", "/acme/billing/close", &month).send().await;
            if let Some(closed) = &answers[ROTATED] {
                assert_eq!((closed.status, again.status), (201, 200), "{}", again.text());
                assert_eq!(closed.json()["data"]["id"], again.json()["data"]["id"]);
            }
        }
        let told = house.everything_told(|data| format!("{} {}", text(&data["tenantId"]), text(&data["month"]))).await;
        let closed = |n: u64| told.get(&("billing.period_closed".to_owned(), format!("acme {}", months_ago(n + 1))));
        assert!((0..SEEDS).all(|n| closed(n) == Some(&1)), "{told:?}");
        for (id, _, turns) in &keys {
            assert_eq!(told.get(&("key.rotated".to_owned(), format!("{id} "))), Some(turns).filter(|n| **n > 0), "{id}");
        }
    }
}
