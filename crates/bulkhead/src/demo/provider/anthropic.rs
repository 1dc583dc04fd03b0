//! Messages and token counts in Anthropic's wire.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::asked::Asked;
use super::reply::Reply;
use super::{Answer, Rejection, Stamp, event};

/// `POST /v1/messages`, plain or streamed as the request says.
pub(super) fn message(body: &Value, stamp: Stamp) -> Result<Answer, Rejection> {
    let asked = Asked::message(body)?;
    let reply = Reply::to(&asked);
    if asked.stream {
        return Ok(Answer::Stream(stream(&reply, stamp)));
    }
    let mut message = opened(&reply, stamp, reply.output_tokens);
    message["content"] = json!([block(&reply, stamp, reply.text(), reply.arguments())]);
    message["stop_reason"] = json!(stop_reason(&reply));
    Ok(Answer::Json(StatusCode::OK, message))
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count_tokens(body: &Value) -> Result<Answer, Rejection> {
    let asked = Asked::count(body)?;
    Ok(Answer::Json(StatusCode::OK, json!({"input_tokens": asked.input_tokens})))
}

/// A message before anything is in it.
fn opened(reply: &Reply, stamp: Stamp, output_tokens: u64) -> Value {
    json!({"id": format!("msg_demo_{}", stamp.serial), "type": "message", "role": "assistant", "model": reply.model,
        "content": [], "stop_reason": null, "stop_sequence": null,
        "usage": {"input_tokens": reply.input_tokens, "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0, "output_tokens": output_tokens}})
}

fn block(reply: &Reply, stamp: Stamp, text: &str, input: &Value) -> Value {
    match reply.call() {
        Some((name, _)) => {
            json!({"type": "tool_use", "id": format!("toolu_demo_{}", stamp.serial), "name": name, "input": input})
        }
        None => json!({"type": "text", "text": text}),
    }
}

fn stop_reason(reply: &Reply) -> &'static str {
    match (reply.call(), reply.is_cut()) {
        (Some(_), _) => "tool_use",
        (None, true) => "max_tokens",
        (None, false) => "end_turn",
    }
}

fn stream(reply: &Reply, stamp: Stamp) -> Vec<Bytes> {
    let say = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        event(Some(name), &data)
    };
    let deltas: Vec<Value> = match reply.call() {
        Some((_, arguments)) => vec![json!({"type": "input_json_delta", "partial_json": arguments})],
        None => reply.words().iter().map(|word| json!({"type": "text_delta", "text": word})).collect(),
    };
    let mut chunks = vec![
        // The first count is of what was written so far: Anthropic starts at one.
        say("message_start", json!({"message": opened(reply, stamp, 1)})),
        say("content_block_start", json!({"index": 0, "content_block": block(reply, stamp, "", &json!({}))})),
        say("ping", json!({})),
    ];
    chunks.extend(
        deltas.into_iter().map(|delta| say("content_block_delta", json!({"index": 0, "delta": delta}))),
    );
    chunks.push(say("content_block_stop", json!({"index": 0})));
    let delta = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
    let used = json!({"output_tokens": reply.output_tokens});
    chunks.push(say("message_delta", json!({"delta": delta, "usage": used})));
    chunks.push(say("message_stop", json!({})));
    chunks
}
