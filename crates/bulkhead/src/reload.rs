//! Reload: on SIGHUP, and when the configuration file or a tenant's overlay changes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bh_app::ports::AuditEvent;
use bh_app::snapshot::Snapshot;
use bh_config::Loaded;
use bh_domain::audit::CONFIG_REJECTED;
use bh_domain::hash::sha256;
use bh_domain::keys::key::JsonObject;
use bh_domain::tenant::{Nid, TenantId};
use notify::{RecursiveMode, Watcher};
use parking_lot::Mutex;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::assemble::Reloader;
use crate::jobs::stopped;
use crate::load::ConfigSource;
use crate::serve::chain;

/// Several writes to the files within this time are one change.
const CHANGE_SETTLES: Duration = Duration::from_millis(100);
/// Folders that are watched; files in further ones are read when a signal says so.
const FOLDERS_MAX: usize = 64;
/// Degraded tenants that a reload names in the log, one line each.
const TOLD_MAX: usize = 20;

/// Reloads on SIGHUP and when a file of the configuration changes.
pub(crate) struct Reload {
    source: ConfigSource,
    reloader: Reloader,
    doors: Arc<bh_http::Doors>,
    watched: Watched,
    changes: mpsc::Receiver<()>,
    hangup: Signal,
}

impl Reload {
    /// From here on no change and no signal is missed; [`Reload::run`] acts on them.
    ///
    /// # Errors
    /// When SIGHUP cannot be received.
    pub(crate) fn prepare(
        source: ConfigSource,
        loaded: &Loaded,
        reloader: Reloader,
        doors: Arc<bh_http::Doors>,
    ) -> io::Result<Self> {
        let hangup = signal(SignalKind::hangup())?;
        let (changed, changes) = mpsc::channel::<()>(1);
        let mut watched = Watched::new(changed);
        watched.follow(&source, loaded);
        Ok(Self { source, reloader, doors, watched, changes, hangup })
    }

    pub(crate) async fn run(mut self, mut stopping: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => break,
                _ = self.hangup.recv() => {}
                () = self.reloader.outdated() => {}
                Some(()) = self.changes.recv() => {
                    tokio::time::sleep(CHANGE_SETTLES).await;
                    // What came in meanwhile belongs to the same change.
                    while self.changes.try_recv().is_ok() {}
                }
            }
            self.once().await;
        }
    }

    /// A configuration that was put in force, or was not, is on the installation's audit trail.
    fn tell(&self, action: &str, versions: [Option<&str>; 2], detail: &serde_json::Value) {
        let [before_digest, after_digest] =
            versions.map(|version| version.map(|version| sha256(version.as_bytes())));
        self.doors.trail.note(
            Nid::SYSTEM,
            AuditEvent {
                id: Uuid::now_v7(),
                at: self.doors.clock.now(),
                action: action.to_owned(),
                object: "configuration".to_owned(),
                actor: "bulkhead".to_owned(),
                role: "system".to_owned(),
                before_digest,
                after_digest,
                detail: JsonObject::parse(detail.to_string()).unwrap_or_default(),
                origin: JsonObject::default(),
                told: None,
            },
        );
    }

    /// A bad configuration keeps the last good one in force, and says so in the log, a metric and `/readyz?verbose`.
    async fn once(&mut self) {
        let before = self.doors.live.load_full();
        let outcome = match self.load().await {
            Ok(loaded) => {
                // Before it is put in force: an overlay that is mended must be noticed, whatever becomes of the rest.
                self.watched.follow(&self.source, &loaded);
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                self.reloader.apply(&loaded).await.map_err(|fault| chain(&fault))
            }
            Err(fault) => Err(fault),
        };
        let metrics = &self.doors.metrics;
        match outcome {
            Ok(snapshot) => {
                let Snapshot { generation, degraded, version, .. } = &*snapshot;
                tracing::info!(generation, "configuration reloaded");
                if *version != before.version {
                    let versions = [Some(before.version.as_str()), Some(version.as_str())];
                    self.tell("config.reloaded", versions, &json!({ "generation": generation }));
                }
                tell_degraded(degraded);
                metrics.tenants_degraded.set(i64::try_from(degraded.len()).unwrap_or(i64::MAX));
                metrics.config_loads.inc();
                metrics.config_current.set(1);
                self.doors.config_fault.store(None);
            }
            Err(fault) => {
                tracing::error!(fault, "the new configuration is rejected; the last good one stays in force");
                metrics.config_rejections.inc();
                self.tell(CONFIG_REJECTED, [Some(before.version.as_str()), None], &json!({}));
                metrics.config_current.set(0);
                self.doors.config_fault.store(Some(Arc::new(fault)));
            }
        }
    }

    /// Reads the files beside the requests: with very many tenants it takes a while.
    async fn load(&self) -> Result<Loaded, String> {
        let source = self.source.clone();
        let reading = tokio::task::spawn_blocking(move || source.reload().map(Loaded::without_origins));
        match reading.await {
            Ok(outcome) => outcome.map_err(|fault| fault.to_string()),
            Err(abnormal) => Err(format!("reading the configuration ended abnormally: {abnormal}")),
        }
    }
}

fn tell_degraded(degraded: &BTreeMap<TenantId, Arc<str>>) {
    for (tenant, fault) in degraded.iter().take(TOLD_MAX) {
        tracing::error!(%tenant, %fault, "the tenant's overlay is rejected; it goes on with its last good settings");
    }
    if degraded.len() > TOLD_MAX {
        tracing::error!(tenants = degraded.len(), "so many tenants' overlays are rejected");
    }
}

/// Notices changes of files. It watches their folders rather than the files: editors and configuration management
/// replace them whole.
struct Watched {
    watcher: Option<notify::RecommendedWatcher>,
    changed: mpsc::Sender<()>,
    files: Arc<Mutex<HashSet<PathBuf>>>,
    folders: HashSet<PathBuf>,
}

impl Watched {
    fn new(changed: mpsc::Sender<()>) -> Self {
        let files: Arc<Mutex<HashSet<PathBuf>>> = Arc::default();
        let (followed, noticed) = (Arc::clone(&files), changed.clone());
        let on_event = move |event: notify::Result<notify::Event>| {
            let relevant = event.is_ok_and(|event| {
                let written = event.kind.is_create() || event.kind.is_modify() || event.kind.is_remove();
                written && event.paths.iter().any(|path| swapped(path) || followed.lock().contains(path))
            });
            if relevant {
                // Full means that a reload is due already.
                let _due = noticed.try_send(());
            }
        };
        let watcher = notify::recommended_watcher(on_event)
            .inspect_err(|error| tracing::warn!(%error, "files cannot be watched; use SIGHUP"))
            .ok();
        Self { watcher, changed, files, folders: HashSet::new() }
    }

    /// From now on the configuration file and the overlays of this load count, and no others.
    fn follow(&mut self, source: &ConfigSource, loaded: &Loaded) {
        let Some(watcher) = &mut self.watcher else { return };
        let overlays = loaded.overlays.files().iter().map(|overlay| &overlay.path);
        let named = source.file.iter().chain(overlays);
        let files: HashMap<PathBuf, &Path> =
            named.filter_map(|file| Some((absolute(file)?, file.as_path()))).collect();
        let mut new: HashSet<&Path> = files.keys().filter_map(|file| file.parent()).collect();
        for left in self.folders.extract_if(|folder| !new.contains(folder.as_path())) {
            // A folder that is gone is not watched any more either way.
            let _gone = watcher.unwatch(&left);
        }
        new.retain(|folder| !self.folders.contains(*folder));
        *self.files.lock() = files.keys().cloned().collect();
        for folder in &new {
            if self.folders.len() >= FOLDERS_MAX {
                tracing::warn!("overlays are in more than {FOLDERS_MAX} folders; use SIGHUP for the others");
                break;
            }
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.folders.insert((*folder).to_owned())),
                Err(error) => {
                    tracing::warn!(%error, folder = %folder.display(), "a folder cannot be watched; use SIGHUP");
                }
            }
        }
        // What has changed between being read and being watched is noticed here.
        let mut unwatched =
            files.iter().filter(|(at, _)| at.parent().is_some_and(|folder| new.contains(folder)));
        if unwatched.any(|(_, file)| source.has_changed(file)) {
            let _due = self.changed.try_send(());
        }
    }
}

/// A symbolic link whose target is swapped (Kubernetes) shows as a change of another name beside it.
fn swapped(path: &Path) -> bool {
    path.file_name().map(OsStr::to_string_lossy).is_some_and(|name| name.contains(".."))
}

/// A file's path as the watcher of its folder will name it.
fn absolute(file: &Path) -> Option<PathBuf> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(parent.canonicalize().ok()?.join(file.file_name()?))
}
