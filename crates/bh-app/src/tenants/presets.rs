//! What a configuration gives tenants that were made at run time: plans, and what holds without one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use bh_domain::tenant::profile::{Budgets, Features, Limits, Profile, Settings, Status};

use crate::budgets::ZoneClock;
use crate::metrics::Metrics;
use crate::snapshot::{Accounts, Caps, KeySettings, Origin, Tenant};

/// A preset of limits, functions and money; a tenant's own settings win.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Numbers.
    pub limits: Limits,
    /// Functions.
    pub features: Features,
    /// Money.
    pub budgets: Budgets,
}

/// Plans, and what tenants have without one.
#[derive(Debug)]
pub struct Presets {
    /// By name; with none, a plan is only a word.
    pub plans: BTreeMap<String, Plan>,
    /// What holds where neither a tenant nor its plan says anything.
    pub defaults: Plan,
    /// Days and months.
    pub clock: Arc<ZoneClock>,
    /// Settings of the API-key server.
    pub keys: Arc<KeySettings>,
    /// The same of tenants whose network has an overlay.
    pub overlaid: HashMap<Nid, Arc<KeySettings>>,
    /// Whether tenants are held to their limits of requests.
    pub limited: bool,
    /// Counts.
    pub accounts: Accounts,
    /// Meters.
    pub metrics: Arc<Metrics>,
}

/// What holds for a tenant in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Numbers.
    pub limits: Limits,
    /// Functions.
    pub features: Features,
    /// Money.
    pub budgets: Budgets,
}

impl Presets {
    /// What holds for a tenant with these settings.
    #[must_use]
    pub fn in_force(&self, settings: &Settings) -> InForce {
        let plan = settings.plan.as_ref().and_then(|plan| self.plans.get(plan));
        let Plan { limits, features, budgets } = plan.cloned().unwrap_or_default();
        let Plan { limits: any_limits, features: any_features, budgets: any_budgets } = &self.defaults;
        InForce {
            limits: settings.limits.or(limits).or(*any_limits),
            features: settings.features.or(features).or(*any_features),
            budgets: settings.budgets.or(budgets).or(*any_budgets),
        }
    }

    /// Refuses settings that name a plan which is none.
    ///
    /// # Errors
    /// `invalid_request`, naming those that there are.
    pub fn admit(&self, settings: &Settings) -> Result<(), Refusal> {
        let Some(plan) = settings.plan.as_ref().filter(|_| !self.plans.is_empty()) else { return Ok(()) };
        if self.plans.contains_key(plan) {
            return Ok(());
        }
        let known: Vec<&str> = self.plans.keys().map(String::as_str).collect();
        let message = format!("`plan`: `{plan}` is none; there are `{}`", known.join("`, `"));
        Err(Refusal::new(Code::InvalidRequest, message).with("field", "plan"))
    }

    /// The tenant that a profile is.
    #[must_use]
    pub fn tenant(&self, profile: &Profile) -> Tenant {
        let Profile { id, nid, status, settings, revision, .. } = profile;
        let InForce { limits, features, budgets } = self.in_force(settings);
        if let Err(refusal) = self.admit(settings) {
            tracing::error!(tenant = %id, "{}: the tenant has what everybody has, and none of its plan's caps", refusal.message);
        }
        Tenant {
            id: id.clone(),
            nid: *nid,
            clock: Arc::clone(&self.clock),
            meter: self.metrics.tenant(id),
            rates: if self.limited { self.accounts.tenant_limits(*nid, &limits) } else { Vec::new() },
            durability: None,
            active: *status == Status::Active,
            caps: Caps { daily: budgets.daily, monthly: budgets.monthly, session: budgets.session },
            keys: Arc::clone(self.overlaid.get(nid).unwrap_or(&self.keys)),
            limits,
            features,
            allowed_ips: settings.security.networks(),
            origin: Origin::Made(*revision),
            plan: settings.plan.clone(),
        }
    }
}
