//! From the typed configuration to the snapshot that requests read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bh_app::budgets::{BudgetKeeper, ZoneClock};
use bh_app::identity::{KeyHasher, Keyring, Network, Operator};
use bh_app::ports::{StoreFault, TenantRow, TenantStore};
use bh_app::rates::RateCells;
use bh_app::snapshot::{
    Caller, CallerSource, Candidate, Capped, Caps, Durability, EvidencePolicy, Limited, OnFailure, Provider, Quickstart, Retry,
    Snapshot, Tenant, Timeouts, UpstreamAuth,
};
use bh_config::schema::{self, ApiFamily, Budget, Config, IdentifyBy, ResponsesStoreMode, TenantStatus, UpstreamAuthMode};
use bh_config::{Loaded, Money};
use bh_domain::budget::{Owner, Period, TimeZone};
use bh_domain::limit::RateLimit;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{DEFAULT_TENANT, Nid, Role, TenantId};
use bh_domain::time::Timestamp;
use bh_wire::Family;
use bh_wire::edit::StoreMode;
use bh_wire::headers::ProviderAuth;
use secrecy::SecretString;
use uuid::Uuid;

use crate::quickstart;

/// The caller of keys that come without one of their own (`BULKHEAD_API_KEYS`).
const API_KEY_CALLER: &str = "api-key";
const ANONYMOUS_CALLER: &str = "anonymous";

/// How the gateway is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As configured.
    Configured,
    /// `serve --proxy-quickstart`.
    Quickstart,
}

/// What survives reloads: counts and accounts.
pub(crate) struct Runtime {
    pub(crate) hasher: KeyHasher,
    pub(crate) rates: RateCells,
    pub(crate) budgets: BudgetKeeper,
    zones: parking_lot::Mutex<HashMap<String, Arc<ZoneClock>>>,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runtime").finish_non_exhaustive()
    }
}

/// A sound configuration that cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CompileFault {
    #[error("the tenants cannot be read from the store")]
    Tenants(#[source] StoreFault),
    #[error("the time zone `{0}` is unknown on this machine")]
    Zone(String),
    #[error("provider `{0}` needs a base_url")]
    NoBaseUrl(String),
    #[error("provider `{0}` has upstream_auth_mode client_bearer, which only `serve --proxy-quickstart` may use: it would send tenant keys to the provider")]
    ClientBearer(String),
    #[error("{0}")]
    Invalid(String),
}

impl Runtime {
    pub(crate) fn new(hasher: KeyHasher, budgets: BudgetKeeper) -> Self {
        Self { hasher, rates: RateCells::default(), budgets, zones: parking_lot::Mutex::default() }
    }

    fn zone(&self, name: &str, now: Timestamp) -> Result<Arc<ZoneClock>, CompileFault> {
        let mut zones = self.zones.lock();
        if let Some(clock) = zones.get(name) {
            return Ok(Arc::clone(clock));
        }
        let zone = TimeZone::get(name).map_err(|_| CompileFault::Zone(name.to_owned()))?;
        let clock = Arc::new(ZoneClock::new(zone, now));
        zones.insert(name.to_owned(), Arc::clone(&clock));
        Ok(clock)
    }

    fn limited(&self, nid: Nid, name: &str, per_minute: Option<u32>) -> Option<Limited> {
        let limit = RateLimit::per_minute(per_minute?)?;
        Some(Limited { limit, cell: self.rates.cell(nid, name) })
    }
}

/// Puts a configuration into the form requests read.
pub(crate) async fn compile(
    loaded: &Loaded,
    runtime: &Runtime,
    store: &dyn TenantStore,
    generation: u64,
    now: Timestamp,
    mode: Mode,
) -> Result<Snapshot, CompileFault> {
    let config = &loaded.config;
    let nids = tenant_rows(config, store, mode).await?;
    let organization = organization_clock(config, runtime, now)?;
    let tenants = tenants(config, runtime, &nids, now)?;
    let build = Build { config, runtime, tenants: &tenants, organization: organization.as_ref() };
    let gateway = config.gateway.as_ref().filter(|gateway| gateway.enabled);
    let trusted = config.server.trusted_proxy_cidrs.iter();
    let trusted = trusted.chain(gateway.iter().flat_map(|gateway| &gateway.trusted_proxy_cidrs));
    Ok(Snapshot {
        generation,
        hasher: runtime.hasher.clone(),
        version: version_of(loaded),
        organization_clock: organization.clone(),
        keyring: build.keyring()?,
        providers: build.providers()?,
        models: models(config),
        prices: loaded.prices.table.clone(),
        currency: config.pricing.currency.clone(),
        global_rate: runtime.limited(Nid::SYSTEM, "", global_requests_per_minute(gateway, mode)),
        evidence: evidence(config),
        quickstart: build.quickstart(mode)?,
        tenant_header: http::HeaderName::from_static("x-tenant-id"),
        trusted_proxies: trusted.filter_map(|cidr| Network::parse(&cidr.to_string())).collect(),
        default_output_tokens: u64::from(config.budgets.default_output_tokens),
        body_bytes_max: config.server.body_bytes_max,
        body_idle_timeout: Duration::from_millis(config.server.body_idle_timeout_ms),
        tenants,
    })
}

fn global_requests_per_minute(gateway: Option<&schema::Gateway>, mode: Mode) -> Option<u32> {
    let configured = gateway.and_then(|gateway| gateway.rate_limits.global_requests_per_min);
    match mode {
        Mode::Configured => configured,
        Mode::Quickstart => configured.or(Some(quickstart::GLOBAL_REQUESTS_PER_MINUTE)),
    }
}

/// A short name for what is in force, the same on every replica with the same settings.
fn version_of(loaded: &Loaded) -> String {
    let shown = loaded.show();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, shown.as_bytes());
    bh_domain::evidence::hex::encode(digest.as_ref()).chars().take(12).collect()
}

fn tenant_ids(config: &Config, mode: Mode) -> BTreeSet<String> {
    let quickstart = (mode == Mode::Quickstart).then_some(quickstart::TENANT);
    let callers = config.gateway.iter().flat_map(|gateway| &gateway.callers).map(schema::Caller::tenant);
    let keys = config.api_keys.iter().map(schema::ApiKey::tenant);
    let listed = config.tenants.iter().map(|tenant| tenant.id.0.as_str());
    callers.chain(keys).chain(listed).chain([DEFAULT_TENANT]).chain(quickstart).map(str::to_owned).collect()
}

pub(crate) fn slug(text: &str) -> Result<TenantId, CompileFault> {
    TenantId::parse(text).map_err(|error| CompileFault::Invalid(error.to_string()))
}

async fn tenant_rows(config: &Config, store: &dyn TenantStore, mode: Mode) -> Result<HashMap<TenantId, Nid>, CompileFault> {
    let proposed = tenant_ids(config, mode)
        .iter()
        .map(|id| Ok(TenantRow { nid: Nid(Uuid::now_v7()), id: slug(id)? }))
        .collect::<Result<Vec<_>, CompileFault>>()?;
    let rows = store.ensure_tenants(proposed).await.map_err(CompileFault::Tenants)?;
    Ok(rows.into_iter().map(|row| (row.id, row.nid)).collect())
}

fn organization_clock(config: &Config, runtime: &Runtime, now: Timestamp) -> Result<Option<Arc<ZoneClock>>, CompileFault> {
    let budget = &config.budgets.organization;
    let capped = budget.daily.is_some() || budget.monthly.is_some();
    capped.then(|| runtime.zone(&config.budgets.timezone.0, now)).transpose()
}

fn tenants(
    config: &Config,
    runtime: &Runtime,
    nids: &HashMap<TenantId, Nid>,
    now: Timestamp,
) -> Result<HashMap<TenantId, Arc<Tenant>>, CompileFault> {
    let listed: BTreeMap<&str, &schema::Tenant> = config.tenants.iter().map(|t| (t.id.0.as_str(), t)).collect();
    let limits = config.gateway.as_ref().map(|gateway| &gateway.rate_limits);
    let mut tenants = HashMap::with_capacity(nids.len());
    for (id, nid) in nids {
        let own = listed.get(id.as_str());
        let zone = own.and_then(|tenant| tenant.timezone.as_ref()).unwrap_or(&config.budgets.timezone);
        let per_minute = own.and_then(|tenant| tenant.rate_limits.requests_per_minute);
        let per_minute = per_minute.or_else(|| limits.and_then(|limits| limits.per_tenant_requests_per_min));
        let tenant = Tenant {
            id: id.clone(),
            nid: *nid,
            clock: runtime.zone(&zone.0, now)?,
            rate: runtime.limited(*nid, "", per_minute),
            durability: own.and_then(|tenant| tenant.evidence.durability).map(durability),
            active: own.is_none_or(|tenant| tenant.status == TenantStatus::Active),
            caps: own.map_or_else(Caps::default, |tenant| caps(&tenant.budgets)),
        };
        tenants.insert(id.clone(), Arc::new(tenant));
    }
    Ok(tenants)
}

fn caps(budget: &Budget) -> Caps {
    let Budget { daily, monthly, session } = budget;
    Caps { daily: amount(daily.as_ref()), monthly: amount(monthly.as_ref()), session: amount(session.as_ref()) }
}

fn amount(money: Option<&Money>) -> Option<NanoUsd> {
    money.map(|money| money.0)
}

fn durability(configured: schema::Durability) -> Durability {
    match configured {
        schema::Durability::Strict => Durability::Strict,
        schema::Durability::Relaxed => Durability::Relaxed,
    }
}

fn evidence(config: &Config) -> EvidencePolicy {
    let evidence = &config.evidence;
    let policy = config.gateway.as_ref().map(|gateway| &gateway.default_policy);
    let organization = config.gateway.as_ref().and_then(|gateway| gateway.organization_policy.as_ref());
    let logs = |own: bool, policy: Option<bool>, organization: Option<bool>| own || policy == Some(true) || organization == Some(true);
    EvidencePolicy {
        durability: durability(evidence.durability),
        routes: evidence.routes.iter().map(|route| (route.prefix.clone(), durability(route.durability))).collect(),
        on_failure: match evidence.on_failure {
            schema::OnFailure::Refuse => OnFailure::Refuse,
            schema::OnFailure::Degrade => OnFailure::Degrade,
        },
        store_prompts: logs(evidence.store_prompts, policy.map(|p| p.log_prompts), organization.and_then(|o| o.log_prompts)),
        store_answers: logs(evidence.store_answers, policy.map(|p| p.log_responses), organization.and_then(|o| o.log_responses)),
    }
}

fn models(config: &Config) -> HashMap<String, Vec<Candidate>> {
    let candidate = |c: schema::Candidate| Candidate { provider: c.provider, model: c.model };
    let models = config.models.iter();
    models.map(|(name, target)| (name.clone(), target.candidates().into_iter().map(candidate).collect())).collect()
}

struct Build<'a> {
    config: &'a Config,
    runtime: &'a Runtime,
    tenants: &'a HashMap<TenantId, Arc<Tenant>>,
    organization: Option<&'a Arc<ZoneClock>>,
}

impl Build<'_> {
    fn keyring(&self) -> Result<Keyring, CompileFault> {
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
        let Some(gateway) = self.config.gateway.as_ref().filter(|gateway| gateway.enabled) else { return Ok(keyring) };
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
            keyring.admit_anonymous(self.plain_caller(ANONYMOUS_CALLER, DEFAULT_TENANT, CallerSource::Anonymous)?);
        }
        Ok(keyring)
    }

    fn tenant(&self, id: &str) -> Result<&Arc<Tenant>, CompileFault> {
        let id = slug(id)?;
        self.tenants.get(&id).ok_or_else(|| CompileFault::Invalid(format!("the tenant `{id}` has no row in the store")))
    }

    /// A caller with nothing but the defaults.
    fn plain_caller(&self, name: &str, tenant: &str, source: CallerSource) -> Result<Arc<Caller>, CompileFault> {
        let tenant = self.tenant(tenant)?;
        let gateway = self.config.gateway.clone().unwrap_or_default();
        let caps = self.caps(&gateway, &schema::PolicyOverrides::default());
        Ok(Arc::new(Caller {
            name: name.to_owned(),
            tenant: Arc::clone(tenant),
            team: None,
            rate: self.runtime.limited(tenant.nid, name, gateway.rate_limits.per_caller_requests_per_min),
            budgets: self.budgets(name, tenant, caps),
            caps: Caps { session: caps.session.or(tenant.caps.session), ..caps },
            allowed_models: gateway.default_policy.allowed_models.clone(),
            blocked_models: gateway.default_policy.blocked_models.clone(),
            allowed_providers: Vec::new(),
            accept_client_metadata: true,
            source,
        }))
    }

    fn caller(&self, gateway: &schema::Gateway, configured: &schema::Caller) -> Result<Arc<Caller>, CompileFault> {
        let tenant = self.tenant(configured.tenant())?;
        let overrides = &configured.policy_overrides;
        let caps = self.caps(gateway, overrides);
        let per_minute = overrides.requests_per_minute.or(gateway.rate_limits.per_caller_requests_per_min);
        let constraints = gateway.organization_policy.as_ref().map(|policy| &policy.constraints);
        let or_default = |own: &[String], default: &[String]| if own.is_empty() { default.to_vec() } else { own.to_vec() };
        let allowed = or_default(&overrides.allowed_models, &gateway.default_policy.allowed_models);
        let mut blocked = or_default(&overrides.blocked_models, &gateway.default_policy.blocked_models);
        blocked.extend(constraints.into_iter().flat_map(|c| c.blocked_models.iter().cloned()));
        Ok(Arc::new(Caller {
            name: configured.name.clone(),
            tenant: Arc::clone(tenant),
            team: configured.team.clone(),
            rate: self.runtime.limited(tenant.nid, &configured.name, per_minute),
            budgets: self.budgets(&configured.name, tenant, caps),
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
        let daily = pick(overrides.max_daily_cost.as_ref(), defaults.and_then(|d| d.daily_cost.as_ref()), policy.max_daily_cost.as_ref());
        let monthly = pick(overrides.max_monthly_cost.as_ref(), defaults.and_then(|d| d.monthly_cost.as_ref()), policy.max_monthly_cost.as_ref());
        let session = pick(overrides.max_session_cost.as_ref(), defaults.and_then(|d| d.session_cost.as_ref()), policy.max_session_cost.as_ref());
        Caps {
            daily: least(amount(daily), amount(constraints.and_then(|c| c.max_daily_cost.as_ref()))),
            monthly: least(amount(monthly), amount(constraints.and_then(|c| c.max_monthly_cost.as_ref()))),
            session: least(amount(session), amount(constraints.and_then(|c| c.max_session_cost.as_ref()))),
        }
    }

    fn budgets(&self, name: &str, tenant: &Tenant, caps: Caps) -> Vec<Capped> {
        let cell = |nid, owner: &Owner, period, cap: Option<NanoUsd>, clock: &Arc<ZoneClock>| {
            Some(Capped { cap: cap?, cell: self.runtime.budgets.cell(nid, owner.clone(), period, clock) })
        };
        let caller = Owner::Caller(name.to_owned());
        let mut budgets = Vec::new();
        budgets.extend(cell(tenant.nid, &caller, Period::Day, caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, &caller, Period::Month, caps.monthly, &tenant.clock));
        budgets.extend(cell(tenant.nid, &Owner::Tenant, Period::Day, tenant.caps.daily, &tenant.clock));
        budgets.extend(cell(tenant.nid, &Owner::Tenant, Period::Month, tenant.caps.monthly, &tenant.clock));
        if let Some(clock) = self.organization {
            let organization = &self.config.budgets.organization;
            let (daily, monthly) = (amount(organization.daily.as_ref()), amount(organization.monthly.as_ref()));
            budgets.extend(cell(Nid::SYSTEM, &Owner::Organization, Period::Day, daily, clock));
            budgets.extend(cell(Nid::SYSTEM, &Owner::Organization, Period::Month, monthly, clock));
        }
        budgets
    }

    fn quickstart(&self, mode: Mode) -> Result<Option<Quickstart>, CompileFault> {
        if mode == Mode::Configured {
            return Ok(None);
        }
        let tenant = self.tenant(quickstart::TENANT)?;
        let caps = quickstart::caps();
        let rate = self.runtime.limited(tenant.nid, quickstart::CALLER, Some(quickstart::CALLER_REQUESTS_PER_MINUTE));
        let budgets = self.budgets(quickstart::CALLER, tenant, caps);
        let caller = quickstart::caller(&self.config.quickstart, tenant, rate, budgets);
        let provider = quickstart::provider(&self.config.quickstart);
        Ok(Some(Quickstart { caller: Arc::new(caller), provider: Arc::new(provider) }))
    }

    fn providers(&self) -> Result<HashMap<String, Arc<Provider>>, CompileFault> {
        let Some(gateway) = self.config.gateway.as_ref().filter(|gateway| gateway.enabled) else {
            return Ok(HashMap::new());
        };
        let enabled = gateway.providers.iter().filter(|(_, provider)| provider.enabled);
        enabled.map(|(id, configured)| Ok((id.clone(), Arc::new(provider(gateway, id, configured)?)))).collect()
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

fn provider(gateway: &schema::Gateway, id: &str, configured: &schema::Provider) -> Result<Provider, CompileFault> {
    let base_url = configured.base_url(id).ok_or_else(|| CompileFault::NoBaseUrl(id.to_owned()))?;
    let base_url = base_url.trim_end_matches('/').to_owned();
    let (family, credential_style) = match configured.family(id) {
        ApiFamily::Openai | ApiFamily::Ollama => (Family::OpenAi, ProviderAuth::Bearer),
        ApiFamily::AzureOpenai => (Family::OpenAi, ProviderAuth::ApiKey),
        ApiFamily::Anthropic => (Family::Anthropic, ProviderAuth::XApiKey),
    };
    let private = configured.allow_private_network.unwrap_or_else(|| names_private_host(&base_url));
    Ok(Provider {
        id: id.to_owned(),
        family,
        credential_style,
        base_url,
        api_key: configured.api_key.as_ref().map(|key| SecretString::from(key.expose().to_owned())),
        secret_name: configured.secret_name.clone(),
        auth: match configured.upstream_auth_mode {
            UpstreamAuthMode::ClientBearer => return Err(CompileFault::ClientBearer(id.to_owned())),
            UpstreamAuthMode::Secret | UpstreamAuthMode::None => UpstreamAuth::Secret,
        },
        region: configured.region.clone(),
        api_version: configured.api_version.clone(),
        allowed_models: configured.allowed_models.clone(),
        blocked_models: configured.blocked_models.clone(),
        fallback: configured
            .fallback
            .iter()
            .map(|next| Candidate { provider: next.provider.clone(), model: next.model.clone() })
            .collect(),
        store_mode: match configured.responses_store_mode {
            ResponsesStoreMode::Preserve => StoreMode::Preserve,
            ResponsesStoreMode::ForceIfAbsent => StoreMode::ForceIfAbsent,
            ResponsesStoreMode::ForceTrue => StoreMode::ForceTrue,
        },
        inject_stream_usage: configured.inject_stream_usage,
        retry: retry(gateway, configured),
        timeouts: timeouts(gateway, configured),
        private_network: private,
    })
}

/// A base URL that names a loopback or private address, or `localhost`, was meant to be reached.
fn names_private_host(base_url: &str) -> bool {
    let Ok(uri) = base_url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let local = host == "localhost" || host.ends_with(".localhost") || !host.contains('.');
    host.parse::<std::net::IpAddr>().is_ok() || local
}

fn retry(gateway: &schema::Gateway, configured: &schema::Provider) -> Retry {
    let organization = gateway.organization_policy.as_ref().and_then(|policy| policy.defaults.retry.as_ref());
    let rule = configured.retry.as_ref().or(organization);
    rule.map_or(Retry { attempts: 0, initial: Duration::ZERO, max: Duration::ZERO }, |rule| Retry {
        attempts: u32::from(rule.max_attempts),
        initial: rule.initial_backoff.0,
        max: rule.max_backoff.0,
    })
}

fn timeouts(gateway: &schema::Gateway, configured: &schema::Provider) -> Timeouts {
    let (base, own) = (&gateway.timeouts, &configured.timeouts);
    let request = own.request_timeout.as_ref().unwrap_or(&base.request_timeout);
    let header = own.response_header_timeout.as_ref().or(base.response_header_timeout.as_ref());
    Timeouts {
        connect: own.connect_timeout.as_ref().unwrap_or(&base.connect_timeout).0,
        header: header.unwrap_or(request).0,
        request: request.0,
        idle: own.stream_idle_timeout.as_ref().unwrap_or(&base.stream_idle_timeout).0,
    }
}
