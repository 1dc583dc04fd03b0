//! The project's own commands. `cargo xtask` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks to its user")]

mod bench;
mod conformance;
mod layering;
mod load;
mod parts;
mod results;
mod shell;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  test [FILTER…]     everything: unit, contract, black-box on both stores, real clients
  layering           which crate may name which, and how long a file may be
  conformance        rewrites docs/checklist.md and prints the ids without a passing test
      --check        fails when docs/checklist.md is stale, changes nothing
      --require IDS  fails when one of IDS (comma-separated) has no passing test
  bench              the gateway beside the bare proxy, as a table; `bench --help` for more
  load URL [ARG…]    the load generator alone
";

/// Every command's result: nothing, or the sentence to print before exit code 1.
pub(crate) type Done = Result<(), String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.split_first() {
        Some((&"test", rest)) => test::run(rest),
        Some((&"layering", [])) => layering::run(),
        Some((&"conformance", rest)) => conformance::run(rest),
        Some((&"bench", rest)) => bench::run(rest),
        Some((&"load", rest)) => load::run(rest),
        Some((&("help" | "--help"), _)) | None => {
            print!("{USAGE}");
            Ok(())
        }
        Some((other, _)) => Err(format!("no such command: {other}\n\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            ExitCode::FAILURE
        }
    }
}
