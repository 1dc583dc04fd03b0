//! A tenant's audit trail in the seed's words (Connectors dossier §10).

use std::sync::Arc;

use axum::response::Response;
use bh_app::audit::{EventView, TrailQuery};
use bh_app::identity::Principal;
use bh_app::snapshot::Tenant;
use bh_domain::audit::TrailFilter;
use bh_domain::refusal::{Code, Refusal};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ask::{Ask, Query};
use crate::envelope;

/// Events of a page that asks for no number, and the most.
pub(super) const LIMIT_DEFAULT: u32 = 100;
pub(super) const LIMIT_MAX: u32 = 1_000;

/// An event as the seed words it. What it has and this trail has not, such as `toolId`, is in `params`.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditEvent")]
pub(super) struct Told<'e> {
    id: &'e str,
    timestamp: &'e str,
    tenant_id: &'e str,
    action: &'e str,
    object: &'e str,
    result: &'static str,
    actor: &'e str,
    role: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before_digest: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after_digest: Option<&'e str>,
    #[schemars(with = "Map<String, Value>")]
    params: &'e serde_json::value::RawValue,
}

/// `GET /api/v1/audit`: the asker's own trail, the newest event first.
pub(crate) async fn own(ask: Ask) -> Result<Response, Refusal> {
    let Some(Principal::Caller(caller)) = &ask.principal else {
        let message = "An admin key has no trail of its own: ask for /api/v1/admin/tenants/{id}/audit";
        return Err(Refusal::new(Code::InvalidRequest, message));
    };
    let tenant = Arc::clone(&caller.tenant);
    page(ask, &tenant).await
}

/// A page of one tenant's trail. `metadata.nextCursor` is where the next one begins.
pub(super) async fn page(ask: Ask, tenant: &Tenant) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let wanted = TrailQuery::newest(filter(&query)?);
    let cursor = query.text("cursor").unwrap_or_default();
    let page = ask.doors.audit.page(tenant, &wanted, limit.into(), cursor).await?;
    let events: Vec<Told<'_>> = page.events.iter().map(|event| Told::of(tenant, event)).collect();
    let mut further = Map::new();
    further.insert("nextCursor".to_owned(), page.next.map_or(Value::Null, Value::String));
    envelope::data(&ask, StatusCode::OK, &events, further)
}

fn filter(query: &Query) -> Result<TrailFilter, Refusal> {
    Ok(TrailFilter {
        actions: query.text("action").map(Into::into),
        actor: query.text("actor").map(str::to_owned),
        object: query.text("object").map(str::to_owned),
        from: query.instant("from")?,
        to: query.instant("to")?,
    })
}

impl<'e> Told<'e> {
    fn of(tenant: &'e Tenant, event: &'e EventView) -> Self {
        Self {
            id: &event.event_id,
            timestamp: &event.create_time,
            tenant_id: tenant.id.as_str(),
            action: &event.action,
            object: &event.object,
            result: event.result(),
            actor: &event.actor,
            role: &event.role,
            before_digest: event.before_digest.as_deref(),
            after_digest: event.after_digest.as_deref(),
            params: &event.detail,
        }
    }
}
