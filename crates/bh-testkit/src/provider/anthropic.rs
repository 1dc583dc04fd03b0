//! Answers in Anthropic's wire: messages and token counts.

use serde_json::{Value, json};

use super::reply::{Reply, Usage, event};
use super::{Recorded, Script};

/// `POST …/messages`, plain or streamed as the request says.
pub(crate) fn messages(request: &Recorded, reply: &Reply) -> Script {
    let asked = request.json();
    if asked["stream"] == json!(true) {
        return message_stream(&asked, reply);
    }
    let block = match &reply.tool {
        Some(call) => tool_block(&call.name, &input_of(&call.arguments)),
        None => json!({"type": "text", "text": reply.text}),
    };
    let mut message = message(&asked, usage(reply.usage, reply.usage.output));
    message["content"] = json!([block]);
    message["stop_reason"] = json!(stop_reason(reply));
    Script::json(200, &message)
}

/// `POST …/messages/count_tokens`.
pub(crate) fn count_tokens(reply: &Reply) -> Script {
    Script::json(200, &json!({"input_tokens": reply.usage.input}))
}

fn message_stream(asked: &Value, reply: &Reply) -> Script {
    let say = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        event(Some(name), &data)
    };
    let start = message(asked, usage(reply.usage, 1));
    let (block, deltas) = match &reply.tool {
        Some(call) => {
            let delta = json!({"type": "input_json_delta", "partial_json": call.arguments});
            (tool_block(&call.name, &json!({})), vec![delta])
        }
        None => {
            let delta = |word: &&str| json!({"type": "text_delta", "text": word});
            (json!({"type": "text", "text": ""}), reply.words().iter().map(delta).collect())
        }
    };
    let mut chunks = vec![
        say("message_start", json!({ "message": start })),
        say("content_block_start", json!({"index": 0, "content_block": block})),
        say("ping", json!({})),
    ];
    chunks.extend(
        deltas.into_iter().map(|delta| say("content_block_delta", json!({"index": 0, "delta": delta}))),
    );
    chunks.push(say("content_block_stop", json!({"index": 0})));
    let delta = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
    let used = json!({"output_tokens": reply.usage.output});
    chunks.push(say("message_delta", json!({"delta": delta, "usage": used})));
    chunks.push(say("message_stop", json!({})));
    Script::stream(chunks)
}

fn message(asked: &Value, usage: Value) -> Value {
    json!({"id": "msg_fake", "type": "message", "role": "assistant", "model": asked["model"], "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage})
}

fn tool_block(name: &str, input: &Value) -> Value {
    json!({"type": "tool_use", "id": "toolu_fake", "name": name, "input": input})
}

fn input_of(arguments: &str) -> Value {
    serde_json::from_str(arguments).unwrap_or_else(|_| json!({}))
}

const fn stop_reason(reply: &Reply) -> &'static str {
    if reply.tool.is_some() { "tool_use" } else { "end_turn" }
}

/// Anthropic counts cached tokens apart from `input_tokens`.
fn usage(usage: Usage, output: u64) -> Value {
    let fresh = usage.input.saturating_sub(usage.cached + usage.cache_write);
    json!({"input_tokens": fresh, "cache_read_input_tokens": usage.cached,
        "cache_creation_input_tokens": usage.cache_write, "output_tokens": output})
}
