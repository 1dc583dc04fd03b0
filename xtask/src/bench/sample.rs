//! One run of the load generator, and what it cost the target meanwhile.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};

use serde_json::Value;

use super::process::{Pinned, files_limit};

/// What one run of the load generator found. Times in µs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) requests_per_s: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) first_token_p50_us: f64,
    pub(super) first_token_p99_us: f64,
    pub(super) events_per_request: f64,
    /// CPU time of the target per good request.
    pub(super) cpu_us: f64,
    pub(super) good: u64,
    pub(super) failed: u64,
    pub(super) seconds: f64,
    /// Streams that were open at the same time, at most.
    pub(super) streams_open_max: u64,
    /// Different keys that were used.
    pub(super) keys_used: u64,
    /// The beginning of the first answer that was not 200.
    pub(super) first_failure: String,
}

/// Whose requests they are.
#[derive(Clone, Debug)]
pub(super) enum Keys {
    /// Nobody's: what is posted is in the first file, which has the first key of the second one in it.
    Posted(PathBuf, PathBuf),
    /// All of one caller.
    One(String),
    /// Of every key in this file in turn.
    File(PathBuf),
}

/// What to ask of the load generator.
#[derive(Clone, Debug)]
pub(super) struct Load<'a> {
    pub(super) url: &'a str,
    pub(super) keys: &'a Keys,
    pub(super) connections: u32,
    pub(super) seconds: f64,
    pub(super) warm_up_s: f64,
    pub(super) prompt_bytes: u32,
    pub(super) stream: bool,
    pub(super) directive: &'a str,
    /// Ends after this many requests, when that comes before the time.
    pub(super) requests_max: Option<u64>,
    /// So many requests a second, whatever becomes of them; as many as fit without it.
    pub(super) rate: Option<f64>,
}

impl Load<'_> {
    /// Runs it on `core` and reads the target's CPU time before and after the measured part.
    pub(super) fn run(&self, rig: &Path, core: usize, target: Option<&Pinned>) -> Result<Sample, String> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "prlimit", &files_limit()]);
        command.args(["taskset", "-c", &core.to_string()]).arg(rig.join("load"));
        command.args(self.arguments()).env("RIG_SYNC", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("load: {e}"))?;
        let (Some(mut go), Some(mut stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("load: its pipes are missing".to_owned());
        };
        await_warm(stderr)?;
        let before = target.map_or(0, Pinned::cpu_us);
        let mut json = String::new();
        let exchange = writeln!(go).and_then(|()| stdout.read_to_string(&mut json));
        let after = target.map_or(0, Pinned::cpu_us);
        exchange.map_err(|e| format!("load: {e}"))?;
        child.wait().map_err(|e| format!("load: {e}"))?;
        let told: Value = serde_json::from_str(&json).map_err(|e| format!("load: {e}: {json}"))?;
        Ok(Sample::from_json(&told, after.saturating_sub(before)))
    }

    fn arguments(&self) -> Vec<String> {
        let mut words = vec!["--url".to_owned(), self.url.to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("-c", self.connections.to_string());
        option("-d", self.seconds.to_string());
        option("-w", self.warm_up_s.to_string());
        option("--prompt-bytes", self.prompt_bytes.to_string());
        match self.keys {
            Keys::Posted(body, keys) => {
                option("--body-file", body.to_string_lossy().into_owned());
                option("--keys-file", keys.to_string_lossy().into_owned());
            }
            Keys::One(key) => option("-H", format!("authorization: Bearer {key}")),
            Keys::File(path) => option("--keys-file", path.to_string_lossy().into_owned()),
        }
        if !self.directive.is_empty() {
            option("--directive", self.directive.to_owned());
        }
        if let Some(most) = self.requests_max {
            option("-n", most.to_string());
        }
        if let Some(per_s) = self.rate {
            option("--rate", per_s.to_string());
        }
        if self.stream {
            words.push("--stream".to_owned());
        }
        words
    }
}

/// Waits for the line that marks the end of the warm-up.
fn await_warm(stderr: ChildStderr) -> Result<(), String> {
    let mut said = String::new();
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if line.trim() == "GO" {
            return Ok(());
        }
        said.push_str(&line);
    }
    Err(format!("load: it ended before its warm-up did: {said}"))
}

impl Sample {
    fn from_json(told: &Value, cpu_us: u64) -> Self {
        let number = |value: &Value| value.as_f64().unwrap_or(0.0);
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        let good = count(&told["ok"]);
        Self {
            requests_per_s: number(&told["rps"]),
            p50_us: number(&told["lat_us"]["p50"]),
            p99_us: number(&told["lat_us"]["p99"]),
            first_token_p50_us: number(&told["ttft_us"]["p50"]),
            first_token_p99_us: number(&told["ttft_us"]["p99"]),
            events_per_request: number(&told["sse_events_per_req"]),
            cpu_us: cpu_us as f64 / good.max(1) as f64,
            good,
            failed: count(&told["non200"]) + count(&told["io_errors"]),
            seconds: number(&told["secs"]),
            streams_open_max: count(&told["streams_open_max"]),
            keys_used: count(&told["keys_used"]),
            first_failure: told["first_non200"].as_str().unwrap_or_default().to_owned(),
        }
    }

    /// Requests a second that were refused or failed.
    pub(super) fn failed_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.failed as f64 / self.seconds } else { 0.0 }
    }

    /// More than one failure in a thousand: its figures say nothing about speed.
    pub(super) fn is_invalid(&self) -> bool {
        self.failed * 1000 > self.good
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests_per_s, p50_us, p99_us, cpu_us, failed, .. } = self;
        write!(
            f,
            "{requests_per_s:8.0}/s  p50 {p50_us:8.1}  p99 {p99_us:9.1}  cpu {cpu_us:7.1}  failed {failed}"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_sample_carries_cpu_per_good_request() {
        let told = json!({"secs": 2.0, "ok": 2000, "non200": 2, "io_errors": 1, "rps": 1000.5, "sse_events_per_req": 52.0,
            "lat_us": {"p50": 1.0, "p99": 2.0}, "ttft_us": {"p50": 3.0, "p99": 4.0}, "first_non200": "HTTP/1.1 500",
            "streams_open_max": 64, "keys_used": 10});
        let sample = Sample::from_json(&told, 50_000);
        let wanted = Sample {
            requests_per_s: 1000.5,
            p50_us: 1.0,
            p99_us: 2.0,
            first_token_p50_us: 3.0,
            first_token_p99_us: 4.0,
            events_per_request: 52.0,
            cpu_us: 25.0,
            good: 2000,
            failed: 3,
            seconds: 2.0,
            streams_open_max: 64,
            keys_used: 10,
            first_failure: "HTTP/1.1 500".to_owned(),
        };
        assert_eq!(sample, wanted);
        assert!(sample.is_invalid() && sample.failed_per_s() == 1.5);
        assert!(!Sample { failed: 2, ..sample }.is_invalid());
    }
}
