//! `TALOS_<PATH>`: every setting that Talos knows by its path, in capitals, dots and underscores alike as `_` (Talos
//! dossier §8.1).

use super::Unresolved;
use crate::path::{Path, Step};
use crate::shape::{self, Shape};

pub(super) const PREFIX: &str = "TALOS_";
/// What Talos knows. Other variables are left alone: an orchestrator may set `TALOS_PORT_4420_TCP`.
const ROOTS: [&str; 11] = [
    "cache",
    "credentials",
    "db",
    "last_used",
    "log",
    "multitenancy",
    "quota",
    "rate_limit",
    "secrets",
    "serve",
    "tracing",
];

/// The setting that a variable means; `None` for a variable of somebody else's.
pub(super) fn resolve(var: &str) -> Option<Result<(Path, &'static Shape), Unresolved>> {
    let rest = var.strip_prefix(PREFIX)?;
    let root = ROOTS.into_iter().find(|root| after(rest, root).is_some_and(|rest| !rest.is_empty()))?;
    let mut path = Path::default();
    path.key(root);
    let found = shape::config().field(root).and_then(|shape| walk(shape, after(rest, root)?, &mut path));
    Some(found.map(|shape| (path, shape)).ok_or_else(|| {
        (format!("there is no such setting below `{root}`; every key of its path, joined by `_`"), None)
    }))
}

/// Positions in lists, by which `_10` comes after `_2`.
pub(super) fn positions(path: &Path) -> Vec<usize> {
    let position = |step: &Step| match step {
        Step::Index(index) => Some(*index),
        Step::Key(_) => None,
    };
    path.0.iter().filter_map(position).collect()
}

/// Keys hold underscores themselves, so each that fits is followed until one leads to the end.
fn walk(shape: &'static Shape, rest: &str, path: &mut Path) -> Option<&'static Shape> {
    if rest.is_empty() {
        return Some(shape);
    }
    let (first, others) = rest.split_once('_').unwrap_or((rest, ""));
    if let (Some(element), Ok(index)) = (shape.element(), first.parse()) {
        path.index(index);
        return walk(element, others, path);
    }
    for name in shape.names() {
        let (Some(rest), Some(field)) = (after(rest, name), shape.field(name)) else { continue };
        path.key(name);
        if let Some(found) = walk(field, rest, path) {
            return Some(found);
        }
        path.pop();
    }
    None
}

/// What stands after a key, without the underscore between.
fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let rest = text.strip_prefix(&key.to_ascii_uppercase())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('_').filter(|rest| !rest.is_empty()) }
}
