//! One attempt at one delivery: signed, sent, and judged by the status that comes back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bh_domain::time::{SECOND_MS, Timestamp};
use bh_domain::webhook::{retry_after, signature_header};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::ports::{
    Attempt, ProviderBody, ProviderRequest, ProviderResponse, SendFault, SendFaultKind, Upstream,
};
use crate::snapshot::WebhookEndpoint;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const AGENT: &str = concat!("Bulkhead-Webhooks/", env!("CARGO_PKG_VERSION"));
/// What is read of an answer before the connection is given up; nobody looks at it.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// And how long that may take.
const ANSWER_WITHIN: Duration = Duration::from_millis(500);
const NO_ANSWER: &str = "did not answer within `webhooks.timeout_ms`";
/// The longest reason that is kept.
const ERROR_CHARS_MAX: usize = 300;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'m> {
    /// The event's id: the same in every attempt and at every endpoint.
    pub(super) id: &'m str,
    /// The body.
    pub(super) payload: &'m str,
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Attempted {
    /// The endpoint took it.
    Taken(StatusCode),
    /// It may be tried again.
    Failed {
        /// What the endpoint answered, if it did.
        status: Option<StatusCode>,
        /// Why, for people.
        error: String,
        /// How long the endpoint wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// The endpoint says that it is gone for good (410).
    Gone,
    /// It is where the endpoint may not be.
    Forbidden(String),
}

/// Sends a message once.
pub(super) async fn attempt(
    upstream: &Arc<dyn Upstream>,
    endpoint: &WebhookEndpoint,
    message: Message<'_>,
    timeout: Duration,
    now: Timestamp,
) -> Attempted {
    let Some(request) = request(endpoint, message, timeout, now) else {
        return Attempted::Forbidden("the event's id cannot be a header".to_owned());
    };
    match tokio::time::timeout(timeout, upstream.send(request)).await {
        Ok(Ok(response)) => judged(response, now).await,
        Ok(Err(fault)) => not_sent(&fault),
        Err(_) => failed(None, NO_ANSWER.to_owned()),
    }
}

fn request(
    endpoint: &WebhookEndpoint,
    message: Message<'_>,
    timeout: Duration,
    now: Timestamp,
) -> Option<ProviderRequest> {
    let body = Full::new(Bytes::from(message.payload.to_owned())).map_err(|never| match never {});
    Some(ProviderRequest {
        method: Method::POST,
        uri: endpoint.uri.clone(),
        headers: headers(endpoint, message, now)?,
        body: body.boxed_unsync(),
        attempt: Attempt {
            connect_timeout: timeout,
            header_timeout: timeout,
            private_network: endpoint.private_network,
        },
    })
}

fn headers(endpoint: &WebhookEndpoint, message: Message<'_>, now: Timestamp) -> Option<HeaderMap> {
    let at_s = now.0.div_euclid(SECOND_MS);
    let signature = signature_header(&endpoint.secrets, message.id, at_s, message.payload.as_bytes());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(WEBHOOK_ID, HeaderValue::from_str(message.id).ok()?);
    headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(at_s));
    headers.insert(WEBHOOK_SIGNATURE, HeaderValue::from_str(&signature).ok()?);
    Some(headers)
}

/// What an answer means. Its body is read to its end, so that the connection can be used again, but no further than a bound.
async fn judged(response: ProviderResponse, now: Timestamp) -> Attempted {
    let ProviderResponse { status, headers, body } = response;
    // The status has said it all, whatever becomes of the rest.
    read_up(body).await;
    if status.is_success() {
        return Attempted::Taken(status);
    }
    if status == StatusCode::GONE {
        return Attempted::Gone;
    }
    let asked = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let error = if status.is_redirection() {
        format!("answered {}: redirects are not followed", status.as_u16())
    } else {
        format!("answered {}", status.as_u16())
    };
    let retry_after = asked.and_then(|text| retry_after(text, now));
    Attempted::Failed { status: Some(status), error, retry_after }
}

/// Reads the rest of an answer up to a bound, and forgets it.
async fn read_up(mut body: ProviderBody) {
    let reading = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > ANSWER_BYTES_MAX {
                return;
            }
        }
    };
    // Too slow is as good as the end: the connection is closed then.
    tokio::time::timeout(ANSWER_WITHIN, reading).await.ok();
}

fn not_sent(fault: &SendFault) -> Attempted {
    let mut cause: &dyn Error = fault.cause.as_ref();
    while let Some(source) = cause.source() {
        cause = source;
    }
    match fault.kind {
        SendFaultKind::Forbidden => Attempted::Forbidden(
            "its address is loopback, private or link-local: set `allow_private_network` on the endpoint to allow that"
                .to_owned(),
        ),
        SendFaultKind::Connect => failed(None, format!("could not connect: {cause}")),
        SendFaultKind::Timeout => failed(None, NO_ANSWER.to_owned()),
        SendFaultKind::Broken | SendFaultKind::CallerBody => failed(None, format!("the connection broke: {cause}")),
    }
}

fn failed(status: Option<StatusCode>, error: String) -> Attempted {
    let error = error.chars().take(ERROR_CHARS_MAX).collect();
    Attempted::Failed { status, error, retry_after: None }
}
