//! Making a tenant, once: also when the answer is lost on its way and the request is made again.

use std::sync::Arc;
use std::time::Duration;

use bh_domain::keys::key::KeyKind;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::profile::{Profile, Settings, Status, slug};
use bh_domain::tenant::{Nid, TenantId};
use secrecy::SecretString;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::hosts::hosts_free;
use super::repeat::{Chance, RequestName};
use super::{Actor, TenantStory, TenantView, first_key, wrong};
use crate::keys::REPEATED_WITHIN_MS;
use crate::ports::{Entropy, Made};
use crate::snapshot::Origin;

/// Until this process has heard of a tenant that another one made, and how often it looks.
const HEARD_WITHIN: u32 = 20;
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// A tenant that was made, and its key's text, which is told once.
#[derive(Debug)]
pub struct NewTenant {
    /// The tenant.
    pub tenant: TenantView,
    /// The text of its key.
    pub api_key: SecretString,
}

impl TenantStory {
    /// Makes a tenant with its first key. A request with a name that is made again, by the same operator and with the same
    /// body, within a day, is answered as the first one was, as long as the tenant still has the key it was made with.
    ///
    /// # Errors
    /// `invalid_request`; `tenant_exists`; `evidence_unavailable`.
    pub async fn create(
        &self,
        actor: &Actor,
        id: &str,
        given: &Map<String, Value>,
        name: Option<&RequestName>,
    ) -> Result<NewTenant, Refusal> {
        let chance = name.map(|name| self.0.repetitions.of_tenant(actor, name, id, given));
        let snapshot = self.0.live.load_full();
        let id = slug(id).map_err(|error| wrong(&error))?;
        let settings = Settings::default().changed(given).map_err(|error| wrong(&error))?;
        snapshot.made.presets().admit(&settings)?;
        let named = snapshot.tenants.get(&id);
        if named.is_some_and(|tenant| tenant.origin == Origin::File) {
            return Err(exists(&id, "a configuration file names it, and is where it is changed"));
        }
        hosts_free(&snapshot, &id, &settings)?;
        let now = self.0.clock.now();
        // One that is always there keeps its network id: whoever was its customer stays (seed 001, migration step 2).
        let nid = named.map_or_else(|| Nid(Uuid::now_v7()), |tenant| tenant.nid);
        let mut profile = Profile {
            id: id.clone(),
            nid,
            status: Status::Active,
            settings,
            api_key: None,
            created: now,
            updated: now,
            revision: 1,
        };
        let tenant = Arc::new(snapshot.made.presets().tenant(&profile));
        let asker = actor.in_tenant(tenant);
        let again = chance.as_ref().map(Chance::again);
        let entropy = chance.as_ref().map(|chance| chance as &dyn Entropy);
        let first = self.0.keys.first_key(&asker, first_key(), entropy)?;
        profile.api_key = Some(first.key.key_id.clone());
        let event = self.event(actor, "tenant.created", None, Some(&profile));
        let made = self.0.store.make_tenant(profile.clone(), first.key, [event, first.event]).await;
        let refusal = match made.map_err(|fault| fault.refusal())? {
            Made::Created => {
                self.0.directory.put([profile.clone()]);
                return Ok(NewTenant {
                    tenant: TenantView::of_row(&snapshot, &profile),
                    api_key: first.secret,
                });
            }
            Made::HostTaken(name) => {
                actor.origin.untold();
                return Err(self.host_taken(&name));
            }
            Made::Exists => exists(&id, "choose another id, or change that one"),
            Made::Known(_) if self.0.directory.profile_ever(&id).is_some() => {
                exists(&id, "choose another id, or change that one; a slug is never used twice")
            }
            Made::Known(_) => {
                let message = "a configuration has named it before, and its records and keys are still kept. \
                     Choose another id, or have a caller of the configuration name it until it is made";
                exists(&id, message)
            }
        };
        actor.origin.untold();
        let Some(chance) = again else { return Err(refusal) };
        self.made_before(actor, &id, &chance).await?.ok_or(refusal)
    }

    /// The answer to the request that made a tenant, if it was this one.
    async fn made_before(
        &self,
        actor: &Actor,
        id: &TenantId,
        chance: &Chance,
    ) -> Result<Option<NewTenant>, Refusal> {
        let Some(profile) = self.heard_of(id).await else { return Ok(None) };
        let Some(key_id) = &profile.api_key else { return Ok(None) };
        let snapshot = self.0.live.load_full();
        let asker = self.asker(&snapshot, actor, &profile)?;
        let key = self.0.keys.get(&asker, KeyKind::Issued, key_id.as_str()).await?;
        if key.created.plus_ms(REPEATED_WITHIN_MS) < self.0.clock.now() {
            return Ok(None);
        }
        let text = self.0.keys.text_of(&asker, &key, chance)?;
        Ok(text.map(|api_key| NewTenant { tenant: TenantView::of_row(&snapshot, &profile), api_key }))
    }

    /// A tenant that is stored: another process may have made it a moment ago.
    async fn heard_of(&self, id: &TenantId) -> Option<Arc<Profile>> {
        for _ in 0..HEARD_WITHIN {
            if let Some(profile) = self.0.directory.profile(id) {
                return Some(profile);
            }
            if self.0.directory.profile_ever(id).is_some() {
                return None;
            }
            tokio::time::sleep(LOOKS_EVERY).await;
        }
        None
    }
}

fn exists(id: &TenantId, what: &str) -> Refusal {
    Refusal::new(Code::TenantExists, format!("There is a tenant `{id}` already: {what}"))
        .with("tenant", id.as_str())
}
