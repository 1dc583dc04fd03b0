//! The harness round the real binary: a folder, a configuration, a process, and everything it printed.

mod builder;
mod process;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use builder::GatewayBuilder;
pub use process::CliOutput;
use process::Process;

use crate::Database;

/// How long a gateway may take to listen.
pub const LISTEN_WITHIN: Duration = Duration::from_secs(30);
/// How long a gateway may take to end after SIGTERM.
pub const END_WITHIN: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(10);
/// What the binary prints on stderr once it is bound, before its own URL.
const LISTENING: &str = "listening on ";

/// A running gateway. Its process is killed and its folder removed when this is dropped.
#[derive(Debug)]
pub struct Gateway {
    setup: GatewayBuilder,
    // Before the folder and the database: the process ends first.
    process: Process,
    url: String,
    earlier_output: String,
    home: tempfile::TempDir,
    database: Option<Database>,
}

impl Gateway {
    /// A gateway to be started from this binary: `Gateway::builder(env!("CARGO_BIN_EXE_bulkhead"))`.
    #[must_use]
    pub fn builder(binary: impl Into<PathBuf>) -> GatewayBuilder {
        GatewayBuilder::new(binary.into())
    }

    /// `http://127.0.0.1:PORT`, without a trailing slash. Another port after [`Gateway::restart`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of a path on this gateway.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// The data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        builder::data_dir(self.home.path())
    }

    /// The configuration file.
    #[must_use]
    pub fn config_path(&self) -> PathBuf {
        builder::config_path(self.home.path())
    }

    /// The PostgreSQL database, when the gateway has one.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// All that was printed so far on stdout and stderr, by earlier processes of this gateway too.
    #[must_use]
    pub fn output(&self) -> String {
        format!("{}{}", self.earlier_output, self.process.output())
    }

    /// Waits until `needle` has been printed; false after `patience`.
    pub async fn prints(&self, needle: &str, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while !self.output().contains(needle) {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        true
    }

    /// Ends the process with SIGKILL and waits for it.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Asks the process to end (SIGTERM), and does not wait. [`Gateway::terminate`] waits.
    pub fn ask_to_end(&self) {
        self.process.signal("TERM");
    }

    /// Asks the process to end (SIGTERM) and waits; true when it ended by itself with success.
    pub async fn terminate(&mut self) -> bool {
        self.process.signal("TERM");
        self.process.ends_within(END_WITHIN).await.is_some_and(|status| status.success())
    }

    /// Starts the same gateway again on the same data, killing it first if it still runs.
    ///
    /// # Panics
    /// When it does not listen again within [`LISTEN_WITHIN`].
    pub async fn restart(&mut self) {
        self.try_restart_as(|same| same).await.unwrap_or_else(|end| panic!("no restart: {end}"));
    }

    /// As [`Gateway::restart`], with another configuration, environment or arguments on the same data.
    ///
    /// # Errors
    /// The exit code and the output, when the process ends (or hangs) before it listens. It can be tried again.
    pub async fn try_restart_as(
        &mut self,
        change: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Result<(), CliOutput> {
        self.process.kill9();
        self.earlier_output.push_str(&self.process.output());
        self.setup = change(self.setup.clone());
        self.setup.write_config(self.home.path(), self.database.as_ref());
        let (process, url) = listening(self.setup.spawn(self.home.path())).await?;
        (self.process, self.url) = (process, url);
        Ok(())
    }

    /// Writes a new configuration and sends SIGHUP. The harness's own keys are put in as at the start.
    pub fn reload(&mut self, config: &str) {
        self.rewrite_config(config);
        self.process.signal("HUP");
    }

    /// Writes a new configuration and leaves it to the gateway to notice.
    pub fn rewrite_config(&mut self, config: &str) {
        self.setup.set_config(config);
        self.setup.write_config(self.home.path(), self.database.as_ref());
    }

    /// Runs the binary once with this gateway's configuration and environment, e.g. `&["audit", "list"]`.
    #[must_use]
    pub fn cli(&self, args: &[&str]) -> CliOutput {
        self.setup.run_once(self.home.path(), args)
    }

    /// The largest resident size the process has had, in KiB.
    ///
    /// # Panics
    /// When the process has ended.
    #[must_use]
    pub fn peak_rss_kib(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells VmHWM");
        line.trim().trim_end_matches(" kB").parse().expect("VmHWM is a number")
    }

    /// Every file below the data directory, with its bytes: for "this secret was never written".
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect_files(&self.data_dir(), &mut found);
        found
    }
}

fn collect_files(dir: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_files(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
}

/// Runs a command and collects what it leaves.
pub(crate) fn run_to_end(command: &mut std::process::Command) -> CliOutput {
    Process::spawn(command).into_output()
}

/// Waits for the line that tells the address; the output and the exit status when the process ends before it.
async fn listening(mut process: Process) -> Result<(Process, String), CliOutput> {
    let deadline = Instant::now() + LISTEN_WITHIN;
    loop {
        if let Some(url) = process.output_line_after(LISTENING) {
            return Ok((process, url));
        }
        if process.ends_within(Duration::ZERO).await.is_some() || Instant::now() > deadline {
            process.kill9();
            return Err(process.into_output());
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
