//! A new text for a key: another key takes its place.

use bh_domain::keys::extras::{CREDITS_OF, Extras, SUCCEEDS};
use bh_domain::keys::key::{Key, KeyId, KeyKind, Revocation};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::verdict::{KeyStatus, RevocationReason, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use secrecy::SecretString;

use super::attributes::{with_text, without};
use super::house::House;
use super::issue::{FirstKey, Minted, expiry, visibility_of};
use super::trail::Action;
use super::{
    Asker, Attributes, CHANGE_TRIES_MAX, Change, KeyStory, changed_too_often, internal, unknown_key,
};
use crate::ports::{AuditEvent, Entropy, KeyTurn};

/// What the new key has of its own; the rest it inherits.
#[derive(Clone, Debug, Default)]
pub struct Rotate {
    /// Attributes.
    pub change: Change,
    /// Who may know its text.
    pub visibility: Option<Visibility>,
    /// How long the old key still works; `None`: not at all.
    pub grace: Option<Lifetime>,
}

/// What a rotation leaves.
#[derive(Debug)]
pub struct RotatedKey {
    /// The new key.
    pub new: Key,
    /// Its text, told once.
    pub secret: SecretString,
    /// The old key, as it is now.
    pub old: Key,
}

impl KeyStory {
    /// Replaces an issued key by a new one with the same actor and end.
    ///
    /// # Errors
    /// `invalid_request`; `not_found`; `failed_precondition` for a key that is not active, and for one that was rotated
    /// already and spends its successor's credits; `evidence_unavailable`.
    pub async fn rotate(&self, asker: &Asker, key_id: &str, rotate: Rotate) -> Result<RotatedKey, Refusal> {
        let kind = KeyKind::Issued;
        let key_id = KeyId::parse(key_id).map_err(|_| unknown_key(kind))?;
        let house = self.0.houses.of(&asker.tenant)?;
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.stored(asker, kind, &key_id).await?;
            let Turning { new, secret, mut old, event } =
                self.turning(asker, &house, &before, &rotate, &*self.0.parts.entropy).await?;
            let store = &self.0.parts.store;
            let written = store.rotate(asker.scope(), new.clone(), old.clone(), before.revision, event).await;
            let written = written.map_err(|fault| fault.refusal())?;
            self.forget(asker.tenant.nid, &key_id);
            self.0.rows.appeared(asker.tenant.nid, &new.key_id);
            if let Some(new) = written {
                (old.credits, old.refills) = (new.credits.map(|_| 0), None);
                self.count_rotation(&old);
                return Ok(RotatedKey { new, secret, old });
            }
        }
        Err(changed_too_often())
    }

    /// What is to take the place of a tenant's first key: its successor while it lives, else a fresh one. To be stored with
    /// whatever names it, and then told with [`KeyStory::turned`]. Made from the machine's randomness, unless from `entropy`.
    ///
    /// # Errors
    /// Those of [`KeyStory::rotate`].
    pub(crate) async fn turn(
        &self,
        asker: &Asker,
        current: Option<&KeyId>,
        fresh: Attributes,
        grace: Option<Lifetime>,
        entropy: Option<&dyn Entropy>,
    ) -> Result<(KeyTurn, SecretString), Refusal> {
        let found = match current {
            Some(key_id) => {
                let read =
                    self.0.parts.store.keys(asker.scope(), KeyKind::Issued, vec![key_id.clone()]).await;
                read.map_err(|fault| fault.refusal())?.pop()
            }
            None => None,
        };
        let now = self.0.parts.clock.now();
        let Some(before) = found.filter(|key| key.status_at(now) == KeyStatus::Active) else {
            let FirstKey { key, secret, event } = self.first_key(asker, fresh, entropy)?;
            return Ok((KeyTurn::Fresh { new: Box::new(key), event }, secret));
        };
        let house = self.0.houses.of(&asker.tenant)?;
        let rotate = Rotate { grace, ..Rotate::default() };
        let entropy = entropy.unwrap_or(&*self.0.parts.entropy);
        let turning = self.turning(asker, &house, &before, &rotate, entropy).await?;
        let Turning { mut new, secret, old, event } = turning;
        new.extras = with_text(&new.extras, SUCCEEDS, old.key_id.as_str());
        // It is a fresh key to its tenant: it lives as long as the first one did.
        new.expires = Some(expiry(&house.settings, None, now)?);
        let (new, old, old_revision) = (Box::new(new), Box::new(old), before.revision);
        Ok((KeyTurn::Rotated { new, old, old_revision, event }, secret))
    }

    /// Until when the key that this one took the place of in a turn still works; `None`: it works no more.
    ///
    /// # Errors
    /// `evidence_unavailable`.
    pub(crate) async fn previous_until(
        &self,
        asker: &Asker,
        key: &Key,
    ) -> Result<Option<Timestamp>, Refusal> {
        let extras = Extras::read(&key.extras).map_err(|error| internal("read a key", &error))?;
        let Some(old) = extras.succeeds.and_then(|id| KeyId::parse(&id).ok()) else { return Ok(None) };
        let found = self.0.parts.store.keys(asker.scope(), KeyKind::Issued, vec![old]).await;
        let old = found.map_err(|fault| fault.refusal())?.pop();
        Ok(old.filter(|old| old.status == KeyStatus::Active).and_then(|old| old.expires))
    }

    /// Forgets what memory knew before a turn that was stored.
    pub(crate) fn turned(&self, asker: &Asker, turn: &KeyTurn) {
        let nid = asker.tenant.nid;
        match turn {
            KeyTurn::Fresh { new, .. } => {
                self.0.parts.metrics.keys.created.inc();
                self.0.rows.appeared(nid, &new.key_id);
            }
            KeyTurn::Rotated { new, old, .. } => {
                self.forget(nid, &old.key_id);
                self.0.rows.appeared(nid, &new.key_id);
                self.count_rotation(old);
            }
        }
    }

    fn count_rotation(&self, old: &Key) {
        let metrics = &self.0.parts.metrics.keys;
        metrics.rotated.inc();
        if old.status == KeyStatus::Revoked {
            metrics.replaced();
        }
    }

    /// A rotation that is decided on, and not stored yet.
    async fn turning(
        &self,
        asker: &Asker,
        house: &House,
        before: &Key,
        rotate: &Rotate,
        entropy: &dyn Entropy,
    ) -> Result<Turning, Refusal> {
        let now = self.0.parts.clock.now();
        if before.status_at(now) != KeyStatus::Active {
            let message = "Only an active key can be rotated: this one was revoked or has expired";
            return Err(Refusal::new(Code::FailedPrecondition, message));
        }
        if let Some(refusal) = self.refused_for_credits(asker, before).await? {
            return Err(refusal);
        }
        let attributes = inherited(before, rotate).checked()?;
        let Minted { key: mut new, secret } = self.mint(house, attributes, now, before.expires, entropy)?;
        new.enabled = before.enabled;
        let old = superseded(before, &new.key_id, now, rotate.grace);
        let event = self.event(asker, Action::Rotated, &before.key_id, Some(before), Some(&new));
        Ok(Turning { new, secret, old, event })
    }
}

/// A rotation that is decided on.
struct Turning {
    new: Key,
    secret: SecretString,
    old: Key,
    event: AuditEvent,
}

/// The attributes of the new key: the old one's, under what was asked for.
fn inherited(old: &Key, rotate: &Rotate) -> Attributes {
    let mut key = Key { extras: without(&old.extras, SUCCEEDS), ..old.clone() };
    rotate.change.clone().apply(&mut key);
    Attributes {
        visibility: visibility_of(rotate.visibility, old),
        name: key.name,
        actor_id: key.actor_id,
        scopes: key.scopes,
        metadata: key.metadata,
        rate_limit: key.rate_limit,
        allowed_cidrs: key.allowed_cidrs,
        request_id: None,
        policy_overrides: None,
        permissions: Vec::new(),
        rate_limits: Vec::new(),
        extras: key.extras,
        credits: key.credits,
        refill: None,
    }
}

/// The old key: revoked at once, or soon to end. Until then it spends its successor's credits, which were its own; revoked,
/// it still leads there those before it whose time of grace has not ended.
fn superseded(old: &Key, successor: &KeyId, now: Timestamp, grace: Option<Lifetime>) -> Key {
    let mut key = Key { updated: now, ..old.clone() };
    if key.credits.is_some() {
        key.extras = with_text(&key.extras, CREDITS_OF, successor.as_str());
    }
    match grace {
        Some(grace) => {
            let end = grace.after(now);
            key.expires = Some(key.expires.map_or(end, |expires| expires.min(end)));
        }
        None => {
            key.status = KeyStatus::Revoked;
            key.revocation = Some(Revocation { reason: RevocationReason::Superseded, description: None });
        }
    }
    key
}
