//! Keys as the gateway's own doors meet them: whoever shows one becomes a caller.

use std::net::IpAddr;

use bh_domain::keys::key::{KeyId, KeyKind};
use bh_domain::keys::verdict::{KeyStatus, VerificationError};
use bh_domain::limit::RateLimit;

use super::KeyStory;
use super::rows::{FoundKey, Row};
use super::tokens::TokenSubject;
use super::verdict::{Denied, Freshness};
use super::verify::Shown;
use crate::snapshot::{Limited, Tenant};

impl KeyStory {
    /// The key that a token was derived from, as it is now: from memory, where that is fresh enough, or with one read. A
    /// token never passes where its key would not: a key that is over, that cannot be read, or that may not be used from
    /// there takes its tokens with it.
    pub(crate) async fn parent_of(
        &self,
        tenant: &Tenant,
        token: &TokenSubject,
        freshness: Freshness,
        address: Option<IpAddr>,
    ) -> Result<FoundKey, Denied> {
        let id = token.narrowed.claims().key_id.as_deref().and_then(|id| KeyId::parse(id).ok());
        let id = id.ok_or_else(|| Denied::because(VerificationError::NotFound))?;
        let found = self.live_parent(tenant, &id, freshness).await?;
        found.readable()?;
        if found.row.admits_address(address) {
            return Ok(found);
        }
        Err(Denied::because(VerificationError::IpNotAllowed))
    }

    /// The row of a key that a token or another key names, in whatever state it is.
    pub(super) async fn named_row(
        &self,
        tenant: &Tenant,
        key_id: &KeyId,
        freshness: Freshness,
    ) -> Result<Option<FoundKey>, Denied> {
        let internal = |_| Denied::because(VerificationError::Internal);
        let house = self.0.houses.of(tenant).map_err(internal)?;
        let issued = uuid::Uuid::try_parse(key_id.as_str()).is_ok();
        let kind = if issued { KeyKind::Issued } else { KeyKind::Imported };
        let shown = Shown::Named(kind, key_id);
        self.row(tenant.nid, &house, &shown, freshness, self.0.parts.clock.now()).await.0
    }

    async fn live_parent(
        &self,
        tenant: &Tenant,
        key_id: &KeyId,
        freshness: Freshness,
    ) -> Result<FoundKey, Denied> {
        let now = self.0.parts.clock.now();
        let found = self.named_row(tenant, key_id, freshness).await?;
        let gone =
            || Denied::saying(VerificationError::Revoked, "the key this token was derived from is gone");
        let found = found.ok_or_else(gone)?;
        match found.row.key.status_at(now) {
            KeyStatus::Active if found.row.key.enabled => Ok(found),
            KeyStatus::Active | KeyStatus::Revoked => Err(Denied::saying(
                VerificationError::Revoked,
                "the key this token was derived from is revoked or disabled",
            )),
            KeyStatus::Expired => Err(Denied::saying(
                VerificationError::Expired,
                "the key this token was derived from has expired",
            )),
        }
    }

    /// Remembers that a key was used today.
    pub(crate) fn note_use(&self, tenant: &Tenant, row: &Row) {
        let now = self.0.parts.clock.now();
        if row.used_first(now) {
            self.0.uses.note(tenant.nid, row.key.kind, &row.key.key_id, now);
        }
    }

    /// A key's own rate limit, where the tenant's rate limits hold. Verifying the key counts against the same one.
    pub(crate) fn limit_of(&self, tenant: &Tenant, row: &Row) -> Option<Limited> {
        let own = row.key.rate_limit.filter(|_| tenant.keys.rate_limit_enabled)?;
        let limit = RateLimit::new(own.quota, own.window_s)?;
        Some(Limited { limit, cell: self.0.limits.own(tenant.nid, &row.key.key_id, own) })
    }

    /// The monotonic clock.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        self.0.parts.clock.monotonic_ns()
    }
}
