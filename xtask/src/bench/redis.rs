//! A Redis beside the gateway: what one `GET` costs somebody who keeps keys there.

use std::path::Path;
use std::process::Command;

use super::process::{Pinned, free_port};
use super::sample::Sample;
use super::target::LOAD_CORE;
use crate::{parts, shell};

/// Keys that are read in turn, as many as the anchor had.
const KEYS: &str = "1000000";
/// `GET`s a second that a run is planned for: with one connection, and with many.
const RATE_SINGLE: f64 = 10_000.0;
const RATE_BUSY: f64 = 100_000.0;

/// A private server, to be asked by `redis-benchmark`.
pub(super) struct Redis {
    port: String,
}

impl Redis {
    /// Starts one on `core` and fills it.
    pub(super) fn start(work: &Path, core: usize) -> Result<(Pinned, Self), String> {
        let program = parts::redis()?;
        let port = free_port()?;
        let redis = Self { port: port.to_string() };
        let args = [
            "--bind",
            "127.0.0.1",
            "--port",
            &redis.port,
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
        ];
        let mut process = Pinned::spawn(core, &work.join("redis.log"), &program, &args, &[])?;
        process.await_port(port)?;
        redis.benchmark(&[
            "-c",
            "64",
            "-n",
            KEYS,
            "-r",
            KEYS,
            "-P",
            "16",
            "SET",
            "k:__rand_int__",
            "0123456789abcdef",
        ])?;
        Ok((process, redis))
    }

    /// Reads keys for about so many seconds.
    pub(super) fn sample(&self, process: &Pinned, connections: u32, seconds: f64) -> Result<Sample, String> {
        let rate = if connections == 1 { RATE_SINGLE } else { RATE_BUSY };
        let count = (rate * seconds).max(1_000.0).round();
        let (connections, requests) = (connections.to_string(), count.to_string());
        let before = process.cpu_us();
        let args = ["-c", &connections, "-n", &requests, "-r", KEYS, "GET", "k:__rand_int__"];
        let told = self.benchmark(&args)?;
        let cpu_us = process.cpu_us().saturating_sub(before) as f64 / count;
        parse(&told, cpu_us, count as u64).ok_or_else(|| format!("redis-benchmark said: {told}"))
    }

    fn benchmark(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", &LOAD_CORE.to_string(), "redis-benchmark", "--csv", "-p", &self.port]).args(args);
        shell::run_quietly(&mut command)
    }
}

/// A line of `redis-benchmark --csv`: name, requests a second, and the mean, least, 50th, 95th, 99th and largest
/// latency in ms.
fn parse(csv: &str, cpu_us: f64, good: u64) -> Option<Sample> {
    let line = csv.lines().find(|line| line.starts_with("\"GET"))?;
    let numbers: Vec<f64> = line.split(',').filter_map(|cell| cell.trim_matches('"').parse().ok()).collect();
    let &[requests_per_s, _mean, _least, p50, _p95, p99, _most] = numbers.as_slice() else { return None };
    Some(Sample { requests_per_s, p50_us: p50 * 1e3, p99_us: p99 * 1e3, cpu_us, good, ..Sample::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_redis_benchmark_becomes_a_sample() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"GET k:__rand_int__\",\"12345.67\",\"0.080\",\"0.008\",\"0.079\",\"0.111\",\"0.207\",\"1.1\"\n";
        let sample = parse(csv, 5.0, 10).unwrap();
        assert_eq!((sample.requests_per_s, sample.cpu_us, sample.good), (12345.67, 5.0, 10));
        assert_eq!((sample.p50_us.round(), sample.p99_us.round()), (79.0, 207.0));
        assert_eq!(parse("Could not connect", 0.0, 1), None);
    }
}
