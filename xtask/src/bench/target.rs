//! What is measured: the rig's floor proxies, and the gateway in both durabilities.

use std::path::{Path, PathBuf};

use bh_testkit::{Database, Postgres};

use super::gateway::{self, Home};
use super::options::{Options, StoreKind};
use super::process::{Pinned, free_port, pin_self};
use super::sample::{Keys, Load, Sample};
use super::scenario::Scenario;
use crate::{parts, shell};

/// Where the mock, the load generator and PostgreSQL run.
pub(super) const LOAD_CORE: usize = 0;
/// Where the measured process runs.
pub(super) const TARGET_CORE: usize = 1;

/// Keys that a floor proxy knows, whatever the gateway has: its figures stay comparable between runs.
const FLOOR_KEYS: u64 = 10_000;
/// Connections that use every key once.
const FIRST_USE_CONNECTIONS: u32 = 64;
/// Every key has been used once within this time, or the run ends.
const FIRST_USE_SECONDS_MAX: f64 = 600.0;

/// One measured process.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    url: String,
    pub(super) process: Pinned,
    /// Resident size before the first request, in KiB.
    pub(super) rss_at_start_kib: u64,
    // Kept until the process above has ended.
    _database: Option<Database>,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Bench {
    rig: PathBuf,
    direct_url: String,
    pub(super) targets: Vec<Target>,
    keys: Keys,
    one_key: Keys,
    _mock: Pinned,
    _postgres: Option<Postgres>,
}

impl Bench {
    /// Starts the mock and every target.
    pub(super) fn start(rig: &Path, gateway: Option<&Path>, options: &Options) -> Result<Self, String> {
        let work = fresh_folder()?;
        let port = free_port()?;
        let mut mock =
            Pinned::spawn(LOAD_CORE, &work.join("mock.log"), &rig.join("mock"), &[&port.to_string()], &[])?;
        mock.await_port(port)?;
        let mock_address = format!("127.0.0.1:{port}");
        let keys = options.tenants.max(FLOOR_KEYS).to_string();
        let mut targets = vec![
            floor(rig, &work, &mock_address, "pass", &["--keys", &keys])?,
            floor(rig, &work, &mock_address, "chain", &["--keys", &keys, "--linger-us", "5000"])?,
        ];
        let postgres = match options.store {
            StoreKind::Postgres if gateway.is_some() => Some(private_postgres()?),
            StoreKind::Postgres | StoreKind::Sqlite => None,
        };
        if let Some(binary) = gateway {
            targets.extend(gateways(binary, &work, &mock_address, postgres.as_ref(), options)?);
        }
        let direct_url = format!("http://{mock_address}/v1/chat/completions");
        let keys = keys_of(&work, options.tenants)?;
        let (rig, one_key) = (rig.to_path_buf(), Keys::One(gateway::key(0)));
        Ok(Self { rig, direct_url, targets, keys, one_key, _mock: mock, _postgres: postgres })
    }

    /// Sends one request of every key through one target: the first of a caller leases its money from the store, which
    /// the others do not.
    pub(super) fn use_every_key(&self, target: &Target, tenants: u64) -> Result<Sample, String> {
        let load = Load {
            url: &target.url,
            keys: &self.keys,
            connections: FIRST_USE_CONNECTIONS,
            seconds: FIRST_USE_SECONDS_MAX,
            warm_up_s: 0.0,
            prompt_bytes: 600,
            stream: false,
            directive: "",
            requests_max: Some(tenants),
            rate: None,
        };
        let sample = load.run(&self.rig, LOAD_CORE, Some(&target.process))?;
        if sample.keys_used < tenants {
            return Err(format!("{}: only {} of {tenants} keys were used", target.name, sample.keys_used));
        }
        Ok(sample)
    }

    /// The scenario without any proxy.
    pub(super) fn measure_direct(&self, scenario: Scenario, options: &Options) -> Result<Sample, String> {
        scenario.load(&self.direct_url, self.keys(scenario), options).run(&self.rig, LOAD_CORE, None)
    }

    /// The scenario through one target.
    pub(super) fn measure(
        &self,
        index: usize,
        scenario: Scenario,
        options: &Options,
    ) -> Result<Sample, String> {
        let target = &self.targets[index];
        target.process.pin(if scenario.is_paired() { LOAD_CORE } else { TARGET_CORE })?;
        if scenario.rotates_keys() && options.tenants > 1 {
            self.use_every_key(target, options.tenants)?;
        }
        scenario.load(&target.url, self.keys(scenario), options).run(
            &self.rig,
            LOAD_CORE,
            Some(&target.process),
        )
    }

    fn keys(&self, scenario: Scenario) -> &Keys {
        if scenario.rotates_keys() { &self.keys } else { &self.one_key }
    }

    /// One load of the caller's making through one target.
    pub(super) fn run<'a>(
        &'a self,
        target: &'a Target,
        load: impl FnOnce(&'a str, &'a Keys) -> Load<'a>,
    ) -> Result<Sample, String> {
        load(&target.url, &self.keys).run(&self.rig, LOAD_CORE, Some(&target.process))
    }
}

/// An empty folder for this run. From here on the harness itself, and what it starts without a core, is on the load's.
pub(super) fn fresh_folder() -> Result<PathBuf, String> {
    if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
        return Err("bench needs two cores".to_owned());
    }
    let work = shell::target_dir().join("bench");
    std::fs::remove_dir_all(&work).ok();
    std::fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    pin_self(LOAD_CORE)?;
    work.canonicalize().map_err(|e| format!("{}: {e}", work.display()))
}

/// Its processes stay on the core that this process is on, so that the gateway's own core is its own.
pub(super) fn private_postgres() -> Result<Postgres, String> {
    parts::postgres()?;
    Ok(Postgres::private_and_durable())
}

fn keys_of(work: &Path, tenants: u64) -> Result<Keys, String> {
    if tenants == 1 {
        return Ok(Keys::One(gateway::key(0)));
    }
    let path = work.join("keys.txt");
    let lines: Vec<String> = (0..tenants).map(gateway::key).collect();
    std::fs::write(&path, lines.join("\n")).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(Keys::File(path))
}

fn floor(rig: &Path, work: &Path, mock: &str, mode: &str, more: &[&str]) -> Result<Target, String> {
    let port = free_port()?;
    let (log, journal) = (work.join(format!("{mode}.log")), work.join(format!("{mode}.jsonl")));
    let (listen, journal) = (port.to_string(), journal.to_string_lossy().into_owned());
    let args = [&[listen.as_str(), mock, mode, "--journal", &journal], more].concat();
    let mut process = Pinned::spawn(TARGET_CORE, &log, &rig.join("floorproxy"), &args, &[])?;
    process.await_port(port)?;
    let url = format!("http://127.0.0.1:{port}/v1/chat/completions");
    Ok(Target::new(format!("floor `{mode}`"), url, process, None))
}

/// The gateway in both durabilities, each with a store of its own. Stores are filled before any gateway starts.
fn gateways(
    binary: &Path,
    work: &Path,
    mock: &str,
    postgres: Option<&Postgres>,
    options: &Options,
) -> Result<Vec<Target>, String> {
    let mut prepared: Vec<(String, Home, Option<Database>)> = Vec::new();
    for durability in ["relaxed", "strict"] {
        let database = postgres.map(Postgres::fresh_database);
        let url = database.as_ref().map(Database::url);
        let home = Home::new(work.join(durability), mock, durability, url.as_deref(), options)?;
        if options.rows > 0 {
            match (&url, prepared.first()) {
                (Some(url), _) => gateway::fill(url, options.rows, options.tenants)?,
                (None, Some((_, filled, _))) => home.copy_database(filled)?,
                (None, None) => {
                    gateway::fill(&home.database().to_string_lossy(), options.rows, options.tenants)?;
                }
            }
        }
        prepared.push((format!("bulkhead `{durability}`"), home, database));
    }
    let started = prepared.into_iter().map(|(name, home, database)| {
        let (process, url) = home.serve(binary, TARGET_CORE)?;
        Ok(Target::new(name, url + gateway::CHAT_PATH, process, database))
    });
    started.collect()
}

impl Target {
    fn new(name: String, url: String, process: Pinned, database: Option<Database>) -> Self {
        let rss_at_start_kib = process.rss_kib();
        Self { name, url, process, rss_at_start_kib, _database: database }
    }
}
