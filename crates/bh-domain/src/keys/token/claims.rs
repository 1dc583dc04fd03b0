//! What a derived token says (dossier §5.2), and the checks of it that need no key.

mod wire;

use serde_json::{Map, Value};

use super::{ClaimedNid, TokenFault};
use crate::tenant::Nid;
use crate::time::{SECOND_MS, Timestamp};

/// What `tty` says of every token we derive. A token without `tty` passes as one.
pub const TOKEN_TYPE: &str = "derived";

/// Names that custom claims may not take.
pub const RESERVED_CLAIMS: [&str; 17] = [
    "jti", "sub", "iss", "aud", "iat", "exp", "nbf", "nid", "akid", "pid", "tty", "oid", "scp", "scope",
    "meta", "vis", "acl",
];

/// The claims of a derived token. Times are whole seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Claims {
    /// `jti`: the token's own id.
    pub id: Option<String>,
    /// `iss`: who issued it.
    pub issuer: String,
    /// `sub`, `akid` and `pid`, which agree: the key it was derived from.
    pub key_id: Option<String>,
    /// `oid`: the actor of that key.
    pub actor_id: Option<String>,
    /// `nid`: the tenant.
    pub nid: Option<ClaimedNid>,
    /// `tty`; `None` counts as [`TOKEN_TYPE`].
    pub token_type: Option<String>,
    /// `iat`, seconds.
    pub issued_at_s: Option<i64>,
    /// `nbf`, seconds: the first instant at which it is valid.
    pub not_before_s: Option<i64>,
    /// `exp`, seconds: the first instant at which it is not valid any more.
    pub expires_at_s: i64,
    /// `scp`, and `scope` for those who read that.
    pub scopes: Vec<String>,
    /// `aud`; empty means that it names none.
    pub audiences: Vec<String>,
    /// `meta`: the key's metadata.
    pub metadata: Map<String, Value>,
    /// `vis`: whether the key is a public one.
    pub public: bool,
    /// `acl`: networks in CIDR notation; empty means no restriction.
    pub allowed_cidrs: Vec<String>,
    /// Everything else at top level. Names of [`RESERVED_CLAIMS`] cannot be written from here.
    pub custom: Map<String, Value>,
}

/// How far clocks may be apart, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    expiry_s: i64,
    not_before_s: i64,
}

impl Leeway {
    /// Of a JWT: both ends give way.
    #[must_use]
    pub fn of_jwt(skew_s: u32) -> Self {
        Self { expiry_s: i64::from(skew_s), not_before_s: i64::from(skew_s) }
    }

    /// Of a macaroon: the end is strict (dossier §5.4).
    #[must_use]
    pub fn of_macaroon(skew_s: u32) -> Self {
        Self { expiry_s: 0, not_before_s: i64::from(skew_s) }
    }
}

/// Custom claims, parted by whether their names are free.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomClaims {
    /// What goes into the token.
    pub accepted: Map<String, Value>,
    /// Reserved names that were asked for: dropped, or an error where the installation is strict.
    pub reserved: Vec<String>,
}

impl CustomClaims {
    /// Parts what a caller asks for. Order is kept.
    #[must_use]
    pub fn part(wanted: Map<String, Value>) -> Self {
        let mut parted = Self::default();
        for (name, value) in wanted {
            if RESERVED_CLAIMS.contains(&name.as_str()) {
                parted.reserved.push(name);
            } else {
                parted.accepted.insert(name, value);
            }
        }
        parted
    }
}

impl Claims {
    /// Reads claims. One of `scp` and `scope` is enough; where both stand they agree, and so do `sub`, `akid`, `pid`.
    ///
    /// # Errors
    /// [`TokenFault::Malformed`] for anything but an object with `iss` and `exp` in which every known member has its
    /// type.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenFault> {
        wire::read(json).ok_or(TokenFault::Malformed)
    }

    /// The claims as compact JSON, as they are signed.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        wire::write(self)
    }

    /// Checks everything that needs no key, in the dossier's order: times, issuer, type, tenant (§4.1, 4j and 4c).
    ///
    /// # Errors
    /// The first [`TokenFault`] found.
    pub fn check<I: AsRef<str>>(
        &self,
        now: Timestamp,
        leeway: Leeway,
        issuers: &[I],
        nid: Nid,
    ) -> Result<(), TokenFault> {
        let now_s = now.0.div_euclid(SECOND_MS);
        if now_s >= self.expires_at_s.saturating_add(leeway.expiry_s) {
            return Err(TokenFault::Expired);
        }
        let first = self.not_before_s.max(self.issued_at_s);
        if first.is_some_and(|first_s| now_s.saturating_add(leeway.not_before_s) < first_s) {
            return Err(TokenFault::NotYetValid);
        }
        if !issuers.iter().any(|issuer| issuer.as_ref() == self.issuer) {
            return Err(TokenFault::Issuer);
        }
        if self.token_type.as_deref().is_some_and(|kind| kind != TOKEN_TYPE) {
            return Err(TokenFault::WrongType);
        }
        if !self.nid.is_some_and(|claimed| claimed.is(nid)) {
            return Err(TokenFault::OtherTenant);
        }
        Ok(())
    }

    /// What the deriver is told: the key's metadata under the accepted custom claims (§5.1; custom wins).
    #[must_use]
    pub fn told_to_deriver(&self) -> Map<String, Value> {
        overlaid(&self.metadata, &self.custom)
    }

    /// The metadata of the key this token stands for: custom claims under the key's metadata (§5.2; metadata wins).
    #[must_use]
    pub fn as_key_metadata(&self) -> Map<String, Value> {
        overlaid(&self.custom, &self.metadata)
    }
}

fn overlaid(base: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = base.clone();
    merged.extend(over.iter().map(|(name, value)| (name.clone(), value.clone())));
    merged
}

#[cfg(test)]
mod tests;
