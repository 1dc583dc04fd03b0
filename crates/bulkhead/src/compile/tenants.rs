//! Tenants, and the host names that lead to them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bh_app::snapshot::{Caps, KeySettings, Origin, Tenant};
use bh_app::tenants::{Plan, Presets};
use bh_config::schema::{self, Config, TenantStatus};
use bh_domain::hostname::HostTable;
use bh_domain::tenant::profile::{Budgets, Features, Limits};
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;

use super::keys::KeySource;
use super::rows::Rows;
use super::{CompileFault, Runtime, caps, durability};

/// Every tenant, and those whose overlay is bad.
pub(super) struct Tenants {
    pub(super) tenants: HashMap<TenantId, Arc<Tenant>>,
    pub(super) degraded: BTreeMap<TenantId, Arc<str>>,
    /// Settings of the API-key server of rows whose network has an overlay.
    pub(super) overlaid: HashMap<Nid, Arc<KeySettings>>,
}

pub(super) fn compile(
    config: &Config,
    runtime: &Runtime,
    rows: &Rows,
    mut keys: KeySource<'_>,
    presets: &Presets,
    now: Timestamp,
) -> Result<Tenants, CompileFault> {
    let listed: BTreeMap<&str, &schema::Tenant> =
        config.tenants.iter().map(|t| (t.id.0.as_str(), t)).collect();
    let limits = config.gateway.as_ref().map(|gateway| &gateway.rate_limits);
    // Seed 001's limits are for tenants without their own, wherever they come from.
    let unlimited = config.multi_tenant.as_ref().map_or_else(Limits::default, multi_tenant_limits);
    let mut tenants = HashMap::with_capacity(rows.nids.len());
    let mut overlaid = HashMap::new();
    for (id, nid) in &rows.nids {
        let row = runtime.directory.profile(id).filter(|row| rows.may_be_row(id) && row.nid == *nid);
        if let Some(row) = row {
            // A network gives a row its host name and its overlay; limits and money stay the row's.
            let keys = keys.of(id, *nid)?;
            if !Arc::ptr_eq(&keys, &presets.keys) {
                overlaid.insert(*nid, Arc::clone(&keys));
            }
            tenants.insert(id.clone(), Arc::new(Tenant { keys, ..presets.tenant(&row) }));
            continue;
        }
        // Of a row that was deleted its network's name is left, which is nobody's then.
        let is_left = rows.is_implied(id) || (rows.may_be_row(id) && runtime.directory.is_gone(*nid));
        let own = listed.get(id.as_str());
        let zone = own.and_then(|tenant| tenant.timezone.as_ref()).unwrap_or(&config.budgets.timezone);
        let per_minute = own.and_then(|tenant| tenant.rate_limits.requests_per_minute);
        let per_minute = per_minute.or_else(|| limits.and_then(|limits| limits.per_tenant_requests_per_min));
        let requests_per_minute = per_minute.map(u64::from);
        let limits_of = Limits { requests_per_minute, ..Limits::default() }.or(unlimited);
        let tenant = Tenant {
            id: id.clone(),
            nid: *nid,
            clock: runtime.zone(&zone.0, now)?,
            meter: runtime.metrics.tenant(id),
            rates: if presets.limited {
                runtime.accounts.tenant_limits(*nid, &limits_of)
            } else {
                Vec::new()
            },
            durability: own.and_then(|tenant| tenant.evidence.durability).map(durability),
            // Suspended or deleted as a row it stays so, whatever names it afterwards.
            active: own.is_none_or(|tenant| tenant.status == TenantStatus::Active)
                && !runtime.directory.keeps_out(*nid),
            caps: own.map_or_else(Caps::default, |tenant| caps(&tenant.budgets)),
            keys: keys.of(id, *nid)?,
            limits: limits_of,
            features: EVERYTHING,
            allowed_ips: Vec::new(),
            origin: if is_left { Origin::Implied } else { Origin::File },
            plan: own.and_then(|tenant| tenant.plan.clone()),
        };
        tenants.insert(id.clone(), Arc::new(tenant));
    }
    let compiled = rows.nids.iter().filter(|(id, _)| rows.may_be_row(id)).map(|(_, nid)| *nid);
    runtime.directory.compiled_with(compiled.collect());
    Ok(Tenants { tenants, degraded: keys.degraded(), overlaid })
}

/// What tenants that are made at run time get.
pub(super) fn presets(
    config: &Config,
    runtime: &Runtime,
    keys: Arc<KeySettings>,
    now: Timestamp,
) -> Result<Presets, CompileFault> {
    let defaults = config.multi_tenant.clone().unwrap_or_default();
    let plans = config.plans.iter().map(|(name, plan)| (name.clone(), preset(plan))).collect();
    let limits = multi_tenant_limits(&defaults);
    Ok(Presets {
        plans,
        defaults: Plan { limits, features: EVERYTHING, budgets: Budgets::default() },
        clock: runtime.zone(&config.budgets.timezone.0, now)?,
        keys,
        overlaid: HashMap::new(),
        limited: config.rate_limit.as_ref().and_then(|limit| limit.enabled) != Some(false),
        accounts: runtime.accounts.clone(),
        metrics: Arc::clone(&runtime.metrics),
    })
}

/// Without a word about it a tenant may use every function.
const EVERYTHING: Features =
    Features { custom_servers: Some(true), oauth: Some(true), advanced_analytics: Some(true) };

fn multi_tenant_limits(tenancy: &schema::ConnectorsTenancy) -> Limits {
    let schema::ConnectorsTenancy { rate_limits, quotas, .. } = tenancy;
    Limits {
        requests_per_minute: Some(rate_limits.requests_per_minute),
        requests_per_hour: Some(rate_limits.requests_per_hour),
        requests_per_day: Some(rate_limits.requests_per_day),
        max_custom_servers: Some(quotas.max_custom_servers),
        max_tool_invocations: Some(quotas.max_tool_invocations),
        max_storage_mb: Some(quotas.max_storage_mb),
        max_api_keys: None,
    }
}

fn preset(plan: &schema::Plan) -> Plan {
    let schema::Plan { limits, features, budgets, .. } = plan;
    let Caps { daily, monthly, session } = caps(budgets);
    Plan {
        limits: Limits {
            requests_per_minute: limits.requests_per_minute,
            requests_per_hour: limits.requests_per_hour,
            requests_per_day: limits.requests_per_day,
            max_custom_servers: limits.max_custom_servers,
            max_tool_invocations: limits.max_tool_invocations,
            max_storage_mb: limits.max_storage_mb,
            max_api_keys: limits.max_api_keys,
        },
        features: Features {
            custom_servers: features.custom_servers,
            oauth: features.oauth,
            advanced_analytics: features.advanced_analytics,
        },
        budgets: Budgets { daily, monthly, session },
    }
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
