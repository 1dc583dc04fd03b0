//! The audit trail of a tenant's keys: `auditEvents`, in lists and exports (TALOS-S05). An addition to Talos, whose audit
//! events end with its traces.

use axum::response::Response;
use bh_app::audit::{TrailFormat, TrailQuery};
use bh_domain::refusal::Refusal;
use serde_json::json;

use super::wire::invalid;
use crate::ask::{Ask, Query};
use crate::evidence::{attachment, file_name_of};
use crate::respond;

/// `auditEvents`: a page, the newest event first unless the query says otherwise.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let size = match named(&query, "page_size", "pageSize") {
        "" => 0,
        text => text.parse().map_err(|_| invalid("page_size", "not a whole number"))?,
    };
    let token = named(&query, "page_token", "pageToken");
    let wanted = wanted(&query)?;
    let asker = ask.asker()?;
    let page = ask.doors.audit.page(&asker.tenant, &wanted, size, token).await?;
    respond::json(&json!({ "audit_events": page.events, "next_page_token": page.next.unwrap_or_default() }))
}

/// `auditEvents:export`: everything that a filter leaves, streamed as a download.
pub(crate) async fn export(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let name = query.text("format").unwrap_or("ndjson");
    let format = TrailFormat::parse(name).ok_or_else(|| {
        let known = TrailFormat::NAMES.join("` or `");
        invalid("format", format!("`{name}` is none; expected `{known}`"))
    })?;
    let wanted = wanted(&query)?;
    let asker = ask.asker()?;
    let pieces = ask.doors.audit.export(&asker.tenant, wanted, format);
    let now = ask.doors.clock.now();
    let name = file_name_of("audit", asker.tenant.id.as_str(), now, format.extension());
    attachment(pieces, format.media_type(), &name).await
}

fn wanted(query: &Query) -> Result<TrailQuery, Refusal> {
    TrailQuery::parse(named(query, "filter", "filter"), named(query, "order_by", "orderBy"))
}

fn named<'q>(query: &'q Query, snake: &str, camel: &str) -> &'q str {
    query.text(snake).or_else(|| query.text(camel)).unwrap_or_default()
}
