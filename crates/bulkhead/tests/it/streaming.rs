//! Live streams: bytes untouched, nothing held back but the end, and every way a stream may end on the record.

use std::time::Duration;

use bh_testkit::client::joined;
use bh_testkit::{Ending, FakeProvider, Headers, Script, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{
    CHAT, KEY, MESSAGES, PATIENCE, PRICES, RESPONSES, Rig, binary, config, get, outcome, providers, rig,
    rig_with, streamed, streamed_response,
};

fn data(value: &Value) -> Vec<u8> {
    format!("data: {value}\n\n").into_bytes()
}

fn named(name: &str, mut value: Value) -> Vec<u8> {
    value["type"] = json!(name);
    format!("event: {name}\ndata: {value}\n\n").into_bytes()
}

fn chat_word(word: &str) -> Vec<u8> {
    data(&json!({"id": "c", "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}]}))
}

fn chat_usage(usage: &Value) -> Vec<u8> {
    data(&json!({"id": "c", "choices": [], "usage": usage}))
}

const DONE: &[u8] = b"data: [DONE]\n\n";

/// A chat stream as a provider sends it that was asked for usage.
fn chat_stream(words: usize) -> Vec<Vec<u8>> {
    let usage = json!({"prompt_tokens": 10, "completion_tokens": words, "total_tokens": 10 + words});
    let words = (0..words).map(|i| chat_word(&format!("word{i} ")));
    words.chain([chat_usage(&usage), DONE.to_vec()]).collect()
}

fn message_stream(words: usize) -> Vec<Vec<u8>> {
    let usage = json!({"input_tokens": 10, "output_tokens": 1});
    let message = json!({"id": "msg", "type": "message", "role": "assistant", "content": [], "model": "claude", "usage": usage});
    let word = |i| {
        let delta = json!({"type": "text_delta", "text": format!("word{i} ")});
        named("content_block_delta", json!({"index": 0, "delta": delta}))
    };
    let start = named("message_start", json!({ "message": message }));
    let delta = json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": words}});
    let end = [named("message_delta", delta), named("message_stop", json!({}))];
    [start, named("ping", json!({}))].into_iter().chain((0..words).map(word)).chain(end).collect()
}

fn response_stream(words: usize) -> Vec<Vec<u8>> {
    let usage = json!({"input_tokens": 10, "output_tokens": words, "total_tokens": 10 + words});
    let response =
        |status: &str| json!({"id": "resp", "object": "response", "status": status, "model": "thinker"});
    let word = |i| {
        named("response.output_text.delta", json!({"delta": format!("word{i} "), "sequence_number": i + 1}))
    };
    let mut done = response("completed");
    done["usage"] = usage;
    let start = named("response.created", json!({"response": response("in_progress"), "sequence_number": 0}));
    let end = named("response.completed", json!({"response": done, "sequence_number": words + 1}));
    [start].into_iter().chain((0..words).map(word)).chain([end]).collect()
}

/// The three wires: path, request, and the provider's stream.
pub(crate) fn wires(words: usize) -> [(&'static str, Value, Vec<Vec<u8>>); 3] {
    [
        (CHAT, streamed("thinker"), chat_stream(words)),
        (MESSAGES, streamed("claude"), message_stream(words)),
        (RESPONSES, streamed_response("thinker"), response_stream(words)),
    ]
}

/// The stream cut at places where no reader would: inside events, inside characters.
fn cut_anywhere(stream: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bytes = stream.concat();
    let mut size = 0;
    let mut pieces = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        size = size % 23 + 1;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

on_both_stores! {
    /// Proves: TALON-15
    async fn a_chat_stream_arrives_byte_for_byte_when_the_client_asked_for_usage(store) {
        let rig = rig(store).await;
        let mut asked = streamed("thinker");
        asked["stream_options"] = json!({"include_usage": true});
        let comment = b": keep-alive\r\n\r\n".to_vec();
        let odd = "data:{ \"choices\":[],\"odd\" : \"caf\u{e9} \u{1f980}\" }\r\n\r\n".as_bytes().to_vec();
        let stream = [vec![comment, odd], chat_stream(4)].concat();
        for chunks in [stream.clone(), cut_anywhere(&stream), vec![stream.concat()]] {
            rig.provider.then(Script::stream(chunks));
            let answer = rig.post(CHAT, &asked).send().await;
            assert_eq!((answer.status, answer.text()), (200, String::from_utf8(stream.concat()).unwrap()));
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
            assert_eq!(rig.provider.last().json(), asked);
            let record = rig.record(&answer.headers).await;
            assert_eq!(record["execution"]["tokens"]["output"], json!(4));
            assert_eq!(record["execution"]["streamed"], json!(true));
        }
    }

    /// Proves: TALON-15
    async fn a_chat_stream_is_the_provider_s_own_less_the_usage_that_only_the_gateway_asked_for(store) {
        let rig = rig(store).await;
        for said in [None, Some(json!({"include_usage": false})), Some(json!(null)), Some(json!({"include_obfuscation": false}))] {
            let mut asked = streamed("thinker");
            if let Some(said) = &said {
                asked["stream_options"] = said.clone();
            }
            let stream = chat_stream(4);
            let without: Vec<Vec<u8>> = stream.iter().filter(|event| !event.windows(7).any(|w| w == b"\"usage\"")).cloned().collect();
            assert_eq!(without.len() + 1, stream.len());
            for chunks in [stream.clone(), cut_anywhere(&stream)] {
                rig.provider.then(Script::stream(chunks));
                let answer = rig.post(CHAT, &asked).send().await;
                assert_eq!((answer.status, answer.text()), (200, String::from_utf8(without.concat()).unwrap()), "{said:?}");
                let mut wanted = asked.clone();
                let mut options = said.clone().filter(Value::is_object).unwrap_or_else(|| json!({}));
                options["include_usage"] = json!(true);
                wanted["stream_options"] = options;
                assert_eq!(rig.provider.last().json(), wanted, "{said:?}");
                let record = rig.record(&answer.headers).await;
                assert_eq!((&record["execution"]["tokens"]["output"], &record["execution"]["usage_estimated"]), (&json!(4), &Value::Null));
            }
        }
    }

    /// Proves: TALON-15, TALON-16
    async fn anthropic_and_responses_streams_arrive_byte_for_byte(store) {
        let rig = rig(store).await;
        for (path, asked, stream) in wires(4).into_iter().skip(1) {
            for chunks in [stream.clone(), cut_anywhere(&stream)] {
                rig.provider.then(Script::stream(chunks));
                let answer = rig.post(path, &asked).send().await;
                assert_eq!((answer.status, answer.text()), (200, String::from_utf8(stream.concat()).unwrap()), "{path}");
                assert_eq!(rig.provider.last().json(), asked, "{path}");
                let record = rig.record(&answer.headers).await;
                let tokens = &record["execution"]["tokens"];
                assert_eq!((&tokens["input"], &tokens["output"]), (&json!(10), &json!(4)), "{path}");
                assert_eq!(outcome(&record).0, "completed");
            }
        }
    }
}

#[tokio::test]
async fn a_provider_may_be_told_not_to_be_asked_for_usage() {
    let provider = FakeProvider::start();
    let line = format!("    openai: {{base_url: \"{}\", inject_stream_usage: false}}\n", provider.url());
    let rig = Rig { gateway: binary().config(&config(&line, "{}", PRICES)).start().await, provider };
    let answer = rig.post(CHAT, &streamed("thinker")).send().await;
    assert!(answer.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(rig.provider.last().json(), streamed("thinker"));
    let record = rig.record(&answer.headers).await;
    assert_eq!(record["execution"]["usage_estimated"], json!(true));
    assert!(outcome(&record).2 > 0, "an estimate is still a price");
}

#[tokio::test]
async fn each_event_leaves_when_it_arrives() {
    const PAUSE: Duration = Duration::from_millis(120);
    let rig = rig(Store::Sqlite).await;
    for (path, asked, stream) in wires(4) {
        rig.provider.then(Script::stream(stream.clone()).paced(PAUSE));
        let mut answer = rig.post(path, &asked).stream().await;
        let chunks = answer.rest().await.unwrap();
        let ended = rig.provider.last().answered_at.expect("the provider came to its end");
        let early = chunks.iter().filter(|chunk| chunk.at + PAUSE / 2 < ended).count();
        // All events but the last two, which may share the last moment.
        assert!(
            early + 3 >= stream.len(),
            "{path}: {early} of {} events before the provider's end",
            stream.len()
        );
        assert!(chunks[0].at + 3 * PAUSE < ended, "{path}: the first event was held back");
    }
}

/// What a caller's day has cost, in the ledger's own words.
pub(crate) async fn spent(rig: &Rig) -> Value {
    get(&rig.gateway, "/v1/costs").await.json()["daily"].clone()
}

on_both_stores! {
    async fn a_client_that_hangs_up_ends_the_provider_s_call_and_pays_for_what_it_got(store) {
        let rig = rig_with(store, "{max_daily_cost: 1}", PRICES).await;
        for (path, asked, stream) in wires(8) {
            rig.provider.forget();
            rig.provider.then(Script::stream(stream).only_chunks(5).ending(Ending::Hang));
            let before = spent(&rig).await;
            let mut answer = rig.post(path, &asked).stream().await;
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&joined(&seen)).contains("word2") {
                seen.push(answer.next().await.unwrap().expect("more is to come"));
            }
            let headers = answer.headers.clone();
            answer.hang_up();
            assert!(rig.provider.sees_a_hang_up(PATIENCE).await, "{path}");
            let record = rig.record(&headers).await;
            let (status, reason, cost) = outcome(&record);
            assert_eq!((status, reason), ("client_disconnected", Some("client_disconnected")), "{path}");
            assert_eq!(record["execution"]["usage_estimated"], json!(true), "{path}");
            // Three words at least at 8000, however few tokens of input.
            assert!((24_000..200_000).contains(&cost), "{path}: {cost}");
            assert_ne!(spent(&rig).await, before, "{path}: the ledger knows it");
        }
    }
}

/// The JSON of a stream's last event.
fn last_event(text: &str) -> Value {
    let last = text.trim_end().rsplit("data: ").next().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Asserts that a stream was ended in its wire's own way, after whole events of its own.
pub(crate) fn assert_ended_by_us(path: &str, text: &str, headers: &Headers, code: &str, message: &str) {
    let event = last_event(text);
    let openai = json!({"message": message, "type": code, "param": null, "code": code});
    match path {
        CHAT => assert_eq!(event, json!({ "error": openai })),
        MESSAGES => {
            let kind = match code {
                "budget_exceeded" => "permission_error",
                "upstream_timeout" => "timeout_error",
                _ => "api_error",
            };
            let error = json!({"type": kind, "message": message, "code": code});
            let id = headers.get("x-bulkhead-request-id");
            assert_eq!(event, json!({"type": "error", "error": error, "request_id": id}));
            assert!(text.contains("\n\nevent: error\ndata: "), "{text}");
        }
        _ => {
            assert_eq!(event["type"], json!("response.failed"));
            assert_eq!(event["error"], openai);
            assert_eq!(event["response"]["error"], json!({"code": code, "message": message}));
            assert_eq!(
                (&event["response"]["id"], &event["response"]["status"]),
                (&json!("resp"), &json!("failed"))
            );
            assert!(text.contains("\n\nevent: response.failed\ndata: "), "{text}");
        }
    }
    for ending in ["[DONE]", "message_stop", "response.completed"] {
        assert!(!text.contains(ending), "{path} looks complete: {text}");
    }
}

on_both_stores! {
    async fn a_provider_that_dies_in_a_stream_is_told_in_the_wire_s_own_error_event(store) {
        let rig = rig(store).await;
        for (path, asked, stream) in wires(6) {
            let sent: Vec<Vec<u8>> = stream.iter().take(4).cloned().collect();
            // The fifth event is cut in its middle: half an event is of no use to any client.
            let half = stream[4].split_at(stream[4].len() / 2).0.to_vec();
            rig.provider.then(Script::stream([sent.clone(), vec![half]].concat()).ending(Ending::Die));
            let answer = rig.post(path, &asked).send().await;
            let text = answer.text();
            assert!(text.starts_with(&String::from_utf8(sent.concat()).unwrap()), "{path}: {text}");
            let message = last_message(&text);
            assert_ended_by_us(path, &text, &answer.headers, "upstream_unreachable", &message);
            assert!(message.contains("provider"), "{message}");
            let record = rig.record(&answer.headers).await;
            let (status, reason, cost) = outcome(&record);
            assert_eq!((status, reason), ("failed", Some("provider_stream_broke")), "{path}");
            assert!(cost > 0, "{path}: what was used is paid for");
        }
    }

    async fn a_stream_that_ends_without_its_last_event_is_not_taken_for_complete(store) {
        let rig = rig(store).await;
        for (path, asked, stream) in wires(6) {
            rig.provider.then(Script::stream(stream).only_chunks(4));
            let answer = rig.post(path, &asked).send().await;
            let text = answer.text();
            let message = "The provider ended the stream before its last event";
            assert_ended_by_us(path, &text, &answer.headers, "upstream_unreachable", message);
            assert_eq!(outcome(&rig.record(&answer.headers).await).0, "failed", "{path}");
        }
    }
}

/// The message of the error event a stream ends with.
fn last_message(text: &str) -> String {
    last_event(text)["error"]["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_stream_that_falls_silent_is_ended_after_the_idle_timeout() {
    let provider = FakeProvider::start();
    let config = config(&providers(provider.url()), "{}", PRICES);
    let config = config.replace("  callers:", "  timeouts: {stream_idle_timeout: 400ms}\n  callers:");
    let rig = Rig { gateway: binary().config(&config).start().await, provider };
    for (path, asked, stream) in wires(6) {
        rig.provider.forget();
        rig.provider.then(Script::stream(stream).only_chunks(4).ending(Ending::Hang));
        let answer = rig.post(path, &asked).send().await;
        let message = "The provider paused its answer for too long";
        assert_ended_by_us(path, &answer.text(), &answer.headers, "upstream_timeout", message);
        let record = rig.record(&answer.headers).await;
        assert_eq!(outcome(&record).1, Some("provider_stream_idle"), "{path}");
        assert!(rig.provider.sees_a_hang_up(PATIENCE).await, "{path}");
    }
}

#[tokio::test]
async fn an_error_instead_of_a_stream_passes_as_the_error_it_is() {
    let rig = rig(Store::Sqlite).await;
    let script = Script::openai_error(400, "invalid_request_error", "no such parameter");
    rig.provider.then(script.clone());
    let answer = rig.post(CHAT, &streamed("thinker")).bearer(KEY).send().await;
    assert_eq!((answer.status, answer.body.as_slice()), (400, script.body_bytes().as_slice()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}
