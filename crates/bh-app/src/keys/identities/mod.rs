//! Identities: whom keys belong to, what is kept with them, and the limits that their keys share (decision 21).

mod cache;
mod whose;

use bh_domain::keys::identity::{EXTERNAL_ID, Identity, IdentityId, external_id_filter};
use bh_domain::keys::key::JsonObject;
use bh_domain::keys::named::NamedLimit;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;

pub(super) use cache::Identities;
pub use cache::IdentityRow;
pub(super) use whose::lookup;

use super::list::page_size;
use super::page::PageList;
use super::trail::Action;
use super::{Asker, CHANGE_TRIES_MAX, KeyStory, attributes, invalid};

/// A new identity.
#[derive(Clone, Debug, Default)]
pub struct NewIdentity {
    /// What the tenant calls it: the actor of its keys.
    pub external_id: String,
    /// What is kept with it.
    pub metadata: JsonObject,
    /// Limits that its keys share.
    pub rate_limits: Vec<NamedLimit>,
}

/// New attributes of an identity; `None` leaves one as it is.
#[derive(Clone, Debug, Default)]
pub struct IdentityChange {
    /// What it is called, if the change says so; that cannot be changed.
    pub external_id: Option<String>,
    /// What is kept with it.
    pub metadata: Option<JsonObject>,
    /// Limits that its keys share.
    pub rate_limits: Option<Vec<NamedLimit>>,
}

/// One page.
#[derive(Debug)]
pub struct IdentityPage {
    /// Newest first.
    pub identities: Vec<Identity>,
    /// Where the next page starts; `None` on the last one.
    pub next: Option<String>,
}

/// A place in a list of identities, as its tokens say it.
fn place(text: &str) -> Option<(Timestamp, IdentityId)> {
    let (created, id) = text.split_once(':')?;
    Some((Timestamp(created.parse().ok()?), IdentityId::parse(id)?))
}

impl KeyStory {
    /// Makes an identity. Keys whose actor it is are its keys from now on, those included that were there before.
    ///
    /// # Errors
    /// `invalid_request`; `conflict` when the tenant has one with this `external_id`; `evidence_unavailable`.
    pub async fn create_identity(&self, asker: &Asker, new: NewIdentity) -> Result<Identity, Refusal> {
        let NewIdentity { external_id, metadata, rate_limits } = new;
        if external_id.is_empty() {
            return Err(invalid(EXTERNAL_ID, "is missing or empty"));
        }
        attributes::external_id(&external_id)?;
        attributes::metadata(&metadata)?;
        attributes::rate_limits(&rate_limits)?;
        let now = self.0.parts.clock.now();
        let id = IdentityId(self.new_uuid());
        let identity = Identity {
            id,
            external_id,
            metadata,
            rate_limits,
            created: now,
            updated: now,
            revision: 1,
            is_whole: true,
        };
        let event = self.identity_event(asker, Action::IdentityCreated, None, Some(&identity));
        let inserted = self.0.parts.identities.insert_identity(asker.scope(), identity.clone(), event).await;
        let inserted = inserted.map_err(|fault| fault.refusal())?;
        self.0.identities.evict(asker.tenant.nid, &identity.external_id);
        if inserted { Ok(identity) } else { Err(exists()) }
    }

    /// One identity.
    ///
    /// # Errors
    /// `not_found`, also for another tenant's; `evidence_unavailable`.
    pub async fn identity(&self, asker: &Asker, id: &str) -> Result<Identity, Refusal> {
        let id = IdentityId::parse(id).ok_or_else(unknown)?;
        let found = self.0.parts.identities.identity(asker.scope(), id).await;
        found.map_err(|fault| fault.refusal())?.ok_or_else(unknown)
    }

    /// Changes an identity.
    ///
    /// # Errors
    /// `invalid_request`, `not_found`, `failed_precondition`, `evidence_unavailable`.
    pub async fn update_identity(
        &self,
        asker: &Asker,
        id: &str,
        change: IdentityChange,
    ) -> Result<Identity, Refusal> {
        change.metadata.as_ref().map_or(Ok(()), attributes::metadata)?;
        change.rate_limits.as_deref().map_or(Ok(()), attributes::rate_limits)?;
        for _ in 0..CHANGE_TRIES_MAX {
            let before = self.identity(asker, id).await?;
            let IdentityChange { external_id, metadata, rate_limits } = change.clone();
            if external_id.is_some_and(|given| given != before.external_id) {
                let problem = "cannot be changed: keys name their identity by it; make another identity";
                return Err(invalid(EXTERNAL_ID, problem));
            }
            if !before.is_whole && (metadata.is_none() || rate_limits.is_none()) {
                return Err(unreadable());
            }
            let after = Identity {
                is_whole: true,
                metadata: metadata.unwrap_or_else(|| before.metadata.clone()),
                rate_limits: rate_limits.unwrap_or_else(|| before.rate_limits.clone()),
                updated: self.0.parts.clock.now(),
                revision: before.revision + 1,
                ..before.clone()
            };
            let event = self.identity_event(asker, Action::IdentityUpdated, Some(&before), Some(&after));
            let store = &self.0.parts.identities;
            let replaced = store.replace_identity(asker.scope(), after.clone(), before.revision, event).await;
            let replaced = replaced.map_err(|fault| fault.refusal())?;
            self.0.identities.evict(asker.tenant.nid, &after.external_id);
            if replaced {
                return Ok(after);
            }
        }
        let message =
            "The identity was changed by others again and again while this change was made; try again";
        Err(Refusal::new(Code::FailedPrecondition, message))
    }

    /// Removes an identity. Its keys stay, and belong to nobody that is known here.
    ///
    /// # Errors
    /// `not_found`, `evidence_unavailable`.
    pub async fn delete_identity(&self, asker: &Asker, id: &str) -> Result<(), Refusal> {
        let before = self.identity(asker, id).await?;
        let event = self.identity_event(asker, Action::IdentityDeleted, Some(&before), None);
        let deleted = self.0.parts.identities.delete_identity(asker.scope(), before.clone(), event).await;
        let deleted = deleted.map_err(|fault| fault.refusal())?;
        self.0.identities.evict(asker.tenant.nid, &before.external_id);
        if deleted { Ok(()) } else { Err(unknown()) }
    }

    /// A page of identities, newest first; sizes as those of lists of keys.
    ///
    /// # Errors
    /// `invalid_request` for a filter that cannot be read or a page token that is not of this tenant and list;
    /// `evidence_unavailable`.
    pub async fn identities(
        &self,
        asker: &Asker,
        size: i64,
        token: &str,
        filter: &str,
    ) -> Result<IdentityPage, Refusal> {
        let wanted = external_id_filter(filter).map_err(|error| invalid("filter", error))?;
        let list = PageList { nid: asker.tenant.nid, name: "identities", filter };
        let after = self.open_place(&asker.tenant, &list, token, place)?;
        let store = &self.0.parts.identities;
        if let Some(external_id) = wanted {
            let found = store.identity_called(asker.scope(), external_id).await;
            let identities = found.map_err(|fault| fault.refusal())?.into_iter().collect();
            return Ok(IdentityPage { identities, next: None });
        }
        let size = page_size(size);
        // One more than asked for tells whether there is another page.
        let found = store.identities(asker.scope(), after, size + 1).await;
        let mut identities = found.map_err(|fault| fault.refusal())?;
        let more = identities.len() > size as usize;
        identities.truncate(size as usize);
        let last = identities.last().filter(|_| more);
        let last = last.map(|last| format!("{}:{}", last.created.0, last.id));
        let next = last.map(|last| self.seal_place(&asker.tenant, &list, &last)).transpose()?;
        Ok(IdentityPage { identities, next })
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::NotFound, "identity not found")
}

/// What a change would leave as it is, it cannot: nothing of it was read.
fn unreadable() -> Refusal {
    let message = "What is stored of this identity cannot be read, so none of it can be kept: give both `metadata` and \
        `rate_limits`, or delete it";
    Refusal::new(Code::FailedPrecondition, message)
}

fn exists() -> Refusal {
    Refusal::new(Code::Conflict, "An identity with this `external_id` exists already")
}
