//! The usage ledger from outside: exact counts over days and months, the same numbers as costs, evidence and Prometheus
//! tell, and prices.

use std::time::{Duration, Instant};

use bh_domain::money::NanoUsd;
use bh_domain::usage::UtcDay;
use bh_testkit::{Call, FakeProvider, Gateway, Reply, Script, Store, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::money::{
    ADMIN, APP, BATCH, CALL_TOKENS, CENT, WEB, amount, call, call_of, config, entries, gateway, read, reload,
    sum, tamper,
};

/// Two days that follow each other, in two months.
pub(crate) const FIRST: &str = "2026-03-31";
pub(crate) const SECOND: &str = "2026-04-01";
/// How long something that is on its way may take to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A provider that serves every model but one.
pub(crate) fn provider() -> FakeProvider {
    let provider = crate::money::provider();
    provider.on(|request| {
        let broken = request.json()["model"] == "broken";
        broken.then(|| Script::openai_error(400, "invalid_request_error", "no such thing"))
    });
    provider
}

pub(crate) fn tariff(api_calls_per_1k: &str) -> String {
    format!("billing: {{prices: {{api_calls_per_1k: {api_calls_per_1k}}}, included: {{api_calls: 2}}}}\n")
}

/// `app` may ask for anything but `gold`.
pub(crate) fn policies() -> [&'static str; 3] {
    ["{blocked_models: [gold]}", "{}", "{}"]
}

pub(crate) async fn started(store: Store, provider: &FakeProvider) -> Gateway {
    gateway(&config(provider, policies(), &tariff("0.5"))).store(store).start().await
}

/// Calls with known outcomes: of `app` three that are served, one that fails and two that are denied, and of `batch` so
/// many of a dearer model.
pub(crate) async fn traffic(gateway: &Gateway, dimes: usize) {
    for _ in 0..3 {
        assert_eq!(call(gateway, APP).send().await.status, 200);
    }
    assert_eq!(call_of(gateway, APP, "broken", CALL_TOKENS).send().await.status, 400);
    for _ in 0..2 {
        assert_eq!(call_of(gateway, APP, "gold", CALL_TOKENS).send().await.status, 403);
    }
    for _ in 0..dimes {
        assert_eq!(call_of(gateway, BATCH, "dime", CALL_TOKENS).send().await.status, 200);
    }
}

/// The `data` of an answer in the seed's envelope.
async fn data(gateway: &Gateway, key: &str, path: &str) -> Value {
    let mut told = read(gateway, key, path).await;
    assert_eq!(told["success"], true, "{path}: {told}");
    told["data"].take()
}

async fn metrics(gateway: &Gateway, first: &str, last: &str) -> Value {
    let path = format!("/api/v1/admin/tenants/acme/metrics?startDate={first}&endDate={last}");
    data(gateway, ADMIN, &path).await
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "it did not become so");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until the ledger has so many requests of the tenant: records become durable a moment after their answers.
pub(crate) async fn counted(gateway: &Gateway, requests: u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = metrics(gateway, "2026-01-01", "2028-01-01").await;
        if told["requests"]["total"] == requests {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {requests}: {told}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Makes what was counted after hour `after` happen in the hour that ends a day, or begins it.
pub(crate) fn move_to(gateway: &Gateway, after: i64, hour: i64) {
    let newest = "SELECT MAX(hour) FROM usage_hours";
    tamper(
        gateway,
        &format!("UPDATE usage_hours SET hour = hour - ({newest}) + {hour} WHERE hour > {after}"),
    );
}

/// Two days of traffic: the first one's in its last hour, the second one's in its first.
pub(crate) async fn two_days(gateway: &Gateway) {
    let last_hour = UtcDay::parse(SECOND).unwrap().first_hour().0 - 1;
    traffic(gateway, 1).await;
    counted(gateway, 7).await;
    move_to(gateway, 0, last_hour);
    traffic(gateway, 2).await;
    counted(gateway, 15).await;
    move_to(gateway, last_hour, last_hour + 1);
}

/// Waits until a table has no rows.
pub(crate) async fn emptied(gateway: &Gateway, table: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let rows = tamper(gateway, &format!("SELECT COUNT(*) FROM {table}"));
        if rows == "0" {
            return;
        }
        assert!(Instant::now() < deadline, "{table} has {rows} rows\n{}", gateway.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn tokens(calls: u64) -> Value {
    let (input, output) = (7 * calls, CALL_TOKENS * calls);
    json!({"total": input + output, "input": input, "output": output, "cacheRead": 0, "cacheWrite": 0, "reasoning": 0})
}

fn requests(total: u64, success: u64) -> Value {
    let failed = total / 7;
    json!({"total": total, "success": success, "failed": failed, "denied": total - success - failed})
}

/// Every sample of a counter that has these labels, added up.
async fn counter(gateway: &Gateway, name: &str, label: &str) -> u64 {
    let text = Call::get(gateway.at("/metrics")).bearer(ADMIN).send().await.text();
    let samples = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
    samples.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

on_both_stores! {
    /// Proves: CONN-12
    async fn metrics_over_two_days_tell_the_traffic_of_each_exactly(store) {
        let provider = provider();
        let gateway = started(store, &provider).await;
        two_days(&gateway).await;

        let both = metrics(&gateway, FIRST, SECOND).await;
        assert_eq!((&both["startDate"], &both["endDate"]), (&json!(FIRST), &json!(SECOND)));
        assert_eq!(both["requests"], requests(15, 9));
        assert_eq!(both["tokens"], tokens(9));
        assert_eq!(both["cost"], json!({"total": "0.36", "currency": "USD"}));
        assert_eq!((&both["tools"], &both["servers"]), (&json!({"invocations": 0}), &json!({"custom": 0, "hours": 0})));
        let [p50, p99] = ["p50", "p99"].map(|rank| both["latency"][rank].as_u64().unwrap());
        assert!(0 < p50 && p50 <= p99, "{both}");

        let day = |date, total, success: u64, cost| {
            json!({"date": date, "requests": requests(total, success), "tools": {"invocations": 0},
                "keys": {"verifications": 0, "valid": 0, "invalid": 0},
                "tokens": tokens(success), "cost": cost})
        };
        let [first, second] = [day(FIRST, 7, 4, "0.13"), day(SECOND, 8, 5, "0.23")];
        assert_eq!(both["byDay"], json!([first, second]));
        assert_eq!(metrics(&gateway, FIRST, FIRST).await["byDay"], json!([first]), "the last day is included");
        assert_eq!(metrics(&gateway, SECOND, SECOND).await["byDay"], json!([second]));

        let model = |provider, name, requests, calls, cost| {
            json!({"provider": provider, "model": name, "requests": requests, "tokens": tokens(calls), "cost": cost})
        };
        let served = |count| json!({"total": count, "success": count, "failed": 0, "denied": 0});
        let models = json!([
            model("openai", "dime", served(3), 3, "0.3"),
            model("openai", "penny", served(6), 6, "0.06"),
            model("", "", json!({"total": 4, "success": 0, "failed": 0, "denied": 4}), 0, "0"),
            model("openai", "broken", json!({"total": 2, "success": 0, "failed": 2, "denied": 0}), 0, "0"),
        ]);
        assert_eq!(both["byModel"], models);
        let days = format!("startDate={FIRST}&endDate={SECOND}");
        assert_eq!(data(&gateway, APP, &format!("/api/v1/usage/metrics?{days}")).await, both, "its own, the same");
        let others = data(&gateway, WEB, &format!("/api/v1/usage/metrics?{days}")).await;
        assert_eq!((&others["tenantId"], &others["requests"]["total"]), (&json!("globex"), &json!(0)));
        assert_eq!(others["latency"], Value::Null);
    }

    /// Proves: CONN-13
    async fn a_months_total_is_the_sum_of_its_items_and_months_turn_in_utc(store) {
        let provider = provider();
        let mut gateway = started(store, &provider).await;
        two_days(&gateway).await;

        let march = data(&gateway, ADMIN, "/api/v1/admin/tenants/acme/usage?month=2026-03").await;
        let april = data(&gateway, APP, "/api/v1/usage?month=2026-04").await;
        // Denied calls are free, and two are included: 3 and 4 at 0.5 per thousand.
        let told = |usage: &Value| {
            ["month", "apiCalls", "deniedCalls", "apiCallsCost", "llmCost", "totalCost"].map(|name| usage[name].clone())
        };
        let values = |month, calls, cost, llm, total| [json!(month), json!(calls), json!(2), json!(cost), json!(llm), json!(total)];
        assert_eq!(told(&march), values("2026-03", 5, "0.0015", "0.13", "0.1315"));
        assert_eq!(told(&april), values("2026-04", 6, "0.002", "0.23", "0.232"));
        for usage in [&march, &april] {
            let items = usage["lineItems"].as_array().unwrap();
            let names: Vec<&Value> = items.iter().map(|item| &item["description"]).collect();
            assert_eq!(names, ["API calls", "Tool invocations", "Custom servers", "Key verifications", "LLM usage"]);
            let total: NanoUsd = items.iter().map(|item| amount(&item["amount"])).sum();
            assert_eq!(amount(&usage["totalCost"]), total);
            assert_eq!(usage["currency"], "USD");
        }
        let empty = data(&gateway, ADMIN, "/api/v1/admin/tenants/acme/usage?month=2026-02").await;
        assert_eq!((&empty["apiCalls"], &empty["totalCost"]), (&json!(0), &json!("0")));

        reload(&mut gateway, &config(&provider, policies(), &tariff("1"))).await;
        let dearer = data(&gateway, APP, "/api/v1/usage?month=2026-04").await;
        assert_eq!((&dearer["apiCallsCost"], &dearer["totalCost"]), (&json!("0.004"), &json!("0.234")));
    }

    async fn usage_evidence_costs_and_prometheus_tell_the_same_also_after_a_kill(store) {
        let provider = provider();
        let mut gateway = started(store, &provider).await;
        let counted_so_far = async |gateway: &Gateway| counter(gateway, "bulkhead_llm_calls_total", "tenant=\"acme\"").await;
        traffic(&gateway, 2).await;
        counted(&gateway, 8).await;
        let before = counted_so_far(&gateway).await;
        gateway.kill9();
        gateway.restart().await;
        counted(&gateway, 8).await;
        traffic(&gateway, 3).await;
        counted(&gateway, 17).await;

        let told = metrics(&gateway, "2026-01-01", "2028-01-01").await;
        let records = entries(&gateway, APP).await;
        assert_eq!(records.len(), 17);
        assert_eq!(before + counted_so_far(&gateway).await, 17);
        let report = read(&gateway, ADMIN, "/v1/costs/report?tenant_id=acme&from=2026-01-01&to=2099-12-31").await;
        let cost = amount(&told["cost"]["total"]);
        assert_eq!((cost, cost), (amount(&report["total"]), sum(&records)));
        let denied: u64 = report["by_agent"].as_array().unwrap().iter().filter_map(|agent| agent["denied"].as_u64()).sum();
        assert_eq!(told["requests"]["denied"], denied);
    }

    async fn old_hours_become_days_without_a_sum_changing_and_older_days_go(store) {
        let provider = provider();
        let kept = |days: u32| format!("{}usage: {{retention_days: {days}}}\n", tariff("0.5"));
        let config = |days| config(&provider, policies(), &kept(days));
        let mut gateway = gateway(&config(36_500)).store(store).start().await;
        two_days(&gateway).await;
        let told = metrics(&gateway, FIRST, SECOND).await;
        let invoice = data(&gateway, APP, "/api/v1/usage?month=2026-04").await;

        // Housekeeping begins with the start.
        gateway.restart().await;
        emptied(&gateway, "usage_hours").await;
        assert_eq!(metrics(&gateway, FIRST, SECOND).await, told);
        assert_eq!(data(&gateway, APP, "/api/v1/usage?month=2026-04").await, invoice);
        // What is counted today is beside it.
        assert_eq!(call(&gateway, APP).send().await.status, 200);
        counted(&gateway, 16).await;

        gateway.try_restart_as(|setup| setup.config(&config(30))).await.unwrap();
        emptied(&gateway, "usage_days").await;
        counted(&gateway, 1).await;
    }

    async fn keys_that_are_verified_are_counted_beside_requests_and_have_a_price(store) {
        let provider = provider();
        let more = "billing: {prices: {key_verifications_per_1k: 2}, included: {key_verifications: 1}}\n";
        let mut gateway = gateway(&config(&provider, policies(), more)).store(store).start().await;
        let post = async |path: &str, body: &Value| {
            let call = Call::post(gateway.at(path), body).bearer(ADMIN).header("x-tenant-id", "acme");
            let answer = call.send().await;
            assert!(answer.status < 300, "{path}: {}", answer.text());
            answer.json()
        };
        let made = post("/v2alpha1/admin/issuedApiKeys", &json!({"name": "k"})).await;
        let good = json!({"credential": made["secret"]});
        let bad = json!({"credential": "nobody-s-key"});
        post("/v2alpha1/admin/apiKeys:verify", &good).await;
        post("/v2alpha1/admin/apiKeys:batchVerify", &json!({"requests": [good, bad, good]})).await;

        let wanted = json!({"verifications": 4, "valid": 3, "invalid": 1});
        let deadline = Instant::now() + PATIENCE;
        let today = "/api/v1/admin/tenants/acme/metrics";
        while data(&gateway, ADMIN, today).await["keys"] != wanted {
            assert!(Instant::now() < deadline, "{}", data(&gateway, ADMIN, today).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        post("/v2alpha1/admin/apiKeys:verify", &good).await;
        // What has been counted and not written yet is written at the end.
        assert!(gateway.terminate().await, "{}", gateway.output());
        gateway.restart().await;
        let told = data(&gateway, ADMIN, today).await;
        assert_eq!(told["keys"], json!({"verifications": 5, "valid": 4, "invalid": 1}));
        assert_eq!(told["requests"]["total"], 0, "nothing was asked of a provider");
        let month = data(&gateway, ADMIN, "/api/v1/admin/tenants/acme/usage").await;
        let priced = ["keyVerifications", "keyVerificationsCost", "totalCost"].map(|name| month[name].clone());
        assert_eq!(priced, [json!(5), json!("0.008"), json!("0.008")]);
    }

    async fn a_kill_among_calls_leaves_as_much_usage_as_evidence(store) {
        let provider = FakeProvider::start();
        provider.reply(Reply::text("ok").using(Usage::of(7, CALL_TOKENS)));
        provider.on(|_| {
            let usage = json!({"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17});
            Some(Script::json(200, &json!({"choices": [], "usage": usage})).after(Duration::from_millis(30)))
        });
        let mut gateway = started(store, &provider).await;
        let calls = tokio::spawn(calls_lost(call(&gateway, APP)));
        assert!(provider.hits_reach(40, PATIENCE).await);
        gateway.kill9();
        calls.await.unwrap();
        gateway.restart().await;
        let records = entries(&gateway, APP).await;
        let told = metrics(&gateway, "2026-01-01", "2028-01-01").await;
        assert_eq!(told["requests"]["total"], records.len());
        assert_eq!(amount(&told["cost"]["total"]), sum(&records));
        assert_eq!(sum(&records), CENT.times(i64::try_from(records.len()).unwrap()));
    }
}

/// Eighty calls at once, answered or not.
async fn calls_lost(call: Call) {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..80 {
        let call = call.clone();
        running.spawn(async move { drop(call.try_send().await) });
    }
    running.join_all().await;
}

#[tokio::test]
async fn what_nobody_can_be_told_is_refused_in_the_envelope() {
    let provider = provider();
    let gateway = started(Store::Sqlite, &provider).await;
    let asked = [
        (ADMIN, "/api/v1/admin/tenants/nobody/usage", 404, "TENANT_NOT_FOUND", "No such tenant"),
        (ADMIN, "/api/v1/admin/tenants/NO..BODY/metrics", 404, "TENANT_NOT_FOUND", "No such tenant"),
        (
            ADMIN,
            "/api/v1/admin/tenants/acme/usage?month=2026-13",
            400,
            "VALIDATION_ERROR",
            "`2026-13` is no month",
        ),
        (
            ADMIN,
            "/api/v1/admin/tenants/acme/metrics?startDate=21.11.2026",
            400,
            "VALIDATION_ERROR",
            "`startDate`",
        ),
        (
            ADMIN,
            "/api/v1/admin/tenants/acme/metrics?startDate=2026-03-02&endDate=2026-03-01",
            400,
            "VALIDATION_ERROR",
            "before",
        ),
        (
            ADMIN,
            "/api/v1/admin/tenants/acme/metrics?startDate=2020-01-01&endDate=2026-03-01",
            400,
            "VALIDATION_ERROR",
            "1100 days",
        ),
        (ADMIN, "/api/v1/usage", 400, "VALIDATION_ERROR", "/api/v1/admin/tenants/{id}/usage"),
    ];
    for (key, path, status, code, words) in asked {
        let answer = Call::get(gateway.at(path)).bearer(key).send().await;
        let told = answer.json();
        assert_eq!((answer.status, &told["error"]["code"]), (status, &json!(code)), "{path}: {told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(words), "{path}: {told}");
    }
    let foreign = Call::get(gateway.at("/api/v1/admin/tenants/acme/usage")).bearer(APP).send().await;
    assert_eq!(foreign.status, 401, "as on every admin route: {}", foreign.text());
}
