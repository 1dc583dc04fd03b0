//! Metrics of the API-key server, under the names that Talos gives them (dossier §10).

use bh_domain::keys::verdict::RevocationReason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What Talos measures, 1 ms to 10 s, and below it what happens here.
const SECONDS_BUCKETS: [f64; 18] = [
    0.000_005, 0.000_02, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5, 5.0, 10.0,
];
/// The `reason` of a key that a rotation has replaced.
const ROTATION: &str = "rotation";

/// What a credential looks like, as the label `type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialType {
    /// A key issued here.
    Issued,
    /// A key that came from elsewhere.
    Imported,
    /// A signed token.
    DerivedJwt,
    /// A chained token.
    DerivedMacaroon,
    /// Nothing that could be looked at.
    Unknown,
}

impl CredentialType {
    const ALL: [Self; 5] =
        [Self::Issued, Self::Imported, Self::DerivedJwt, Self::DerivedMacaroon, Self::Unknown];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Imported => "imported",
            Self::DerivedJwt => "derived_jwt",
            Self::DerivedMacaroon => "derived_macaroon",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerificationLabels {
    r#type: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    r#type: &'static str,
    cache_hit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    error_code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// What a cache outside the process could not do. Memory always can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOperation {
    /// Say what it knows.
    Read,
    /// Keep or forget something.
    Write,
}

impl CacheOperation {
    fn label(self) -> OperationLabels {
        match self {
            Self::Read => OperationLabels { operation: "read" },
            Self::Write => OperationLabels { operation: "write" },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

/// The counters of one type of credential, found without a look-up by label.
#[derive(Debug)]
struct Verifications {
    good: Counter,
    bad: Counter,
    hit: Histogram,
    miss: Histogram,
}

/// One verification, to be counted.
#[derive(Clone, Copy, Debug)]
pub struct Verified {
    /// What it looked like.
    pub of: CredentialType,
    /// Whether it was good.
    pub good: bool,
    /// Whether memory answered; `None` when it was not asked.
    pub cache_hit: Option<bool>,
    /// How long it took.
    pub ns: u64,
}

/// Metrics of the API-key server.
#[derive(Debug)]
pub struct KeyMetrics {
    /// Keys issued and imported.
    pub created: Counter,
    /// Keys rotated.
    pub rotated: Counter,
    /// Tokens derived.
    pub minted: Counter,
    /// Reads of keys from the store, each for any number of keys.
    pub reads: Counter,
    /// Statements that take, or try to take, a key's credits.
    pub credit_writes: Counter,
    /// Reads of identities alone, without a key.
    pub identity_reads: Counter,
    revoked: Family<ReasonLabels, Counter>,
    verifications: [Verifications; 5],
    cache_hits: Counter,
    cache_misses: Counter,
    batches: Counter,
    batch_keys: Histogram,
    batch_partial_failures: Counter,
    batch_succeeded: Counter,
    batch_failed: Family<ErrorLabels, Counter>,
    loads: Family<ResultLabels, Counter>,
    load_seconds: Histogram,
    /// Signing keys of tenants, in memory.
    pub signing_keys: Gauge,
    cache_errors: Family<OperationLabels, Counter>,
}

impl KeyMetrics {
    /// Registers everything, under the prefix `talos`.
    pub(super) fn new(talos: &mut Registry, bulkhead: &mut Registry) -> Self {
        let metrics = Self {
            created: Counter::default(),
            rotated: Counter::default(),
            minted: Counter::default(),
            reads: Counter::default(),
            credit_writes: Counter::default(),
            identity_reads: Counter::default(),
            revoked: Family::default(),
            verifications: verifications(talos),
            cache_hits: Counter::default(),
            cache_misses: Counter::default(),
            batches: Counter::default(),
            batch_keys: Histogram::new(exponential_buckets(1.0, 4.0, 6)),
            batch_partial_failures: Counter::default(),
            batch_succeeded: Counter::default(),
            batch_failed: Family::default(),
            loads: Family::default(),
            load_seconds: Histogram::new(SECONDS_BUCKETS),
            signing_keys: Gauge::default(),
            cache_errors: Family::default(),
        };
        for operation in [CacheOperation::Read, CacheOperation::Write] {
            // Shown from the start: none happened is an answer too.
            metrics.cache_errors.get_or_create(&operation.label()).inc_by(0);
        }
        metrics.register(talos);
        let help = "Reads of API keys from the store, each for any number of keys";
        bulkhead.register("key_reads", help, metrics.reads.clone());
        let help = "Statements that take, or try to take, credits of API keys";
        bulkhead.register("key_credit_writes", help, metrics.credit_writes.clone());
        let help = "Reads of identities from the store, for keys that memory knows";
        bulkhead.register("identity_reads", help, metrics.identity_reads.clone());
        metrics
    }

    fn register(&self, r: &mut Registry) {
        r.register("keys_created", "API keys issued and imported", self.created.clone());
        r.register("keys_rotated", "API keys rotated", self.rotated.clone());
        r.register("keys_revoked", "API keys revoked, by reason", self.revoked.clone());
        r.register("tokens_minted", "Tokens derived", self.minted.clone());
        r.register("cache_hits", "Verifications that memory answered", self.cache_hits.clone());
        r.register("cache_misses", "Verifications that memory could not answer", self.cache_misses.clone());
        r.register("batch_import_requests", "Batches of imported keys", self.batches.clone());
        r.register("batch_import_key_count", "Keys per batch", self.batch_keys.clone());
        r.register(
            "batch_import_partial_failures",
            "Batches of which a part was not imported",
            self.batch_partial_failures.clone(),
        );
        r.register("batch_import_keys_succeeded", "Keys imported in batches", self.batch_succeeded.clone());
        r.register(
            "batch_import_keys_failed",
            "Keys of batches that were not imported, by error",
            self.batch_failed.clone(),
        );
        r.register(
            "keyservice_load_duration_seconds",
            "Time of a load of a tenant's signing keys",
            self.load_seconds.clone(),
        );
        r.register("keyservice_keys_loaded", "Signing keys of tenants in memory", self.signing_keys.clone());
        r.register("cache_errors", "Failures of the cache, by operation", self.cache_errors.clone());
        r.register("keyservice_load", "Loads of a tenant's signing keys, by result", self.loads.clone());
    }

    /// Counts a revocation.
    pub fn revoked(&self, reason: RevocationReason) {
        self.revoked.get_or_create(&ReasonLabels { reason: reason.as_str() }).inc();
    }

    /// Counts a key that a rotation has replaced.
    pub fn replaced(&self) {
        self.revoked.get_or_create(&ReasonLabels { reason: ROTATION }).inc();
    }

    /// Counts a batch of imported keys, of which these failed.
    pub fn batch(&self, keys: usize, failed: impl IntoIterator<Item = &'static str>) {
        let failed: Vec<&'static str> = failed.into_iter().collect();
        let succeeded = keys.saturating_sub(failed.len());
        self.batches.inc();
        self.batch_keys.observe(u32::try_from(keys).unwrap_or(u32::MAX).into());
        self.batch_succeeded.inc_by(succeeded as u64);
        self.created.inc_by(succeeded as u64);
        if succeeded > 0 && !failed.is_empty() {
            self.batch_partial_failures.inc();
        }
        for error_code in failed {
            self.batch_failed.get_or_create(&ErrorLabels { error_code }).inc();
        }
    }

    /// Counts a cache that could not be asked or told something.
    pub fn cache_failed(&self, operation: CacheOperation) {
        self.cache_errors.get_or_create(&operation.label()).inc();
    }

    /// Counts a load of a tenant's signing keys, which took so long.
    pub fn loaded(&self, good: bool, ns: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a Prometheus sample is a float")]
        self.load_seconds.observe(ns as f64 / 1e9);
        self.loads.get_or_create(&ResultLabels { result: result(good) }).inc();
    }

    /// Counts a verification.
    pub fn verified(&self, verified: Verified) {
        let Verified { of, good, cache_hit, ns } = verified;
        if let Some(hit) = cache_hit {
            let counter = if hit { &self.cache_hits } else { &self.cache_misses };
            counter.inc();
        }
        let Some(counters) = self.verifications.get(of as usize) else { return };
        let counter = if good { &counters.good } else { &counters.bad };
        counter.inc();
        let duration = if cache_hit == Some(true) { &counters.hit } else { &counters.miss };
        #[expect(clippy::cast_precision_loss, reason = "a Prometheus sample is a float")]
        duration.observe(ns as f64 / 1e9);
    }
}

fn result(good: bool) -> &'static str {
    if good { "success" } else { "failure" }
}

fn verifications(r: &mut Registry) -> [Verifications; 5] {
    let counters: Family<VerificationLabels, Counter> = Family::default();
    let seconds = || Histogram::new(SECONDS_BUCKETS);
    let durations: Family<DurationLabels, Histogram, fn() -> Histogram> =
        Family::new_with_constructor(seconds);
    r.register("verifications", "Verifications of credentials, by type and result", counters.clone());
    r.register(
        "verification_duration_seconds",
        "Time of a verification, by type and whether memory answered",
        durations.clone(),
    );
    CredentialType::ALL.map(|of| {
        let counter = |good| {
            let labels = VerificationLabels { r#type: of.as_str(), result: result(good) };
            counters.get_or_create(&labels).clone()
        };
        let duration =
            |cache_hit| durations.get_or_create(&DurationLabels { r#type: of.as_str(), cache_hit }).clone();
        Verifications {
            good: counter(true),
            bad: counter(false),
            hit: duration("hit"),
            miss: duration("miss"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;
    use crate::ports::Connections;

    #[test]
    fn every_metric_has_the_name_and_the_labels_that_talos_gives_it() {
        let metrics = Metrics::new();
        let keys = &metrics.keys;
        keys.created.inc();
        keys.rotated.inc();
        keys.minted.inc();
        keys.revoked(RevocationReason::Superseded);
        keys.replaced();
        keys.batch(3, ["CODE"]);
        keys.loaded(true, 4_000_000);
        keys.signing_keys.set(2);
        keys.cache_failed(CacheOperation::Read);
        for (cache_hit, good) in [(Some(true), true), (Some(false), false), (None, true)] {
            keys.verified(Verified { of: CredentialType::DerivedJwt, good, cache_hit, ns: 4_000_000 });
        }
        let text = metrics.render(Connections::default());
        for line in [
            "talos_keys_created_total 3",
            "talos_keys_rotated_total 1",
            "talos_tokens_minted_total 1",
            "talos_keys_revoked_total{reason=\"REVOCATION_REASON_SUPERSEDED\"} 1",
            "talos_keys_revoked_total{reason=\"rotation\"} 1",
            "talos_verifications_total{type=\"derived_jwt\",result=\"success\"} 2",
            "talos_verifications_total{type=\"derived_jwt\",result=\"failure\"} 1",
            "talos_verifications_total{type=\"unknown\",result=\"failure\"} 0",
            "talos_verification_duration_seconds_count{type=\"derived_jwt\",cache_hit=\"hit\"} 1",
            "talos_verification_duration_seconds_bucket{le=\"0.005\",type=\"derived_jwt\",cache_hit=\"miss\"} 2",
            "talos_cache_hits_total 1",
            "talos_cache_misses_total 1",
            "talos_batch_import_requests_total 1",
            "talos_batch_import_key_count_sum 3.0",
            "talos_batch_import_partial_failures_total 1",
            "talos_batch_import_keys_succeeded_total 2",
            "talos_batch_import_keys_failed_total{error_code=\"CODE\"} 1",
            "talos_keyservice_load_total{result=\"success\"} 1",
            "talos_keyservice_load_duration_seconds_count 1",
            "talos_keyservice_keys_loaded 2",
            "talos_cache_errors_total{operation=\"read\"} 1",
            "talos_cache_errors_total{operation=\"write\"} 0",
            "talos_db_open_connections 0",
            "bulkhead_key_reads_total 0",
            "bulkhead_key_credit_writes_total 0",
            "bulkhead_identity_reads_total 0",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} in {text}");
        }
        assert_eq!(text.matches("# EOF").count(), 1, "one text");
    }
}
