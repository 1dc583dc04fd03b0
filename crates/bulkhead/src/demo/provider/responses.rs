//! The Responses wire of OpenAI.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::asked::Asked;
use super::reply::Reply;
use super::{Answer, Rejection, Stamp, event};

/// `POST /v1/responses`, plain or streamed as the request says.
pub(super) fn respond(body: &Value, stamp: Stamp) -> Result<Answer, Rejection> {
    let asked = Asked::responses(body)?;
    let reply = Reply::to(&asked);
    let finished = response(body, &reply, stamp);
    if asked.stream {
        return Ok(Answer::Stream(stream(&finished, &reply)));
    }
    Ok(Answer::Json(StatusCode::OK, finished))
}

fn response(body: &Value, reply: &Reply, stamp: Stamp) -> Value {
    let (status, incomplete) = if reply.is_cut() {
        ("incomplete", json!({"reason": "max_output_tokens"}))
    } else {
        ("completed", Value::Null)
    };
    let or = |name: &str, default: Value| if body[name].is_null() { default } else { body[name].clone() };
    json!({"id": format!("resp_demo_{}", stamp.serial), "object": "response", "created_at": stamp.created,
        "status": status, "error": null, "incomplete_details": incomplete,
        "instructions": body["instructions"], "max_output_tokens": body["max_output_tokens"],
        "metadata": or("metadata", json!({})), "model": reply.model, "output": [item(reply, stamp)],
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": body["previous_response_id"], "store": or("store", json!(true)),
        "temperature": or("temperature", json!(1.0)), "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])), "top_p": or("top_p", json!(1.0)),
        "usage": {"input_tokens": reply.input_tokens, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.output_tokens, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.input_tokens + reply.output_tokens}})
}

fn item(reply: &Reply, stamp: Stamp) -> Value {
    let serial = stamp.serial;
    match reply.call() {
        Some((name, arguments)) => json!({"id": format!("fc_demo_{serial}"), "type": "function_call",
            "status": "completed", "call_id": format!("call_demo_{serial}"), "name": name, "arguments": arguments}),
        None => json!({"id": format!("msg_demo_{serial}"), "type": "message",
            "status": if reply.is_cut() { "incomplete" } else { "completed" },
            "role": "assistant", "content": [text_part(reply.text())]}),
    }
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

/// Numbers the events of one stream.
struct Events {
    chunks: Vec<Bytes>,
}

impl Events {
    fn say(&mut self, name: &str, mut data: Value) {
        data["type"] = json!(name);
        data["sequence_number"] = json!(self.chunks.len());
        self.chunks.push(event(Some(name), &data));
    }
}

fn stream(finished: &Value, reply: &Reply) -> Vec<Bytes> {
    let mut started = finished.clone();
    started["status"] = json!("in_progress");
    started["output"] = json!([]);
    started["usage"] = Value::Null;
    started["incomplete_details"] = Value::Null;
    let mut events = Events { chunks: Vec::new() };
    events.say("response.created", json!({"response": started}));
    events.say("response.in_progress", json!({"response": started}));
    let item = &finished["output"][0];
    let mut opened = item.clone();
    opened["status"] = json!("in_progress");
    match reply.call() {
        Some((_, arguments)) => {
            opened["arguments"] = json!("");
            events.say("response.output_item.added", json!({"output_index": 0, "item": opened}));
            let place = |key: &str| json!({"item_id": item["id"], "output_index": 0, key: arguments});
            events.say("response.function_call_arguments.delta", place("delta"));
            events.say("response.function_call_arguments.done", place("arguments"));
        }
        None => {
            opened["content"] = json!([]);
            events.say("response.output_item.added", json!({"output_index": 0, "item": opened}));
            stream_text(&mut events, &item["id"], reply);
        }
    }
    events.say("response.output_item.done", json!({"output_index": 0, "item": item}));
    let last = if reply.is_cut() { "response.incomplete" } else { "response.completed" };
    events.say(last, json!({"response": finished}));
    events.chunks
}

fn stream_text(events: &mut Events, item_id: &Value, reply: &Reply) {
    let place = |key: &str, value: Value| json!({"item_id": item_id, "output_index": 0, "content_index": 0, key: value});
    events.say("response.content_part.added", place("part", text_part("")));
    for word in reply.words() {
        let mut delta = place("delta", json!(word));
        delta["logprobs"] = json!([]);
        events.say("response.output_text.delta", delta);
    }
    let mut done = place("text", json!(reply.text()));
    done["logprobs"] = json!([]);
    events.say("response.output_text.done", done);
    events.say("response.content_part.done", place("part", text_part(reply.text())));
}
