use std::time::Duration;

use serde_json::{Value, json};

use super::{Ending, FakeProvider, Reply, Script, Usage};
use crate::client::joined;
use crate::{Call, Headers};

fn chat(stream: bool) -> Value {
    json!({"model": "gpt-4o-mini", "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
}

fn url(provider: &FakeProvider, path: &str) -> String {
    format!("{}{path}", provider.url())
}

#[tokio::test]
async fn a_plain_chat_carries_the_text_and_the_usage() {
    let provider = FakeProvider::start();
    provider.reply(Reply::text("Good day").using(Usage::of(7, 3)));
    let answer = Call::post(url(&provider, "/v1/chat/completions"), &chat(false)).send().await.json();
    assert_eq!(answer["choices"][0]["message"]["content"], json!("Good day"));
    assert_eq!(answer["usage"]["total_tokens"], json!(10));
    assert_eq!(answer["model"], json!("gpt-4o-mini"));
}

#[tokio::test]
async fn a_chat_stream_reports_usage_only_when_asked() {
    let provider = FakeProvider::start();
    let path = url(&provider, "/v1/chat/completions");
    let silent = Call::post(&path, &chat(true)).send().await.text();
    let mut asking = chat(true);
    asking["stream_options"] = json!({"include_usage": true});
    let telling = Call::post(&path, &asking).send().await.text();
    assert!(!silent.contains("usage"), "{silent}");
    assert!(telling.contains(r#""usage":{"prompt_tokens":10,"#), "{telling}");
    assert!(silent.ends_with("data: [DONE]\n\n") && telling.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn an_anthropic_stream_starts_and_stops_in_its_own_events() {
    let provider = FakeProvider::start();
    let asked = json!({"model": "claude", "stream": true, "max_tokens": 9, "messages": []});
    let text = Call::post(url(&provider, "/v1/messages"), &asked).send().await.text();
    let events: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(events[..3], ["message_start", "content_block_start", "ping"]);
    assert_eq!(events[events.len() - 3..], ["content_block_stop", "message_delta", "message_stop"]);
}

#[tokio::test]
async fn a_responses_stream_ends_with_the_completed_response() {
    let provider = FakeProvider::start();
    let asked = json!({"model": "gpt-4o", "stream": true, "input": "hi"});
    let text = Call::post(url(&provider, "/v1/responses"), &asked).send().await.text();
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["type"], json!("response.completed"));
    assert_eq!(last["response"]["usage"]["input_tokens"], json!(10));
}

#[tokio::test]
async fn requests_are_recorded_as_they_arrived() {
    let provider = FakeProvider::start();
    let call = Call::new("PUT", url(&provider, "/v1/files/7?x=1&x=2"))
        .header("X-Twice", "a")
        .header("x-twice", "b")
        .body("bytes");
    let answer = call.send().await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "bytes"));
    let seen = provider.last();
    assert_eq!((seen.method.as_str(), seen.path(), seen.query()), ("PUT", "/v1/files/7", Some("x=1&x=2")));
    assert_eq!(seen.headers.all("x-twice"), ["a", "b"]);
    assert!(seen.mentions("bytes") && !seen.mentions("secret"));
    assert_eq!(provider.hits(), 1);
}

#[tokio::test]
async fn scripts_are_played_in_order_and_then_the_default_returns() {
    let provider = FakeProvider::start();
    provider.then(Script::openai_error(429, "rate_limit", "slow down").retry_after(2));
    let path = url(&provider, "/v1/chat/completions");
    let refused = Call::post(&path, &chat(false)).send().await;
    let served = Call::post(&path, &chat(false)).send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("2")));
    assert_eq!(served.status, 200);
}

#[tokio::test]
async fn a_handler_may_decide_by_the_request() {
    let provider = FakeProvider::start();
    provider.on(|r| r.headers.has("x-break").then(|| Script::openai_error(503, "server_error", "down")));
    let call = Call::post(url(&provider, "/v1/chat/completions"), &chat(false));
    assert_eq!(call.clone().header("x-break", "1").send().await.status, 503);
    assert_eq!(call.send().await.status, 200);
}

#[tokio::test]
async fn a_stream_may_die_after_its_first_chunks() {
    let provider = FakeProvider::start();
    let chunks = vec![b"data: 1\n\n".to_vec(), b"data: 2\n\n".to_vec(), b"data: 3\n\n".to_vec()];
    provider.then(Script::stream(chunks).only_chunks(2).ending(Ending::Die));
    let mut answer = Call::post(url(&provider, "/x"), &chat(true)).stream().await;
    let mut seen = Vec::new();
    let end = loop {
        match answer.next().await {
            Ok(Some(chunk)) => seen.push(chunk),
            other => break other.map(|_| ()),
        }
    };
    assert_eq!(joined(&seen), b"data: 1\n\ndata: 2\n\n");
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn chunks_are_paced_and_not_held_back() {
    let provider = FakeProvider::start();
    let pause = Duration::from_millis(80);
    provider.then(Script::stream(vec![b"a".to_vec(), b"b".to_vec()]).paced(pause));
    let mut answer = Call::post(url(&provider, "/x"), &chat(true)).stream().await;
    let chunks = answer.rest().await.unwrap();
    assert_eq!(joined(&chunks), b"ab");
    assert!(chunks[1].at - chunks[0].at >= pause / 2);
}

#[tokio::test]
async fn a_client_that_hangs_up_is_noticed() {
    let provider = FakeProvider::start();
    provider.then(Script::stream(vec![b"a".to_vec()]).ending(Ending::Hang));
    let mut answer = Call::post(url(&provider, "/x"), &chat(true)).stream().await;
    answer.next().await.unwrap();
    answer.hang_up();
    assert!(provider.sees_a_hang_up(Duration::from_secs(5)).await);
    assert!(provider.last().answered_at.is_none());
}

#[tokio::test]
async fn a_raw_script_need_not_be_http() {
    let provider = FakeProvider::start();
    provider.then(Script::raw("nonsense\r\n\r\n"));
    let error = Call::get(url(&provider, "/x")).try_send().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn tool_calls_come_in_each_family_s_shape() {
    let provider = FakeProvider::start();
    provider.reply(Reply::tool("weather", r#"{"city":"Oslo"}"#));
    let openai = Call::post(url(&provider, "/v1/chat/completions"), &chat(false)).send().await.json();
    let anthropic = Call::post(url(&provider, "/v1/messages"), &chat(false)).send().await.json();
    let function = json!({"name": "weather", "arguments": "{\"city\":\"Oslo\"}"});
    assert_eq!(openai["choices"][0]["message"]["tool_calls"][0]["function"], function);
    assert_eq!(anthropic["content"][0]["input"], json!({"city": "Oslo"}));
    assert_eq!(anthropic["stop_reason"], json!("tool_use"));
}

#[test]
fn headers_compare_whole() {
    assert_eq!(Headers::from_iter([("a", "1")]), Headers::from_iter([("a", "1")]));
    assert_ne!(Headers::from_iter([("a", "1")]), Headers::from_iter([("A", "1")]));
}
