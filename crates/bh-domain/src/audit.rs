//! Which events of the audit trail are wanted: a filter in the grammar of the lists of keys (Talos dossier §2.5); and what
//! the trail keeps of a request.

pub mod redact;

use crate::keys::filter::{equals, quoted};
use crate::keys::syntax::{Cursor, SyntaxError, clauses};
use crate::time::Timestamp;

/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 2_048;

/// What ends the name of a family of actions: `key.*`.
const FAMILY: &str = ".*";

/// Which actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actions {
    /// This one: `key.revoked`.
    One(String),
    /// All that begin so, the dot included: `key.`.
    Family(String),
}

/// A credential that was not good.
pub const VERIFICATION_FAILED: &str = "key.verification_failed";
/// Keys that were to be taken over and were not.
pub const IMPORT_FAILED: &str = "key.import_failed";
/// A request that was refused for who sent it, or for how many there were.
pub const REQUEST_DENIED: &str = "request.denied";
/// A request that came to nothing for what it asked.
pub const REQUEST_FAILED: &str = "request.failed";
/// A request of an operator that only read.
pub const REQUEST_READ: &str = "request.read";
/// A request that was to change something, and found nothing to change.
pub const REQUEST_DONE: &str = "request.done";

/// A tool was called, and did what it was asked.
pub const TOOL_INVOKED: &str = "tools.invoke";
/// A tool was called, and did not.
pub const TOOL_FAILED: &str = "tools.invoke_failed";

/// The first call without a key from an address, in a migration window.
pub const KEYLESS_CALL: &str = "call.keyless";
/// A configuration that was not put in force.
pub const CONFIG_REJECTED: &str = "config.rejected";

/// How an action ended (seed 001: `result`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Success,
    /// It was not let.
    Denied,
    /// It was let, and came to nothing.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 3] = [Self::Success, Self::Denied, Self::Failed];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }

    /// The outcome of this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// How an action of this name ended. The store's filter says the same.
    #[must_use]
    pub fn of(action: &str) -> Self {
        match action {
            REQUEST_FAILED | CONFIG_REJECTED | IMPORT_FAILED | TOOL_FAILED => Self::Failed,
            REQUEST_DENIED | VERIFICATION_FAILED => Self::Denied,
            _ => Self::Success,
        }
    }
}

/// Which events; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrailFilter {
    /// What was done.
    pub actions: Option<Actions>,
    /// By whom.
    pub actor: Option<String>,
    /// To what.
    pub object: Option<String>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
}

impl TrailFilter {
    /// Reads a filter: `action`, `actor`, `object`, `from` and `to`, each at most once, as `name="text"` joined by
    /// ` AND `. An action may end in `.*`; an instant is RFC 3339 or a date. Nothing but spaces filters nothing.
    ///
    /// # Errors
    /// [`SyntaxError`] says what was expected, and where.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let mut filter = Self::default();
        clauses(text, FILTER_BYTES_MAX, |cursor| filter.clause(cursor))?;
        Ok(filter)
    }

    fn clause(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
        let start = cursor.place();
        let field = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
        let there = match field {
            "action" => self.actions.is_some(),
            "actor" => self.actor.is_some(),
            "object" => self.object.is_some(),
            "from" => self.from.is_some(),
            "to" => self.to.is_some(),
            _ => {
                return Err(cursor.error_at(start, "expected `action`, `actor`, `object`, `from` or `to`"));
            }
        };
        if there {
            return Err(cursor.error_at(start, format!("`{field}` stands there twice")));
        }
        equals(cursor)?;
        let place = cursor.place();
        let value = quoted(cursor)?;
        if value.is_empty() {
            return Err(cursor.error_at(place, "the text is empty: leave the clause out for any"));
        }
        let instant =
            |value: &str| Timestamp::parse(value).map_err(|error| cursor.error_at(place, error.to_string()));
        match field {
            "action" => self.actions = Some(Actions::from(value.as_str())),
            "actor" => self.actor = Some(value),
            "object" => self.object = Some(value),
            "from" => self.from = Some(instant(&value)?),
            _ => self.to = Some(instant(&value)?),
        }
        Ok(())
    }
}

impl From<&str> for Actions {
    /// One action, or with `.*` at its end a family.
    fn from(text: &str) -> Self {
        match text.strip_suffix(FAMILY) {
            Some(family) => Self::Family(format!("{family}.")),
            None => Self::One(text.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clauses_stand_in_any_order_and_each_at_most_once() {
        assert_eq!(TrailFilter::parse("  "), Ok(TrailFilter::default()));
        let filter = r#"to="2026-11-02" AND object="k\"1" AND action="key.*" AND from="2026-11-01T00:00:00Z" AND actor="ops""#;
        let read = TrailFilter {
            actions: Some(Actions::Family("key.".to_owned())),
            actor: Some("ops".to_owned()),
            object: Some("k\"1".to_owned()),
            outcome: None,
            from: Timestamp::parse("2026-11-01").ok(),
            to: Timestamp::parse("2026-11-02").ok(),
        };
        assert_eq!(TrailFilter::parse(filter), Ok(read));
        let one = TrailFilter::parse(r#"action = "key.revoked""#).unwrap();
        assert_eq!(one.actions, Some(Actions::One("key.revoked".to_owned())));
    }

    #[test]
    fn what_is_no_filter_is_told_with_its_place() {
        for (filter, told) in [
            (r#"actor="a" OR actor="b""#, "expected ` AND ` and another clause, or the end at character 11"),
            (r#"actor="a" AND actor="b""#, "`actor` stands there twice at character 15"),
            (r#"name="a""#, "expected `action`, `actor`, `object`, `from` or `to` at character 1"),
            (r"actor=a", "expected a text in double quotes at character 7"),
            (r#"actor="""#, "the text is empty: leave the clause out for any at character 7"),
        ] {
            assert_eq!(TrailFilter::parse(filter).unwrap_err().to_string(), told, "{filter}");
        }
        assert!(
            TrailFilter::parse(r#"from="yesterday""#).unwrap_err().to_string().ends_with("at character 6")
        );
        assert!(TrailFilter::parse(&" ".repeat(FILTER_BYTES_MAX + 1)).is_err());
    }
}
