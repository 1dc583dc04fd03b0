//! Changing the tree: one setting laid over it, and older spellings of keys moved to ours.

use crate::check::Finding;
use crate::env::Setting;
use crate::path::{Path, Step};
use crate::problem::Origin;
use crate::yaml::node::{Content, Entry, Node};

/// Lays one setting over the tree and returns what it covered.
pub(crate) fn overlay(tree: &mut Node, setting: Setting) -> Result<Option<Node>, Finding> {
    let origin = setting.node.origin;
    let text = setting.path.to_string();
    let unfit = |what: &str| Finding::new(origin, text.clone(), what.to_owned());
    let Some((last, parents)) = setting.path.0.split_last() else { return Err(unfit("names no setting")) };
    let mut at = tree;
    for step in parents {
        at = descend(at, step, origin).ok_or_else(|| unfit("the file has something else here"))?;
    }
    if let Step::Key(key) = last {
        // A value and its file are two ways to say one thing: the later layer's way replaces the earlier's.
        let other = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
        at.take(&other);
    }
    let place = descend(at, last, origin).ok_or_else(|| unfit("the list has no such position"))?;
    if setting.appended {
        if place.is_null() {
            place.content = Content::List(Vec::new());
        }
        return match &mut place.content {
            Content::List(items) => {
                items.push(setting.node);
                Ok(None)
            }
            Content::Scalar(_) | Content::Map(_) => {
                Err(unfit("the file has something else than a list here"))
            }
        };
    }
    let covered = std::mem::replace(place, setting.node);
    Ok((!covered.is_null()).then_some(covered))
}

fn descend<'n>(node: &'n mut Node, step: &Step, origin: Origin) -> Option<&'n mut Node> {
    match step {
        Step::Key(key) => node.child_mut(key, origin),
        Step::Index(index) => {
            if node.is_null() {
                node.content = Content::List(Vec::new());
            }
            let Content::List(items) = &mut node.content else { return None };
            if *index == items.len() {
                items.push(Node::empty_map(origin));
            }
            items.get_mut(*index)
        }
    }
}

/// Older spellings of keys inside the file, and ours.
pub const KEY_ALIASES: &[(&[&str], &[&str])] = &[
    (&["secrets_key"], &["secrets", "master_key"]),
    (&["signing_key"], &["secrets", "evidence_key"]),
    (&["log_level"], &["log", "level"]),
    (&["log_format"], &["log", "format"]),
    (
        &["gateway", "rate_limits", "per_agent_requests_per_min"],
        &["gateway", "rate_limits", "per_caller_requests_per_min"],
    ),
];

/// Moves older spellings to ours.
pub(crate) fn rename_keys(tree: &mut Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (old, new) in KEY_ALIASES {
        let Some((last, parents)) = old.split_last() else { continue };
        let Some(Entry { node, key_origin, .. }) =
            parent_mut(tree, parents).and_then(|parent| parent.take(last))
        else {
            continue;
        };
        let target = Path::of_keys(new);
        if tree.at(&target).is_some() {
            let message = format!("also given as `{target}`: remove one");
            findings.push(Finding::new(key_origin, Path::of_keys(old).to_string(), message));
        } else if let Err(finding) = overlay(tree, Setting { path: target, node, appended: false }) {
            findings.push(finding);
        }
    }
    findings
}

fn parent_mut<'n>(tree: &'n mut Node, keys: &[&str]) -> Option<&'n mut Node> {
    keys.iter().try_fold(tree, |node, key| {
        node.entries_mut()?.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.node)
    })
}
