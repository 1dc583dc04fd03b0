//! `cargo xtask load URL …`: the rig's load generator alone.

use crate::{Done, bench, shell};

/// Builds the rig and runs its load generator with the given arguments.
pub(crate) fn run(args: &[&str]) -> Done {
    let Some((url, rest)) = args.split_first().filter(|(url, _)| url.starts_with("http://127.0.0.1:")) else {
        return Err("load needs a URL on http://127.0.0.1:PORT; see benches/rig/README.md".to_owned());
    };
    let rig = bench::build_rig()?;
    shell::run(shell::in_root(&rig.join("load").to_string_lossy()).args(["--url", url]).args(rest))
}
