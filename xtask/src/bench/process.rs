//! A measured process: pinned to a core, watched through `/proc`, ended by its id.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell;

/// The kernel counts CPU time of a process in ticks of this length, on every Linux of today.
const TICK_US: u64 = 10_000;
/// Enough for 20,000 streams: each is two sockets of a gateway.
const FILES_WANTED: u64 = 65_536;
const READY_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A child on one core. Killed when dropped, or when we are.
#[derive(Debug)]
pub(super) struct Pinned {
    child: Child,
    log: std::path::PathBuf,
}

impl Pinned {
    /// Starts `program` on `core`, its output going to the file `log`.
    pub(super) fn spawn(
        core: usize,
        log: &Path,
        program: &Path,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<Self, String> {
        let file = std::fs::File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
        let errors = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "prlimit", &files_limit()])
            .args(["taskset", "-c", &core.to_string()])
            .arg(program)
            .args(args);
        command.envs(env.iter().copied()).stdin(Stdio::null()).stdout(file).stderr(errors);
        let child = command.spawn().map_err(|e| format!("{}: {e}", program.display()))?;
        Ok(Self { child, log: log.to_path_buf() })
    }

    /// Waits until something accepts connections on `port`.
    pub(super) fn await_port(&mut self, port: u16) -> Result<(), String> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let said = std::fs::read_to_string(&self.log).unwrap_or_default();
                return Err(format!("nothing listens on port {port}; it said:\n{said}"));
            }
            std::thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    /// Moves every thread to one core.
    pub(super) fn pin(&self, core: usize) -> Result<(), String> {
        let (core, id) = (core.to_string(), self.child.id().to_string());
        shell::run_quietly(Command::new("taskset").args(["-a", "-c", "-p", &core, &id])).map(drop)
    }

    /// User and system CPU time so far, in µs.
    pub(super) fn cpu_us(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The program's name stands in brackets and may hold spaces; times are fields 14 and 15 of the line.
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok());
        ticks.sum::<u64>() * TICK_US
    }

    /// The largest resident size so far, in KiB.
    pub(super) fn peak_rss_kib(&self) -> u64 {
        status_kib(self.child.id(), "VmHWM:")
    }

    /// The resident size now, in KiB.
    pub(super) fn rss_kib(&self) -> u64 {
        status_kib(self.child.id(), "VmRSS:")
    }
}

/// A size from a process's status; 0 once it has ended.
fn status_kib(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// What a program cost from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Cost {
    pub(super) wall_s: f64,
    pub(super) peak_rss_kib: u64,
    pub(super) stdout: String,
}

/// Runs a program on one core to its end.
///
/// # Errors
/// When it cannot be run or fails, with what it said.
pub(super) fn cost_of(core: usize, command: &mut Command) -> Result<Cost, String> {
    let mut pinned = Command::new("taskset");
    pinned.args(["-c", &core.to_string()]).arg(command.get_program()).args(command.get_args());
    pinned.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    pinned.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let started = Instant::now();
    let mut child = pinned.spawn().map_err(|e| format!("taskset: {e}"))?;
    let mut peak_rss_kib = 0;
    // What is printed is short and waits in the pipe.
    let status = loop {
        peak_rss_kib = peak_rss_kib.max(status_kib(child.id(), "VmHWM:"));
        match child.try_wait().map_err(|e| format!("{command:?}: {e}"))? {
            Some(status) => break status,
            None => std::thread::sleep(POLL_EVERY),
        }
    };
    let wall_s = started.elapsed().as_secs_f64();
    let mut stdout = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut stdout).map_err(|e| format!("{command:?}: {e}"))?;
    }
    if status.success() {
        Ok(Cost { wall_s, peak_rss_kib, stdout })
    } else {
        Err(format!("{command:?}: {status}"))
    }
}

/// Puts this process, and whatever it starts without a core of its own, on one core.
pub(super) fn pin_self(core: usize) -> Result<(), String> {
    let (core, id) = (core.to_string(), std::process::id().to_string());
    shell::run_quietly(Command::new("taskset").args(["-a", "-c", "-p", &core, &id])).map(drop)
}

/// Open files a measured process may have, as the hard limit allows.
pub(super) fn files_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let hard = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(FILES_WANTED);
    hard.min(FILES_WANTED)
}

/// The option of `prlimit` that lets a program open that many.
pub(super) fn files_limit() -> String {
    // Only the soft limit: raising that takes no privilege.
    format!("--nofile={}:", files_max())
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A loopback port nobody uses now.
pub(super) fn free_port() -> Result<u16, String> {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
    address.map(|a| a.port()).map_err(|e| format!("no free port: {e}"))
}
