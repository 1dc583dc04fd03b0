//! Parameters as the doors read them.

use serde_json::{Value, json};

use super::operation::{Parameter, Place};

/// A text of the query.
pub(crate) fn text(name: &'static str, text: &str) -> Parameter {
    Parameter::of_query(name, text, json!({"type": "string"}))
}

/// A whole number from 1 on.
pub(crate) fn number(name: &'static str, text: &str, default: u32, max: u32) -> Parameter {
    let schema = json!({"type": "integer", "minimum": 1, "maximum": max, "default": default});
    Parameter::of_query(name, text, schema)
}

/// A whole number from 0 on.
pub(crate) fn count(name: &'static str, text: &str, default: u32, max: u32) -> Parameter {
    let schema = json!({"type": "integer", "minimum": 0, "maximum": max, "default": default});
    Parameter::of_query(name, text, schema)
}

/// How many a page has, at most: 0 for as many as usual.
pub(crate) fn page_size(name: &'static str) -> Parameter {
    let text = "How many a page has. 0 is as many as usual, and what is out of bounds is brought into them.";
    Parameter::of_query(name, text, json!({"type": "integer", "format": "int64"}))
}

/// Yes or no.
pub(crate) fn flag(name: &'static str, text: &str) -> Parameter {
    Parameter::of_query(name, text, json!({"enum": [true, false, 1, 0]}))
}

/// A date, or an instant in RFC 3339.
pub(crate) fn instant(name: &'static str, text: &str) -> Parameter {
    let pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9:.]+([Zz]|[+-][0-9:]+))?$";
    let schema =
        json!({"type": "string", "pattern": pattern, "examples": ["2026-11-01", "2026-11-01T09:30:00Z"]});
    Parameter::of_query(name, text, schema)
}

/// A day.
pub(crate) fn day(name: &'static str, text: &str) -> Parameter {
    Parameter::of_query(name, text, json!({"type": "string", "format": "date", "examples": ["2026-11-01"]}))
}

/// One of some words.
pub(crate) fn choice(name: &'static str, text: &str, words: &[&str]) -> Parameter {
    Parameter::of_query(name, text, json!({"type": "string", "enum": words}))
}

/// A header.
pub(crate) fn header(name: &'static str, text: &str) -> Parameter {
    let schema = json!({"type": "string"});
    Parameter { name, place: Place::Header, required: false, text: text.to_owned(), schema }
}

/// A parameter of the path, where its name alone does not say enough.
pub(crate) fn path(name: &'static str, text: &str, schema: Value) -> Parameter {
    Parameter { name, place: Place::Path, required: true, text: text.to_owned(), schema }
}
