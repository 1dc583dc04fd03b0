//! What is kept beside requests of who did what: anchors of the audit trail, calls without a key, tenants' own streams.

use std::sync::Arc;

use bh_app::audit::{Anchors, AuditTrail};
use bh_app::keyless::KeylessCalls;
use bh_app::metrics::Metrics;
use bh_app::ports::{Clock, StoreFault};
use bh_app::recorder::Recorder;
use bh_app::snapshot::Live;
use bh_config::Loaded;
use bh_store::SqlStore;

use crate::data_dir::{self, DataDirFault};
use crate::tenant_logs::{TenantLogParts, TenantLogs};

/// Why it cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrailsFault {
    #[error(transparent)]
    DataDir(#[from] DataDirFault),
    #[error("calls without a key cannot be read")]
    Store(#[from] StoreFault),
    #[error("there can be no folder for tenants' own log streams (`multiTenant.isolation.separateLogs`)")]
    Logs(#[source] std::io::Error),
}

/// What is kept. Clones share it.
#[derive(Clone)]
pub(crate) struct Trails {
    pub(crate) anchors: Anchors,
    pub(crate) keyless: KeylessCalls,
    /// Where tenants have streams of their own.
    logs: Option<TenantLogs>,
}

impl Trails {
    /// Learns what is known, and begins.
    pub(crate) async fn open(
        loaded: &Loaded,
        sql: &SqlStore,
        (trail, recorder): (AuditTrail, &Recorder),
        (clock, live, metrics): (&Arc<dyn Clock>, &Live, &Arc<Metrics>),
    ) -> Result<Self, TrailsFault> {
        let anchors = Anchors {
            audit: Arc::new(sql.clone()),
            claims: Arc::new(sql.clone()),
            recorder: recorder.clone(),
            clock: Arc::clone(clock),
            live: Arc::clone(live),
            fading: Arc::default(),
        };
        let keyless = KeylessCalls::new(Arc::new(sql.clone()), Arc::clone(clock), Arc::clone(metrics), trail);
        keyless.learn().await?;
        let tenancy = loaded.config.multi_tenant.as_ref().filter(|tenancy| tenancy.enabled);
        if !tenancy.is_some_and(|tenancy| tenancy.isolation.separate_logs) {
            return Ok(Self { anchors, keyless, logs: None });
        }
        let parts = TenantLogParts {
            data_dir: data_dir::path(&loaded.config)?,
            live: Arc::clone(live),
            clock: Arc::clone(clock),
            metrics: Arc::clone(metrics),
            audit: Arc::new(sql.clone()),
        };
        let logs = TenantLogs::open(parts).map_err(TrailsFault::Logs)?;
        recorder.be_heard_by(Arc::new(logs.clone()));
        Ok(Self { anchors, keyless, logs: Some(logs) })
    }

    /// Writes what waits of calls without a key and of tenants' streams.
    pub(crate) async fn flush(&self) {
        self.keyless.flush().await;
        if let Some(logs) = &self.logs {
            logs.flush().await;
        }
    }

    /// Makes events of the audit trail part of the evidence; before the process ends, all of them.
    pub(crate) async fn anchor(&self, last: bool) {
        if let Err(fault) = self.anchors.round(last).await {
            let error = &fault as &dyn std::error::Error;
            tracing::warn!(error, "audit events are not part of the evidence yet");
        }
    }
}
