//! The row of a key, issued or imported (dossier sections 2.3 and 9).

use std::fmt;

use serde_json::Value;

use super::verdict::{KeyStatus, RevocationReason, Visibility};
use crate::time::Timestamp;

/// The longest key id: 64 hexadecimal digits of an imported key's hash.
pub const KEY_ID_BYTES_MAX: usize = 64;

/// Where a key comes from. Each kind has its own table, ids and uniqueness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// Minted here: its text carries its id.
    Issued,
    /// Brought along: its id is a hash of its text.
    Imported,
}

/// A key's id: a UUID when it was issued, a hash when it was imported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

/// A text that cannot be a key id. It does not repeat the text, which may be a key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: 1 to {KEY_ID_BYTES_MAX} letters, digits, hyphens and underscores")]
pub struct KeyIdError;

impl KeyId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// [`KeyIdError`] when the text is empty, longer than [`KEY_ID_BYTES_MAX`], or holds anything but ASCII letters,
    /// digits, hyphens and underscores.
    pub fn parse(text: &str) -> Result<Self, KeyIdError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !text.is_empty() && text.len() <= KEY_ID_BYTES_MAX && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(KeyIdError)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text of a JSON object, kept as it was given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JsonObject(Box<str>);

/// A text that is not a JSON object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonObjectError {
    /// Not JSON at all.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// JSON, and something other than an object.
    #[error("not a JSON object")]
    NotAnObject,
}

impl JsonObject {
    /// Checks and takes a text.
    ///
    /// # Errors
    /// [`JsonObjectError`] says whether it is no JSON, and where, or no object.
    pub fn parse(text: impl Into<Box<str>>) -> Result<Self, JsonObjectError> {
        let text = text.into();
        match serde_json::from_str(&text) {
            Ok(Value::Object(_)) => Ok(Self(text)),
            Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Err(JsonObjectError::NotAnObject)
            }
            Err(cause) => Err(JsonObjectError::NotJson(cause.to_string())),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for JsonObject {
    fn default() -> Self {
        Self("{}".into())
    }
}

/// How many requests a key may make in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRateLimit {
    /// Requests in a window; above 0.
    pub quota: u64,
    /// The window, in seconds; above 0.
    pub window_s: u64,
}

/// Why a key was revoked, as told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revocation {
    /// The reason.
    pub reason: RevocationReason,
    /// In words; only with [`RevocationReason::PrivilegeWithdrawn`].
    pub description: Option<String>,
}

/// A key as stored. Its text is never in it: an issued key's is made anew from a secret, an imported one's is hashed.
///
/// `Debug` shows what names a row and nothing else: `secret_digest` and what a tenant wrote stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// Where it comes from.
    pub kind: KeyKind,
    /// Its id, unique among its tenant's keys of this kind.
    pub key_id: KeyId,
    /// Its name; at most 255 characters, without NUL, as all texts here (the door checks).
    pub name: String,
    /// Whose it is.
    pub actor_id: Option<String>,
    /// What it may do, as opaque words.
    pub scopes: Vec<String>,
    /// What the tenant keeps with it.
    pub metadata: JsonObject,
    /// As stored: never [`KeyStatus::Expired`]. See [`Key::status_at`].
    pub status: KeyStatus,
    /// Whether it may be used at all; can be switched back and forth.
    pub enabled: bool,
    /// Who may know its text.
    pub visibility: Visibility,
    /// What an issued key's text starts with.
    pub token_prefix: Option<String>,
    /// Version of an issued key's text; 0 for an imported one.
    pub version: u32,
    /// SHA-256 of the random bytes in an issued key's text; `None` when the text has none.
    pub secret_digest: Option<[u8; 32]>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// When it ends; at this instant it has.
    pub expires: Option<Timestamp>,
    /// When it was last used, to the day.
    pub last_used: Option<Timestamp>,
    /// How often it may be used.
    pub rate_limit: Option<KeyRateLimit>,
    /// Networks it may be used from, in CIDR notation; empty for any.
    pub allowed_cidrs: Vec<String>,
    /// Why it was revoked.
    pub revocation: Option<Revocation>,
    /// The request that made it, so that it is made once.
    pub request_id: Option<String>,
    /// What else belongs to it: policy overrides, named limits, permissions, identity.
    pub extras: JsonObject,
    /// Uses left; `None` for any number.
    pub credits: Option<i64>,
    /// When its credits are replaced next; the row is brought up to date by the first use or change after that.
    pub refills: Option<Timestamp>,
    /// Counts changes: whoever replaces the row names the revision that was read.
    pub revision: u64,
}

impl Key {
    /// The state at an instant: what is stored, or [`KeyStatus::Expired`].
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> KeyStatus {
        match self.status {
            KeyStatus::Active if self.expires.is_some_and(|end| end <= now) => KeyStatus::Expired,
            KeyStatus::Active => KeyStatus::Active,
            KeyStatus::Revoked => KeyStatus::Revoked,
            KeyStatus::Expired => KeyStatus::Expired,
        }
    }

    /// Whether it counts against its tenant's quota: every key that is not revoked does, expired or not.
    #[must_use]
    pub fn counts(&self) -> bool {
        match self.status {
            KeyStatus::Active | KeyStatus::Expired => true,
            KeyStatus::Revoked => false,
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kind", &self.kind)
            .field("key_id", &self.key_id)
            .field("status", &self.status)
            .field("enabled", &self.enabled)
            .field("created", &self.created)
            .field("expires", &self.expires)
            .field("credits", &self.credits)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            kind: KeyKind::Issued,
            key_id: KeyId::parse("5f0c").unwrap(),
            name: "deploy".to_owned(),
            actor_id: None,
            scopes: Vec::new(),
            metadata: JsonObject::parse(r#"{"team":"payments"}"#).unwrap(),
            status: KeyStatus::Active,
            enabled: true,
            visibility: Visibility::Secret,
            token_prefix: Some("talos".to_owned()),
            version: 1,
            secret_digest: Some([171; 32]),
            created: Timestamp(1),
            updated: Timestamp(1),
            expires: Some(Timestamp(100)),
            last_used: None,
            rate_limit: None,
            allowed_cidrs: Vec::new(),
            revocation: None,
            request_id: None,
            extras: JsonObject::default(),
            credits: None,
            refills: None,
            revision: 1,
        }
    }

    #[test]
    fn a_key_has_expired_at_its_end_and_a_revoked_one_stays_revoked() {
        assert_eq!(key().status_at(Timestamp(99)), KeyStatus::Active);
        assert_eq!(key().status_at(Timestamp(100)), KeyStatus::Expired);
        assert_eq!(Key { expires: None, ..key() }.status_at(Timestamp(i64::MAX)), KeyStatus::Active);
        let revoked = Key { status: KeyStatus::Revoked, ..key() };
        assert_eq!((revoked.status_at(Timestamp(100)), revoked.counts()), (KeyStatus::Revoked, false));
        assert!(key().counts(), "an expired key counts until it is revoked or deleted");
    }

    #[test]
    fn a_key_is_shown_without_its_digest_and_what_a_tenant_wrote() {
        let shown = format!("{:?}", key());
        assert!(shown.contains("5f0c") && shown.contains("Active"), "{shown}");
        for hidden in ["171", "digest", "payments", "deploy"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
    }

    #[test]
    fn a_key_id_is_one_to_64_plain_characters() {
        let longest = "a".repeat(KEY_ID_BYTES_MAX);
        for good in ["a", "5F-0_c", longest.as_str()] {
            assert_eq!(KeyId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(KEY_ID_BYTES_MAX + 1);
        for bad in ["", "a b", "a:b", "ä", "a\0", too_long.as_str()] {
            assert_eq!(KeyId::parse(bad), Err(KeyIdError));
        }
    }

    #[test]
    fn only_the_text_of_an_object_is_one() {
        assert_eq!(JsonObject::parse(r#"{"n": 10000000000000000000001}"#).unwrap().as_str().len(), 30);
        assert_eq!(JsonObject::default().as_str(), "{}");
        for bad in ["[]", "null", "\"{}\"", "1"] {
            assert_eq!(JsonObject::parse(bad), Err(JsonObjectError::NotAnObject), "{bad}");
        }
        for bad in ["", "{", "{} {}"] {
            assert!(matches!(JsonObject::parse(bad), Err(JsonObjectError::NotJson(_))), "{bad}");
        }
    }
}
