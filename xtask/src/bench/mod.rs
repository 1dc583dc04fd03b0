//! `cargo xtask bench`: the gateway beside the bare proxy, in one run, on this machine.
//!
//! The method is the rig's (`benches/rig/README.md`): the mock and the load generator share core 0, what is measured
//! has core 1; targets take turns inside each round, so that a noisy neighbour hits all of them; CPU time per request
//! is the figure to trust, because it does not move with the neighbours as rates and latencies do.

mod figures;
mod options;
mod process;
mod report;
mod sample;
mod scenario;
mod target;

use std::path::{Path, PathBuf};

use crate::{Done, shell};
use options::Options;
use scenario::{Measured, Scenario};
use target::Bench;

/// Runs the benchmark and prints its table in Markdown on stdout; progress goes to stderr.
pub(crate) fn run(args: &[&str]) -> Done {
    let Some(options) = Options::parse(args)? else {
        print!("{}", options::HELP);
        return Ok(());
    };
    let rig = build_rig()?;
    let gateway = if options.self_check { None } else { Some(build_gateway()?) };
    let mut bench = Bench::start(&rig, gateway.as_deref(), &options)?;
    bench.prefill(options.rows)?;
    let measured = rounds(&mut bench, &options)?;
    print!("{}", report::markdown(&bench, &measured, &options));
    Ok(())
}

fn rounds(bench: &mut Bench, options: &Options) -> Result<Measured, String> {
    let mut measured = Measured::default();
    for round in 1..=options.rounds {
        eprintln!("bench: round {round} of {}", options.rounds);
        for scenario in Scenario::ALL {
            let direct = scenario.is_paired().then(|| bench.measure_direct(scenario, options)).transpose()?;
            for index in 0..bench.targets.len() {
                let sample = bench.measure(index, scenario, options)?;
                eprintln!("  {:22} {:12} {sample}", bench.targets[index].name, scenario.name());
                measured.add(index, scenario, sample, direct.as_ref());
            }
        }
    }
    Ok(measured)
}

/// Builds the rig's programs; the folder they are in.
pub(crate) fn build_rig() -> Result<PathBuf, String> {
    let target = shell::target_dir().join("rig");
    let manifest = shell::root().join("benches/rig/Cargo.toml");
    let mut cargo = shell::cargo();
    cargo.args(["build", "--release", "--quiet", "--manifest-path"]).arg(manifest);
    shell::run(cargo.arg("--target-dir").arg(&target))?;
    Ok(target.join("release"))
}

fn build_gateway() -> Result<PathBuf, String> {
    shell::run(shell::cargo().args(["build", "--release", "--quiet", "--package", "bulkhead"]))?;
    let binary: &Path = &shell::target_dir().join("release/bulkhead");
    binary.canonicalize().map_err(|e| format!("{}: {e}", binary.display()))
}
