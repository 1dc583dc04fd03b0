//! Identities: whom keys belong to (decision 21).

use std::fmt;

use uuid::Uuid;

use super::filter::{FILTER_BYTES_MAX, equals, quoted};
use super::key::JsonObject;
use super::named::NamedLimit;
use super::syntax::{Cursor, SyntaxError};
use crate::time::Timestamp;

/// The member by which keys name their identity, and the only one that lists are filtered by.
pub const EXTERNAL_ID: &str = "external_id";

/// An identity's id, made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityId(pub Uuid);

impl IdentityId {
    /// Reads an id; `None` for a text that is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// An identity as stored. All keys whose actor is `external_id` are its keys.
///
/// `Debug` shows what names it and nothing else: what a tenant wrote stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its id.
    pub id: IdentityId,
    /// What the tenant calls it: 1 to 255 characters, unique in the tenant, and never changed.
    pub external_id: String,
    /// What the tenant keeps with it.
    pub metadata: JsonObject,
    /// Limits that all its keys share; a key's own of the same name holds in their place.
    pub rate_limits: Vec<NamedLimit>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub updated: Timestamp,
    /// Counts changes, from 1.
    pub revision: u64,
    /// Whether metadata and limits are what is stored. They are empty where that cannot be read; its keys are good for
    /// nothing then, because nobody knows what limits them.
    pub is_whole: bool,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// Reads the filter of a list: `external_id="…"`, or nothing.
///
/// # Errors
/// [`SyntaxError`] says what was expected, and where.
pub fn external_id_filter(text: &str) -> Result<Option<String>, SyntaxError> {
    let mut cursor = Cursor::new(text);
    if text.len() > FILTER_BYTES_MAX {
        return Err(cursor.error(format!("the filter is longer than {FILTER_BYTES_MAX} bytes")));
    }
    cursor.skip_spaces();
    if cursor.is_at_end() {
        return Ok(None);
    }
    if !cursor.eat(EXTERNAL_ID) {
        return Err(cursor.error("expected `external_id`"));
    }
    equals(&mut cursor)?;
    let wanted = quoted(&mut cursor)?;
    cursor.skip_spaces();
    if cursor.is_at_end() { Ok(Some(wanted)) } else { Err(cursor.error("expected the end")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_one_identity_or_none() {
        let read = |text: &str| external_id_filter(text).unwrap();
        assert_eq!((read(""), read("  ")), (None, None));
        assert_eq!(read(r#" external_id = "a \"b\"" "#).as_deref(), Some(r#"a "b""#));
        for (text, at) in [("actor_id=\"a\"", 1), ("external_id", 12), ("external_id=\"a\" AND", 17)] {
            assert_eq!(external_id_filter(text).unwrap_err().at, at, "{text}");
        }
        assert!(external_id_filter(&"x".repeat(FILTER_BYTES_MAX + 1)).is_err());
    }
}
