//! JSON value to YAML text, for `config show` and the default file.

use serde_json::Value;

/// Writes `value` as a YAML document. Nulls and empty containers are left out: they say nothing.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

/// A scalar, or an empty or flat container, on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted_if_needed(text),
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let pairs =
                entries.iter().map(|(key, value)| format!("{}: {}", quoted_if_needed(key), inline(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries.iter().filter(|(_, value)| !says_nothing(value)) {
                out.push_str(&format!("{:indent$}{}:", "", quoted_if_needed(key)));
                nested(value, indent + 2, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| list_item(item, indent, out)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&format!("{:indent$}{}\n", "", inline(value)));
        }
    }
}

fn nested(value: &Value, indent: usize, out: &mut String) {
    let flat_list =
        value.as_array().is_some_and(|items| items.iter().all(|i| !i.is_object() && !i.is_array()));
    if flat_list || !(value.is_object() || value.is_array()) {
        out.push_str(&format!(" {}\n", inline(value)));
    } else {
        out.push('\n');
        block(value, indent, out);
    }
}

fn list_item(item: &Value, indent: usize, out: &mut String) {
    let mut text = String::new();
    block(item, indent + 2, &mut text);
    let body = text.trim_start();
    let body = if body.is_empty() { "{}\n" } else { body };
    out.push_str(&format!("{:indent$}- {body}", ""));
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(entries) => entries.values().all(says_nothing),
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Bare where YAML would read the same text back; as a JSON string, which is YAML too, everywhere else.
fn quoted_if_needed(text: &str) -> String {
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/');
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b));
    let word =
        matches!(text, "true" | "false" | "null" | "Null" | "NULL" | "yes" | "no" | "on" | "off" | "y" | "n");
    if first && plain && !word { text.to_owned() } else { Value::String(text.to_owned()).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let value = json!({
            "a": {"b": "yes", "c": "12", "d": 12, "e": true, "f": "text: with # signs"},
            "list": [{"x": 1, "y": {"z": "deep"}}, {"x": 2}],
            "flat": ["a", "*", ""],
            "gone": null,
        });
        let text = document(&value);
        let (tree, _) = crate::yaml::parse::parse(&text).unwrap();
        let back: Value = serde::Deserialize::deserialize(&tree).unwrap();
        let mut expected = value;
        expected.as_object_mut().unwrap().remove("gone");
        assert_eq!(back, expected, "{text}");
    }
}
