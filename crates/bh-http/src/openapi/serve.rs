//! `/openapi.json`: the document, made once.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use bh_domain::evidence::hex;
use bh_domain::hash::sha256;
use bh_domain::refusal::Refusal;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::operation::{Chapter, Operation};
use crate::ask::Ask;
use crate::respond;

/// The document and its tag. It is the same as long as the process runs.
static DOCUMENT: LazyLock<Kept> = LazyLock::new(|| Kept::of(Bytes::from(super::openapi_document())));

/// An answer that does not change, and its entity tag.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    body: Bytes,
    tag: String,
}

impl Kept {
    pub(super) fn of(body: Bytes) -> Self {
        let tag = format!("\"{}\"", hex::encode(&sha256(&body)));
        Self { body, tag }
    }

    /// The answer to a request with these headers: nothing anew for who has it.
    pub(super) fn answer(&self, asked: &HeaderMap, media_type: &'static str) -> Response {
        let mut response = if knows(asked, &self.tag) {
            respond::empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = Response::new(Body::from(self.body.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
            response
        };
        let headers = response.headers_mut();
        // Kept, and asked about each time: another release may be there.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(tag) = HeaderValue::try_from(self.tag.as_str()) {
            headers.insert(ETAG, tag);
        }
        response
    }
}

/// Whether the asker has what a tag names (RFC 9110 §13.1.2).
pub(crate) fn knows(asked: &HeaderMap, tag: &str) -> bool {
    let same = |known: &str| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag;
    let known = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    known.flat_map(|line| line.split(',')).any(|known| same(known.trim()))
}

/// `GET /openapi.json`.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    Ok(DOCUMENT.answer(&ask.parts.headers, "application/json"))
}

/// What these doors say of themselves.
pub(super) fn chapter() -> Chapter {
    let unchanged = |operation: Operation| {
        operation
            .takes([super::header("If-None-Match", "An `ETag` of an earlier answer.")])
            .with_headers(&[("ETag", "Names this answer."), ("Cache-Control", "That it may be kept.")])
            .tells_nothing("304", "It is as it was.")
    };
    let show = Operation::get("/openapi.json", "showOpenApi", "Give this document").tells(
        "200",
        "The document.",
        |_| json!({"type": "object"}),
    );
    let page = Operation::get("/docs", "showDocs", "Show this document to people").tells_as(
        "200",
        "A page. It asks nothing of any other host.",
        &[("text/html", super::page::text_shape)],
    );
    let part = super::page::part_operation();
    let operations = [show, page, part].map(unchanged).into();
    Chapter::new("Documentation", "What the doors say of themselves.", operations)
}
