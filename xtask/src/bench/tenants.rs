//! Whether administration stays flat as tenants and their usage grow.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bh_testkit::{Call, Database, Postgres, run_scenario};

use super::gateway::Home;
use super::options::{Options, StoreKind};
use super::target::{TARGET_CORE, fresh_folder, private_postgres};
use crate::shell;

/// Rows of usage of each tenant.
const ROWS_EACH: u64 = 100;
/// How many tenants there are first: a hundredth, and no fewer than this.
const TENANTS_MIN: u64 = 1_000;
/// Reads of each kind that are timed, and before them as many that are not.
const READS: u64 = 500;
const ADMIN_KEY: &str = "bench-admin-key-0123456789";
const HEAD: &str = "| tenants | rows of usage | read | p50 µs | p99 µs |\n|---|---|---|---|---|\n";

/// A path below the tenants', of one of them.
type PathOf = fn(&str) -> String;

/// What an operator's page asks for.
const READ_PATHS: [(&str, PathOf); 5] = [
    ("the first page of 100", |_| "?limit=100".to_owned()),
    ("a page of 100 in the middle", |id| format!("?limit=100&cursor={id}")),
    ("one tenant with its usage", |id| format!("/{id}")),
    ("its month, priced", |id| format!("/{id}/usage")),
    ("its metrics of 30 days", |id| format!("/{id}/metrics")),
];

/// Fills a store with some tenants, then with all, and times what an operator reads; the table.
///
/// # Errors
/// When a part cannot be started, or a read is refused.
pub(super) fn table(binary: &Path, tenants: u64, options: &Options) -> Result<String, String> {
    let work = fresh_folder()?;
    let postgres = match options.store {
        StoreKind::Postgres => Some(private_postgres()?),
        StoreKind::Sqlite => None,
    };
    let database = postgres.as_ref().map(Postgres::fresh_database);
    let store = database.as_ref().map(Database::url);
    let home = Home::with(work.join("tenants"), |port| configuration(port, store.as_deref()))?;
    let url = store.unwrap_or_else(|| home.database().to_string_lossy().into_owned());
    let mut text = HEAD.to_owned();
    let few = TENANTS_MIN.max(tenants / 100).min(tenants);
    for (from, to) in [(0, few), (few, tenants)] {
        fill(&url, from, to)?;
        let begun = Instant::now();
        let (gateway, base) = home.serve(binary, TARGET_CORE)?;
        let started_s = begun.elapsed().as_secs_f64();
        for (name, path) in READ_PATHS {
            let (p50, p99) = run_scenario(reads(&base, path, to))?;
            eprintln!("  {to:>7} {name:28} p50 {p50:6.0}  p99 {p99:6.0}");
            writeln!(text, "| {to} | {} | {name} | {p50:.0} | {p99:.0} |", to * ROWS_EACH).ok();
        }
        let rss = gateway.peak_rss_kib() as f64 / 1024.0;
        writeln!(text, "| {to} | {} | started in {started_s:.2} s, peak {rss:.0} MiB | | |", to * ROWS_EACH)
            .ok();
    }
    Ok(text)
}

fn configuration(port: u16, store: Option<&str>) -> String {
    let store = store.map_or_else(String::new, |url| format!("store:\n  url: \"{url}\"\n"));
    format!(
        "server:\n  listen: \"127.0.0.1:{port}\"\n{store}admin_keys:\n  - {{name: bench, key: {ADMIN_KEY}, role: admin}}\n\
         billing:\n  prices: {{api_calls_per_1k: 1}}\n"
    )
}

/// Past the gateway: through it, ten million rows of usage take ten million hours of calls.
fn fill(url: &str, from: u64, to: u64) -> Result<(), String> {
    let mut build = shell::cargo();
    build.args(["build", "--release", "--quiet", "--package", "bh-store", "--example", "fill_tenants"]);
    shell::run(&mut build)?;
    eprintln!("bench: filling in tenants {from} to {to}");
    // On every core: nothing is measured yet.
    let mut fill = Command::new("taskset");
    fill.args(["-c", "0-1"]).arg(shell::target_dir().join("release/examples/fill_tenants"));
    fill.arg(url).args([from, to, ROWS_EACH].map(|n| n.to_string()));
    shell::run_quietly(&mut fill).map(drop)
}

/// The median and the 99th of a hundred, in µs, of reads that take tenants from everywhere.
async fn reads(base: &str, path: PathOf, tenants: u64) -> Result<(f64, f64), String> {
    let mut times = Vec::new();
    for n in 0..2 * READS {
        let tenant = n.wrapping_mul(2_654_435_761) % tenants;
        let url = format!("{base}/api/v1/admin/tenants{}", path(&format!("customer-{tenant:06}")));
        let begun = Instant::now();
        let answer = Call::get(url).bearer(ADMIN_KEY).send().await;
        if n >= READS {
            times.push(begun.elapsed());
        }
        if answer.status != 200 {
            return Err(format!("{}: {}", answer.status, answer.text()));
        }
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    Ok((at(50), at(99)))
}
