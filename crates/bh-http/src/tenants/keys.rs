//! `/api/v1/admin/tenants/{id}/api-keys`: a tenant's keys, each with a name, scopes and an end of its own. They are the keys
//! of the API-key server (seed 003), told in seed 001's words.

use axum::response::Response;
use bh_app::keys::{Attributes, Issue, Revoke};
use bh_domain::keys::key::{Key, KeyKind, KeyRateLimit};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::verdict::{KeyStatus, RevocationReason};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::admin::{ID, actor, named, read, reader, request_name, secret, wrong};
use crate::ask::Ask;
use crate::envelope;
use crate::object::Object;

pub(super) const LIMIT_DEFAULT: u32 = 100;
pub(super) const LIMIT_MAX: u32 = 1_000;
/// What a key may do when nobody says: as the one that its tenant was made with.
const SCOPES: [&str; 3] = ["llm", "tools", "read"];
const MINUTE_S: u64 = 60;

/// A key, never with its text.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TenantApiKey")]
pub(super) struct KeyOut<'k> {
    id: &'k str,
    name: &'k str,
    scopes: &'k [String],
    status: &'static str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<String>,
    /// Its text, told once.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'k str>,
}

impl<'k> KeyOut<'k> {
    fn of(key: &'k Key, now: Timestamp, api_key: Option<&'k str>) -> Self {
        Self {
            id: key.key_id.as_str(),
            name: &key.name,
            scopes: &key.scopes,
            status: match key.status_at(now) {
                KeyStatus::Active => "active",
                KeyStatus::Revoked => "revoked",
                KeyStatus::Expired => "expired",
            },
            created_at: key.created.rfc3339(),
            expires_at: key.expires.map(Timestamp::rfc3339),
            last_used_at: key.last_used.map(Timestamp::rfc3339),
            api_key,
        }
    }
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "TenantApiKeyCreate", extend("required" = ["name"]))]
pub(super) struct KeyIn {
    /// What it is for.
    #[schemars(length(min = 1))]
    name: String,
    /// `llm`, `tools`, `read` and `keys`; the first three unless told otherwise.
    scopes: Option<Vec<String>>,
    expires_at: Option<String>,
    rate_limit: Object<RateIn>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "TenantApiKeyRateLimit")]
struct RateIn {
    requests_per_minute: Option<u64>,
}

/// `GET` lists, `POST` issues.
pub(crate) async fn all(ask: Ask) -> Result<Response, Refusal> {
    if ask.parts.method == Method::POST { issue(ask).await } else { list(ask).await }
}

async fn list(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let limit = query.number("limit", LIMIT_DEFAULT, LIMIT_MAX)?;
    let asker = ask.doors.tenants.asker_of(&reader(&ask)?, ask.path(ID))?;
    let cursor = query.text("cursor").unwrap_or_default();
    let page = ask.doors.keys.list(&asker, KeyKind::Issued, limit.into(), cursor, "").await?;
    let now = ask.doors.clock.now();
    let keys: Vec<KeyOut<'_>> = page.keys.iter().map(|key| KeyOut::of(key, now, None)).collect();
    let next = page.next.map_or(Value::Null, Value::String);
    envelope::data(&ask, StatusCode::OK, &keys, Map::from_iter([("nextCursor".to_owned(), next)]))
}

async fn issue(mut ask: Ask) -> Result<Response, Refusal> {
    let actor = actor(&ask)?;
    let given: Map<String, Value> = ask.json().await?;
    let request = request_name(&ask)?;
    let KeyIn { name, scopes, expires_at, rate_limit: Object(rate_limit) } = read(&given)?;
    if name.trim().is_empty() {
        return Err(wrong("name", "is missing: say what the key is for"));
    }
    let now = ask.doors.clock.now();
    let ttl = expires_at.as_deref().map(|text| until(text, now)).transpose()?;
    let attributes = Attributes {
        name,
        scopes: scopes.unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec()),
        rate_limit: rate_limit.requests_per_minute.map(per_minute).transpose()?,
        ..Attributes::default()
    };
    let issue = Issue { attributes, ttl };
    let named = named(request.as_ref(), &given);
    let issued = ask.doors.tenants.issue_key(&actor, ask.path(ID), issue, named).await?;
    let text = issued.secret.as_ref().map(ExposeSecret::expose_secret);
    secret(&ask, StatusCode::CREATED, &KeyOut::of(&issued.key, now, text))
}

fn per_minute(quota: u64) -> Result<KeyRateLimit, Refusal> {
    if quota == 0 {
        return Err(wrong("rateLimit", "must be above 0: leave it out for no limit"));
    }
    Ok(KeyRateLimit { quota, window_s: MINUTE_S })
}

fn until(text: &str, now: Timestamp) -> Result<Lifetime, Refusal> {
    let end =
        Timestamp::parse(text).map_err(|error| wrong("expiresAt", &format!("cannot be read: {error}")))?;
    let ms = u64::try_from(end.0 - now.0).unwrap_or(0);
    if ms == 0 {
        return Err(wrong("expiresAt", "must be in the future"));
    }
    Lifetime::from_ms(ms).map_err(|error| wrong("expiresAt", &error.to_string()))
}

/// What is left of a key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RevokedTenantApiKey")]
pub(super) struct Revoked<'k> {
    id: &'k str,
    /// `revoked`.
    status: &'static str,
}

/// `DELETE …/{keyId}`: the key is refused from now on.
pub(crate) async fn revoke(ask: Ask) -> Result<Response, Refusal> {
    let asker = ask.doors.tenants.asker_of(&actor(&ask)?, ask.path(ID))?;
    let revoke = Revoke { reason: RevocationReason::PrivilegeWithdrawn, description: None, derived: true };
    let key_id = ask.path("key_id").to_owned();
    match ask.doors.keys.revoke(&asker, KeyKind::Issued, &key_id, revoke).await {
        Err(refusal) if refusal.code == Code::Conflict => {}
        done => done?,
    }
    envelope::data(&ask, StatusCode::OK, &Revoked { id: &key_id, status: "revoked" }, Map::new())
}
