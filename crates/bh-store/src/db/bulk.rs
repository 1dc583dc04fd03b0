//! Statements over many rows, in a few fixed sizes, so that each text is prepared once.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// Rows of one statement on PostgreSQL: any number below twice the largest takes at most seven statements.
const EXACT_SIZES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Rows of one statement on SQLite, where missing rows are filled up with nulls that the statement passes over: a
/// statement more costs a trip to SQLite's thread, a null row next to nothing.
///
/// Few sizes: statements that run together are prepared together, and each combination of their sizes is kept.
const PADDED_SIZES: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A statement that takes any number of rows.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// Parameters of one row.
    pub(crate) columns: usize,
    exact: Texts,
    padded: Texts,
}

/// The texts of one statement, made when first used: one for each size.
pub(crate) type Texts = LazyLock<Vec<String>>;

/// How rows and parameters are written.
///
/// Both databases read `$1`, but SQLite finds a named parameter by walking over all before it, and rows have
/// hundreds: a third of the cost of an append. It takes a plain `?` as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `$1`, `$2`, ... in as many rows as there are.
    Exact,
    /// `?` in at least as many rows as there are.
    Padded,
}

/// What surrounds the rows of a statement.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// `head VALUES (…),(…) tail`: an insert. Padded, it leaves rows out whose first column is null.
    Insert,
    /// `head (…),(…) tail`: the statement passes over null rows by itself.
    List,
}

/// A text and the number of rows it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sized {
    pub(crate) text: &'static str,
    pub(crate) rows: usize,
}

/// A bulk statement: its shape, what comes before the rows, the parameters of one row, and what comes after.
macro_rules! bulk {
    ($shape:ident, $head:expr, $columns:expr, $tail:expr) => {
        $crate::db::Bulk::new(
            $columns,
            std::sync::LazyLock::new(|| {
                $crate::db::Form::Exact.texts($crate::db::Shape::$shape, $head, $columns, $tail)
            }),
            std::sync::LazyLock::new(|| {
                $crate::db::Form::Padded.texts($crate::db::Shape::$shape, $head, $columns, $tail)
            }),
        )
    };
}
pub(crate) use bulk;

impl Bulk {
    pub(crate) const fn new(columns: usize, exact: Texts, padded: Texts) -> Self {
        Self { columns, exact, padded }
    }

    /// The text for as many of `rows` rows as one statement takes; `None` when there are none.
    pub(crate) fn next(&'static self, form: Form, rows: usize) -> Option<Sized> {
        let sizes = form.sizes();
        let size = match form {
            Form::Exact => sizes.partition_point(|size| *size <= rows).checked_sub(1)?,
            Form::Padded if rows == 0 => return None,
            Form::Padded => sizes.partition_point(|size| *size < rows).min(sizes.len() - 1),
        };
        Some(Sized { text: self.texts(form).get(size)?, rows: *sizes.get(size)? })
    }

    /// The texts of this statement, smallest first.
    pub(crate) fn texts(&'static self, form: Form) -> &'static [String] {
        match form {
            Form::Exact => &self.exact,
            Form::Padded => &self.padded,
        }
    }
}

impl Form {
    const fn sizes(self) -> &'static [usize] {
        match self {
            Self::Exact => &EXACT_SIZES,
            Self::Padded => &PADDED_SIZES,
        }
    }

    /// The texts of one statement, smallest first.
    pub(crate) fn texts(self, shape: Shape, head: &str, columns: usize, tail: &str) -> Vec<String> {
        let (before, after) = match (shape, self) {
            (Shape::List, Self::Exact | Self::Padded) => ("", ""),
            (Shape::Insert, Self::Exact) => (" VALUES ", ""),
            (Shape::Insert, Self::Padded) => {
                (" SELECT * FROM (VALUES ", ") AS v WHERE v.column1 IS NOT NULL")
            }
        };
        // By default SQLite keeps a copy of each page that an insert of many rows changes, to take back that one statement if
        // it fails. Whoever writes gives up the whole transaction then, as PostgreSQL makes them.
        let head = match (shape, self) {
            (Shape::Insert, Self::Padded) => head.replacen("INSERT INTO", "INSERT OR FAIL INTO", 1),
            (Shape::Insert, Self::Exact) | (Shape::List, Self::Exact | Self::Padded) => head.to_owned(),
        };
        let text = |rows: usize| {
            let rows = self.rows(rows, columns);
            format!("{head}{before}{rows}{after}{tail}")
        };
        self.sizes().iter().map(|rows| text(*rows)).collect()
    }

    fn rows(self, rows: usize, columns: usize) -> String {
        let mut text = String::new();
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 1..=columns {
                let comma = if column == 1 { "" } else { ", " };
                // Writing to a string cannot fail.
                match self {
                    Self::Exact => write!(text, "{comma}${}", row * columns + column).ok(),
                    Self::Padded => write!(text, "{comma}?").ok(),
                };
            }
            text.push(')');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Bulk = bulk!(Insert, "INSERT INTO t", 2, " ON CONFLICT DO NOTHING");

    fn sizes(form: Form, rows: [usize; 7]) -> [Option<usize>; 7] {
        rows.map(|rows| PAIRS.next(form, rows).map(|sized| sized.rows))
    }

    #[test]
    fn rows_are_cut_into_powers_of_two_or_filled_up() {
        let rows = [0, 1, 2, 3, 63, 64, 1_000];
        let exact = [None, Some(1), Some(2), Some(2), Some(32), Some(64), Some(64)];
        assert_eq!(sizes(Form::Exact, rows), exact);
        let padded = [None, Some(1), Some(2), Some(4), Some(64), Some(64), Some(256)];
        assert_eq!(sizes(Form::Padded, rows), padded);
    }

    #[test]
    fn parameters_are_counted_across_rows_and_null_rows_passed_over() {
        let text = |form| PAIRS.next(form, 2).map(|sized| sized.text);
        let exact = "INSERT INTO t VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING";
        assert_eq!(text(Form::Exact), Some(exact));
        let padded = "INSERT OR FAIL INTO t SELECT * FROM (VALUES (?, ?), (?, ?)) AS v WHERE v.column1 IS NOT NULL \
            ON CONFLICT DO NOTHING";
        assert_eq!(text(Form::Padded), Some(padded));
    }
}
