//! How endpoints are doing, as far as this process has seen.

use std::collections::HashMap;

use bh_domain::time::Timestamp;
use parking_lot::Mutex;

/// What this process knows of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// When it last took something.
    pub(super) delivered_at: Option<Timestamp>,
    /// When it last failed.
    pub(super) failed_at: Option<Timestamp>,
    /// Why.
    pub(super) error: Option<String>,
    /// Failures since it last took something.
    pub(super) failures: u64,
    /// The generation of the configuration in which it said that it is gone.
    gone_in: Option<u64>,
}

/// Of all endpoints. As many as are configured, and those that were.
#[derive(Debug, Default)]
pub(super) struct Healths(Mutex<HashMap<String, Health>>);

impl Healths {
    pub(super) fn delivered(&self, endpoint: &str, at: Timestamp) {
        let mut healths = self.0.lock();
        let health = healths.entry(endpoint.to_owned()).or_default();
        *health = Health { delivered_at: Some(at), failures: 0, error: None, ..health.clone() };
    }

    pub(super) fn failed(&self, endpoint: &str, at: Timestamp, error: &str, gone_in: Option<u64>) {
        let mut healths = self.0.lock();
        let health = healths.entry(endpoint.to_owned()).or_default();
        *health = Health {
            failed_at: Some(at),
            error: Some(error.to_owned()),
            failures: health.failures + 1,
            gone_in: gone_in.or(health.gone_in),
            delivered_at: health.delivered_at,
        };
    }

    /// Whether an endpoint has said that it is gone, and no configuration has been loaded since.
    pub(super) fn is_gone(&self, endpoint: &str, generation: u64) -> bool {
        self.0.lock().get(endpoint).is_some_and(|health| health.gone_in == Some(generation))
    }

    pub(super) fn of(&self, endpoint: &str) -> Health {
        self.0.lock().get(endpoint).cloned().unwrap_or_default()
    }
}
