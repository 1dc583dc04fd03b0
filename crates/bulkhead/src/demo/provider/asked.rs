//! What a request asks for, whichever of the three wires it came in.

use serde_json::{Map, Value, json};

use super::Rejection;
use super::reply::tokens;

/// How deep a tool's schema is followed when its arguments are made up.
const SCHEMA_DEPTH_MAX: usize = 8;
/// Output tokens of a request that sets no limit.
const OUTPUT_TOKENS_DEFAULT: u64 = 1_024;

/// A request in one form.
#[derive(Debug, PartialEq)]
pub(super) struct Asked {
    /// The model as it was asked for.
    pub(super) model: String,
    /// Whether the answer is to be streamed.
    pub(super) stream: bool,
    /// The last message's text.
    pub(super) prompt: String,
    /// Tokens of everything the model would have read.
    pub(super) input_tokens: u64,
    /// Most output tokens.
    pub(super) output_tokens_max: u64,
    /// The tool to be called, when one is offered and none has answered yet.
    pub(super) call: Option<ToolCall>,
    /// Whether the last message is what a tool returned.
    pub(super) after_tool: bool,
}

/// A call of one of the offered tools, with arguments that fit its schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// Where one wire keeps things.
struct Places {
    messages: &'static str,
    limits: &'static [&'static str],
    read: &'static [&'static str],
}

const CHAT: Places = Places {
    messages: "messages",
    limits: &["max_completion_tokens", "max_tokens"],
    read: &["messages", "tools"],
};
const RESPONSES: Places =
    Places { messages: "input", limits: &["max_output_tokens"], read: &["instructions", "input", "tools"] };
const MESSAGES: Places =
    Places { messages: "messages", limits: &["max_tokens"], read: &["system", "messages", "tools"] };

impl Asked {
    /// Reads a chat completion request.
    pub(super) fn chat(body: &Value) -> Result<Self, Rejection> {
        let after_tool = last(&body["messages"])["role"] == "tool";
        Self::read(body, &CHAT, after_tool)
    }

    /// Reads a Responses request.
    pub(super) fn responses(body: &Value) -> Result<Self, Rejection> {
        let after_tool = last(&body["input"])["type"] == "function_call_output";
        Self::read(body, &RESPONSES, after_tool)
    }

    /// Reads an Anthropic message request. `max_tokens` is required there.
    pub(super) fn message(body: &Value) -> Result<Self, Rejection> {
        if body["max_tokens"].as_u64().is_none_or(|max| max == 0) {
            return Err(Rejection::bad_request("`max_tokens` must be a positive number"));
        }
        Self::count(body)
    }

    /// Reads an Anthropic token count request: a message request without a limit.
    pub(super) fn count(body: &Value) -> Result<Self, Rejection> {
        let blocks = last(&body["messages"])["content"].as_array();
        let after_tool =
            blocks.is_some_and(|blocks| blocks.iter().any(|block| block["type"] == "tool_result"));
        Self::read(body, &MESSAGES, after_tool)
    }

    fn read(body: &Value, places: &Places, after_tool: bool) -> Result<Self, Rejection> {
        let model = body["model"].as_str().filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| Rejection::bad_request("`model` must name a model"))?;
        let messages = &body[places.messages];
        let empty = messages.as_array().map_or_else(|| messages.as_str().is_none(), Vec::is_empty);
        if empty {
            return Err(Rejection::bad_request(format!("`{}` must not be empty", places.messages)));
        }
        let limit = places.limits.iter().find_map(|name| body[*name].as_u64());
        Ok(Self {
            model: model.to_owned(),
            stream: body["stream"] == true,
            prompt: messages.as_str().map_or_else(|| said(last(messages)), str::to_owned),
            input_tokens: places.read.iter().map(|name| tokens_in(&body[*name])).sum(),
            output_tokens_max: limit.unwrap_or(OUTPUT_TOKENS_DEFAULT),
            call: if after_tool { None } else { tool_call(&body["tools"], &body["tool_choice"]) },
            after_tool,
        })
    }
}

fn last(messages: &Value) -> &Value {
    messages.as_array().and_then(|messages| messages.last()).unwrap_or(&Value::Null)
}

/// The text of a message: its content (or a tool's output), as it is or in parts.
fn said(message: &Value) -> String {
    let content = if message["content"].is_null() { &message["output"] } else { &message["content"] };
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(part).filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

fn part(part: &Value) -> String {
    part["text"]
        .as_str()
        .map_or_else(|| if part["content"].is_null() { String::new() } else { said(part) }, str::to_owned)
}

/// Tokens of every text in a value, names of fields aside.
fn tokens_in(value: &Value) -> u64 {
    match value {
        Value::String(text) => tokens(text),
        Value::Array(items) => items.iter().map(tokens_in).sum(),
        Value::Object(fields) => fields.values().map(tokens_in).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The tool that `tool_choice` names, else the first one offered; none when `tool_choice` forbids it.
fn tool_call(tools: &Value, choice: &Value) -> Option<ToolCall> {
    if choice == "none" || choice["type"] == "none" {
        return None;
    }
    let wanted = choice["function"]["name"].as_str().or_else(|| choice["name"].as_str());
    // Chat wraps a tool in `function`; the other two wires do not.
    let functions = tools.as_array()?.iter().map(|tool| tool.get("function").unwrap_or(tool));
    let mut named = functions.filter_map(|tool| Some((tool["name"].as_str()?, tool)));
    let (name, tool) = named.find(|(name, _)| wanted.is_none_or(|wanted| wanted == *name))?;
    let schema = tool.get("parameters").or_else(|| tool.get("input_schema")).unwrap_or(&Value::Null);
    Some(ToolCall { name: name.to_owned(), arguments: sample_object(schema, 0) })
}

/// A value that a JSON Schema of the usual kind accepts.
fn sample(schema: &Value, depth: usize) -> Value {
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind.unwrap_or("string") {
        "integer" | "number" => json!(1),
        "boolean" => json!(true),
        "array" => json!([]),
        "object" if depth < SCHEMA_DEPTH_MAX => sample_object(schema, depth + 1),
        "object" => json!({}),
        "null" => Value::Null,
        _ => json!("demo"),
    }
}

fn sample_object(schema: &Value, depth: usize) -> Value {
    let fields = schema["properties"].as_object().into_iter().flatten();
    Value::Object(fields.map(|(name, field)| (name.clone(), sample(field, depth))).collect::<Map<_, _>>())
}
