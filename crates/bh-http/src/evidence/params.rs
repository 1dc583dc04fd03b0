//! What the read doors share: parameters that are named when they are wrong, whose data is meant, and attachments.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bh_app::evidence::{Pieces, Reach, ReadFault};
use bh_app::identity::Principal;
use bh_app::snapshot::Snapshot;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use crate::ask::{Ask, Doors, Query, invalid};
use crate::respond;

/// Which tenant an operator asks about; known on every read route.
const TENANT_ID: &str = "tenant_id";
/// Pieces of an export that are made before its head is sent, so that an early fault is still a plain refusal.
const PIECES_AHEAD: usize = 2;

/// The query parameters of a read.
#[derive(Debug)]
pub(crate) struct Params {
    query: Query,
    tenant: Option<String>,
}

impl Params {
    /// Reads the query. A parameter that the route does not know is refused: a misspelt filter would show too much.
    pub(crate) fn of(ask: &Ask, known: &[&str]) -> Result<Self, Refusal> {
        let mut tenant = None;
        for (name, value) in form_urlencoded::parse(ask.parts.uri.query().unwrap_or("").as_bytes()) {
            if name == TENANT_ID {
                tenant = Some(value.into_owned());
            } else if !known.contains(&name.as_ref()) {
                return Err(unknown(&name, known));
            }
        }
        Ok(Self { query: ask.query()?, tenant })
    }

    /// A text; empty is as good as absent.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.query.text(name).map(str::to_owned)
    }

    /// A whole number from 1 on.
    pub(crate) fn number(&self, name: &str, default: u32, max: u32) -> Result<u32, Refusal> {
        self.query.number(name, default, max)
    }

    /// A whole number from 0 on.
    pub(crate) fn count(&self, name: &str, default: u32, max: u32) -> Result<u32, Refusal> {
        let Some(text) = self.query.text(name) else { return Ok(default) };
        let count = text.parse::<u32>().ok().filter(|count| *count <= max);
        count.ok_or_else(|| invalid(name, text, &format!("a whole number from 0 to {max}")))
    }

    /// `from` and `to`, in this order.
    pub(crate) fn span(&self) -> Result<(Option<Timestamp>, Option<Timestamp>), Refusal> {
        in_order(self.query.instant("from")?, self.query.instant("to")?)
    }

    /// True or false.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        self.query.flag(name)
    }
}

fn unknown(name: &str, known: &[&str]) -> Refusal {
    let known = [known, &[TENANT_ID]].concat().join("`, `");
    let message = format!("The query parameter `{name}` is not known here; known are `{known}`");
    Refusal::new(Code::InvalidRequest, message)
}

/// Two instants, the first not after the second.
pub(crate) fn in_order(
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<(Option<Timestamp>, Option<Timestamp>), Refusal> {
    if from.zip(to).is_some_and(|(from, to)| from > to) {
        return Err(Refusal::new(Code::InvalidRequest, "`from` is later than `to`"));
    }
    Ok((from, to))
}

/// An instant in a body; empty is as good as absent.
pub(crate) fn instant(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let read = |text| Timestamp::parse(text);
    text.filter(|text| !text.is_empty()).map(read).transpose().map_err(|error| unreadable(name, &error))
}

/// A parameter or member that cannot be read.
pub(crate) fn unreadable(name: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("`{name}` cannot be read: {error}"))
}

/// The limit in a body, within bounds.
pub(crate) fn limit(given: Option<u64>, default: u32, max: u32) -> Result<u32, Refusal> {
    let Some(given) = given else { return Ok(default) };
    let limit = u32::try_from(given).ok().filter(|limit| (1..=max).contains(limit));
    let message = || format!("`limit` is {given}; it must be a whole number from 1 to {max}");
    limit.ok_or_else(|| Refusal::new(Code::InvalidRequest, message()))
}

/// Who asks, apart from the request: the body is not to be shared between threads.
pub(crate) struct Reader {
    pub(crate) doors: Arc<Doors>,
    snapshot: Arc<Snapshot>,
    principal: Option<Principal>,
}

impl Reader {
    pub(crate) fn of(ask: &Ask) -> Self {
        let (doors, snapshot) = (Arc::clone(&ask.doors), Arc::clone(&ask.snapshot));
        Self { doors, snapshot, principal: ask.principal.clone() }
    }

    /// Whose data is meant. What a tenant key asks for is not even looked at.
    pub(crate) async fn reach(&self, asked: Option<&str>) -> Result<Reach, Refusal> {
        let store = self.doors.store.as_ref();
        let reach = Reach::of(self.principal.as_ref(), asked, &self.snapshot, store).await;
        reach.map_err(|fault| fault.refusal())
    }

    /// The same, as the query says.
    pub(crate) async fn reach_in(&self, params: &Params) -> Result<Reach, Refusal> {
        self.reach(params.tenant.as_deref()).await
    }
}

/// A read that failed.
pub(crate) fn read_fault(fault: ReadFault) -> Refusal {
    match fault {
        ReadFault::Store(fault) => fault.refusal(),
        ReadFault::Tree(damage) => respond::internal("prove evidence", &damage),
        ReadFault::Build(error) => respond::internal("write an export", &error),
    }
}

/// No such record, or not the caller's: the same words for both.
pub(crate) fn no_record() -> Refusal {
    Refusal::new(Code::NotFound, "No such evidence record")
}

/// A document as a download, streamed.
pub(crate) async fn attachment(
    pieces: Pieces,
    media_type: &'static str,
    file_name: &str,
) -> Result<Response, Refusal> {
    let (ahead, rest) = begun(pieces).await?;
    let body = stream::iter(ahead.into_iter().map(Ok)).chain(rest).inspect(|piece| {
        if let Err(fault) = piece {
            // The head is gone: breaking the body off is all that is left to say.
            tracing::error!(error = fault as &dyn std::error::Error, "an export ended early");
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{file_name}\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The first pieces, and the stream of the others.
async fn begun(mut pieces: Pieces) -> Result<(Vec<Bytes>, Pieces), Refusal> {
    let mut ahead = Vec::with_capacity(PIECES_AHEAD);
    while ahead.len() < PIECES_AHEAD {
        let Some(piece) = pieces.next().await else { break };
        ahead.push(piece.map_err(read_fault)?);
    }
    Ok((ahead, pieces))
}

/// `evidence-acme-20261121T093000Z.csv`.
pub(crate) fn file_name(what: &str, reach: &Reach, now: Timestamp, extension: &str) -> String {
    let whose = match reach {
        Reach::Tenant { id, .. } => id.as_str(),
        Reach::Everywhere => "all",
        Reach::Nobody { .. } => "none",
    };
    file_name_of(what, whose, now, extension)
}

/// The same, for what is named otherwise.
pub(crate) fn file_name_of(what: &str, whose: &str, now: Timestamp, extension: &str) -> String {
    let instant = now.rfc3339();
    let seconds = instant.split_once('.').map_or(instant.as_str(), |(seconds, _)| seconds);
    let stamp: String = seconds.chars().filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{what}-{whose}-{stamp}Z.{extension}")
}

#[cfg(test)]
mod tests {
    use bh_domain::tenant::Nid;

    use super::*;

    #[test]
    fn a_file_name_says_what_whose_and_when() {
        let now = Timestamp::parse("2026-11-21T09:30:00.125Z").unwrap();
        let acme = Reach::Tenant { id: "acme".to_owned(), nid: Nid::SYSTEM };
        assert_eq!(file_name("evidence", &acme, now, "csv"), "evidence-acme-20261121T093000Z.csv");
        let nobody = Reach::Nobody { asked: "\"; x".to_owned() };
        assert_eq!(file_name("costs", &nobody, now, "json"), "costs-none-20261121T093000Z.json");
    }

    #[test]
    fn a_span_that_ends_before_it_begins_is_refused_and_limits_name_their_bounds() {
        let [early, late] = [Some(Timestamp(1)), Some(Timestamp(2))];
        assert_eq!(in_order(early, late), Ok((early, late)));
        assert_eq!(in_order(late, early).unwrap_err().message, "`from` is later than `to`");
        assert_eq!((limit(None, 7, 9), limit(Some(9), 7, 9)), (Ok(7), Ok(9)));
        for bad in [0, 10, u64::MAX] {
            let message = format!("`limit` is {bad}; it must be a whole number from 1 to 9");
            assert_eq!(limit(Some(bad), 7, 9), Err(Refusal::new(Code::InvalidRequest, message)));
        }
        let refused = instant("from", Some("yesterday")).unwrap_err();
        assert!(refused.message.starts_with("`from` cannot be read: `yesterday`"), "{}", refused.message);
        assert_eq!(instant("to", Some("")), Ok(None));
    }
}
