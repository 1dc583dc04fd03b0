//! `bulkhead demo`: a whole gateway on one machine with nothing else on it (issue section 1).
//!
//! A demo provider, an embedded store, two customers with keys of their own, one call of each and one that the
//! budget refuses; then what they left behind: signed records, costs, and a closed door between the two.

mod client;
mod guide;
mod provider;
mod setting;
mod show;
mod tour;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bh_http::Surface;
use clap::Args;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::filter::LevelFilter;

use crate::cli::Failure;
use crate::compile::Mode;
use crate::serve;
use client::Client;
use provider::DemoProvider;
use setting::Keys;
use tour::Tour;

/// The port unless another is asked for.
const PORT_DEFAULT: u16 = 8080;

/// Options of `bulkhead demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Port on loopback [default: 8080, or a free one when that is taken].
    #[arg(long)]
    port: Option<u16>,
    /// Make the calls, show what they left, and end.
    #[arg(long)]
    once: bool,
    /// Keep the data in this directory; without it, a private temporary one is removed at the end.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What the demo is running on.
struct Stage {
    gateway: SocketAddr,
    keys: Keys,
    home: Home,
}

/// Where the demo keeps its data.
enum Home {
    /// The user's choice, left alone at the end.
    Kept(PathBuf),
    /// Removed with this value.
    Temporary(tempfile::TempDir),
}

impl Home {
    fn open(chosen: Option<PathBuf>) -> Result<Self, Failure> {
        match chosen {
            // Absolute, so that what is printed holds wherever it is pasted.
            Some(path) => Ok(Self::Kept(std::path::absolute(path)?)),
            // Only its owner can read it: that is the default of the library on Unix.
            None => Ok(Self::Temporary(tempfile::Builder::new().prefix("bulkhead-demo-").tempdir()?)),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Temporary(folder) => folder.path(),
        }
    }
}

/// Runs the demo: until Ctrl-C, or with `--once` until everything is shown.
///
/// # Errors
/// When a port that was asked for is taken, the data directory cannot be used, or a call has another outcome than
/// the demo promises.
pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    start_log();
    let mut ends = [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?];
    let provider = DemoProvider::start().await?;
    let (home, keys) = (Home::open(args.data_dir)?, Keys::random()?);
    let port = port(args.port).await?;
    let loaded = setting::load(&setting::yaml(&provider, &keys, port, home.path())?)?;
    let serving = serve::start(loaded, None, Mode::Configured, Surface::All).await?;
    let stage = Stage { gateway: serving.address, keys, home };
    let outcome = tokio::select! {
        outcome = perform(&stage, args.once, args.json) => outcome,
        () = ended(&mut ends) => Ok(()),
    };
    let stopped = serving.end().await;
    outcome?;
    Ok(stopped?)
}

/// Makes the calls and shows them; without `once`, stays until it is dropped.
async fn perform(stage: &Stage, once: bool, as_json: bool) -> Result<(), Failure> {
    let client = Client::new(stage.gateway);
    let tour = tour::run(&client, &stage.keys).await?;
    if as_json {
        print(&format!("{:#}\n", document(stage, &tour)))?;
    } else {
        print(&show::report(stage, &tour))?;
    }
    if once {
        return Ok(());
    }
    if !as_json {
        print(&guide::guide(stage, &tour.public_key))?;
    }
    std::future::pending().await
}

/// Everything as one JSON document, the demo's keys included.
fn document(stage: &Stage, tour: &Tour) -> Value {
    let Keys { acme, globex, admin } = &stage.keys;
    json!({
        "gateway": format!("http://{}", stage.gateway),
        "data_dir": stage.home.path(),
        "keys": {"acme": acme, "globex": globex, "admin": admin},
        "calls": tour.calls,
        "costs": tour.costs,
        "isolation": tour.isolation,
        "public_key": tour.public_key,
    })
}

async fn ended([interrupt, terminate]: &mut [Signal; 2]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// The port asked for; else the usual one if it is free; else whichever is (0).
async fn port(asked: Option<u16>) -> Result<u16, Failure> {
    if let Some(port) = asked {
        return Ok(port);
    }
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, PORT_DEFAULT)).await;
    Ok(usual.map_or(0, |_free| PORT_DEFAULT))
}

/// Warnings go to standard error: the demo itself is what is to be read.
fn start_log() {
    let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::WARN).with_writer(io::stderr);
    // Only a second start in one process fails, and then the first log goes on.
    drop(builder.try_init());
}

/// Standard output. A reader that went away (`| head`) is not a failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
