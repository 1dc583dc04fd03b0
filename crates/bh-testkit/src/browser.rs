//! A page, looked at with Chromium: what it becomes, what it says on its console, and what it asks for.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::parts;

/// How long the page's own clock runs: its timers and requests are over then, however long that takes outside.
const VIRTUAL_MS: u32 = 10_000;

/// What was seen of a page.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The document as scripts left it.
    pub dom: String,
    /// What was said on its console, errors of its policy among it.
    pub console: Vec<String>,
    /// The addresses that it asked for, reached or not. Its own is none of them.
    pub requests: Vec<String>,
}

/// Opens a page and waits until it is done. No name can be resolved, so nothing leaves this machine.
///
/// # Panics
/// When Chromium cannot be run, or shows nothing.
#[must_use]
pub fn look_at(url: &str) -> Seen {
    let home = tempfile::tempdir().expect("a folder for Chromium");
    let log = home.path().join("requests.json");
    let output = Command::new(parts::chromium())
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", home.path().join("profile").display()))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(format!("--virtual-time-budget={VIRTUAL_MS}"))
        .args(["--dump-dom", url])
        .env("HOME", home.path())
        .stdin(Stdio::null())
        .output()
        .expect("Chromium runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "Chromium ended with {}: {said}", output.status);
    let log = std::fs::read_to_string(&log).expect("Chromium keeps its log");
    Seen {
        dom: String::from_utf8_lossy(&output.stdout).into_owned(),
        console: said.lines().filter(|line| line.contains(":CONSOLE")).map(str::to_owned).collect(),
        requests: requests(&log),
    }
}

/// What pages asked for: requests that an origin has begun, and not the browser by itself.
fn requests(log: &str) -> Vec<String> {
    // Cut short, it lacks its end: each event stands on a line of its own.
    let events =
        log.lines().filter_map(|line| serde_json::from_str::<Value>(line.trim_end_matches(',')).ok());
    let mut asked: Vec<String> = events.filter_map(|event| asked_for(&event["params"])).collect();
    asked.sort();
    asked.dedup();
    asked
}

fn asked_for(params: &Value) -> Option<String> {
    params["initiator"].as_str().filter(|origin| origin.starts_with("http"))?;
    params["url"].as_str().map(str::to_owned)
}
