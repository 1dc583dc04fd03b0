//! What lists are asked for and answer with, all alike: a size, a token, and where the next page starts.

use axum::response::Response;
use bh_domain::refusal::Refusal;
use serde::Serialize;
use serde_json::json;

use super::wire::invalid;
use crate::ask::Query;
use crate::respond;

/// A parameter under either spelling; empty when it is not given.
pub(super) fn named<'q>(query: &'q Query, snake: &str, camel: &str) -> &'q str {
    query.text(snake).or_else(|| query.text(camel)).unwrap_or_default()
}

/// How many are wanted, 0 for as many as usual, and the token of the page.
pub(super) fn wanted(query: &Query) -> Result<(i64, &str), Refusal> {
    let size = match named(query, "page_size", "pageSize") {
        "" => 0,
        text => text.parse().map_err(|_| invalid("page_size", "not a whole number"))?,
    };
    Ok((size, named(query, "page_token", "pageToken")))
}

/// A page, under the name of what is in it.
pub(super) fn page<T: Serialize>(
    member: &str,
    items: &[T],
    next: Option<String>,
) -> Result<Response, Refusal> {
    respond::json(&json!({ member: items, "next_page_token": next.unwrap_or_default() }))
}
