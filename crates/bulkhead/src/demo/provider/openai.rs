//! Chat completions in OpenAI's wire.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::asked::Asked;
use super::reply::Reply;
use super::{Answer, Rejection, Stamp, event};

/// `POST /v1/chat/completions`, plain or streamed as the request says.
pub(super) fn chat(body: &Value, stamp: Stamp) -> Result<Answer, Rejection> {
    let asked = Asked::chat(body)?;
    let reply = Reply::to(&asked);
    if asked.stream {
        let with_usage = body["stream_options"]["include_usage"] == true;
        return Ok(Answer::Stream(stream(&reply, stamp, with_usage)));
    }
    let mut message = json!({"role": "assistant", "content": reply.text(), "refusal": null});
    if let Some(call) = tool_call(&reply, stamp) {
        message["content"] = Value::Null;
        message["tool_calls"] = json!([call]);
    }
    let choice =
        json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(&reply)});
    let mut body = head("chat.completion", &reply, stamp);
    body["choices"] = json!([choice]);
    body["usage"] = usage(&reply);
    Ok(Answer::Json(StatusCode::OK, body))
}

fn head(object: &str, reply: &Reply, stamp: Stamp) -> Value {
    json!({"id": format!("chatcmpl-demo-{}", stamp.serial), "object": object, "created": stamp.created,
        "model": reply.model})
}

fn tool_call(reply: &Reply, stamp: Stamp) -> Option<Value> {
    let (name, arguments) = reply.call()?;
    Some(json!({"id": format!("call_demo_{}", stamp.serial), "type": "function",
        "function": {"name": name, "arguments": arguments}}))
}

fn finish_reason(reply: &Reply) -> &'static str {
    match (reply.call(), reply.is_cut()) {
        (Some(_), _) => "tool_calls",
        (None, true) => "length",
        (None, false) => "stop",
    }
}

fn usage(reply: &Reply) -> Value {
    json!({"prompt_tokens": reply.input_tokens, "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0}})
}

fn stream(reply: &Reply, stamp: Stamp, with_usage: bool) -> Vec<Bytes> {
    let chunk = |choices: Value, usage: Value| {
        let mut data = head("chat.completion.chunk", reply, stamp);
        data["choices"] = choices;
        if with_usage {
            data["usage"] = usage;
        }
        event(None, &data)
    };
    let choice = |delta: Value, finish: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
        chunk(json!([choice]), Value::Null)
    };
    let mut chunks = vec![choice(json!({"role": "assistant", "content": ""}), None)];
    if let Some(mut call) = tool_call(reply, stamp) {
        call["index"] = json!(0);
        chunks.push(choice(json!({"tool_calls": [call]}), None));
    }
    chunks.extend(reply.words().iter().map(|word| choice(json!({"content": word}), None)));
    chunks.push(choice(json!({}), Some(finish_reason(reply))));
    if with_usage {
        chunks.push(chunk(json!([]), usage(reply)));
    }
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    chunks
}
