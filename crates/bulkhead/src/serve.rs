//! Serving: listeners, signals, reload, and a graceful end.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bh_config::Loaded;
use bh_http::{Drained, ListenerLimits, Router, metrics_router, router};
use notify::Watcher;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::assemble::{AssembleFault, Gateway, Reloader, assemble};
use crate::compile::Mode;
use crate::jobs::stopped;
use crate::load::ConfigSource;

/// How long evidence may take to become durable after the last call has ended.
const EVIDENCE_DRAIN_MAX: Duration = Duration::from_secs(10);
/// Several writes to the configuration file within this time are one change.
const CHANGE_SETTLES: Duration = Duration::from_millis(100);

/// Why serving ended badly.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeFault {
    #[error(transparent)]
    Assemble(#[from] AssembleFault),
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: String, cause: std::io::Error },
    #[error("signals cannot be received: {0}")]
    Signals(std::io::Error),
    #[error("the serving task ended abnormally")]
    Abnormal(#[source] tokio::task::JoinError),
    #[error("evidence was still waiting to be written when the gateway had to stop")]
    EvidenceLeft,
}

/// A gateway that is being served.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    finished: tokio::task::JoinHandle<Result<(), ServeFault>>,
}

impl Serving {
    /// Ends it gracefully.
    pub(crate) async fn end(mut self) -> Result<(), ServeFault> {
        self.stop.send_replace(true);
        self.wait().await
    }

    async fn wait(&mut self) -> Result<(), ServeFault> {
        match (&mut self.finished).await {
            Ok(outcome) => outcome,
            Err(abnormal) => Err(ServeFault::Abnormal(abnormal)),
        }
    }
}

/// Assembles a gateway and starts serving it.
pub(crate) async fn start(
    loaded: Loaded,
    source: Option<ConfigSource>,
    mode: Mode,
) -> Result<Serving, ServeFault> {
    let gateway = assemble(&loaded, mode).await?;
    let server = &loaded.config.server;
    let listener = bind(&server.listen.to_string()).await?;
    let metrics_listener = match &server.metrics_listen {
        Some(address) => Some(bind(&address.to_string()).await?),
        None => None,
    };
    let address = listener
        .local_addr()
        .map_err(|cause| ServeFault::Listen { address: server.listen.to_string(), cause })?;
    let limits = limits(&loaded);
    // Secrets in clear are not needed any more.
    drop(loaded);
    let (stop, stopping) = watch::channel(false);
    let router = router(Arc::clone(&gateway.doors), mode != Mode::Configured, metrics_listener.is_none());
    announce(&address);
    let run = Run { gateway, router, listener, metrics_listener, limits, source, stopping };
    let finished = tokio::spawn(run.until_stopped());
    Ok(Serving { address, stop, finished })
}

/// Serves until the process is told to stop.
pub(crate) async fn serve(loaded: Loaded, source: ConfigSource, mode: Mode) -> Result<(), ServeFault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeFault::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeFault::Signals)?;
    let mut serving = start(loaded, Some(source), mode).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = serving.wait() => return ended,
    }
    tracing::info!("stopping: calls under way may finish");
    serving.end().await
}

async fn bind(address: &str) -> Result<TcpListener, ServeFault> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| ServeFault::Listen { address: address.to_owned(), cause })
}

/// One line that tools can wait for.
fn announce(address: &SocketAddr) {
    // Nobody reads stderr: then nobody waits for the line either.
    let _unread = writeln!(std::io::stderr(), "listening on http://{address}");
}

fn limits(loaded: &Loaded) -> ListenerLimits {
    let server = &loaded.config.server;
    ListenerLimits {
        connections_max: server.max_connections as usize,
        header_bytes_max: server.header_bytes_max as usize,
        headers_max: server.headers_max as usize,
        header_timeout: Duration::from_millis(server.header_timeout_ms),
        idle_timeout: Duration::from_millis(server.idle_timeout_ms),
        write_timeout: Duration::from_millis(server.write_timeout_ms),
        drain_timeout: Duration::from_millis(server.drain_timeout_ms),
    }
}

struct Run {
    gateway: Gateway,
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    limits: ListenerLimits,
    router: Router,
    source: Option<ConfigSource>,
    stopping: watch::Receiver<bool>,
}

impl Run {
    async fn until_stopped(self) -> Result<(), ServeFault> {
        let Self { gateway, router, listener, metrics_listener, limits, source, stopping } = self;
        let Gateway { doors, jobs, store, reloader } = gateway;
        let mut tasks = jobs.start(&stopping);
        if let Some(source) = source {
            let reload = Reload { source, reloader, doors: Arc::clone(&doors), stopping: stopping.clone() };
            tasks.spawn(reload.run());
        }
        if let Some(listener) = metrics_listener {
            let router = metrics_router(Arc::clone(&doors));
            let stopping = stopping.clone();
            tasks.spawn(async move {
                bh_http::serve(listener, router, limits, stopping, || ()).await;
            });
        }
        // Calls that are cut off have been dropped when this returns, and so have queued their records.
        let drained = bh_http::serve(listener, router, limits, stopping, || doors.llm.cut_off()).await;
        let settled = match drained {
            Drained::Whole => true,
            Drained::Cut => {
                tracing::warn!("some calls did not finish in time and were cut off");
                true
            }
            Drained::Stuck => {
                tracing::error!("some calls could not be cut off and are not on the record");
                false
            }
        };
        let written = doors.recorder.drain(EVIDENCE_DRAIN_MAX).await;
        jobs.checkpoint().await;
        if !(settled && written) {
            // What calls still hold may be spent: it counts as unsettled rather than being given back.
            tracing::warn!("leases are kept until their windows end");
        } else if let Err(fault) = jobs.store.retire(jobs.holder).await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "leases were not given back");
        }
        tasks.shutdown().await;
        store.close().await;
        if written { Ok(()) } else { Err(ServeFault::EvidenceLeft) }
    }
}

/// Reloads on SIGHUP and when the configuration file changes.
struct Reload {
    source: ConfigSource,
    reloader: Reloader,
    doors: Arc<bh_http::Doors>,
    stopping: watch::Receiver<bool>,
}

impl Reload {
    async fn run(mut self) {
        let (changed, mut changes) = mpsc::channel::<()>(1);
        let watcher = self.source.file.clone().and_then(|path| watch_file(path, changed));
        let mut hangup = match signal(SignalKind::hangup()) {
            Ok(hangup) => hangup,
            Err(error) => {
                tracing::warn!(%error, "SIGHUP cannot be received; restart to reload");
                return;
            }
        };
        loop {
            tokio::select! {
                () = stopped(&mut self.stopping) => break,
                _ = hangup.recv() => {}
                Some(()) = changes.recv() => {
                    tokio::time::sleep(CHANGE_SETTLES).await;
                    // What came in meanwhile belongs to the same change.
                    while changes.try_recv().is_ok() {}
                }
            }
            self.once().await;
        }
        drop(watcher);
    }

    /// A bad configuration keeps the last good one in force, and says so in the log, a metric and `/readyz?verbose`.
    async fn once(&self) {
        let outcome = match self.source.load() {
            Ok(loaded) => self.reloader.apply(&loaded.without_origins()).await.map_err(|fault| chain(&fault)),
            Err(fault) => Err(fault.to_string()),
        };
        let metrics = &self.doors.metrics;
        match outcome {
            Ok(generation) => {
                tracing::info!(generation, "configuration reloaded");
                metrics.config_loads.inc();
                metrics.config_current.set(1);
                self.doors.config_fault.store(None);
            }
            Err(fault) => {
                tracing::error!(fault, "the new configuration is rejected; the last good one stays in force");
                metrics.config_rejections.inc();
                metrics.config_current.set(0);
                self.doors.config_fault.store(Some(Arc::new(fault)));
            }
        }
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Watches the file's directory rather than the file: editors and configuration management replace it whole.
fn watch_file(path: PathBuf, changed: mpsc::Sender<()>) -> Option<notify::RecommendedWatcher> {
    let name = path.file_name()?.to_owned();
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = parent.map_or_else(|| PathBuf::from("."), PathBuf::from);
    let on_event = move |event: notify::Result<notify::Event>| {
        let relevant = event.is_ok_and(|event| {
            let written = event.kind.is_create() || event.kind.is_modify() || event.kind.is_remove();
            // A symbolic link whose target is swapped shows as a change of another name beside it.
            written
                && event
                    .paths
                    .iter()
                    .any(|p| p.file_name() == Some(&name) || p.to_string_lossy().contains(".."))
        });
        if relevant {
            // Full means that a reload is due already.
            let _due = changed.try_send(());
        }
    };
    let watching = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(&directory, notify::RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watching
        .inspect_err(|error| tracing::warn!(%error, "the configuration file cannot be watched; use SIGHUP"))
        .ok()
}
