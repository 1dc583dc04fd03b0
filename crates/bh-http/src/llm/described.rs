//! What these doors say of themselves. Bodies are the provider's own: they pass as they came, and are described where they
//! are at home.

use bh_domain::refusal::Code;
use bh_wire::family::Endpoint;
use serde_json::{Value, json};

use crate::matrix::{MATRIX, Row};
use crate::openapi::{self, Chapter, Operation, Schemas};

use super::Entry;
use crate::matrix::Family as Answering;

const ABOUT: &str = "LLM calls, metered and governed. Bodies are the provider's own, in both directions; refusals of ours are in \
                     its family's words. `X-Bulkhead-Session-Id` names a session, whose budget then holds.";
const OPENAI: &str = "https://platform.openai.com/docs/api-reference";
const ANTHROPIC: &str = "https://docs.anthropic.com/en/api";

/// Methods that the proxy passes on.
const PROXIED: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What a call is refused with beside what its row is.
const REFUSED: [Code; 18] = [
    Code::RequestTimeout,
    Code::NotFound,
    Code::ProviderUnknown,
    Code::ProviderNotAllowed,
    Code::ModelRequired,
    Code::ModelNotFound,
    Code::ModelNotAllowed,
    Code::UnmeteredPath,
    Code::BudgetExceeded,
    Code::SessionBudgetExceeded,
    Code::UpstreamCredentialMissing,
    Code::UnsupportedMediaType,
    Code::ShuttingDown,
    Code::UpstreamUnreachable,
    Code::UpstreamTimeout,
    Code::MethodNotAllowed,
    Code::Conflict,
    Code::FailedPrecondition,
];

pub(crate) fn chapter() -> Chapter {
    let operations = MATRIX.iter().flat_map(|row| match row.answer {
        Answering::Llm(entry) => of_row(row, entry),
        Answering::Control(_) | Answering::Later(_) => Vec::new(),
    });
    Chapter::new("LLM gateway", ABOUT, operations.collect())
}

fn of_row(row: &Row, entry: Entry) -> Vec<Operation> {
    match entry {
        Entry::Proxy => PROXIED.map(|method| proxied(row, method)).into(),
        Entry::Native(endpoint) | Entry::Quickstart(endpoint) => vec![native(row, endpoint)],
        Entry::Models => vec![models(row)],
    }
}

fn proxied(row: &Row, method: &'static str) -> Operation {
    let path = row.path.replace("{*", "{");
    let id = format!("proxy{}{}", &method[..1], method[1..].to_ascii_lowercase());
    let operation = Operation::new(method, &path, &id, "Call a provider")
        .text("What follows the provider's name is its own path; query, body and answer pass as they are.")
        .takes([
            openapi::path(
                "provider",
                "The name of a configured provider.",
                json!({"type": "string", "minLength": 1}),
            ),
            openapi::path(
                "rest",
                "The provider's own path, slashes included.",
                json!({"type": "string", "minLength": 1}),
            ),
        ])
        .tells_as("default", "The provider's own answer, with its own status.", &[("*/*", anything)])
        .refuses(&REFUSED);
    match method {
        "GET" | "DELETE" | "OPTIONS" => operation,
        _ => operation.passes("*/*", anything),
    }
}

fn anything(_: &mut Schemas) -> Value {
    json!({})
}

/// A native endpoint: its operation's id, what it does, where its body is described, and what the body must have.
struct Native {
    id: &'static str,
    summary: &'static str,
    shape: fn(&mut Schemas) -> Value,
    streams: bool,
}

fn native(row: &Row, endpoint: Endpoint) -> Operation {
    let Native { id, summary, shape, streams } = said_of(endpoint);
    let json = ("application/json", answer as fn(&mut Schemas) -> Value);
    let stream = ("text/event-stream", stream as fn(&mut Schemas) -> Value);
    let both = [json, stream];
    let content = if streams { &both[..] } else { &both[..1] };
    Operation::post(row.path, id, summary)
        .needs(shape)
        .tells_as("200", "The provider's own answer, whole or as server-sent events.", content)
        .tells_as("default", "The provider's own refusal, with its own status.", &[("*/*", anything)])
        .refuses(&REFUSED)
}

fn said_of(endpoint: Endpoint) -> Native {
    match endpoint {
        Endpoint::ChatCompletions => Native {
            id: "createChatCompletion",
            summary: "Complete a chat",
            shape: |_| request(OPENAI, "chat/create", "messages"),
            streams: true,
        },
        Endpoint::Completions => Native {
            id: "createCompletion",
            summary: "Complete a text",
            shape: |_| request(OPENAI, "completions/create", "prompt"),
            streams: true,
        },
        Endpoint::Responses => Native {
            id: "createResponse",
            summary: "Make a response",
            shape: |_| request(OPENAI, "responses/create", "input"),
            streams: true,
        },
        Endpoint::Embeddings => Native {
            id: "createEmbedding",
            summary: "Embed texts",
            shape: |_| request(OPENAI, "embeddings/create", "input"),
            streams: false,
        },
        Endpoint::Messages => Native {
            id: "createMessage",
            summary: "Make a message",
            shape: |_| request(ANTHROPIC, "messages", "messages"),
            streams: true,
        },
        Endpoint::CountTokens => Native {
            id: "countMessageTokens",
            summary: "Count a message's tokens",
            shape: |_| request(ANTHROPIC, "messages-count-tokens", "messages"),
            streams: false,
        },
        Endpoint::Models | Endpoint::Other => {
            Native { id: "call", summary: "Call", shape: anything, streams: false }
        }
    }
}

/// The body of a call: the model is ours to read, the rest the provider's.
fn request(site: &str, page: &str, input: &str) -> Value {
    json!({
        "type": "object",
        "description": format!("The provider's own, see {site}/{page}. What is not named here passes as it is."),
        "properties": {
            "model": {"type": "string", "description": "A model, `provider/model`, or an alias."},
            input: {"description": "As the provider takes it."},
        },
        "required": ["model"],
    })
}

fn answer(_: &mut Schemas) -> Value {
    json!({"type": "object", "description": "The provider's own."})
}

fn stream(_: &mut Schemas) -> Value {
    json!({"type": "string", "description": "The provider's own server-sent events."})
}

fn models(row: &Row) -> Operation {
    let path = row.path.replace("{*", "{");
    let text = "In Anthropic's words where `anthropic-version` is sent, else in OpenAI's.";
    let version = openapi::header("anthropic-version", "Asks in Anthropic's words.");
    let operation = if row.path.contains('{') {
        let id = openapi::path(
            "model",
            "The model's id, slashes included.",
            json!({"type": "string", "minLength": 1}),
        );
        Operation::get(&path, "showModel", "Show a model that the asker may use")
            .takes([id])
            .tells("200", "The model.", model)
            .refuses(&[Code::ModelNotFound])
    } else {
        Operation::get(&path, "listModels", "List the models that the asker may use").tells(
            "200",
            "The models.",
            catalogue,
        )
    };
    operation.text(text).takes([version]).refuses(&[Code::ShuttingDown])
}

fn model(schemas: &mut Schemas) -> Value {
    schemas.written("Model", |_| {
        let text = json!({"type": "string"});
        json!({"anyOf": [
            {
                "type": "object",
                "properties": {"id": text, "object": {"const": "model"}, "created": {"type": "integer"}, "owned_by": text},
                "required": ["id", "object", "created", "owned_by"],
            },
            {
                "type": "object",
                "properties": {
                    "type": {"const": "model"},
                    "id": text,
                    "display_name": text,
                    "created_at": {"type": "string", "format": "date-time"},
                },
                "required": ["type", "id", "display_name", "created_at"],
            },
        ]})
    })
}

fn catalogue(schemas: &mut Schemas) -> Value {
    let model = model(schemas);
    let maybe = json!({"type": ["string", "null"]});
    json!({
        "type": "object",
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": model},
            "has_more": {"type": "boolean"},
            "first_id": maybe,
            "last_id": maybe,
        },
        "required": ["data"],
    })
}
