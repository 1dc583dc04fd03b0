//! The table, in Markdown.

use std::fmt::Write;

use super::figures::{Figures, Spread};
use super::options::{Options, StoreKind};
use super::sample::Sample;
use super::scenario::{Measured, Scenario};
use super::target::Bench;

const HEAD: &str = "\
| target | CPU µs/request | × floor | requests/s, one core, c=64 | added p50 µs | added p99 µs | 32 KiB: CPU µs | × floor | CPU µs/chunk | × floor | added first token µs | RSS at start MiB | peak RSS MiB | keys used | failed |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
";

/// The table, and what went wrong.
pub(super) fn markdown(bench: &Bench, measured: &Measured) -> String {
    let all: Vec<Figures> = (0..bench.targets.len()).map(|index| Figures::of(measured, index)).collect();
    let mut text = HEAD.to_owned();
    for (index, (target, figures)) in bench.targets.iter().zip(&all).enumerate() {
        let failed: u64 = pairs(measured, index).map(|sample| sample.failed).sum();
        let keys = pairs(measured, index).map(|sample| sample.keys_used).max().unwrap_or(0);
        let mib = |kib: u64| kib as f64 / 1024.0;
        let (start, peak) = (mib(target.rss_at_start_kib), mib(target.process.peak_rss_kib()));
        let row = row(figures, all.first().unwrap_or(figures));
        writeln!(text, "| {} | {row} | {start:.1} | {peak:.1} | {keys} | {failed} |", target.name).ok();
    }
    text.push_str(
        "\nMedians, with the smallest and largest of the rounds in brackets; × is against floor `pass`.\n",
    );
    for (index, target) in bench.targets.iter().enumerate() {
        if let Some(bad) = pairs(measured, index).find(|sample| !sample.first_failure.is_empty()) {
            let shown: String = bad.first_failure.chars().take(300).collect();
            writeln!(text, "\nFirst failure of {}:\n\n```\n{shown}\n```", target.name).ok();
        }
    }
    text
}

/// What the first request of each key cost; nothing when there was one key.
pub(super) fn first_uses(bench: &Bench, samples: &[Sample]) -> String {
    let mut text = String::new();
    for (target, sample) in bench.targets.iter().zip(samples) {
        let Sample { keys_used, cpu_us, requests_per_s, .. } = sample;
        writeln!(
            text,
            "\nFirst request of each of {keys_used} keys, {}: {cpu_us:.1} CPU µs, {requests_per_s:.0}/s.",
            target.name
        )
        .ok();
    }
    text
}

fn pairs(measured: &Measured, target: usize) -> impl Iterator<Item = &Sample> {
    Scenario::ALL.into_iter().flat_map(move |s| measured.of(target, s)).map(|pair| &pair.sample)
}

fn row(figures: &Figures, floor: &Figures) -> String {
    [
        cell(figures.cpu_us, 1),
        ratio(figures.cpu_us, floor.cpu_us),
        cell(figures.requests_per_s, 0),
        cell(figures.added_p50_us, 1),
        cell(figures.added_p99_us, 1),
        cell(figures.large_cpu_us, 1),
        ratio(figures.large_cpu_us, floor.large_cpu_us),
        cell(figures.chunk_cpu_us, 1),
        ratio(figures.chunk_cpu_us, floor.chunk_cpu_us),
        cell(figures.added_first_token_us, 1),
    ]
    .join(" | ")
}

pub(super) fn cell(spread: Option<Spread>, digits: usize) -> String {
    let Some(Spread { median, min, max }) = spread else { return "invalid".to_owned() };
    format!("{median:.digits$} ({min:.digits$}–{max:.digits$})")
}

pub(super) fn ratio(spread: Option<Spread>, floor: Option<Spread>) -> String {
    match (spread, floor) {
        (Some(own), Some(floor)) if floor.median > 0.0 => format!("{:.2}", own.median / floor.median),
        _ => "–".to_owned(),
    }
}

/// The machine and what was asked for.
pub(super) fn setting(options: &Options) -> String {
    let store = match options.store {
        StoreKind::Sqlite => "SQLite",
        StoreKind::Postgres => "PostgreSQL",
    };
    let Options { rounds, rows, tenants, scale, .. } = options;
    let machine = format!("{}; Linux {}; load average {}", cpu_model(), kernel(), load_average());
    format!(
        "{machine}.\n{store}, {tenants} tenant(s), {rows} rows before, {rounds} round(s), durations × {scale}."
    )
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix("model name")).collect();
    let name = models.first().map_or("unknown CPU", |l| l.trim_start_matches([':', ' ', '\t']));
    format!("{} × {name}", models.len().max(1))
}

fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("?").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_shows_the_spread_and_a_failed_one_says_so() {
        let spread = Spread { median: 15.04, min: 14.9, max: 15.8 };
        assert_eq!(cell(Some(spread), 1), "15.0 (14.9–15.8)");
        assert_eq!(cell(None, 1), "invalid");
        assert_eq!(ratio(Some(Spread { median: 30.08, ..spread }), Some(spread)), "2.00");
        assert_eq!(ratio(Some(spread), None), "–");
    }
}
