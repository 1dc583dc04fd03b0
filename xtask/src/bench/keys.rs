//! How fast keys are verified over HTTP, beside a bare server that answers with the same bytes, and a Redis `GET`.

use std::fmt::Write;
use std::path::Path;

use bh_testkit::{Answer, Call, run_scenario};
use serde_json::{Value, json};

use super::bare::{self, write};
use super::figures::Spread;
use super::gateway::Home;
use super::options::Options;
use super::process::Pinned;
use super::redis::Redis;
use super::sample::{Keys, Load, Sample};
use super::target::{LOAD_CORE, TARGET_CORE, fresh_folder};

const VERIFY_PATH: &str = "/v2alpha1/admin/apiKeys:verify";
const ISSUE_PATH: &str = "/v2alpha1/admin/issuedApiKeys";
/// What the server adds to each answer by itself, or says of one request only.
const OWN_HEADERS: [&str; 3] = ["content-length", "date", "x-request-id"];
const BUSY_CONNECTIONS: u32 = 64;
const HEAD: &str = "\
| target | CPU µs/request, c=64 | × bare | requests/s, one core, c=64 | p50 µs, c=1, across cores | p99 µs | peak RSS MiB | failed |
|---|---|---|---|---|---|---|---|
";

/// One measured process.
struct Target {
    name: &'static str,
    process: Pinned,
    asked: Asked,
    busy: Vec<Sample>,
    single: Vec<Sample>,
}

/// How it is asked.
enum Asked {
    Http(String),
    Redis(Redis),
}

/// Issues `count` keys and measures how fast they are verified in turn; the table.
///
/// # Errors
/// When a part cannot be started, a key is not issued, or one is not good.
pub(super) fn table(rig: &Path, binary: &Path, count: u64, options: &Options) -> Result<String, String> {
    let work = fresh_folder()?;
    let home = Home::with(work.join("keys"), configuration)?;
    let (gateway, base) = home.serve(binary, TARGET_CORE)?;
    eprintln!("bench: issuing {count} keys");
    let (keys, answer) = run_scenario(prepare(&base, count))?;
    let posted = posted(&work, &keys)?;
    let floor = floor(rig, &work, &answer)?;
    let redis = Redis::start(&work, TARGET_CORE)?;
    let redis = Target::new("Redis `GET`", redis.0, Asked::Redis(redis.1));
    let ours = Target::new("bulkhead, verify", gateway, Asked::Http(base + VERIFY_PATH));
    let mut targets = [floor, ours, redis];
    for round in 1..=options.rounds {
        eprintln!("bench: round {round} of {}", options.rounds);
        for target in &mut targets {
            target.measure(rig, &posted, options)?;
        }
    }
    Ok(report(&targets))
}

impl Target {
    fn new(name: &'static str, process: Pinned, asked: Asked) -> Self {
        Self { name, process, asked, busy: Vec::new(), single: Vec::new() }
    }

    fn measure(&mut self, rig: &Path, posted: &Keys, options: &Options) -> Result<(), String> {
        let busy = self.sample(rig, posted, BUSY_CONNECTIONS, 5.0 * options.scale)?;
        eprintln!("  {:18} peak    {busy}", self.name);
        let single = self.sample(rig, posted, 1, 4.0 * options.scale)?;
        eprintln!("  {:18} single  {single}", self.name);
        self.busy.push(busy);
        self.single.push(single);
        Ok(())
    }

    fn sample(&self, rig: &Path, posted: &Keys, connections: u32, seconds: f64) -> Result<Sample, String> {
        let url = match &self.asked {
            Asked::Redis(redis) => return redis.sample(&self.process, connections, seconds),
            Asked::Http(url) => url,
        };
        let load = Load {
            url,
            keys: posted,
            connections,
            seconds,
            warm_up_s: 0.5,
            prompt_bytes: 0,
            stream: false,
            directive: "",
            requests_max: None,
            rate: None,
        };
        load.run(rig, LOAD_CORE, Some(&self.process))
    }
}

/// Nothing but the key server: its cache on, no caller, no provider.
fn configuration(port: u16) -> String {
    format!(
        "server:\n  listen: \"127.0.0.1:{port}\"\ncache:\n  type: memory\n  enabled: true\n  ttl: 1h\n\
         secrets:\n  hmac:\n    current: bench-bench-bench-bench-bench-bench-bench\n"
    )
}

/// Keys of one length, and the answer to the question about the first.
async fn prepare(base: &str, count: u64) -> Result<(Vec<String>, Answer), String> {
    let mut keys: Vec<String> = Vec::new();
    while (keys.len() as u64) < count {
        let body = json!({"name": "bench", "actor_id": "bench", "scopes": ["llm"]});
        let issued = Call::post(format!("{base}{ISSUE_PATH}"), &body).send().await;
        let told: Value = issued.json();
        let Some(secret) = told["secret"].as_str() else {
            return Err(format!("no key was issued: {} {}", issued.status, issued.text()));
        };
        // The load generator writes one key over another, so all are as long as the first.
        if keys.first().is_none_or(|first| first.len() == secret.len()) {
            keys.push(secret.to_owned());
        }
    }
    let question = json!({"credential": keys.first()});
    let mut answer = Call::post(format!("{base}{VERIFY_PATH}"), &question).send().await;
    // Once more, from memory: that is what is measured.
    answer = match answer.json()["is_valid"].as_bool() {
        Some(true) => Call::post(format!("{base}{VERIFY_PATH}"), &question).send().await,
        _ => return Err(format!("the first key is not good: {} {}", answer.status, answer.text())),
    };
    Ok((keys, answer))
}

/// Writes what is posted, and the keys that take turns in it.
fn posted(work: &Path, keys: &[String]) -> Result<Keys, String> {
    let body = json!({"credential": keys.first()}).to_string();
    Ok(Keys::Posted(write(work, "verify.json", &body)?, write(work, "issued.txt", &keys.join("\n"))?))
}

/// A bare server that answers as the gateway did.
fn floor(rig: &Path, work: &Path, answer: &Answer) -> Result<Target, String> {
    let mut text = String::new();
    for (name, value) in &answer.headers.0 {
        if !OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            writeln!(text, "{name}: {value}").ok();
        }
    }
    write!(text, "\n{}", answer.text()).ok();
    let (process, url) = bare::serve(rig, work, &text)?;
    Ok(Target::new("bare hyper server", process, Asked::Http(url + VERIFY_PATH)))
}

fn report(targets: &[Target]) -> String {
    let spread = |samples: &[Sample], figure: fn(&Sample) -> f64| {
        let valid = !samples.iter().any(Sample::is_invalid);
        valid.then(|| Spread::of(samples.iter().map(figure).collect())).flatten()
    };
    let floor = targets.first().and_then(|bare| spread(&bare.busy, |s| s.cpu_us));
    let mut text = HEAD.to_owned();
    for target in targets {
        let Target { name, process, busy, single, .. } = target;
        let failed: u64 = busy.iter().chain(single).map(|sample| sample.failed).sum();
        let cpu = spread(busy, |s| s.cpu_us);
        let cells = [
            super::report::cell(cpu, 1),
            super::report::ratio(cpu, floor),
            super::report::cell(spread(busy, |s| s.requests_per_s), 0),
            super::report::cell(spread(single, |s| s.p50_us), 0),
            super::report::cell(spread(single, |s| s.p99_us), 0),
            format!("{:.1}", process.peak_rss_kib() as f64 / 1024.0),
        ];
        writeln!(text, "| {name} | {} | {failed} |", cells.join(" | ")).ok();
        if let Some(bad) = busy.iter().chain(single).find(|sample| !sample.first_failure.is_empty()) {
            writeln!(text, "\nFirst failure of {name}: {}\n", bad.first_failure).ok();
        }
    }
    text
}
