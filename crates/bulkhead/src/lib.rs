//! The binary: command line, loading, assembly, signals. No rule is decided here.

mod assemble;
mod cli;
mod compile;
mod data_dir;
mod demo;
mod edge;
mod jobs;
mod load;
mod pages;
mod quickstart;
mod reload;
mod secrets;
mod serve;
mod shared;
mod stories;
mod tenant_logs;
mod trails;
mod webhooks;

use std::process::ExitCode;

/// Runs the command line and returns its exit code: 0 done, 1 failed, 2 used wrongly.
#[must_use]
pub fn run() -> ExitCode {
    pages::keep_small();
    cli::run()
}
