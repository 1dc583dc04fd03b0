//! Macaroons: `<prefix>_v1_` and a libmacaroons V2 binary in base64url (dossier §5.4).
//!
//! Each caveat keys the hash of the next, so that whoever holds a token can add one and nobody can take one away. The
//! first caveat is the whole set of claims; every further one can only narrow it ([`super::Caveat`]).

mod wire;

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use secrecy::SecretString;
use serde::Deserialize;

use super::caveat::{CAVEAT_BYTES_MAX, CAVEATS_MAX, Caveat, CaveatError};
use super::{
    Claims, Narrowed, SignError, TOKEN_BYTES_MAX, TokenFault, base64url, from_base64url, from_object,
};

/// What stands between prefix and macaroon.
const VERSION_MARK: &str = "_v1_";
/// The longest prefix (dossier §5.4).
const PREFIX_BYTES_MAX: usize = 8;
/// The key that libmacaroons hashes a root key with.
const KEY_GENERATOR: &[u8] = b"macaroons-key-generator";

type Tag = [u8; 32];

/// A macaroon as read, before any proof. Whoever has its bytes has its rights: `Debug` shows none of them.
pub struct Macaroon {
    prefix: String,
    location: Vec<u8>,
    identifier: Vec<u8>,
    /// First-party caveats, oldest first.
    caveats: Vec<Vec<u8>>,
    tag: Tag,
}

impl fmt::Debug for Macaroon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Macaroon").field("caveats", &self.caveats.len()).finish_non_exhaustive()
    }
}

/// Why a token could not be narrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttenuateError {
    /// Only macaroons can be.
    #[error(
        "not a macaroon: only a token derived with TOKEN_ALGORITHM_MACAROON can be narrowed by its holder"
    )]
    NotAMacaroon,
    /// The caveat would be refused.
    #[error("the caveat is refused: {0}")]
    Caveat(#[from] CaveatError),
    /// The result would be too long.
    #[error(transparent)]
    Sign(#[from] SignError),
}

/// A new macaroon over the claims.
///
/// # Errors
/// [`SignError::TooLong`].
pub fn mint(root_key: &[u8], prefix: &str, claims: &Claims) -> Result<SecretString, SignError> {
    let identifier = serde_json::json!({ "jti": claims.id }).to_string();
    let caveat = claims.to_json();
    mint_raw(root_key, prefix, claims.issuer.as_bytes(), identifier.into_bytes(), caveat).token()
}

fn mint_raw(
    root_key: &[u8],
    prefix: &str,
    location: &[u8],
    identifier: Vec<u8>,
    caveat: Vec<u8>,
) -> Macaroon {
    let tag = first_tag(root_key, &identifier);
    let bare = Macaroon {
        prefix: prefix.to_owned(),
        location: location.to_vec(),
        identifier,
        caveats: Vec::new(),
        tag,
    };
    bare.with(caveat)
}

/// The token with one more caveat: a weaker one, made without any secret.
///
/// # Errors
/// [`AttenuateError`]. A caveat that could never be honoured with this token (more audiences, other scopes) is refused
/// when the result is used.
pub fn attenuate(token: &str, caveat: &Caveat) -> Result<SecretString, AttenuateError> {
    let macaroon = Macaroon::parse_any(token).map_err(|_| AttenuateError::NotAMacaroon)?;
    if macaroon.caveats.len() > CAVEATS_MAX {
        return Err(CaveatError::TooMany.into());
    }
    Ok(macaroon.with(caveat.to_json()?).token()?)
}

impl Macaroon {
    /// Reads a macaroon that has one of these prefixes.
    ///
    /// # Errors
    /// [`TokenFault::TooLong`] or [`TokenFault::Malformed`].
    pub fn parse<P: AsRef<str>>(token: &str, prefixes: &[P]) -> Result<Self, TokenFault> {
        let macaroon = Self::parse_any(token)?;
        let known = prefixes.iter().any(|prefix| prefix.as_ref() == macaroon.prefix);
        if known { Ok(macaroon) } else { Err(TokenFault::Malformed) }
    }

    /// Reads a macaroon of any prefix.
    pub(super) fn parse_any(token: &str) -> Result<Self, TokenFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenFault::TooLong);
        }
        // A prefix may hold the mark too: the place that leaves a macaroon is the right one.
        let ends = (1..=PREFIX_BYTES_MAX).filter_map(|end| token.split_at_checked(end));
        ends.filter_map(|(prefix, rest)| Some((prefix, rest.strip_prefix(VERSION_MARK)?)))
            .find_map(|(prefix, body)| wire::read(prefix, &from_base64url(body)?))
            .ok_or(TokenFault::Malformed)
    }

    /// Its first caveat, the claims.
    pub(super) fn first_caveat(&self) -> Option<&[u8]> {
        self.caveats.first().map(Vec::as_slice)
    }

    /// Proves it against each root key (current, then retired) and narrows its claims by its caveats. Times, issuer
    /// and tenant are not checked yet: [`Narrowed::check`].
    ///
    /// # Errors
    /// [`TokenFault::Signature`], [`TokenFault::Malformed`] or [`TokenFault::Caveat`].
    pub fn verify<K: AsRef<[u8]>>(&self, root_keys: &[K]) -> Result<Narrowed, TokenFault> {
        if !root_keys.iter().any(|key| self.is_tagged_by(key.as_ref())) {
            return Err(TokenFault::Signature);
        }
        let (first, further) = self.caveats.split_first().ok_or(TokenFault::Malformed)?;
        let mut narrowed = Narrowed::from(self.claims(first)?);
        for caveat in further {
            narrowed.apply(Caveat::from_json(caveat)?)?;
        }
        Ok(narrowed)
    }

    /// The location is the one part without a hash over it, so it has to be what the claims say.
    fn claims(&self, first: &[u8]) -> Result<Claims, TokenFault> {
        #[derive(Deserialize)]
        struct Identifier {
            jti: Option<String>,
        }
        let mut claims = Claims::from_json(first)?;
        let identifier: Identifier = from_object(&self.identifier).ok_or(TokenFault::Malformed)?;
        let same_id = claims.id.is_none() || claims.id == identifier.jti;
        if self.location != claims.issuer.as_bytes() || !same_id {
            return Err(TokenFault::Malformed);
        }
        claims.id = identifier.jti;
        Ok(claims)
    }

    fn is_tagged_by(&self, root_key: &[u8]) -> bool {
        let first = first_tag(root_key, &self.identifier);
        let last = self.caveats.iter().fold(first, |tag, caveat| mac(&tag, caveat));
        verify_slices_are_equal(&last, &self.tag).is_ok()
    }

    fn with(mut self, caveat: Vec<u8>) -> Self {
        self.tag = mac(&self.tag, &caveat);
        self.caveats.push(caveat);
        self
    }

    fn token(&self) -> Result<SecretString, SignError> {
        let token = [&self.prefix, VERSION_MARK, &base64url(&wire::write(self))].concat();
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SignError::TooLong { bytes: token.len() });
        }
        Ok(token.into())
    }
}

fn first_tag(root_key: &[u8], identifier: &[u8]) -> Tag {
    mac(&mac(KEY_GENERATOR, root_key), identifier)
}

fn mac(key: &[u8], message: &[u8]) -> Tag {
    let mut tag = [0; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(HMAC_SHA256, key), message).as_ref());
    tag
}

#[cfg(test)]
mod tests;
