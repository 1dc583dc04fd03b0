//! What the trail repeats of a call's parameters: nothing that the tool itself declares to be secret. Names that sound secret are
//! masked by [`bh_domain::audit::redact`], whatever a tool says.

use bh_domain::audit::redact::REDACTED;
use serde_json::{Map, Value};

/// Schemas within schemas that are followed; what lies deeper is masked.
const DEPTH_MAX: usize = 24;
/// Schemas that are looked at for one call: branches that lead to each other are many more than there are bytes.
const LOOKS_MAX: usize = 10_000;
/// Schemas that all have their say, and those of which one holds.
const TOGETHER: [&str; 3] = ["allOf", "anyOf", "oneOf"];
/// Those that hold under a condition.
const CONDITIONS: [&str; 3] = ["if", "then", "else"];
/// Those of every item, and of members that are not named.
const OF_ITEMS: [&str; 4] = ["items", "additionalItems", "unevaluatedItems", "contains"];
const OF_OTHERS: [&str; 2] = ["additionalProperties", "unevaluatedProperties"];

/// Masks what a JSON Schema calls a password, or says is only ever written, in whichever of its branches.
pub(super) fn by_schema(parameters: &mut Map<String, Value>, schema: &Value) {
    let mut whole = Value::Object(std::mem::take(parameters));
    Walk { root: schema, looks: LOOKS_MAX }.mask(&mut whole, schema, 0);
    // Where all of it is secret, nothing of it is shown.
    if let Value::Object(shown) = whole {
        *parameters = shown;
    }
}

/// A walk through a schema.
struct Walk<'r> {
    root: &'r Value,
    /// How many more are looked at.
    looks: usize,
}

impl Walk<'_> {
    fn mask(&mut self, value: &mut Value, schema: &Value, depth: usize) {
        let Value::Object(schema) = schema else { return };
        self.looks = self.looks.saturating_sub(1);
        if self.looks == 0 || depth > DEPTH_MAX || is_secret(schema) {
            *value = REDACTED.into();
            return;
        }
        if let Some(reference) = schema.get("$ref") {
            match reference.as_str().and_then(|place| resolved(place, self.root)) {
                Some(target) => self.mask(value, target, depth + 1),
                // What is said elsewhere may be anything.
                None => *value = REDACTED.into(),
            }
        }
        let lists = TOGETHER.iter().filter_map(|name| schema.get(*name)?.as_array()).flatten();
        let named = schema.get("dependentSchemas").and_then(Value::as_object);
        let conditions = CONDITIONS.iter().filter_map(|name| schema.get(*name));
        for branch in lists.chain(named.into_iter().flat_map(Map::values)).chain(conditions) {
            self.mask(value, branch, depth + 1);
        }
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    for of_member in member_schemas(schema, name) {
                        self.mask(member, of_member, depth + 1);
                    }
                }
            }
            Value::Array(items) => {
                // `items` was a list before there was `prefixItems`.
                let listed = ["prefixItems", "items"].map(|name| schema.get(name).and_then(Value::as_array));
                for (number, item) in items.iter_mut().enumerate() {
                    let place = listed.iter().flatten().filter_map(|places| places.get(number));
                    for of_item in place.chain(OF_ITEMS.iter().filter_map(|name| schema.get(*name))) {
                        self.mask(item, of_item, depth + 1);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// What is said of a member. Patterns of names are not matched: whatever one of them says may be said of it.
fn member_schemas<'s>(schema: &'s Map<String, Value>, name: &str) -> impl Iterator<Item = &'s Value> {
    let own = schema.get("properties").and_then(|properties| properties.get(name));
    let patterns = schema.get("patternProperties").and_then(Value::as_object);
    let others = own.is_none().then(|| OF_OTHERS.iter().filter_map(|name| schema.get(*name)));
    own.into_iter().chain(patterns.into_iter().flat_map(Map::values)).chain(others.into_iter().flatten())
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
            "older": {"items": [{}, {"writeOnly": true}], "additionalItems": {"writeOnly": true}},
            "when": {"if": {}, "then": {"properties": {"pin": {"writeOnly": true}}}},
            "plain": {"type": "string"},
        }});
        let given = json!({
            "pin": 1234, "login": {"phrase": ["a"], "user": "u"}, "all": [{"pin": "1", "x": 1}, 2],
            "pair": ["told", "not"], "older": ["told", "not"], "when": {"pin": 1, "x": 1}, "plain": "p", "unknown": {"pin": "told"},
        });
        let told = json!({
            "pin": REDACTED, "login": {"phrase": REDACTED, "user": "u"}, "all": [{"pin": REDACTED, "x": 1}, 2],
            "pair": ["told", REDACTED], "older": [REDACTED, REDACTED], "when": {"pin": REDACTED, "x": 1}, "plain": "p", "unknown": {"pin": "told"},
        });
        assert_eq!(shown(&schema, &given), told);
    }

    #[test]
    fn branches_that_lead_to_each_other_come_to_an_end_and_nothing_is_told() {
        let again = json!({"$ref": "#"});
        let schema = json!({"anyOf": vec![again; 1_000], "properties": {"pin": {"$ref": "#"}}});
        assert_eq!(shown(&schema, &json!({"pin": "1", "x": {"y": 1}})), json!({}));
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
