//! Statements over many rows: `VALUES (…),(…)` in a few fixed sizes, so that each text is prepared once.

use std::fmt::Write as _;
use std::sync::LazyLock;

/// The most rows one statement carries.
const ROWS_MAX: usize = 64;
/// Powers of two up to [`ROWS_MAX`]: any number of rows below twice the maximum takes at most seven statements.
const SIZES: usize = ROWS_MAX.trailing_zeros() as usize + 1;

/// A statement that takes any number of rows.
#[derive(Debug)]
pub(crate) struct Bulk {
    /// Parameters of one row.
    pub(crate) columns: usize,
    numbered: Texts,
    plain: Texts,
}

/// The texts of one statement, made when first used.
pub(crate) type Texts = LazyLock<[String; SIZES]>;

/// How parameters are written.
///
/// Both databases read `$1`, but SQLite finds a named parameter by walking over all before it, and rows have
/// hundreds: a third of the cost of an append. It takes a plain `?` as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholders {
    /// `$1`, `$2`, ...
    Numbered,
    /// `?`
    Plain,
}

/// A text and the number of rows it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sized {
    pub(crate) text: &'static str,
    pub(crate) rows: usize,
}

/// A bulk statement: what comes before the rows, the parameters of one row, and what comes after.
macro_rules! bulk {
    ($head:expr, $columns:expr, $tail:expr) => {
        $crate::db::Bulk::new(
            $columns,
            std::sync::LazyLock::new(|| {
                $crate::db::bulk_texts($crate::db::Placeholders::Numbered, $head, $columns, $tail)
            }),
            std::sync::LazyLock::new(|| {
                $crate::db::bulk_texts($crate::db::Placeholders::Plain, $head, $columns, $tail)
            }),
        )
    };
}
pub(crate) use bulk;

impl Bulk {
    pub(crate) const fn new(columns: usize, numbered: Texts, plain: Texts) -> Self {
        Self { columns, numbered, plain }
    }

    /// The text that takes the most of `rows` rows; `None` when there are none.
    pub(crate) fn largest(&'static self, placeholders: Placeholders, rows: usize) -> Option<Sized> {
        let size = usize::try_from(rows.min(ROWS_MAX).checked_ilog2()?).ok()?;
        let text = self.texts(placeholders).get(size)?;
        Some(Sized { text, rows: 1 << size })
    }

    /// The texts of this statement, for one row, two rows, four rows, ...
    pub(crate) fn texts(&'static self, placeholders: Placeholders) -> &'static [String; SIZES] {
        match placeholders {
            Placeholders::Numbered => &self.numbered,
            Placeholders::Plain => &self.plain,
        }
    }
}

/// The texts of one statement, for one row, two rows, four rows, ...
pub(crate) fn bulk_texts(
    placeholders: Placeholders,
    head: &str,
    columns: usize,
    tail: &str,
) -> [String; SIZES] {
    std::array::from_fn(|size| {
        let mut text = head.to_owned();
        for row in 0..1_usize << size {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 1..=columns {
                let comma = if column == 1 { "" } else { ", " };
                // Writing to a string cannot fail.
                match placeholders {
                    Placeholders::Numbered => write!(text, "{comma}${}", row * columns + column).ok(),
                    Placeholders::Plain => write!(text, "{comma}?").ok(),
                };
            }
            text.push(')');
        }
        text.push_str(tail);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static PAIRS: Bulk = bulk!("INSERT INTO t VALUES ", 2, " ON CONFLICT DO NOTHING");

    #[test]
    fn rows_are_cut_into_powers_of_two() {
        let cut = |rows| PAIRS.largest(Placeholders::Plain, rows).map(|sized| sized.rows);
        let cuts = [None, Some(1), Some(2), Some(2), Some(32), Some(64), Some(64)];
        assert_eq!([0, 1, 2, 3, 63, 64, 1_000].map(cut), cuts);
    }

    #[test]
    fn parameters_are_counted_across_rows() {
        let text = |placeholders| PAIRS.largest(placeholders, 3).map(|sized| sized.text);
        let numbered = "INSERT INTO t VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING";
        assert_eq!(text(Placeholders::Numbered), Some(numbered));
        assert_eq!(
            text(Placeholders::Plain),
            Some("INSERT INTO t VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING")
        );
    }
}
