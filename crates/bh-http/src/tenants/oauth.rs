//! `/api/v1/admin/tenants/{id}/oauth/{integration}/credentials`: tokens that tools use on a tenant's behalf (seed 001,
//! `admin.oauth.storeCredentials`). No answer ever holds one.

use std::sync::Arc;

use axum::response::Response;
use bh_app::snapshot::Tenant;
use bh_app::vault::{Credentials, Integration};
use bh_domain::refusal::Refusal;
use bh_domain::tenant::profile::Feature;
use bh_domain::time::Timestamp;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::admin::{ID, actor, reader, wrong};
use super::secrets::{never_kept, nothing_else, secret_text};
use crate::ask::Ask;
use crate::envelope;

/// The members of a body.
const MEMBERS: [&str; 5] = ["accessToken", "refreshToken", "expiresAt", "scopes", "tokenType"];

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
    // Whoever stores it means the server that is there now, and no other that may be given its name.
    given.shown_to = ask.doors.tools.origin_of(&tenant, integration.as_str()).await?;
    let vault = ask.doors.vault.clone();
    let view = vault.store_credentials(&by, (tenant.nid, &tenant.id), &integration, &given).await?;
    never_kept(envelope::data(&ask, StatusCode::CREATED, &view, Map::new()))
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
    nothing_else(&body, &MEMBERS)?;
    let access_token = access_token.ok_or_else(|| wrong("accessToken", "is missing"))?;
    Ok(Credentials { access_token, refresh_token, expires, scopes, token_type, shown_to: None })
}

fn not_an_instant() -> Refusal {
    wrong("expiresAt", "must be an instant such as `2026-12-31T00:00:00Z`")
}
