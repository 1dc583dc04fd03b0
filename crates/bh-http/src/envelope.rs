//! Seed 001's envelope: `{"success","data","metadata"}` and `{"success":false,"error","metadata"}` (Connectors dossier
//! §2.1), told on `/api/v1/`.

use axum::response::Response;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::ask::Ask;
use crate::openapi::Schemas;
use crate::respond;

/// The version of the envelope, as its clients know it.
const VERSION: &str = "1.0.0";
/// What a limit is told with.
pub(crate) const LIMITED: &str = "Rate limit exceeded";

/// What these clients have always called these reasons. The others go by their own text, in capitals.
const NAMES: &[(Code, &str)] = &[
    (Code::Unauthorized, "INVALID_API_KEY"),
    (Code::InvalidRequest, "VALIDATION_ERROR"),
    (Code::Internal, "INTERNAL_SERVER_ERROR"),
    (Code::EvidenceUnavailable, "SERVICE_UNAVAILABLE"),
];

/// Whether a route speaks it. The live metrics of the dashboard share the prefix and do not.
pub(crate) fn is_spoken_on(path: &str) -> bool {
    path.starts_with("/api/v1/") && !path.starts_with("/api/v1/metrics")
}

/// An answer. `further` is what more it says about itself, such as where the next page begins.
pub(crate) fn data<T: Serialize>(
    ask: &Ask,
    status: StatusCode,
    data: &T,
    further: Map<String, Value>,
) -> Result<Response, Refusal> {
    data_beside(ask, status, data, further, &Value::Null)
}

/// The same, with members beside it where older clients look for them; `error` would be the answer's own, and is none of them.
pub(crate) fn data_beside<T: Serialize>(
    ask: &Ask,
    status: StatusCode,
    data: &T,
    further: Map<String, Value>,
    beside: &Value,
) -> Result<Response, Refusal> {
    let mut told = json!({"success": true, "data": data, "metadata": metadata_with(ask, further)});
    if let (Value::Object(told), Value::Object(beside)) = (&mut told, beside) {
        for (name, value) in beside.iter().filter(|(name, _)| *name != "error") {
            told.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    respond::json_with(status, &told)
}

/// What an answer says of itself, and what more.
pub(crate) fn metadata_with(ask: &Ask, further: Map<String, Value>) -> Map<String, Value> {
    let mut metadata = metadata(&ask.request_id, ask.doors.clock.now());
    metadata.extend(further);
    metadata
}

/// The schema of an answer with a `T`.
pub(crate) fn shape<T: JsonSchema>(schemas: &mut Schemas) -> Value {
    let (data, metadata) = (schemas.told::<T>(), metadata_shape(schemas));
    enveloped(&data, &metadata)
}

/// The schema of an answer with data of this schema.
pub(crate) fn around(schemas: &mut Schemas, data: &Value) -> Value {
    enveloped(data, &metadata_shape(schemas))
}

/// The schema of a page of `T`s: what more it says is where the next one begins.
pub(crate) fn page_shape<T: JsonSchema>(schemas: &mut Schemas) -> Value {
    let (data, metadata) = (schemas.told::<Vec<T>>(), metadata_shape(schemas));
    let next =
        json!({"type": ["string", "null"], "description": "Where the next page begins; `null` on the last."});
    let page = json!({"type": "object", "properties": {"nextCursor": next}, "required": ["nextCursor"]});
    enveloped(&data, &json!({"allOf": [metadata, page]}))
}

fn enveloped(data: &Value, metadata: &Value) -> Value {
    json!({
        "type": "object",
        "properties": {"success": {"const": true}, "data": data, "metadata": metadata},
        "required": ["success", "data", "metadata"],
    })
}

/// What every answer says of itself.
pub(crate) fn metadata_shape(schemas: &mut Schemas) -> Value {
    schemas.written("Metadata", |_| {
        json!({
            "type": "object",
            "properties": {
                "timestamp": {"type": "string", "format": "date-time"},
                "requestId": {"type": "string"},
                "version": {"const": VERSION},
            },
            "required": ["timestamp", "requestId", "version"],
        })
    })
}

/// The body of a refusal. A limit's words are the seed's: there, `error` is a text.
pub(crate) fn refusal_body(refusal: &Refusal, request_id: &str, now: Timestamp) -> Vec<u8> {
    let code = name(refusal.code);
    let context = || -> Map<String, Value> {
        refusal.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect()
    };
    let mut body = Map::from_iter([("success".to_owned(), Value::Bool(false))]);
    if refusal.code == Code::RateLimited {
        body.insert("error".into(), LIMITED.into());
        body.insert("code".into(), code.into());
        body.insert("message".into(), refusal.message.clone().into());
        body.insert("retryAfter".into(), refusal.retry_after_s.unwrap_or(1).into());
        body.insert("limits".into(), limits(refusal, now));
    } else {
        let mut error = json!({"code": code, "message": refusal.message});
        if !refusal.details.is_empty() {
            error["context"] = context().into();
        }
        body.insert("error".into(), error);
    }
    body.insert("metadata".into(), metadata(request_id, now).into());
    Value::Object(body).to_string().into_bytes()
}

/// The limit that refused.
fn limits(refusal: &Refusal, now: Timestamp) -> Value {
    let Some(rate) = &refusal.rate else { return Value::Null };
    let reset_after_ms = i64::try_from(rate.reset_after_ns.div_ceil(1_000_000)).unwrap_or(i64::MAX);
    json!({
        "scope": refusal.details.iter().find(|(name, _)| *name == "limited").map(|(_, whose)| whose),
        "limit": rate.limit,
        "window": format!("{} s", rate.period_s),
        "remaining": rate.remaining,
        "resetAt": now.plus_ms(reset_after_ms).rfc3339(),
    })
}

fn metadata(request_id: &str, now: Timestamp) -> Map<String, Value> {
    let told =
        [("timestamp", now.rfc3339()), ("requestId", request_id.to_owned()), ("version", VERSION.to_owned())];
    told.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

pub(crate) fn name(code: Code) -> String {
    let known = NAMES.iter().find(|(named, _)| *named == code);
    known.map_or_else(|| code.as_str().to_ascii_uppercase(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(refused: &Refusal) -> Value {
        serde_json::from_slice(&refusal_body(refused, "r-1", Timestamp(1_000))).unwrap()
    }

    #[test]
    fn a_refusal_names_its_code_and_what_helps() {
        let refused = Refusal::new(Code::InvalidRequest, "`plan` is not one").with("field", "plan");
        let body = json!({
            "success": false,
            "error": {"code": "VALIDATION_ERROR", "message": "`plan` is not one", "context": {"field": "plan"}},
            "metadata": {"timestamp": "1970-01-01T00:00:01.000Z", "requestId": "r-1", "version": "1.0.0"},
        });
        assert_eq!(told(&refused), body);
    }

    #[test]
    fn a_limit_is_told_in_the_seeds_words() {
        let body = told(&Refusal::new(Code::RateLimited, "Too many requests").retry_after(7));
        assert_eq!((&body["error"], &body["retryAfter"]), (&json!("Rate limit exceeded"), &json!(7)));
        assert_eq!((&body["success"], &body["code"]), (&json!(false), &json!("RATE_LIMITED")));
    }
}
