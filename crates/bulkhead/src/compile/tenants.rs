//! Tenants, and the host names that lead to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bh_app::snapshot::{Caps, Tenant};
use bh_config::schema::{self, Config, TenantStatus};
use bh_domain::hostname::HostTable;
use bh_domain::tenant::TenantId;
use bh_domain::time::Timestamp;

use super::keys::KeySource;
use super::rows::Rows;
use super::{CompileFault, Runtime, caps, durability};

/// Every tenant, and those whose overlay is bad.
pub(super) struct Tenants {
    pub(super) tenants: HashMap<TenantId, Arc<Tenant>>,
    pub(super) degraded: BTreeMap<TenantId, Arc<str>>,
}

pub(super) fn compile(
    config: &Config,
    runtime: &Runtime,
    rows: &Rows,
    mut keys: KeySource<'_>,
    now: Timestamp,
) -> Result<Tenants, CompileFault> {
    let listed: BTreeMap<&str, &schema::Tenant> =
        config.tenants.iter().map(|t| (t.id.0.as_str(), t)).collect();
    let limits = config.gateway.as_ref().map(|gateway| &gateway.rate_limits);
    let mut tenants = HashMap::with_capacity(rows.nids.len());
    for (id, nid) in &rows.nids {
        let own = listed.get(id.as_str());
        let zone = own.and_then(|tenant| tenant.timezone.as_ref()).unwrap_or(&config.budgets.timezone);
        let per_minute = own.and_then(|tenant| tenant.rate_limits.requests_per_minute);
        let per_minute = per_minute.or_else(|| limits.and_then(|limits| limits.per_tenant_requests_per_min));
        let tenant = Tenant {
            id: id.clone(),
            nid: *nid,
            clock: runtime.zone(&zone.0, now)?,
            meter: runtime.metrics.tenant(id),
            rate: runtime.limited(*nid, "", per_minute),
            durability: own.and_then(|tenant| tenant.evidence.durability).map(durability),
            active: own.is_none_or(|tenant| tenant.status == TenantStatus::Active),
            caps: own.map_or_else(Caps::default, |tenant| caps(&tenant.budgets)),
            keys: keys.of(id, *nid)?,
        };
        tenants.insert(id.clone(), Arc::new(tenant));
    }
    Ok(Tenants { tenants, degraded: keys.degraded() })
}

/// What each host name leads to; `None` unless host names decide.
pub(super) fn hosts(
    config: &Config,
    rows: &Rows,
    tenants: &HashMap<TenantId, Arc<Tenant>>,
) -> Option<HostTable<Arc<Tenant>>> {
    config.multitenancy.as_ref().filter(|tenancy| tenancy.enabled)?;
    let mut hosts = HostTable::with_capacity(config.networks().len());
    let networks = config.networks().iter().filter_map(|n| Some((&n.hostname, rows.networks.get(&n.id.0)?)));
    let own = config.tenants.iter().flat_map(|t| t.hostnames.iter().map(move |host| (host, &t.id.0)));
    for (host, id) in networks.chain(own) {
        if let Some(tenant) = tenants.get(id) {
            hosts.insert(host.0.clone(), Arc::clone(tenant));
        }
    }
    Some(hosts)
}
