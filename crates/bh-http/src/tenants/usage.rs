//! What a tenant used and what that comes to: `getMetrics` and `getUsage` of seed 001 (Connectors dossier §3.1).

use axum::response::Response;
use bh_app::identity::Principal;
use bh_app::usage::Account;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::usage::UtcDay;
use http::StatusCode;
use serde_json::Map;

use super::admin::ID;
use crate::ask::{Ask, Query};
use crate::envelope;

/// `GET /api/v1/admin/tenants/{id}/metrics?startDate&endDate`
pub(crate) async fn metrics_of(ask: Ask) -> Result<Response, Refusal> {
    let account = named(&ask)?;
    metrics(ask, account).await
}

/// `GET /api/v1/admin/tenants/{id}/usage?month`
pub(crate) async fn month_of(ask: Ask) -> Result<Response, Refusal> {
    let account = named(&ask)?;
    month(ask, account).await
}

/// `GET /api/v1/usage/metrics?startDate&endDate`: the asker's own.
pub(crate) async fn own_metrics(ask: Ask) -> Result<Response, Refusal> {
    let account = own(&ask, "metrics")?;
    metrics(ask, account).await
}

/// `GET /api/v1/usage?month`: the asker's own.
pub(crate) async fn own_month(ask: Ask) -> Result<Response, Refusal> {
    let account = own(&ask, "usage")?;
    month(ask, account).await
}

async fn metrics(ask: Ask, account: Account) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let (first, last) = (day(&query, "startDate")?, day(&query, "endDate")?);
    let days = ask.doors.usage.days(first, last).map_err(|error| {
        Refusal::new(Code::InvalidRequest, format!("`startDate` and `endDate` do not fit: {error}"))
    })?;
    let metrics = ask.doors.usage.metrics(&account, days).await.map_err(|fault| fault.refusal())?;
    envelope::data(&ask, StatusCode::OK, &metrics, Map::new())
}

async fn month(ask: Ask, account: Account) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let month = ask.doors.usage.month_of(query.text("month")).map_err(|error| unreadable("month", &error))?;
    let usage = ask.doors.usage.month(&account, month).await.map_err(|error| error.refusal())?;
    envelope::data(&ask, StatusCode::OK, &usage, Map::new())
}

fn day(query: &Query, name: &str) -> Result<Option<UtcDay>, Refusal> {
    let day = query.text(name).map(UtcDay::parse).transpose();
    day.map_err(|error| unreadable(name, &error))
}

fn unreadable(name: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("The query parameter `{name}` cannot be read: {error}"))
}

/// The tenant that the path names.
fn named(ask: &Ask) -> Result<Account, Refusal> {
    ask.doors.tenants.tenant_ever(ask.path(ID)).map(|tenant| Account::of(&tenant))
}

/// The tenant that asks.
fn own(ask: &Ask, what: &str) -> Result<Account, Refusal> {
    let Some(Principal::Caller(caller)) = &ask.principal else {
        let message =
            format!("An admin key has no usage of its own: ask for /api/v1/admin/tenants/{{id}}/{what}");
        return Err(Refusal::new(Code::InvalidRequest, message));
    };
    Ok(Account::of(&caller.tenant))
}
