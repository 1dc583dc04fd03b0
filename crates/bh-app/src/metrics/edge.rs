//! Metrics of the edge proxy, under the names that Talos gives them (dossier §4.7).

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const SECONDS_BUCKETS: [f64; 14] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
const NS_PER_SECOND: f64 = 1e9;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CachedLabel {
    cached: &'static str,
}

/// What an edge proxy counts.
#[derive(Debug)]
pub struct EdgeMetrics {
    registry: Registry,
    /// Verifications answered from memory.
    pub hits: Counter,
    /// Verifications that memory was asked for, and did not know.
    pub misses: Counter,
    upstream: Family<StatusLabel, Counter>,
    upstream_seconds: Histogram,
    cached_seconds: Histogram,
    asked_seconds: Histogram,
}

impl Default for EdgeMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(SECONDS_BUCKETS);
        let mut metrics = Self {
            registry: Registry::with_prefix("talos_proxy"),
            hits: Counter::default(),
            misses: Counter::default(),
            upstream: Family::default(),
            upstream_seconds: seconds(),
            cached_seconds: seconds(),
            asked_seconds: seconds(),
        };
        metrics.register();
        metrics
    }
}

impl EdgeMetrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("cache_hits", "Verifications answered from memory", self.hits.clone());
        r.register("cache_misses", "Verifications that memory did not know", self.misses.clone());
        r.register(
            "upstream_requests",
            "Requests passed on, by the status of the answer",
            self.upstream.clone(),
        );
        r.register(
            "upstream_latency_seconds",
            "Until the head of the upstream's answer",
            self.upstream_seconds.clone(),
        );
        let durations: Family<CachedLabel, Histogram, _> =
            Family::new_with_constructor(|| Histogram::new(SECONDS_BUCKETS));
        for (cached, place) in [("true", &mut self.cached_seconds), ("false", &mut self.asked_seconds)] {
            *place = durations.get_or_create(&CachedLabel { cached }).clone();
        }
        r.register("request_duration_seconds", "Verifications, by where the answer came from", durations);
    }

    /// Counts a request that was passed on: the answer's status, or what stands for one.
    pub fn passed_on(&self, status: &str, ns: u64) {
        self.upstream.get_or_create(&StatusLabel { status: status.to_owned() }).inc();
        self.upstream_seconds.observe(seconds(ns));
    }

    /// Counts a verification.
    pub fn verified(&self, cached: bool, ns: u64) {
        let durations = if cached { &self.cached_seconds } else { &self.asked_seconds };
        durations.observe(seconds(ns));
    }

    /// All of them in the OpenMetrics text format.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "could not render metrics");
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "a Prometheus sample is a float")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / NS_PER_SECOND
}
