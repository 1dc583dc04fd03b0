//! Callers and operators, with their keys, limits and budgets.

use std::collections::HashMap;
use std::sync::Arc;

use bh_app::budgets::ZoneClock;
use bh_app::identity::{Keyring, Network, Operator};
use bh_app::snapshot::{
    Caller, CallerPolicy, CallerSource, Caps, ListConstraints, NewCaller, OrganizationBudget, Owners,
    Quickstart, Tenant,
};
use bh_config::schema::{self, Config, IdentifyBy};
use bh_domain::keys::overrides::PolicyOverrides;
use bh_domain::tenant::{DEFAULT_TENANT, Role, TenantId};

use super::{CompileFault, Mode, Runtime, amount, caps, slug};
use crate::quickstart;

/// The caller of keys that come without one of their own (`BULKHEAD_API_KEYS`).
const API_KEY_CALLER: &str = "api-key";
const ANONYMOUS_CALLER: &str = "anonymous";
const KEYLESS_CALLER: &str = "keyless";

/// What callers are built from.
pub(super) struct Build<'a> {
    pub(super) config: &'a Config,
    pub(super) runtime: &'a Runtime,
    pub(super) tenants: &'a HashMap<TenantId, Arc<Tenant>>,
    pub(super) policy: &'a CallerPolicy,
}

impl Build<'_> {
    pub(super) fn keyring(&self) -> Result<Keyring, CompileFault> {
        let mut keyring = Keyring::default();
        self.admit_keyless(&mut keyring)?;
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
            let caller = self.caller(configured)?;
            if let Some(key) = configured.key() {
                keyring.add_caller(hasher.digest(key.expose().as_bytes()), Arc::clone(&caller));
            }
            for range in &configured.source_ip_ranges {
                if let Some(network) = Network::parse(&range.to_string()) {
                    keyring.add_address(network, Arc::clone(&caller));
                }
            }
        }
        // An open window says already whose calls without a key are.
        if !gateway.default_policy.require_caller_id && keyring.keyless_tenant().is_none() {
            keyring.admit_anonymous(self.plain_caller(
                ANONYMOUS_CALLER,
                DEFAULT_TENANT,
                CallerSource::Anonymous,
            )?);
        }
        Ok(keyring)
    }

    /// Seed 001's migration window: who shows no key is the tenant for those who were there before.
    fn admit_keyless(&self, keyring: &mut Keyring) -> Result<(), CompileFault> {
        let Some(tenant) = self.config.keyless_tenant() else { return Ok(()) };
        keyring.admit_anonymous(self.plain_caller(KEYLESS_CALLER, tenant, CallerSource::Keyless)?);
        Ok(())
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
        let new = NewCaller::plain(name, self.tenant(tenant)?, source);
        Ok(Arc::new(self.policy.caller(&self.runtime.accounts, new, &PolicyOverrides::default())))
    }

    fn caller(&self, configured: &schema::Caller) -> Result<Arc<Caller>, CompileFault> {
        let tenant = self.tenant(configured.tenant())?;
        let source = match configured.identify_by {
            IdentifyBy::SourceIp => CallerSource::SourceIp,
            IdentifyBy::ApiKey | IdentifyBy::TenantKey => CallerSource::Config,
        };
        let new = NewCaller {
            team: configured.team.clone(),
            allowed_providers: configured.allowed_providers.clone(),
            accept_client_metadata: configured.accept_client_metadata,
            ..NewCaller::plain(&configured.name, tenant, source)
        };
        let overrides = overrides(&configured.policy_overrides);
        Ok(Arc::new(self.policy.caller(&self.runtime.accounts, new, &overrides)))
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
        let budgets = self.policy.budgets(&self.runtime.accounts, quickstart::CALLER, tenant, caps);
        let caller = quickstart::caller(&self.config.quickstart, tenant, rate, budgets);
        let provider = quickstart::provider(&self.config.quickstart);
        Ok(Some(Quickstart { caller: Arc::new(caller), provider: Arc::new(provider), unsafe_listen }))
    }
}

/// The policy of all callers.
pub(super) fn policy(
    config: &Config,
    organization: Option<&Arc<ZoneClock>>,
    default_caps_written: bool,
) -> CallerPolicy {
    let gateway = config.gateway.clone().unwrap_or_default();
    let default = &gateway.default_policy;
    let own = gateway.organization_policy.unwrap_or_default();
    let (defaults, constraints) = (&own.defaults, own.constraints);
    let organizations = Caps {
        daily: amount(defaults.daily_cost.as_ref()),
        monthly: amount(defaults.monthly_cost.as_ref()),
        session: amount(defaults.session_cost.as_ref()),
    };
    let ceilings = Caps {
        daily: amount(constraints.max_daily_cost.as_ref()),
        monthly: amount(constraints.max_monthly_cost.as_ref()),
        session: amount(constraints.max_session_cost.as_ref()),
    };
    let none = Caps::default();
    CallerPolicy {
        defaults: Caps {
            daily: organizations.daily.or(amount(default.max_daily_cost.as_ref())),
            monthly: organizations.monthly.or(amount(default.max_monthly_cost.as_ref())),
            session: organizations.session.or(amount(default.max_session_cost.as_ref())),
        },
        caps_chosen: default_caps_written || organizations != none || ceilings != none,
        ceilings,
        per_minute: gateway.rate_limits.per_caller_requests_per_min,
        allowed_models: default.allowed_models.clone(),
        blocked_models: default.blocked_models.clone(),
        constraints: ListConstraints {
            allowed_models: constraints.allowed_models,
            blocked_models: constraints.blocked_models,
            allowed_providers: constraints.allowed_providers,
        },
        owners: Owners::default(),
        organization: organization.map(|clock| OrganizationBudget {
            caps: caps(&config.budgets.organization),
            clock: Arc::clone(clock),
        }),
    }
}

fn overrides(own: &schema::PolicyOverrides) -> PolicyOverrides {
    PolicyOverrides {
        max_daily_cost: amount(own.max_daily_cost.as_ref()),
        max_monthly_cost: amount(own.max_monthly_cost.as_ref()),
        max_session_cost: amount(own.max_session_cost.as_ref()),
        allowed_models: own.allowed_models.clone(),
        blocked_models: own.blocked_models.clone(),
        requests_per_minute: own.requests_per_minute,
    }
}
