//! What a gateway needs goes away and comes back while it is under load (acceptance 6): what is told meanwhile is what
//! docs/operations.md says, no limit is forgotten, and nobody starts anything again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, Postgres, Redis, on_both_stores};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;

use crate::llm_setup::PATIENCE;
use crate::money::{ADMIN, APP, CENT, call, config, day, entries, gateway, provider, sum};
use crate::tenant_limits::House;
use crate::verify_setup::metric;

/// Clients that call one after the other.
const CLIENTS: usize = 6;
/// What a client waits for an answer, and what stands for one that did not come by then.
const WAITS_FOR: Duration = Duration::from_secs(3);
const GAVE_UP: u16 = 0;
/// What a client rests after each answer.
const REST: Duration = Duration::from_millis(20);
/// Until something is seen that an outage brings about, on a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(60);
const TENANTS: &str = "/api/v1/admin/tenants";

/// Clients at work, and how often each status was told.
struct Load {
    told: Arc<Mutex<BTreeMap<u16, usize>>>,
    over: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Clients that send this over and over. `check` looks at each answer.
    fn of(call: &Call, check: fn(&Answer)) -> Self {
        Self::resting(call, REST, check)
    }

    /// The same, with another rest after each answer.
    fn resting(call: &Call, rest: Duration, check: fn(&Answer)) -> Self {
        let (told, over) = (Arc::<Mutex<BTreeMap<u16, usize>>>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let (call, told, over) = (call.clone(), Arc::clone(&told), Arc::clone(&over));
            clients.spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    // A call that is with its provider when the store goes waits with its end until that is back.
                    let answer = tokio::time::timeout(WAITS_FOR, call.send()).await.ok();
                    answer.iter().for_each(check);
                    let status = answer.map_or(GAVE_UP, |answer| answer.status);
                    *told.lock().entry(status).or_default() += 1;
                    tokio::time::sleep(rest).await;
                }
            });
        }
        Self { told, over, clients }
    }

    fn count(&self, status: u16) -> usize {
        self.told.lock().get(&status).copied().unwrap_or(0)
    }

    /// Waits until a status was told so often.
    async fn tells(&self, status: u16, count: usize) {
        let deadline = Instant::now() + SEEN_WITHIN;
        while self.count(status) < count {
            assert!(Instant::now() < deadline, "no {count} times {status}: {:?}", self.told.lock());
            tokio::time::sleep(REST).await;
        }
    }

    /// Ends it; how often each status was told.
    async fn end(self) -> BTreeMap<u16, usize> {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
        self.told.lock().clone()
    }
}

on_both_stores! {
    /// What it costs others is measured by `cargo xtask bench --noisy`.
    ///
    /// Proves: CONN-64
    async fn a_flood_of_unknown_keys_locks_nobody_out(store) {
        let house = House::start(store, "").await;
        let key = house.tenant("acme-corp", json!({})).await;
        let flood: Vec<Load> = (0..8)
            .map(|n| {
                // Of our own form, and of others'; at doors that cost something and at doors that do not.
                let junk = if n % 2 == 0 { format!("sk-nobodys-{n}") } else { key.replace(|c: char| c.is_ascii_digit(), "1") };
                let call = if n % 3 == 0 { house.chat(&junk) } else { house.read(&junk, "/v1/costs") };
                Load::resting(&call, Duration::ZERO, |answer| {
                    assert!([401, 429].contains(&answer.status), "{}: {}", answer.status, answer.text());
                })
            })
            .collect();
        let refused = || flood.iter().map(|load| load.count(401) + load.count(429)).sum::<usize>();
        let deadline = Instant::now() + SEEN_WITHIN;
        let mut served = 0;
        while refused() < 2_000 || served < 50 {
            assert_eq!(house.chat(&key).send().await.status, 200, "after {} refusals", refused());
            assert_eq!(house.read(&key, "/v1/costs").send().await.status, 200);
            served += 1;
            assert!(Instant::now() < deadline, "{} refusals, {served} served", refused());
        }
        for load in flood {
            load.end().await;
        }
        assert_eq!(house.provider.hits(), served, "no junk was forwarded");
        assert_eq!(house.chat(&key).send().await.status, 200);
    }

    /// Proves: CONN-25
    async fn redis_goes_and_comes_back_under_load_and_no_limit_is_forgotten(store) {
        let mut redis = Redis::private();
        let shared = format!("redis: {{url: \"redis://{}/0\"}}\nrate_limit: {{backend: redis, timeout: 10s}}\n", redis.address());
        let house = House::start(store, &shared).await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 300, "requestsPerDay": 100_000})).await;
        let up = async |wanted: u64| {
            let deadline = Instant::now() + PATIENCE;
            while metric(&house.gateway, "bulkhead_rate_limit_store_up").await != wanted {
                assert!(Instant::now() < deadline, "the counts are not up: {wanted}");
                tokio::time::sleep(REST).await;
            }
        };
        let load = Load::of(&house.read(&key, "/v1/costs"), |answer| {
            assert!([200, 429].contains(&answer.status), "{}: {}", answer.status, answer.text());
        });
        load.tells(200, 60).await;
        redis.crash();
        up(0).await;
        load.tells(200, 160).await;
        // It comes back with nothing.
        redis.start();
        up(1).await;
        load.tells(429, 40).await;
        let told = load.end().await;
        // Five come back each minute, and a request that was let in as Redis went is counted by nobody.
        assert!((295..=300 + 5 + CLIENTS).contains(&told[&200]), "{told:?}");
    }
}

#[tokio::test]
async fn postgres_goes_and_comes_back_under_load_and_no_cap_is_forgotten() {
    let mut server = Postgres::private();
    let database = server.fresh_database();
    let provider = provider();
    let more = format!("store:\n  url: \"{}\"\n", database.url());
    let gateway = gateway(&config(&provider, ["{max_daily_cost: 5}", "{}", "{}"], &more)).start().await;
    let known = |answer: &Answer| {
        let known = match answer.status {
            200 | 201 | 403 | 409 => true,
            503 | 504 => answer.header("retry-after").is_some(),
            _ => false,
        };
        assert!(known, "{} {:?}: {}", answer.status, answer.headers, answer.text());
    };
    let calls = Load::of(&call(&gateway, APP), known);
    let make = Call::post(gateway.at(TENANTS), &json!({"id": "made-once"})).bearer(ADMIN);
    let operator = Load::of(&make, known);
    for _ in 0..2 {
        let (served, refused) = (calls.count(200), calls.count(503));
        calls.tells(200, served + 20).await;
        server.crash();
        calls.tells(503, refused + 20).await;
        server.recover();
        // By itself, and the operator's requests too.
        calls.tells(200, calls.count(200) + 10).await;
        operator.tells(409, operator.count(409) + 3).await;
    }
    calls.tells(403, 20).await;
    let told = calls.end().await;
    assert_eq!(operator.end().await[&201], 1, "made once");
    let records = entries(&gateway, APP).await;
    let day = day(&gateway, APP, "app").await;
    assert_eq!(sum(&records), day.settled, "what was spent is on the record");
    assert!(day.settled + day.unsettled <= CENT.times(500), "{day:?}");
    let allowed = records.iter().filter(|record| record["allowed"] == true).count();
    assert!(
        told[&200] <= allowed && allowed <= provider.hits(),
        "{told:?}: {allowed} of {}",
        provider.hits()
    );
}
