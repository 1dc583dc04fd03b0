//! Connections of the store, as Go programs name theirs (Talos dossier §10: `talos_db_*`).

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::ports::Connections;

#[derive(Debug, Default)]
pub(super) struct DbMetrics {
    open: Gauge,
    in_use: Gauge,
    idle: Gauge,
    max: Gauge,
}

impl DbMetrics {
    pub(super) fn new(r: &mut Registry) -> Self {
        let metrics = Self::default();
        r.register("db_open_connections", "Connections to the store", metrics.open.clone());
        r.register("db_in_use_connections", "Connections that do something", metrics.in_use.clone());
        r.register("db_idle_connections", "Connections that wait for something to do", metrics.idle.clone());
        r.register("db_max_open_connections", "The most connections there may be", metrics.max.clone());
        metrics
    }

    pub(super) fn set(&self, connections: Connections) {
        let Connections { open, idle, max } = connections;
        self.open.set(open.into());
        self.idle.set(idle.into());
        self.in_use.set(open.saturating_sub(idle).into());
        self.max.set(max.into());
    }
}
