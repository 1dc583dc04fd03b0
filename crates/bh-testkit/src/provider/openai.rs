//! Answers in OpenAI's wires: chat completions, responses, embeddings, models.

use serde_json::{Value, json};

use super::reply::{Reply, Usage, event};
use super::{Recorded, Script};

const CREATED: u64 = 1_790_000_000;

/// `POST …/chat/completions`, plain or streamed as the request says.
pub(crate) fn chat(request: &Recorded, reply: &Reply) -> Script {
    let asked = request.json();
    let model = asked["model"].clone();
    if asked["stream"] == json!(true) {
        return chat_stream(&asked, &model, reply);
    }
    let (content, calls, finish) = match &reply.tool {
        None => (json!(reply.text), Value::Null, "stop"),
        Some(_) => (Value::Null, json!([chat_tool_call(reply)]), "tool_calls"),
    };
    let mut message = json!({"role": "assistant", "content": content, "refusal": null});
    if !calls.is_null() {
        message["tool_calls"] = calls;
    }
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": finish});
    Script::json(
        200,
        &json!({"id": "chatcmpl-fake", "object": "chat.completion", "created": CREATED, "model": model,
            "choices": [choice], "usage": chat_usage(reply.usage)}),
    )
}

fn chat_tool_call(reply: &Reply) -> Value {
    let call = reply.tool.as_ref();
    json!({"id": "call_fake", "type": "function", "function": {
        "name": call.map(|c| &c.name), "arguments": call.map(|c| &c.arguments)}})
}

fn chat_usage(usage: Usage) -> Value {
    json!({"prompt_tokens": usage.input, "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning}})
}

fn chat_stream(asked: &Value, model: &Value, reply: &Reply) -> Script {
    let with_usage = asked["stream_options"]["include_usage"] == json!(true);
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut data = json!({"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED,
            "model": model, "choices": choices});
        if with_usage {
            data["usage"] = usage.unwrap_or(Value::Null);
        }
        event(None, &data)
    };
    let delta = |delta: Value| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]);
    let mut chunks = vec![chunk(delta(json!({"role": "assistant", "content": ""})), None)];
    let finish = if reply.tool.is_some() {
        let mut call = chat_tool_call(reply);
        call["index"] = json!(0);
        chunks.push(chunk(delta(json!({"tool_calls": [call]})), None));
        "tool_calls"
    } else {
        chunks.extend(reply.words().iter().map(|word| chunk(delta(json!({"content": word})), None)));
        "stop"
    };
    let last = json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": finish}]);
    chunks.push(chunk(last, None));
    if with_usage {
        chunks.push(chunk(json!([]), Some(chat_usage(reply.usage))));
    }
    chunks.push(b"data: [DONE]\n\n".to_vec());
    Script::stream(chunks)
}

/// `POST …/responses`, plain or streamed.
pub(crate) fn responses(request: &Recorded, reply: &Reply) -> Script {
    let asked = request.json();
    let finished = response(&asked, reply, "completed");
    if asked["stream"] != json!(true) {
        return Script::json(200, &finished);
    }
    let mut sequence = 0;
    let mut say = |name: &str, mut data: Value| {
        data["type"] = json!(name);
        data["sequence_number"] = json!(sequence);
        sequence += 1;
        event(Some(name), &data)
    };
    let mut started = response(&asked, reply, "in_progress");
    started["output"] = json!([]);
    started["usage"] = Value::Null;
    let mut chunks = vec![say("response.created", json!({ "response": started }))];
    let item = finished["output"][0].clone();
    chunks.push(say("response.output_item.added", json!({"output_index": 0, "item": item})));
    for word in reply.words().iter().filter(|_| reply.tool.is_none()) {
        let place = json!({"item_id": "msg_fake", "output_index": 0, "content_index": 0, "delta": word,
            "logprobs": []});
        chunks.push(say("response.output_text.delta", place));
    }
    chunks.push(say("response.output_item.done", json!({"output_index": 0, "item": item})));
    chunks.push(say("response.completed", json!({ "response": finished })));
    Script::stream(chunks)
}

fn response(asked: &Value, reply: &Reply, status: &str) -> Value {
    let item = match &reply.tool {
        Some(call) => json!({"id": "fc_fake", "type": "function_call", "status": "completed",
            "call_id": "call_fake", "name": call.name, "arguments": call.arguments}),
        None => json!({"id": "msg_fake", "type": "message", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}]}),
    };
    let usage = reply.usage;
    json!({"id": "resp_fake", "object": "response", "created_at": CREATED, "status": status,
        "error": null, "incomplete_details": null, "instructions": null, "metadata": {},
        "model": asked["model"], "output": [item], "parallel_tool_calls": true, "tool_choice": "auto",
        "tools": [], "temperature": 1.0, "top_p": 1.0,
        "usage": {"input_tokens": usage.input, "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning},
            "total_tokens": usage.input + usage.output}})
}

/// `POST …/embeddings`: one small vector per input.
pub(crate) fn embeddings(request: &Recorded, reply: &Reply) -> Script {
    let asked = request.json();
    let count = asked["input"].as_array().map_or(1, Vec::len);
    // The SDKs ask for base64 by default: four little-endian f32 bytes per number.
    let as_base64 = asked["encoding_format"] == json!("base64");
    let vector = if as_base64 { json!("AACAPgAAAD8AAEA/") } else { json!([0.25, 0.5, 0.75]) };
    let data: Vec<Value> =
        (0..count).map(|index| json!({"object": "embedding", "index": index, "embedding": vector})).collect();
    let usage = json!({"prompt_tokens": reply.usage.input, "total_tokens": reply.usage.input});
    Script::json(200, &json!({"object": "list", "data": data, "model": asked["model"], "usage": usage}))
}

/// `GET …/models` and `GET …/models/{id}`.
pub(crate) fn models(request: &Recorded) -> Script {
    let model =
        |id: &str| json!({"id": id, "object": "model", "created": CREATED, "owned_by": "fake-provider"});
    match request.path().rsplit_once("/models/") {
        Some((_, id)) => Script::json(200, &model(id)),
        None => {
            let data = [model("gpt-4o-mini"), model("gpt-4o")];
            Script::json(200, &json!({"object": "list", "data": data}))
        }
    }
}
