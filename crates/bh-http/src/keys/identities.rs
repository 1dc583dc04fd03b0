//! Identities on the wire: an addition to Talos, in its manner (decision 21).

use axum::response::Response;
use bh_app::keys::{IdentityChange, NewIdentity};
use bh_domain::keys::identity::Identity;
use bh_domain::keys::named::NamedLimit;
use bh_domain::refusal::{Code, Refusal};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::named::{self, NamedIn};
use super::pages;
use super::wire::{self, invalid};
use crate::ask::Ask;
use crate::object::Object;
use crate::respond;

/// What an update may touch.
const PATHS: [&str; 2] = ["metadata", "rate_limits"];

/// An identity as it is given, in any request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "IdentityFields")]
pub(super) struct IdentityIn {
    #[serde(alias = "externalId")]
    external_id: Option<String>,
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    metadata: Option<Box<RawValue>>,
    #[serde(alias = "rateLimits")]
    rate_limits: Option<Vec<Object<NamedIn>>>,
}

/// An identity as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Identity")]
pub(super) struct IdentityOut<'a> {
    identity_id: String,
    external_id: &'a str,
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    metadata: &'a RawValue,
    #[schemars(with = "Vec<named::NamedOut<'static>>")]
    #[serde(skip_serializing_if = "<[NamedLimit]>::is_empty", serialize_with = "named::told")]
    rate_limits: &'a [NamedLimit],
    create_time: String,
    update_time: String,
}

/// An identity as a verdict tells it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IdentityOfKey")]
pub(super) struct BelongsTo<'a> {
    identity_id: String,
    external_id: &'a str,
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    metadata: &'a RawValue,
}

impl<'a> BelongsTo<'a> {
    pub(super) fn of(identity: &'a Identity) -> Result<Self, Refusal> {
        let identity_id = identity.id.to_string();
        Ok(Self { identity_id, external_id: &identity.external_id, metadata: wire::raw(&identity.metadata)? })
    }
}

impl<'a> IdentityOut<'a> {
    fn of(identity: &'a Identity) -> Result<Self, Refusal> {
        Ok(Self {
            identity_id: identity.id.to_string(),
            external_id: &identity.external_id,
            metadata: wire::raw(&identity.metadata)?,
            rate_limits: &identity.rate_limits,
            create_time: identity.created.rfc3339(),
            update_time: identity.updated.rfc3339(),
        })
    }
}

impl IdentityIn {
    fn read(self) -> Result<NewIdentity, Refusal> {
        Ok(NewIdentity {
            external_id: self.external_id.unwrap_or_default(),
            metadata: wire::object("metadata", self.metadata.as_deref())?.unwrap_or_default(),
            rate_limits: named::limits(self.rate_limits.unwrap_or_default())?,
        })
    }

    /// The changes of an update: what the mask names, or without a mask, what the body has.
    fn change(self, mask: &str) -> Result<IdentityChange, Refusal> {
        let external_id = self.external_id.filter(|given| !given.is_empty());
        let masked = mask_of(mask)?;
        let metadata = wire::object("metadata", self.metadata.as_deref())?;
        let rate_limits = self.rate_limits.map(named::limits).transpose()?;
        let Some([with_metadata, with_limits]) = masked else {
            let rate_limits = rate_limits.filter(|limits| !limits.is_empty());
            return Ok(IdentityChange { external_id, metadata, rate_limits });
        };
        Ok(IdentityChange {
            external_id,
            metadata: with_metadata.then(|| metadata.unwrap_or_default()),
            rate_limits: with_limits.then(|| rate_limits.unwrap_or_default()),
        })
    }
}

/// Which of [`PATHS`] a mask names; `None` without a mask.
fn mask_of(mask: &str) -> Result<Option<[bool; 2]>, Refusal> {
    if mask.is_empty() {
        return Ok(None);
    }
    let mut named = [false; 2];
    for path in mask.split(',').map(str::trim) {
        let path = if path == "rateLimits" { "rate_limits" } else { path };
        let place = PATHS.iter().position(|known| *known == path).and_then(|at| named.get_mut(at));
        *place.ok_or_else(|| invalid("update_mask", format!("the paths are {}", PATHS.join(", "))))? = true;
    }
    Ok(Some(named))
}

fn told(identity: &Identity, status: StatusCode) -> Result<Response, Refusal> {
    respond::json_with(status, &IdentityOut::of(identity)?)
}

/// `identities`: the list, or a new one.
pub(crate) async fn identities(mut ask: Ask) -> Result<Response, Refusal> {
    if ask.parts.method != Method::POST {
        return list(ask).await;
    }
    let asker = ask.changer()?;
    let body: IdentityIn = ask.json().await?;
    told(&ask.keys().create_identity(&asker, body.read()?).await?, StatusCode::CREATED)
}

/// `identities/{identity_id}`.
pub(crate) async fn identity(mut ask: Ask) -> Result<Response, Refusal> {
    let id = ask.path("identity_id").to_owned();
    match ask.parts.method.as_str() {
        "GET" | "HEAD" => told(&ask.keys().identity(&ask.asker()?, &id).await?, StatusCode::OK),
        "PATCH" => {
            let asker = ask.changer()?;
            let query = ask.query()?;
            let mask = query.text("update_mask").or_else(|| query.text("updateMask")).unwrap_or_default();
            let mask = mask.to_owned();
            let body: IdentityIn = ask.json().await?;
            let changed = ask.keys().update_identity(&asker, &id, body.change(&mask)?).await?;
            told(&changed, StatusCode::OK)
        }
        "DELETE" => {
            ask.keys().delete_identity(&ask.changer()?, &id).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Refusal::new(Code::MethodNotAllowed, "This route does not take this method")),
    }
}

async fn list(ask: Ask) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let (size, token) = pages::wanted(&query)?;
    let filter = pages::named(&query, "filter", "filter");
    let page = ask.keys().identities(&ask.asker()?, size, token, filter).await?;
    let identities: Vec<_> = page.identities.iter().map(IdentityOut::of).collect::<Result<_, _>>()?;
    pages::page("identities", &identities, page.next)
}
