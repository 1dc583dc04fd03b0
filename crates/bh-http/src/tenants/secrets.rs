//! `/api/v1/admin/tenants/{id}/secrets`: what a tenant has entrusted to Bulkhead, by name. No answer ever holds a value.

use axum::response::Response;
use bh_app::vault::SecretName;
use bh_domain::refusal::{Code, Refusal};
use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::admin::{ID, actor, reader, wrong};
use crate::ask::Ask;
use crate::{envelope, respond};

/// Secrets of a page that asks for no number, and the most.
pub(super) const LIMIT_DEFAULT: u32 = 100;
pub(super) const LIMIT_MAX: u32 = 1_000;
/// The parameter of the path.
const NAME: &str = "name";
/// What is said of a secret may take so many bytes.
const METADATA_BYTES_MAX: usize = 4 * 1024;

/// `GET` lists names and what is said of them.
pub(crate) async fn list(ask: Ask) -> Result<Response, Refusal> {
    reader(&ask)?;
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    let query = ask.query()?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let after = query.text("cursor").unwrap_or_default();
    let page = ask.doors.vault.list(tenant.nid, after, limit).await?;
    let full = page.len() == limit as usize;
    let next = page.last().filter(|_| full).map_or(Value::Null, |last| last.name.clone().into());
    envelope::data(&ask, StatusCode::OK, &page, Map::from_iter([("nextCursor".to_owned(), next)]))
}

/// `GET` tells of one, `PUT` stores it, `DELETE` removes it.
pub(crate) async fn one(ask: Ask) -> Result<Response, Refusal> {
    match ask.parts.method {
        Method::PUT => put(ask).await,
        Method::DELETE => delete(ask).await,
        _ => show(ask).await,
    }
}

async fn show(ask: Ask) -> Result<Response, Refusal> {
    reader(&ask)?;
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    let name = SecretName::parse(ask.path(NAME))?;
    let view = ask.doors.vault.view(tenant.nid, &name).await?;
    envelope::data(&ask, StatusCode::OK, &view, Map::new())
}

async fn put(mut ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    let name = SecretName::parse(ask.path(NAME))?.not_credentials()?;
    let mut given: Map<String, Value> = ask.secret_json().await?;
    let value = secret_text(&mut given, "value")?.ok_or_else(|| wrong("value", "is missing"))?;
    let metadata = metadata(given.remove("metadata"))?;
    nothing_else(&given, &["value", "metadata"])?;
    let vault = ask.doors.vault.clone();
    let new = vault.put(&by, tenant.nid, &name, value.expose_secret().as_bytes(), &metadata).await?;
    let view = vault.view(tenant.nid, &name).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    never_kept(envelope::data(&ask, status, &view, Map::new()))
}

async fn delete(ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    let name = SecretName::parse(ask.path(NAME))?;
    ask.doors.vault.delete(&by, tenant.nid, &name).await?;
    envelope::data(&ask, StatusCode::OK, &json!({ "name": name.as_str(), "deleted": true }), Map::new())
}

/// `POST …/rotate-data-key`: a new data key, and the tenant's secrets sealed with it.
pub(crate) async fn rotate_key(ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    let rotated = ask.doors.vault.rotate_data_key(&by, (tenant.nid, &tenant.id)).await?;
    envelope::data(&ask, StatusCode::OK, &rotated, Map::new())
}

fn metadata(given: Option<Value>) -> Result<Map<String, Value>, Refusal> {
    match given {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(metadata)) if json!(metadata).to_string().len() <= METADATA_BYTES_MAX => {
            Ok(metadata)
        }
        Some(_) => {
            Err(wrong("metadata", &format!("must be an object of at most {METADATA_BYTES_MAX} bytes")))
        }
    }
}

/// Takes a text out of a body. No message repeats it.
pub(super) fn secret_text(
    given: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<SecretString>, Refusal> {
    match given.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.into())),
        Some(_) => Err(wrong(name, "must be a text")),
    }
}

/// Refuses members that are none. None is repeated: it may be a secret in a wrong place.
pub(super) fn nothing_else(given: &Map<String, Value>, known: &[&'static str]) -> Result<(), Refusal> {
    if given.is_empty() {
        return Ok(());
    }
    let message = format!("The body has a member that is none; there are `{}`", known.join("`, `"));
    Err(Refusal::new(Code::InvalidRequest, message))
}

/// Nobody on the way may keep the answer.
pub(super) fn never_kept(answer: Result<Response, Refusal>) -> Result<Response, Refusal> {
    let mut response = answer?;
    respond::never_kept(&mut response);
    Ok(response)
}
