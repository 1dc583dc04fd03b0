//! Derived tokens when they are shown, and those that are denied.

use std::collections::HashMap;

use bh_domain::keys::format::Prefix;
use bh_domain::keys::key::JsonObject;
use bh_domain::keys::token::{Narrowed, Proven, TokenFault, Verifier};
use bh_domain::keys::verdict::VerificationError;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::{SECOND_MS, Timestamp};
use parking_lot::RwLock;
use quick_cache::sync::Cache;
use secrecy::ExposeSecret;

use super::house::House;
use super::verdict::Denied;
use super::{KeyStory, Refusal};
use crate::ports::Denial;

/// What a good token stands for.
#[derive(Clone, Debug)]
pub struct TokenSubject {
    /// Its claims and limits.
    pub narrowed: Narrowed,
    /// The key's metadata and the token's own claims, together.
    pub metadata: JsonObject,
    /// Whether its holder may have narrowed it.
    pub macaroon: bool,
}

impl TokenSubject {
    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        Timestamp(self.narrowed.claims().expires_at_s.saturating_mul(SECOND_MS))
    }
}

/// JWTs whose signature was found good, in any tenant: what is left of verifying one is a hash. Each takes some 60 bytes.
const PROVEN_MAX: usize = 65_536;

pub(super) struct ProvenTokens(Cache<[u8; 32], ()>);

impl Default for ProvenTokens {
    fn default() -> Self {
        Self(Cache::new(PROVEN_MAX))
    }
}

impl Proven for ProvenTokens {
    fn holds(&self, proof: &[u8; 32]) -> bool {
        self.0.get(proof).is_some()
    }

    fn note(&self, proof: [u8; 32]) {
        self.0.insert(proof, ());
    }
}

/// The subject of a denial of all tokens of a key.
pub(super) fn of_key(key_id: &str) -> String {
    format!("key:{key_id}")
}

/// The subject of a denial of one token.
pub(super) fn of_token(jti: &str) -> String {
    format!("jti:{jti}")
}

/// Tokens that are refused although they are signed.
#[derive(Default)]
pub(super) struct Denials(RwLock<HashMap<Nid, HashMap<String, Timestamp>>>);

impl Denials {
    pub(super) fn add(&self, nid: Nid, subject: String, until: Timestamp) {
        let mut all = self.0.write();
        let end = all.entry(nid).or_default().entry(subject).or_insert(until);
        *end = (*end).max(until);
    }

    fn replace(&self, denials: Vec<Denial>) {
        let mut all: HashMap<Nid, HashMap<String, Timestamp>> = HashMap::new();
        for Denial { nid, subject, until } in denials {
            all.entry(nid).or_default().insert(subject, until);
        }
        *self.0.write() = all;
    }

    fn forget(&self, now: Timestamp) {
        let mut all = self.0.write();
        all.values_mut().for_each(|own| own.retain(|_, until| *until > now));
        all.retain(|_, own| !own.is_empty());
    }

    fn holds(&self, nid: Nid, narrowed: &Narrowed, now: Timestamp) -> bool {
        let all = self.0.read();
        let Some(own) = all.get(&nid) else { return false };
        let claims = narrowed.claims();
        let subjects = [claims.key_id.as_deref().map(of_key), claims.id.as_deref().map(of_token)];
        subjects.iter().flatten().any(|subject| own.get(subject).is_some_and(|until| now < *until))
    }
}

impl KeyStory {
    /// Verifies a JWT or a macaroon. No store is asked.
    pub(super) fn verify_token(
        &self,
        nid: Nid,
        house: &House,
        token: &str,
        now: Timestamp,
    ) -> Result<TokenSubject, Denied> {
        let issuers = house.issuers(now);
        let skew_s = u32::try_from(house.settings.clock_skew.as_secs()).unwrap_or(u32::MAX);
        let verifier = Verifier { nid, issuers: &issuers, skew_s };
        let macaroon = house.macaroons.iter().any(|prefix| prefix.strip(token).is_some());
        let narrowed = if macaroon {
            let prefixes: Vec<&str> = house.macaroons.iter().map(Prefix::as_str).collect();
            let roots: Vec<_> = house.secrets.macaroon_root_keys(now).collect();
            let roots: Vec<&[u8]> = roots.iter().map(|root| root.expose_secret().as_slice()).collect();
            verifier.macaroon(token, &prefixes, &roots, now)
        } else {
            verifier.jwt(token, &house.jwks, &self.0.proven, now)
        };
        let narrowed = narrowed.map_err(denied)?;
        if self.0.denials.holds(nid, &narrowed, now) {
            let message = "the token, or the key it was derived from, was revoked";
            return Err(Denied::saying(VerificationError::Revoked, message));
        }
        let metadata = serde_json::Value::Object(narrowed.claims().as_key_metadata()).to_string();
        let metadata = JsonObject::parse(metadata).unwrap_or_default();
        Ok(TokenSubject { narrowed, metadata, macaroon })
    }

    /// Reads every denial that holds. To be done before tokens are verified, and whenever changes may have been missed.
    ///
    /// # Errors
    /// `evidence_unavailable`.
    pub async fn read_denials(&self) -> Result<(), Refusal> {
        let scope = Scope::system("token denials");
        let denials = self.0.parts.store.denials_everywhere(scope, self.0.parts.clock.now()).await;
        self.0.denials.replace(denials.map_err(|fault| fault.refusal())?);
        Ok(())
    }

    /// Forgets denials of tokens that have ended by themselves.
    pub async fn forget_denials(&self) {
        let now = self.0.parts.clock.now();
        self.0.denials.forget(now);
        if let Err(fault) = self.0.parts.store.forget_denials(Scope::system("token denials"), now).await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "old token denials were not removed");
        }
    }
}

/// What is told of a token that proves nothing. The code stays what clients know; the sentence is precise.
fn denied(fault: TokenFault) -> Denied {
    let code = match fault {
        TokenFault::OtherTenant => return Denied::because(VerificationError::NotFound),
        TokenFault::WrongType | TokenFault::TooLong => VerificationError::InvalidFormat,
        TokenFault::Malformed
        | TokenFault::Signature
        | TokenFault::Caveat(_)
        | TokenFault::Expired
        | TokenFault::NotYetValid
        | TokenFault::Issuer => VerificationError::SignatureInvalid,
    };
    Denied::saying(code, fault.to_string())
}
