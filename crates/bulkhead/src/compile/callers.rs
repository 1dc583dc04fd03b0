//! Callers and operators, with their keys, limits and budgets.

use std::collections::HashMap;
use std::sync::Arc;

use bh_app::budgets::ZoneClock;
use bh_app::identity::{Keyring, Network, Operator};
use bh_app::snapshot::{Caller, CallerSource, Capped, Caps, Quickstart, Tenant};
use bh_config::schema::{self, Config, IdentifyBy};
use bh_domain::budget::{Owner, Period};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{DEFAULT_TENANT, Nid, Role, TenantId};

use super::{CompileFault, Mode, Runtime, amount, slug};
use crate::quickstart;

/// The caller of keys that come without one of their own (`BULKHEAD_API_KEYS`).
const API_KEY_CALLER: &str = "api-key";
const ANONYMOUS_CALLER: &str = "anonymous";
/// Most callers have budgets for the day and the month: their own, and their tenant's.
const BUDGETS_MOST: usize = 4;

/// What callers are built from.
pub(super) struct Build<'a> {
    pub(super) config: &'a Config,
    pub(super) runtime: &'a Runtime,
    pub(super) tenants: &'a HashMap<TenantId, Arc<Tenant>>,
    /// Days and months of the organisation's budget.
    pub(super) organization: Option<&'a Arc<ZoneClock>>,
    /// Owners whom thousands of budgets name.
    pub(super) owners: Owners,
    /// Whether `gateway.default_policy` is given a cap.
    pub(super) writes_default_caps: bool,
}

/// Each made once.
pub(super) struct Owners {
    tenant: Arc<Owner>,
    organization: Arc<Owner>,
}

impl Default for Owners {
    fn default() -> Self {
        Self { tenant: Arc::new(Owner::Tenant), organization: Arc::new(Owner::Organization) }
    }
}

impl Build<'_> {
    pub(super) fn keyring(&self) -> Result<Keyring, CompileFault> {
        let mut keyring = Keyring::default();
        let hasher = &self.runtime.hasher;
        for admin in &self.config.admin_keys {
            if let Some(key) = &admin.key {
                let operator = Operator { name: admin.name.clone(), role: Role::from(admin.role) };
                keyring.add_operator(hasher.digest(key.expose().as_bytes()), operator);
            }
        }
        for key in &self.config.api_keys {
            let caller = self.plain_caller(API_KEY_CALLER, key.tenant(), CallerSource::Config)?;
            keyring.add_caller(hasher.digest(key.key.expose().as_bytes()), caller);
        }
        let Some(gateway) = self.config.gateway.as_ref().filter(|gateway| gateway.enabled) else {
            return Ok(keyring);
        };
        for configured in &gateway.callers {
            let caller = self.caller(gateway, configured)?;
            if let Some(key) = configured.key() {
                keyring.add_caller(hasher.digest(key.expose().as_bytes()), Arc::clone(&caller));
            }
            for range in &configured.source_ip_ranges {
                if let Some(network) = Network::parse(&range.to_string()) {
                    keyring.add_address(network, Arc::clone(&caller));
                }
            }
        }
        if !gateway.default_policy.require_caller_id {
            keyring.admit_anonymous(self.plain_caller(
                ANONYMOUS_CALLER,
                DEFAULT_TENANT,
                CallerSource::Anonymous,
            )?);
        }
        Ok(keyring)
    }

    fn tenant(&self, id: &str) -> Result<&Arc<Tenant>, CompileFault> {
        let id = slug(id)?;
        self.tenants
            .get(&id)
            .ok_or_else(|| CompileFault::Invalid(format!("the tenant `{id}` has no row in the store")))
    }

    /// A caller with nothing but the defaults.
    fn plain_caller(
        &self,
        name: &str,
        tenant: &str,
        source: CallerSource,
    ) -> Result<Arc<Caller>, CompileFault> {
        let tenant = self.tenant(tenant)?;
        let gateway = self.config.gateway.clone().unwrap_or_default();
        let overrides = schema::PolicyOverrides::default();
        let caps = self.caps(&gateway, &overrides);
        Ok(Arc::new(Caller {
            name: name.to_owned(),
            tenant: Arc::clone(tenant),
            team: None,
            rate: self.runtime.limited(tenant.nid, name, gateway.rate_limits.per_caller_requests_per_min),
            budgets: self.budgets(name, tenant, caps),
            capped_by_choice: self.capped_by_choice(&gateway, &overrides, tenant),
            caps: Caps { session: caps.session.or(tenant.caps.session), ..caps },
            allowed_models: gateway.default_policy.allowed_models.clone(),
            blocked_models: gateway.default_policy.blocked_models.clone(),
            allowed_providers: Vec::new(),
            accept_client_metadata: true,
            source,
        }))
    }

    fn caller(
        &self,
        gateway: &schema::Gateway,
        configured: &schema::Caller,
    ) -> Result<Arc<Caller>, CompileFault> {
        let tenant = self.tenant(configured.tenant())?;
        let overrides = &configured.policy_overrides;
        let caps = self.caps(gateway, overrides);
        let per_minute = overrides.requests_per_minute.or(gateway.rate_limits.per_caller_requests_per_min);
        let constraints = gateway.organization_policy.as_ref().map(|policy| &policy.constraints);
        let or_default =
            |own: &[String], default: &[String]| if own.is_empty() { default.to_vec() } else { own.to_vec() };
        let allowed = or_default(&overrides.allowed_models, &gateway.default_policy.allowed_models);
        let mut blocked = or_default(&overrides.blocked_models, &gateway.default_policy.blocked_models);
        blocked.extend(constraints.into_iter().flat_map(|c| c.blocked_models.iter().cloned()));
        Ok(Arc::new(Caller {
            name: configured.name.clone(),
            tenant: Arc::clone(tenant),
            team: configured.team.clone(),
            rate: self.runtime.limited(tenant.nid, &configured.name, per_minute),
            budgets: self.budgets(&configured.name, tenant, caps),
            capped_by_choice: self.capped_by_choice(gateway, overrides, tenant),
            caps: Caps { session: least(caps.session, tenant.caps.session), ..caps },
            allowed_models: narrowed(allowed, constraints.map(|c| c.allowed_models.as_slice())),
            blocked_models: blocked,
            allowed_providers: narrowed(
                configured.allowed_providers.clone(),
                constraints.map(|c| c.allowed_providers.as_slice()),
            ),
            accept_client_metadata: configured.accept_client_metadata,
            source: match configured.identify_by {
                IdentifyBy::SourceIp => CallerSource::SourceIp,
                IdentifyBy::ApiKey | IdentifyBy::TenantKey => CallerSource::Config,
            },
        }))
    }

    /// A caller's caps: its own, else the organisation's or the server's default; never above a constraint.
    fn caps(&self, gateway: &schema::Gateway, overrides: &schema::PolicyOverrides) -> Caps {
        let organization = gateway.organization_policy.as_ref();
        let defaults = organization.map(|policy| &policy.defaults);
        let constraints = organization.map(|policy| &policy.constraints);
        let policy = &gateway.default_policy;
        let pick = |own, organization, server| Option::or(Option::or(own, organization), server);
        let daily = pick(
            overrides.max_daily_cost.as_ref(),
            defaults.and_then(|d| d.daily_cost.as_ref()),
            policy.max_daily_cost.as_ref(),
        );
        let monthly = pick(
            overrides.max_monthly_cost.as_ref(),
            defaults.and_then(|d| d.monthly_cost.as_ref()),
            policy.max_monthly_cost.as_ref(),
        );
        let session = pick(
            overrides.max_session_cost.as_ref(),
            defaults.and_then(|d| d.session_cost.as_ref()),
            policy.max_session_cost.as_ref(),
        );
        Caps {
            daily: least(amount(daily), amount(constraints.and_then(|c| c.max_daily_cost.as_ref()))),
            monthly: least(amount(monthly), amount(constraints.and_then(|c| c.max_monthly_cost.as_ref()))),
            session: least(amount(session), amount(constraints.and_then(|c| c.max_session_cost.as_ref()))),
        }
    }

    /// Whether any cap of a caller was chosen by somebody, rather than built in.
    fn capped_by_choice(
        &self,
        gateway: &schema::Gateway,
        overrides: &schema::PolicyOverrides,
        tenant: &Tenant,
    ) -> bool {
        let organization = gateway.organization_policy.as_ref();
        let defaults = organization.map(|policy| &policy.defaults);
        let constraints = organization.map(|policy| &policy.constraints);
        let own = [&overrides.max_daily_cost, &overrides.max_monthly_cost, &overrides.max_session_cost];
        let defaults = defaults.map(|d| [&d.daily_cost, &d.monthly_cost, &d.session_cost]);
        let ceilings = constraints.map(|c| [&c.max_daily_cost, &c.max_monthly_cost, &c.max_session_cost]);
        let mut caps =
            own.into_iter().chain(defaults.into_iter().flatten()).chain(ceilings.into_iter().flatten());
        self.writes_default_caps
            || caps.any(Option::is_some)
            || tenant.caps != Caps::default()
            || self.organization.is_some()
    }

    fn budgets(&self, name: &str, tenant: &Tenant, caps: Caps) -> Vec<Capped> {
        let cell = |nid, owner: &Arc<Owner>, period, cap: Option<NanoUsd>, clock: &Arc<ZoneClock>| {
            Some(Capped { cap: cap?, cell: self.runtime.budgets.cell(nid, Arc::clone(owner), period, clock) })
        };
        let caller = Arc::new(Owner::Caller(name.to_owned()));
        let (whole, everybody) = (&self.owners.tenant, &self.owners.organization);
        let mut budgets = Vec::with_capacity(BUDGETS_MOST);
        budgets.extend(cell(tenant.nid, &caller, Period::Day, caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, &caller, Period::Month, caps.monthly, &tenant.clock));
        budgets.extend(cell(tenant.nid, whole, Period::Day, tenant.caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, whole, Period::Month, tenant.caps.monthly, &tenant.clock));
        if let Some(clock) = self.organization {
            let organization = &self.config.budgets.organization;
            let (daily, monthly) =
                (amount(organization.daily.as_ref()), amount(organization.monthly.as_ref()));
            budgets.extend(cell(Nid::SYSTEM, everybody, Period::Day, daily, clock));
            budgets.extend(cell(Nid::SYSTEM, everybody, Period::Month, monthly, clock));
        }
        budgets
    }

    pub(super) fn quickstart(&self, mode: Mode) -> Result<Option<Quickstart>, CompileFault> {
        let Mode::Quickstart { unsafe_listen } = mode else { return Ok(None) };
        let tenant = self.tenant(quickstart::TENANT)?;
        let caps = quickstart::caps();
        let rate = self.runtime.limited(
            tenant.nid,
            quickstart::CALLER,
            Some(quickstart::CALLER_REQUESTS_PER_MINUTE),
        );
        let budgets = self.budgets(quickstart::CALLER, tenant, caps);
        let caller = quickstart::caller(&self.config.quickstart, tenant, rate, budgets);
        let provider = quickstart::provider(&self.config.quickstart);
        Ok(Some(Quickstart { caller: Arc::new(caller), provider: Arc::new(provider), unsafe_listen }))
    }
}

fn least(a: Option<NanoUsd>, b: Option<NanoUsd>) -> Option<NanoUsd> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// A list as far as a constraint admits it; an empty list stands for "all".
fn narrowed(own: Vec<String>, constraint: Option<&[String]>) -> Vec<String> {
    let Some(constraint) = constraint.filter(|list| !list.is_empty()) else { return own };
    if own.is_empty() {
        return constraint.to_vec();
    }
    let both: Vec<String> = own.into_iter().filter(|name| constraint.contains(name)).collect();
    // Nothing in common: a name nothing has keeps the list from reading as "all".
    if both.is_empty() { vec![String::new()] } else { both }
}
