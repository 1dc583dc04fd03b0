//! The command line. Standard output is data, standard error is talk.

mod audit;
mod client;
mod config;
mod costs;
mod invoice;
mod jwk;
mod keys;
mod migrate;
mod print;
mod secrets;
mod tenants;
mod usage;
mod webhooks;

use std::path::PathBuf;
use std::process::ExitCode;

use bh_http::Surface;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::compile::Mode;
use crate::load::ConfigSource;
use crate::{demo, edge, pages, quickstart, serve};

/// One self-hosted gateway through which a company offers LLMs, MCP tools and API keys to many customers.
#[derive(Debug, Parser)]
#[command(name = "bulkhead", version, propagate_version = true)]
struct Cli {
    /// Configuration file; without it, bulkhead.yaml in the working directory if there is one.
    #[arg(long, global = true, env = "BULKHEAD_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway.
    Serve(ServeArgs),
    /// Start a gateway with a built-in demo provider and two demo tenants, and show what it does.
    Demo(demo::DemoArgs),
    /// Check the configuration without starting anything.
    Validate(config::ValidateArgs),
    /// Show and explain the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Read, verify and export evidence.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Show what was spent.
    Costs(costs::CostsArgs),
    /// Show what tenants used, or compare it with what a provider says.
    Usage(usage::UsageArgs),
    /// Write what a tenant owes for a month.
    Invoice(invoice::InvoiceArgs),
    /// Issue, verify, change, revoke and take over API keys.
    Keys(keys::KeysArgs),
    /// Make, change, suspend, delete and list tenants.
    Tenants(tenants::TenantsArgs),
    /// Store and list tenants' secrets, and rotate the keys that seal them.
    Secrets(secrets::SecretsArgs),
    /// Show what webhooks were told, and tell it again.
    Webhooks(webhooks::WebhooksArgs),
    /// Make signing keys for derived tokens.
    #[command(subcommand)]
    Jwk(jwk::JwkCommand),
    /// Bring the store's schema up to date, or say whether it is.
    Migrate(migrate::MigrateArgs),
    /// Print the description of the HTTP API, OpenAPI 3.1.
    Openapi,
    /// Print the version.
    Version,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Plane {
    Admin,
    Public,
}

impl Plane {
    fn surface(plane: Option<Self>) -> Surface {
        match plane {
            None => Surface::All,
            Some(Self::Admin) => Surface::KeyAdmin,
            Some(Self::Public) => Surface::KeyPublic,
        }
    }
}

#[derive(Debug, Subcommand)]
enum ServePlace {
    /// Answer verifications near those who ask: a proxy of a key server elsewhere that keeps its verdicts for a while.
    Edge(edge::EdgeArgs),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct ServeArgs {
    #[command(subcommand)]
    place: Option<ServePlace>,
    /// One plane of the API-key server alone: `admin` for the administration of keys, `public` for what their holders
    /// may do. Both publish the key set. Without it, everything.
    #[arg(value_enum)]
    plane: Option<Plane>,
    /// Host to listen on, in place of `server.listen`'s.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, in place of `server.listen`'s.
    #[arg(long)]
    port: Option<u16>,
    /// Accepted for compatibility: a `gateway` block in the configuration is enough.
    #[arg(long, conflicts_with = "proxy_quickstart")]
    gateway: bool,
    /// The configuration file with the `gateway` block; the same as `--config`.
    #[arg(long, value_name = "FILE", conflicts_with = "proxy_quickstart")]
    gateway_config: Option<PathBuf>,
    /// Forward OpenAI calls at the host root with the caller's own provider key. For one developer's machine.
    #[arg(long, conflicts_with = "plane")]
    proxy_quickstart: bool,
    /// Let the quickstart listen on an address that others can reach.
    #[arg(long, requires = "proxy_quickstart")]
    unsafe_listen: bool,
}

/// Runs the command line.
pub(crate) fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Version => print::line(&format!("bulkhead {}", env!("CARGO_PKG_VERSION"))),
        Command::Openapi => print::raw(&bh_http::openapi_document()),
        Command::Serve(ServeArgs { place: Some(ServePlace::Edge(args)), .. }) => {
            start_log(&edge::log());
            on_runtime(async move { Ok(Box::pin(edge::serve(args)).await?) })
        }
        Command::Serve(args) => {
            pages::give_back_soon();
            serve_command(cli.config, &args)
        }
        Command::Demo(args) => on_runtime(demo::run(args)),
        Command::Validate(args) => config::validate(&ConfigSource::new(cli.config), &args),
        Command::Config(command) => config::run(&ConfigSource::new(cli.config), command),
        Command::Audit(command) => on_runtime(audit::run(ConfigSource::new(cli.config), command)),
        Command::Costs(args) => on_runtime(costs::run(ConfigSource::new(cli.config), args)),
        Command::Tenants(args) => on_runtime(Box::pin(tenants::run(ConfigSource::new(cli.config), args))),
        Command::Usage(args) => on_runtime(usage::run(ConfigSource::new(cli.config), args)),
        Command::Invoice(args) => on_runtime(invoice::run(ConfigSource::new(cli.config), args)),
        Command::Keys(args) => on_runtime(Box::pin(keys::run(ConfigSource::new(cli.config), args))),
        Command::Webhooks(args) => on_runtime(Box::pin(webhooks::run(ConfigSource::new(cli.config), args))),
        Command::Secrets(args) => on_runtime(Box::pin(secrets::run(ConfigSource::new(cli.config), args))),
        Command::Jwk(command) => jwk::run(command),
        Command::Migrate(args) => on_runtime(migrate::run(ConfigSource::new(cli.config), args)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => print::failure(&failure),
    }
}

/// Why a command failed, in words for the person who ran it.
#[derive(Debug)]
pub(crate) struct Failure(String);

impl Failure {
    /// A failure in so many words.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    fn text(&self) -> &str {
        &self.0
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(serve::chain(&error))
    }
}

/// Runs a command that needs the async runtime.
fn on_runtime(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    // With one core, what a task wakes runs after what was woken before: that keeps alike work together, where the scheduler
    // for many cores would run it at once (decision 30).
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let mut runtime = if cores == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    runtime.enable_all().build()?.block_on(command)
}

fn serve_command(config: Option<PathBuf>, args: &ServeArgs) -> Result<(), Failure> {
    let source = ConfigSource::new(args.gateway_config.clone().or(config));
    let mut loaded = source.load()?.without_origins();
    let listen = &mut loaded.config.server.listen;
    if args.host.is_some() || args.port.is_some() {
        let current = listen.to_string();
        let (host, port) = current.rsplit_once(':').unwrap_or((current.as_str(), "8080"));
        let host = args.host.as_deref().unwrap_or(host);
        let port = args.port.map_or_else(|| port.to_owned(), |port| port.to_string());
        let host =
            if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
        *listen = bh_config::ListenAddress::parse(&format!("{host}:{port}")).map_err(Failure::new)?;
    }
    let unsafe_listen = args.unsafe_listen;
    let mode = if args.proxy_quickstart { Mode::Quickstart { unsafe_listen } } else { Mode::Configured };
    if mode == (Mode::Quickstart { unsafe_listen: false }) {
        let address = listen.to_string();
        quickstart::loopback(address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host))?;
    }
    let surface = Plane::surface(args.plane);
    start_log(&loaded.config.log);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    on_runtime(async move { Ok(Box::pin(serve::serve(loaded, source, mode, surface)).await?) })
}

/// Starts the log on standard error. `RUST_LOG` refines the configured level.
fn start_log(log: &bh_config::schema::Log) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log.level.as_str()));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        bh_config::schema::LogFormat::Json => builder.json().try_init(),
        bh_config::schema::LogFormat::Text | bh_config::schema::LogFormat::Console => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
    };
    // Only a second start in one process fails, and then the first log goes on.
    drop(started);
}
