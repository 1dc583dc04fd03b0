use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Answer, Stamp, answer};

const STAMP: Stamp = Stamp { serial: 7, created: 1_794_000_000 };
const GREETING: &str = "This is Bulkhead's demo provider; no model was asked. You wrote: \"Hello there\"";

fn post(path: &str, body: &Value) -> Answer {
    answer(&Method::POST, path, body.to_string().as_bytes(), STAMP)
}

fn post_json(path: &str, body: &Value) -> Value {
    let Answer::Json(status, value) = post(path, body) else { panic!("a stream") };
    assert_eq!(status, StatusCode::OK, "{value}");
    value
}

/// The `event:` names and the `data:` of a stream, `[DONE]` as a JSON string.
fn post_stream(path: &str, body: &Value) -> Vec<(String, Value)> {
    let Answer::Stream(chunks) = post(path, body) else { panic!("not a stream") };
    let read = |chunk: &bytes::Bytes| {
        let text = std::str::from_utf8(chunk).unwrap().strip_suffix("\n\n").unwrap();
        let (name, data) = text.split_once("\ndata: ").unwrap_or(("", text.trim_start_matches("data: ")));
        let name = name.trim_start_matches("event: ").to_owned();
        (name, serde_json::from_str(data).unwrap_or_else(|_| json!(data)))
    };
    chunks.iter().map(read).collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    names
}

fn weather(function: Value) -> Value {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"},
        "unit": {"enum": ["celsius", "fahrenheit"]}, "days": {"type": "integer"}}});
    let mut tool = function;
    let place = if tool["parameters"] == "here" { "parameters" } else { "input_schema" };
    tool[place] = schema;
    tool
}

fn chat_tool() -> Value {
    json!([{"type": "function", "function": weather(json!({"name": "weather", "parameters": "here"}))}])
}

const ARGUMENTS: &str = r#"{"city":"demo","unit":"celsius","days":1}"#;

#[test]
fn a_chat_is_answered_whole() {
    let asked = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello there"}]});
    let wanted = json!({"id": "chatcmpl-demo-7", "object": "chat.completion", "created": 1_794_000_000,
        "model": "demo-gpt-4o-mini",
        "choices": [{"index": 0, "logprobs": null, "finish_reason": "stop",
            "message": {"role": "assistant", "content": GREETING, "refusal": null}}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 20, "total_tokens": 24,
            "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 0}}});
    assert_eq!(post_json("/openai/v1/chat/completions", &asked), wanted);
}

#[test]
fn a_chat_stream_has_the_same_words_and_its_usage_only_on_request() {
    let mut asked = json!({"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "Hello there"}]});
    let path = "/openai/v1/chat/completions";
    let events = post_stream(path, &asked);
    let said: String =
        events.iter().filter_map(|(_, data)| data["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(said, GREETING);
    assert_eq!(events.last().unwrap().1, json!("[DONE]"));
    assert!(events.iter().all(|(_, data)| data.get("usage").is_none()));

    asked["stream_options"] = json!({"include_usage": true});
    let with_usage = post_stream(path, &asked);
    assert_eq!(with_usage.len(), events.len() + 1);
    let (_, last) = &with_usage[with_usage.len() - 2];
    assert_eq!((&last["choices"], &last["usage"]["total_tokens"]), (&json!([]), &json!(24)));
}

#[test]
fn an_offered_tool_is_called_with_arguments_that_fit_its_schema() {
    let asked =
        json!({"model": "gpt-4o", "tools": chat_tool(), "messages": [{"role": "user", "content": "Rain?"}]});
    let answered = post_json("/openai/v1/chat/completions", &asked);
    let choice = &answered["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls");
    let call = json!([{"id": "call_demo_7", "type": "function",
        "function": {"name": "weather", "arguments": ARGUMENTS}}]);
    assert_eq!((&choice["message"]["content"], &choice["message"]["tool_calls"]), (&Value::Null, &call));
}

#[test]
fn a_tool_result_ends_the_calling() {
    let asked = json!({"model": "gpt-4o", "tools": chat_tool(), "messages": [
        {"role": "user", "content": "Rain?"}, {"role": "tool", "tool_call_id": "call_demo_7", "content": "dry"}]});
    let answered = post_json("/openai/v1/chat/completions", &asked);
    let text = "This is Bulkhead's demo provider; no model was asked. Your tool returned: \"dry\"";
    assert_eq!(answered["choices"][0]["message"]["content"], text);
}

#[test]
fn a_tool_choice_of_none_is_respected() {
    let asked = json!({"model": "gpt-4o", "tools": chat_tool(), "tool_choice": "none",
        "messages": [{"role": "user", "content": "Hello there"}]});
    let answered = post_json("/openai/v1/chat/completions", &asked);
    assert_eq!(answered["choices"][0]["message"]["content"], GREETING);
}

#[test]
fn a_limit_on_output_cuts_the_answer() {
    let asked =
        json!({"model": "gpt-4o", "max_tokens": 3, "messages": [{"role": "user", "content": "Hello there"}]});
    let answered = post_json("/openai/v1/chat/completions", &asked);
    let choice = &answered["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("This is Bulk"), &json!("length"))
    );
    assert_eq!(answered["usage"]["completion_tokens"], 3);
}

#[test]
fn a_response_is_answered_and_streamed_alike() {
    let mut asked = json!({"model": "gpt-5.5", "input": "Hello there"});
    let whole = post_json("/openai/v1/responses", &asked);
    assert_eq!((&whole["status"], &whole["model"]), (&json!("completed"), &json!("demo-gpt-5.5")));
    assert_eq!(whole["output"][0]["content"][0]["text"], GREETING);
    assert_eq!(whole["usage"]["input_tokens"], 3);
    asked["stream"] = json!(true);
    let events = post_stream("/openai/v1/responses", &asked);
    let wanted = [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ];
    assert_eq!(names(&events), wanted);
    assert_eq!(events.last().unwrap().1["response"], whole);
    let numbers: Vec<_> = events.iter().map(|(_, data)| data["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn a_response_calls_a_tool() {
    let tool = weather(json!({"type": "function", "name": "weather", "parameters": "here"}));
    let asked = json!({"model": "gpt-5.5", "input": [{"role": "user", "content": "Rain?"}], "tools": [tool]});
    let item = json!({"id": "fc_demo_7", "type": "function_call", "status": "completed",
        "call_id": "call_demo_7", "name": "weather", "arguments": ARGUMENTS});
    assert_eq!(post_json("/openai/v1/responses", &asked)["output"], json!([item]));
}

#[test]
fn a_message_is_answered_whole() {
    let asked = json!({"model": "claude-haiku-4-5", "max_tokens": 100,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello there"}]}]});
    let wanted = json!({"id": "msg_demo_7", "type": "message", "role": "assistant",
        "model": "demo-claude-haiku-4-5", "content": [{"type": "text", "text": GREETING}],
        "stop_reason": "end_turn", "stop_sequence": null,
        "usage": {"input_tokens": 5, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 20}});
    assert_eq!(post_json("/anthropic/v1/messages", &asked), wanted);
}

#[test]
fn a_message_stream_starts_counts_and_stops() {
    let asked = json!({"model": "claude-haiku-4-5", "max_tokens": 100, "stream": true,
        "messages": [{"role": "user", "content": "Hello there"}]});
    let events = post_stream("/anthropic/v1/messages", &asked);
    let wanted = [
        "message_start",
        "content_block_start",
        "ping",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names(&events), wanted);
    let said: String = events.iter().filter_map(|(_, data)| data["delta"]["text"].as_str()).collect();
    assert_eq!(said, GREETING);
    let (_, counted) = &events[events.len() - 2];
    assert_eq!(counted["usage"], json!({"output_tokens": 20}));
}

#[test]
fn a_message_calls_a_tool_and_takes_its_result() {
    let tool = weather(json!({"name": "weather"}));
    let asked = json!({"model": "claude-haiku-4-5", "max_tokens": 100, "tools": [tool],
        "messages": [{"role": "user", "content": "Rain?"}]});
    let answered = post_json("/anthropic/v1/messages", &asked);
    let input: Value = serde_json::from_str(ARGUMENTS).unwrap();
    let block = json!({"type": "tool_use", "id": "toolu_demo_7", "name": "weather", "input": input});
    assert_eq!((&answered["content"], &answered["stop_reason"]), (&json!([block]), &json!("tool_use")));

    let mut next = asked;
    let result = json!({"role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_demo_7", "content": "dry"}]});
    next["messages"].as_array_mut().unwrap().push(result);
    let text = "This is Bulkhead's demo provider; no model was asked. Your tool returned: \"dry\"";
    assert_eq!(
        post_json("/anthropic/v1/messages", &next)["content"],
        json!([{"type": "text", "text": text}])
    );
}

#[test]
fn tokens_are_counted_without_a_limit() {
    let asked =
        json!({"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "Hello there"}]});
    assert_eq!(post_json("/anthropic/v1/messages/count_tokens", &asked), json!({"input_tokens": 4}));
}

#[test]
fn equal_texts_have_equal_embeddings_in_either_encoding() {
    let mut asked = json!({"model": "text-embedding-3-small", "input": ["a", "b", "a"], "dimensions": 40});
    let plain = post_json("/openai/v1/embeddings", &asked);
    assert_eq!(plain["data"][0]["embedding"].as_array().unwrap().len(), 40);
    assert_eq!(plain["data"][0]["embedding"], plain["data"][2]["embedding"]);
    assert_ne!(plain["data"][0]["embedding"], plain["data"][1]["embedding"]);
    assert_eq!(plain["usage"], json!({"prompt_tokens": 3, "total_tokens": 3}));

    asked["encoding_format"] = json!("base64");
    let encoded = post_json("/openai/v1/embeddings", &asked);
    use base64::Engine;
    let text = encoded["data"][1]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let numbers: Vec<f32> =
        bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert_eq!(json!(numbers), plain["data"][1]["embedding"]);
}

#[test]
fn each_wire_lists_its_models() {
    let get = |path| match answer(&Method::GET, path, b"", STAMP) {
        Answer::Json(status, value) => (status, value),
        Answer::Stream(_) => panic!("a stream"),
    };
    let (_, listed) = get("/openai/v1/models");
    assert_eq!((&listed["object"], &listed["data"][0]["id"]), (&json!("list"), &json!("gpt-4o-mini")));
    let (_, one) = get("/anthropic/v1/models/claude-haiku-4-5");
    assert_eq!(one["display_name"], "Demo of claude-haiku-4-5");
    assert_eq!(get("/openai/v1/models/none").0, StatusCode::NOT_FOUND);
}

#[test]
fn what_cannot_be_read_is_refused_in_the_wire_s_own_shape() {
    let bad = |path: &str, body: &[u8]| answer(&Method::POST, path, body, STAMP);
    let refused = |status, body: Value| Answer::Json(status, body);
    let openai = json!({"error": {"message": "Demo provider: `model` must name a model",
        "type": "invalid_request_error", "param": null, "code": null}});
    assert_eq!(bad("/openai/v1/chat/completions", b"{}"), refused(StatusCode::BAD_REQUEST, openai));
    let anthropic = json!({"type": "error", "error": {"type": "invalid_request_error",
        "message": "Demo provider: `max_tokens` must be a positive number"}});
    assert_eq!(bad("/anthropic/v1/messages", b"{}"), refused(StatusCode::BAD_REQUEST, anthropic));
    let Answer::Json(status, body) = bad("/openai/v1/responses", b"{\"model\":") else { panic!("a stream") };
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("Demo provider: the body is not valid JSON: "), "{message}");
    let missing = json!({"type": "error",
        "error": {"type": "not_found_error", "message": "Demo provider: there is no POST /v1/complete"}});
    assert_eq!(bad("/anthropic/v1/complete", b"{}"), refused(StatusCode::NOT_FOUND, missing));
}

#[test]
fn no_json_makes_it_panic() {
    let bodies = [
        "null",
        "[]",
        "1",
        "\"x\"",
        "{\"model\":\"m\",\"messages\":[]}",
        "{\"model\":\"m\",\"messages\":[1]}",
        "{\"model\":\"m\",\"input\":{},\"messages\":{}}",
        "{\"model\":\"m\",\"messages\":[{}],\"tools\":[{}],\"max_tokens\":1}",
        "{\"model\":\"m\",\"input\":[],\"dimensions\":-1}",
        "{\"model\":\"m\",\"messages\":[{\"content\":[[]]}],\"max_tokens\":0}",
    ];
    let paths = [
        "/openai/v1/chat/completions",
        "/openai/v1/responses",
        "/openai/v1/embeddings",
        "/anthropic/v1/messages",
        "/anthropic/v1/messages/count_tokens",
    ];
    for path in paths {
        for body in bodies {
            let answered = answer(&Method::POST, path, body.as_bytes(), STAMP);
            assert!(matches!(answered, Answer::Json(..)), "{path} {body}");
        }
    }
}
