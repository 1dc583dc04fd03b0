//! The demo provider: answers like OpenAI under `/openai` and like Anthropic under `/anthropic`, without a model.
//!
//! It exists so that `bulkhead demo` shows a whole call on a machine that has nothing else. Nothing it says can be
//! taken for a model's answer: the model is named `demo-…`, the text says what it is, and every answer carries
//! `x-bulkhead-demo: provider`. Same question, same words, same token counts.

mod anthropic;
mod asked;
mod embeddings;
mod openai;
mod reply;
mod responses;
mod server;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

pub(super) use server::DemoProvider;

/// Path prefix of the OpenAI wire, which is that provider's base URL in the demo's configuration.
pub(super) const OPENAI_PREFIX: &str = "/openai";
/// Path prefix of the Anthropic wire.
pub(super) const ANTHROPIC_PREFIX: &str = "/anthropic";
/// What the catalogues list.
const OPENAI_MODELS: [&str; 3] = ["gpt-4o-mini", "gpt-5.5", "text-embedding-3-small"];
const ANTHROPIC_MODELS: [&str; 2] = ["claude-haiku-4-5", "claude-sonnet-4-5"];

/// What tells two answers apart: which one it is, and when the provider started.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    /// Counts answers from 1.
    serial: u64,
    /// Seconds since the epoch.
    created: u64,
}

/// An answer before it is on the wire.
#[derive(Debug, PartialEq)]
enum Answer {
    /// A whole JSON body.
    Json(StatusCode, Value),
    /// Server-sent events, one chunk each.
    Stream(Vec<Bytes>),
}

/// A request the provider does not take.
#[derive(Debug, PartialEq, Eq)]
struct Rejection {
    status: StatusCode,
    message: String,
}

impl Rejection {
    fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, message: message.into() }
    }
}

/// Which provider's words an answer is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    OpenAi,
    Anthropic,
}

impl Wire {
    /// The wire a path belongs to, and the path below its prefix.
    fn of(path: &str) -> (Self, &str) {
        match path.strip_prefix(ANTHROPIC_PREFIX) {
            Some(rest) => (Self::Anthropic, rest),
            None => (Self::OpenAi, path.strip_prefix(OPENAI_PREFIX).unwrap_or(path)),
        }
    }

    /// A rejection in this provider's error shape.
    fn rejected(self, rejection: &Rejection) -> Answer {
        let message = format!("Demo provider: {}", rejection.message);
        let kind = match (self, rejection.status) {
            (Self::Anthropic, StatusCode::NOT_FOUND) => "not_found_error",
            (Self::Anthropic, StatusCode::PAYLOAD_TOO_LARGE) => "request_too_large",
            _ => "invalid_request_error",
        };
        let body = match self {
            Self::OpenAi => json!({"error": {"message": message, "type": kind, "param": null, "code": null}}),
            Self::Anthropic => json!({"type": "error", "error": {"type": kind, "message": message}}),
        };
        Answer::Json(rejection.status, body)
    }
}

/// Answers one request. Pure: the same request with the same stamp has the same answer.
fn answer(method: &Method, path: &str, body: &[u8], stamp: Stamp) -> Answer {
    let (wire, rest) = Wire::of(path);
    let answered = match (wire, method, rest) {
        (Wire::OpenAi, &Method::POST, "/v1/chat/completions") => {
            with_json(body, |asked| openai::chat(asked, stamp))
        }
        (Wire::OpenAi, &Method::POST, "/v1/responses") => {
            with_json(body, |asked| responses::respond(asked, stamp))
        }
        (Wire::OpenAi, &Method::POST, "/v1/embeddings") => with_json(body, embeddings::embed),
        (Wire::Anthropic, &Method::POST, "/v1/messages") => {
            with_json(body, |asked| anthropic::message(asked, stamp))
        }
        (Wire::Anthropic, &Method::POST, "/v1/messages/count_tokens") => {
            with_json(body, anthropic::count_tokens)
        }
        (_, &Method::GET, _) if rest == "/v1/models" || rest.starts_with("/v1/models/") => {
            models(wire, rest, stamp)
        }
        _ => Err(Rejection::not_found(format!("there is no {method} {rest}"))),
    };
    answered.unwrap_or_else(|rejection| wire.rejected(&rejection))
}

fn with_json(
    body: &[u8],
    respond: impl FnOnce(&Value) -> Result<Answer, Rejection>,
) -> Result<Answer, Rejection> {
    let asked: Value = serde_json::from_slice(body)
        .map_err(|error| Rejection::bad_request(format!("the body is not valid JSON: {error}")))?;
    respond(&asked)
}

/// `GET /v1/models` and `GET /v1/models/{id}` of either wire.
fn models(wire: Wire, path: &str, stamp: Stamp) -> Result<Answer, Rejection> {
    let known: &[&str] = match wire {
        Wire::OpenAi => &OPENAI_MODELS,
        Wire::Anthropic => &ANTHROPIC_MODELS,
    };
    let model = |id: &&str| match wire {
        Wire::OpenAi => {
            json!({"id": id, "object": "model", "created": stamp.created, "owned_by": "bulkhead-demo"})
        }
        Wire::Anthropic => json!({"type": "model", "id": id, "display_name": format!("Demo of {id}"),
            "created_at": "2026-11-01T00:00:00Z"}),
    };
    let body = match path.strip_prefix("/v1/models/") {
        Some(id) => {
            let found = known.iter().find(|known| **known == id);
            model(found.ok_or_else(|| Rejection::not_found(format!("there is no model `{id}`")))?)
        }
        None => {
            let data: Vec<Value> = known.iter().map(model).collect();
            match wire {
                Wire::OpenAi => json!({"object": "list", "data": data}),
                Wire::Anthropic => json!({"data": data, "has_more": false,
                    "first_id": known.first(), "last_id": known.last()}),
            }
        }
    };
    Ok(Answer::Json(StatusCode::OK, body))
}

/// One server-sent event.
fn event(name: Option<&str>, data: &Value) -> Bytes {
    match name {
        Some(name) => Bytes::from(format!("event: {name}\ndata: {data}\n\n")),
        None => Bytes::from(format!("data: {data}\n\n")),
    }
}
