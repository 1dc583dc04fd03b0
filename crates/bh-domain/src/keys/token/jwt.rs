//! Compact JWS with EdDSA or RS256 (RFC 7515, 7519): how a key set signs and verifies claims.

use secrecy::SecretString;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::jwks::{Algorithm, Jwk, Jwks, Proven};
use super::{Claims, SignError, TOKEN_BYTES_MAX, TokenFault, base64url, from_base64url, from_object};

#[derive(Serialize)]
struct NewHeader<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that a verifier has to understand (RFC 7515 §4.1.11). We understand none.
    crit: Option<IgnoredAny>,
}

/// A token's three parts, still encoded.
struct Compact<'a> {
    header: &'a str,
    payload: &'a str,
    signature: &'a str,
    /// Header, point and payload: what is signed.
    signed: &'a str,
}

impl<'a> Compact<'a> {
    fn split(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let three = !payload.contains('.') && ![header, payload, signature].contains(&"");
        three.then_some(Self { header, payload, signature, signed })
    }
}

/// The decoded middle of a token, before any proof.
pub(super) fn payload(token: &str) -> Option<Vec<u8>> {
    from_base64url(Compact::split(token)?.payload)
}

impl Jwks {
    /// The claims as a token, signed by [`Jwks::signing_key`].
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(&self, claims: &Claims) -> Result<SecretString, SignError> {
        let key = self.signing_key().ok_or(SignError::NoSigningKey)?;
        let header = NewHeader { alg: key.algorithm().as_str(), kid: key.id(), typ: "JWT" };
        let header = serde_json::to_vec(&header).map_err(|_| SignError::Rejected)?;
        let mut token = format!("{}.{}", base64url(&header), base64url(&claims.to_json()));
        let signature = base64url(&key.sign(token.as_bytes())?);
        token.push('.');
        token.push_str(&signature);
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SignError::TooLong { bytes: token.len() });
        }
        Ok(token.into())
    }

    /// The claims of a token that a key of this set signed. Times, issuer and tenant are not checked yet:
    /// [`Claims::check`].
    ///
    /// # Errors
    /// [`TokenFault::TooLong`], [`TokenFault::Malformed`] or [`TokenFault::Signature`].
    pub fn verify(&self, token: &str) -> Result<Claims, TokenFault> {
        self.verify_once(token, &())
    }

    /// The same, where a signature that was found good before is not verified again.
    ///
    /// # Errors
    /// As [`Self::verify`].
    pub fn verify_once(&self, token: &str, proven: &dyn Proven) -> Result<Claims, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        let compact = Compact::split(token).ok_or(TokenFault::Malformed)?;
        let header = from_base64url(compact.header).ok_or(TokenFault::Malformed)?;
        let header: Header = from_object(&header).ok_or(TokenFault::Malformed)?;
        let signature = from_base64url(compact.signature).ok_or(TokenFault::Malformed)?;
        let algorithm = Algorithm::parse(&header.alg).ok_or(TokenFault::Signature)?;
        let by = |key: &Jwk| {
            let signed = compact.signed.as_bytes();
            key.algorithm() == algorithm && key.verifies_once(signed, &signature, proven)
        };
        let named = header.kid.and_then(|kid| self.keys().iter().find(|key| key.id() == kid));
        let proven = match named {
            Some(key) => by(key),
            // A set that was exported under other ids still verifies; the number of keys is bounded.
            None => self.keys().iter().any(by),
        };
        if header.crit.is_some() || !proven {
            return Err(TokenFault::Signature);
        }
        Claims::from_json(&from_base64url(compact.payload).ok_or(TokenFault::Malformed)?)
    }
}

#[cfg(test)]
mod tests;
