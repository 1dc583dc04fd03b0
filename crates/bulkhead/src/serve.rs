//! Serving: listeners, signals, reload, and a graceful end.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bh_config::Loaded;
use bh_config::schema::Server;
use bh_http::{Drained, ListenerLimits, Router, Surface, metrics_router, router};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::assemble::{AssembleFault, Gateway, assemble};
use crate::compile::Mode;
use crate::load::ConfigSource;
use crate::reload::Reload;

/// How long evidence may take to become durable after the last call has ended.
const EVIDENCE_DRAIN_MAX: Duration = Duration::from_secs(10);

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
    surface: Surface,
) -> Result<Serving, ServeFault> {
    // The default action ends the process at the first client that hangs up. Rust ignores the signal, but an attempt to
    // start anew that the system did not allow (`pages`) leaves it at its default. A handler stays for good.
    let _stays = signal(SignalKind::pipe()).map_err(ServeFault::Signals)?;
    // Boxed: what a start needs for a moment is not to be kept as long as the gateway serves.
    let gateway = Box::pin(assemble(&loaded, mode)).await?;
    let server = &loaded.config.server;
    let listener = bind(&server.listen.to_string()).await?;
    let metrics_listener = match &server.metrics_listen {
        Some(address) => Some(bind(&address.to_string()).await?),
        None => None,
    };
    let address = listener
        .local_addr()
        .map_err(|cause| ServeFault::Listen { address: server.listen.to_string(), cause })?;
    let limits = limits(server);
    let prepare =
        |source| Reload::prepare(source, &loaded, gateway.reloader.clone(), Arc::clone(&gateway.doors));
    let reload = source.map(prepare).transpose().map_err(ServeFault::Signals)?;
    // Secrets in clear are not needed any more.
    drop(loaded);
    let (stop, stopping) = watch::channel(false);
    let doors = Arc::clone(&gateway.doors);
    let router = router(doors, mode != Mode::Configured, metrics_listener.is_none(), surface);
    announce("listening on", &address);
    let run = Run { gateway, router, listener, metrics_listener, limits, reload, stopping };
    let finished = tokio::spawn(run.until_stopped());
    Ok(Serving { address, stop, finished })
}

/// Serves until the process is told to stop.
pub(crate) async fn serve(
    loaded: Loaded,
    source: ConfigSource,
    mode: Mode,
    surface: Surface,
) -> Result<(), ServeFault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeFault::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeFault::Signals)?;
    let mut serving = start(loaded, Some(source), mode, surface).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = serving.wait() => return ended,
    }
    tracing::info!("stopping: calls under way may finish");
    serving.end().await
}

pub(crate) async fn bind(address: &str) -> Result<TcpListener, ServeFault> {
    TcpListener::bind(address)
        .await
        .map_err(|cause| ServeFault::Listen { address: address.to_owned(), cause })
}

/// One line that tools can wait for.
pub(crate) fn announce(what: &str, address: &SocketAddr) {
    // Nobody reads stderr: then nobody waits for the line either.
    let _unread = writeln!(std::io::stderr(), "{what} http://{address}");
}

pub(crate) fn limits(server: &Server) -> ListenerLimits {
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
    reload: Option<Reload>,
    stopping: watch::Receiver<bool>,
}

impl Run {
    async fn until_stopped(self) -> Result<(), ServeFault> {
        let Self { gateway, router, listener, metrics_listener, limits, reload, stopping } = self;
        let Gateway { doors, jobs, store, reloader: _ } = gateway;
        let pulse = jobs.pulse();
        let mut tasks = jobs.start(&stopping);
        jobs.ready().await;
        if let Some(reload) = reload {
            tasks.spawn(reload.run(stopping.clone()));
        }
        if let Some(listener) = metrics_listener {
            let router = metrics_router(Arc::clone(&doors));
            // It is looked at to the very end: it goes with the other tasks.
            let (to_the_end, never) = watch::channel(false);
            tasks.spawn(async move {
                bh_http::serve(listener, router, limits, never, || ()).await;
                drop(to_the_end);
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
        jobs.close_trail().await;
        let written = doors.recorder.drain(EVIDENCE_DRAIN_MAX).await;
        jobs.checkpoint_all().await;
        jobs.keys.flush_uses().await;
        jobs.count_verifications().await;
        jobs.trails.flush().await;
        jobs.webhooks.close().await;
        // Only now: what is given back below must not come to life again.
        pulse.end().await;
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
