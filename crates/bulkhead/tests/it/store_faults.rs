//! A store that cannot be written: no call is forwarded that could not be put on the record, and nothing is lost.

use std::process::Command;
use std::time::Duration;

use bh_testkit::{Call, FakeProvider, Gateway, Postgres, Script};
use serde_json::json;

use crate::money::{APP, CENT, at_once, call, config, count_of, day, entries, gateway, provider, read, sum};

const REFUSED_CALLS: usize = 3;

/// A gateway on SQLite whose files can be kept from being written: under a file size limit of nothing each write
/// fails, as it does on a full disk. It ignores the signal that comes with it, which a full disk does not send.
async fn on_sqlite(config: &str) -> Gateway {
    let binary = env!("CARGO_BIN_EXE_bulkhead");
    let script = "trap '' XFSZ; exec \"$0\" serve";
    let builder = Gateway::builder("/bin/sh").args(&["-c", script, binary]).config(config);
    builder.env("BULKHEAD_ADMIN_KEY", crate::money::ADMIN).start().await
}

/// The largest file the process may write: `0` or `unlimited`.
fn limit_files(gateway: &Gateway, bytes: &str) {
    let pid = gateway.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status().unwrap();
    assert!(done.success(), "prlimit {pid} {bytes}");
}

async fn readiness_becomes(gateway: &Gateway, status: u16) {
    for _ in 0..400 {
        let ready = Call::get(gateway.at("/readyz?verbose")).send().await;
        let evidence = if status == 200 { "ok" } else { "failing" };
        if ready.status == status && ready.json()["checks"]["evidence"] == evidence {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("/readyz never became {status}:\n{}", gateway.output());
}

/// One call went through, and the store has just been broken: every further one is refused before the provider.
async fn calls_are_refused(gateway: &Gateway, provider: &FakeProvider) {
    readiness_becomes(gateway, 503).await;
    let answers = at_once(&call(gateway, APP), REFUSED_CALLS - 1).await;
    assert_eq!(count_of(&answers, 503), REFUSED_CALLS - 1);
    for answer in &answers {
        assert_eq!(answer.json()["error"]["code"], "evidence_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    let body = json!({"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let ask = Call::post(gateway.at("/v1/proxy/anthropic/v1/messages"), &body).header("x-api-key", APP);
    let anthropic = ask.send().await;
    let said = anthropic.json();
    assert_eq!((anthropic.status, &said["type"]), (503, &json!("error")));
    assert_eq!(said["error"]["code"], "evidence_unavailable", "{said}");
    assert_eq!(provider.hits(), 1, "the provider is untouched");
}

/// The store is back: calls go through again, and what happened meanwhile is on the record.
async fn all_is_well_again(gateway: &Gateway, provider: &FakeProvider) {
    readiness_becomes(gateway, 200).await;
    assert_eq!(call(gateway, APP).send().await.status, 200);
    assert_eq!(provider.hits(), 2);
    let records = entries(gateway, APP).await;
    let refused: Vec<_> = records.iter().filter(|record| record["allowed"] == false).collect();
    assert_eq!(
        (records.len(), refused.len(), sum(&records)),
        (REFUSED_CALLS + 2, REFUSED_CALLS, CENT.times(2))
    );
    assert_eq!(day(gateway, APP, "app").await.settled, CENT.times(2));
    for record in &records {
        let id = record["id"].as_str().unwrap();
        assert_eq!(read(gateway, APP, &format!("/v1/evidence/{id}/verify")).await["valid"], true);
    }
    let refused = read(gateway, APP, &format!("/v1/evidence/{}", refused[0]["id"].as_str().unwrap())).await;
    assert_eq!(
        (&refused["failure_reason"], &refused["durability"]),
        (&json!("evidence_unavailable"), &json!("relaxed"))
    );
}

/// Proves: TALON-43
#[tokio::test]
async fn while_sqlite_cannot_be_written_no_call_is_forwarded() {
    let provider = provider();
    let gateway = on_sqlite(&config(&provider, ["{}"; 3], "")).await;
    assert_eq!(call(&gateway, APP).send().await.status, 200);
    limit_files(&gateway, "0");
    calls_are_refused(&gateway, &provider).await;
    limit_files(&gateway, "unlimited");
    all_is_well_again(&gateway, &provider).await;
}

/// Proves: TALON-43
#[tokio::test]
async fn while_postgres_is_down_no_call_is_forwarded() {
    let mut server = Postgres::private();
    let database = server.fresh_database();
    let provider = provider();
    let more = format!("store:\n  url: \"{}\"\n", database.url());
    let gateway = gateway(&config(&provider, ["{}"; 3], &more)).start().await;
    assert_eq!(call(&gateway, APP).send().await.status, 200);
    server.crash();
    calls_are_refused(&gateway, &provider).await;
    server.recover();
    all_is_well_again(&gateway, &provider).await;
}

/// A call that is with the provider when the store fails keeps its end back until its record is durable.
#[tokio::test]
async fn the_end_of_an_answer_waits_for_a_store_that_comes_back() {
    let provider = provider();
    let gateway = on_sqlite(&config(&provider, ["{}"; 3], "")).await;
    assert_eq!(call(&gateway, APP).send().await.status, 200);
    let body =
        json!({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 10, "total_tokens": 17}});
    provider.then(Script::json(200, &body).after(Duration::from_millis(500)));
    let running = tokio::spawn({
        let call = call(&gateway, APP);
        async move { call.send().await }
    });
    assert!(provider.hits_reach(2, Duration::from_secs(10)).await);
    limit_files(&gateway, "0");
    readiness_becomes(&gateway, 503).await;
    limit_files(&gateway, "unlimited");
    let answer = running.await.unwrap();
    assert_eq!((answer.status, answer.json()), (200, body));
    let records = entries(&gateway, APP).await;
    assert_eq!(records[0]["id"].as_str(), answer.header("x-bulkhead-request-id"));
    assert_eq!((records.len(), day(&gateway, APP, "app").await.settled), (2, CENT.times(2)));
}

/// With `on_failure: degrade` calls go on, none of them waits, and each one's record says what it went without.
#[tokio::test]
async fn with_degrade_calls_go_on_and_the_gap_is_on_the_record() {
    let provider = provider();
    let gateway = on_sqlite(&config(&provider, ["{}"; 3], "evidence: {on_failure: degrade}\n")).await;
    assert_eq!(call(&gateway, APP).send().await.status, 200);
    limit_files(&gateway, "0");
    // The first call finds out; the others know.
    for _ in 0..3 {
        let answer = call(&gateway, APP).send().await;
        assert_eq!((answer.status, &answer.json()["object"]), (200, &json!("chat.completion")));
    }
    readiness_becomes(&gateway, 503).await;
    assert_eq!(count_of(&at_once(&call(&gateway, APP), 5).await, 200), 5);
    assert_eq!(provider.hits(), 9);
    limit_files(&gateway, "unlimited");
    readiness_becomes(&gateway, 200).await;
    assert_eq!(call(&gateway, APP).send().await.status, 200);

    let records = entries(&gateway, APP).await;
    assert_eq!((records.len(), sum(&records)), (10, CENT.times(10)), "nothing is lost");
    assert_eq!(day(&gateway, APP, "app").await.settled, CENT.times(10));
    let mut degraded = 0;
    for entry in &records {
        let record = read(&gateway, APP, &format!("/v1/evidence/{}", entry["id"].as_str().unwrap())).await;
        let noted = record["gateway_annotations"] == json!(["evidence_degraded"]);
        assert_eq!(record["durability"], if noted { "relaxed" } else { "strict" });
        degraded += usize::from(noted);
    }
    assert_eq!(degraded, 8);
}
