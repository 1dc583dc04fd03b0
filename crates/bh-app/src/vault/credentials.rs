//! Credentials for integrations: a tenant's tokens at somebody else's service (seed 001, "Storing OAuth Credentials").

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::name::is_name;
use super::{SecretName, SecretView, Vault};
use crate::tenants::Actor;

/// Secrets whose names begin so are credentials, and stored as such alone.
const PREFIX: &str = "oauth/";
const INTEGRATION_BYTES_MAX: usize = 64;
/// How long before its end a token is to be refreshed.
const REFRESH_BEFORE_MS: i64 = 300_000;
const SCOPES_MAX: usize = 100;
const SCOPE_BYTES_MAX: usize = 256;
/// The member that says where a token is shown.
const SHOWN_TO: &str = "shownTo";
/// What a token is when nobody says.
const TOKEN_TYPE: &str = "Bearer";

/// The name of an integration: `[a-z0-9][a-z0-9._-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration(String);

impl Integration {
    /// Reads a name.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if is_name(text, b"._-", INTEGRATION_BYTES_MAX) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!(
            "The integration must have 1 to {INTEGRATION_BYTES_MAX} lower-case letters, digits, `.`, `_` and `-`, such as \
             `github`"
        );
        Err(Refusal::new(Code::InvalidRequest, message).with("field", "integration"))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn secret(&self) -> SecretName {
        SecretName::of(format!("{PREFIX}{}", self.0))
    }
}

/// Tokens of a tenant at an integration.
#[derive(Debug)]
pub struct Credentials {
    /// What requests carry.
    pub access_token: SecretString,
    /// What a new one is had with.
    pub refresh_token: Option<SecretString>,
    /// When the access token ends.
    pub expires: Option<Timestamp>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// `Bearer` unless told otherwise.
    pub token_type: Option<String>,
    /// Where they are shown: the address of the tenant's server of that name; nowhere while there is none.
    pub shown_to: Option<String>,
}

/// An access token, and where it is shown.
#[derive(Debug)]
pub struct AccessToken {
    /// What requests carry.
    pub token: SecretString,
    /// How they carry it: `Bearer`.
    pub token_type: String,
    /// The only address that may have it.
    pub shown_to: Option<String>,
}

/// Credentials as they are told: never the tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsView {
    /// Whose.
    pub tenant_id: String,
    /// For what.
    pub integration: String,
    /// When the access token ends, RFC 3339.
    pub expires_at: Option<String>,
    /// When a new one is due, RFC 3339.
    pub next_refresh_at: Option<String>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// How it is shown.
    pub token_type: String,
    /// Where it is shown: the address of the tenant's MCP server of that name when it was stored; `null` where there was none.
    pub shown_to: Option<String>,
    /// When it was stored, RFC 3339.
    pub updated_at: String,
}

impl Vault {
    /// Stores a tenant's tokens, in place of older ones.
    ///
    /// # Errors
    /// `invalid_request`; those of [`Vault::put`].
    pub async fn store_credentials(
        &self,
        by: &Actor,
        (nid, id): (Nid, &TenantId),
        integration: &Integration,
        given: &Credentials,
    ) -> Result<CredentialsView, Refusal> {
        check(given)?;
        let token_type = given.token_type.as_deref().unwrap_or(TOKEN_TYPE);
        let expires = given.expires.map(Timestamp::rfc3339);
        let told = json!({
            "expiresAt": expires, "scopes": given.scopes, "tokenType": token_type, "shownTo": given.shown_to,
        });
        let metadata = if let Value::Object(told) = told { told } else { Map::new() };
        self.put(by, nid, &integration.secret(), &text(given)?, &metadata).await?;
        self.credentials((nid, id), integration).await
    }

    /// What is told of a tenant's tokens.
    ///
    /// # Errors
    /// `not_found`; `secret_unreadable`; those of the store.
    pub async fn credentials(
        &self,
        (nid, id): (Nid, &TenantId),
        integration: &Integration,
    ) -> Result<CredentialsView, Refusal> {
        let found = self.view(nid, &integration.secret()).await;
        let SecretView { metadata, updated_at, .. } = found.map_err(|refusal| none(refusal, integration))?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let expires = text("expiresAt").and_then(|text| Timestamp::parse(&text).ok());
        let scopes = metadata.get("scopes").and_then(Value::as_array).into_iter().flatten();
        Ok(CredentialsView {
            tenant_id: id.to_string(),
            integration: integration.as_str().to_owned(),
            expires_at: expires.map(Timestamp::rfc3339),
            next_refresh_at: expires.map(|end| end.plus_ms(-REFRESH_BEFORE_MS).rfc3339()),
            scopes: scopes.filter_map(Value::as_str).map(str::to_owned).collect(),
            token_type: text("tokenType").unwrap_or_else(|| TOKEN_TYPE.to_owned()),
            shown_to: text(SHOWN_TO),
            updated_at,
        })
    }

    /// Forgets a tenant's tokens.
    ///
    /// # Errors
    /// `not_found`; those of the store.
    pub async fn delete_credentials(
        &self,
        by: &Actor,
        tenant: Nid,
        integration: &Integration,
    ) -> Result<(), Refusal> {
        let deleted = self.delete(by, tenant, &integration.secret()).await;
        deleted.map_err(|refusal| none(refusal, integration))
    }

    /// The access token, for the call that carries it.
    ///
    /// # Errors
    /// As [`Vault::credentials`].
    pub async fn access_token(&self, nid: Nid, integration: &Integration) -> Result<AccessToken, Refusal> {
        let text = self.value(nid, &integration.secret()).await;
        let text = text.map_err(|refusal| none(refusal, integration))?;
        let kept: Value = serde_json::from_slice(&text).unwrap_or_default();
        // Sealed with the token: what is told of it beside is not what decides.
        let text = |name: &str| kept[name].as_str().map(str::to_owned);
        let token_type = text("tokenType").unwrap_or_else(|| TOKEN_TYPE.to_owned());
        let token = kept["accessToken"].as_str().unwrap_or_default().into();
        Ok(AccessToken { token, token_type, shown_to: text(SHOWN_TO) })
    }
}

impl SecretName {
    /// Refuses a name under which only credentials are stored.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn not_credentials(self) -> Result<Self, Refusal> {
        if !self.as_str().starts_with(PREFIX) {
            return Ok(self);
        }
        let message = format!(
            "Secrets below `{PREFIX}` are credentials: store them through …/oauth/{{integration}}/credentials"
        );
        Err(Refusal::new(Code::InvalidRequest, message).with("field", "name"))
    }
}

/// Refuses what cannot be tokens. No message repeats what was given.
fn check(given: &Credentials) -> Result<(), Refusal> {
    let wrong = |field: &'static str, problem: &str| {
        Err(Refusal::new(Code::InvalidRequest, format!("`{field}` {problem}")).with("field", field))
    };
    if given.access_token.expose_secret().trim().is_empty() {
        return wrong("accessToken", "is empty");
    }
    if given.scopes.len() > SCOPES_MAX || given.scopes.iter().any(|scope| scope.len() > SCOPE_BYTES_MAX) {
        return wrong("scopes", &format!("must be at most {SCOPES_MAX} texts of {SCOPE_BYTES_MAX} bytes"));
    }
    if given.token_type.as_ref().is_some_and(|text| !is_token_type(text)) {
        return wrong("tokenType", "must be a word such as `Bearer`");
    }
    Ok(())
}

fn is_token_type(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// What is sealed.
fn text(given: &Credentials) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Kept<'g> {
        access_token: &'g str,
        refresh_token: Option<&'g str>,
        token_type: Option<&'g str>,
        shown_to: Option<&'g str>,
    }
    let kept = Kept {
        access_token: given.access_token.expose_secret(),
        refresh_token: given.refresh_token.as_ref().map(ExposeSecret::expose_secret),
        token_type: given.token_type.as_deref(),
        shown_to: given.shown_to.as_deref(),
    };
    let text = serde_json::to_vec(&kept);
    text.map(Zeroizing::new)
        .map_err(|_| Refusal::new(Code::Internal, "The credentials cannot be written down"))
}

/// Says which credentials there are none of.
fn none(refusal: Refusal, integration: &Integration) -> Refusal {
    if refusal.code != Code::NotFound {
        return refusal;
    }
    let message = "The tenant has no credentials for this integration";
    Refusal::new(Code::NotFound, message).with("integration", integration.as_str())
}
