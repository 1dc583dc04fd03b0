//! What the trail repeats of a call's parameters: nothing that the tool itself declares to be secret. Names that sound secret are
//! masked by [`bh_domain::audit::redact`], whatever a tool says.

use bh_domain::audit::redact::REDACTED;
use serde_json::{Map, Value};

/// Schemas within schemas that are followed.
const DEPTH_MAX: usize = 16;

/// Masks what a JSON Schema calls a password, or says is only ever written.
pub(super) fn by_schema(parameters: &mut Map<String, Value>, schema: &Map<String, Value>) {
    masked(parameters, schema, 0);
}

fn masked(values: &mut Map<String, Value>, schema: &Map<String, Value>, depth: usize) {
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    for (name, property) in properties {
        if let (Some(value), Value::Object(property)) = (values.get_mut(name), property) {
            mask(value, property, depth + 1);
        }
    }
}

fn mask(value: &mut Value, schema: &Map<String, Value>, depth: usize) {
    if is_secret(schema) || depth > DEPTH_MAX {
        *value = REDACTED.into();
        return;
    }
    match value {
        Value::Object(members) => masked(members, schema, depth),
        Value::Array(items) => {
            if let Some(Value::Object(of_items)) = schema.get("items") {
                items.iter_mut().for_each(|item| mask(item, of_items, depth + 1));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_secret(schema: &Map<String, Value>) -> bool {
    schema.get("format").is_some_and(|format| format == "password")
        || schema.get("writeOnly").is_some_and(|only| only == true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_a_schema_calls_secret_is_masked_wherever_it_stands() {
        let schema = object(&json!({"properties": {
            "pin": {"type": "string", "format": "password"},
            "login": {"properties": {"phrase": {"writeOnly": true}, "user": {}}},
            "all": {"items": {"properties": {"pin": {"format": "password"}}}},
            "plain": {"type": "string"},
        }}));
        let mut given = object(&json!({
            "pin": 1234, "login": {"phrase": ["a"], "user": "u"}, "all": [{"pin": "1", "x": 1}, 2],
            "plain": "p", "unknown": {"pin": "told"},
        }));
        by_schema(&mut given, &schema);
        let told = json!({
            "pin": REDACTED, "login": {"phrase": REDACTED, "user": "u"}, "all": [{"pin": REDACTED, "x": 1}, 2],
            "plain": "p", "unknown": {"pin": "told"},
        });
        assert_eq!(Value::Object(given), told);
    }
}
