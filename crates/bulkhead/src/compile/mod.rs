//! From the typed configuration to the snapshot that requests read.

mod billing;
mod callers;
mod keys;
mod providers;
mod rows;
mod tenants;
mod version;
mod webhooks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bh_app::budgets::ZoneClock;
use bh_app::identity::{KeyHasher, Network};
use bh_app::metrics::Metrics;
use bh_app::ports::{StoreFault, TenantStore};
use bh_app::snapshot::{
    Accounts, Candidate, Caps, ClientIpSource, Durability, EvidencePolicy, Limited, McpSettings, OnFailure,
    Provider, Snapshot, TenantSecrets,
};
use bh_app::tenants::{Directory, MadeTenants};
use bh_config::schema::{self, Budget, Config};
use bh_config::{Loaded, Money};
use bh_domain::budget::TimeZone;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Nid, TenantId};
use bh_domain::time::Timestamp;

use crate::quickstart;
use callers::Build;
use keys::KeySource;
use rows::Rows;
use tenants::Tenants;

/// How the gateway is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As configured.
    Configured,
    /// `serve --proxy-quickstart`.
    Quickstart {
        /// `--unsafe-listen`: the listener need not be this machine's alone.
        unsafe_listen: bool,
    },
}

/// What survives reloads: counts and accounts.
pub(crate) struct Runtime {
    pub(crate) hasher: KeyHasher,
    tenant_secrets: TenantSecrets,
    pub(crate) accounts: Accounts,
    metrics: Arc<Metrics>,
    zones: parking_lot::Mutex<HashMap<String, Arc<ZoneClock>>>,
    /// Tenants that were made at run time.
    pub(crate) directory: Arc<Directory>,
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
    #[error(
        "the tenant `{tenant}` has the network id {own}, so it cannot have {other} too: a tenant keeps its id, and has one"
    )]
    TwoIds { tenant: TenantId, own: Nid, other: Nid },
    #[error("the network id {nid} belongs to the tenant `{own}`, so it cannot be that of `{other}` too")]
    TwoTenants { nid: Nid, own: TenantId, other: TenantId },
    #[error("the tenant `{tenant}` has no good overlay to go on with: {problems}")]
    Overlay { tenant: TenantId, problems: Arc<str> },
    #[error("provider `{0}` needs a base_url")]
    NoBaseUrl(String),
    #[error(
        "provider `{0}` has upstream_auth_mode client_bearer, which only `serve --proxy-quickstart` may use: it would send tenant keys to the provider"
    )]
    ClientBearer(String),
    #[error("{0}")]
    Invalid(String),
}

impl Runtime {
    pub(crate) fn new(
        hasher: KeyHasher,
        tenant_secrets: TenantSecrets,
        accounts: Accounts,
        metrics: Arc<Metrics>,
    ) -> Self {
        let directory = Arc::default();
        Self { hasher, tenant_secrets, accounts, metrics, zones: parking_lot::Mutex::default(), directory }
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
        self.accounts.limited(nid, name, per_minute)
    }
}

/// Puts a configuration into the form requests read. `before` is what is in force until then: a tenant whose overlay
/// is bad goes on with its settings of there.
pub(crate) async fn compile(
    loaded: &Loaded,
    runtime: &Runtime,
    store: &dyn TenantStore,
    before: Option<&Snapshot>,
    now: Timestamp,
    mode: Mode,
) -> Result<Snapshot, CompileFault> {
    let config = &loaded.config;
    let rows = Rows::of(config, store, mode).await?;
    let organization = organization_clock(config, runtime, now)?;
    let keys = KeySource::new(loaded, &runtime.tenant_secrets, before);
    let mut presets = tenants::presets(config, runtime, keys.base(), now)?;
    let Tenants { tenants, degraded, overlaid } =
        tenants::compile(config, runtime, &rows, keys, &presets, now)?;
    presets.overlaid = overlaid;
    let policy = callers::policy(config, organization.as_ref(), loaded.default_caps_written);
    let build = Build { config, runtime, tenants: &tenants, policy: &policy };
    let gateway = config.gateway.as_ref().filter(|gateway| gateway.enabled);
    let trusted = config.server.trusted_proxy_cidrs.iter();
    let trusted = trusted.chain(gateway.iter().flat_map(|gateway| &gateway.trusted_proxy_cidrs));
    Ok(Snapshot {
        generation: before.map_or(0, |before| before.generation) + 1,
        hasher: runtime.hasher.clone(),
        version: version::of(loaded),
        organization_clock: organization.clone(),
        keyring: build.keyring()?,
        open_key_admin: open_key_admin(config),
        providers: providers(gateway)?,
        models: models(config),
        prices: loaded.prices.table.clone(),
        currency: config.pricing.currency.clone(),
        billing: billing::compile(config),
        global_rate: runtime.limited(Nid::SYSTEM, "", global_requests_per_minute(gateway, mode)),
        evidence: evidence(config),
        quickstart: build.quickstart(mode)?,
        caller_policy: policy,
        tenant_header: tenant_header(config),
        api_key_header: api_key_header(config),
        client_ip_source: client_ip_source(config),
        trusted_proxies: trusted.filter_map(|cidr| Network::parse(&cidr.to_string())).collect(),
        default_output_tokens: u64::from(config.budgets.default_output_tokens),
        remote_input_tokens: u64::from(config.budgets.remote_input_tokens),
        body_bytes_max: config.server.body_bytes_max,
        body_idle_timeout: Duration::from_millis(config.server.body_idle_timeout_ms),
        webhooks: webhooks::compile(&config.webhooks)?,
        mcp: McpSettings {
            timeout: Duration::from_millis(config.mcp.timeout_ms),
            private_network: config.mcp.allow_private_network,
        },
        hosts: tenants::hosts(config, &rows, &tenants),
        trust_forwarded_host: config.serve.as_ref().is_some_and(|serve| serve.http.trust_forwarded_host),
        degraded,
        made: MadeTenants::new(Arc::clone(&runtime.directory), presets),
        tenants_by_nid: tenants.values().map(|tenant| (tenant.nid, Arc::clone(tenant))).collect(),
        tenants,
    })
}

/// Seed 003's first call carries no credential: it works where nobody else can call, or where somebody wants it so.
/// What tells a client's address. Talos's default is the peer's; trusted proxies are only ours to configure, and where
/// there are some they are believed.
fn client_ip_source(config: &Config) -> ClientIpSource {
    use bh_config::schema::ClientIpSource as Configured;
    match config.serve.as_ref().and_then(|serve| serve.http.client_ip_source) {
        None | Some(Configured::Unspecified | Configured::XForwardedFor) => ClientIpSource::ForwardedFor,
        Some(Configured::RemoteAddr) => ClientIpSource::Peer,
        Some(Configured::CfConnectingIp) => ClientIpSource::CfConnectingIp,
        Some(Configured::XRealIp) => ClientIpSource::RealIp,
        Some(Configured::TrueClientIp) => ClientIpSource::TrueClientIp,
    }
}

fn open_key_admin(config: &Config) -> bool {
    let keyless = config.admin_keys.iter().all(|admin| admin.key.is_none());
    let chosen = config.server.admin_auth == schema::AdminAuth::None;
    chosen || (keyless && config.server.listen.0.ip().is_loopback())
}

/// The header that may confirm a tenant. Its name was checked when it was read.
fn tenant_header(config: &Config) -> http::HeaderName {
    let named = config.multi_tenant.as_ref().map(|tenancy| &tenancy.tenant_id_header.0);
    let named = named.and_then(|name| http::HeaderName::from_bytes(name.as_bytes()).ok());
    named.unwrap_or(http::HeaderName::from_static("x-tenant-id"))
}

/// The header that seed 001's clients send their key in, when it is none of those that are read anyway.
fn api_key_header(config: &Config) -> Option<http::HeaderName> {
    let named = config.multi_tenant.as_ref().map(|tenancy| &tenancy.api_key_header.0)?;
    let name = http::HeaderName::from_bytes(named.as_bytes()).ok()?;
    (name != http::header::AUTHORIZATION).then_some(name)
}

fn global_requests_per_minute(gateway: Option<&schema::Gateway>, mode: Mode) -> Option<u32> {
    let configured = gateway.and_then(|gateway| gateway.rate_limits.global_requests_per_min);
    match mode {
        Mode::Configured => configured,
        Mode::Quickstart { .. } => configured.or(Some(quickstart::GLOBAL_REQUESTS_PER_MINUTE)),
    }
}

pub(crate) fn slug(text: &str) -> Result<TenantId, CompileFault> {
    TenantId::parse(text).map_err(|error| CompileFault::Invalid(error.to_string()))
}

fn organization_clock(
    config: &Config,
    runtime: &Runtime,
    now: Timestamp,
) -> Result<Option<Arc<ZoneClock>>, CompileFault> {
    let budget = &config.budgets.organization;
    let capped = budget.daily.is_some() || budget.monthly.is_some();
    capped.then(|| runtime.zone(&config.budgets.timezone.0, now)).transpose()
}

fn caps(budget: &Budget) -> Caps {
    let Budget { daily, monthly, session } = budget;
    Caps {
        daily: amount(daily.as_ref()),
        monthly: amount(monthly.as_ref()),
        session: amount(session.as_ref()),
    }
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
    let logs = |own: bool, policy: Option<bool>, organization: Option<bool>| {
        own || policy == Some(true) || organization == Some(true)
    };
    EvidencePolicy {
        durability: durability(evidence.durability),
        routes: evidence
            .routes
            .iter()
            .map(|route| (route.prefix.clone(), durability(route.durability)))
            .collect(),
        on_failure: match evidence.on_failure {
            schema::OnFailure::Refuse => OnFailure::Refuse,
            schema::OnFailure::Degrade => OnFailure::Degrade,
        },
        store_prompts: logs(
            evidence.store_prompts,
            policy.map(|p| p.log_prompts),
            organization.and_then(|o| o.log_prompts),
        ),
        store_answers: logs(
            evidence.store_answers,
            policy.map(|p| p.log_responses),
            organization.and_then(|o| o.log_responses),
        ),
    }
}

fn models(config: &Config) -> HashMap<String, Vec<Candidate>> {
    let candidate = |c: schema::Candidate| Candidate { provider: c.provider, model: c.model };
    let models = config.models.iter();
    models
        .map(|(name, target)| (name.clone(), target.candidates().into_iter().map(candidate).collect()))
        .collect()
}

fn providers(gateway: Option<&schema::Gateway>) -> Result<HashMap<String, Arc<Provider>>, CompileFault> {
    let configured =
        gateway.into_iter().flat_map(|gateway| gateway.providers.iter().map(move |p| (gateway, p)));
    let enabled = configured.filter(|(_, (_, provider))| provider.enabled);
    enabled
        .map(|(gateway, (id, configured))| {
            Ok((id.clone(), Arc::new(providers::provider(gateway, id, configured)?)))
        })
        .collect()
}
