//! Which room may name which, and which heavy library lives where (ARCHITECTURE.md, "rooms").

use super::graph::{Graph, Package};

/// Each room and the rooms it may name. `bh-domain <- bh-wire <- bh-app <- {bh-store, bh-adapters, bh-http} <-
/// bulkhead`; the three in braces never name each other; `bh-config` knows the rules alone.
const ROOMS: &[(&str, &[&str])] = &[
    ("bh-domain", &[]),
    ("bh-wire", &["bh-domain"]),
    ("bh-config", &["bh-domain"]),
    ("bh-app", &["bh-domain", "bh-wire"]),
    ("bh-store", &["bh-domain", "bh-wire", "bh-app"]),
    ("bh-adapters", &["bh-domain", "bh-wire", "bh-app"]),
    ("bh-http", &["bh-domain", "bh-wire", "bh-app"]),
    ("bulkhead", &["bh-domain", "bh-wire", "bh-config", "bh-app", "bh-store", "bh-adapters", "bh-http"]),
    ("bh-testkit", &["bh-domain", "bh-wire"]),
    ("xtask", &["bh-testkit"]),
];

/// What any room may name for its tests.
const FOR_TESTS: &str = "bh-testkit";

/// A library and the only room that may name it.
const ONE_ROOM: &[(&str, &str)] = &[
    ("sqlx", "bh-store"),
    ("axum", "bh-http"),
    ("hyper-rustls", "bh-adapters"),
    ("tiktoken-rs", "bh-adapters"),
    ("reqwest", "bh-adapters"),
    ("redis", "bh-adapters"),
    ("kube", "bh-adapters"),
    ("regorus", "bh-adapters"),
];

/// Rooms without I/O, and what they must not link, not even through others.
const PURE: &[&str] = &["bh-domain", "bh-wire"];
const NOT_PURE: &[&str] = &["tokio", "hyper", "async-std", "smol", "mio", "reqwest", "sqlx"];

/// Every broken rule, as one sentence with the manifest to mend.
pub(super) fn violations(graph: &Graph) -> Vec<String> {
    graph.packages.iter().flat_map(of_package).collect()
}

fn of_package(package: &Package) -> Vec<String> {
    let Some((_, allowed)) = ROOMS.iter().find(|(room, _)| *room == package.name) else {
        return vec![format!("{}: no rule names the room `{}`", package.manifest, package.name)];
    };
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let for_tests = dependency.dev && name == FOR_TESTS;
        if is_room(name) && !allowed.contains(&name) && !for_tests {
            found.push(format!("{}: `{}` may not name `{name}`", package.manifest, package.name));
        }
        if let Some((_, room)) =
            ONE_ROOM.iter().find(|(library, room)| *library == name && *room != package.name)
        {
            found.push(format!("{}: only `{room}` may name `{name}`", package.manifest));
        }
    }
    if PURE.contains(&package.name.as_str()) {
        let linked = NOT_PURE.iter().filter(|&&name| package.links.contains(name));
        found.extend(linked.map(|name| format!("{}: `{}` links `{name}`", package.manifest, package.name)));
    }
    found
}

fn is_room(name: &str) -> bool {
    ROOMS.iter().any(|(room, _)| *room == name)
}

#[cfg(test)]
mod tests {
    use super::super::graph::Dependency;
    use super::*;

    fn package(name: &str, normal: &[&str], dev: &[&str], links: &[&str]) -> Package {
        let dependency = |dev| move |name: &&str| Dependency { name: (*name).to_owned(), dev };
        let normal = normal.iter().map(dependency(false));
        Package {
            name: name.to_owned(),
            manifest: format!("crates/{name}/Cargo.toml"),
            dependencies: normal.chain(dev.iter().map(dependency(true))).collect(),
            links: links.iter().map(|&link| link.to_owned()).collect(),
        }
    }

    #[test]
    fn a_good_house_has_no_violation() {
        let packages = vec![
            package("bh-domain", &["serde"], &["bh-testkit"], &["serde"]),
            package("bh-store", &["bh-app", "bh-domain", "sqlx"], &["bh-testkit"], &["tokio", "sqlx"]),
            package("bulkhead", &["bh-store", "bh-http", "bh-config"], &[], &["tokio"]),
        ];
        assert_eq!(violations(&Graph { packages }), Vec::<String>::new());
    }

    #[test]
    fn a_bad_graph_is_named_edge_by_edge() {
        let packages = vec![
            package("bh-domain", &["bh-wire"], &[], &["tokio"]),
            package("bh-http", &["bh-store", "axum", "sqlx"], &["bh-adapters"], &[]),
            package("bh-app", &["bh-testkit"], &[], &[]),
            package("bh-new", &[], &[], &[]),
        ];
        let wanted = [
            "crates/bh-domain/Cargo.toml: `bh-domain` may not name `bh-wire`",
            "crates/bh-domain/Cargo.toml: `bh-domain` links `tokio`",
            "crates/bh-http/Cargo.toml: `bh-http` may not name `bh-store`",
            "crates/bh-http/Cargo.toml: only `bh-store` may name `sqlx`",
            "crates/bh-http/Cargo.toml: `bh-http` may not name `bh-adapters`",
            "crates/bh-app/Cargo.toml: `bh-app` may not name `bh-testkit`",
            "crates/bh-new/Cargo.toml: no rule names the room `bh-new`",
        ];
        assert_eq!(violations(&Graph { packages }), wanted);
    }
}
