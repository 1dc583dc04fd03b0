//! Whether a tenant feels it when very many others are made: by our own SDK, as an operator would, with a progress bar.
//! Beside it, what the SDK alone costs the machine: as many requests of it to a server that does nothing but answer.

use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::bare;
use super::figures::Spread;
use super::gateway::{CHAT_PATH, Home, key};
use super::noisy::{Street, configuration, single};
use super::options::Options;
use super::process::Pinned;
use super::sample::{Keys, Sample};
use super::target::{LOAD_CORE, TARGET_CORE};
use crate::parts;

/// How often is looked whether the SDK is done.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// Of one window.
const SECONDS: f64 = 3.0;
const ADMIN_KEY: &str = "bench-admin-key-0123456789";
/// The prefix of the tenants' ids, as the example has it.
const PREFIX: &str = "customer-";
/// What the bare server says to a tenant that is to be made.
const ANSWER: &str = "content-type: application/json\n\n{\"id\":\"customer\",\"apiKey\":\"bh_live_none\"}";
const HEAD: &str = "\
| evidence | beside it | p50 µs | p99 µs | p99, × alone | CPU of the gateway, % | asked for /s | failed |
|---|---|---|---|---|---|---|---|
";

/// One tenant's calls, and how many tenants a second were asked for meanwhile.
struct Row {
    name: &'static str,
    samples: Vec<Sample>,
    per_s: f64,
}

/// Makes tenants by the SDK while one tenant's calls are timed; the table.
///
/// # Errors
/// When a part cannot be started, or a tenant is not made.
pub(super) fn table(rig: &Path, binary: &Path, count: u64, options: &Options) -> Result<String, String> {
    let sdk = parts::own_typescript()?;
    let street = Street::new(rig)?;
    let (_bare, bare) = bare::serve(rig, &street.work, ANSWER)?;
    let mut text = HEAD.to_owned();
    for durability in ["relaxed", "strict"] {
        let admin = format!("admin_keys:\n  - {{name: bench, key: {ADMIN_KEY}, role: admin}}\n");
        let home = Home::with(street.work.join(durability), |own| {
            configuration(own, street.mock_port, durability) + &admin
        })?;
        let (gateway, url) = home.serve(binary, TARGET_CORE)?;
        let chat = format!("{url}{CHAT_PATH}");
        let listen = || listen(&street, &chat, &gateway, options);
        let alone = || (0..options.rounds).map(|_| listen()).collect::<Result<Vec<_>, _>>();
        let beside = |url: &str, per_s: Option<f64>| {
            let making = Making::start(&sdk, url, count, per_s)?;
            let mut samples = Vec::new();
            while making.goes_on() {
                samples.push(listen()?);
            }
            // The last one may have listened to nothing for a while.
            samples.pop();
            Ok::<_, String>((samples, count as f64 / making.took()?.as_secs_f64()))
        };
        let mut nothing = alone()?;
        let (samples, per_s) = beside(&url, None)?;
        let made = Row { name: "tenants being made", samples, per_s };
        nothing.extend(alone()?);
        // The same work for the SDK, the load's core and the gateway's, but for making a tenant.
        let (samples, per_s) = beside(&bare, Some(per_s))?;
        let answered = Row { name: "as many asked of a bare server on the same core", samples, per_s };
        nothing.extend(alone()?);
        let rows = [Row { name: "nothing", samples: nothing, per_s: 0.0 }, answered, made];
        report(&mut text, durability, &rows, options);
    }
    writeln!(text, "\n{count} tenants in each run.").ok();
    Ok(text)
}

fn report(text: &mut String, durability: &str, rows: &[Row], options: &Options) {
    let spread =
        |row: &Row, figure: &dyn Fn(&Sample) -> f64| Spread::of(row.samples.iter().map(figure).collect());
    let alone = rows.first().and_then(|row| spread(row, &|sample| sample.p99_us));
    let cpu = |sample: &Sample| sample.cpu_us * sample.good as f64 / (SECONDS * options.scale * 1e6) * 100.0;
    for row in rows {
        let failed: u64 = row.samples.iter().map(|sample| sample.failed).sum();
        let p99 = spread(row, &|sample| sample.p99_us);
        let cells = [
            super::report::cell(spread(row, &|sample| sample.p50_us), 0),
            super::report::cell(p99, 0),
            super::report::ratio(p99, alone),
            super::report::cell(spread(row, &cpu), 1),
            format!("{:.0}", row.per_s),
        ];
        writeln!(text, "| `{durability}` | {} | {} | {failed} |", row.name, cells.join(" | ")).ok();
    }
}

fn listen(street: &Street, chat: &str, gateway: &Pinned, options: &Options) -> Result<Sample, String> {
    let quiet = Keys::One(key(0));
    let sample =
        single(chat, &quiet, SECONDS * options.scale, 0.5).run(&street.rig, LOAD_CORE, Some(gateway))?;
    eprintln!("  {sample}");
    Ok(sample)
}

/// The SDK's example, at work on the load's core. Ended when dropped.
struct Making {
    process: Arc<Mutex<Child>>,
    /// Tells how long it took.
    watch: Option<JoinHandle<Result<Duration, String>>>,
}

impl Making {
    fn start(sdk: &Path, url: &str, count: u64, per_s: Option<f64>) -> Result<Self, String> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "taskset", "-c", &LOAD_CORE.to_string()]);
        // What is measured is the gateway, not who is next on the load's core.
        command.args(["nice", "-n", "19", "node", "examples/onboard.mjs"]);
        command.args([count.to_string(), PREFIX.to_owned()]).current_dir(sdk).stdout(Stdio::null());
        command.args(per_s.map(|per_s| per_s.to_string()));
        command.env("BULKHEAD_URL", url).env("BULKHEAD_ADMIN_KEY", ADMIN_KEY);
        let begun = Instant::now();
        let process = Arc::new(Mutex::new(command.spawn().map_err(|e| format!("node: {e}"))?));
        let watched = Arc::clone(&process);
        // A window that is listened to lasts seconds; how fast tenants were made is to be known better.
        let watch = std::thread::spawn(move || {
            loop {
                match lock(&watched).try_wait().map_err(|e| format!("node: {e}"))? {
                    None => {}
                    Some(status) if status.success() => return Ok(begun.elapsed()),
                    Some(status) => return Err(format!("tenants were not made: {status}")),
                }
                std::thread::sleep(POLL_EVERY);
            }
        });
        Ok(Self { process, watch: Some(watch) })
    }

    fn goes_on(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| !watch.is_finished())
    }

    /// Waits for its end; how long it took.
    fn took(mut self) -> Result<Duration, String> {
        let watch = self.watch.take().and_then(|watch| watch.join().ok());
        watch.unwrap_or_else(|| Err("node: nobody watched it to its end".to_owned()))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        lock(&self.process).kill().ok();
        lock(&self.process).wait().ok();
    }
}

fn lock(process: &Mutex<Child>) -> MutexGuard<'_, Child> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
