//! Memory while many streams are open at the same time.

use std::fmt::Write;

use super::options::Options;
use super::process::files_max;
use super::sample::{Load, Sample};
use super::target::{Bench, Target};

/// How long one stream lasts, unless the run is a quick one: long enough for the last to open before the first ends.
const STREAM_SECONDS: f64 = 15.0;
const DIRECTIVE: &str = "rig:chunks=150 rig:chunk_us=100000 ";
const DIRECTIVE_QUICK: &str = "rig:chunks=50 rig:chunk_us=100000 ";
const PROMPT_BYTES: u32 = 600;
/// Files a process needs besides its streams.
const FILES_BESIDE: u64 = 256;
const HEAD: &str = "\
| target | streams open at once | RSS before MiB | peak RSS MiB | RSS after MiB | CPU µs/chunk | first token p50 / p99 ms | failed |
|---|---|---|---|---|---|---|---|
";

/// Opens `count` streams through each target in turn; the table.
///
/// # Errors
/// When the machine allows too few open files, or streams were not all open at the same time.
pub(super) fn table(bench: &Bench, count: u64, options: &Options) -> Result<String, String> {
    let needed = 2 * count + FILES_BESIDE;
    if needed > files_max() {
        return Err(format!("{count} streams need {needed} open files; `ulimit -Hn` allows {}", files_max()));
    }
    let mut text = format!(
        "{count} streams of one prompt of {PROMPT_BYTES} bytes each, an event every 100 ms.\n\n{HEAD}"
    );
    for target in &bench.targets {
        let sample = open(bench, target, count, options)?;
        // A second for the closed connections to be let go.
        std::thread::sleep(std::time::Duration::from_secs(1));
        text.push_str(&row(target, &sample));
    }
    text.push_str("\nPeak: the kernel's high-water mark of the process. After: one second after the last stream ended.\n");
    Ok(text)
}

fn open(bench: &Bench, target: &Target, count: u64, options: &Options) -> Result<Sample, String> {
    let is_quick = options.scale < 1.0;
    let sample = bench.run(target, |url, keys| Load {
        url,
        keys,
        connections: u32::try_from(count).unwrap_or(u32::MAX),
        seconds: STREAM_SECONDS,
        warm_up_s: 0.0,
        prompt_bytes: PROMPT_BYTES,
        stream: true,
        directive: if is_quick { DIRECTIVE_QUICK } else { DIRECTIVE },
        requests_max: Some(count),
        rate: None,
    })?;
    let Sample { good, failed, streams_open_max, .. } = sample;
    eprintln!("  {:22} {good} good, {failed} failed, {streams_open_max} open at once", target.name);
    if good < count || streams_open_max < count {
        return Err(format!(
            "{}: of {count} streams {good} ended well and {streams_open_max} were open at the same time; {}",
            target.name, sample.first_failure
        ));
    }
    Ok(sample)
}

fn row(target: &Target, sample: &Sample) -> String {
    let mib = |kib: u64| kib as f64 / 1024.0;
    let mut row = String::new();
    writeln!(
        row,
        "| {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} / {:.1} | {} |",
        target.name,
        sample.streams_open_max,
        mib(target.rss_at_start_kib),
        mib(target.process.peak_rss_kib()),
        mib(target.process.rss_kib()),
        sample.cpu_us / sample.events_per_request.max(1.0),
        sample.first_token_p50_us / 1000.0,
        sample.first_token_p99_us / 1000.0,
        sample.failed
    )
    .ok();
    row
}
