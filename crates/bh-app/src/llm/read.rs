//! Reads what the later stages need from a call, and nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::{self, Endpoint};
use bh_wire::request::{self, RequestFacts};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, Method};
use http_body::Body;

use super::azure;
use super::body::{PassingBody, collect, fits, full, sha256};
use super::ticket::Ticket;
use super::{Entry, Inbound};
use crate::snapshot::{Provider, UnmeteredPaths};

/// A call that has been understood.
pub(super) struct Asked {
    pub(super) entry: Entry,
    pub(super) method: Method,
    pub(super) query: Option<String>,
    pub(super) headers: HeaderMap,
    pub(super) body: AskedBody,
}

/// The body, read or passing.
pub(super) enum AskedBody {
    /// The JSON of a call that names its model.
    Read { bytes: Bytes, facts: RequestFacts },
    /// Forwarded while it arrives; cannot be sent twice.
    Passing(PassingBody),
    /// No body at all.
    Empty,
}

/// Reads a call.
pub(super) async fn read(ticket: &mut Ticket, inbound: Inbound) -> Result<Asked, Refusal> {
    let Inbound { entry, method, query, headers, body, .. } = inbound;
    if let Entry::Proxy { rest, .. } = &entry {
        let classified = Endpoint::classify(&method, rest);
        classified.map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?;
    }
    let (bytes_max, idle) = (ticket.snapshot.body_bytes_max, ticket.snapshot.body_idle_timeout);
    let body = if ticket.endpoint.names_model() {
        expects_json(&headers)?;
        let bytes = collect(body, bytes_max, idle).await?;
        ticket.read_hash = sha256(&bytes);
        let facts = request::read(ticket.endpoint, &bytes).map_err(|bad| invalid_body(&bad))?;
        meterable(&facts)?;
        ticket.requested_model.clone_from(&facts.model);
        ticket.streamed = facts.stream;
        if ticket.snapshot.evidence.store_prompts {
            ticket.prompt = Some(bytes.clone());
        }
        AskedBody::Read { bytes, facts }
    } else if body.is_end_stream() {
        AskedBody::Empty
    } else {
        fits(&body, bytes_max)?;
        let body = if judged_by_model(ticket, &entry) && !is_multipart(&headers) {
            let bytes = collect(body, bytes_max, idle).await?;
            ticket.requested_model = model_in_passing(&headers, &bytes)?;
            full(bytes)
        } else {
            body
        };
        let (body, passing) = PassingBody::new(body, bytes_max, idle);
        ticket.passing = Some(passing);
        AskedBody::Passing(body)
    };
    if let Entry::Proxy { provider, rest } = &entry {
        deployment_decides(ticket, provider, rest)?;
    }
    Ok(Asked { entry, method, query, headers, body })
}

/// The deployment in a path is the model: Azure does not look at the one in the body. Another provider might, so there
/// both have to be the same.
fn deployment_decides(ticket: &mut Ticket, provider: &str, rest: &str) -> Result<(), Refusal> {
    if !ticket.endpoint.names_model() && !ticket.unmetered {
        return Ok(());
    }
    let found = family::deployment(rest);
    let found = found.map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()))?;
    let Some(deployment) = found else { return Ok(()) };
    azure::plain_deployment(&deployment)?;
    let azure = ticket.snapshot.providers.get(provider).is_some_and(|provider| azure::is(provider));
    match &ticket.requested_model {
        Some(model) if !azure && *model != deployment => {
            let message = format!(
                "The path names the deployment `{deployment}` and the body the model `{model}`: name the same in both"
            );
            Err(Refusal::new(Code::InvalidRequest, message))
        }
        Some(_) | None => {
            ticket.requested_model = Some(deployment);
            Ok(())
        }
    }
}

/// Whether a body that is not metered has to tell its model before it may pass: a model rule applies, and the provider
/// takes unmetered requests all the same.
fn judged_by_model(ticket: &Ticket, entry: &Entry) -> bool {
    let Entry::Proxy { provider, .. } = entry else { return false };
    let allowed = |provider: &Arc<Provider>| match provider.unmetered_paths {
        UnmeteredPaths::Allow => ticket.has_model_rule(provider),
        UnmeteredPaths::Refuse => false,
    };
    ticket.unmetered && ticket.snapshot.providers.get(provider).is_some_and(allowed)
}

fn is_multipart(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes().get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"))
    })
}

/// The model that a body on an unmetered path names. Whatever starts like a JSON object is read as one, whatever its
/// content type says: some servers do the same. Anything else names none.
fn model_in_passing(headers: &HeaderMap, bytes: &Bytes) -> Result<Option<String>, Refusal> {
    plain_encoding(headers)?;
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    if text.first() != Some(&b'{') {
        return Ok(None);
    }
    let facts = request::read(Endpoint::Other, bytes).map_err(|bad| invalid_body(&bad))?;
    meterable(&facts)?;
    Ok(facts.model)
}

/// A body that names a model must be readable: an encoded or non-JSON one would slip past every rule.
fn expects_json(headers: &HeaderMap) -> Result<(), Refusal> {
    if let Some(kind) = header(headers, &CONTENT_TYPE) {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json")
            && !essence.to_ascii_lowercase().ends_with("+json")
        {
            let message = format!("This endpoint reads application/json, and the request says `{essence}`");
            return Err(Refusal::new(Code::UnsupportedMediaType, message));
        }
    }
    plain_encoding(headers)
}

fn plain_encoding(headers: &HeaderMap) -> Result<(), Refusal> {
    match header(headers, &CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(Refusal::new(
            Code::UnsupportedMediaType,
            format!("The request body is encoded as `{encoding}`; send it without a content encoding"),
        )),
        _ => Ok(()),
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Cow<'h, str>> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
}

fn invalid_body(bad: &bh_wire::BadRequest) -> Refusal {
    Refusal::new(Code::InvalidRequest, bad.to_string())
}

/// What could not be recorded or settled is refused before it costs anything.
fn meterable(facts: &RequestFacts) -> Result<(), Refusal> {
    if facts.model.as_deref().is_some_and(|model| model.chars().any(char::is_control)) {
        return Err(Refusal::new(Code::InvalidRequest, "`model` holds a control character"));
    }
    if facts.background {
        let message =
            "`background` is not supported: the answer comes without the usage that has to be paid for";
        return Err(Refusal::new(Code::InvalidRequest, message));
    }
    Ok(())
}
