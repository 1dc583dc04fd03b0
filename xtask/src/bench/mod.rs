//! `cargo xtask bench`: the gateway beside the bare proxy, in one run, on this machine.
//!
//! The method is the rig's (`benches/rig/README.md`): the mock and the load generator share core 0, what is measured
//! has core 1; targets take turns inside each round, so that a noisy neighbour hits all of them; CPU time per request
//! is the figure to trust, because it does not move with the neighbours as rates and latencies do.

mod bare;
mod figures;
mod gateway;
mod keys;
mod noisy;
mod onboard;
mod options;
mod process;
mod redis;
mod report;
mod sample;
mod scenario;
mod streams;
mod target;
mod tenants;
mod verify;

use std::path::{Path, PathBuf};

use crate::{Done, shell};
use options::{Mode, Options};
use sample::Sample;
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
    let setting = report::setting(&options);
    let text = match (options.mode, &gateway) {
        (Mode::Keys(count), Some(binary)) => keys::table(&rig, binary, count, &options)?,
        (Mode::Verify(records), Some(binary)) => verify::table(binary, records, &options)?,
        (Mode::TenantRows(count), Some(binary)) => tenants::table(binary, count, &options)?,
        (Mode::Onboard(count), Some(binary)) => onboard::table(&rig, binary, count, &options)?,
        (Mode::Noisy, Some(binary)) => noisy::table(&rig, binary, &options)?,
        (Mode::Keys(_) | Mode::Verify(_) | Mode::TenantRows(_) | Mode::Onboard(_) | Mode::Noisy, None) => {
            return Err("bench: without the gateway there is nothing to measure".to_owned());
        }
        (Mode::Streams(count), gateway) => {
            streams::table(&Bench::start(&rig, gateway.as_deref(), &options)?, count, &options)?
        }
        (Mode::Table, gateway) => {
            let mut bench = Bench::start(&rig, gateway.as_deref(), &options)?;
            let first_uses = first_uses(&bench, options.tenants)?;
            let measured = rounds(&mut bench, &options)?;
            report::markdown(&bench, &measured) + &report::first_uses(&bench, &first_uses)
        }
    };
    print!("{setting}\n\n{text}");
    Ok(())
}

/// With many keys, what the first request of each costs: one sample a target. The rounds then measure keys in use.
fn first_uses(bench: &Bench, tenants: u64) -> Result<Vec<Sample>, String> {
    if tenants == 1 {
        return Ok(Vec::new());
    }
    let first = |target| {
        let sample = bench.use_every_key(target, tenants)?;
        eprintln!("  {:22} {:12} {sample}", target.name, "first use");
        Ok(sample)
    };
    bench.targets.iter().map(first).collect()
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
