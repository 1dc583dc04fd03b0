//! Short-lived tokens made from a key.

use std::net::IpAddr;

use bh_domain::keys::key::Key;
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::token::{ClaimedNid, Claims, CustomClaims, SignError, TOKEN_TYPE, mint_macaroon};
use bh_domain::keys::verdict::{VerificationError, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::{SECOND_MS, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::house::House;
use super::trail::Action;
use super::verdict::{Denied, Freshness, Subject};
use super::verify::{Needs, Question};
use super::{Asker, KeyStory, internal, invalid};

const AUDIENCES_MAX: usize = 64;
const AUDIENCE_CHARS_MAX: usize = 255;

/// Which form of token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenForm {
    /// Signed: anybody can verify it.
    #[default]
    Jwt,
    /// Chained: its holder can narrow it.
    Macaroon,
}

impl TokenForm {
    fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Macaroon => "macaroon",
        }
    }
}

/// A request for a token.
#[derive(Clone, Debug)]
pub struct Derivation {
    /// The key.
    pub credential: SecretString,
    /// Which form.
    pub form: TokenForm,
    /// How long it lives; `None` for the tenant's default.
    pub ttl: Option<Lifetime>,
    /// A part of the key's scopes; `None` or empty for all of them.
    pub scopes: Option<Vec<String>>,
    /// Claims of the caller's own.
    pub custom: Map<String, Value>,
    /// Whom it is for.
    pub audiences: Vec<String>,
    /// Where the request comes from: a key that may not be used there derives nothing there.
    pub address: IpAddr,
}

/// A new token.
#[derive(Debug)]
pub struct Derived {
    /// Its text.
    pub token: SecretString,
    /// When it ends.
    pub expires: Timestamp,
    /// What it may do.
    pub scopes: Vec<String>,
    /// The key's metadata under the custom claims.
    pub claims: Map<String, Value>,
    /// Whom it is for.
    pub audiences: Vec<String>,
}

impl KeyStory {
    /// Derives a token from a key.
    ///
    /// # Errors
    /// `invalid_request`, `unauthorized` for a credential that is not good, `forbidden` for a revoked key or a scope it
    /// does not have, `evidence_unavailable`.
    pub async fn derive(&self, asker: &Asker, wanted: Derivation) -> Result<Derived, Refusal> {
        let house = self.0.houses.of(&asker.tenant)?;
        let key = self.parent(asker, &wanted).await?;
        let now = self.0.parts.clock.now();
        let expires_at_s = end(&house, &key, wanted.ttl, now)?;
        let scopes = subset(&key, wanted.scopes)?;
        check_audiences(&wanted.audiences)?;
        let metadata = serde_json::from_str(key.metadata.as_str());
        let now_s = now.0.div_euclid(SECOND_MS);
        let claims = Claims {
            id: Some(self.new_uuid().hyphenated().to_string()),
            issuer: house.settings.issuer.clone(),
            key_id: Some(key.key_id.to_string()),
            actor_id: key.actor_id.clone(),
            nid: Some(ClaimedNid::Nid(asker.tenant.nid)),
            token_type: Some(TOKEN_TYPE.to_owned()),
            issued_at_s: Some(now_s),
            not_before_s: Some(now_s),
            expires_at_s,
            scopes,
            audiences: wanted.audiences,
            metadata: metadata.map_err(|error| internal("read a key's metadata", &error))?,
            public: key.visibility == Visibility::Public,
            allowed_cidrs: key.allowed_cidrs.clone(),
            custom: CustomClaims::part(wanted.custom).accepted,
        };
        let token = signed(&house, wanted.form, &claims)?;
        self.told_of(asker, &key, wanted.form, &claims).await?;
        self.0.parts.metrics.keys.minted.inc();
        Ok(Derived {
            token,
            expires: Timestamp(expires_at_s.saturating_mul(SECOND_MS)),
            claims: claims.told_to_deriver(),
            scopes: claims.scopes,
            audiences: claims.audiences,
        })
    }

    /// No token leaves without its event.
    async fn told_of(
        &self,
        asker: &Asker,
        key: &Key,
        form: TokenForm,
        claims: &Claims,
    ) -> Result<(), Refusal> {
        let detail = json!({
            "jti": claims.id,
            "form": form.as_str(),
            "scopes": claims.scopes,
            "expire_time": Timestamp(claims.expires_at_s.saturating_mul(SECOND_MS)).rfc3339(),
        });
        let event = self.plain_event(asker, Action::TokenDerived, key.key_id.as_str(), &detail);
        let written = self.0.parts.trail.append(asker.tenant.nid, event).await;
        written.map_err(|fault| fault.refusal())
    }

    /// The key behind the credential, read from the store: a token outlives what memory may still say.
    async fn parent(&self, asker: &Asker, wanted: &Derivation) -> Result<Key, Refusal> {
        let credential = wanted.credential.expose_secret();
        let question = Question {
            credential,
            audiences: &[],
            freshness: Freshness::NoCache,
            address: Some(wanted.address),
            counted: false,
            needs: Needs::default(),
        };
        let verdict = self.verify(&asker.tenant, question).await;
        match (verdict.subject, verdict.denied) {
            (Some(Subject::Key(row)), None) => Ok(row.key.clone()),
            (Some(Subject::Token(_)), None) => Err(invalid(
                "credential",
                "is a derived token: tokens are derived from keys, and macaroons narrowed by their holders",
            )),
            (_, Some(denied)) => Err(refused(&denied)),
            (None, None) => Err(Refusal::new(Code::Internal, "The credential could not be verified")),
        }
    }

    /// The public halves of a tenant's signing keys, as its JWKS address answers.
    ///
    /// # Errors
    /// `internal_error` when there is none.
    pub fn jwks(&self, asker: &Asker) -> Result<Value, Refusal> {
        let house = self.0.houses.of(&asker.tenant)?;
        if house.jwks.keys().is_empty() {
            return Err(Refusal::new(Code::Internal, "No signing key is configured for this tenant"));
        }
        Ok(house.jwks.public_document())
    }
}

fn refused(denied: &Denied) -> Refusal {
    let code = match denied.code {
        VerificationError::Revoked => Code::Forbidden,
        VerificationError::Internal => Code::EvidenceUnavailable,
        VerificationError::IpNotAllowed => Code::IpNotAllowed,
        VerificationError::InvalidFormat
        | VerificationError::Expired
        | VerificationError::NotFound
        | VerificationError::SignatureInvalid
        | VerificationError::RateLimited
        | VerificationError::AudienceMismatch
        | VerificationError::InsufficientPermissions => Code::Unauthorized,
    };
    Refusal::new(code, denied.message.clone()).with("verification_error", denied.code.as_str())
}

/// When the token ends, in seconds; never later than the key.
fn end(house: &House, key: &Key, ttl: Option<Lifetime>, now: Timestamp) -> Result<i64, Refusal> {
    let settings = &house.settings;
    let default_ms = i64::try_from(settings.derived.default_ttl.as_millis()).unwrap_or(i64::MAX);
    let max_ms = i64::try_from(settings.max_ttl.as_millis()).unwrap_or(i64::MAX);
    let left_ms = key.expires.map_or(i64::MAX, |end| end.0 - now.0);
    let ms = match ttl {
        // A key that ends sooner than the default shortens a token that asked for nothing.
        None => default_ms.min(left_ms).min(max_ms),
        Some(ttl) => ttl.ms().cast_signed(),
    };
    if ms > max_ms {
        let max_s = settings.max_ttl.as_secs();
        return Err(invalid("ttl", format!("longer than the longest life of a key here, {max_s}s")));
    }
    if ms > left_ms {
        return Err(invalid("ttl", format!("longer than the key lives on, {}s", left_ms / SECOND_MS)));
    }
    let end_s = now.plus_ms(ms).0.div_euclid(SECOND_MS);
    if end_s <= now.0.div_euclid(SECOND_MS) {
        return Err(Refusal::new(Code::FailedPrecondition, "The key has expired, or will within a second"));
    }
    Ok(end_s)
}

fn subset(key: &Key, wanted: Option<Vec<String>>) -> Result<Vec<String>, Refusal> {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(key.scopes.clone()) };
    match wanted.iter().find(|scope| !key.scopes.contains(scope)) {
        Some(foreign) => {
            let message = format!("The key does not have the scope `{foreign}`, so no token of it can");
            Err(Refusal::new(Code::Forbidden, message).with("scope", foreign.clone()))
        }
        None => Ok(wanted),
    }
}

fn check_audiences(audiences: &[String]) -> Result<(), Refusal> {
    if audiences.len() > AUDIENCES_MAX {
        return Err(invalid("audiences", format!("more than {AUDIENCES_MAX}")));
    }
    let bad = |audience: &String| audience.is_empty() || audience.chars().nth(AUDIENCE_CHARS_MAX).is_some();
    match audiences.iter().position(bad) {
        Some(at) => Err(invalid(
            "audiences",
            format!("entry {at} is empty or longer than {AUDIENCE_CHARS_MAX} characters"),
        )),
        None => Ok(()),
    }
}

fn no_signing_key(id: &str) -> Refusal {
    let message = format!("The configured jwt.signing_key_id, `{id}`, is no private key of this tenant");
    Refusal::new(Code::Internal, message).with("signing_key_id", id)
}

fn signed(house: &House, form: TokenForm, claims: &Claims) -> Result<SecretString, Refusal> {
    let made = match form {
        TokenForm::Jwt => {
            if let Some(id) = &house.unknown_signing_key {
                return Err(no_signing_key(id));
            }
            house.jwks.sign(claims)
        }
        TokenForm::Macaroon => {
            let root = house.secrets.macaroon_root_key();
            let prefix = house.macaroons.first().map_or("mc", |prefix| prefix.as_str());
            mint_macaroon(root.expose_secret().as_slice(), prefix, claims)
        }
    };
    made.map_err(|error| match error {
        SignError::TooLong { .. } => invalid("custom_claims", error),
        SignError::NoSigningKey | SignError::Rejected => internal("sign a token", &error),
    })
}
