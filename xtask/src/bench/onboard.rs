//! Whether a tenant feels it when very many others are made: by our own SDK, as an operator would, with a progress bar.

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::figures::Spread;
use super::gateway::{CHAT_PATH, Home, key};
use super::noisy::{Street, configuration, single};
use super::options::Options;
use super::process::Pinned;
use super::sample::{Keys, Sample};
use super::target::{LOAD_CORE, TARGET_CORE};
use crate::parts;

const ADMIN_KEY: &str = "bench-admin-key-0123456789";
const HEAD: &str = "\
| evidence | beside it | p50 µs | p99 µs | p99, × alone | tenants made /s | failed |
|---|---|---|---|---|---|---|
";

/// Makes tenants by the SDK while one tenant's calls are timed; the table.
///
/// # Errors
/// When a part cannot be started, or a tenant is not made.
pub(super) fn table(rig: &Path, binary: &Path, count: u64, options: &Options) -> Result<String, String> {
    let sdk = parts::own_typescript()?;
    let street = Street::new(rig)?;
    let mut text = HEAD.to_owned();
    for durability in ["relaxed", "strict"] {
        let admin = format!("admin_keys:\n  - {{name: bench, key: {ADMIN_KEY}, role: admin}}\n");
        let home = Home::with(street.work.join(durability), |own| {
            configuration(own, street.mock_port, durability) + &admin
        })?;
        let (gateway, url) = home.serve(binary, TARGET_CORE)?;
        let chat = format!("{url}{CHAT_PATH}");
        let listen = || listen(&street, &chat, &gateway, options);
        let mut alone = (0..options.rounds).map(|_| listen()).collect::<Result<Vec<_>, _>>()?;
        let begun = Instant::now();
        let mut making = Making::start(&sdk, &url, count)?;
        let mut beside = Vec::new();
        while making.goes_on()? {
            beside.push(listen()?);
        }
        // The last one may have listened to nothing for a while.
        let per_s = count as f64 / begun.elapsed().as_secs_f64();
        beside.pop();
        alone.push(listen()?);
        let p99 = |samples: &[Sample]| Spread::of(samples.iter().map(|s| s.p99_us).collect());
        for (name, samples, made) in [("nothing", &alone, 0.0), ("tenants being made", &beside, per_s)] {
            let failed: u64 = samples.iter().map(|sample| sample.failed).sum();
            let cells = [
                super::report::cell(Spread::of(samples.iter().map(|s| s.p50_us).collect()), 0),
                super::report::cell(p99(samples), 0),
                super::report::ratio(p99(samples), p99(&alone)),
                format!("{made:.0}"),
            ];
            writeln!(text, "| `{durability}` | {name} | {} | {failed} |", cells.join(" | ")).ok();
        }
    }
    writeln!(text, "\n{count} tenants in each run.").ok();
    Ok(text)
}

fn listen(street: &Street, chat: &str, gateway: &Pinned, options: &Options) -> Result<Sample, String> {
    let quiet = Keys::One(key(0));
    let sample = single(chat, &quiet, 3.0 * options.scale, 0.5).run(&street.rig, LOAD_CORE, Some(gateway))?;
    eprintln!("  {sample}");
    Ok(sample)
}

/// The SDK's example, at work on the load's core. Ended when dropped.
struct Making(Child);

impl Making {
    fn start(sdk: &Path, url: &str, count: u64) -> Result<Self, String> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "taskset", "-c", &LOAD_CORE.to_string()]);
        // What is measured is the gateway, not who is next on the load's core.
        command.args(["nice", "-n", "19", "node", "examples/onboard.mjs"]);
        command.arg(count.to_string()).current_dir(sdk).stdout(Stdio::null());
        command.env("BULKHEAD_URL", url).env("BULKHEAD_ADMIN_KEY", ADMIN_KEY);
        command.spawn().map(Self).map_err(|e| format!("node: {e}"))
    }

    fn goes_on(&mut self) -> Result<bool, String> {
        match self.0.try_wait().map_err(|e| format!("node: {e}"))? {
            None => Ok(true),
            Some(status) if status.success() => Ok(false),
            Some(status) => Err(format!("tenants were not made: {status}")),
        }
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
