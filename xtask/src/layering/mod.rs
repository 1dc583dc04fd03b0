//! `cargo xtask layering`: the house's shape, enforced.

mod graph;
mod rules;
mod sizes;

use crate::{Done, shell};

/// Checks the crate graph and the length of source files.
pub(crate) fn run() -> Done {
    let graph = graph::read()?;
    let violations = rules::violations(&graph);
    for violation in &violations {
        eprintln!("layering: {violation}");
    }
    let lengths = sizes::measure(&shell::root());
    for long in &lengths.worth_splitting {
        println!("layering: {long} (split it soon: over {} lines)", sizes::WARN_LINES);
    }
    for long in &lengths.too_long {
        eprintln!("layering: {long} (over {} lines)", sizes::MAX_LINES);
    }
    let count = violations.len() + lengths.too_long.len();
    if count > 0 {
        return Err(format!("{count} violation(s)"));
    }
    println!("layering: {} crates keep to their rooms", graph.packages.len());
    Ok(())
}
