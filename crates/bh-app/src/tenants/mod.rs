//! Tenants as a product: made, changed, suspended and deleted at run time (seed 001, "Tenant Management").
//!
//! A tenant is a row and a key, made together. Every door knows it from the next request on, and every other process within
//! a second: it hears of the change. Tenants that the configuration names are told here, and changed there.

mod create;
mod directory;
mod follow;
mod hosts;
mod keys;
mod presets;
mod repeat;
mod trail;
mod view;

use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::profile::{Profile, SettingsError, Status};
use bh_domain::tenant::{Scope, TenantId};
use serde_json::{Map, Value};

pub use create::NewTenant;
pub use directory::{Directory, MadeTenants};
pub use follow::learn;
pub use keys::RotatedTenantKey;
pub use presets::{InForce, Plan, Presets};
pub use repeat::{NamedRequest, Repetitions, RequestName};
pub use view::TenantView;

use crate::audit::Provenance;
use crate::keys::{Asker, Attributes, KeyStory};
use crate::ports::{Clock, ProfileStore, Replaced};
use crate::snapshot::{Live, Origin, Snapshot, Tenant};
use crate::webhooks::Outbox;

/// How often a change is decided anew because somebody else changed the tenant meanwhile.
const CHANGE_TRIES_MAX: usize = 8;
/// What a tenant's first key may do: everything but administer keys.
const FIRST_KEY_SCOPES: [&str; 3] = ["llm", "tools", "read"];
const FIRST_KEY_NAME: &str = "default";
/// Tenants of one page.
pub const PAGE_TENANTS_MAX: usize = 1_000;

/// Who changes a tenant, for its audit trail.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Name of the admin key.
    pub name: String,
    /// Its role.
    pub role: &'static str,
    /// Where the request came from.
    pub origin: Arc<Provenance>,
}

impl Actor {
    /// The same, acting on a tenant's keys.
    fn in_tenant(&self, tenant: Arc<Tenant>) -> Asker {
        Asker { tenant, actor: self.name.clone(), role: self.role, origin: Arc::clone(&self.origin) }
    }
}

/// What the story is built from.
pub struct TenantParts {
    /// Rows.
    pub store: Arc<dyn ProfileStore>,
    /// Keys.
    pub keys: KeyStory,
    /// Tenants in memory.
    pub directory: Arc<Directory>,
    /// The configuration in force.
    pub live: Live,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who is told of changes elsewhere.
    pub outbox: Outbox,
    /// Knows a request that is made again.
    pub repetitions: Repetitions,
}

impl std::fmt::Debug for TenantParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantParts").finish_non_exhaustive()
    }
}

/// Tenants, administered.
#[derive(Clone, Debug)]
pub struct TenantStory(Arc<TenantParts>);

/// One of the two kinds of tenant.
enum Known {
    Row(Arc<Profile>),
    File(Arc<Tenant>),
}

impl TenantStory {
    /// The story, from its parts.
    #[must_use]
    pub fn new(parts: TenantParts) -> Self {
        Self(Arc::new(parts))
    }

    /// One tenant.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub fn get(&self, id: &str) -> Result<TenantView, Refusal> {
        let snapshot = self.0.live.load();
        Ok(match self.known(&snapshot, id)? {
            Known::Row(profile) => TenantView::of_row(&snapshot, &profile),
            Known::File(tenant) => TenantView::of_file(&tenant),
        })
    }

    /// The tenant itself, for what is asked about it elsewhere.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub fn tenant(&self, id: &str) -> Result<Arc<Tenant>, Refusal> {
        let snapshot = self.0.live.load();
        let found = TenantId::parse(id).ok().and_then(|id| snapshot.tenant(&id));
        found.ok_or_else(|| unknown(id))
    }

    /// The tenant itself, also one that was deleted: for what remains of it.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub fn tenant_ever(&self, id: &str) -> Result<Arc<Tenant>, Refusal> {
        let snapshot = self.0.live.load();
        let found = TenantId::parse(id).ok().and_then(|id| snapshot.tenant_ever(&id));
        found.ok_or_else(|| unknown(id))
    }

    /// A page of tenants in order of their slugs, and whether there are more.
    #[must_use]
    pub fn list(&self, after: Option<&str>, limit: usize) -> (Vec<TenantView>, bool) {
        let snapshot = self.0.live.load();
        let limit = limit.clamp(1, PAGE_TENANTS_MAX);
        let after = after.and_then(|after| TenantId::parse(after).ok());
        let rows = self.0.directory.page(after.as_ref(), limit + 1);
        let mut page: Vec<TenantView> =
            rows.iter().map(|profile| TenantView::of_row(&snapshot, profile)).collect();
        page.retain(|row| {
            let named = TenantId::parse(&row.id).ok().and_then(|id| snapshot.tenants.get(&id));
            named.is_none_or(|tenant| tenant.origin != Origin::File)
        });
        let files = snapshot.tenants.values().filter(|tenant| {
            after.as_ref().is_none_or(|after| tenant.id > *after)
                && (tenant.origin == Origin::File || self.0.directory.profile_ever(&tenant.id).is_none())
        });
        page.extend(files.map(|tenant| TenantView::of_file(tenant)));
        page.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        page.dedup_by(|a, b| a.id == b.id);
        let more = page.len() > limit;
        page.truncate(limit);
        (page, more)
    }

    /// Lays a change over a tenant's settings.
    ///
    /// # Errors
    /// `invalid_request`; `tenant_not_found`; `tenant_read_only` for one that a file names; `evidence_unavailable`.
    pub async fn update(
        &self,
        actor: &Actor,
        id: &str,
        change: &Map<String, Value>,
    ) -> Result<TenantView, Refusal> {
        let presets = self.0.live.load_full();
        self.change(actor, "tenant.updated", id, |profile| {
            profile.settings = profile.settings.changed(change).map_err(|error| wrong(&error))?;
            hosts::hosts_free(&presets, &profile.id, &profile.settings)?;
            presets.made.presets().admit(&profile.settings)
        })
        .await
    }

    /// Suspends a tenant, serves it again, or deletes it for good.
    ///
    /// # Errors
    /// As [`TenantStory::update`].
    pub async fn set_status(&self, actor: &Actor, id: &str, status: Status) -> Result<TenantView, Refusal> {
        let action = match status {
            Status::Active => "tenant.resumed",
            Status::Suspended => "tenant.suspended",
            Status::Deleted => "tenant.deleted",
        };
        self.change(actor, action, id, |profile| {
            profile.status = status;
            Ok(())
        })
        .await
    }

    /// Whoever acts on a tenant's keys.
    ///
    /// # Errors
    /// `tenant_not_found`.
    pub fn asker_of(&self, actor: &Actor, id: &str) -> Result<Asker, Refusal> {
        let tenant = self.tenant(id)?;
        Ok(actor.in_tenant(tenant))
    }

    async fn change(
        &self,
        actor: &Actor,
        action: &'static str,
        id: &str,
        decide: impl Fn(&mut Profile) -> Result<(), Refusal>,
    ) -> Result<TenantView, Refusal> {
        for _ in 0..CHANGE_TRIES_MAX {
            let snapshot = self.0.live.load_full();
            let before = self.row(&snapshot, id)?;
            let mut decided = Ok(());
            let profile = self.next(&before, |profile| decided = decide(profile));
            decided?;
            let event = self.event(actor, action, Some(&before), Some(&profile));
            let scope = Scope::tenant(profile.nid);
            let replaced =
                self.0.store.replace_profile(scope.clone(), profile.clone(), before.revision, event);
            match replaced.await.map_err(|fault| fault.refusal())? {
                Replaced::Done => {
                    self.0.directory.put([profile.clone()]);
                    return Ok(TenantView::of_row(&snapshot, &profile));
                }
                Replaced::HostTaken(name) => return Err(self.host_taken(&name)),
                Replaced::Outdated => self.reread(scope).await?,
            }
        }
        Err(changed_too_often())
    }

    /// A profile, changed.
    fn next(&self, before: &Profile, change: impl FnOnce(&mut Profile)) -> Profile {
        let mut profile = before.clone();
        change(&mut profile);
        // A clock that was set back must not hide the change from those who ask what has changed since.
        profile.updated = self.0.clock.now().max(before.updated);
        profile.revision = before.revision + 1;
        profile
    }

    /// Somebody else was faster: what they have written is what is changed next.
    async fn reread(&self, scope: Scope) -> Result<(), Refusal> {
        let stored = self.0.store.profile(scope).await.map_err(|fault| fault.refusal())?;
        self.0.directory.put(stored);
        Ok(())
    }

    fn known(&self, snapshot: &Snapshot, id: &str) -> Result<Known, Refusal> {
        let slug = TenantId::parse(id).map_err(|_| unknown(id))?;
        let named = snapshot.tenants.get(&slug);
        if let Some(tenant) = named.filter(|tenant| tenant.origin == Origin::File) {
            return Ok(Known::File(Arc::clone(tenant)));
        }
        if let Some(profile) = self.0.directory.profile(&slug) {
            return Ok(Known::Row(profile));
        }
        named.map(|tenant| Known::File(Arc::clone(tenant))).ok_or_else(|| unknown(id))
    }

    /// A tenant that can be changed here.
    fn row(&self, snapshot: &Snapshot, id: &str) -> Result<Arc<Profile>, Refusal> {
        match self.known(snapshot, id)? {
            Known::Row(profile) => Ok(profile),
            Known::File(tenant) if tenant.origin == Origin::File => {
                let message = format!(
                    "The tenant `{id}` is named by a configuration file, and can only be changed there"
                );
                Err(Refusal::new(Code::TenantReadOnly, message).with("tenant", id))
            }
            Known::File(_) => {
                let message = format!("The tenant `{id}` is there by itself: make it first, then change it");
                Err(Refusal::new(Code::TenantReadOnly, message).with("tenant", id))
            }
        }
    }

    fn asker(&self, snapshot: &Snapshot, actor: &Actor, profile: &Profile) -> Result<Asker, Refusal> {
        let tenant = snapshot.tenant_by_nid(profile.nid).ok_or_else(|| unknown(profile.id.as_str()))?;
        Ok(actor.in_tenant(tenant))
    }
}

fn first_key() -> Attributes {
    Attributes {
        name: FIRST_KEY_NAME.to_owned(),
        scopes: FIRST_KEY_SCOPES.map(str::to_owned).to_vec(),
        ..Attributes::default()
    }
}

fn wrong(error: &SettingsError) -> Refusal {
    Refusal::new(Code::InvalidRequest, error.to_string()).with("field", error.field.clone())
}

fn changed_too_often() -> Refusal {
    Refusal::new(Code::Conflict, "Others kept changing the tenant; try again").retry_after(1)
}

fn unknown(id: &str) -> Refusal {
    Refusal::new(Code::TenantNotFound, "No such tenant").with("tenant", id)
}
