//! Keys of tenants, made by an operator: one by name, or one in place of that which the tenant was made with. A request
//! that its client has named is told again what it made, for a day, and makes nothing more (`Idempotency-Key`).

use bh_domain::keys::key::KeyId;
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::refusal::Refusal;
use bh_domain::tenant::Scope;
use bh_domain::tenant::profile::Profile;
use bh_domain::time::Timestamp;
use secrecy::SecretString;

use super::repeat::Chance;
use super::{Actor, CHANGE_TRIES_MAX, NamedRequest, TenantStory, changed_too_often, first_key};
use crate::keys::{Asker, Issue, IssuedKey, used_up};
use crate::ports::{Entropy, KeyTurn};

const ISSUE: &str = "api-keys";
const ROTATE: &str = "rotate-api-key";

/// A tenant's new key.
#[derive(Debug)]
pub struct RotatedTenantKey {
    /// Its text, told once.
    pub api_key: SecretString,
    /// Its id.
    pub id: KeyId,
    /// Until when the old one works; `None`: no more.
    pub previous_until: Option<Timestamp>,
}

impl TenantStory {
    /// Issues a tenant's key.
    ///
    /// # Errors
    /// `tenant_not_found`; those of [`crate::keys::KeyStory::issue`]; `conflict` for a request whose name stands for
    /// another one.
    pub async fn issue_key(
        &self,
        actor: &Actor,
        id: &str,
        issue: Issue,
        named: Option<NamedRequest<'_>>,
    ) -> Result<IssuedKey, Refusal> {
        let asker = self.asker_of(actor, id)?;
        let Some(named) = named else { return self.0.keys.issue(&asker, issue).await };
        let chance = self.0.repetitions.of_key(actor, ISSUE, &asker.tenant.id, named);
        if let Some(told) = self.issued_before(&asker, &chance).await? {
            return Ok(told);
        }
        match self.0.keys.issue_from(&asker, issue, &chance.again()).await? {
            Some(issued) => Ok(issued),
            // The same request was faster, here or elsewhere.
            None => self.issued_before(&asker, &chance).await?.ok_or_else(changed_too_often),
        }
    }

    async fn issued_before(&self, asker: &Asker, chance: &Chance) -> Result<Option<IssuedKey>, Refusal> {
        let made = self.0.keys.made_from(asker, &chance.again(), &chance.again()).await?;
        Ok(made.map(|(key, text)| IssuedKey { key, secret: Some(text) }))
    }

    /// A new text for the key that the tenant was made with. Without grace the old one is refused from now on.
    ///
    /// # Errors
    /// `tenant_not_found`; `tenant_read_only`; those of [`crate::keys::KeyStory::rotate`]; `conflict` for a request whose
    /// name stands for another one.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: &str,
        grace: Option<Lifetime>,
        named: Option<NamedRequest<'_>>,
    ) -> Result<RotatedTenantKey, Refusal> {
        for _ in 0..CHANGE_TRIES_MAX {
            let snapshot = self.0.live.load_full();
            let before = self.row(&snapshot, id)?;
            let asker = self.asker(&snapshot, actor, &before)?;
            let chance = named.map(|named| self.0.repetitions.of_key(actor, ROTATE, &before.id, named));
            if let Some(chance) = &chance
                && let Some(told) = self.rotated_before(&asker, &before, chance).await?
            {
                return Ok(told);
            }
            let entropy = chance.as_ref().map(|chance| chance as &dyn Entropy);
            let turned = self.0.keys.turn(&asker, before.api_key.as_ref(), first_key(), grace, entropy);
            let (turn, api_key) = turned.await?;
            let (key_id, previous_until) = match &turn {
                KeyTurn::Fresh { new, .. } => (new.key_id.clone(), None),
                KeyTurn::Rotated { new, old, .. } => (new.key_id.clone(), grace.and(old.expires)),
            };
            let profile = self.next(&before, |profile| profile.api_key = Some(key_id.clone()));
            let event = self.event(actor, "tenant.key_rotated", Some(&before), Some(&profile));
            let scope = Scope::tenant(profile.nid);
            let (store, revision) = (&self.0.store, before.revision);
            let stored =
                store.replace_profile_and_key(scope.clone(), profile.clone(), revision, turn.clone(), event);
            if stored.await.map_err(|fault| fault.refusal())? {
                self.0.keys.turned(&asker, &turn);
                self.0.directory.put([profile]);
                return Ok(RotatedTenantKey { api_key, id: key_id, previous_until });
            }
            self.reread(scope).await?;
        }
        Err(changed_too_often())
    }

    /// What a rotation told, if it was this one and the key it made is still the tenant's.
    async fn rotated_before(
        &self,
        asker: &Asker,
        known: &Profile,
        chance: &Chance,
    ) -> Result<Option<RotatedTenantKey>, Refusal> {
        let made = self.0.keys.made_from(asker, &chance.again(), &chance.again()).await?;
        let Some((key, api_key)) = made else { return Ok(None) };
        // Another process may have made it a moment ago.
        self.reread(Scope::tenant(known.nid)).await?;
        let now = self.0.directory.profile(&known.id);
        if now.is_none_or(|profile| profile.api_key.as_ref() != Some(&key.key_id)) {
            return Err(used_up("rotated the key, which was rotated again since"));
        }
        let previous_until = self.0.keys.previous_until(asker, &key).await?;
        Ok(Some(RotatedTenantKey { api_key, id: key.key_id, previous_until }))
    }
}
