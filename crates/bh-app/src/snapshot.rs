//! The live configuration: one immutable snapshot, loaded once per request and kept to its end.

mod billing;
mod callers;
mod client;
mod keys;
mod providers;
mod tenants;
mod webhooks;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bh_domain::hostname::HostTable;
use bh_domain::limit::RateLimit;
use bh_domain::money::NanoUsd;
use bh_domain::price::PriceTable;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::profile::{Feature, Features, Limits};
use bh_domain::tenant::{Nid, TenantId};
use http::HeaderName;

pub use billing::Billing;
pub use callers::{Accounts, CallerPolicy, ListConstraints, NewCaller, OrganizationBudget, Owners, UsedKey};
pub use client::ClientIpSource;
pub use keys::{
    CacheKind, CacheSettings, DerivedSettings, HmacSecret, KeyPrefixes, KeySettings, Retired, TenantSecrets,
};
pub use webhooks::{WebhookEndpoint, WebhookSettings};

pub use providers::{Candidate, Provider, Retry, Timeouts, UnmeteredPaths, UpstreamAuth};

use crate::budgets::{BudgetCell, ZoneClock};
use crate::identity::{KeyHasher, Keyring, Network};
use crate::metrics::TenantMeter;
use crate::rates::RateCell;
use crate::tenants::MadeTenants;

/// Where every story reads the configuration in force.
pub type Live = Arc<ArcSwap<Snapshot>>;

/// Everything a request needs to know about the configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// Counts successful loads, from 1.
    pub generation: u64,
    /// Hashes presented keys.
    pub hasher: KeyHasher,
    /// Digest of the configuration; evidence names it as `policy_version`.
    pub version: String,
    /// Days and months of the organisation's budget, when it has one.
    pub organization_clock: Option<Arc<ZoneClock>>,
    /// Callers and operators by credential.
    pub keyring: Keyring,
    /// What callers without a policy of their own get: those with an issued key are made from it.
    pub caller_policy: CallerPolicy,
    /// Tenants that the configuration names, by slug. [`Snapshot::tenant`] knows the others too.
    pub tenants: HashMap<TenantId, Arc<Tenant>>,
    /// The same, by network id.
    pub tenants_by_nid: HashMap<Nid, Arc<Tenant>>,
    /// Tenants that were made at run time.
    pub made: MadeTenants,
    /// Tenants by host name; `None` = host names decide nothing.
    pub hosts: Option<HostTable<Arc<Tenant>>>,
    /// Whether `X-Forwarded-Host` wins over the request's own host.
    pub trust_forwarded_host: bool,
    /// Tenants that go on with the last good settings of the key API, each with what is wrong with its overlay.
    pub degraded: BTreeMap<TenantId, Arc<str>>,
    /// Whether keys are administered without a credential: on a loopback listener of an installation without admin keys
    /// (seed 003).
    pub open_key_admin: bool,
    /// Providers by id.
    pub providers: HashMap<String, Arc<Provider>>,
    /// Candidates by the model name clients ask for (aliases included); the native routes use it.
    pub models: HashMap<String, Vec<Candidate>>,
    /// Prices.
    pub prices: PriceTable,
    /// Currency of every amount.
    pub currency: String,
    /// What tenants are charged for what they use.
    pub billing: Billing,
    /// Requests of everybody together.
    pub global_rate: Option<Limited>,
    /// How evidence is kept.
    pub evidence: EvidencePolicy,
    /// `Some` only under `serve --proxy-quickstart`.
    pub quickstart: Option<Quickstart>,
    /// The header that may confirm the tenant (seed 001).
    pub tenant_header: HeaderName,
    /// A header that carries tenant keys as they are, besides those that always may (seed 001).
    pub api_key_header: Option<HeaderName>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Which header tells a client's address.
    pub client_ip_source: ClientIpSource,
    /// Output tokens assumed for a call that names no maximum.
    pub default_output_tokens: u64,
    /// Input tokens held for what a provider reads beyond the request: tools it runs, context it keeps.
    pub remote_input_tokens: u64,
    /// The largest body read.
    pub body_bytes_max: u64,
    /// A body that pauses longer than this is given up.
    pub body_idle_timeout: Duration,
    /// Who is told what happens.
    pub webhooks: Arc<WebhookSettings>,
    /// How tenants' MCP servers are reached.
    pub mcp: McpSettings,
}

/// How tenants' MCP servers are reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct McpSettings {
    /// How long one may take to answer.
    pub timeout: Duration,
    /// Whether one may live on a loopback or private address.
    pub private_network: bool,
}

/// Bring-your-own-key mode (seed 002): one synthetic caller, one provider that gets the client's own bearer. The
/// provider is reachable through the host root only, never through `/v1/proxy`, so no tenant key can get to it.
#[derive(Clone, Debug)]
pub struct Quickstart {
    /// Whom its calls are recorded for.
    pub caller: Arc<Caller>,
    /// Where they go.
    pub provider: Arc<Provider>,
    /// The listener may be one that others reach (`--unsafe-listen`); evidence says so.
    pub unsafe_listen: bool,
}

/// A rate limit with the cell that counts against it.
#[derive(Clone, Debug)]
pub struct Limited {
    /// The limit.
    pub limit: RateLimit,
    /// The count; survives reloads.
    pub cell: Arc<RateCell>,
}

/// A budget with its cap in force.
#[derive(Clone, Debug)]
pub struct Capped {
    /// The cap.
    pub cap: NanoUsd,
    /// The account; survives reloads.
    pub cell: Arc<BudgetCell>,
}

/// A customer.
#[derive(Debug)]
pub struct Tenant {
    /// Slug.
    pub id: TenantId,
    /// Network id.
    pub nid: Nid,
    /// Days and months in its time zone.
    pub clock: Arc<ZoneClock>,
    /// What its calls use, for metrics.
    pub meter: TenantMeter,
    /// Requests of all its callers together: per minute, hour and day, as far as they are limited.
    pub rates: Vec<Limited>,
    /// How its evidence is kept, when it differs from the default.
    pub durability: Option<Durability>,
    /// False while suspended.
    pub active: bool,
    /// Caps on the tenant as a whole, for reads: (daily, monthly).
    pub caps: Caps,
    /// Its settings of the API-key server.
    pub keys: Arc<KeySettings>,
    /// What it may not go beyond: its own numbers, its plan's, the configuration's.
    pub limits: Limits,
    /// Functions it may use.
    pub features: Features,
    /// From where it may call; none = from anywhere.
    pub allowed_ips: Vec<Network>,
    /// Where it comes from.
    pub origin: Origin,
    /// Its plan.
    pub plan: Option<String>,
}

/// Where a tenant comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The configuration names it, so it is changed there.
    File,
    /// A key names it, or it is always there (`default`): it may become a row.
    Implied,
    /// It was made at run time; its row has been changed so often.
    Made(u64),
}

impl Tenant {
    /// Live API keys it may have.
    #[must_use]
    pub fn api_keys_max(&self) -> Option<u64> {
        self.limits.max_api_keys.or(self.keys.api_keys_max)
    }

    /// Refuses what is switched off for it.
    ///
    /// # Errors
    /// `feature_disabled`.
    pub fn allows(&self, feature: Feature) -> Result<(), Refusal> {
        if feature.of(&self.features) != Some(false) {
            return Ok(());
        }
        let name = feature.as_str();
        let message = format!("`{name}` is switched off for this tenant");
        Err(Refusal::new(Code::FeatureDisabled, message).with("feature", name))
    }

    /// Refuses an address that it may not be called from.
    ///
    /// # Errors
    /// `ip_not_allowed`.
    pub fn admits_address(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.allowed_ips.is_empty() || self.allowed_ips.iter().any(|network| network.contains(address)) {
            return Ok(());
        }
        Err(Refusal::new(Code::IpNotAllowed, "This tenant may not be called from your address"))
    }
}

/// Money caps; `None` = no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    /// Per day.
    pub daily: Option<NanoUsd>,
    /// Per month.
    pub monthly: Option<NanoUsd>,
    /// Per session.
    pub session: Option<NanoUsd>,
}

/// One app or agent of a tenant.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name; `agent_id` in evidence.
    pub name: String,
    /// Its tenant.
    pub tenant: Arc<Tenant>,
    /// Team, for reports.
    pub team: Option<String>,
    /// Its own requests.
    pub rate: Option<Limited>,
    /// Its own caps.
    pub caps: Caps,
    /// Every day and month budget a call of its must fit: its own, the tenant's, the organisation's.
    pub budgets: Vec<Capped>,
    /// Whether somebody chose one of its caps: its own, its tenant's, the organisation's, or a default that the
    /// configuration writes. The built-in default caps are nobody's choice.
    pub capped_by_choice: bool,
    /// Models it may use; empty = all.
    pub allowed_models: Vec<String>,
    /// Models it may not use.
    pub blocked_models: Vec<String>,
    /// Providers it may use; empty = all.
    pub allowed_providers: Vec<String>,
    /// Whether session and orchestration headers of the client are believed.
    pub accept_client_metadata: bool,
    /// Where its key came from; evidence says so.
    pub source: CallerSource,
    /// The key it showed, where that was issued, imported or derived rather than configured.
    pub key: Option<UsedKey>,
}

/// How a caller came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerSource {
    /// `gateway.callers[]` or `BULKHEAD_API_KEYS`.
    Config,
    /// Recognised by its address.
    SourceIp,
    /// Nobody in particular: `require_caller_id: false`.
    Anonymous,
    /// Who was there before keys were: `multiTenant.requireApiKey: false`.
    Keyless,
    /// The quickstart's own (seed 002).
    Quickstart,
    /// With a key that the key server issued.
    Issued,
    /// With a key that was imported.
    Imported,
    /// With a token derived from a key.
    Token,
}

/// When evidence is durable, relative to the end of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Fsynced before the end of the answer leaves.
    Strict,
    /// Group-committed within 5 ms after it.
    Relaxed,
}

/// What happens to calls while evidence cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused before the provider is reached.
    Refuse,
    /// They go on; their records wait in memory, bounded, and say so.
    Degrade,
}

/// How evidence is kept.
#[derive(Clone, Debug)]
pub struct EvidencePolicy {
    /// Default guarantee.
    pub durability: Durability,
    /// Guarantees by path prefix; the longest match wins over tenant and default.
    pub routes: Vec<(String, Durability)>,
    /// What happens when it cannot be written.
    pub on_failure: OnFailure,
    /// Keep prompts, sealed.
    pub store_prompts: bool,
    /// Keep answers, sealed.
    pub store_answers: bool,
}

impl EvidencePolicy {
    /// Whether anything is kept of what is asked and answered.
    #[must_use]
    pub fn keeps_content(&self) -> bool {
        self.store_prompts || self.store_answers
    }

    /// The guarantee for one call.
    #[must_use]
    pub fn durability_for(&self, path: &str, tenant: &Tenant) -> Durability {
        let routed = self.routes.iter().filter(|(prefix, _)| path.starts_with(prefix.as_str()));
        let longest = routed.max_by_key(|(prefix, _)| prefix.len()).map(|(_, durability)| *durability);
        longest.or(tenant.durability).unwrap_or(self.durability)
    }
}

impl Snapshot {
    /// The client's address: the peer's, or behind trusted proxies the nearest hop that is not one of them.
    #[must_use]
    pub fn client_ip(&self, peer: IpAddr, forwarded_for: Option<&str>) -> IpAddr {
        let trusted = |ip: IpAddr| self.trusted_proxies.iter().any(|network| network.contains(ip));
        if !trusted(peer) {
            return peer;
        }
        let hops = forwarded_for.into_iter().flat_map(|list| list.rsplit(','));
        let mut client = peer;
        for hop in hops {
            let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
            client = ip;
            if !trusted(ip) {
                break;
            }
        }
        client
    }
}
