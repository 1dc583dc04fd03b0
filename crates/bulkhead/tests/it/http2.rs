//! The LLM door over HTTP/2 with prior knowledge: as over HTTP/1, and against what only HTTP/2 allows.

use std::sync::Arc;
use std::time::Duration;

use bh_testkit::{Http2, RawSocket, Script, Store};
use serde_json::json;

use crate::auth::{PROXIED_CHAT, chat};
use crate::bad_input::{
    KEY as BAD_INPUT_KEY, PROXIED_MESSAGES, Under, assert_anthropic_error, assert_openai_error,
};
use crate::llm_setup::{CHAT, PRICES, outcome, request_id, rig, rig_with, streamed};
use crate::streaming::wires;

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn plain_and_streamed_answers_are_those_of_http_1() {
    let rig = rig(Store::Sqlite).await;
    let http2 = Http2::connect(rig.gateway.url()).await;
    for (path, mut asked, stream) in wires(4) {
        rig.provider.then(Script::stream(stream.clone()));
        let over_1 = rig.post(path, &asked).send().await;
        rig.provider.then(Script::stream(stream));
        let over_2 = http2.send(&rig.post(path, &asked)).await;
        assert_eq!((over_2.status, over_2.text()), (200, over_1.text()), "{path}");
        assert_eq!(over_2.header("content-type"), over_1.header("content-type"), "{path}");
        let record = rig.record(&over_2.headers).await;
        assert_eq!(outcome(&record).0, "completed");
        assert_eq!(record["execution"]["tokens"]["output"], json!(4), "{path}");

        asked["stream"] = json!(false);
        let over_1 = rig.post(path, &asked).send().await;
        let over_2 = http2.send(&rig.post(path, &asked)).await;
        assert_eq!((over_2.status, over_2.text()), (200, over_1.text()), "{path}");
        assert_eq!(over_2.header("content-length"), over_1.header("content-length"), "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_without_a_body() {
    let rig = rig(Store::Sqlite).await;
    let http2 = Http2::connect(rig.gateway.url()).await;
    let ours =
        [("/v1/models", 200), ("/v1/status", 200), ("/no/such/route", 404), ("/v1/chat/completions", 405)];
    let the_providers = (CHAT, 200);
    for (path, status) in ours.into_iter().chain([the_providers]) {
        let answer = http2.send(&rig.call("HEAD", path)).await;
        assert_eq!((answer.status, answer.text().as_str()), (status, ""), "{path}");
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole_and_with_its_length() {
    let rig = rig(Store::Sqlite).await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|byte| b'a' + u8::try_from(byte % 23).unwrap()).collect();
    rig.provider.then(Script::bytes(200, "text/plain", large.clone()));
    let http2 = Http2::connect(rig.gateway.url()).await;
    let answer = http2.send(&rig.call("GET", "/v1/proxy/openai/v1/files/f1/content")).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("3000000")));
    assert!(answer.body == large, "{} bytes", answer.body.len());
}

#[tokio::test]
async fn each_event_leaves_when_it_arrives_over_http_2_too() {
    let rig = rig(Store::Sqlite).await;
    let http2 = Http2::connect(rig.gateway.url()).await;
    let [(path, asked, stream), ..] = wires(4);
    // The provider goes silent after three events: they can only be read if they were not held back.
    rig.provider.then(Script::stream(stream.clone()).only_chunks(3).ending(bh_testkit::Ending::Hang));
    let mut answer = http2.stream(&rig.post(path, &asked)).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("word2") {
        seen.extend_from_slice(&answer.next().await.unwrap().expect("more is to come"));
    }
    assert_eq!(seen, stream[..3].concat());
    let headers = answer.headers.clone();
    // A reset is how an HTTP/2 client hangs up on one answer.
    drop(answer);
    assert!(rig.provider.sees_a_hang_up(PATIENCE).await);
    assert_eq!(outcome(&rig.record(&headers).await).0, "client_disconnected");
}

#[tokio::test]
async fn many_calls_at_once_share_a_connection_and_each_gets_its_own_answer() {
    const CALLS: usize = 200;
    let rig = rig(Store::Sqlite).await;
    // Each is answered with its own text, in an order that is not the one of the questions.
    rig.provider.on(|request| {
        let body = request.json();
        let asked = body["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
        let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2});
        let answer = json!({"choices": [{"message": {"content": asked}}], "usage": usage});
        let delay = Duration::from_millis(asked.bytes().map(u64::from).sum::<u64>() * 7 % 50);
        Some(Script::json(200, &answer).after(delay))
    });
    let http2 = Arc::new(Http2::connect(rig.gateway.url()).await);
    let mut running = tokio::task::JoinSet::new();
    for number in 0..CALLS {
        let http2 = Arc::clone(&http2);
        let asked =
            json!({"model": "thinker", "messages": [{"role": "user", "content": format!("n{number}")}]});
        let call = rig.post(CHAT, &asked);
        running.spawn(async move { (number, http2.send(&call).await) });
    }
    for (number, answer) in running.join_all().await {
        let content = &answer.json()["choices"][0]["message"]["content"];
        assert_eq!((answer.status, content), (200, &json!(format!("n{number}"))), "{}", answer.text());
        let record = rig.record(&answer.headers).await;
        assert_eq!(record["id"], json!(request_id(&answer.headers)));
    }
}

#[tokio::test]
async fn errors_over_http_2_are_in_the_wire_s_own_words() {
    let rig = rig_with(Store::Sqlite, "{}", &format!("{PRICES}server:\n  body_bytes_max: 2048\n")).await;
    let http2 = Http2::connect(rig.gateway.url()).await;
    let big = json!({"model": "thinker", "messages": [{"role": "user", "content": "x".repeat(300_000)}]});
    let refused = http2.send(&rig.post(CHAT, &big)).await;
    assert_openai_error(&refused, 413, "request_too_large");
    let refused = http2.send(&rig.call("GET", "/v1/nowhere")).await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    let stranger =
        bh_testkit::Call::post(rig.gateway.at(CHAT), &streamed("thinker")).bearer("nobody-knows-it");
    assert_openai_error(&http2.send(&stranger).await, 401, "unauthorized");
    let unknown = http2.send(&rig.post("/v1/proxy/claude/v1/messages", &chat())).await;
    assert_anthropic_error(&unknown, 400, "invalid_request_error");
    assert_eq!(rig.provider.hits(), 0);
    let whole = http2.send(&rig.post(CHAT, &streamed("thinker"))).await.text();
    assert!(whole.contains("[DONE]"), "the connection is as good as before: {whole}");
}

#[tokio::test]
async fn a_header_list_beyond_the_limit_is_refused_and_the_gateway_lives() {
    let under = Under::test().await;
    let http2 = Http2::connect(under.gateway.url()).await;
    for path in [PROXIED_CHAT, PROXIED_MESSAGES] {
        let mut call = under.post(path, chat().to_string());
        for number in 0..3_000 {
            call = call.header(&format!("x-h{number}"), "some value that takes room");
        }
        assert_eq!(http2.send(&call).await.status, 431, "{path}");
    }
    let next = http2.send(&under.post(PROXIED_CHAT, "{")).await;
    assert_openai_error(&next, 400, "invalid_request");
    assert_eq!(under.provider.hits(), 0);
    under.is_well().await;
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a chat call, in HPACK's plainest form, its body still to come.
fn call_frame(stream: u32) -> Vec<u8> {
    let plain =
        |index: &[u8], value: &str| [index, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    let (post, http) = (vec![0x83], vec![0x86]);
    let bearer = format!("Bearer {BAD_INPUT_KEY}");
    let block =
        [post, http, plain(&[0x01], "x"), plain(&[0x04], PROXIED_CHAT), plain(&[0x0f, 0x08], &bearer)];
    frame(0x01, 0x04, stream, &block.concat())
}

/// "Rapid reset", CVE-2023-44487: streams that are opened and reset faster than anything can be done about them.
#[tokio::test]
async fn a_storm_of_resets_ends_its_connection_and_costs_nothing() {
    const STREAMS: u32 = 5_000;
    let under = Under::test().await;
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(0x04, 0, 0, &[])].concat();
    let mut good = RawSocket::connect(under.gateway.url()).await;
    let body = frame(0x00, 0x01, 1, chat().to_string().as_bytes());
    assert!(good.write([opening.clone(), call_frame(1), body].concat()).await);
    assert!(
        good.read_until("fine", PATIENCE).await.contains("fine"),
        "without a reset it is a call like any other"
    );

    let hits = under.provider.hits();
    let mut socket = RawSocket::connect(under.gateway.url()).await;
    let mut storm = opening;
    for stream in (0..STREAMS).map(|number| 2 * number + 1) {
        storm.extend(call_frame(stream));
        storm.extend(frame(0x03, 0, stream, &8_u32.to_be_bytes()));
    }
    // The gateway may have closed before it has read them all.
    socket.write(&storm).await;
    let told = socket.read_until("too_many_resets", PATIENCE).await;
    assert!(told.contains("too_many_resets"), "{told}");
    assert!(socket.closes_within(PATIENCE).await, "the connection is ended, not served");
    assert_eq!(under.provider.hits(), hits);
    under.is_well().await;
}
