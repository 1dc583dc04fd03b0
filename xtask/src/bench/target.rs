//! What is measured: the rig's floor proxies, and the gateway in both durabilities.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use bh_testkit::{Database, Postgres};

use super::options::{Options, StoreKind};
use super::process::{Pinned, free_port};
use super::sample::{Load, Sample};
use super::scenario::Scenario;
use crate::shell;

/// Where the mock and the load generator run.
const LOAD_CORE: usize = 0;
/// Where the measured process runs.
const TARGET_CORE: usize = 1;
/// The key of tenant 0; the floor proxies know it too.
const KEY: &str = "sk-rig-00000000";
/// Rows are written before measuring at most for this long.
const PREFILL_SECONDS_MAX: f64 = 3600.0;

/// One measured process.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    url: String,
    pub(super) process: Pinned,
    is_gateway: bool,
    // Kept until the process above has ended.
    _database: Option<Database>,
}

/// Everything that runs.
#[derive(Debug)]
pub(super) struct Bench {
    rig: PathBuf,
    direct_url: String,
    pub(super) targets: Vec<Target>,
    _mock: Pinned,
    _postgres: Option<Postgres>,
}

impl Bench {
    /// Starts the mock and every target.
    pub(super) fn start(rig: &Path, gateway: Option<&Path>, options: &Options) -> Result<Self, String> {
        if std::thread::available_parallelism().map_or(1, std::num::NonZero::get) < 2 {
            return Err("bench needs two cores".to_owned());
        }
        let work = shell::target_dir().join("bench");
        std::fs::remove_dir_all(&work).ok();
        std::fs::create_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
        let port = free_port()?;
        let mut mock =
            Pinned::spawn(LOAD_CORE, &work.join("mock.log"), &rig.join("mock"), &[&port.to_string()], &[])?;
        mock.await_port(port)?;
        let mock_address = format!("127.0.0.1:{port}");

        let mut targets = vec![
            floor(rig, &work, &mock_address, "pass", &[])?,
            floor(rig, &work, &mock_address, "chain", &["--linger-us", "5000"])?,
        ];
        let postgres =
            (gateway.is_some() && options.store == StoreKind::Postgres).then(Postgres::private_and_durable);
        if let Some(binary) = gateway {
            for durability in ["relaxed", "strict"] {
                let database = postgres.as_ref().map(Postgres::fresh_database);
                targets.push(bulkhead(binary, &work, &mock_address, durability, database, options)?);
            }
        }
        let direct_url = format!("http://{mock_address}/v1/chat/completions");
        Ok(Self { rig: rig.to_path_buf(), direct_url, targets, _mock: mock, _postgres: postgres })
    }

    /// Writes evidence through each gateway until it has `rows` records more.
    pub(super) fn prefill(&mut self, rows: u64) -> Result<(), String> {
        for target in self.targets.iter().filter(|target| target.is_gateway && rows > 0) {
            eprintln!("bench: writing {rows} records through {}", target.name);
            let load = Load {
                url: &target.url,
                key: KEY,
                connections: 128,
                seconds: PREFILL_SECONDS_MAX,
                warm_up_s: 0.0,
                prompt_bytes: 64,
                stream: false,
                directive: "",
                requests_max: Some(rows),
            };
            let sample = load.run(&self.rig, LOAD_CORE, None)?;
            if sample.good < rows {
                return Err(format!(
                    "{}: {} of {rows} records; {}",
                    target.name, sample.good, sample.first_failure
                ));
            }
        }
        Ok(())
    }

    /// The scenario without any proxy.
    pub(super) fn measure_direct(&self, scenario: Scenario, options: &Options) -> Result<Sample, String> {
        scenario.load(&self.direct_url, KEY, options).run(&self.rig, LOAD_CORE, None)
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
        scenario.load(&target.url, KEY, options).run(&self.rig, LOAD_CORE, Some(&target.process))
    }
}

fn floor(rig: &Path, work: &Path, mock: &str, mode: &str, more: &[&str]) -> Result<Target, String> {
    let port = free_port()?;
    let (log, journal) = (work.join(format!("{mode}.log")), work.join(format!("{mode}.jsonl")));
    let (listen, journal) = (port.to_string(), journal.to_string_lossy().into_owned());
    let args = [&[listen.as_str(), mock, mode, "--journal", &journal], more].concat();
    let mut process = Pinned::spawn(TARGET_CORE, &log, &rig.join("floorproxy"), &args, &[])?;
    process.await_port(port)?;
    let url = format!("http://127.0.0.1:{port}/v1/chat/completions");
    Ok(Target { name: format!("floor `{mode}`"), url, process, is_gateway: false, _database: None })
}

fn bulkhead(
    binary: &Path,
    work: &Path,
    mock: &str,
    durability: &str,
    database: Option<Database>,
    options: &Options,
) -> Result<Target, String> {
    let home = work.join(durability);
    let data = home.join("data");
    std::fs::create_dir_all(&data).map_err(|e| format!("{}: {e}", data.display()))?;
    let port = free_port()?;
    let config = home.join("bulkhead.yaml");
    let url = database.as_ref().map(Database::url);
    let text = configuration(port, mock, durability, url.as_deref(), options.tenants);
    std::fs::write(&config, text).map_err(|e| format!("{}: {e}", config.display()))?;
    let (config, data) = (config.to_string_lossy().into_owned(), data.to_string_lossy().into_owned());
    let mut process = Pinned::spawn(
        TARGET_CORE,
        &home.join("log"),
        binary,
        &["serve", "--config", &config],
        &[("BULKHEAD_DATA_DIR", &data)],
    )?;
    process.await_port(port)?;
    let url = format!("http://127.0.0.1:{port}/v1/proxy/openai/v1/chat/completions");
    Ok(Target {
        name: format!("bulkhead `{durability}`"),
        url,
        process,
        is_gateway: true,
        _database: database,
    })
}

/// Everything on: keys, limits, daily and monthly budgets of caller and tenant, prices, chained evidence; all so
/// high that no request is refused.
fn configuration(port: u16, mock: &str, durability: &str, store_url: Option<&str>, tenants: u64) -> String {
    let store = store_url.map_or_else(String::new, |url| format!("store:\n  url: \"{url}\"\n"));
    let mut yaml = format!(
        r#"server:
  listen: "127.0.0.1:{port}"
{store}gateway:
  providers:
    openai:
      base_url: "http://{mock}"
      api_family: openai
      api_key: sk-upstream
      allow_private_network: true
  rate_limits:
    global_requests_per_min: 100000000
    per_tenant_requests_per_min: 100000000
    per_caller_requests_per_min: 100000000
  default_policy:
    max_daily_cost: 1000000
    max_monthly_cost: 9000000
  callers:
"#
    );
    for index in 0..tenants {
        let caller = format!(
            "    - name: app-{index}\n      tenant_key: sk-rig-{index:08}\n      tenant_id: t{index}\n"
        );
        yaml.push_str(&caller);
    }
    yaml.push_str("tenants:\n");
    for index in 0..tenants {
        yaml.push_str(&format!("  - id: t{index}\n    budgets: {{daily: 1000000, monthly: 9000000}}\n"));
    }
    let prices = "  providers:\n    openai:\n      models:\n        mock-model: {input_per_1m: 3, output_per_1m: 15}\n";
    write!(yaml, "pricing:\n{prices}evidence:\n  durability: {durability}\n").ok();
    yaml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_every_tenant_once() {
        let yaml = configuration(7, "127.0.0.1:9", "strict", Some("postgres://u@h/d"), 2);
        for line in [
            "  listen: \"127.0.0.1:7\"",
            "  url: \"postgres://u@h/d\"",
            "      tenant_key: sk-rig-00000001",
            "  - id: t1",
            "  durability: strict",
        ] {
            assert_eq!(yaml.lines().filter(|l| *l == line).count(), 1, "{line} in:\n{yaml}");
        }
        assert!(KEY.ends_with("00000000") && yaml.contains(KEY));
    }
}
