//! Limits of tenants that several gateways count together in Redis (`RATE_LIMIT_STORE=redis`), and what holds while it is
//! gone.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, Gateway, Redis, Store, on_both_stores};
use serde_json::json;

use crate::llm_setup::{PATIENCE, PRICES, binary, config, providers};
use crate::money::{at_once, count_of};
use crate::tenant_limits::{ADMIN_KEY, House};
use crate::verify_setup::metric;

const COSTS: &str = "/v1/costs";
/// What two gateways on one store have in common.
const SHARED: &str = "secrets: {master_key: a-master-key-that-replicas-share-01, evidence_key: an-evidence-key-that-replicas-share, signing_key: 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a}\n";
const UP: &str = "bulkhead_rate_limit_store_up";

/// Counts on this server, with more patience than a loaded machine needs.
fn on(redis: &Redis, more: &str) -> String {
    format!(
        "redis: {{url: \"redis://{}/0\"}}\nrate_limit: {{backend: redis, timeout: 10s{more}}}\n",
        redis.address()
    )
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

/// A second gateway on the store of the first.
async fn beside(house: &House, more: &str) -> Gateway {
    let url = house.gateway.database().unwrap().url();
    let more = format!("{PRICES}store: {{url: \"{url}\"}}\n{SHARED}{more}");
    let other = binary().config(&config(&providers(house.provider.url()), "{}", &more));
    other.env("ADMIN_API_KEY", ADMIN_KEY).start().await
}

async fn read(gateway: &Gateway, key: &str) -> Answer {
    Call::get(gateway.at(COSTS)).bearer(key).send().await
}

/// Asks until a gateway has heard of a tenant that another one made: nothing of it is counted.
async fn until_known(gateway: &Gateway, id: &str) {
    let deadline = Instant::now() + PATIENCE;
    let path = format!("/api/v1/admin/tenants/{id}");
    while Call::get(gateway.at(&path)).bearer(ADMIN_KEY).send().await.status != 200 {
        assert!(Instant::now() < deadline, "{id} is not heard of: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Asks until the gateway knows whether the counts answer.
async fn until_up(gateway: &Gateway, key: &str, up: u64) {
    let deadline = Instant::now() + PATIENCE;
    while metric(gateway, UP).await != up {
        let answer = read(gateway, key).await;
        assert!([200, 429, 503].contains(&answer.status), "{}", answer.text());
        assert!(Instant::now() < deadline, "{UP} is not {up}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Proves: CONN-24, CONN-27
#[tokio::test]
async fn two_gateways_hold_a_tenant_to_one_limit_and_what_they_count_carries_its_prefix() {
    let redis = Redis::private();
    let more = on(&redis, "");
    let house = House::start(Store::Postgres, &format!("{SHARED}{more}")).await;
    let other = beside(&house, &more).await;
    let key = house.limited("acme-corp", json!({"requestsPerHour": 10, "requestsPerDay": 1_000})).await;
    let free = house.limited("globex", json!({})).await;
    let here = Call::get(house.gateway.at(COSTS)).bearer(&key);
    let there = Call::get(other.at(COSTS)).bearer(&key);
    let (one, two) = tokio::join!(at_once(&here, 8), at_once(&there, 8));
    assert_eq!(count_of(&one, 200) + count_of(&two, 200), 10);
    assert_eq!(count_of(&one, 429) + count_of(&two, 429), 6);
    for refused in one.iter().chain(&two).filter(|answer| answer.status == 429) {
        assert_eq!(refused.json()["retryAfter"].to_string(), refused.header("retry-after").unwrap());
        assert_eq!(refused.header("x-ratelimit-limit"), Some("10"));
    }
    assert_eq!((read(&house.gateway, &free).await.status, read(&other, &free).await.status), (200, 200));
    // What a longer window had room for was not taken from it by what a shorter one refused.
    let mut names = redis.names();
    names.sort();
    let windows =
        |tenant: &str| ["day", "hour", "minute"].map(|window| format!("tenant:{tenant}:rate:{window}"));
    let expected: Vec<String> = ["acme-corp", "globex"].iter().flat_map(|tenant| windows(tenant)).collect();
    let missing: Vec<&String> = names.iter().filter(|name| !expected.contains(name)).collect();
    assert_eq!(missing, Vec::<&String>::new());
    assert!(names.contains(&"tenant:acme-corp:rate:hour".to_owned()), "{names:?}");
    for name in &names {
        assert_ne!(text(redis.ask(&["TTL", name])), "-1", "{name} never ends");
    }
    let left: u64 = text(redis.ask(&["PTTL", "tenant:acme-corp:rate:day"])).parse().unwrap();
    assert!(left <= 10 * 86_400, "ten of a thousand a day: {left} ms");
    assert_eq!(metric(&house.gateway, "bulkhead_rate_limit_store_faults_total").await, 0);
}

on_both_stores! {
    async fn counts_outlive_the_process_that_made_them_and_are_named_as_configured(store) {
        let redis = Redis::private();
        let names = "multiTenant: {isolation: {separateRedisNamespace: false}}\n";
        let server = redis.address();
        let more = format!("{names}redis: {{url: \"redis://{server}/3\", tenant_prefix: mt}}\nrate_limit: {{backend: redis, timeout: 10s}}\n");
        let mut house = House::start(store, &more).await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 4})).await;
        assert_eq!(count_of(&at_once(&house.read(&key, COSTS), 3).await, 200), 3);
        house.gateway.kill9();
        house.gateway.restart().await;
        let answers = at_once(&house.read(&key, COSTS), 3).await;
        assert_eq!((count_of(&answers, 200), count_of(&answers, 429)), (1, 2));
        let names = text(redis.ask(&["-n", "3", "KEYS", "*"]));
        assert!(names.lines().all(|name| name.starts_with("mt:rate:acme-corp:")), "{names}");
    }

    /// Proves: CONN-24
    async fn with_limits_off_no_tenant_is_refused(store) {
        let yaml = "rate_limit: {enabled: false}\nmultiTenant: {rateLimits: {requestsPerMinute: 1}}\n";
        let house = House::start(store, yaml).await;
        let key = house.limited("acme-corp", json!({"requestsPerHour": 2})).await;
        let answers = at_once(&house.read(&key, COSTS), 6).await;
        assert_eq!(count_of(&answers, 200), 6);
        assert!(answers.iter().all(|answer| answer.header("x-ratelimit-limit").is_none()));
    }
}

/// One gateway with limits of ten an hour, whose Redis is gone once the first three were counted there.
async fn orphaned(redis: &mut Redis, on_outage: &str) -> (House, String) {
    let more = on(redis, on_outage);
    let house = House::start(Store::Postgres, &format!("{SHARED}{more}")).await;
    let key = house.limited("acme-corp", json!({"requestsPerHour": 10})).await;
    assert_eq!(count_of(&at_once(&house.read(&key, COSTS), 3).await, 200), 3);
    redis.crash();
    (house, key)
}

fn of_calls(answers: &[Answer]) -> (usize, usize) {
    assert!(answers.iter().all(|answer| answer.status != 500));
    (count_of(answers, 200), count_of(answers, 429))
}

/// Proves: CONN-25
#[tokio::test]
async fn without_redis_each_gateway_has_its_part_and_what_it_had_let_in_counts() {
    let mut redis = Redis::private();
    let (house, key) = orphaned(&mut redis, "").await;
    // Alone, its part is the whole: three of it are used.
    assert_eq!(of_calls(&at_once(&house.read(&key, COSTS), 12).await), (7, 5));
    until_up(&house.gateway, &key, 0).await;
    assert!(metric(&house.gateway, "bulkhead_rate_limit_store_faults_total").await >= 3);
    assert!(house.gateway.prints("the shared counts of requests do not answer", PATIENCE).await);
    // With two on the store, each has half.
    let other = beside(&house, &on(&redis, "")).await;
    let fresh = house.limited("globex", json!({"requestsPerHour": 10})).await;
    let deadline = Instant::now() + PATIENCE;
    while read(&house.gateway, &key).await.header("x-ratelimit-limit") != Some("5") {
        assert!(Instant::now() < deadline, "the second gateway is not seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for gateway in [&house.gateway, &other] {
        let call = Call::get(gateway.at(COSTS)).bearer(&fresh);
        assert_eq!(of_calls(&at_once(&call, 8).await), (5, 3));
    }
    // And as one again, as soon as it is back.
    redis.start();
    until_up(&house.gateway, &key, 1).await;
    until_up(&other, &key, 1).await;
    let last = house.limited("initech", json!({"requestsPerHour": 10})).await;
    let here = Call::get(house.gateway.at(COSTS)).bearer(&last);
    let there = Call::get(other.at(COSTS)).bearer(&last);
    until_known(&other, "initech").await;
    let (one, two) = tokio::join!(at_once(&here, 8), at_once(&there, 8));
    assert_eq!(count_of(&one, 200) + count_of(&two, 200), 10);
    assert!(house.gateway.prints("the shared counts of requests answer again", PATIENCE).await);
}

/// Proves: CONN-25
#[tokio::test]
async fn without_redis_an_open_gateway_lets_all_in_and_a_closed_one_says_when_to_come_back() {
    let mut redis = Redis::private();
    let (house, key) = orphaned(&mut redis, ", on_outage: open").await;
    assert_eq!(of_calls(&at_once(&house.read(&key, COSTS), 20).await), (20, 0));
    drop(house);
    let mut redis = Redis::private();
    let (house, key) = orphaned(&mut redis, ", on_outage: closed").await;
    let answers = at_once(&house.read(&key, COSTS), 5).await;
    assert_eq!(count_of(&answers, 503), 5);
    for answer in &answers {
        assert_eq!(
            (answer.header("retry-after"), &answer.json()["error"]),
            (Some("1"), &json!("rate_limit_unavailable"))
        );
    }
    let call = house.chat(&key).send().await;
    assert_eq!((call.status, &call.json()["error"]["code"]), (503, &json!("rate_limit_unavailable")));
    assert_eq!((call.header("retry-after"), house.provider.hits()), (Some("1"), 0));
    redis.start();
    until_up(&house.gateway, &key, 1).await;
    assert_eq!(read(&house.gateway, &key).await.status, 200);
}

/// One that does not answer is not waited for, and no request is counted twice for having waited.
#[tokio::test]
async fn a_redis_that_hangs_holds_nobody_up() {
    let redis = Redis::private();
    let more = on(&redis, "").replace("10s", "100ms");
    let house = House::start(Store::Sqlite, &more).await;
    let key = house.limited("acme-corp", json!({"requestsPerHour": 10})).await;
    assert_eq!(count_of(&at_once(&house.read(&key, COSTS), 3).await, 200), 3);
    assert_eq!(text(redis.ask(&["CLIENT", "PAUSE", "600000", "ALL"])), "OK");
    assert_eq!(of_calls(&at_once(&house.read(&key, COSTS), 12).await), (7, 5));
    until_up(&house.gateway, &key, 0).await;
    let refused = read(&house.gateway, &key).await;
    assert_eq!((refused.status, &refused.json()["error"]), (429, &json!("Rate limit exceeded")));
}
