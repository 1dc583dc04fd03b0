//! Audit trails in the seed's words (Connectors dossier §10): a tenant's, and the installation's own.

use std::sync::Arc;

use axum::response::Response;
use bh_app::audit::{SeedView, TrailFormat, TrailPage, TrailQuery, TrailShape};
use bh_app::identity::Principal;
use bh_app::snapshot::Tenant;
use bh_domain::audit::{Outcome, TrailFilter};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::ask::{Ask, Query, invalid};
use crate::envelope;
use crate::evidence::{attachment, file_name_of};

/// Events of a page that asks for no number, and the most.
pub(super) const LIMIT_DEFAULT: u32 = 100;
pub(super) const LIMIT_MAX: u32 = 1_000;
/// How the installation is named where tenants are.
const INSTALLATION: &str = "installation";

/// `GET /api/v1/audit`: the asker's own trail, the newest event first.
pub(crate) async fn own(ask: Ask) -> Result<Response, Refusal> {
    let Some(Principal::Caller(caller)) = &ask.principal else {
        let message = "An admin key has no trail of its own: ask for /api/v1/admin/tenants/{id}/audit";
        return Err(Refusal::new(Code::InvalidRequest, message));
    };
    let tenant = Arc::clone(&caller.tenant);
    of_tenant(ask, &tenant).await
}

/// `GET /api/v1/admin/audit`: what belongs to no tenant, such as what operators read, who was not known, and reloads.
pub(crate) async fn installation(ask: Ask) -> Result<Response, Refusal> {
    let (query, wanted) = asked(&ask)?;
    if let Some(format) = format(&query)? {
        return export(ask, Nid::SYSTEM, INSTALLATION, wanted, format).await;
    }
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let cursor = query.text("cursor").unwrap_or_default();
    let page = ask.doors.audit.page_of_installation(&wanted, limit, cursor).await?;
    told(&ask, INSTALLATION, page)
}

/// One tenant's trail: a page, or with `format` everything as a download.
pub(super) async fn of_tenant(ask: Ask, tenant: &Tenant) -> Result<Response, Refusal> {
    let (query, wanted) = asked(&ask)?;
    if let Some(format) = format(&query)? {
        return export(ask, tenant.nid, tenant.id.as_str(), wanted, format).await;
    }
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let cursor = query.text("cursor").unwrap_or_default();
    let page = ask.doors.audit.page(tenant, &wanted, limit.into(), cursor).await?;
    told(&ask, tenant.id.as_str(), page)
}

fn asked(ask: &Ask) -> Result<(Query, TrailQuery), Refusal> {
    let query = ask.query()?;
    let wanted = TrailQuery::newest(filter(&query)?);
    Ok((query, wanted))
}

/// A page. `metadata.nextCursor` is where the next one begins.
fn told(ask: &Ask, whose: &str, page: TrailPage) -> Result<Response, Refusal> {
    let events: Vec<SeedView> = page.events.into_iter().map(|event| SeedView::of(whose, event)).collect();
    let next = page.next.map_or(Value::Null, Value::String);
    let further = Map::from_iter([("nextCursor".to_owned(), next)]);
    envelope::data(ask, StatusCode::OK, &events, further)
}

async fn export(
    ask: Ask,
    nid: Nid,
    whose: &str,
    wanted: TrailQuery,
    format: TrailFormat,
) -> Result<Response, Refusal> {
    let pieces = ask.doors.audit.export(nid, wanted, format, TrailShape::Seed(whose.to_owned()));
    let name = file_name_of("audit", whose, ask.doors.clock.now(), format.extension());
    attachment(pieces, format.media_type(), &name).await
}

fn format(query: &Query) -> Result<Option<TrailFormat>, Refusal> {
    let Some(name) = query.text("format").filter(|name| *name != "json") else { return Ok(None) };
    let known = TrailFormat::parse(name);
    known.map(Some).ok_or_else(|| invalid("format", name, "json, ndjson or csv"))
}

fn filter(query: &Query) -> Result<TrailFilter, Refusal> {
    let outcome =
        |word| Outcome::parse(word).ok_or_else(|| invalid("result", word, "success, denied or failed"));
    Ok(TrailFilter {
        actions: query.text("action").map(Into::into),
        actor: query.text("actor").map(str::to_owned),
        object: query.text("object").map(str::to_owned),
        outcome: query.text("result").map(outcome).transpose()?,
        from: query.instant("from")?,
        to: query.instant("to")?,
    })
}
