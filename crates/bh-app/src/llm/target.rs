//! Where one attempt goes, and which model its body names there.

use std::borrow::Cow;

use bh_domain::refusal::{Code, Refusal};
use bh_wire::family::{Endpoint, deployment};
use http::Uri;

use super::read::Asked;
use super::route::Choice;
use super::ticket::Ticket;
use super::{Entry, azure};

/// The address of one attempt. The provider that a client names in its path gets that path as it is; any other one gets
/// the path it has for the endpoint, since the client's may be the first provider's own.
pub(super) fn uri(ticket: &Ticket, choice: &Choice, asked: &Asked) -> Result<Uri, Refusal> {
    let provider = &choice.provider;
    let path: Cow<'_, str> = match &asked.entry {
        Entry::Proxy { rest, .. } if is_clients_own(ticket, choice) => Cow::Borrowed(rest),
        Entry::Proxy { .. } | Entry::Native(_) | Entry::Quickstart(_) if azure::is(provider) => {
            let model = choice.model(ticket.requested_model.as_deref()).unwrap_or_default();
            Cow::Owned(azure::path(ticket.endpoint, model)?)
        }
        Entry::Proxy { .. } | Entry::Native(_) | Entry::Quickstart(_) => {
            Cow::Borrowed(native_path(ticket.endpoint))
        }
    };
    // A base URL with and without `/v1` means the same.
    let base = if path.starts_with("/v1/") {
        provider.base_url.strip_suffix("/v1").unwrap_or(&provider.base_url)
    } else {
        &provider.base_url
    };
    let query = query(ticket, choice, asked);
    let mark = if query.is_empty() { "" } else { "?" };
    let text = [base, &path, mark, &query].concat();
    text.parse()
        .map_err(|_| Refusal::new(Code::InvalidRequest, "The path or query cannot be forwarded as it is"))
}

/// Whether the path that the client wrote was meant for this provider. A call without a model has no fallback that
/// could take it elsewhere.
fn is_clients_own(ticket: &Ticket, choice: &Choice) -> bool {
    choice.chain_position == 0 || !ticket.endpoint.names_model()
}

/// The query of one attempt. The version of Azure's API is the provider's own affair: a client's is believed for the
/// provider that the client named, and no other family ever sees one.
fn query<'a>(ticket: &Ticket, choice: &Choice, asked: &'a Asked) -> Cow<'a, str> {
    let provider = &choice.provider;
    let mut query = Cow::Borrowed(asked.query.as_deref().unwrap_or_default());
    let foreign = !is_clients_own(ticket, choice) && (provider.api_version.is_some() || !azure::is(provider));
    if foreign && query.contains(API_VERSION) {
        let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(API_VERSION)).collect();
        query = Cow::Owned(kept.join("&"));
    }
    if let Some(version) = provider.api_version.as_ref().filter(|_| !query.contains(API_VERSION)) {
        let joint = if query.is_empty() { "" } else { "&" };
        query = Cow::Owned(format!("{query}{joint}{API_VERSION}{version}"));
    }
    query
}

const API_VERSION: &str = "api-version=";

/// The model to put into the body of one attempt; `None` leaves what the client wrote. A fallback for a deployment gets
/// its name, which stood in the path only.
pub(super) fn model_in_body<'a>(ticket: &'a Ticket, choice: &'a Choice, asked: &Entry) -> Option<&'a str> {
    let from_path = match asked {
        Entry::Proxy { rest, .. } if !is_clients_own(ticket, choice) => {
            deployment(rest).is_ok_and(|found| found.is_some())
        }
        Entry::Proxy { .. } | Entry::Native(_) | Entry::Quickstart(_) => false,
    };
    let requested = ticket.requested_model.as_deref().filter(|_| from_path);
    choice.model.as_deref().or(requested)
}

/// A family's own path of an endpoint.
pub(super) fn native_path(endpoint: Endpoint) -> &'static str {
    match endpoint {
        Endpoint::ChatCompletions => "/v1/chat/completions",
        Endpoint::Completions => "/v1/completions",
        Endpoint::Responses => "/v1/responses",
        Endpoint::Embeddings => "/v1/embeddings",
        Endpoint::Messages => "/v1/messages",
        Endpoint::CountTokens => "/v1/messages/count_tokens",
        Endpoint::Models | Endpoint::Other => "/v1/models",
    }
}
