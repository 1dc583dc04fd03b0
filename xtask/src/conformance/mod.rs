//! `cargo xtask conformance`: every promised feature, and the tests that prove it.
//!
//! `docs/checklist.md` holds one row per id. Its words are written by hand; its last column is made from the test
//! sources, where `/// Proves: TALON-05, TALON-37` above a test (or above the fixture of several) names the ids.

mod scan;
mod table;

use std::collections::BTreeMap;

use crate::results::{Results, Test};
use crate::{Done, shell};
use scan::Proof;
use table::Row;

const CHECKLIST: &str = "docs/checklist.md";

/// The proofs found in the sources, by id.
type Proofs = BTreeMap<String, Vec<Proof>>;

/// Whether an id is proven by the last whole run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// At least one test, and all passed.
    Proven,
    /// No test names it.
    Unnamed,
    /// A test names it, but one failed or none ran.
    Unproven,
}

/// Rewrites the checklist and prints what is open; `--check` and `--require IDS` only look.
pub(crate) fn run(args: &[&str]) -> Done {
    match args {
        [] => refresh(),
        ["--check"] => check(),
        ["--require", ids] => require(&ids.split(',').map(str::trim).collect::<Vec<_>>()),
        _ => Err("conformance takes nothing, --check, or --require ID,ID".to_owned()),
    }
}

/// One line for the end of a test run.
pub(crate) fn summary(results: &Results) -> Result<String, String> {
    let (rows, proofs) = load()?;
    let proven = rows.iter().filter(|row| standing(&row.id, &proofs, results) == Standing::Proven).count();
    Ok(format!(
        "conformance: {proven} of {} ids proven (`cargo xtask conformance` names the others)",
        rows.len()
    ))
}

fn load() -> Result<(Vec<Row>, Proofs), String> {
    let rows = table::parse(&read_checklist()?)?;
    let proofs = scan::proofs(&shell::root().join("crates"));
    match proofs.keys().find(|id| !rows.iter().any(|row| row.id == **id)) {
        Some(unknown) => Err(format!("{unknown} is named by a test, but not in {CHECKLIST}")),
        None => Ok((rows, proofs)),
    }
}

fn read_checklist() -> Result<String, String> {
    std::fs::read_to_string(shell::root().join(CHECKLIST)).map_err(|e| format!("{CHECKLIST}: {e}"))
}

fn refresh() -> Done {
    let (rows, proofs) = load()?;
    let text = table::render(&read_checklist()?, &proofs);
    std::fs::write(shell::root().join(CHECKLIST), text).map_err(|e| format!("{CHECKLIST}: {e}"))?;
    let Some(results) = Results::read()? else {
        println!("conformance: {CHECKLIST} is written; run `cargo xtask test` to learn which ids are proven");
        return Ok(());
    };
    for (wanted, title) in
        [(Standing::Unproven, "named, but not passing"), (Standing::Unnamed, "without a test")]
    {
        let open: Vec<&Row> =
            rows.iter().filter(|row| standing(&row.id, &proofs, &results) == wanted).collect();
        println!("{} id(s) {title}", open.len());
        for row in open {
            println!("  {:10} {:6} {}", row.id, row.level, row.feature);
        }
    }
    println!("{}", summary(&results)?);
    Ok(())
}

fn check() -> Done {
    let (_, proofs) = load()?;
    let text = read_checklist()?;
    if table::render(&text, &proofs) == text {
        return Ok(());
    }
    Err(format!("{CHECKLIST} is stale: run `cargo xtask conformance`"))
}

fn require(ids: &[&str]) -> Done {
    let (_, proofs) = load()?;
    let results = Results::read()?.ok_or("no results yet: run `cargo xtask test` first")?;
    let missing: Vec<&str> =
        ids.iter().copied().filter(|id| standing(id, &proofs, &results) != Standing::Proven).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("not proven: {}", missing.join(", "))) }
}

fn standing(id: &str, proofs: &Proofs, results: &Results) -> Standing {
    let Some(proofs) = proofs.get(id) else { return Standing::Unnamed };
    let failed = |proof: &Proof| results.failed.iter().any(|test| is_run_of(test, proof));
    let passed = |proof: &Proof| results.passed.iter().any(|test| is_run_of(test, proof));
    let proven = proofs.iter().all(|proof| passed(proof) && !failed(proof));
    if proven { Standing::Proven } else { Standing::Unproven }
}

/// A scenario on both stores runs as `…::NAME::on_sqlite`, so the name may be any segment of the path.
fn is_run_of(test: &Test, proof: &Proof) -> bool {
    let package = test.binary.split("::").next().unwrap_or_default();
    (package.is_empty() || package == proof.package)
        && test.name.split("::").any(|segment| segment == proof.test)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str) -> Test {
        Test { binary: "bulkhead::it".to_owned(), name: name.to_owned() }
    }

    fn proofs() -> Proofs {
        let proof = |name: &str| Proof { package: "bulkhead".to_owned(), test: name.to_owned() };
        let of = |id: &str, names: &[&str]| (id.to_owned(), names.iter().map(|name| proof(name)).collect());
        BTreeMap::from([of("TALON-01", &["a_key_works"]), of("TALON-02", &["a_key_works", "b"])])
    }

    #[test]
    fn an_id_is_proven_when_every_test_passed_on_every_store() {
        let sqlite = test("auth::a_key_works::on_sqlite");
        let postgres = test("auth::a_key_works::on_postgres");
        let both = Results { passed: vec![sqlite.clone(), postgres.clone()], failed: vec![], flaky: vec![] };
        let one = Results { passed: vec![sqlite], failed: vec![postgres], flaky: vec![] };
        assert_eq!(standing("TALON-01", &proofs(), &both), Standing::Proven);
        assert_eq!(standing("TALON-01", &proofs(), &one), Standing::Unproven);
        assert_eq!(standing("TALON-02", &proofs(), &both), Standing::Unproven);
        assert_eq!(standing("TALON-03", &proofs(), &both), Standing::Unnamed);
    }

    #[test]
    fn a_test_of_another_package_or_a_longer_name_proves_nothing() {
        let foreign = Test { binary: "bh-wire".to_owned(), name: "a_key_works".to_owned() };
        let longer = test("auth::a_key_works_twice");
        let results = Results { passed: vec![foreign, longer], failed: vec![], flaky: vec![] };
        assert_eq!(standing("TALON-01", &proofs(), &results), Standing::Unproven);
    }

    #[test]
    fn the_checklist_holds_every_promised_id() {
        let rows = table::parse(&read_checklist().unwrap()).unwrap();
        let have: Vec<String> = rows.into_iter().map(|row| row.id).collect();
        assert_eq!(have, table::every_id());
    }
}
