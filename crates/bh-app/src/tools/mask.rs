//! What the trail repeats of a call's parameters: nothing that the tool itself declares to be secret. Names that sound secret are
//! masked by [`bh_domain::audit::redact`], whatever a tool says.

use bh_domain::audit::redact::REDACTED;
use serde_json::{Map, Value};

/// Schemas within schemas that are followed; what lies deeper is masked.
const DEPTH_MAX: usize = 24;
/// Schemas that all have their say, and those of which one holds.
const TOGETHER: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Masks what a JSON Schema calls a password, or says is only ever written, in whichever of its branches.
pub(super) fn by_schema(parameters: &mut Map<String, Value>, schema: &Value) {
    let mut whole = Value::Object(std::mem::take(parameters));
    mask(&mut whole, schema, schema, 0);
    // Where all of it is secret, nothing of it is shown.
    if let Value::Object(shown) = whole {
        *parameters = shown;
    }
}

fn mask(value: &mut Value, schema: &Value, root: &Value, depth: usize) {
    let Value::Object(schema) = schema else { return };
    if depth > DEPTH_MAX || is_secret(schema) {
        *value = REDACTED.into();
        return;
    }
    if let Some(reference) = schema.get("$ref") {
        match reference.as_str().and_then(|place| resolved(place, root)) {
            Some(target) => mask(value, target, root, depth + 1),
            // What is said elsewhere may be anything.
            None => *value = REDACTED.into(),
        }
    }
    for branch in TOGETHER.iter().filter_map(|name| schema.get(*name)?.as_array()).flatten() {
        mask(value, branch, root, depth + 1);
    }
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                for of_member in member_schemas(schema, name) {
                    mask(member, of_member, root, depth + 1);
                }
            }
        }
        Value::Array(items) => {
            let places = schema.get("prefixItems").and_then(Value::as_array);
            for (number, item) in items.iter_mut().enumerate() {
                let place = places.and_then(|places| places.get(number));
                for of_item in place.into_iter().chain(schema.get("items")) {
                    mask(item, of_item, root, depth + 1);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is said of a member. Patterns of names are not matched: whatever one of them says may be said of it.
fn member_schemas<'s>(schema: &'s Map<String, Value>, name: &str) -> impl Iterator<Item = &'s Value> {
    let own = schema.get("properties").and_then(|properties| properties.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let others = own.is_none().then(|| schema.get("additionalProperties")).flatten();
    own.into_iter().chain(patterns.into_iter().flat_map(Map::values)).chain(others)
}

fn is_secret(schema: &Map<String, Value>) -> bool {
    schema.get("format").is_some_and(|format| format == "password")
        || schema.get("writeOnly").is_some_and(|only| only == true)
}

/// A place in the same schema: `#/$defs/Login`.
fn resolved<'r>(reference: &str, root: &'r Value) -> Option<&'r Value> {
    root.pointer(reference.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(schema: &Value, given: &Value) -> Value {
        let mut given = given.as_object().unwrap().clone();
        by_schema(&mut given, schema);
        Value::Object(given)
    }

    #[test]
    fn what_a_schema_calls_secret_is_masked_wherever_it_stands() {
        let schema = json!({"properties": {
            "pin": {"type": "string", "format": "password"},
            "login": {"properties": {"phrase": {"writeOnly": true}, "user": {}}},
            "all": {"items": {"properties": {"pin": {"format": "password"}}}},
            "pair": {"prefixItems": [{}, {"writeOnly": true}]},
            "plain": {"type": "string"},
        }});
        let given = json!({
            "pin": 1234, "login": {"phrase": ["a"], "user": "u"}, "all": [{"pin": "1", "x": 1}, 2],
            "pair": ["told", "not"], "plain": "p", "unknown": {"pin": "told"},
        });
        let told = json!({
            "pin": REDACTED, "login": {"phrase": REDACTED, "user": "u"}, "all": [{"pin": REDACTED, "x": 1}, 2],
            "pair": ["told", REDACTED], "plain": "p", "unknown": {"pin": "told"},
        });
        assert_eq!(shown(&schema, &given), told);
    }

    #[test]
    fn branches_and_references_are_followed_and_what_leads_nowhere_is_masked() {
        // As the common libraries write optional secrets and models within models.
        let schema = json!({
            "properties": {
                "pin": {"anyOf": [{"type": "string", "format": "password"}, {"type": "null"}]},
                "login": {"$ref": "#/$defs/Login"},
                "both": {"allOf": [{"$ref": "#/$defs/Login"}, {"properties": {"x": {}}}]},
                "lost": {"$ref": "https://elsewhere.example/schema"},
                "ever": {"$ref": "#/properties/ever"},
            },
            "additionalProperties": {"properties": {"key": {"writeOnly": true}}},
            "$defs": {"Login": {"properties": {"phrase": {"format": "password"}, "user": {}}}},
        });
        let login = json!({"phrase": "s", "user": "u"});
        let given = json!({"pin": "1", "login": login, "both": login, "lost": "l", "ever": 1, "more": {"key": "k", "x": 1}});
        let masked = json!({"phrase": REDACTED, "user": "u"});
        let told = json!({
            "pin": REDACTED, "login": masked, "both": masked, "lost": REDACTED, "ever": REDACTED,
            "more": {"key": REDACTED, "x": 1},
        });
        assert_eq!(shown(&schema, &given), told);
    }
}
