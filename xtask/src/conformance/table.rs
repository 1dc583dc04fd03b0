//! The Markdown table of `docs/checklist.md`.

use super::Proofs;

/// One family of ids: prefix, first number, last number.
const FAMILIES: &[(&str, u32, u32)] =
    &[("TALON-", 1, 54), ("CONN-", 1, 72), ("TALOS-M", 1, 22), ("TALOS-C", 1, 20), ("TALOS-S", 1, 11)];

/// Marks a row without a test.
const NO_TEST: &str = "—";

/// One row, without its last column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) level: String,
    pub(super) feature: String,
}

/// Every id there is, in the table's order.
pub(super) fn every_id() -> Vec<String> {
    let mut ids = Vec::new();
    for (prefix, first, last) in FAMILIES {
        ids.extend((*first..=*last).map(|number| format!("{prefix}{number:02}")));
    }
    ids
}

/// Reads the rows.
///
/// # Errors
/// When a promised id has no row, or a row has no promised id.
pub(super) fn parse(markdown: &str) -> Result<Vec<Row>, String> {
    let rows: Vec<Row> = markdown.lines().filter_map(|line| cells(line).map(row)).collect();
    let wanted = every_id();
    if let Some(missing) = wanted.iter().find(|id| !rows.iter().any(|row| row.id == **id)) {
        return Err(format!("docs/checklist.md has no row {missing}"));
    }
    match rows.iter().find(|row| !wanted.contains(&row.id)) {
        Some(extra) => Err(format!("docs/checklist.md has an unknown row {}", extra.id)),
        None => Ok(rows),
    }
}

/// The same text with the last column made anew.
pub(super) fn render(markdown: &str, proofs: &Proofs) -> String {
    let line = |line: &str| match cells(line) {
        None => line.to_owned(),
        Some([id, level, feature, proof, _]) => {
            format!("| {id} | {level} | {feature} | {proof} | {} |", tests(id, proofs))
        }
    };
    markdown.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

fn tests(id: &str, proofs: &Proofs) -> String {
    let Some(proofs) = proofs.get(id) else { return NO_TEST.to_owned() };
    proofs.iter().map(|p| format!("`{}::{}`", p.package, p.test)).collect::<Vec<_>>().join(" ")
}

/// The five cells of a row whose first one is an id.
fn cells(line: &str) -> Option<[&str; 5]> {
    let inside = line.strip_prefix("| ")?.strip_suffix(" |")?;
    let cells: Vec<&str> = inside.split(" | ").map(str::trim).collect();
    let cells: [&str; 5] = cells.try_into().ok()?;
    FAMILIES.iter().any(|(prefix, ..)| cells[0].starts_with(prefix)).then_some(cells)
}

fn row([id, level, feature, ..]: [&str; 5]) -> Row {
    Row { id: id.to_owned(), level: level.to_owned(), feature: feature.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::scan::Proof;
    use super::*;

    #[test]
    fn only_the_last_column_is_made_anew() {
        let text = "# T\n\n| id | level | what | proof | tests |\n|---|---|---|---|---|\n\
                    | CONN-01 | must | a `b` | c | old |\n| CONN-02 | could | d | e | old |\n";
        let proof = Proof { package: "bulkhead".to_owned(), test: "x".to_owned() };
        let proofs = BTreeMap::from([("CONN-01".to_owned(), vec![proof])]);
        let wanted = "# T\n\n| id | level | what | proof | tests |\n|---|---|---|---|---|\n\
                      | CONN-01 | must | a `b` | c | `bulkhead::x` |\n| CONN-02 | could | d | e | — |\n";
        assert_eq!(render(text, &proofs), wanted);
    }

    #[test]
    fn a_missing_row_is_named() {
        let all: String = every_id().iter().map(|id| format!("| {id} | must | f | p | — |\n")).collect();
        assert_eq!(parse(&all).unwrap().len(), 179);
        let without = all.replace("| TALOS-M07 ", "| gone ");
        assert_eq!(parse(&without), Err("docs/checklist.md has no row TALOS-M07".to_owned()));
        let with = all + "| CONN-73 | must | f | p | — |\n";
        assert_eq!(parse(&with), Err("docs/checklist.md has an unknown row CONN-73".to_owned()));
    }
}
