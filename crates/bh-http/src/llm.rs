//! The LLM data plane's door: requests in, metered answers out, errors in the provider family's own words.

mod described;

use axum::body::Body;
use axum::response::Response;
use bh_app::identity::Knock;
use bh_app::llm::{self as story, Answered, Inbound, ModelEntry, Refused};
use bh_domain::refusal::Refusal;
use bh_wire::Family;
use bh_wire::family::Endpoint;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;

use crate::ask::Doors;
use crate::matrix::{self, Row};
use crate::respond::{self, Dialect, REQUEST_ID};
use crate::router::Arrival;

pub(crate) use described::chapter;

const OVERHEAD: HeaderName = HeaderName::from_static("x-bulkhead-overhead-us");
const OWN_REQUEST_ID: HeaderName = HeaderName::from_static("x-bulkhead-request-id");
/// Anthropic's SDKs read the request id from this header.
const ANTHROPIC_REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const SESSION: HeaderName = HeaderName::from_static("x-bulkhead-session-id");
const TALON_SESSION: HeaderName = HeaderName::from_static("x-talon-session-id");

/// Which part of the data plane a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// `/v1/proxy/{provider}/{rest}`.
    Proxy,
    /// A governed native route.
    Native(Endpoint),
    /// The host root of the quickstart.
    Quickstart(Endpoint),
    /// The catalogue of models.
    Models,
}

/// What a row answers under `serve --proxy-quickstart`: the host root serves the two quickstart routes and nothing
/// else of the OpenAI surface (seed 002). `None` = no such route.
pub(crate) fn under_quickstart(row: &Row) -> Option<matrix::Family> {
    let matrix::Family::Llm(entry) = row.answer else { return Some(row.answer) };
    match entry {
        Entry::Native(endpoint @ (Endpoint::ChatCompletions | Endpoint::Responses)) => {
            Some(matrix::Family::Llm(Entry::Quickstart(endpoint)))
        }
        Entry::Native(_) | Entry::Models => None,
        Entry::Proxy | Entry::Quickstart(_) => Some(row.answer),
    }
}

/// A new request id: sorts by time, so that an index over it grows at its end.
pub(crate) fn new_request_id() -> String {
    let mut id = String::with_capacity(35);
    id.push_str("gw_");
    id.push_str(uuid::Uuid::now_v7().simple().encode_lower(&mut uuid::Uuid::encode_buffer()));
    id
}

/// Serves one call.
pub(crate) async fn answer(
    doors: &Doors,
    entry: Entry,
    request: Request<Body>,
    arrival: Arrival,
) -> Response {
    let started_ns = doors.clock.monotonic_ns();
    let entry = match entry {
        Entry::Proxy => {
            let (provider, rest) = proxied(request.uri().path());
            story::Entry::Proxy { provider, rest }
        }
        Entry::Native(endpoint) => story::Entry::Native(endpoint),
        Entry::Quickstart(endpoint) => story::Entry::Quickstart(endpoint),
        Entry::Models => return Box::pin(models(doors, &[], &request.into_parts().0, &arrival)).await,
    };
    let request_id = new_request_id();
    let outcome = call(doors, entry, request, arrival, &request_id, started_ns).await;
    told(doors, outcome, request_id)
}

/// Lists the models a caller may ask for, or one of them.
pub(crate) async fn models(
    doors: &Doors,
    path: &[(String, String)],
    head: &Parts,
    arrival: &Arrival,
) -> Response {
    told(doors, listed(doors, path, head, arrival).await, new_request_id())
}

/// The answer with its ids, whatever it is.
fn told(doors: &Doors, outcome: Result<Response, Refused>, request_id: String) -> Response {
    let mut response = outcome.unwrap_or_else(|refused| {
        doors.metrics.refusal(refused.refusal.code.as_str());
        let dialect = Dialect::Llm(refused.family);
        let mut response = respond::refusal(&refused.refusal, dialect, &request_id, doors.clock.now());
        echo_session(&mut response, refused.session_id.as_deref());
        response
    });
    if let Ok(value) = HeaderValue::try_from(request_id) {
        let headers = response.headers_mut();
        // A provider's own id is worth more to its support than ours, and ours is in evidence beside it.
        headers.entry(ANTHROPIC_REQUEST_ID).or_insert_with(|| value.clone());
        headers.entry(REQUEST_ID).or_insert_with(|| value.clone());
        headers.insert(OWN_REQUEST_ID, value);
    }
    response
}

/// Splits `/v1/proxy/{provider}/{rest}` without decoding the rest: it goes to the provider as the client wrote it.
fn proxied(path: &str) -> (String, String) {
    let after = path.strip_prefix("/v1/proxy/").unwrap_or_default();
    let (provider, rest) = after.split_once('/').unwrap_or((after, ""));
    (provider.to_owned(), format!("/{rest}"))
}

async fn call(
    doors: &Doors,
    entry: story::Entry,
    request: Request<Body>,
    arrival: Arrival,
    request_id: &str,
    started_ns: u64,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let Arrival { snapshot, host, peer, request_id: _ } = arrival;
    let inbound = Inbound {
        entry,
        snapshot,
        host,
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body: body.map_err(Into::into).boxed_unsync(),
        peer,
        request_id: request_id.to_owned(),
        started_ns,
    };
    let Answered { response, rate, overhead_us, session_id } = doors.llm.call(inbound).await?;
    doors.metrics.overhead(overhead_us);
    let mut response = response.map(Body::new);
    let headers = response.headers_mut();
    headers.insert(OVERHEAD, HeaderValue::from(overhead_us));
    if let Some(rate) = &rate {
        respond::rate_headers(headers, rate, doors.clock.now());
    }
    echo_session(&mut response, session_id.as_deref());
    Ok(response)
}

fn echo_session(response: &mut Response, session_id: Option<&str>) {
    if let Some(Ok(value)) = session_id.map(HeaderValue::from_str) {
        response.headers_mut().insert(SESSION, value.clone());
        response.headers_mut().insert(TALON_SESSION, value);
    }
}

async fn listed(
    doors: &Doors,
    path: &[(String, String)],
    head: &Parts,
    arrival: &Arrival,
) -> Result<Response, Refused> {
    let family =
        if head.headers.contains_key("anthropic-version") { Family::Anthropic } else { Family::OpenAi };
    let refused = |refusal| Refused { refusal: Box::new(refusal), family, session_id: None };
    let Arrival { snapshot, host, peer, request_id: _ } = arrival;
    let knock = Knock::of(snapshot, host, *peer, head);
    let (listed, rate) = doors.llm.models(snapshot, knock).await.map_err(refused)?;
    let wanted = path.iter().find(|(name, _)| name == "model").map(|(_, id)| id.as_str());
    let body = match wanted {
        None => catalogue(family, &listed),
        Some(id) => match listed.iter().find(|model| model.id == id) {
            Some(model) => told_of(family, model),
            None => {
                let code = bh_domain::refusal::Code::ModelNotFound;
                return Err(refused(Refusal::new(
                    code,
                    format!("No model `{id}` is offered to this caller"),
                )));
            }
        },
    };
    let mut response = respond::json_with(StatusCode::OK, &body).map_err(refused)?;
    if let Some(rate) = &rate {
        respond::rate_headers(response.headers_mut(), rate, doors.clock.now());
    }
    Ok(response)
}

fn told_of(family: Family, model: &ModelEntry) -> serde_json::Value {
    match family {
        Family::OpenAi => {
            json!({"id": model.id, "object": "model", "created": 0, "owned_by": model.provider})
        }
        Family::Anthropic => json!({
            "type": "model", "id": model.id, "display_name": model.id, "created_at": "1970-01-01T00:00:00Z",
        }),
    }
}

fn catalogue(family: Family, models: &[ModelEntry]) -> serde_json::Value {
    let data: Vec<_> = models.iter().map(|model| told_of(family, model)).collect();
    match family {
        Family::OpenAi => json!({"object": "list", "data": data}),
        Family::Anthropic => json!({
            "data": data,
            "has_more": false,
            "first_id": models.first().map(|model| &model.id),
            "last_id": models.last().map(|model| &model.id),
        }),
    }
}
