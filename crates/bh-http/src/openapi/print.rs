//! JSON for people and for diffs: what fits on a line stands on one.

use serde_json::Value;

const INDENT: usize = 2;
/// The longest line that is made of more than one value.
const LINE_CHARS_MAX: usize = 120;

/// Writes `value` as it stands `depth` levels deep.
pub(super) fn value(value: &Value, depth: usize, to: &mut String) {
    let line = on_one_line(value);
    if depth * INDENT + line.len() <= LINE_CHARS_MAX {
        to.push_str(&line);
        return;
    }
    match value {
        Value::Array(items) => {
            list(('[', ']'), items, depth, to, |item, to| self::value(item, depth + 1, to));
        }
        Value::Object(members) => list(('{', '}'), members, depth, to, |(name, member), to| {
            to.push_str(&quoted(name));
            to.push_str(": ");
            self::value(member, depth + 1, to);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => to.push_str(&line),
    }
}

fn on_one_line(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            format!("[{}]", items.iter().map(on_one_line).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let member =
                |(name, value): (&String, &Value)| format!("{}: {}", quoted(name), on_one_line(value));
            format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

fn list<T>(
    (open, close): (char, char),
    items: impl IntoIterator<Item = T>,
    depth: usize,
    to: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    let begin = |depth: usize, to: &mut String| {
        to.push('\n');
        to.extend(std::iter::repeat_n(' ', depth * INDENT));
    };
    to.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            to.push(',');
        }
        begin(depth + 1, to);
        write(item, to);
    }
    begin(depth, to);
    to.push(close);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fits_stands_on_a_line_and_the_rest_below_each_other() {
        let long = "x".repeat(100);
        let made = json!({"short": {"a": [1, 2]}, "long": [long, long]});
        let mut text = String::new();
        value(&made, 0, &mut text);
        let wanted = format!(
            "{{\n  \"short\": {{\"a\": [1, 2]}},\n  \"long\": [\n    \"{long}\",\n    \"{long}\"\n  ]\n}}"
        );
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), made);
    }
}
