//! Exactly one place per dialect that builds an answer's body and its common headers.

use axum::body::Body;
use axum::response::Response;
use bh_domain::limit::RateVerdict;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use bh_wire::errors::{ErrorBody, envelope};
use bh_wire::family::Family;
use bh_wire::ratelimit::{RateLimit, write_limits, write_retry_after};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The header that names a request in logs, evidence and support calls.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Whose words an error is told in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `{"error","message"}`: Bulkhead's own control plane.
    Control,
    /// The provider family's envelope.
    Llm(Family),
    /// Google's AIP-193: the API-key server, whose generated clients read it (Talos dossier §2.6).
    Aip193,
    /// Seed 001's `{success,data,metadata}`: tenants and tools.
    Envelope,
}

/// Routes that speak AIP-193.
const AIP193_ROUTES: &str = "/v2alpha1/";
/// Who says so, in an AIP-193 error.
const ERROR_DOMAIN: &str = "www.ory.com/talos";
/// What the API-key server has always called these reasons. The others go by their own text, in capitals.
const AIP193_REASONS: &[(Code, &str)] = &[
    (Code::InvalidRequest, "BAD_REQUEST"),
    (Code::NetworkNotFound, "NOT_FOUND"),
    (Code::RateLimited, "TOO_MANY_REQUESTS"),
    (Code::Internal, "INTERNAL_SERVER_ERROR"),
    (Code::EvidenceUnavailable, "SERVICE_UNAVAILABLE"),
];

impl Dialect {
    /// The dialect of a route that is not the data plane's.
    pub(crate) fn of(path: &str) -> Self {
        if path.starts_with(AIP193_ROUTES) {
            Self::Aip193
        } else if crate::envelope::is_spoken_on(path) {
            Self::Envelope
        } else {
            Self::Control
        }
    }
}

/// A JSON answer.
pub(crate) fn json<T: serde::Serialize>(value: &T) -> Result<Response, Refusal> {
    json_with(StatusCode::OK, value)
}

/// A JSON answer with a status of its own.
pub(crate) fn json_with<T: serde::Serialize>(status: StatusCode, value: &T) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|error| internal("render an answer", &error))?;
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Has nobody on the way keep an answer.
pub(crate) fn never_kept(response: &mut Response) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// An answer without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// A fault of ours: logged here, once, with its cause; the caller gets a sentence and the request id.
pub(crate) fn internal(step: &'static str, error: &(dyn std::error::Error + 'static)) -> Refusal {
    tracing::error!(error, "could not {step}");
    Refusal::new(
        Code::Internal,
        "Something went wrong inside the gateway; its log has the cause under this request id",
    )
}

/// Renders a refusal.
pub(crate) fn refusal(refusal: &Refusal, dialect: Dialect, request_id: &str, now: Timestamp) -> Response {
    let row = refusal.code.row();
    let body = match dialect {
        Dialect::Control => control_body(refusal, request_id).into(),
        Dialect::Llm(family) => llm_body(refusal, family, request_id),
        Dialect::Aip193 => aip193_body(refusal).into(),
        Dialect::Envelope => crate::envelope::refusal_body(refusal, request_id, now).into(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if refusal.code == Code::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"bulkhead\""));
    }
    if let Some(seconds) = refusal.retry_after_s {
        write_retry_after(seconds, headers);
    }
    if let Some(rate) = &refusal.rate {
        rate_headers(headers, rate, now);
    }
    response
}

fn llm_body(refusal: &Refusal, family: Family, request_id: &str) -> bytes::Bytes {
    let row = refusal.code.row();
    let details: serde_json::Map<_, _> =
        refusal.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    let error = ErrorBody {
        code: row.text,
        status: row.status,
        message: &refusal.message,
        request_id,
        param: None,
        details: Some(&details),
    };
    envelope(family, &error)
}

fn control_body(refusal: &Refusal, request_id: &str) -> Vec<u8> {
    let mut body = serde_json::Map::new();
    if refusal.code == Code::RateLimited {
        // Seed 001's words for a 429, with the stable code beside them.
        body.insert("error".into(), refusal.message.clone().into());
        body.insert("code".into(), refusal.code.as_str().into());
        body.insert("retryAfter".into(), refusal.retry_after_s.unwrap_or(1).into());
    } else {
        body.insert("error".into(), refusal.code.as_str().into());
        body.insert("message".into(), refusal.message.clone().into());
    }
    body.extend(refusal.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())));
    body.insert("request_id".into(), request_id.into());
    serde_json::Value::Object(body).to_string().into_bytes()
}

/// `{"error":{"code","message","status","details":[ErrorInfo]}}`. Facts are texts: clients take no others.
fn aip193_body(refusal: &Refusal) -> Vec<u8> {
    let row = refusal.code.row();
    let mut facts: serde_json::Map<_, _> =
        refusal.details.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    if refusal.code == Code::NetworkNotFound {
        // Seed 003 words it so.
        facts.insert("code".to_owned(), grpc_status(row.status).into());
        facts.insert("reason".to_owned(), refusal.message.clone().into());
    }
    let reason = aip193_reason(refusal.code);
    let info = serde_json::json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": ERROR_DOMAIN,
        "metadata": facts,
    });
    let error = serde_json::json!({
        "code": row.status,
        "message": refusal.message,
        "status": if refusal.code == Code::FailedPrecondition { FAILED_PRECONDITION } else { grpc_status(row.status) },
        "details": [info],
    });
    serde_json::json!({ "error": error }).to_string().into_bytes()
}

/// What AIP-193 calls a reason.
pub(crate) fn aip193_reason(code: Code) -> String {
    let known = AIP193_REASONS.iter().find(|(named, _)| *named == code);
    known.map_or_else(|| code.as_str().to_ascii_uppercase(), |(_, reason)| (*reason).to_owned())
}

/// The one gRPC name that shares its HTTP status, 409, with another.
const FAILED_PRECONDITION: &str = "FAILED_PRECONDITION";

/// The gRPC name of an HTTP status.
fn grpc_status(status: u16) -> &'static str {
    match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ALREADY_EXISTS",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        405 | 501 => "UNIMPLEMENTED",
        400..=498 => "INVALID_ARGUMENT",
        502 | 503 => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

/// What a limit said, in all three header conventions.
pub(crate) fn rate_headers(headers: &mut HeaderMap, rate: &RateVerdict, now: Timestamp) {
    let told = RateLimit {
        name: rate.unit.as_str(),
        limit: rate.limit,
        remaining: rate.remaining,
        window_s: rate.period_s,
        reset_after_s: rate.reset_after_ns.div_ceil(1_000_000_000),
    };
    write_limits(&[told], u64::try_from(now.0 / 1_000).unwrap_or(0), headers);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aip_193_error_has_the_shape_that_generated_clients_read() {
        let body = |refusal: &Refusal| String::from_utf8(aip193_body(refusal)).unwrap();
        let unknown = Refusal::new(Code::NetworkNotFound, "network not found");
        assert_eq!(
            body(&unknown),
            r#"{"error":{"code":404,"message":"network not found","status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NOT_FOUND","domain":"www.ory.com/talos","metadata":{"code":"NOT_FOUND","reason":"network not found"}}]}}"#
        );
        let bad = Refusal::new(Code::InvalidRequest, "no").with("field", "ttl");
        assert_eq!(
            body(&bad),
            r#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BAD_REQUEST","domain":"www.ory.com/talos","metadata":{"field":"ttl"}}]}}"#
        );
    }

    #[test]
    fn reasons_are_capitals_digits_and_underscores() {
        for row in bh_domain::refusal::TABLE {
            let error: serde_json::Value =
                serde_json::from_slice(&aip193_body(&Refusal::new(row.code, "x"))).unwrap();
            let reason = error["error"]["details"][0]["reason"].as_str().unwrap();
            let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
            assert!(reason.bytes().all(plain), "{reason}");
        }
    }
}
