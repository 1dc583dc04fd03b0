//! Finding, in test sources, which test proves which id.

use std::path::Path;

use super::Proofs;
use crate::shell;

/// What stands above a test: `/// Proves: ID, ID`.
const MARK: &str = "/// Proves:";

/// A test that proves something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Proof {
    /// The package it is in.
    pub(super) package: String,
    /// The name of its function.
    pub(super) test: String,
}

/// Every proof in the packages below `crates`, by id, sorted.
pub(super) fn proofs(crates: &Path) -> Proofs {
    let mut proofs = Proofs::new();
    for path in shell::files_below(crates, "rs") {
        let below = path.strip_prefix(crates).unwrap_or(&path);
        let package = below.components().next().map(|c| c.as_os_str().to_string_lossy().into_owned());
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for (id, test) in in_source(&text) {
            let proof = Proof { package: package.clone().unwrap_or_default(), test };
            proofs.entry(id).or_default().push(proof);
        }
    }
    for proofs in proofs.values_mut() {
        proofs.sort();
        proofs.dedup();
    }
    proofs
}

/// Pairs of id and test name: a mark belongs to the next function below it.
fn in_source(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut waiting: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim_start) {
        if let Some(ids) = line.strip_prefix(MARK) {
            let ids = ids.split([',', ' ']).map(|id| id.trim_end_matches('.'));
            waiting.extend(ids.filter(|id| !id.is_empty()).map(str::to_owned));
        } else if let Some(name) = function_name(line) {
            found.extend(waiting.drain(..).map(|id| (id, name.to_owned())));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line;
    for word in ["pub ", "pub(super) ", "pub(crate) ", "async "] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    rest.strip_prefix("fn ")?.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_belongs_to_the_next_test() {
        let text = "
            /// Two keys, one tenant.
            /// Proves: TALON-01, TALON-02.
            /// Proves: CONN-72
            #[tokio::test]
            async fn a_key_works() {}
            fn unmarked() {}
            on_both_stores! {
                /// Proves: TALON-05
                async fn a_cap_holds(store) {
        ";
        let pair = |id: &str, name: &str| (id.to_owned(), name.to_owned());
        let wanted = [
            pair("TALON-01", "a_key_works"),
            pair("TALON-02", "a_key_works"),
            pair("CONN-72", "a_key_works"),
            pair("TALON-05", "a_cap_holds"),
        ];
        assert_eq!(in_source(text), wanted);
    }
}
