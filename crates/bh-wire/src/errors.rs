//! Error bodies in each dialect, before and inside a stream. The only place that builds them.
//!
//! Talon dossier §4.9, `reference/peers.md` §7.2: the official SDKs must raise their own typed exceptions. They choose
//! the class by status, and inside a stream by an `error` member of the event's data.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::family::Family;
use crate::meter::{Meter, Wire};

/// What went wrong, as plain data. Nothing in it may be secret: it is shown to the caller.
#[derive(Debug, Clone, Copy, Default)]
pub struct ErrorBody<'a> {
    /// The stable machine code; may be empty.
    pub code: &'a str,
    /// The HTTP status it is sent with, or would have been before a stream began.
    pub status: u16,
    /// One public sentence.
    pub message: &'a str,
    /// The id of the request, as in its header.
    pub request_id: &'a str,
    /// The request field at fault, where there is one.
    pub param: Option<&'a str>,
    /// Further public members (`remaining`, `retryAfter`, …), put beside the message; none named as a field here.
    pub details: Option<&'a Map<String, Value>>,
}

/// The body of an error answer in a provider's dialect.
#[must_use]
pub fn envelope(family: Family, error: &ErrorBody<'_>) -> Bytes {
    match family {
        Family::OpenAi => json(&OpenAi { error: OpenAiError::of(error) }),
        Family::Anthropic => json(&Anthropic::of(error)),
    }
}

/// The body of a control-plane error: `{"error": code, "message": text, …}` (seed 002).
#[must_use]
pub fn control_plane(error: &ErrorBody<'_>) -> Bytes {
    #[derive(Serialize)]
    struct ControlPlane<'a> {
        error: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        request_id: &'a str,
        #[serde(flatten)]
        details: Option<&'a Map<String, Value>>,
    }
    let ErrorBody { code, message, request_id, details, .. } = *error;
    json(&ControlPlane { error: code, message, request_id, details })
}

/// Anthropic's error type for a status.
#[must_use]
pub fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// OpenAI's error type for a status, used where there is no code to be the type.
#[must_use]
pub fn openai_type(status: u16) -> &'static str {
    match status {
        429 => "rate_limit_exceeded",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    }
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: Option<&'a str>,
    #[serde(flatten)]
    details: Option<&'a Map<String, Value>>,
}

impl<'a> OpenAiError<'a> {
    /// Talon puts the code into both `type` and `code`; clients of either field find it.
    fn of(error: &ErrorBody<'a>) -> Self {
        let code = Some(error.code).filter(|code| !code.is_empty());
        Self {
            message: error.message,
            r#type: code.unwrap_or(openai_type(error.status)),
            param: error.param,
            code,
            details: error.details,
        }
    }
}

#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    message: &'a str,
    /// Ours, beside Anthropic's two members: the reason in a form that a program can tell.
    #[serde(skip_serializing_if = "str::is_empty")]
    code: &'a str,
    #[serde(flatten)]
    details: Option<&'a Map<String, Value>>,
}

impl<'a> Anthropic<'a> {
    fn of(error: &ErrorBody<'a>) -> Self {
        let ErrorBody { code, status, message, request_id, details, .. } = *error;
        let error = AnthropicError { r#type: anthropic_type(status), message, code, details };
        Self { r#type: "error", error, request_id }
    }
}

/// The event that ends a running stream with an error.
///
/// * chat: `data: {"error": …}`, on which the SDKs raise. No `[DONE]` follows: a client that overlooks the error must
///   not find a proper end.
/// * Responses: `response.failed` with the failed response, which agents wait for, and the same error at the top
///   level, on which the SDKs raise.
/// * Anthropic: `event: error`.
pub(crate) fn stream_error(meter: &Meter, error: &ErrorBody<'_>) -> String {
    match meter.wire() {
        Wire::Chat => format!("data: {}\n\n", text(&OpenAi { error: OpenAiError::of(error) })),
        Wire::Messages => format!("event: error\ndata: {}\n\n", text(&Anthropic::of(error))),
        Wire::Responses => format!("event: response.failed\ndata: {}\n\n", response_failed(meter, error)),
    }
}

fn response_failed(meter: &Meter, error: &ErrorBody<'_>) -> String {
    let code = if error.code.is_empty() { openai_type(error.status) } else { error.code };
    let response = serde_json::json!({
        "id": meter.response_id,
        "object": "response",
        "status": "failed",
        "model": meter.model,
        "output": [],
        "error": { "code": code, "message": error.message },
        "incomplete_details": null,
        "usage": null,
    });
    let sequence_number = meter.sequence_number.map_or(0, |last| last.saturating_add(1));
    let event = serde_json::json!({
        "type": "response.failed",
        "sequence_number": sequence_number,
        "response": response,
        "error": OpenAiError::of(error),
    });
    event.to_string()
}

fn json<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(text(value))
}

fn text<T: Serialize>(value: &T) -> String {
    // Strings, numbers and maps with string keys always serialise; an empty object is still an honest JSON body.
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: ErrorBody<'_> = ErrorBody {
        code: "budget_exceeded",
        status: 403,
        message: "The daily budget is \"spent\".",
        request_id: "req_1",
        param: None,
        details: None,
    };

    fn string(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn openai_errors_have_message_type_param_and_code() {
        assert_eq!(
            string(&envelope(Family::OpenAi, &BUDGET)),
            r#"{"error":{"message":"The daily budget is \"spent\".","type":"budget_exceeded","param":null,"code":"budget_exceeded"}}"#
        );
        let bare = ErrorBody { code: "", status: 400, message: "no", param: Some("model"), ..BUDGET };
        assert_eq!(
            string(&envelope(Family::OpenAi, &bare)),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"model","code":null}}"#
        );
    }

    #[test]
    fn anthropic_errors_have_a_type_of_their_status() {
        assert_eq!(
            string(&envelope(Family::Anthropic, &BUDGET)),
            r#"{"type":"error","error":{"type":"permission_error","message":"The daily budget is \"spent\".","code":"budget_exceeded"},"request_id":"req_1"}"#
        );
        let types = [400, 401, 403, 404, 409, 413, 429, 500, 503, 529].map(anthropic_type);
        assert_eq!(
            types,
            [
                "invalid_request_error",
                "authentication_error",
                "permission_error",
                "not_found_error",
                "invalid_request_error",
                "request_too_large",
                "rate_limit_error",
                "api_error",
                "overloaded_error",
                "overloaded_error"
            ]
        );
    }

    #[test]
    fn details_stand_beside_the_message() {
        let details = Map::from_iter([("retryAfter".to_owned(), Value::from(7))]);
        let error = ErrorBody { code: "rate_limited", message: "slow", details: Some(&details), ..BUDGET };
        assert_eq!(
            string(&control_plane(&error)),
            r#"{"error":"rate_limited","message":"slow","request_id":"req_1","retryAfter":7}"#
        );
        assert!(
            string(&envelope(Family::OpenAi, &error)).ends_with(r#""code":"rate_limited","retryAfter":7}}"#)
        );
        assert!(
            string(&envelope(Family::Anthropic, &error)).contains(r#""code":"rate_limited","retryAfter":7}"#)
        );
    }
}
