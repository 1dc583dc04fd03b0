//! Tenants that were made at run time, in memory: all of them, so that no request waits for the store to know one.
//!
//! A profile stands here as it is stored; the tenant that a configuration makes of it is made when it is first needed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bh_domain::tenant::profile::{Profile, Status};
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::presets::Presets;
use crate::snapshot::Tenant;

/// Every profile, deleted ones included: a name that was used is never anything else again.
#[derive(Debug, Default)]
pub struct Directory {
    entries: RwLock<Entries>,
    /// Rows that the configuration in force was made with, because its keys name them.
    compiled: RwLock<HashSet<Nid>>,
    /// Set when one of those has changed since.
    outdated: Notify,
}

#[derive(Debug, Default)]
struct Entries {
    by_id: BTreeMap<TenantId, Arc<Entry>>,
    by_nid: HashMap<Nid, Arc<Entry>>,
    /// Whose each host name is.
    by_host: HashMap<Box<str>, Nid>,
    /// Those that were deleted, which no list and no door knows.
    gone: HashMap<TenantId, Arc<Profile>>,
    gone_by_nid: HashMap<Nid, u64>,
}

#[derive(Debug)]
struct Entry {
    profile: Arc<Profile>,
    /// What the configuration with this generation makes of it.
    made: ArcSwapOption<(u64, Arc<Tenant>)>,
}

impl Directory {
    /// Takes profiles as they are stored by now. One that is older than what is known is passed over.
    pub fn put(&self, profiles: impl IntoIterator<Item = Profile>) {
        let compiled = self.compiled.read();
        let mut entries = self.entries.write();
        for profile in profiles {
            let nid = profile.nid;
            if entries.put(profile) && compiled.contains(&nid) {
                self.outdated.notify_one();
            }
        }
    }

    /// Says which tenants a configuration that is put in force was made with: with others it would be another.
    pub fn compiled_with(&self, tenants: HashSet<Nid>) {
        *self.compiled.write() = tenants;
    }

    /// Resolves when one of those has changed.
    pub async fn outdated(&self) {
        self.outdated.notified().await;
    }

    /// The profile with this slug.
    #[must_use]
    pub fn profile(&self, id: &TenantId) -> Option<Arc<Profile>> {
        self.entries.read().by_id.get(id).map(|entry| Arc::clone(&entry.profile))
    }

    /// The profile with this slug, also when it was deleted: for what remains of it.
    #[must_use]
    pub fn profile_ever(&self, id: &TenantId) -> Option<Arc<Profile>> {
        let gone = || self.entries.read().gone.get(id).map(Arc::clone);
        self.profile(id).or_else(gone)
    }

    /// The profile that has this host name, which is normalised.
    #[must_use]
    pub fn profile_at(&self, host: &str) -> Option<Arc<Profile>> {
        let entry = self.entry(|entries| entries.by_nid.get(entries.by_host.get(host)?));
        entry.map(|entry| Arc::clone(&entry.profile))
    }

    /// Whether a row keeps a tenant from being served, whatever names it: it is suspended, or was deleted.
    #[must_use]
    pub fn keeps_out(&self, nid: Nid) -> bool {
        let entries = self.entries.read();
        let suspended = entries.by_nid.get(&nid).is_some_and(|entry| entry.profile.status != Status::Active);
        suspended || entries.gone_by_nid.contains_key(&nid)
    }

    /// Whether a tenant with this network id was deleted.
    #[must_use]
    pub fn is_gone(&self, nid: Nid) -> bool {
        self.entries.read().gone_by_nid.contains_key(&nid)
    }

    /// Those that were deleted at an instant or later: slug and network id.
    #[must_use]
    pub fn gone_since(&self, since: Timestamp) -> Vec<(TenantId, Nid)> {
        let entries = self.entries.read();
        let later = entries.gone.values().filter(|profile| profile.updated >= since);
        later.map(|profile| (profile.id.clone(), profile.nid)).collect()
    }

    /// Profiles in order of their slugs, after one.
    #[must_use]
    pub fn page(&self, after: Option<&TenantId>, limit: usize) -> Vec<Arc<Profile>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.read();
        let following = entries.by_id.range::<TenantId, _>((from, Bound::Unbounded));
        following.take(limit).map(|(_, entry)| Arc::clone(&entry.profile)).collect()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.read().by_id.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, find: impl FnOnce(&Entries) -> Option<&Arc<Entry>>) -> Option<Arc<Entry>> {
        find(&self.entries.read()).map(Arc::clone)
    }
}

impl Entries {
    /// Whether it was news.
    fn put(&mut self, profile: Profile) -> bool {
        let known = self.by_nid.get(&profile.nid).map(|known| known.profile.revision);
        let known = known.or_else(|| self.gone_by_nid.get(&profile.nid).copied());
        if known.is_some_and(|known| known >= profile.revision) {
            return false;
        }
        if let Some(before) = self.by_nid.get(&profile.nid) {
            // News may come in another order than the names went from one tenant to the other.
            let left = before.profile.settings.hostnames.iter().map(String::as_str);
            left.for_each(|name| {
                if self.by_host.get(name) == Some(&profile.nid) {
                    self.by_host.remove(name);
                }
            });
        }
        if profile.status == Status::Deleted {
            self.by_id.remove(&profile.id);
            self.by_nid.remove(&profile.nid);
            self.gone_by_nid.insert(profile.nid, profile.revision);
            self.gone.insert(profile.id.clone(), Arc::new(profile));
            return true;
        }
        let names = profile.settings.hostnames.iter().map(|name| (name.as_str().into(), profile.nid));
        self.by_host.extend(names);
        let entry = Arc::new(Entry { profile: Arc::new(profile), made: ArcSwapOption::empty() });
        self.by_nid.insert(entry.profile.nid, Arc::clone(&entry));
        self.by_id.insert(entry.profile.id.clone(), entry);
        true
    }
}

/// Tenants that were made at run time, as one configuration makes them.
#[derive(Debug)]
pub struct MadeTenants {
    directory: Arc<Directory>,
    presets: Presets,
}

impl MadeTenants {
    /// Those of a directory, under these presets.
    #[must_use]
    pub fn new(directory: Arc<Directory>, presets: Presets) -> Self {
        Self { directory, presets }
    }

    /// The tenant with this network id, under the configuration of that generation.
    pub(crate) fn by_nid(&self, generation: u64, nid: Nid) -> Option<Arc<Tenant>> {
        let entry = self.directory.entry(|entries| entries.by_nid.get(&nid))?;
        Some(self.made(generation, &entry))
    }

    /// The tenant with this slug.
    pub(crate) fn by_id(&self, generation: u64, id: &TenantId) -> Option<Arc<Tenant>> {
        let entry = self.directory.entry(|entries| entries.by_id.get(id))?;
        Some(self.made(generation, &entry))
    }

    /// The tenant with this slug, as its row makes it, also when it was deleted.
    pub(crate) fn ever(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.directory.profile_ever(id).map(|profile| Arc::new(self.presets.tenant(&profile)))
    }

    /// The tenant with this host name, which is normalised.
    pub(crate) fn by_host(&self, generation: u64, host: &str) -> Option<Arc<Tenant>> {
        let entry = self.directory.entry(|entries| entries.by_nid.get(entries.by_host.get(host)?))?;
        Some(self.made(generation, &entry))
    }

    /// Every row that is not deleted: slug and network id.
    pub(crate) fn everyone(&self) -> Vec<(TenantId, Nid)> {
        let told = |profile: &Arc<Profile>| (profile.id.clone(), profile.nid);
        self.directory.page(None, usize::MAX).iter().map(told).collect()
    }

    /// Whether a tenant was made at run time and deleted: nothing makes another of it.
    pub(crate) fn is_gone(&self, nid: Nid) -> bool {
        self.directory.is_gone(nid)
    }

    /// Rows that were deleted at an instant or later: slug and network id.
    pub(crate) fn gone_since(&self, since: Timestamp) -> Vec<(TenantId, Nid)> {
        self.directory.gone_since(since)
    }

    /// What the configuration gives tenants that ask for nothing.
    #[must_use]
    pub fn presets(&self) -> &Presets {
        &self.presets
    }

    fn made(&self, generation: u64, entry: &Entry) -> Arc<Tenant> {
        if let Some(made) = entry.made.load().as_ref().filter(|made| made.0 == generation) {
            return Arc::clone(&made.1);
        }
        let tenant = Arc::new(self.presets.tenant(&entry.profile));
        entry.made.store(Some(Arc::new((generation, Arc::clone(&tenant)))));
        tenant
    }
}

#[cfg(test)]
mod tests {
    use bh_domain::tenant::profile::Settings;
    use uuid::Uuid;

    use super::*;

    fn profile(number: u128, id: &str, revision: u64, status: Status) -> Profile {
        Profile {
            id: TenantId::parse(id).unwrap(),
            nid: Nid(Uuid::from_u128(number)),
            status,
            settings: Settings::default(),
            api_key: None,
            created: Timestamp(1),
            updated: Timestamp(1),
            revision,
        }
    }

    fn slugs(directory: &Directory, after: Option<&str>, limit: usize) -> Vec<String> {
        let after = after.map(|after| TenantId::parse(after).unwrap());
        let page = directory.page(after.as_ref(), limit);
        page.iter().map(|profile| profile.id.to_string()).collect()
    }

    #[test]
    fn profiles_are_listed_by_slug_and_never_go_back_in_time() {
        let directory = Directory::default();
        directory.put([profile(2, "b", 1, Status::Active), profile(1, "a", 3, Status::Suspended)]);
        directory.put([profile(3, "c", 1, Status::Active), profile(1, "a", 2, Status::Active)]);
        assert_eq!(slugs(&directory, None, 2), ["a", "b"]);
        assert_eq!(slugs(&directory, Some("b"), 2), ["c"]);
        let id = TenantId::parse("a").unwrap();
        assert_eq!(directory.profile(&id).map(|profile| profile.status), Some(Status::Suspended));
        directory.put([profile(1, "a", 4, Status::Deleted)]);
        assert_eq!((directory.profile(&id), directory.len()), (None, 2));
        // Late news of what it was before bring nobody back.
        directory.put([profile(1, "a", 3, Status::Active)]);
        assert_eq!((directory.profile(&id), directory.is_gone(Nid(Uuid::from_u128(1)))), (None, true));
        assert!(directory.profile_ever(&id).is_some());
        // It was deleted at 1, and may owe something of what began then or before.
        assert_eq!(directory.gone_since(Timestamp(1)), [(id, Nid(Uuid::from_u128(1)))]);
        assert_eq!(directory.gone_since(Timestamp(2)), []);
    }
}
