//! Key sets (RFC 7517): what a tenant signs its JWTs with, and what it publishes.
//!
//! A key's algorithm follows from the key alone: Ed25519 signs EdDSA, RSA signs RS256. The `alg` of a source and the
//! `alg` of a token's header are never trusted to choose one. Symmetric keys are passed over: they could only be
//! published by mistake.

mod der;
mod jwk;
mod new;

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::{Value, json};

use super::from_object;

pub use jwk::{Algorithm, Jwk, Proven};
pub use new::NewJwk;

/// The longest source of keys in bytes, as base64 and as JSON.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;
/// The most keys of one set. A token without a known `kid` is tried against each, so this bounds what junk costs.
pub const JWKS_KEYS_MAX: usize = 16;

const BASE64_SCHEME: &str = "base64://";
const USE_SIGNATURE: &str = "sig";

/// The keys of one tenant.
#[derive(Debug, Default)]
pub struct Jwks {
    keys: Vec<Jwk>,
    /// Index of the key that signs.
    signing: Option<usize>,
}

/// Where in the configuration a key set is wrong, and how. Says nothing of what stands there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// A source that is no key set.
    #[error("jwt.signing_keys.urls[{url}]: {problem}")]
    Source {
        /// Index of the source.
        url: usize,
        /// What is wrong.
        problem: KeyProblem,
    },
    /// A key of a source.
    #[error("jwt.signing_keys.urls[{url}], keys[{key}]: {problem}")]
    Key {
        /// Index of the source.
        url: usize,
        /// Index of the key in it.
        key: usize,
        /// What is wrong.
        problem: KeyProblem,
    },
    /// More keys than [`JWKS_KEYS_MAX`].
    #[error("jwt.signing_keys: more than {JWKS_KEYS_MAX} keys; remove those whose last tokens have expired")]
    TooManyKeys,
    /// `jwt.signing_key_id` names no private key of the set.
    #[error("jwt.signing_key_id: there is no private key with the id `{0}`")]
    UnknownSigningKey(String),
}

/// What is wrong with a source or a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Another scheme.
    #[error("expected `base64://` and a key set in base64")]
    Scheme,
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// Not base64.
    #[error("what follows `base64://` is not base64")]
    Base64,
    /// Not `{"keys": […]}`.
    #[error("not a JSON key set: expected an object with the member `keys`, a list of objects")]
    Json,
    /// Not an object, or a member that matters is no text.
    #[error("not an object whose members are texts, each once")]
    Form,
    /// A member is missing, no text, or no base64url.
    #[error("the member `{0}` is missing or not what RFC 7517 wants there")]
    Member(&'static str),
    /// A kind of key that neither signs EdDSA nor RS256.
    #[error("not an Ed25519 (`kty` OKP) or RSA key")]
    Kind,
    /// The library refused the key.
    #[error("the parts of the key do not belong together, or it is an RSA key outside 2048 to 8192 bits")]
    Rejected,
    /// Two keys of the set share a `kid`.
    #[error("another key of the set has the same `kid`")]
    SameId,
}

#[derive(Deserialize)]
struct KeySet<'a> {
    #[serde(borrow)]
    keys: Vec<&'a serde_json::value::RawValue>,
}

impl Jwks {
    /// Reads the sources of `jwt.signing_keys.urls` in order, and chooses the key that signs: `signing_key_id`, else
    /// the first private key with `"use": "sig"`, else the first private key.
    ///
    /// # Errors
    /// [`JwksError`] names the source and key by index.
    pub fn from_sources<S: AsRef<str>>(
        sources: &[S],
        signing_key_id: Option<&str>,
    ) -> Result<Self, JwksError> {
        let mut keys = Vec::new();
        for (url, source) in sources.iter().enumerate() {
            let json = decoded(source.as_ref()).map_err(|problem| JwksError::Source { url, problem })?;
            read_set(url, &json, &mut keys)?;
        }
        let signing = choose(&keys, signing_key_id)?;
        Ok(Self { keys, signing })
    }

    /// Reads one key set from JSON, as [`Self::from_sources`] does.
    ///
    /// # Errors
    /// [`JwksError`], with this set as source 0.
    pub fn from_json(json: &[u8], signing_key_id: Option<&str>) -> Result<Self, JwksError> {
        let mut keys = Vec::new();
        read_set(0, json, &mut keys)?;
        let signing = choose(&keys, signing_key_id)?;
        Ok(Self { keys, signing })
    }

    /// All keys, in the order of their sources.
    #[must_use]
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }

    /// The key that signs, if any key can.
    #[must_use]
    pub fn signing_key(&self) -> Option<&Jwk> {
        self.keys.get(self.signing?)
    }

    /// The public halves as RFC 7517 has them: `{"keys": […]}`.
    #[must_use]
    pub fn public_set(&self) -> Value {
        json!({ "keys": self.keys.iter().map(Jwk::public).collect::<Vec<_>>() })
    }

    /// What `GET …/derivedKeys/jwks.json` answers: the set for JOSE libraries, and again under `jwks` for Ory's
    /// clients (dossier §2.2). Both ignore what is not theirs.
    #[must_use]
    pub fn public_document(&self) -> Value {
        let set = self.public_set();
        json!({ "keys": set["keys"], "jwks": set })
    }
}

fn decoded(source: &str) -> Result<Zeroizing<Vec<u8>>, KeyProblem> {
    if source.len() > JWKS_BYTES_MAX {
        return Err(KeyProblem::TooLong);
    }
    let text = source.trim().strip_prefix(BASE64_SCHEME).ok_or(KeyProblem::Scheme)?;
    STANDARD.decode(text).map(Zeroizing::new).map_err(|_| KeyProblem::Base64)
}

fn read_set(url: usize, json: &[u8], keys: &mut Vec<Jwk>) -> Result<(), JwksError> {
    let wrong = |problem| JwksError::Source { url, problem };
    if json.len() > JWKS_BYTES_MAX {
        return Err(wrong(KeyProblem::TooLong));
    }
    let set: KeySet<'_> = from_object(json).ok_or(wrong(KeyProblem::Json))?;
    let mut ids: HashSet<String> = keys.iter().map(|key| key.id().to_owned()).collect();
    for (index, raw) in set.keys.into_iter().enumerate() {
        let wrong = |problem| JwksError::Key { url, key: index, problem };
        let Some(key) = Jwk::read(raw.get()).map_err(wrong)? else { continue };
        if !ids.insert(key.id().to_owned()) {
            return Err(wrong(KeyProblem::SameId));
        }
        if keys.len() == JWKS_KEYS_MAX {
            return Err(JwksError::TooManyKeys);
        }
        keys.push(key);
    }
    Ok(())
}

fn choose(keys: &[Jwk], wanted: Option<&str>) -> Result<Option<usize>, JwksError> {
    let first = |matches: &dyn Fn(&Jwk) -> bool| keys.iter().position(|key| key.can_sign() && matches(key));
    match wanted {
        Some(id) => match first(&|key| key.id() == id) {
            None => Err(JwksError::UnknownSigningKey(id.to_owned())),
            found => Ok(found),
        },
        None => Ok(first(&|key| key.key_use() == Some(USE_SIGNATURE)).or_else(|| first(&|_| true))),
    }
}

#[cfg(test)]
mod tests;
