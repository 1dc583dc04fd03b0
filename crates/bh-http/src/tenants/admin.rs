//! `/api/v1/admin/tenants`: tenants, administered (seed 001, "Tenant Management"; Connectors dossier §3.1).

use std::sync::Arc;

use axum::response::Response;
use bh_app::identity::Principal;
use bh_app::tenants::{Actor, NamedRequest, NewTenant, RequestName, RotatedTenantKey, TenantView};
use bh_app::usage::{Account, MonthError, MonthUsage};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Role;
use bh_domain::tenant::profile::Status;
use bh_domain::time::Timestamp;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::audit;
use crate::ask::Ask;
use crate::{envelope, respond};

/// Tenants of a page that asks for no number: as many as one page may have, for clients that know no pages.
pub(super) const LIMIT_DEFAULT: u32 = 1_000;
pub(super) const LIMIT_MAX: u32 = 1_000;
/// The longest time that two keys of a tenant work side by side: a year.
const GRACE_SECONDS_MAX: u64 = 365 * 86_400;
/// By which a client names a request that it may make again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// `GET` lists, `POST` makes.
pub(crate) async fn all(ask: Ask) -> Result<Response, Refusal> {
    if ask.parts.method == Method::POST { create(ask).await } else { list(&ask) }
}

/// `GET` shows, `PATCH` changes, `DELETE` deletes.
pub(crate) async fn one(ask: Ask) -> Result<Response, Refusal> {
    match ask.parts.method {
        Method::PATCH | Method::PUT => update(ask).await,
        Method::DELETE => delete(ask).await,
        _ => show(ask).await,
    }
}

/// A tenant, with what it has used this month.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantWithUsage")]
pub(super) struct Shown<'t> {
    #[serde(flatten)]
    tenant: &'t TenantView,
    /// `null` where not even this month's usage is kept from its first day on.
    usage: Option<MonthUsage>,
}

async fn show(ask: Ask) -> Result<Response, Refusal> {
    let view = ask.doors.tenants.get(ask.path(ID))?;
    let account = Account::of(&*ask.doors.tenants.tenant(ask.path(ID))?);
    let usage = &ask.doors.usage;
    let month = usage.month_of(None).map_err(|error| wrong("month", &error.to_string()))?;
    let usage = match usage.month(&account, month).await {
        Ok(usage) => Some(usage),
        Err(MonthError::Forgotten { .. }) => None,
        Err(MonthError::Store(fault)) => return Err(fault.refusal()),
    };
    envelope::data(&ask, StatusCode::OK, &Shown { tenant: &view, usage }, Map::new())
}

/// The parameter of the path.
pub(super) const ID: &str = "id";

/// A new tenant, with what is told once.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CreatedTenant")]
pub(super) struct Created<'t> {
    #[serde(flatten)]
    tenant: &'t TenantView,
    /// Its key, told this once.
    api_key: &'t str,
}

async fn create(mut ask: Ask) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    let mut given: Map<String, Value> = ask.json().await?;
    let id = match given.remove(ID) {
        Some(Value::String(id)) => id,
        Some(_) => return Err(wrong(ID, "must be a text")),
        None => return Err(wrong(ID, "is missing: choose the tenant's slug, such as `acme-corp`")),
    };
    let name = request_name(&ask)?;
    let NewTenant { tenant, api_key } = ask.doors.tenants.create(&actor, &id, &given, name.as_ref()).await?;
    secret(&ask, StatusCode::CREATED, &Created { tenant: &tenant, api_key: api_key.expose_secret() })
}

/// What the client calls its request.
pub(super) fn request_name(ask: &Ask) -> Result<Option<RequestName>, Refusal> {
    let name = ask.parts.headers.get(IDEMPOTENCY_KEY);
    name.map(|name| RequestName::parse(name.to_str().unwrap_or_default())).transpose()
}

/// A request under its name, where it has one.
pub(super) fn named<'r>(
    name: Option<&'r RequestName>,
    given: &'r Map<String, Value>,
) -> Option<NamedRequest<'r>> {
    name.map(|name| NamedRequest { name, given })
}

/// Reads a body that was read as an object.
pub(super) fn read<T: DeserializeOwned>(given: &Map<String, Value>) -> Result<T, Refusal> {
    let read = T::deserialize(given);
    read.map_err(|error| Refusal::new(Code::InvalidRequest, format!("The body is not as expected: {error}")))
}

fn list(ask: &Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let (page, more) = ask.doors.tenants.list(query.text("cursor"), limit as usize);
    let next = page.last().filter(|_| more).map(|last| last.id.clone());
    let further = Map::from_iter([("nextCursor".to_owned(), next.map_or(Value::Null, Value::String))]);
    envelope::data(ask, StatusCode::OK, &page, further)
}

async fn update(mut ask: Ask) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    let change: Map<String, Value> = ask.json().await?;
    if change.contains_key(ID) {
        return Err(wrong(ID, "cannot be changed: it names the tenant"));
    }
    let tenant = ask.doors.tenants.update(&actor, ask.path(ID), &change).await?;
    told(&ask, StatusCode::OK, &tenant)
}

/// Deleting cannot be undone, so it takes a word more than a slip of the hand.
async fn delete(ask: Ask) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    if ask.query()?.flag("confirm")? != Some(true) {
        let message = "Deleting a tenant cannot be undone: ask again with ?confirm=true";
        return Err(Refusal::new(Code::InvalidRequest, message).with("field", "confirm"));
    }
    let tenant = ask.doors.tenants.set_status(&actor, ask.path(ID), Status::Deleted).await?;
    told(&ask, StatusCode::OK, &tenant)
}

/// `POST …/suspend`: its calls are refused until it is resumed.
pub(crate) async fn suspend(ask: Ask) -> Result<Response, Refusal> {
    set_status(ask, Status::Suspended).await
}

/// `POST …/resume`.
pub(crate) async fn resume(ask: Ask) -> Result<Response, Refusal> {
    set_status(ask, Status::Active).await
}

async fn set_status(ask: Ask, status: Status) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    let tenant = ask.doors.tenants.set_status(&actor, ask.path(ID), status).await?;
    told(&ask, StatusCode::OK, &tenant)
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "TenantKeyRotation")]
pub(super) struct RotateIn {
    /// How long the old key still works.
    #[schemars(range(max = 31_536_000))]
    grace_period_seconds: u64,
}

/// The key in place of the old one.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RotatedTenantKey")]
pub(super) struct Rotated<'k> {
    /// The key, told this once.
    api_key: &'k str,
    api_key_id: &'k str,
    /// Until when the old key works; absent when it died at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_key_expires_at: Option<String>,
}

/// `POST …/rotate-api-key`: a new text for the tenant's key. The old one dies at once, or when its time of grace ends.
pub(crate) async fn rotate_key(mut ask: Ask) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    let given: Map<String, Value> = ask.json().await?;
    let RotateIn { grace_period_seconds } = read(&given)?;
    let name = request_name(&ask)?;
    if grace_period_seconds > GRACE_SECONDS_MAX {
        return Err(wrong("gracePeriodSeconds", &format!("must be at most {GRACE_SECONDS_MAX}")));
    }
    let grace = match grace_period_seconds {
        0 => None,
        seconds => Some(lifetime(seconds)?),
    };
    let turned =
        ask.doors.tenants.rotate_key(&actor, ask.path(ID), grace, named(name.as_ref(), &given)).await?;
    let RotatedTenantKey { api_key, id, previous_until } = turned;
    let rotated = Rotated {
        api_key: api_key.expose_secret(),
        api_key_id: id.as_str(),
        previous_key_expires_at: previous_until.map(Timestamp::rfc3339),
    };
    secret(&ask, StatusCode::OK, &rotated)
}

/// `GET …/audit`: the tenant's trail.
pub(crate) async fn trail(ask: Ask) -> Result<Response, Refusal> {
    let tenant = ask.doors.tenants.tenant_ever(ask.path(ID))?;
    audit::of_tenant(ask, &tenant).await
}

fn lifetime(seconds: u64) -> Result<Lifetime, Refusal> {
    Lifetime::from_seconds(seconds).map_err(|error| wrong("gracePeriodSeconds", &error.to_string()))
}

/// Who changes something, for the trail: an operator that may.
pub(crate) fn actor(ask: &Ask) -> Result<Actor, Refusal> {
    let who = reader(ask)?;
    if who.role == role_name(Role::Admin) {
        return Ok(who);
    }
    let message = "Your admin key may read tenants, not change them";
    Err(Refusal::new(Code::Forbidden, message).with("role", who.role))
}

/// Who asks.
pub(crate) fn reader(ask: &Ask) -> Result<Actor, Refusal> {
    match &ask.principal {
        Some(Principal::Operator(operator)) => {
            let origin = Arc::clone(&ask.origin);
            Ok(Actor { name: operator.name.clone(), role: role_name(operator.role), origin })
        }
        Some(Principal::Caller(_)) | None => {
            Err(Refusal::new(Code::Unauthorized, "Invalid or missing admin key"))
        }
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Reviewer => "reviewer",
        Role::Viewer => "viewer",
    }
}

fn told(ask: &Ask, status: StatusCode, tenant: &TenantView) -> Result<Response, Refusal> {
    envelope::data(ask, status, tenant, Map::new())
}

/// An answer with a key in it: nobody on the way may keep it.
pub(super) fn secret<T: Serialize>(ask: &Ask, status: StatusCode, body: &T) -> Result<Response, Refusal> {
    let mut response = envelope::data(ask, status, body, Map::new())?;
    respond::never_kept(&mut response);
    Ok(response)
}

pub(super) fn wrong(field: &'static str, problem: &str) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("`{field}` {problem}")).with("field", field)
}
