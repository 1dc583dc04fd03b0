//! The whole verification of a derived token, in the one order that answers alike for every tenant (dossier §4.1, §4.3).

use super::{Jwks, Leeway, Macaroon, Narrowed, Proven, TokenFault, unverified_nid};
use crate::tenant::Nid;
use crate::time::Timestamp;

/// What one tenant verifies tokens with.
#[derive(Clone, Copy, Debug)]
pub struct Verifier<'a> {
    /// The tenant.
    pub nid: Nid,
    /// Issuers it accepts: the current one, then those whose time has not run out.
    pub issuers: &'a [&'a str],
    /// How far clocks may be apart, in seconds.
    pub skew_s: u32,
}

impl Verifier<'_> {
    /// Verifies a JWT against the tenant's keys. A signature that was found good before is not verified again; all that may
    /// change is checked each time.
    ///
    /// # Errors
    /// The first [`TokenFault`] found; [`TokenFault::OtherTenant`] before any cryptography when the token names
    /// another tenant.
    pub fn jwt(
        &self,
        token: &str,
        keys: &Jwks,
        proven: &dyn Proven,
        now: Timestamp,
    ) -> Result<Narrowed, TokenFault> {
        self.refuse_foreign(token)?;
        let narrowed = Narrowed::from(keys.verify_once(token, proven)?);
        narrowed.check(now, Leeway::of_jwt(self.skew_s), self.issuers, self.nid)?;
        Ok(narrowed)
    }

    /// Verifies a macaroon against the tenant's root keys: of the current secret, then of retired ones whose time has
    /// not run out.
    ///
    /// # Errors
    /// As [`Self::jwt`], and [`TokenFault::Caveat`].
    pub fn macaroon<P: AsRef<str>, K: AsRef<[u8]>>(
        &self,
        token: &str,
        prefixes: &[P],
        root_keys: &[K],
        now: Timestamp,
    ) -> Result<Narrowed, TokenFault> {
        self.refuse_foreign(token)?;
        let narrowed = Macaroon::parse(token, prefixes)?.verify(root_keys)?;
        narrowed.check(now, Leeway::of_macaroon(self.skew_s), self.issuers, self.nid)?;
        Ok(narrowed)
    }

    fn refuse_foreign(&self, token: &str) -> Result<(), TokenFault> {
        match unverified_nid(token) {
            Some(claimed) if !claimed.is(self.nid) => Err(TokenFault::OtherTenant),
            Some(_) | None => Ok(()),
        }
    }
}
