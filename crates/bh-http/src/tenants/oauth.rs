//! `/api/v1/admin/tenants/{id}/oauth/{integration}/credentials`: tokens that tools use on a tenant's behalf (seed 001,
//! `admin.oauth.storeCredentials`). No answer ever holds one.

use std::sync::Arc;

use axum::response::Response;
use bh_app::snapshot::Tenant;
use bh_app::vault::{Credentials, Integration};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::profile::Feature;
use bh_domain::time::Timestamp;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::admin::{ID, actor, reader, wrong};
use super::secrets::{never_kept, nothing_else, secret_text};
use crate::ask::Ask;
use crate::envelope;

/// The members of a body.
const MEMBERS: [&str; 6] = ["accessToken", "refreshToken", "expiresAt", "scopes", "tokenType", "shownTo"];

/// `GET` tells of them, `PUT` stores them, `DELETE` forgets them.
pub(crate) async fn credentials(ask: Ask) -> Result<Response, Refusal> {
    match ask.parts.method {
        Method::PUT => store(ask).await,
        Method::DELETE => forget(ask).await,
        _ => show(ask).await,
    }
}

async fn store(mut ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let (tenant, integration) = named(&ask)?;
    tenant.allows(Feature::OAuth)?;
    let mut given = given(ask.secret_json().await?)?;
    let vault = ask.doors.vault.clone();
    let address = ask.doors.tools.address_of(&tenant, integration.as_str()).await?;
    let before = vault.credentials((tenant.nid, &tenant.id), &integration).await;
    let before = before.ok().and_then(|before| before.shown_to);
    given.shown_to = confirmed(given.shown_to.as_deref(), before.as_deref(), address)?;
    let view = vault.store_credentials(&by, (tenant.nid, &tenant.id), &integration, &given).await?;
    never_kept(envelope::data(&ask, StatusCode::CREATED, &view, Map::new()))
}

/// Where tokens are to be shown: the address of the server that is there. Tokens that were shown elsewhere, and are only renewed, are
/// not moved by whoever gave its name to another server meanwhile.
fn confirmed(
    named: Option<&str>,
    before: Option<&str>,
    address: Option<String>,
) -> Result<Option<String>, Refusal> {
    let meant = named.or(before);
    if meant.is_none() || meant == address.as_deref() {
        return Ok(address);
    }
    let message = "The tenant's server of this name is at another address than these credentials were stored for, or there is \
                   none: say with `shownTo` which address may have them";
    let refusal = Refusal::new(Code::Conflict, message).with("storedFor", meant.unwrap_or_default());
    Err(refusal.with("serverAt", address.unwrap_or_default()))
}

async fn show(ask: Ask) -> Result<Response, Refusal> {
    reader(&ask)?;
    let (tenant, integration) = named(&ask)?;
    tenant.allows(Feature::OAuth)?;
    let view = ask.doors.vault.credentials((tenant.nid, &tenant.id), &integration).await?;
    envelope::data(&ask, StatusCode::OK, &view, Map::new())
}

/// Also where the function is switched off: what was stored before can always be taken out.
async fn forget(ask: Ask) -> Result<Response, Refusal> {
    let by = actor(&ask)?;
    let (tenant, integration) = named(&ask)?;
    ask.doors.vault.delete_credentials(&by, tenant.nid, &integration).await?;
    let told =
        json!({ "tenantId": tenant.id.as_str(), "integration": integration.as_str(), "deleted": true });
    envelope::data(&ask, StatusCode::OK, &told, Map::new())
}

fn named(ask: &Ask) -> Result<(Arc<Tenant>, Integration), Refusal> {
    let tenant = ask.doors.tenants.tenant(ask.path(ID))?;
    Ok((tenant, Integration::parse(ask.path("integration"))?))
}

fn given(mut body: Map<String, Value>) -> Result<Credentials, Refusal> {
    let access_token = secret_text(&mut body, "accessToken")?;
    let refresh_token = secret_text(&mut body, "refreshToken")?;
    let expires = match body.remove("expiresAt") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(Timestamp::parse(&text).map_err(|_| not_an_instant())?),
        Some(_) => return Err(not_an_instant()),
    };
    let scopes = match body.remove("scopes") {
        None | Some(Value::Null) => Vec::new(),
        Some(scopes) => {
            serde_json::from_value(scopes).map_err(|_| wrong("scopes", "must be a list of texts"))?
        }
    };
    let token_type = match body.remove("tokenType") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(wrong("tokenType", "must be a text")),
    };
    let shown_to = match body.remove("shownTo") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(wrong("shownTo", "must be a text")),
    };
    nothing_else(&body, &MEMBERS)?;
    let access_token = access_token.ok_or_else(|| wrong("accessToken", "is missing"))?;
    Ok(Credentials { access_token, refresh_token, expires, scopes, token_type, shown_to })
}

fn not_an_instant() -> Refusal {
    wrong("expiresAt", "must be an instant such as `2026-12-31T00:00:00Z`")
}
