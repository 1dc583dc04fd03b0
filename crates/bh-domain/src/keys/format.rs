//! The text of an issued key (Talos dossier §3.1): `prefix "_v1_" identifier "_" checksum`.
//!
//! The identifier is the base58 of `<unix seconds>:<uuid>`, to which our own mint adds `:` and 16 random bytes. The
//! checksum is the base58 of the HMAC-SHA256 over everything before it. Without the random bytes the tenant's secret
//! alone would protect every key: whoever has it and a key's id could make the key. The row keeps their digest.

use std::fmt;

use aws_lc_rs::constant_time;
use secrecy::SecretString;
use uuid::Uuid;

use super::base58;
use super::secrets::KeySecrets;
use crate::hash::sha256;
use crate::time::{SECOND_MS, Timestamp};

/// The longest prefix of an issued key.
pub const PREFIX_CHARS_MAX: usize = 16;
/// The longest prefix of a macaroon.
pub const MACAROON_PREFIX_CHARS_MAX: usize = 8;
/// How many random bytes a key of ours carries.
pub const RANDOM_BYTES: usize = 16;

/// Stands between the prefix and the rest; the number is the version of the format.
pub const VERSION_MARK: &str = "_v1_";

const IDENTIFIER_CHARS_MIN: usize = 20;
const PAYLOAD_BYTES_MIN: usize = 20;
const CHECKSUM_CHARS_MIN: usize = 10;
const UUID_CHARS: usize = 36;
/// More digits would not fit a [`Timestamp`].
const SECONDS_DIGITS_MAX: usize = 15;
/// The last second of ten digits, with which our own payload fills [`base58::BYTES_MAX`].
const SECONDS_MAX: i64 = 9_999_999_999;

/// What a key or a macaroon starts with: letters, digits and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(Box<str>);

/// A text that cannot be a prefix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a prefix: 1 to {chars_max} letters, digits and underscores")]
pub struct PrefixError {
    text: String,
    chars_max: usize,
}

impl Prefix {
    /// The prefix of issued keys.
    ///
    /// # Errors
    /// [`PrefixError`] when the text is not 1 to [`PREFIX_CHARS_MAX`] letters, digits and underscores.
    pub fn issued(text: &str) -> Result<Self, PrefixError> {
        Self::bounded(text, PREFIX_CHARS_MAX)
    }

    /// The prefix of macaroons.
    ///
    /// # Errors
    /// [`PrefixError`] when the text is not 1 to [`MACAROON_PREFIX_CHARS_MAX`] letters, digits and underscores.
    pub fn macaroon(text: &str) -> Result<Self, PrefixError> {
        Self::bounded(text, MACAROON_PREFIX_CHARS_MAX)
    }

    fn bounded(text: &str, chars_max: usize) -> Result<Self, PrefixError> {
        if is_prefix(text, chars_max) {
            Ok(Self(text.into()))
        } else {
            Err(PrefixError { text: text.to_owned(), chars_max })
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The rest of a credential that starts with this prefix and the version mark.
    #[must_use]
    pub fn strip<'a>(&self, credential: &'a str) -> Option<&'a str> {
        credential.strip_prefix(self.as_str())?.strip_prefix(VERSION_MARK)
    }

    /// Whether a key issued with this prefix would be taken for a macaroon with the other. No configuration may hold
    /// such a pair.
    #[must_use]
    pub fn is_shadowed_by(&self, macaroon: &Self) -> bool {
        macaroon.strip(&format!("{}{VERSION_MARK}", self.as_str())).is_some()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_prefix(text: &str, chars_max: usize) -> bool {
    (1..=chars_max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Makes a key: `at` in whole seconds (clamped to what ten digits hold), the row's id, and 16 bytes of chance.
#[must_use]
pub fn mint(
    secrets: &KeySecrets,
    prefix: &Prefix,
    at: Timestamp,
    id: Uuid,
    random: &[u8; RANDOM_BYTES],
) -> SecretString {
    let mut payload = readable_payload(at, id).into_bytes();
    payload.push(b':');
    payload.extend_from_slice(random);
    signed_key(secrets, prefix, &payload)
}

/// What a key's row keeps of its random bytes: their SHA-256.
#[must_use]
pub fn secret_digest(random: &[u8; RANDOM_BYTES]) -> [u8; 32] {
    sha256(random)
}

/// The part of the payload that Talos writes as well.
fn readable_payload(at: Timestamp, id: Uuid) -> String {
    let seconds = at.0.div_euclid(SECOND_MS).clamp(0, SECONDS_MAX);
    format!("{seconds}:{}", id.hyphenated())
}

fn signed_key(secrets: &KeySecrets, prefix: &Prefix, payload: &[u8]) -> SecretString {
    let mut key = format!("{prefix}{VERSION_MARK}");
    base58::encode(payload, &mut key);
    key.push('_');
    let checksum = secrets.sign(key.as_bytes());
    base58::encode(&checksum, &mut key);
    SecretString::from(key)
}

/// A text of an issued key's form. Nothing is proven until [`IssuedKey::is_signed`] has said so.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct IssuedKey<'a> {
    /// What it starts with.
    pub prefix: &'a str,
    /// When it was minted, as it says.
    pub issued_at: Timestamp,
    /// The id of its row.
    pub key_id: Uuid,
    random: Option<[u8; RANDOM_BYTES]>,
    signed: &'a str,
    checksum: &'a str,
}

impl<'a> IssuedKey<'a> {
    /// Reads the form of a key; `None` when the text has another.
    ///
    /// Identifier and checksum hold no underscore, so the last two underscores are theirs and the longest prefix that
    /// fits is the only one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (before, checksum) = text.rsplit_once('_')?;
        let (head, identifier) = before.rsplit_once('_')?;
        let prefix = head.strip_suffix("_v1").filter(|prefix| is_prefix(prefix, PREFIX_CHARS_MAX))?;
        if identifier.len() < IDENTIFIER_CHARS_MIN || checksum.len() < CHECKSUM_CHARS_MIN {
            return None;
        }
        let payload = base58::decode(identifier)?;
        let (issued_at, key_id, random) = read_payload(payload.as_slice())?;
        base58::is_text(checksum).then(|| Self {
            prefix,
            issued_at,
            key_id,
            random,
            signed: &text[..=before.len()],
            checksum,
        })
    }

    /// Whether the checksum is one that a secret in force at `now` has made. In constant time for each secret.
    #[must_use]
    pub fn is_signed(&self, secrets: &KeySecrets, now: Timestamp) -> bool {
        let checksum = base58::decode(self.checksum);
        let tag = checksum.as_ref().and_then(|checksum| checksum.as_slice().try_into().ok());
        tag.is_some_and(|tag: &[u8; 32]| secrets.verifies(self.signed.as_bytes(), tag, now))
    }

    /// Whether the key carries the random bytes its row wants: those of this digest, or none when the row has none
    /// because Talos minted the key. In constant time.
    #[must_use]
    pub fn carries(&self, stored: Option<&[u8; 32]>) -> bool {
        match (&self.random, stored) {
            (None, None) => true,
            (Some(random), Some(stored)) => {
                constant_time::verify_slices_are_equal(&secret_digest(random), stored).is_ok()
            }
            (None, Some(_)) | (Some(_), None) => false,
        }
    }
}

impl fmt::Debug for IssuedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IssuedKey({}, {})", self.prefix, self.key_id)
    }
}

/// `<unix seconds>:<uuid>`, or that and `:` and the random bytes.
fn read_payload(payload: &[u8]) -> Option<(Timestamp, Uuid, Option<[u8; RANDOM_BYTES]>)> {
    if payload.len() < PAYLOAD_BYTES_MIN {
        return None;
    }
    let colon = payload.iter().position(|&byte| byte == b':')?;
    let seconds = read_seconds(&payload[..colon])?;
    let (uuid, rest) = payload[colon + 1..].split_at_checked(UUID_CHARS)?;
    if uuid.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let random = match rest {
        [] => None,
        [b':', random @ ..] => Some(random.try_into().ok()?),
        _ => return None,
    };
    Some((Timestamp(seconds * SECOND_MS), Uuid::try_parse_ascii(uuid).ok()?, random))
}

fn read_seconds(digits: &[u8]) -> Option<i64> {
    let fits = (1..=SECONDS_DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0')))
}

#[cfg(test)]
mod tests;
