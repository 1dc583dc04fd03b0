//! Reads what the later stages need from a call, and nothing else.

use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::Endpoint;
use bh_wire::request::{self, RequestFacts};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, Method};
use http_body::Body;

use super::body::{PassingBody, collect, fits, sha256};
use super::ticket::Ticket;
use super::{Entry, Inbound};

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
        let (body, passing) = PassingBody::new(body, bytes_max, idle);
        ticket.passing = Some(passing);
        AskedBody::Passing(body)
    };
    Ok(Asked { entry, method, query, headers, body })
}

/// A body that names a model must be readable: an encoded or non-JSON one would slip past every rule.
fn expects_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let text =
        |name| headers.get(name).map(|value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()));
    if let Some(kind) = text(CONTENT_TYPE) {
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json")
            && !essence.to_ascii_lowercase().ends_with("+json")
        {
            let message = format!("This endpoint reads application/json, and the request says `{essence}`");
            return Err(Refusal::new(Code::UnsupportedMediaType, message));
        }
    }
    match text(CONTENT_ENCODING) {
        Some(encoding) if !encoding.eq_ignore_ascii_case("identity") => Err(Refusal::new(
            Code::UnsupportedMediaType,
            format!("The request body is encoded as `{encoding}`; send it without a content encoding"),
        )),
        _ => Ok(()),
    }
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
