//! Derived tokens: short-lived credentials that carry their own rights and are verified without a look-up
//! (dossier §5).
//!
//! Two forms, one set of [`Claims`]: a JWT signed with a key of the tenant's [`Jwks`], which anybody can verify, and a
//! [`Macaroon`], which its holder can narrow without asking ([`attenuate`]).
//!
//! ```text
//! a credential ──unverified_nid──► another tenant's? refused as unknown, before any cryptography
//!   JWT        ──Jwks::verify────► Claims ──Narrowed::from──┐
//!   macaroon   ──Macaroon::verify──────────────────────────► Narrowed ──check──► admitted
//! ```
//!
//! [`Verifier`] does these steps in this order.

mod caveat;
mod claims;
mod jwks;
mod jwt;
mod macaroon;
mod narrowed;
mod verifier;

pub use caveat::{
    CAVEAT_BYTES_MAX, CAVEAT_ENTRIES_MAX, CAVEAT_ENTRY_BYTES_MAX, CAVEATS_MAX, Caveat, CaveatError, Pattern,
};
pub use claims::{Claims, CustomClaims, Leeway, RESERVED_CLAIMS, TOKEN_TYPE};
pub use jwks::{Algorithm, JWKS_BYTES_MAX, JWKS_KEYS_MAX, Jwk, Jwks, JwksError, KeyProblem, NewJwk, Proven};
pub use macaroon::{AttenuateError, Macaroon, attenuate, mint as mint_macaroon};
pub use narrowed::Narrowed;
pub use verifier::Verifier;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::tenant::Nid;

/// The longest token, in bytes, signature and prefix included (dossier §2.1). Longer ones are refused, never cut.
pub const TOKEN_BYTES_MAX: usize = 8_192;

/// Why a token proves nothing. The variants stand in the order in which they are looked for, but that a token which
/// names another tenant is [`Self::OtherTenant`] before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Neither form of token, or its claims cannot be read. `SIGNATURE_INVALID` on the wire.
    #[error("the token cannot be read")]
    Malformed,
    /// No key or secret of this tenant made it, or it was changed. `SIGNATURE_INVALID`.
    #[error("the token's signature is wrong")]
    Signature,
    /// A caveat that its holder added cannot be honoured. `SIGNATURE_INVALID`.
    #[error("a caveat of the token is refused: {0}")]
    Caveat(#[from] CaveatError),
    /// Its `exp` has come. `SIGNATURE_INVALID`.
    #[error("the token has expired")]
    Expired,
    /// Its `nbf` has not come. `SIGNATURE_INVALID`.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// Its `iss` is not an issuer of this tenant. `SIGNATURE_INVALID`.
    #[error("the token's issuer is not accepted")]
    Issuer,
    /// Its `tty` says that it is something else. `INVALID_FORMAT`.
    #[error("the token is not a derived token")]
    WrongType,
    /// Its `nid` is absent or another tenant's. `NOT_FOUND`, as if it did not exist.
    #[error("the token belongs to no key of this tenant")]
    OtherTenant,
}

/// Why a token could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The finished token would be longer than [`TOKEN_BYTES_MAX`].
    #[error(
        "the token would be {bytes} bytes long, more than {TOKEN_BYTES_MAX}: give it less metadata or claims"
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// The key set has no private key to sign with.
    #[error("there is no signing key")]
    NoSigningKey,
    /// The cryptographic library refused.
    #[error("the token could not be signed")]
    Rejected,
}

/// The tenant a token claims to be of, **before** any proof; `None` when it claims none or cannot be read.
///
/// A token that names another tenant is answered with `NOT_FOUND` without looking further (dossier §4.3), so that
/// tenants with keys of their own and tenants with shared keys answer alike.
#[must_use]
pub fn unverified_nid(token: &str) -> Option<ClaimedNid> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    match jwt::payload(token) {
        Some(payload) => ClaimedNid::read(&payload),
        None => ClaimedNid::read(macaroon::Macaroon::parse_any(token).ok()?.first_caveat()?),
    }
}

/// What a token says in `nid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimedNid {
    /// A network id.
    Nid(Nid),
    /// A text that is none, and so belongs to no tenant.
    Junk,
}

impl ClaimedNid {
    /// Whether it is this tenant's.
    #[must_use]
    pub fn is(self, nid: Nid) -> bool {
        self == Self::Nid(nid)
    }

    fn parse(text: &str) -> Self {
        uuid::Uuid::parse_str(text).map_or(Self::Junk, |id| Self::Nid(Nid(id)))
    }

    fn read(claims: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct OnlyNid {
            nid: Option<String>,
        }
        let only: OnlyNid = from_object(claims)?;
        only.nid.as_deref().map(Self::parse)
    }
}

/// Reads a JSON object. A list is refused: the decoder would take its entries for members by position, which no other
/// reader of the token does.
fn from_object<'a, T: serde::Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok())?
}

/// Unpadded base64url, strict: no padding, no stray bits at the end.
fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;
