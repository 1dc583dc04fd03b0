//! `cargo xtask test`: everything, on a fresh machine with only Rust.

use std::time::Instant;

use bh_testkit::{Postgres, parts as names};

use crate::{Done, conformance, parts, results, shell};

/// Sets the parts up, builds, runs every test, writes `target/test-results.json`, prints a summary.
///
/// Words after `test` are passed on as name filters; the results file is written by whole runs only.
pub(crate) fn run(filters: &[&str]) -> Done {
    let started = Instant::now();
    let environment = parts::set_up()?;
    // One server serves the whole run, a database per test.
    let postgres = Postgres::private();
    println!("test: parts are ready after {:.0?}", started.elapsed());
    let runner = Runner { environment, postgres_url: postgres.url() };

    runner.cargo(&["build", "--workspace", "--quiet"])?;
    let outcome = if shell::has("cargo-nextest") { runner.nextest(filters) } else { runner.libtest(filters) };
    let documented = runner.cargo(&["test", "--workspace", "--doc", "--quiet"]);
    drop(postgres);

    let (results, tests) = outcome;
    println!(
        "\ntest: {} passed, {} failed, {:.0?} in all",
        results.passed.len(),
        results.failed.len(),
        started.elapsed()
    );
    for flaky in &results.flaky {
        println!("test: FLAKY {} {}: failed, then passed; to be mended", flaky.binary, flaky.name);
    }
    for failed in &results.failed {
        println!("test: FAILED {} {}", failed.binary, failed.name);
    }
    if results.passed.is_empty() && tests.is_ok() {
        return Err("the test runner left no report, or no test was chosen".to_owned());
    }
    if filters.is_empty() {
        results.write()?;
        println!("{}", conformance::summary(&results)?);
    }
    tests.and(documented)
}

struct Runner {
    environment: Vec<(&'static str, std::path::PathBuf)>,
    postgres_url: String,
}

impl Runner {
    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = shell::cargo();
        command.args(args).envs(self.environment.iter().map(|(name, path)| (name, path)));
        command.env(names::PG_URL_ENV, &self.postgres_url);
        command
    }

    fn cargo(&self, args: &[&str]) -> Done {
        shell::run(&mut self.command(args))
    }

    fn nextest(&self, filters: &[&str]) -> (results::Results, Done) {
        results::forget_junit();
        let done = self.cargo(&[&["nextest", "run", "--workspace", "--no-tests", "warn"], filters].concat());
        (results::from_junit(), done)
    }

    /// Without nextest: slower, and a hang is not cut short, but the same tests.
    fn libtest(&self, filters: &[&str]) -> (results::Results, Done) {
        println!("test: cargo-nextest is not installed, using `cargo test`");
        let mut command =
            self.command(&["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"]);
        command.arg("--").args(filters).args(["--test-threads", "2"]);
        match command.output() {
            Err(e) => (results::Results::default(), Err(format!("cargo test: {e}"))),
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                let errors = String::from_utf8_lossy(&output.stderr);
                print!("{text}");
                eprint!("{errors}");
                let done = if output.status.success() { Ok(()) } else { Err("tests failed".to_owned()) };
                (results::from_libtest(&text), done)
            }
        }
    }
}
