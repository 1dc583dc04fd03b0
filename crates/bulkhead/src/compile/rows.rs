//! Which tenants there are: those that the configuration names, with the network ids that it or the store gives them.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use bh_app::ports::{TenantRow, TenantStore};
use bh_config::schema::{self, Config};
use bh_domain::tenant::{DEFAULT_TENANT, Nid, Scope, TenantId};
use uuid::Uuid;

use super::{CompileFault, Mode, slug};
use crate::quickstart;

/// Every tenant of a configuration.
pub(super) struct Rows {
    /// Network ids by slug.
    pub(super) nids: HashMap<TenantId, Nid>,
    /// The tenant of each network in force.
    pub(super) networks: HashMap<Uuid, TenantId>,
    /// Tenants that are there because a key or nobody names them, and that may be rows as well.
    implied: HashSet<TenantId>,
    /// Tenants that only their network names: by a host name, which takes nothing from their rows.
    networked: HashSet<TenantId>,
}

/// Tenants by slug, with the network id that the configuration gives them.
type Wanted = HashMap<TenantId, Option<Nid>>;

impl Rows {
    /// Makes sure that the store has them. A tenant that it does not know is new.
    pub(super) async fn of(
        config: &Config,
        store: &dyn TenantStore,
        mode: Mode,
    ) -> Result<Self, CompileFault> {
        let mut wanted = named(config, mode)?;
        let ids_given = wanted.values().any(Option::is_some) || !config.networks().is_empty();
        let stored = if ids_given {
            let scope = Scope::system("find tenants by network id");
            store.tenants_everywhere(scope).await.map_err(CompileFault::Tenants)?
        } else {
            Vec::new()
        };
        let stored = Stored::new(stored);
        let networks = networks(config, &stored, &mut wanted)?;
        let mut nids = HashMap::with_capacity(wanted.len());
        let mut missing = Vec::new();
        for (id, nid) in &wanted {
            match stored.check(id, *nid)? {
                Some(nid) => drop(nids.insert(id.clone(), nid)),
                None => missing.push(TenantRow { nid: nid.unwrap_or(Nid(Uuid::now_v7())), id: id.clone() }),
            }
        }
        if !missing.is_empty() {
            let rows = store.ensure_tenants(missing).await.map_err(CompileFault::Tenants)?;
            for TenantRow { nid, id } in rows {
                // Another process may have been first, with another id.
                same_id(&id, nid, wanted.get(&id).copied().flatten())?;
                nids.insert(id, nid);
            }
        }
        let listed: HashSet<&str> = config.tenants.iter().map(|tenant| tenant.id.0.as_str()).collect();
        let of_networks: HashSet<&TenantId> = networks.values().collect();
        let implied = nids.keys().filter(|id| !listed.contains(id.as_str()) && !of_networks.contains(id));
        let implied = implied.cloned().collect();
        let networked = of_networks.into_iter().filter(|id| !listed.contains(id.as_str())).cloned().collect();
        Ok(Self { nids, networks, implied, networked })
    }

    /// Whether a tenant is there without an entry of its own in the configuration.
    pub(super) fn is_implied(&self, id: &TenantId) -> bool {
        self.implied.contains(id)
    }

    /// Whether a row of its name says what the tenant is given: no entry of `tenants` does.
    pub(super) fn may_be_row(&self, id: &TenantId) -> bool {
        self.is_implied(id) || self.networked.contains(id)
    }
}

/// The tenants that callers, keys and `tenants` name, and those that are always there.
fn named(config: &Config, mode: Mode) -> Result<Wanted, CompileFault> {
    let quickstart = (mode != Mode::Configured).then_some(quickstart::TENANT);
    let callers = config.gateway.iter().flat_map(|gateway| &gateway.callers).map(schema::Caller::tenant);
    let keys = config.api_keys.iter().map(schema::ApiKey::tenant);
    let keyless = config.keyless_tenant();
    let names = callers.chain(keys).chain([DEFAULT_TENANT]).chain(keyless).chain(quickstart);
    let mut wanted = Wanted::new();
    for name in names {
        wanted.entry(slug(name)?).or_default();
    }
    for tenant in &config.tenants {
        let nid = tenant.nid.as_ref().map(|nid| Nid(nid.0));
        wanted.insert(tenant.id.0.clone(), nid);
    }
    Ok(wanted)
}

/// Each network's tenant: the entry of `tenants` it belongs to, else the one the store has with this id, else a new one
/// called by its id.
fn networks(
    config: &Config,
    stored: &Stored,
    wanted: &mut Wanted,
) -> Result<HashMap<Uuid, TenantId>, CompileFault> {
    let owners = config.network_owners();
    let mut found = HashMap::with_capacity(config.networks().len());
    for network in config.networks() {
        let Entry::Vacant(place) = found.entry(network.id.0) else { continue };
        let nid = Nid(network.id.0);
        let id = match (owners.get(&nid.0), stored.by_nid.get(&nid)) {
            (Some(owner), _) => owner.id.0.clone(),
            (None, Some(id)) => id.clone(),
            (None, None) => slug(&nid.to_string())?,
        };
        let known = wanted.entry(id.clone()).or_default();
        same_id(&id, nid, *known)?;
        *known = Some(nid);
        place.insert(id);
    }
    Ok(found)
}

fn same_id(tenant: &TenantId, own: Nid, wanted: Option<Nid>) -> Result<(), CompileFault> {
    match wanted.filter(|other| *other != own) {
        Some(other) => Err(CompileFault::TwoIds { tenant: tenant.clone(), own, other }),
        None => Ok(()),
    }
}

/// What the store has, both ways round.
struct Stored {
    by_nid: HashMap<Nid, TenantId>,
    by_id: HashMap<TenantId, Nid>,
}

impl Stored {
    fn new(rows: Vec<TenantRow>) -> Self {
        let by_nid = rows.iter().map(|row| (row.nid, row.id.clone())).collect();
        Self { by_nid, by_id: rows.into_iter().map(|row| (row.id, row.nid)).collect() }
    }

    /// The network id that the store has for a tenant, if it knows it.
    fn check(&self, id: &TenantId, wanted: Option<Nid>) -> Result<Option<Nid>, CompileFault> {
        if let Some(own) = self.by_id.get(id) {
            return same_id(id, *own, wanted).map(|()| Some(*own));
        }
        match wanted.and_then(|nid| Some((nid, self.by_nid.get(&nid)?))) {
            Some((nid, own)) => Err(CompileFault::TwoTenants { nid, own: own.clone(), other: id.clone() }),
            None => Ok(None),
        }
    }
}
