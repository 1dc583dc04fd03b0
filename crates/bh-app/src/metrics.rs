//! Counters and gauges of the gateway, in the Prometheus text format. Tenant labels yes (capped), key labels never.

mod db;
mod edge;
mod keys;
mod text;
mod webhooks;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::TenantId;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::ports::{Connections, UsageSums};
use db::DbMetrics;
pub use edge::EdgeMetrics;
pub use keys::{CacheOperation, CredentialType, KeyMetrics, Verified};
pub use text::plain_text;
pub use webhooks::{DeliveryOutcome, WebhookMetrics};

/// Beyond this many tenants, further ones are counted under [`OTHER_TENANTS`], so that a scrape stays small.
pub const TENANT_LABELS_MAX: usize = 1_000;
/// The label of tenants beyond [`TENANT_LABELS_MAX`].
pub const OTHER_TENANTS: &str = "_other";

/// Who a call belonged to and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    tenant: Arc<str>,
    provider: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    tenant: Arc<str>,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tenant: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TenantLabel {
    tenant: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What one tenant's calls use.
#[derive(Clone, Debug)]
pub struct TenantMeter {
    input: Counter,
    output: Counter,
    cost: Counter<f64, AtomicU64>,
}

impl TenantMeter {
    /// Counts what a call used.
    pub fn used(&self, tokens: &TokenCounts, cost: NanoUsd) {
        self.input.inc_by(tokens.input + tokens.cache_read + tokens.cache_write);
        self.output.inc_by(tokens.output);
        // A metric may round; the ledger does not.
        #[expect(clippy::cast_precision_loss, reason = "a Prometheus sample is a float")]
        self.cost.inc_by(cost.0 as f64 / 1e9);
    }
}

/// Every metric there is.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What has a name of Talos's.
    talos: Registry,
    /// API keys.
    pub keys: KeyMetrics,
    /// Webhooks.
    pub webhooks: WebhookMetrics,
    db: DbMetrics,
    known_tenants: Mutex<HashSet<Arc<str>>>,
    used: Mutex<UsageSums>,
    calls: Family<CallLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<TenantLabel, Counter<f64, AtomicU64>>,
    tools: Family<ToolLabels, Counter>,
    refusals: Family<ReasonLabel, Counter>,
    overhead_seconds: Histogram,
    /// Calls under way.
    pub in_flight: Gauge,
    /// Evidence records waiting to become durable.
    pub evidence_pending: Gauge,
    /// Evidence records made durable.
    pub evidence_records: Counter,
    /// Failed attempts to write evidence.
    pub evidence_failures: Counter,
    /// Evidence records given up while degraded.
    pub evidence_dropped: Counter,
    /// Records that could never be written, and have a plain one in their place.
    pub evidence_replaced: Counter,
    /// Audit events that found no room to wait to be written.
    pub audit_dropped: Counter,
    /// Lines of tenants' own log streams that found no room to wait to be written.
    pub tenant_log_lines_dropped: Counter,
    /// Calls that were let in without a key, in a migration window.
    pub keyless_calls: Counter,
    /// 1 while the limits that replicas share are counted together, or there are none.
    pub rate_limit_store_up: Gauge,
    /// Requests that could not be counted together with other replicas.
    pub rate_limit_store_faults: Counter,
    /// 1 while evidence can be written.
    pub evidence_healthy: Gauge,
    /// Configuration loads that succeeded.
    pub config_loads: Counter,
    /// Configuration loads that were rejected; the last good one stays in force.
    pub config_rejections: Counter,
    /// Tenants whose overlay is bad, and that go on with their last good settings.
    pub tenants_degraded: Gauge,
    /// 1 while the configuration in force is the one on disk.
    pub config_current: Gauge,
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("bulkhead");
        let mut talos = Registry::with_prefix("talos");
        let keys = KeyMetrics::new(&mut talos, &mut registry);
        let db = DbMetrics::new(&mut talos);
        let webhooks = WebhookMetrics::new(&mut registry);
        let tools = Family::default();
        registry.register("tool_calls", "Tool calls by tenant and outcome", tools.clone());
        let mut metrics = Self {
            registry,
            talos,
            keys,
            webhooks,
            db,
            known_tenants: Mutex::default(),
            used: Mutex::default(),
            calls: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            tools,
            refusals: Family::default(),
            overhead_seconds: Histogram::new(exponential_buckets(0.000_02, 2.0, 14)),
            in_flight: Gauge::default(),
            evidence_pending: Gauge::default(),
            evidence_records: Counter::default(),
            evidence_failures: Counter::default(),
            evidence_dropped: Counter::default(),
            evidence_replaced: Counter::default(),
            audit_dropped: Counter::default(),
            tenant_log_lines_dropped: Counter::default(),
            keyless_calls: Counter::default(),
            rate_limit_store_up: Gauge::default(),
            rate_limit_store_faults: Counter::default(),
            evidence_healthy: Gauge::default(),
            config_loads: Counter::default(),
            config_rejections: Counter::default(),
            tenants_degraded: Gauge::default(),
            config_current: Gauge::default(),
        };
        metrics.register();
        metrics.evidence_healthy.set(1);
        metrics.rate_limit_store_up.set(1);
        metrics.config_loads.inc();
        metrics.config_current.set(1);
        Arc::new(metrics)
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("llm_calls", "LLM calls by tenant, provider and outcome", self.calls.clone());
        r.register("llm_tokens", "Tokens by tenant and kind", self.tokens.clone());
        r.register("llm_cost", "Cost by tenant, in the configured currency", self.cost.clone());
        r.register("refusals", "Requests refused, by reason", self.refusals.clone());
        r.register(
            "overhead_seconds",
            "Gateway time per call, provider time excluded",
            self.overhead_seconds.clone(),
        );
        r.register("in_flight", "LLM calls under way", self.in_flight.clone());
        r.register(
            "evidence_pending",
            "Evidence records waiting to become durable",
            self.evidence_pending.clone(),
        );
        r.register("evidence_records", "Evidence records made durable", self.evidence_records.clone());
        r.register("evidence_failures", "Failed attempts to write evidence", self.evidence_failures.clone());
        r.register(
            "evidence_dropped",
            "Evidence records given up while degraded",
            self.evidence_dropped.clone(),
        );
        r.register(
            "evidence_replaced",
            "Evidence records that the store refused and a plain one stands in for",
            self.evidence_replaced.clone(),
        );
        r.register(
            "audit_events_dropped",
            "Audit events that found no room to wait to be written",
            self.audit_dropped.clone(),
        );
        r.register(
            "tenant_log_lines_dropped",
            "Lines of tenants' own log streams that found no room to wait to be written",
            self.tenant_log_lines_dropped.clone(),
        );
        r.register(
            "keyless_calls",
            "Calls that were let in without a key, in a migration window",
            self.keyless_calls.clone(),
        );
        r.register(
            "rate_limit_store_up",
            "1 while the limits that replicas share are counted together, or there are none",
            self.rate_limit_store_up.clone(),
        );
        r.register(
            "rate_limit_store_faults",
            "Requests that could not be counted together with other replicas",
            self.rate_limit_store_faults.clone(),
        );
        r.register("evidence_healthy", "1 while evidence can be written", self.evidence_healthy.clone());
        r.register("config_loads", "Configuration loads that succeeded", self.config_loads.clone());
        r.register(
            "config_rejections",
            "Configuration loads that were rejected",
            self.config_rejections.clone(),
        );
        r.register(
            "tenants_degraded",
            "Tenants that go on with their last good settings because their overlay is bad",
            self.tenants_degraded.clone(),
        );
        r.register(
            "config_current",
            "1 while the configuration on disk is in force",
            self.config_current.clone(),
        );
    }

    /// Counts a finished call.
    pub fn call(&self, tenant: &TenantId, provider: &str, outcome: &'static str) {
        let labels = CallLabels { tenant: self.label(tenant), provider: provider.to_owned(), outcome };
        self.calls.get_or_create(&labels).inc();
    }

    /// Counts a tool's call that has ended.
    pub fn tool(&self, tenant: &TenantId, outcome: &'static str) {
        self.tools.get_or_create(&ToolLabels { tenant: self.label(tenant), outcome }).inc();
    }

    /// The counters of one tenant, to be kept with it: looking them up by label costs more than counting.
    #[must_use]
    pub fn tenant(&self, tenant: &TenantId) -> TenantMeter {
        let tenant = self.label(tenant);
        let tokens =
            |kind| self.tokens.get_or_create(&TokenLabels { tenant: Arc::clone(&tenant), kind }).clone();
        TenantMeter {
            input: tokens("input"),
            output: tokens("output"),
            cost: self.cost.get_or_create(&TenantLabel { tenant: Arc::clone(&tenant) }).clone(),
        }
    }

    /// Notes how long the gateway itself took over a call, in microseconds.
    pub fn overhead(&self, overhead_us: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a Prometheus sample is a float")]
        self.overhead_seconds.observe(overhead_us as f64 / 1e6);
    }

    /// Adds what has just become durable in the usage ledger.
    pub fn used(&self, sums: &UsageSums) {
        self.used.lock().add(sums);
    }

    /// What this process has put into the usage ledger since it started, of every tenant.
    #[must_use]
    pub fn used_so_far(&self) -> UsageSums {
        *self.used.lock()
    }

    /// Counts a refusal.
    pub fn refusal(&self, reason: &'static str) {
        self.refusals.get_or_create(&ReasonLabel { reason }).inc();
    }

    fn label(&self, tenant: &TenantId) -> Arc<str> {
        let mut known = self.known_tenants.lock();
        if let Some(label) = known.get(tenant.as_str()) {
            return Arc::clone(label);
        }
        if known.len() >= TENANT_LABELS_MAX {
            return OTHER_TENANTS.into();
        }
        let label: Arc<str> = tenant.as_str().into();
        known.insert(Arc::clone(&label));
        label
    }

    /// Everything, as OpenMetrics text, with the store's connections as they are now.
    #[must_use]
    pub fn render(&self, connections: Connections) -> String {
        self.db.set(connections);
        let mut text = String::new();
        let registries = [&self.registry, &self.talos];
        let encoded = registries.into_iter().try_for_each(|registry| encode_registry(&mut text, registry));
        if encoded.and_then(|()| encode_eof(&mut text)).is_err() {
            tracing::error!("could not render metrics");
        }
        text
    }
}
