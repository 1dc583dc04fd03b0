//! The workspace as `cargo metadata` tells it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::shell;

/// The workspace's packages, and what each links in the end.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) packages: Vec<Package>,
}

/// One workspace member.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: String,
    /// The path of its `Cargo.toml`.
    pub(super) manifest: String,
    /// What the manifest names.
    pub(super) dependencies: Vec<Dependency>,
    /// Names of all packages it links, directly or not; tests and build scripts aside.
    pub(super) links: BTreeSet<String>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug)]
pub(super) struct Dependency {
    pub(super) name: String,
    /// True for `[dev-dependencies]`.
    pub(super) dev: bool,
}

/// Asks cargo.
pub(super) fn read() -> Result<Graph, String> {
    let json = shell::run_quietly(shell::cargo().args(["metadata", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&json).map_err(|e| format!("cargo metadata: {e}"))?;
    Ok(parse(&metadata))
}

fn parse(metadata: &Value) -> Graph {
    let names: BTreeMap<&str, &str> =
        list(&metadata["packages"]).map(|p| (text(&p["id"]), text(&p["name"]))).collect();
    let edges: BTreeMap<&str, Vec<&str>> =
        list(&metadata["resolve"]["nodes"]).map(|node| (text(&node["id"]), linked(node))).collect();
    let members: BTreeSet<&str> = list(&metadata["workspace_members"]).map(text).collect();
    let root = text(&metadata["workspace_root"]);
    let packages = list(&metadata["packages"]).filter(|p| members.contains(text(&p["id"])));
    let packages = packages.map(|p| Package {
        name: text(&p["name"]).to_owned(),
        manifest: text(&p["manifest_path"]).trim_start_matches(root).trim_start_matches('/').to_owned(),
        dependencies: list(&p["dependencies"]).map(dependency).collect(),
        links: closure(text(&p["id"]), &edges).iter().map(|id| names[id].to_owned()).collect(),
    });
    Graph { packages: packages.collect() }
}

fn dependency(declared: &Value) -> Dependency {
    Dependency { name: text(&declared["name"]).to_owned(), dev: declared["kind"] == "dev" }
}

/// The ids a node links in a normal build.
fn linked(node: &Value) -> Vec<&str> {
    let normal = |dep: &&Value| list(&dep["dep_kinds"]).any(|kind| kind["kind"].is_null());
    list(&node["deps"]).filter(normal).map(|dep| text(&dep["pkg"])).collect()
}

fn closure<'a>(start: &str, edges: &BTreeMap<&'a str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = edges.get(start).cloned().unwrap_or_default();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(edges.get(id).into_iter().flatten());
        }
    }
    reached
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_linked_follows_normal_edges_only() {
        let edge = |to: &str, kind: Value| json!({"pkg": to, "dep_kinds": [{"kind": kind}]});
        let package = |id: &str| {
            json!({"id": id, "name": format!("{id}-name"), "manifest_path": "/r/a/Cargo.toml",
            "dependencies": [{"name": "b", "kind": null}, {"name": "d", "kind": "dev"}]})
        };
        let graph = parse(&json!({
            "workspace_root": "/r", "workspace_members": ["a"],
            "packages": [package("a"), package("b"), package("c"), package("d")],
            "resolve": {"nodes": [
                {"id": "a", "deps": [edge("b", json!(null)), edge("d", json!("dev"))]},
                {"id": "b", "deps": [edge("c", json!(null))]},
            ]}
        }));
        let [a] = graph.packages.as_slice() else { panic!("one member") };
        assert_eq!((a.name.as_str(), a.manifest.as_str()), ("a-name", "a/Cargo.toml"));
        assert_eq!(a.links.iter().map(String::as_str).collect::<Vec<_>>(), ["b-name", "c-name"]);
        assert_eq!(a.dependencies.iter().map(|d| d.dev).collect::<Vec<_>>(), [false, true]);
    }
}
