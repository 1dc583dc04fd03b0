//! Who is who: tenants, callers, operators, and the scope that every read and write carries.

pub mod profile;

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The longest tenant id: a DNS label with room for a prefix.
pub const TENANT_ID_BYTES_MAX: usize = 56;
/// The tenant a key without a tenant belongs to (seed 000, `TALON_API_KEYS`).
pub const DEFAULT_TENANT: &str = "default";

/// A tenant's slug, e.g. `acme`: a lower-case DNS label of at most 56 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// A text that cannot name a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a tenant id: 1 to 56 lower-case letters, digits and inner hyphens")]
pub struct TenantIdError(pub String);

impl TenantId {
    /// Checks and takes a slug.
    ///
    /// # Errors
    /// [`TenantIdError`] when the text is not `^[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?$`.
    pub fn parse(text: &str) -> Result<Self, TenantIdError> {
        if is_label(text, TENANT_ID_BYTES_MAX) {
            Ok(Self(text.into()))
        } else {
            Err(TenantIdError(text.to_owned()))
        }
    }

    /// The slug.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text is a DNS label of at most so many bytes, in lower case.
pub(crate) fn is_label(text: &str, bytes_max: usize) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let edges = bytes.first().copied().is_some_and(plain) && bytes.last().copied().is_some_and(plain);
    edges && bytes.len() <= bytes_max && bytes.iter().all(|b| plain(*b) || *b == b'-')
}

/// A tenant's network id: the first column of every primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nid(pub Uuid);

impl Nid {
    /// The installation itself: rows that belong to no tenant, such as the organisation's budget.
    pub const SYSTEM: Self = Self(Uuid::nil());
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an admin key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Read, and decide reviews.
    Reviewer,
    /// Read.
    Viewer,
}

/// Permission to touch data, made only by authentication or by a named system job.
///
/// A store method takes a `Scope`; forgetting the tenant does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Reach);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Reach {
    Tenant(Nid),
    Everywhere(&'static str),
}

impl Scope {
    /// One tenant's data. Call this where a credential has just been verified, and nowhere else.
    #[must_use]
    pub fn tenant(nid: Nid) -> Self {
        Self(Reach::Tenant(nid))
    }

    /// Every tenant's data, for an operator's read or a system job; `why` names it in logs.
    #[must_use]
    pub fn system(why: &'static str) -> Self {
        Self(Reach::Everywhere(why))
    }

    /// The one tenant this scope is bound to; `None` when it reaches everywhere.
    #[must_use]
    pub fn nid(&self) -> Option<Nid> {
        match &self.0 {
            Reach::Tenant(nid) => Some(*nid),
            Reach::Everywhere(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_is_a_dns_label_of_at_most_56_characters() {
        let longest = "a".repeat(56);
        for good in ["a", "acme", "acme-corp", "0", "a-1", longest.as_str()] {
            assert_eq!(TenantId::parse(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(57);
        for bad in ["", "-a", "a-", "Acme", "a.b", "a b", "ä", too_long.as_str()] {
            assert_eq!(TenantId::parse(bad), Err(TenantIdError(bad.to_owned())));
        }
    }
}
