//! Webhook deliveries.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The endpoint took it.
    Delivered,
    /// It is tried again.
    Failed,
    /// It was given up.
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// What is counted of webhooks.
#[derive(Debug, Default)]
pub struct WebhookMetrics {
    deliveries: Family<OutcomeLabel, Counter>,
    backlog_age_s: Gauge,
    dead_letters: Gauge,
}

impl WebhookMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let metrics = Self::default();
        r.register(
            "webhook_deliveries",
            "Attempts at webhook deliveries, by outcome",
            metrics.deliveries.clone(),
        );
        r.register(
            "webhook_backlog_age_seconds",
            "How long the oldest event waits that is not delivered yet",
            metrics.backlog_age_s.clone(),
        );
        r.register(
            "webhook_dead_letters",
            "Deliveries that were given up, up to ten thousand",
            metrics.dead_letters.clone(),
        );
        metrics
    }

    /// Counts an attempt.
    pub fn delivered(&self, outcome: DeliveryOutcome) {
        let outcome = match outcome {
            DeliveryOutcome::Delivered => "delivered",
            DeliveryOutcome::Failed => "failed",
            DeliveryOutcome::Dead => "dead",
        };
        self.deliveries.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// What waits, in seconds, and what was given up.
    pub fn backlog(&self, age_s: i64, dead: u64) {
        self.backlog_age_s.set(age_s);
        self.dead_letters.set(i64::try_from(dead).unwrap_or(i64::MAX));
    }
}
