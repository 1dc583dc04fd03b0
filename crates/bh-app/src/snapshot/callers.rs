//! What becomes a caller, configured or with a key that was issued: one place gives it its caps, limits and budgets.

use std::sync::Arc;

use bh_domain::budget::{Owner, Period};
use bh_domain::keys::key::KeyId;
use bh_domain::keys::overrides::PolicyOverrides;
use bh_domain::keys::token::Narrowed;
use bh_domain::limit::RateLimit;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::tenant::profile::Limits;

use super::{Caller, CallerSource, Capped, Caps, Limited, Tenant};
use crate::budgets::{BudgetKeeper, ZoneClock};
use crate::rates::{NamedCount, RateCells, SharedRates};

/// Under these names a tenant's requests per hour and day are counted: no caller is called so.
const HOUR: &str = "\0hour";
const DAY: &str = "\0day";

/// Most callers have budgets for the day and the month: their own, and their tenant's.
const BUDGETS_MOST: usize = 4;

/// Counts and accounts of this process. They outlive configurations.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// Money.
    pub budgets: BudgetKeeper,
    /// Requests.
    pub rates: Arc<RateCells>,
    /// Requests of tenants that all replicas count together, where that is configured.
    pub shared: Option<Arc<SharedRates>>,
}

impl Accounts {
    /// The limit of one caller, of a tenant (`name` empty), or of everybody (`Nid::SYSTEM`).
    #[must_use]
    pub fn limited(&self, nid: Nid, name: &str, per_minute: Option<u32>) -> Option<Limited> {
        let limit = RateLimit::per_minute(per_minute?)?;
        Some(Limited { limit, cell: self.rates.cell(nid, name) })
    }

    /// A tenant's limits, one for each window that has one.
    #[must_use]
    pub fn tenant_limits(&self, nid: Nid, limits: &Limits) -> Vec<Limited> {
        let windows = [
            ("", 60, limits.requests_per_minute),
            (HOUR, 3_600, limits.requests_per_hour),
            (DAY, 86_400, limits.requests_per_day),
        ];
        let limited = |(name, window_s, requests): (&str, u64, Option<u64>)| {
            let limit = RateLimit::new(requests?, window_s)?;
            Some(Limited { limit, cell: self.rates.cell(nid, name) })
        };
        windows.into_iter().filter_map(limited).collect()
    }
}

/// The policy of callers: what those without overrides get, and what none gets beyond.
#[derive(Debug, Default)]
pub struct CallerPolicy {
    /// Caps of callers without their own: the organisation's, else those of `gateway.default_policy`.
    pub defaults: Caps,
    /// The organisation's constraints on caps.
    pub ceilings: Caps,
    /// Whether somebody chose one of those caps, rather than the built-in ones.
    pub caps_chosen: bool,
    /// Requests per minute of callers without a limit of their own.
    pub per_minute: Option<u32>,
    /// Models of callers without lists of their own; empty = all.
    pub allowed_models: Vec<String>,
    /// Models refused to callers without lists of their own.
    pub blocked_models: Vec<String>,
    /// The organisation's constraints on lists.
    pub constraints: ListConstraints,
    /// The budget that all tenants share.
    pub organization: Option<OrganizationBudget>,
    /// Owners whom thousands of budgets name.
    pub owners: Owners,
}

/// Each made once.
#[derive(Debug)]
pub struct Owners {
    tenant: Arc<Owner>,
    organization: Arc<Owner>,
}

impl Default for Owners {
    fn default() -> Self {
        Self { tenant: Arc::new(Owner::Tenant), organization: Arc::new(Owner::Organization) }
    }
}

/// The most that any caller's lists admit; an empty one stands for "all".
#[derive(Debug, Default)]
pub struct ListConstraints {
    /// Models.
    pub allowed_models: Vec<String>,
    /// Models that nobody may use.
    pub blocked_models: Vec<String>,
    /// Providers.
    pub allowed_providers: Vec<String>,
}

/// The budget that all tenants share.
#[derive(Debug)]
pub struct OrganizationBudget {
    /// Its caps.
    pub caps: Caps,
    /// Its days and months.
    pub clock: Arc<ZoneClock>,
}

/// Who becomes a caller.
#[derive(Debug)]
pub struct NewCaller {
    /// Name.
    pub name: String,
    /// Its tenant.
    pub tenant: Arc<Tenant>,
    /// Team, for reports.
    pub team: Option<String>,
    /// Providers it may use; empty = all.
    pub allowed_providers: Vec<String>,
    /// Whether session and orchestration headers of the client are believed.
    pub accept_client_metadata: bool,
    /// Where its key came from.
    pub source: CallerSource,
    /// The key it showed, when that is a row.
    pub key: Option<UsedKey>,
}

/// The key that a caller showed, or that its token was derived from.
#[derive(Clone, Debug)]
pub struct UsedKey {
    /// Its id.
    pub id: KeyId,
    /// The key's own rate limit, which counts beside the caller's.
    pub rate: Option<Limited>,
    /// The key's named limits.
    pub named: Arc<[NamedCount]>,
    /// The token that was shown in its place.
    pub token: Option<Arc<Narrowed>>,
}

impl UsedKey {
    /// What the token may spend over its life, and the `jti` under which that is counted.
    #[must_use]
    pub fn token_budget(&self) -> Option<(&str, NanoUsd)> {
        let token = self.token.as_ref()?;
        Some((token.claims().id.as_deref()?, token.budget()?))
    }
}

impl Caller {
    fn token(&self) -> Option<&Narrowed> {
        self.key.as_ref()?.token.as_deref()
    }

    /// Whether the token that was shown, if one was, may be used for this model.
    #[must_use]
    pub fn token_admits_model(&self, model: &str) -> bool {
        self.token().is_none_or(|token| token.admits_model(model))
    }

    /// Whether the token that was shown, if one was, is for some models only.
    #[must_use]
    pub fn token_limits_models(&self) -> bool {
        self.token().is_some_and(Narrowed::limits_models)
    }
}

impl NewCaller {
    /// A caller with nothing but a name.
    #[must_use]
    pub fn plain(name: &str, tenant: &Arc<Tenant>, source: CallerSource) -> Self {
        Self {
            name: name.to_owned(),
            tenant: Arc::clone(tenant),
            team: None,
            allowed_providers: Vec::new(),
            accept_client_metadata: true,
            source,
            key: None,
        }
    }
}

impl CallerPolicy {
    /// Makes a caller of somebody, with the policy laid over the defaults.
    #[must_use]
    pub fn caller(&self, accounts: &Accounts, new: NewCaller, overrides: &PolicyOverrides) -> Caller {
        let NewCaller { name, tenant, team, allowed_providers, accept_client_metadata, source, key } = new;
        let caps = self.caps(overrides);
        let per_minute = overrides.requests_per_minute.or(self.per_minute);
        let constraints = &self.constraints;
        let or_default =
            |own: &[String], default: &[String]| if own.is_empty() { default.to_vec() } else { own.to_vec() };
        let allowed = or_default(&overrides.allowed_models, &self.allowed_models);
        let mut blocked = or_default(&overrides.blocked_models, &self.blocked_models);
        blocked.extend(constraints.blocked_models.iter().cloned());
        Caller {
            rate: accounts.limited(tenant.nid, &name, per_minute),
            budgets: self.budgets(accounts, &name, &tenant, caps),
            capped_by_choice: self.capped_by_choice(overrides, &tenant),
            caps: Caps { session: least(caps.session, tenant.caps.session), ..caps },
            allowed_models: narrowed(allowed, &constraints.allowed_models),
            blocked_models: blocked,
            allowed_providers: narrowed(allowed_providers, &constraints.allowed_providers),
            accept_client_metadata,
            source,
            key,
            name,
            team,
            tenant,
        }
    }

    /// A caller's caps: its own, else the default; never above a constraint.
    fn caps(&self, own: &PolicyOverrides) -> Caps {
        let Self { defaults, ceilings, .. } = self;
        Caps {
            daily: least(own.max_daily_cost.or(defaults.daily), ceilings.daily),
            monthly: least(own.max_monthly_cost.or(defaults.monthly), ceilings.monthly),
            session: least(own.max_session_cost.or(defaults.session), ceilings.session),
        }
    }

    /// Whether any cap of a caller was chosen by somebody, rather than built in.
    fn capped_by_choice(&self, own: &PolicyOverrides, tenant: &Tenant) -> bool {
        self.caps_chosen
            || [own.max_daily_cost, own.max_monthly_cost, own.max_session_cost].iter().any(Option::is_some)
            || tenant.caps != Caps::default()
            || self.organization.is_some()
    }

    /// Every day and month budget that a call of a caller must fit: its own, the tenant's, the organisation's.
    #[must_use]
    pub fn budgets(&self, accounts: &Accounts, name: &str, tenant: &Tenant, caps: Caps) -> Vec<Capped> {
        let cell = |nid, owner: &Arc<Owner>, period, cap: Option<NanoUsd>, clock: &Arc<ZoneClock>| {
            Some(Capped { cap: cap?, cell: accounts.budgets.cell(nid, Arc::clone(owner), period, clock) })
        };
        let caller = Arc::new(Owner::Caller(name.to_owned()));
        let (whole, everybody) = (&self.owners.tenant, &self.owners.organization);
        let mut budgets = Vec::with_capacity(BUDGETS_MOST);
        budgets.extend(cell(tenant.nid, &caller, Period::Day, caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, &caller, Period::Month, caps.monthly, &tenant.clock));
        budgets.extend(cell(tenant.nid, whole, Period::Day, tenant.caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, whole, Period::Month, tenant.caps.monthly, &tenant.clock));
        if let Some(OrganizationBudget { caps, clock }) = &self.organization {
            budgets.extend(cell(Nid::SYSTEM, everybody, Period::Day, caps.daily, clock));
            budgets.extend(cell(Nid::SYSTEM, everybody, Period::Month, caps.monthly, clock));
        }
        budgets
    }
}

fn least(a: Option<NanoUsd>, b: Option<NanoUsd>) -> Option<NanoUsd> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// A list as far as a constraint admits it; an empty list stands for "all".
fn narrowed(own: Vec<String>, constraint: &[String]) -> Vec<String> {
    if constraint.is_empty() {
        return own;
    }
    if own.is_empty() {
        return constraint.to_vec();
    }
    let both: Vec<String> = own.into_iter().filter(|name| constraint.contains(name)).collect();
    // Nothing in common: a name nothing has keeps the list from reading as "all".
    if both.is_empty() { vec![String::new()] } else { both }
}
