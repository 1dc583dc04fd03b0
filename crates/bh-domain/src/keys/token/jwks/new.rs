//! New keys for `jwk generate`. Chance is passed in: 32 random bytes for Ed25519, a fresh PKCS#8 key for RSA.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde_json::json;

use super::super::base64url;
use super::der::RsaPrivateKey;
use super::jwk::{ed25519_thumbprint, rsa_thumbprint};
use super::{Algorithm, KeyProblem};

/// A new private key as JSON, and its id.
pub struct NewJwk {
    /// Its `kid`: the one given, else its thumbprint (RFC 7638).
    pub id: String,
    /// The whole key. Secret.
    pub json: SecretString,
}

impl fmt::Debug for NewJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewJwk").field("id", &self.id).finish_non_exhaustive()
    }
}

impl NewJwk {
    /// The Ed25519 key of 32 random bytes.
    ///
    /// # Errors
    /// [`KeyProblem::Rejected`] from the library.
    pub fn ed25519(seed: &Zeroizing<[u8; 32]>, id: Option<&str>) -> Result<Self, KeyProblem> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| KeyProblem::Rejected)?;
        let x = pair.public_key().as_ref();
        let id = id.map_or_else(|| ed25519_thumbprint(x), str::to_owned);
        let json = json!({
            "kty": "OKP", "kid": id, "use": "sig", "alg": Algorithm::EdDsa.as_str(),
            "crv": "Ed25519", "x": base64url(x), "d": base64url(seed.as_slice()),
        });
        Ok(Self { id, json: json.to_string().into() })
    }

    /// The RSA key of a PKCS#8 document, as `aws_lc_rs::rsa::KeyPair::generate` makes one.
    ///
    /// # Errors
    /// [`KeyProblem::Rejected`] for anything but an RSA private key of two primes.
    pub fn rsa(pkcs8: &[u8], id: Option<&str>) -> Result<Self, KeyProblem> {
        let key = RsaPrivateKey::read(pkcs8).ok_or(KeyProblem::Rejected)?;
        let id = id.map_or_else(|| rsa_thumbprint(key.n, key.e), str::to_owned);
        let json = json!({
            "kty": "RSA", "kid": id, "use": "sig", "alg": Algorithm::Rs256.as_str(),
            "n": base64url(key.n), "e": base64url(key.e), "d": base64url(key.d),
            "p": base64url(key.p), "q": base64url(key.q),
            "dp": base64url(key.dp), "dq": base64url(key.dq), "qi": base64url(key.qi),
        });
        Ok(Self { id, json: json.to_string().into() })
    }
}
