//! How a change is laid over settings.

use serde_json::{Map, Value};

use super::Settings;

/// Whether a member of the settings is a group of further ones.
pub(super) fn is_group(name: &str) -> bool {
    ["limits", "features", "security", "budgets", "metadata"].contains(&name)
}

/// What a group may be told to be.
pub(super) fn is_object(value: &Value) -> bool {
    value.is_object() || value.is_null()
}

/// Lays a patch over a value (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// The first member of a change that cannot be read by itself.
pub(super) fn first_bad(change: &Map<String, Value>) -> String {
    let alone = |(name, value): (&String, &Value)| {
        let mut whole = Value::Object(Map::new());
        merge(&mut whole, &Value::Object(Map::from_iter([(name.clone(), value.clone())])));
        serde_json::from_value::<Settings>(whole).is_err().then(|| name.clone())
    };
    change.iter().find_map(alone).unwrap_or_else(|| "settings".to_owned())
}
