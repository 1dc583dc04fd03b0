//! Tables for people: no borders, so that `grep` and `awk` work on them too.

use comfy_table::presets::NOTHING;

use crate::cli::{Failure, print};

/// A table on its way to standard output.
pub(in crate::cli) struct Table(comfy_table::Table);

impl Table {
    /// A table with these headings.
    pub(in crate::cli) fn new(headings: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(NOTHING).set_header(headings.iter().copied());
        Self(table)
    }

    /// Adds a row.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.add_row(cells.into_iter().map(|cell| shown(&cell)));
    }

    /// Prints it.
    pub(in crate::cli) fn print(&self) -> Result<(), Failure> {
        print::line(&self.text())
    }

    /// What is printed.
    pub(in crate::cli) fn text(&self) -> String {
        self.0.trim_fmt()
    }
}

/// Callers choose models and session names: what they wrote must not steer the terminal of whoever reads it.
pub(in crate::cli) fn shown(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(shown("gpt-4o\u{1b}[2J\nä"), "gpt-4o\\u{1b}[2J\\nä");
    }
}
