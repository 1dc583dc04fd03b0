//! The configuration as a whole: what loads, what is refused and how, and who wins.

mod explained;
mod files;
mod keys;
mod layers;
mod never_panics;
mod refused;
mod seeds;
mod tenancy;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::{Loaded, Problem, SourceFile, Sources, load};

/// Loads `yaml` as `bulkhead.yaml` with these variables; files named `/secret/<text>` hold `<text>` and a newline,
/// and those in `/etc/talos` are seed 003's overlay.
pub(crate) fn load_with(yaml: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<Problem>> {
    let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let file = Some(SourceFile { name: "bulkhead.yaml", text: yaml });
    load(Sources { file, env: &env, read_file: &read_fake })
}

pub(crate) fn loaded(yaml: &str) -> Loaded {
    load_with(yaml, &[]).unwrap_or_else(|problems| panic!("{}", lines(&problems).join("\n")))
}

/// The problems as the lines a user sees.
pub(crate) fn refusals(yaml: &str) -> Vec<String> {
    match load_with(yaml, &[]) {
        Ok(loaded) => panic!("it loaded: {:?}", loaded.config),
        Err(problems) => lines(&problems),
    }
}

pub(crate) fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(Problem::to_string).collect()
}

fn read_fake(path: &Path) -> io::Result<String> {
    if path.starts_with("/etc/talos") {
        return Ok(seeds::SEED_003_OVERLAY.to_owned());
    }
    match path.strip_prefix("/secret") {
        Ok(text) => Ok(format!("{}\n", text.display())),
        Err(_) => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    }
}
