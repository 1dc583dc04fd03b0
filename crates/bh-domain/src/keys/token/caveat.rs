//! What a holder may add to a macaroon: a JSON object whose members can only take rights away.
//!
//! ```json
//! {"exp": 1767226000, "models": ["gpt-4*"], "budget": "2.50", "acl": ["10.0.0.0/8"]}
//! ```
//!
//! A member we do not know is a limit we could not keep, so the token is refused with it. So is an empty list: to one
//! reader it allows nothing, to another everything.

use serde::{Deserialize, Deserializer, Serialize};

use super::from_object;
use crate::keys::permission::Permission;
use crate::money::NanoUsd;
use crate::network::Network;

/// The longest caveat, in bytes; the claims may be longer.
pub const CAVEAT_BYTES_MAX: usize = 2_048;
/// The most caveats that holders may add to a token.
pub const CAVEATS_MAX: usize = 16;
/// The most entries of a list in a caveat.
pub const CAVEAT_ENTRIES_MAX: usize = 64;
/// The longest entry, in bytes.
pub const CAVEAT_ENTRY_BYTES_MAX: usize = 256;

const WILDCARD: char = '*';

/// Why a caveat is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaveatError {
    /// Longer than [`CAVEAT_BYTES_MAX`].
    #[error("longer than {CAVEAT_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`CAVEATS_MAX`].
    #[error("a token takes at most {CAVEATS_MAX} of them")]
    TooMany,
    /// Not an object of known members, each once and of its type.
    #[error(
        "not an object of known members (exp, nbf, scp, scope, aud, acl, models, tools, methods, paths, permissions, budget, iss, nid), each once and of its type"
    )]
    Form,
    /// A list without entries, with too many, or with an entry that is empty or too long.
    #[error("`{0}` takes 1 to {CAVEAT_ENTRIES_MAX} entries of 1 to {CAVEAT_ENTRY_BYTES_MAX} bytes each")]
    List(&'static str),
    /// A `*` that is not at the end.
    #[error("`{0}` takes `*` only at the end of an entry")]
    Wildcard(&'static str),
    /// Not a network.
    #[error("`acl` takes networks in CIDR notation, such as 10.0.0.0/8")]
    Network,
    /// Not a permission.
    #[error(
        "`permissions` takes names of letters, digits, `_`, `-` and `:` joined by dots, or `*` in place of a name"
    )]
    Permission,
    /// Not an amount.
    #[error("`budget` takes a decimal amount of at least 0 as text, such as \"2.50\"")]
    Budget,
    /// `iss` or `nid` is not that of the token.
    #[error("`{0}` is not the token's")]
    Mismatch(&'static str),
    /// Nothing is left: the token has none of these scopes.
    #[error("the token has none of the scopes that the caveat leaves")]
    NoScope,
}

/// One caveat. Absent members narrow nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Caveat {
    /// The first instant at which it is not valid any more, seconds since 1970.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// The first instant at which it is valid, seconds since 1970.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// Scopes to keep.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scp: Option<Vec<String>>,
    /// Scopes to keep, as one text.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Audiences to keep.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub aud: Option<Vec<String>>,
    /// Networks it may be used from.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<String>>,
    /// Models; `*` at the end stands for any rest.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Tools of MCP servers; `*` at the end stands for any rest.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    /// HTTP methods.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<String>>,
    /// Paths; `*` at the end stands for any rest.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
    /// Permissions to keep, of those that its key has when it is shown.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub permissions: Option<Vec<String>>,
    /// The most it may spend over its life, a decimal amount in the installation's currency.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// The token's own issuer, for verifiers that want it in every caveat.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The token's own tenant, likewise.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub nid: Option<String>,
}

/// A member that is there has a value: `null` is refused rather than taken for "no limit".
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

impl Caveat {
    /// Reads a caveat.
    ///
    /// # Errors
    /// [`CaveatError`] says what cannot be honoured.
    pub fn from_json(json: &[u8]) -> Result<Self, CaveatError> {
        if json.len() > CAVEAT_BYTES_MAX {
            return Err(CaveatError::TooLong);
        }
        let caveat: Self = from_object(json).ok_or(CaveatError::Form)?;
        caveat.check()?;
        Ok(caveat)
    }

    /// The caveat as compact JSON.
    ///
    /// # Errors
    /// [`CaveatError`] when it would be refused where it is used.
    pub fn to_json(&self) -> Result<Vec<u8>, CaveatError> {
        self.check()?;
        let json = serde_json::to_vec(self).map_err(|_| CaveatError::Form)?;
        if json.len() > CAVEAT_BYTES_MAX { Err(CaveatError::TooLong) } else { Ok(json) }
    }

    fn check(&self) -> Result<(), CaveatError> {
        for (name, list) in self.lists() {
            let fits = |entry: &String| (1..=CAVEAT_ENTRY_BYTES_MAX).contains(&entry.len());
            if !(1..=CAVEAT_ENTRIES_MAX).contains(&list.len()) || !list.iter().all(fits) {
                return Err(CaveatError::List(name));
            }
        }
        for (name, list) in [("models", &self.models), ("tools", &self.tools), ("paths", &self.paths)] {
            if list.iter().flatten().any(|entry| Pattern::parse(entry).is_none()) {
                return Err(CaveatError::Wildcard(name));
            }
        }
        if self.acl.iter().flatten().any(|entry| Network::parse(entry).is_none()) {
            return Err(CaveatError::Network);
        }
        if self.permissions.iter().flatten().any(|entry| Permission::parse(entry).is_err()) {
            return Err(CaveatError::Permission);
        }
        self.budget().map(|_| ())
    }

    fn lists(&self) -> impl Iterator<Item = (&'static str, &Vec<String>)> {
        let lists = [
            ("scp", &self.scp),
            ("aud", &self.aud),
            ("acl", &self.acl),
            ("models", &self.models),
            ("tools", &self.tools),
            ("methods", &self.methods),
            ("paths", &self.paths),
            ("permissions", &self.permissions),
        ];
        lists.into_iter().filter_map(|(name, list)| Some((name, list.as_ref()?)))
    }

    /// The amount in `budget`.
    pub(super) fn budget(&self) -> Result<Option<NanoUsd>, CaveatError> {
        let Some(text) = &self.budget else { return Ok(None) };
        let amount = NanoUsd::parse_decimal(text).ok().filter(|amount| *amount >= NanoUsd::ZERO);
        amount.map(Some).ok_or(CaveatError::Budget)
    }
}

/// An entry of `models`, `tools` or `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// This text.
    Exact(String),
    /// Any text that starts so.
    Prefix(String),
}

impl Pattern {
    /// Reads an entry; `None` when a `*` stands anywhere but at its end.
    #[must_use]
    pub fn parse(entry: &str) -> Option<Self> {
        let (text, open) = match entry.strip_suffix(WILDCARD) {
            Some(start) => (start, true),
            None => (entry, false),
        };
        if text.contains(WILDCARD) {
            return None;
        }
        Some(if open { Self::Prefix(text.to_owned()) } else { Self::Exact(text.to_owned()) })
    }

    /// Whether it covers this text.
    #[must_use]
    pub fn covers(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(start) => text.starts_with(start.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
