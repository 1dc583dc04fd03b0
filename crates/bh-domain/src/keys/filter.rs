//! The filter of a list (Talos dossier §2.5): `actor_id="…"` and `status=KEY_STATUS_…`, alone or joined by `AND`.

use super::syntax::{Cursor, SyntaxError, clauses};
use super::verdict::KeyStatus;

/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 2_048;

/// Which keys to list; what is `None` does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// Keys of this actor.
    pub actor_id: Option<String>,
    /// Keys with this status now.
    pub status: Option<KeyStatus>,
}

impl ListFilter {
    /// Reads a filter. Nothing but spaces filters nothing. Inside quotes, `\"` is a quote and `\\` a backslash.
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
        let duplicate = || cursor.error_at(start, format!("`{field}` stands there twice"));
        match field {
            "actor_id" if self.actor_id.is_some() => Err(duplicate()),
            "status" if self.status.is_some() => Err(duplicate()),
            "actor_id" => {
                equals(cursor)?;
                self.actor_id = Some(quoted(cursor)?);
                Ok(())
            }
            "status" => {
                equals(cursor)?;
                self.status = Some(status(cursor)?);
                Ok(())
            }
            _ => Err(cursor.error_at(start, "expected `actor_id` or `status`")),
        }
    }
}

pub(crate) fn equals(cursor: &mut Cursor<'_>) -> Result<(), SyntaxError> {
    cursor.skip_spaces();
    if !cursor.eat("=") {
        return Err(cursor.error("expected `=`"));
    }
    cursor.skip_spaces();
    Ok(())
}

pub(crate) fn quoted(cursor: &mut Cursor<'_>) -> Result<String, SyntaxError> {
    let start = cursor.place();
    if !cursor.eat("\"") {
        return Err(cursor.error("expected a text in double quotes"));
    }
    let mut value = String::new();
    loop {
        let place = cursor.place();
        match cursor.next() {
            Some('"') => return Ok(value),
            Some('\\') => match cursor.next() {
                Some(escaped @ ('"' | '\\')) => value.push(escaped),
                _ => return Err(cursor.error_at(place, "a backslash stands only before `\"` or `\\`")),
            },
            Some(control) if control.is_control() => {
                return Err(cursor.error_at(place, "a control character cannot be part of a text"));
            }
            Some(plain) => value.push(plain),
            None => return Err(cursor.error_at(start, "the text has no closing quote: it begins")),
        }
    }
}

fn status(cursor: &mut Cursor<'_>) -> Result<KeyStatus, SyntaxError> {
    let start = cursor.place();
    let word = cursor.take_while(|c| c.is_ascii_alphanumeric() || c == '_');
    let expected = || {
        let known = KeyStatus::ALL.map(KeyStatus::as_str).join(", ");
        cursor.error_at(start, format!("expected one of {known}"))
    };
    KeyStatus::parse(word).ok().flatten().ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter(actor_id: Option<&str>, status: Option<KeyStatus>) -> ListFilter {
        ListFilter { actor_id: actor_id.map(str::to_owned), status }
    }

    #[test]
    fn either_field_alone_or_both_in_any_order() {
        let cases = [
            ("", filter(None, None)),
            ("  ", filter(None, None)),
            (r#"actor_id="ci""#, filter(Some("ci"), None)),
            (r#" actor_id = "ci" "#, filter(Some("ci"), None)),
            (r#"actor_id="""#, filter(Some(""), None)),
            ("status=KEY_STATUS_ACTIVE", filter(None, Some(KeyStatus::Active))),
            ("status=KEY_STATUS_EXPIRED", filter(None, Some(KeyStatus::Expired))),
            (r#"actor_id="a" AND status=KEY_STATUS_REVOKED"#, filter(Some("a"), Some(KeyStatus::Revoked))),
            (r#"status=KEY_STATUS_REVOKED  AND  actor_id="a""#, filter(Some("a"), Some(KeyStatus::Revoked))),
            (r#"actor_id="a AND status=\"x\" \\ é""#, filter(Some(r#"a AND status="x" \ é"#), None)),
        ];
        for (text, expected) in cases {
            assert_eq!(ListFilter::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        let statuses = "expected one of KEY_STATUS_ACTIVE, KEY_STATUS_REVOKED, KEY_STATUS_EXPIRED";
        let join = "expected ` AND ` and another clause, or the end";
        let fields = "expected `actor_id` or `status`";
        let cases = [
            ("name=\"x\"", 1, fields),
            ("AND", 1, fields),
            ("ACTOR_ID=\"x\"", 1, fields),
            ("(status=KEY_STATUS_ACTIVE)", 1, fields),
            ("-- x", 1, fields),
            ("actor_id", 9, "expected `=`"),
            ("actor_id!=\"x\"", 9, "expected `=`"),
            ("actor_id=x", 10, "expected a text in double quotes"),
            ("actor_id='x'", 10, "expected a text in double quotes"),
            ("actor_id=\"é", 10, "the text has no closing quote: it begins"),
            ("actor_id=\"é\\n\"", 12, "a backslash stands only before `\"` or `\\`"),
            ("actor_id=\"é\n\"", 12, "a control character cannot be part of a text"),
            ("status=ACTIVE", 8, statuses),
            ("status=KEY_STATUS_UNSPECIFIED", 8, statuses),
            ("status=\"KEY_STATUS_ACTIVE\"", 8, statuses),
            ("status=KEY_STATUS_ACTIVE OR actor_id=\"x\"", 26, join),
            ("status=KEY_STATUS_ACTIVE and actor_id=\"x\"", 26, join),
            ("status=KEY_STATUS_ACTIVE\nAND actor_id=\"x\"", 25, join),
            ("actor_id=\"x\"AND status=KEY_STATUS_ACTIVE", 13, join),
            ("status=KEY_STATUS_ACTIVE ANDactor_id=\"x\"", 29, join),
            ("status=KEY_STATUS_ACTIVE # no", 26, join),
            ("status=KEY_STATUS_ACTIVE AND", 29, join),
            ("status=KEY_STATUS_ACTIVE AND ", 30, fields),
            ("actor_id=\"x\" AND actor_id=\"y\"", 18, "`actor_id` stands there twice"),
            ("status=KEY_STATUS_ACTIVE AND status=KEY_STATUS_ACTIVE", 30, "`status` stands there twice"),
        ];
        for (text, at, problem) in cases {
            let problem = problem.into();
            assert_eq!(ListFilter::parse(text), Err(SyntaxError { at, problem }), "{text}");
        }
        assert_eq!(ListFilter::parse("x").unwrap_err().to_string(), format!("{fields} at character 1"));
        let long = format!("actor_id=\"{}\"", "x".repeat(FILTER_BYTES_MAX));
        assert_eq!(ListFilter::parse(&long).unwrap_err().at, 1);
    }

    proptest! {
        #[test]
        fn any_actor_can_be_asked_for(actor in r#"[ -~é"\\]{0,40}"#) {
            let escaped = actor.replace('\\', r"\\").replace('"', "\\\"");
            let text = format!(r#"actor_id="{escaped}" AND status=KEY_STATUS_ACTIVE"#);
            prop_assert_eq!(ListFilter::parse(&text), Ok(filter(Some(&actor), Some(KeyStatus::Active))));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in r#"(.{0,60}|[a-z_="\\ ANDé\n]{0,60})"#) {
            let _ = ListFilter::parse(&text);
        }
    }
}
