//! Each tenant's own stream, `logs/<tenant>.ndjson` in the data directory (seed 001, `isolation.separateLogs`): a line for
//! each of its evidence records that this process wrote, and for each event of its audit trail. Nothing of another tenant
//! is in it. For people and for what ships logs; what counts is in the store.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bh_app::audit::{EventView, Following, SeedView};
use bh_app::metrics::Metrics;
use bh_app::ports::{AuditStore, Batch, Clock};
use bh_app::recorder::Committed;
use bh_app::snapshot::Live;
use bh_domain::tenant::{Nid, TenantId};
use parking_lot::Mutex;
use serde_json::json;

const FOLDER: &str = "logs";
/// A stream of this size becomes the old one, which is forgotten with the next: at most twice as much of each tenant.
const STREAM_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Lines that wait to be written; more are dropped, and counted.
const LINES_WAITING_MAX: usize = 65_536;

/// Writes tenants' streams. Clones share what waits.
#[derive(Clone)]
pub(crate) struct TenantLogs(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    live: Live,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Slugs of tenants that were seen: a deleted one has none any more.
    names: Mutex<HashMap<Nid, TenantId>>,
    waiting: Mutex<VecDeque<(Nid, String)>>,
    following: tokio::sync::Mutex<Following>,
}

/// What the streams are made from.
pub(crate) struct TenantLogParts {
    pub(crate) data_dir: PathBuf,
    pub(crate) live: Live,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) audit: Arc<dyn AuditStore>,
}

impl TenantLogs {
    /// Streams of what happens from now on.
    ///
    /// # Errors
    /// When there can be no folder for them.
    pub(crate) fn open(parts: TenantLogParts) -> io::Result<Self> {
        let TenantLogParts { data_dir, live, clock, metrics, audit } = parts;
        let folder = data_dir.join(FOLDER);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let following = Following::from(audit, clock.now()).into();
        let (names, waiting) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { folder, live, clock, metrics, names, waiting, following })))
    }

    /// Writes what waits, and what has become durable of the audit trail.
    pub(crate) async fn flush(&self) {
        self.take_events().await;
        let lines = std::mem::take(&mut *self.0.waiting.lock());
        if lines.is_empty() {
            return;
        }
        let mut streams: BTreeMap<String, String> = BTreeMap::new();
        for (nid, line) in lines {
            let Some(name) = self.name(nid) else { continue };
            let stream = streams.entry(name.to_string()).or_default();
            stream.push_str(&line);
            stream.push('\n');
        }
        let folder = self.0.folder.clone();
        let written = tokio::task::spawn_blocking(move || write_all(&folder, &streams)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "tenants' own log streams were not written");
        }
    }

    async fn take_events(&self) {
        let mut following = self.0.following.lock().await;
        let events = match following.next(self.0.clock.now()).await {
            Ok(events) => events,
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "the audit trail was not read");
                return;
            }
        };
        for (nid, event) in events {
            if let Some(name) = self.name(nid) {
                let view = SeedView::of(name.as_str(), EventView::of(event));
                let line = serde_json::to_value(view).map(|mut line| {
                    line["kind"] = "audit".into();
                    line.to_string()
                });
                // A view is always JSON.
                line.into_iter().for_each(|line| self.push(nid, line));
            }
        }
    }

    fn push(&self, nid: Nid, line: String) {
        let mut waiting = self.0.waiting.lock();
        if waiting.len() < LINES_WAITING_MAX {
            waiting.push_back((nid, line));
        } else {
            self.0.metrics.tenant_log_lines_dropped.inc();
        }
    }

    /// The tenant's slug, also of one that was deleted since it was seen; none for the installation.
    fn name(&self, nid: Nid) -> Option<TenantId> {
        if let Some(name) = self.0.names.lock().get(&nid) {
            return Some(name.clone());
        }
        let name = self.0.live.load().tenant_by_nid(nid)?.id.clone();
        self.0.names.lock().insert(nid, name.clone());
        Some(name)
    }
}

impl Committed for TenantLogs {
    fn committed(&self, batch: &Batch) {
        for row in batch.records.iter().filter(|row| row.nid != Nid::SYSTEM) {
            let Some(name) = self.name(row.nid) else { continue };
            let line = json!({
                "kind": "call",
                "timestamp": row.at.rfc3339(),
                "tenantId": name.as_str(),
                "requestId": row.id,
                "type": row.invocation_type,
                "caller": row.caller,
                "model": row.model,
                "allowed": row.allowed,
                "sessionId": row.session_id,
            });
            self.push(row.nid, line.to_string());
        }
    }
}

fn write_all(folder: &Path, streams: &BTreeMap<String, String>) -> io::Result<()> {
    for (name, lines) in streams {
        write(folder, name, lines, STREAM_BYTES_MAX)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, lines: &str, bytes_max: u64) -> io::Result<()> {
    let path = folder.join(format!("{name}.ndjson"));
    let size = fs::metadata(&path).map_or(0, |found| found.len());
    if size > 0 && size + lines.len() as u64 > bytes_max {
        fs::rename(&path, folder.join(format!("{name}.1.ndjson")))?;
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    file.write_all(lines.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_stream_is_its_owners_alone_and_never_longer_than_twice_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let line = format!("{}\n", "x".repeat(99));
        for _ in 0..100 {
            write(folder.path(), "acme", &line, 1_000).unwrap();
        }
        let of = |name: &str| fs::metadata(folder.path().join(name)).unwrap();
        for name in ["acme.ndjson", "acme.1.ndjson"] {
            assert_eq!((of(name).len(), of(name).permissions().mode() & 0o777), (1_000, 0o600), "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
