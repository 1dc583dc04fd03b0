//! The gateway as it is measured: everything on, and so high that no request is refused.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::options::Options;
use super::process::{Pinned, free_port};
use crate::shell;

/// The beginning of every tenant's id.
const TENANT_PREFIX: &str = "t";
/// Signs the records: those that were filled in as those that the gateway writes. No secret, as nothing here is.
const EVIDENCE_KEY: &str = "bench-bench-bench-bench-bench-bench-bench";

/// Where the gateway proxies chat completions.
pub(super) const CHAT_PATH: &str = "/v1/proxy/openai/v1/chat/completions";

/// The key of a tenant; the floor proxies know the same ones.
pub(super) fn key(index: u64) -> String {
    format!("sk-rig-{index:08}")
}

/// A gateway's folder: configuration, data directory, log.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    port: u16,
}

impl Home {
    /// Makes the folder of a gateway before a provider. `store_url` is PostgreSQL's; SQLite without it.
    pub(super) fn new(
        dir: PathBuf,
        mock: &str,
        durability: &str,
        store_url: Option<&str>,
        options: &Options,
    ) -> Result<Self, String> {
        Self::with(dir, |port| configuration(port, mock, durability, store_url, options.tenants))
    }

    /// Makes the folder, with the configuration for a port in it.
    pub(super) fn with(dir: PathBuf, configuration: impl FnOnce(u16) -> String) -> Result<Self, String> {
        let home = Self { dir, port: free_port()? };
        let told = |e: std::io::Error| format!("{}: {e}", home.dir.display());
        std::fs::create_dir_all(home.data()).map_err(told)?;
        std::fs::write(home.config(), configuration(home.port)).map_err(told)?;
        Ok(home)
    }

    /// The SQLite file the gateway will open.
    pub(super) fn database(&self) -> PathBuf {
        self.data().join("bulkhead.db")
    }

    /// Takes a copy of another folder's SQLite file, which nobody has open.
    pub(super) fn copy_database(&self, from: &Self) -> Result<(), String> {
        let log = from.data().join("bulkhead.db-wal");
        if log.metadata().is_ok_and(|log| log.len() > 0) {
            return Err(format!("{}: a copy of the database would lack this", log.display()));
        }
        let copied = std::fs::copy(from.database(), self.database());
        copied.map_err(|e| format!("{}: {e}", self.database().display()))?;
        from.settle()?;
        self.settle()
    }

    /// Waits until the file is on disk: what is still being written back would be measured with the gateway.
    fn settle(&self) -> Result<(), String> {
        let synced = std::fs::File::open(self.database()).and_then(|file| file.sync_all());
        synced.map_err(|e| format!("{}: {e}", self.database().display()))
    }

    /// Starts the gateway on `core` and waits until it accepts connections; its address.
    pub(super) fn serve(&self, binary: &Path, core: usize) -> Result<(Pinned, String), String> {
        let (config, data) = (self.config(), self.data());
        let mut process = Pinned::spawn(
            core,
            &self.dir.join("log"),
            binary,
            &["serve", "--config", &config.to_string_lossy()],
            &[("BULKHEAD_DATA_DIR", &data.to_string_lossy())],
        )?;
        process.await_port(self.port)?;
        Ok((process, format!("http://127.0.0.1:{}", self.port)))
    }

    /// Another command of the binary, on the same configuration and data.
    pub(super) fn command(&self, binary: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(binary);
        command.args(args).arg("--config").arg(self.config()).env("BULKHEAD_DATA_DIR", self.data());
        command
    }

    fn config(&self) -> PathBuf {
        self.dir.join("bulkhead.yaml")
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }
}

/// Seals `rows` records into the chains of the tenants, past the gateway: through it, five million take ten minutes.
pub(super) fn fill(url: &str, rows: u64, tenants: u64) -> Result<(), String> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--quiet", "--package", "bh-store", "--example", "fill"]);
    shell::run(&mut build)?;
    eprintln!("bench: sealing {rows} records into {tenants} chain(s)");
    // On every core: nothing is measured yet.
    let mut fill = Command::new("taskset");
    fill.args(["-c", "0-1"]).arg(shell::target_dir().join("release/examples/fill"));
    fill.args([url, &rows.to_string(), &tenants.to_string(), EVIDENCE_KEY, TENANT_PREFIX]);
    shell::run_quietly(&mut fill).map(drop)
}

fn configuration(port: u16, mock: &str, durability: &str, store_url: Option<&str>, tenants: u64) -> String {
    let store = store_url.map_or_else(String::new, |url| format!("store:\n  url: \"{url}\"\n"));
    let mut yaml = format!(
        r#"server:
  listen: "127.0.0.1:{port}"
{store}secrets:
  evidence_key: {EVIDENCE_KEY}
gateway:
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
        let (key, tenant) = (key(index), format!("{TENANT_PREFIX}{index}"));
        let caller = format!("    - name: app-{index}\n      tenant_key: {key}\n      tenant_id: {tenant}\n");
        yaml.push_str(&caller);
    }
    yaml.push_str("tenants:\n");
    for index in 0..tenants {
        let tenant = format!("{TENANT_PREFIX}{index}");
        yaml.push_str(&format!("  - id: {tenant}\n    budgets: {{daily: 1000000, monthly: 9000000}}\n"));
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
            "      tenant_key: sk-rig-00000000",
            "      tenant_key: sk-rig-00000001",
            "  - id: t1",
            "  durability: strict",
        ] {
            assert_eq!(yaml.lines().filter(|l| *l == line).count(), 1, "{line} in:\n{yaml}");
        }
    }
}
