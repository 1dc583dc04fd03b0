//! The audit trail of a tenant's keys: `auditEvents`, in lists and exports (TALOS-S05). An addition to Talos, whose audit
//! events end with its traces.

use axum::response::Response;
use bh_app::audit::{TrailFormat, TrailQuery, TrailShape};
use bh_domain::refusal::Refusal;

use super::pages::{self, named};
use super::wire::invalid;
use crate::ask::{Ask, Query};
use crate::evidence::{attachment, file_name_of};

/// `auditEvents`: a page, the newest event first unless the query says otherwise.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let (size, token) = pages::wanted(&query)?;
    let wanted = wanted(&query)?;
    let asker = ask.asker()?;
    let page = ask.doors.audit.page(&asker.tenant, &wanted, size, token).await?;
    pages::page("audit_events", &page.events, page.next)
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
    let pieces = ask.doors.audit.export(asker.tenant.nid, wanted, format, TrailShape::Keys);
    let now = ask.doors.clock.now();
    let name = file_name_of("audit", asker.tenant.id.as_str(), now, format.extension());
    attachment(pieces, format.media_type(), &name).await
}

fn wanted(query: &Query) -> Result<TrailQuery, Refusal> {
    TrailQuery::parse(named(query, "filter", "filter"), named(query, "order_by", "orderBy"))
}
