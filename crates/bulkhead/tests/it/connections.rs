//! Connections that do nothing, clients that do not read, and calls that are cut off when the gateway stops.

use std::time::{Duration, Instant};

use bh_domain::money::NanoUsd;
use bh_testkit::{Call, Ending, Gateway, Headers, Http2, RawSocket, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{CHAT, KEY, PRICES, Rig, chat, outcome, rig_with, streamed};
use crate::money::{Day, amount, day};

/// What must not take for ever may take on a machine that is busy with other tests. Well below the limits' defaults.
const PATIENCE: Duration = Duration::from_secs(20);
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const CAPPED: &str = "{max_daily_cost: 1000}";

async fn rig_that(store: Store, server: &str) -> Rig {
    rig_with(store, CAPPED, &format!("{PRICES}server:\n  {server}\n")).await
}

/// Waits until no call is under way.
async fn comes_to_rest(gateway: &Gateway) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = Call::get(gateway.at("/metrics")).send().await.text();
        if metrics.lines().any(|line| line == "bulkhead_in_flight 0") {
            return;
        }
        assert!(Instant::now() < deadline, "calls are still under way");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A long event of a chat stream.
fn long_word() -> Vec<u8> {
    let word = "word ".repeat(3_000);
    let delta = json!({"index": 0, "delta": {"content": word}, "finish_reason": null});
    format!("data: {}\n\n", json!({"id": "c", "choices": [delta]})).into_bytes()
}

/// A stream that says so much and then nothing, for as long as it is listened to.
fn long_stream(words: usize) -> Script {
    Script::stream(vec![long_word(); words]).ending(Ending::Hang)
}

#[tokio::test]
async fn a_connection_without_a_complete_first_head_is_closed() {
    let rig = rig_that(Store::Sqlite, "header_timeout_ms: 300").await;
    for opening in ["", "P", "PRI * HTTP/2", "POST", "GET /v1/status HTTP/1.1\r\nhost: x\r\n"] {
        let mut socket = RawSocket::connect(rig.gateway.url()).await;
        assert!(socket.write(opening).await);
        assert!(socket.closes_within(PATIENCE).await, "{opening:?}");
    }
}

#[tokio::test]
async fn a_head_whose_first_bytes_dribble_in_is_read_whole() {
    let rig = rig_that(Store::Sqlite, "header_timeout_ms: 20000").await;
    // Begins like HTTP/2's preface, and is none.
    for method in ["POST", "PRINT", "PRI"] {
        let head = format!(
            "{method} /v1/nowhere HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let mut socket = RawSocket::connect(rig.gateway.url()).await;
        for byte in head.bytes() {
            assert!(socket.write([byte]).await);
            tokio::task::yield_now().await;
        }
        let answer = socket.read_for(PATIENCE).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{method}: {answer}");
    }
}

#[tokio::test]
async fn a_later_head_that_does_not_end_is_cut_off_and_idleness_is_not() {
    let rig = rig_that(Store::Sqlite, "header_timeout_ms: 300").await;
    let whole = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut socket = RawSocket::connect(rig.gateway.url()).await;
    for _ in 0..2 {
        assert!(socket.write(whole).await);
        let answer = socket.read_until("uptime_seconds", PATIENCE).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        // Silent for longer than a head may take: that is idle, not slow.
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    assert!(socket.write("GET /healthz HTTP/1.1\r\nho").await);
    assert!(socket.closes_within(PATIENCE).await);
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_once_it_is_idle() {
    let rig = rig_that(Store::Sqlite, "idle_timeout_ms: 300\n  write_timeout_ms: 300").await;
    let mut http1 = RawSocket::connect(rig.gateway.url()).await;
    assert!(http1.write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await);
    assert!(http1.closes_within(PATIENCE).await, "HTTP/1 after a call");

    let mut http2 = Http2::connect(rig.gateway.url()).await;
    assert_eq!(http2.send(&Call::get(rig.gateway.at("/healthz"))).await.status, 200);
    assert!(http2.closes_within(PATIENCE).await, "HTTP/2 after a call");
    let mut unused = Http2::connect(rig.gateway.url()).await;
    assert!(unused.closes_within(PATIENCE).await, "HTTP/2 without a call");
    let mut silent = RawSocket::connect(rig.gateway.url()).await;
    assert!(silent.write(PREFACE).await);
    assert!(silent.closes_within(PATIENCE).await, "a preface and nothing else");
}

#[tokio::test]
async fn a_call_may_take_longer_than_a_connection_may_be_idle() {
    let rig = rig_that(Store::Sqlite, "idle_timeout_ms: 200\n  header_timeout_ms: 200").await;
    let slow = Script::json(200, &json!({"choices": []})).after(Duration::from_millis(900));
    rig.provider.then(slow.clone());
    assert_eq!(rig.post(CHAT, &chat("thinker")).send().await.status, 200);
    rig.provider.then(slow);
    let http2 = Http2::connect(rig.gateway.url()).await;
    assert_eq!(http2.send(&rig.post(CHAT, &chat("thinker"))).await.status, 200);
}

/// Status and reason of a call whose client no longer reads, and of one that the gateway's stop ended.
const LEFT: (&str, &str) = ("client_disconnected", "client_disconnected");
const CUT_OFF: (&str, &str) = ("stopped", "gateway_stopped");

/// The call of these headers is over, paid for, and holds nothing.
async fn was_settled(rig: &Rig, headers: &Headers, ended: (&str, &str)) -> Value {
    let record = rig.record(headers).await;
    let (status, reason, cost) = outcome(&record);
    assert_eq!((status, reason), (ended.0, Some(ended.1)), "{record}");
    assert!(cost > 0, "what was used is paid for");
    record
}

on_both_stores! {
    async fn a_client_that_stops_reading_loses_its_call_which_settles(store) {
        let rig = rig_that(store, "write_timeout_ms: 500").await;
        // More than all buffers between the provider and the client can take.
        rig.provider.then(long_stream(6_000));
        let unread = rig.post(CHAT, &streamed("thinker")).stream().await;
        assert!(rig.provider.sees_a_hang_up(PATIENCE).await, "the provider's call ends");
        was_settled(&rig, &unread.headers, LEFT).await;
        comes_to_rest(&rig.gateway).await;
        drop(unread);
    }

    async fn a_closed_http2_window_ends_its_own_stream_and_no_other(store) {
        let rig = rig_that(store, "write_timeout_ms: 500").await;
        let http2 = Http2::connect(rig.gateway.url()).await;
        // The client's system takes every byte: the socket is never the obstacle.
        rig.provider.then(long_stream(40));
        let mut unread = http2.stream(&rig.post(CHAT, &streamed("thinker"))).await.unwrap();
        assert!(rig.provider.sees_a_hang_up(PATIENCE).await, "the provider's call ends");
        was_settled(&rig, &unread.headers, LEFT).await;
        comes_to_rest(&rig.gateway).await;
        let ended = loop {
            match unread.next().await {
                Ok(Some(_)) => {}
                other => break other,
            }
        };
        assert!(ended.is_err(), "an answer that was cut off does not look whole");
        assert_eq!(http2.send(&rig.post(CHAT, &chat("thinker"))).await.status, 200, "on the same connection");
    }

    /// A stop that cannot wait any longer cuts calls off, and still books each of them.
    async fn calls_that_outlive_the_drain_limit_are_cut_off_and_on_the_record(store) {
        let mut rig = rig_that(store, "drain_timeout_ms: 300").await;
        let http2 = Http2::connect(rig.gateway.url()).await;
        rig.provider.then(long_stream(2));
        let mut first = rig.post(CHAT, &streamed("thinker")).stream().await;
        first.next().await.unwrap().expect("the stream has begun");
        rig.provider.then(long_stream(2));
        let mut second = http2.stream(&rig.post(CHAT, &streamed("thinker"))).await.unwrap();
        second.next().await.unwrap().expect("the stream has begun");
        // One more has not even been answered.
        rig.provider.then(Script::hang());
        let waiting = tokio::spawn({
            let call = rig.post(CHAT, &chat("thinker"));
            async move { call.try_send().await }
        });
        assert!(rig.provider.hits_reach(3, PATIENCE).await);

        assert!(rig.gateway.terminate().await, "{}", rig.gateway.output());
        assert!(rig.gateway.output().contains("cut off"), "{}", rig.gateway.output());
        assert!(waiting.await.unwrap().is_err(), "no answer");
        rig.gateway.restart().await;

        let mut settled = NanoUsd::ZERO;
        for headers in [&first.headers, &second.headers] {
            settled += amount(&was_settled(&rig, headers, CUT_OFF).await["execution"]["cost"]);
        }
        let list = rig.call("GET", "/v1/evidence").send().await.json();
        let entries = list["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 3, "{list}");
        assert!(entries.iter().all(|entry| entry["status"] == "stopped"), "{list}");
        let all: NanoUsd = entries.iter().map(|entry| amount(&entry["cost"])).sum();
        assert!(all > settled, "the call that was not answered has sent its input");
        let spent = Day { settled: all, leased: NanoUsd::ZERO, unsettled: NanoUsd::ZERO };
        assert_eq!(day(&rig.gateway, KEY, "app").await, spent);
    }
}
