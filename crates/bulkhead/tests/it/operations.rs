//! What those see who run a gateway: probes, metrics, and its end (Connectors dossier §14).

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bh_testkit::{Call, Gateway, Http2, Redis, Script, Store, on_both_stores, parts};
use serde_json::{Value, json};

use crate::llm_setup::{CHAT, KEY, PATIENCE, PRICES, Rig, chat, rig_with};
use crate::money::tamper;

const ADMIN: &str = "ops-admin-key-7f21c9";
/// A call that is still running when everything else was tried.
const LONG: Duration = Duration::from_secs(10);

async fn rig(store: Store, more: &str) -> Rig {
    let admin = format!("admin_keys: [{{name: ops, key: {ADMIN}, role: admin}}]\n");
    rig_with(store, "{max_daily_cost: 1000}", &format!("{PRICES}{admin}{more}")).await
}

async fn read(gateway: &Gateway, path: &str) -> Value {
    Call::get(gateway.at(path)).bearer(ADMIN).send().await.json()
}

/// Waits until the gateway has heard that it is to end.
async fn stops(gateway: &Gateway) {
    let deadline = Instant::now() + PATIENCE;
    gateway.ask_to_end();
    // A connection of the moment in between may be reset.
    while Call::get(gateway.at("/readyz")).try_send().await.map_or(0, |ready| ready.status) != 503 {
        assert!(Instant::now() < deadline, "it is still ready");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

on_both_stores! {
    /// Proves: CONN-62
    async fn a_gateway_that_is_told_to_end_finishes_what_runs_and_refuses_what_comes(store) {
        let mut rig = rig(store, "server:\n  drain_timeout_ms: 30000\n").await;
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
        rig.provider.then(Script::json(200, &json!({"choices": [], "usage": usage})).after(LONG));
        let slow = |call: Call| tokio::spawn(async move { call.try_send().await });
        let running = slow(rig.post(CHAT, &chat("thinker")));
        assert!(rig.provider.hits_reach(1, PATIENCE).await);
        stops(&rig.gateway).await;
        // In each door's own words, on connections of either protocol.
        let late = rig.post(CHAT, &chat("thinker")).send().await;
        assert_eq!((late.status, late.header("retry-after")), (503, Some("1")), "{}", late.text());
        assert_eq!(late.json()["error"]["code"], "shutting_down");
        let message = json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
        let late = Call::post(rig.gateway.at("/v1/messages"), &message).header("x-api-key", KEY).send().await;
        assert_eq!((late.status, &late.json()["type"]), (503, &json!("error")), "{}", late.text());
        let late = Http2::connect(rig.gateway.url()).await.send(&Call::get(rig.gateway.at("/v1/costs")).bearer(KEY)).await;
        assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
        let late = Call::post(rig.gateway.at("/api/v1/admin/tenants"), &json!({"id": "late"})).bearer(ADMIN).send().await;
        assert_eq!((late.status, &late.json()["error"]["code"]), (503, &json!("SHUTTING_DOWN")), "{}", late.text());
        assert_eq!(Call::get(rig.gateway.at("/healthz")).send().await.status, 200, "it lives");
        assert_eq!(read(&rig.gateway, "/readyz").await["status"], "stopping");
        assert_eq!(rig.provider.hits(), 1);
        assert_eq!(running.await.unwrap().unwrap().status, 200);
        assert!(rig.gateway.terminate().await, "{}", rig.gateway.output());
        rig.gateway.restart().await;
        let records = read(&rig.gateway, "/v1/evidence?tenant_id=*").await;
        assert_eq!(records["entries"].as_array().unwrap().len(), 1, "{records}");
        let late = Call::get(rig.gateway.at("/api/v1/admin/tenants/late")).bearer(ADMIN).send().await;
        assert_eq!(late.status, 404);
    }

    /// A drain may take longer than a silence that means death: another replica must not count what it holds as lost.
    async fn a_gateway_that_drains_says_that_it_lives_until_it_has_ended(store) {
        let mut rig = rig(store, "server:\n  drain_timeout_ms: 60000\n").await;
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
        let script = Script::json(200, &json!({"choices": [], "usage": usage}));
        rig.provider.then(script.after(LONG * 2));
        let call = rig.post(CHAT, &chat("thinker"));
        let running = tokio::spawn(async move { call.try_send().await });
        assert!(rig.provider.hits_reach(1, PATIENCE).await);
        stops(&rig.gateway).await;
        // One beat may be on its way when it is told to end; of two, the second is the drain's.
        for _ in 0..2 {
            tamper(&rig.gateway, "UPDATE holders SET seen_ms = 0");
            let deadline = Instant::now() + PATIENCE;
            while tamper(&rig.gateway, "SELECT max(seen_ms) FROM holders") == "0" {
                assert!(!running.is_finished(), "it has not said so while the call ran");
                assert!(Instant::now() < deadline, "it has not said so");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        assert_eq!(running.await.unwrap().unwrap().status, 200);
        assert!(rig.gateway.terminate().await, "{}", rig.gateway.output());
        assert_eq!(tamper(&rig.gateway, "SELECT count(*) FROM holders"), "0", "and no longer");
    }

    /// Proves: CONN-62
    async fn metrics_ledger_and_evidence_count_the_same_calls(store) {
        let rig = rig(store, "").await;
        rig.provider.then(Script::json(400, &json!({"error": {"message": "no"}})));
        let statuses = [
            rig.post(CHAT, &chat("thinker")).send().await.status,
            rig.post(CHAT, &chat("thinker")).send().await.status,
            rig.post(CHAT, &chat("thinker")).send().await.status,
            rig.post(CHAT, &chat("nobody-knows-it")).send().await.status,
        ];
        let told = statuses.iter().filter(|status| **status == 200).count() as u64;
        let deadline = Instant::now() + PATIENCE;
        let ledger = loop {
            let ledger = read(&rig.gateway, "/api/v1/admin/tenants/acme/metrics").await["data"].take();
            if ledger["requests"]["total"] == 4 {
                break ledger;
            }
            assert!(Instant::now() < deadline, "{ledger}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let totals = read(&rig.gateway, "/api/v1/metrics").await;
        let metrics = &totals["metrics"];
        assert_eq!(metrics["requests"], ledger["requests"], "{totals}");
        assert_eq!((&metrics["requests"]["success"], &metrics["latency"]), (&json!(told), &ledger["latency"]));
        assert_eq!(metrics["tokenUsage"]["total"], ledger["tokens"]["total"], "{ledger}");
        assert!(metrics["tokenUsage"]["average"].as_u64().is_some_and(|average| average > 0), "{totals}");
        assert_eq!(metrics["cost"]["total"], ledger["cost"]["total"], "{ledger}");
        let evidence = read(&rig.gateway, "/v1/evidence?tenant_id=acme").await;
        assert_eq!(evidence["entries"].as_array().unwrap().len(), 4, "{evidence}");
    }

    /// Proves: CONN-62
    async fn prometheus_finds_nothing_wrong_with_the_metrics(store) {
        let rig = rig(store, "").await;
        assert_eq!(rig.post(CHAT, &chat("thinker")).send().await.status, 200);
        let plain = Call::get(rig.gateway.at("/metrics")).send().await;
        assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(plain.text().contains("\n# TYPE bulkhead_llm_calls_total counter\n"), "{}", plain.text());
        let mut promtool = Command::new(parts::promtool());
        promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut checking = promtool.spawn().unwrap();
        checking.stdin.take().unwrap().write_all(plain.text().as_bytes()).unwrap();
        let checked = checking.wait_with_output().unwrap();
        assert!(checked.status.success() && checked.stdout.is_empty(), "{checked:?}");
        // What Prometheus itself asks for.
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
        let open = Call::get(rig.gateway.at("/metrics")).header("accept", accept).send().await;
        assert!(open.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")));
        assert!(open.text().contains("\n# TYPE bulkhead_llm_calls counter\n") && open.text().ends_with("# EOF\n"));
    }

    /// Proves: CONN-62
    async fn readiness_tells_each_dependency_apart(store) {
        let mut redis = Redis::private();
        let shared = format!("redis: {{url: \"redis://{}/0\"}}\nrate_limit: {{backend: redis, timeout: 10s}}\n\
             tenants: [{{id: acme, rate_limits: {{requests_per_minute: 5000}}}}]\n", redis.address());
        let rig = rig(store, &shared).await;
        let checks = async || read(&rig.gateway, "/readyz?verbose").await["checks"].take();
        let mut ok = json!({"store": "ok", "evidence": "ok", "rate_limit_store": "ok", "config": "current", "tenants": "ok"});
        assert_eq!(checks().await, ok);
        redis.crash();
        let deadline = Instant::now() + PATIENCE;
        ok["rate_limit_store"] = json!("failing");
        while checks().await != ok {
            // Without it calls go on, within this process's part of each limit.
            assert_eq!(Call::get(rig.gateway.at("/v1/costs")).bearer(KEY).send().await.status, 200);
            assert!(Instant::now() < deadline, "{}", checks().await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(Call::get(rig.gateway.at("/readyz")).send().await.status, 200);
    }
}
