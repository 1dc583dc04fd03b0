//! Webhooks for operators: `/api/v1/admin/webhooks` and the closing of a tenant's month (issue 4 §3).

mod described;

use std::sync::Arc;

use axum::response::Response;
use bh_app::identity::Principal;
use bh_app::snapshot::Tenant;
use bh_app::webhooks::{EventDetail, EventQuery, Operator, Page};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Role;
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::ask::{Ask, Query};
use crate::envelope;
use crate::keys::role_text;

pub(crate) use described::chapter;

/// Events of a page that asks for no number, and the most.
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 1_000;

/// What a redelivery may say.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(rename = "WebhookRedelivery")]
struct RedeliverIn {
    /// To this endpoint alone.
    endpoint: Option<String>,
}

/// Which month is to be closed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "BillingPeriodClose")]
struct CloseIn {
    /// `YYYY-MM`, in UTC: one that is over.
    #[schemars(regex(pattern = "^[0-9]{4}-(0[1-9]|1[0-2])$"))]
    month: String,
}

/// The event of a closed month.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ClosedBillingPeriod")]
struct Closed {
    #[serde(flatten)]
    event: EventDetail,
    /// Whether it was closed just now, and not before.
    created: bool,
}

/// `GET /api/v1/admin/webhooks/events`: the newest first.
pub(crate) async fn events(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let wanted = EventQuery {
        nid: of_tenant(&ask, &query)?.map(|tenant| tenant.nid),
        kind: query.text("kind").map(str::to_owned),
        state: query.text("state").map(str::to_owned),
        cursor: query.text("cursor").unwrap_or_default().to_owned(),
        limit: query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?,
    };
    let page = ask.doors.webhooks.events(wanted).await?;
    paged(&ask, page)
}

/// `GET /api/v1/admin/webhooks/events/{id}`: an event, its body, and what has become of its deliveries.
pub(crate) async fn event(ask: Ask) -> Result<Response, Refusal> {
    let event = ask.doors.webhooks.event(ask.path("id")).await?;
    envelope::data(&ask, StatusCode::OK, &event, Map::new())
}

/// `POST /api/v1/admin/webhooks/events/{id}/redeliver`: under the same id, from the first attempt on.
pub(crate) async fn redeliver(mut ask: Ask) -> Result<Response, Refusal> {
    let by = changer(&ask)?;
    let body: RedeliverIn = ask.json().await?;
    let event = ask.doors.webhooks.redeliver(&by, ask.path("id"), body.endpoint.as_deref()).await?;
    envelope::data(&ask, StatusCode::ACCEPTED, &event, Map::new())
}

/// `GET /api/v1/admin/webhooks/dead-letters`: what was given up.
pub(crate) async fn dead_letters(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let nid = of_tenant(&ask, &query)?.map(|tenant| tenant.nid);
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let cursor = query.text("cursor").unwrap_or_default();
    let page = ask.doors.webhooks.dead_letters(nid, cursor, limit).await?;
    paged(&ask, page)
}

/// `GET /api/v1/admin/webhooks/endpoints`: who is told, without secrets, and how they are doing.
pub(crate) async fn endpoints(ask: Ask) -> Result<Response, Refusal> {
    let endpoints = ask.doors.webhooks.endpoints().await?;
    envelope::data(&ask, StatusCode::OK, &endpoints, Map::new())
}

/// `POST /api/v1/admin/webhooks/endpoints/{id}/test`: sends one `webhook.test` at once.
pub(crate) async fn test(ask: Ask) -> Result<Response, Refusal> {
    let by = changer(&ask)?;
    let tried = ask.doors.webhooks.test(&by, ask.path("id")).await?;
    envelope::data(&ask, StatusCode::OK, &tried, Map::new())
}

/// `POST /api/v1/admin/tenants/{id}/billing/close`: closes a month that is over, once.
pub(crate) async fn close_period(mut ask: Ask) -> Result<Response, Refusal> {
    let by = changer(&ask)?;
    let tenant = tenant(&ask, ask.path("id"))?;
    let CloseIn { month } = ask.json().await?;
    let closed = ask.doors.periods.close((tenant.nid, &tenant.id), &month).await?;
    if closed.is_new {
        let detail = json!({ "month": month });
        ask.doors.webhooks.note(&by, tenant.nid, "billing.closed", tenant.id.as_str(), &detail).await?;
    }
    let event = ask.doors.webhooks.event_or_told(closed.event).await?;
    let told = Closed { event, created: closed.is_new };
    let status = if closed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    envelope::data(&ask, status, &told, Map::new())
}

/// A page of a list. `metadata.nextCursor` is where the next one begins.
fn paged<T: Serialize>(ask: &Ask, page: Page<T>) -> Result<Response, Refusal> {
    let next = page.next.map_or(Value::Null, Value::String);
    let further = Map::from_iter([("nextCursor".to_owned(), next)]);
    envelope::data(ask, StatusCode::OK, &page.items, further)
}

/// The tenant that a path or a query names.
fn tenant(ask: &Ask, id: &str) -> Result<Arc<Tenant>, Refusal> {
    ask.doors.tenants.tenant_ever(id)
}

fn of_tenant(ask: &Ask, query: &Query) -> Result<Option<Arc<Tenant>>, Refusal> {
    query.text("tenant").map(|id| tenant(ask, id)).transpose()
}

/// Who asks for something that changes what is there, or sends something: not who may only read.
fn changer(ask: &Ask) -> Result<Operator, Refusal> {
    match &ask.principal {
        Some(Principal::Operator(operator)) if operator.role == Role::Admin => Ok(Operator {
            actor: operator.name.clone(),
            role: role_text(operator.role),
            origin: Arc::clone(&ask.origin),
        }),
        Some(Principal::Operator(_) | Principal::Caller(_)) | None => {
            let message = "This admin key may read, and not change anything: use one with the role admin";
            Err(Refusal::new(Code::Forbidden, message))
        }
    }
}
