//! `bulkhead serve edge`: verdicts of a key server elsewhere, kept near those who ask (Talos dossier §4.7). It needs no
//! configuration and no store.

use std::sync::Arc;
use std::time::Duration;

use bh_adapters::HttpUpstream;
use bh_app::edge::{EdgeLimits, EdgeParts, EdgeStory, Target};
use bh_app::metrics::EdgeMetrics;
use bh_app::ports::SystemClock;
use bh_config::schema::{Log, Server};
use bh_config::{GoDuration, Hostname, ListenAddress};
use bh_http::{Drained, Edge, EdgeHosts, EdgeInside};
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::serve::{self, ServeFault};

/// Bounds of `--cache-max-size`, in bytes (dossier §8.2).
const BYTES: std::ops::RangeInclusive<u64> = 1_048_576..=10_737_418_240;
/// Bounds of `--cache-num-counters`.
const COUNTERS: std::ops::RangeInclusive<i64> = 100..=1_000_000;

/// Longer than this is worth a line in the log.
const TTL_WORTH_A_WORD: Duration = Duration::from_secs(600);

/// The arguments of `serve edge`.
#[derive(Debug, Args)]
pub(crate) struct EdgeArgs {
    /// The key server: http://HOST:PORT or https://HOST:PORT.
    #[arg(long, value_name = "URL", value_parser = Target::parse)]
    upstream: Target,
    /// Where verifications are answered and everything else is passed on.
    #[arg(long, value_name = "ADDRESS", default_value = ":8080", value_parser = ListenAddress::parse)]
    listen: ListenAddress,
    /// Where health and metrics are told. Keep it inside.
    #[arg(long, value_name = "ADDRESS", default_value = ":8081", value_parser = ListenAddress::parse)]
    metrics_listen: ListenAddress,
    /// The longest time a verdict is kept, which is how long a revoked key may go on; 0 keeps none.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = GoDuration::parse)]
    cache_ttl: GoDuration,
    /// Bytes of memory for verdicts.
    #[arg(long, value_name = "BYTES", default_value_t = 104_857_600, value_parser = clap::value_parser!(u64).range(BYTES))]
    cache_max_size: u64,
    /// Verdicts that room is made for beforehand.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(COUNTERS))]
    cache_num_counters: u32,
    /// Believe `X-Forwarded-Host`: only behind a proxy that sets it.
    #[arg(long)]
    trust_x_forwarded_host: bool,
    /// The hosts that are served, `*.example.com` among them; all others are refused. Without it, all are served.
    #[arg(long, value_name = "HOST,…", value_delimiter = ',', value_parser = Hostname::parse)]
    allowed_hosts: Vec<Hostname>,
}

/// Serves until the process is told to stop.
pub(crate) async fn serve(args: EdgeArgs) -> Result<(), ServeFault> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeFault::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeFault::Signals)?;
    let inner = serve::bind(&args.metrics_listen.to_string()).await?;
    let outer = serve::bind(&args.listen.to_string()).await?;
    tell("inside on", &inner)?;
    tell("listening on", &outer)?;
    let (stop, stopping) = watch::channel(false);
    let story = story(&args);
    let hosts = args.allowed_hosts.into_iter().map(|Hostname(pattern)| pattern);
    let edge = Edge::new(story.clone(), EdgeHosts::new(args.trust_x_forwarded_host, hosts));
    let limits = serve::limits(&Server::default());
    let inside = bh_http::serve(inner, EdgeInside::new(story), limits, stopping.clone(), || ());
    let outside = bh_http::serve(outer, edge, limits, stopping, || ());
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: calls under way may finish");
        stop.send_replace(true);
    };
    let (drained, _, ()) = tokio::join!(outside, inside, told);
    if drained != Drained::Whole {
        tracing::warn!("some calls did not finish in time and were cut off");
    }
    Ok(())
}

/// How it logs: there is no configuration to say otherwise, but `RUST_LOG`.
pub(crate) fn log() -> Log {
    Log::default()
}

fn story(args: &EdgeArgs) -> EdgeStory {
    let GoDuration(ttl): GoDuration = args.cache_ttl.clone();
    if ttl > TTL_WORTH_A_WORD {
        tracing::warn!(?ttl, "a revoked key may go on for this long here");
    }
    EdgeStory::new(EdgeParts {
        target: args.upstream.clone(),
        upstream: HttpUpstream::new(),
        clock: Arc::new(SystemClock::new()),
        metrics: Arc::new(EdgeMetrics::default()),
        limits: EdgeLimits {
            ttl,
            bytes_max: args.cache_max_size,
            entries: usize::try_from(args.cache_num_counters).unwrap_or(usize::MAX),
        },
    })
}

fn tell(what: &str, listener: &TcpListener) -> Result<(), ServeFault> {
    let fault = |cause| ServeFault::Listen { address: what.to_owned(), cause };
    serve::announce(what, &listener.local_addr().map_err(fault)?);
    Ok(())
}
