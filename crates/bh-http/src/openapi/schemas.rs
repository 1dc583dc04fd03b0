//! The schemas of what is read and written, from the types that serde reads and writes.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

const PLACE: &str = "/components/schemas";
/// What the name of a type ends with that is read and written under one name, and not alike.
const READ: &str = "Input";
/// Marks a reference to what is read, until it is known whether the name is one of what is written too.
const MARK: &str = "?read";

/// Collects the components that operations refer to.
#[derive(Debug)]
pub(crate) struct Schemas {
    told: SchemaGenerator,
    taken: SchemaGenerator,
    written: Map<String, Value>,
}

impl Default for Schemas {
    fn default() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = PLACE.into();
                settings.meta_schema = None;
            })
        };
        let told = settings().for_serialize().with_transform(WithoutAbsent).into_generator();
        let taken = settings().for_deserialize().with_transform(WithoutDefault).into_generator();
        Self { told, taken, written: Map::new() }
    }
}

impl Schemas {
    /// The schema of what is answered.
    pub(crate) fn told<T: JsonSchema>(&mut self) -> Value {
        self.told.subschema_for::<T>().to_value()
    }

    /// The schema of what is asked for.
    pub(crate) fn taken<T: JsonSchema>(&mut self) -> Value {
        let mut schema = self.taken.subschema_for::<T>().to_value();
        mark_read(&mut schema);
        schema
    }

    /// The schema of what is asked for, under another name and with something added.
    pub(crate) fn taken_with<T: JsonSchema>(&mut self, name: &str, add: fn(&mut Value)) -> Value {
        let reference = self.taken.subschema_for::<T>().to_value();
        let target = reference["$ref"].as_str().and_then(|target| target.rsplit('/').next());
        let made = target.and_then(|target| self.taken.definitions().get(target)).cloned();
        self.written(name, |_| {
            let mut made = made.unwrap_or_default();
            if let Ok(schema) = <&mut Schema>::try_from(&mut made) {
                WithoutDefault.transform(schema);
            }
            mark_read(&mut made);
            add(&mut made);
            made
        })
    }

    /// A component that no type stands for.
    pub(crate) fn written(&mut self, name: &str, schema: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.written.contains_key(name) {
            // First a place, for what refers to itself.
            self.written.insert(name.to_owned(), Value::Null);
            let made = schema(self);
            self.written.insert(name.to_owned(), made);
        }
        reference(name)
    }

    /// Puts every component into the document, under the name by which the document refers to it.
    pub(super) fn finish(mut self, document: &mut Value) {
        let mut all = self.told.take_definitions(true);
        all.extend(self.written);
        let mut taken = self.taken.take_definitions(true);
        taken.values_mut().for_each(mark_read);
        let differs = |(name, schema): &(&String, &Value)| all.get(*name).is_some_and(|told| told != *schema);
        let both: Vec<String> = taken.iter().filter(differs).map(|(name, _)| name.clone()).collect();
        for (name, schema) in taken {
            let name = if both.contains(&name) { format!("{name}{READ}") } else { name };
            all.insert(name, schema);
        }
        all.sort_keys();
        document["components"]["schemas"] = Value::Object(all);
        settle(document, &both);
    }
}

/// A reference to a component.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#{PLACE}/{name}")})
}

/// Calls `change` with every reference below.
fn references(schema: &mut Value, change: &mut impl FnMut(&mut String)) {
    match schema {
        Value::Object(members) => {
            for (name, value) in members {
                if let ("$ref", Value::String(target)) = (name.as_str(), &mut *value) {
                    change(target);
                }
                references(value, change);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| references(item, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn mark_read(schema: &mut Value) {
    references(schema, &mut |target| target.push_str(MARK));
}

/// Gives marked references their names. What is read and written alike in name has two: what may be left out differs.
fn settle(document: &mut Value, both: &[String]) {
    references(document, &mut |target| {
        let Some(plain) = target.strip_suffix(MARK) else { return };
        let name = plain.rsplit('/').next().unwrap_or_default();
        let ending = if both.iter().any(|known| known == name) { READ } else { "" };
        *target = format!("{plain}{ending}");
    });
}

/// That a member is nothing when it is left out goes without saying.
#[derive(Clone, Debug)]
struct WithoutDefault;

impl Transform for WithoutDefault {
    fn transform(&mut self, schema: &mut Schema) {
        let nothing = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.values().all(|member| member == &Value::Array(Vec::new())),
            Value::Bool(_) | Value::Number(_) => false,
        };
        if schema.get("default").is_some_and(nothing) {
            schema.remove("default");
        }
        transform_subschemas(self, schema);
    }
}

/// A member that may be absent is absent where it has no value, never `null`.
#[derive(Clone, Debug)]
struct WithoutAbsent;

impl Transform for WithoutAbsent {
    fn transform(&mut self, schema: &mut Schema) {
        // Answers may say more in a later release, whatever their types read.
        schema
            .remove("additionalProperties")
            .filter(|further| *further != Value::Bool(false))
            .map(|further| schema.insert("additionalProperties".to_owned(), further));
        let required = schema.get("required").cloned().unwrap_or_default();
        let required = required.as_array().cloned().unwrap_or_default();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, property) in properties {
                if !required.iter().any(|known| known == name) {
                    without_null(property);
                }
            }
        }
        transform_subschemas(self, schema);
    }
}

fn without_null(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(choices)) = members.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = choices.as_mut_slice() {
            let only = std::mem::take(only);
            members.remove("anyOf");
            members.extend(only);
        }
    }
}
