//! `/docs`: the document for people. The page and its parts are in the program, and ask nothing of any other host.

use std::sync::LazyLock;

use axum::response::Response;
use bh_domain::refusal::{Code, Refusal};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Value, json};

use super::operation::Operation;
use super::schemas::Schemas;
use super::serve::Kept;
use crate::ask::Ask;

const HTML: &str = "text/html; charset=utf-8";
/// Nothing but what this host serves; nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<Kept> =
    LazyLock::new(|| Kept::of(Bytes::from_static(include_bytes!("page/index.html"))));

/// What the page is made of: file, media type, and text.
static PARTS: LazyLock<[(&'static str, &'static str, Kept); 3]> = LazyLock::new(|| {
    let kept = |text: &'static str| Kept::of(Bytes::from_static(text.as_bytes()));
    let script = "text/javascript; charset=utf-8";
    [
        ("page.css", "text/css; charset=utf-8", kept(include_str!("page/page.css"))),
        ("page.js", script, kept(include_str!("page/page.js"))),
        ("schema.js", script, kept(include_str!("page/schema.js"))),
    ]
});

/// `GET /docs`.
pub(crate) async fn show(ask: Ask) -> Result<Response, Refusal> {
    Ok(guarded(PAGE.answer(&ask.parts.headers, HTML)))
}

/// `GET /docs/{part}`.
pub(crate) async fn part(ask: Ask) -> Result<Response, Refusal> {
    let wanted = ask.path("part");
    let found = PARTS.iter().find(|(name, ..)| *name == wanted);
    let (_, media_type, kept) =
        found.ok_or_else(|| Refusal::new(Code::NotFound, "No such part of the page"))?;
    Ok(guarded(kept.answer(&ask.parts.headers, media_type)))
}

fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

pub(super) fn text_shape(_: &mut Schemas) -> Value {
    json!({"type": "string"})
}

pub(super) fn part_operation() -> Operation {
    let names: Vec<&str> = PARTS.iter().map(|(name, ..)| *name).collect();
    let part = super::path("part", "Which part.", json!({"type": "string", "enum": names}));
    Operation::get("/docs/{part}", "showDocsPart", "Give a part of the page")
        .takes([part])
        .tells_as("200", "The part.", &[("text/css", text_shape), ("text/javascript", text_shape)])
        .refuses(&[Code::NotFound])
}
