//! How long a source file may be.

use std::path::Path;

use crate::shell;

/// Above this a file is worth splitting.
pub(super) const WARN_LINES: usize = 400;
/// Above this the check fails.
pub(super) const MAX_LINES: usize = 600;

/// Long files, as `path: N lines`, longest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) worth_splitting: Vec<String>,
    pub(super) too_long: Vec<String>,
}

/// Counts the lines of every Rust file of the project.
pub(super) fn measure(root: &Path) -> Lengths {
    let files = shell::files_below(root, "rs").into_iter().map(|path| {
        let lines = std::fs::read_to_string(&path).unwrap_or_default().lines().count();
        (path.strip_prefix(root).unwrap_or(&path).display().to_string(), lines)
    });
    sort_out(files.collect())
}

fn sort_out(mut files: Vec<(String, usize)>) -> Lengths {
    files.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    let mut lengths = Lengths::default();
    for (path, lines) in files.into_iter().filter(|(_, lines)| *lines > WARN_LINES) {
        let told = format!("{path}: {lines} lines");
        if lines > MAX_LINES { lengths.too_long.push(told) } else { lengths.worth_splitting.push(told) }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_length() {
        let file = |name: &str, lines| (name.to_owned(), lines);
        let files = vec![file("a", 400), file("b", 401), file("c", 601), file("d", 600)];
        let wanted = Lengths {
            worth_splitting: vec!["d: 600 lines".to_owned(), "b: 401 lines".to_owned()],
            too_long: vec!["c: 601 lines".to_owned()],
        };
        assert_eq!(sort_out(files), wanted);
    }
}
