//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;

use serde::Serialize;

/// The most problems one load reports; the rest are counted.
pub const PROBLEMS_MAX: usize = 100;
/// How alike two words must be (Jaro-Winkler, 0 to 1) before one is suggested for the other.
const LIKENESS_MIN: f64 = 0.8;

/// Where a value was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// Nowhere: the built-in default.
    #[default]
    Default,
    /// In the file, at a line and column counted from 1.
    File {
        /// Line, from 1.
        line: u32,
        /// Column, from 1.
        column: u32,
    },
    /// In an environment variable, by its place in the list of those that were used.
    Env(u16),
}

/// One reason why the configuration was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name, or the environment variable's.
    pub source: String,
    /// Line from 1; 0 when the source has no lines.
    pub line: u32,
    /// Column from 1; 0 when the source has no lines.
    pub column: u32,
    /// The setting, e.g. `gateway.callers[0].tenant_id`. Empty for the file as a whole.
    pub path: String,
    /// What is wrong. Never holds a secret.
    pub message: String,
    /// The nearest known word.
    pub suggestion: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(word) => write!(f, "; did you mean `{word}`?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}

/// The word in `known` that `written` was probably meant to be.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let folded = |word: &str| word.to_lowercase().replace(['-', '_'], "");
    let target = folded(written);
    let scored = known.map(|word| (strsim::jaro_winkler(&target, &folded(word)), word));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= LIKENESS_MIN).then(|| best.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_suggested_and_a_stranger_is_not() {
        let known = || ["providers", "callers", "rate_limits", "tenant_key"].into_iter();
        assert_eq!(nearest("provders", known()), Some("providers".to_owned()));
        assert_eq!(nearest("tenantKey", known()), Some("tenant_key".to_owned()));
        assert_eq!(nearest("zzz", known()), None);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let problem = Problem {
            source: "bulkhead.yaml".to_owned(),
            line: 12,
            column: 5,
            path: "gateway.provders".to_owned(),
            message: "unknown key".to_owned(),
            suggestion: Some("providers".to_owned()),
        };
        let line = "bulkhead.yaml:12:5: gateway.provders: unknown key; did you mean `providers`?";
        assert_eq!(problem.to_string(), line);
    }
}
