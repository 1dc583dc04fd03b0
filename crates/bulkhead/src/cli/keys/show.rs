//! Answers, for people.

use serde_json::Value;

use crate::cli::audit::table::{Table, shown};
use crate::cli::{Failure, print};

/// Prints an object, one member on each line; what is empty is left out.
pub(in crate::cli) fn members(object: &Value) -> Result<(), Failure> {
    for (name, value) in object.as_object().into_iter().flatten() {
        let text = match value {
            Value::Null => continue,
            Value::String(text) if text.is_empty() => continue,
            Value::Array(items) if items.is_empty() => continue,
            Value::String(text) => text.clone(),
            value @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                value.to_string()
            }
        };
        print::line(&format!("{name}: {}", shown(&text)))?;
    }
    Ok(())
}

/// Prints keys as a table.
pub(super) fn table(keys: &[Value]) -> Result<(), Failure> {
    let mut table = Table::new(&["KEY ID", "NAME", "ACTOR", "STATUS", "SCOPES", "EXPIRES"]);
    for key in keys {
        let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
        let scopes = key["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        table.row([
            text("key_id"),
            text("name"),
            text("actor_id"),
            text("status").trim_start_matches("KEY_STATUS_").to_ascii_lowercase(),
            scopes.collect::<Vec<_>>().join(","),
            text("expire_time"),
        ]);
    }
    table.print()
}
