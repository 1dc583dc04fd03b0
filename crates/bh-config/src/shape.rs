//! The shape of the configuration, read once from the JSON Schema of its types.
//!
//! Checking, explaining, masking and the default file all walk this one tree, so they can't disagree.

#[cfg(test)]
use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::path::{Path, Step};
use crate::schema::{Config, PriceFile};

/// What a setting may hold, and what is known about it.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    pub(crate) doc: String,
    pub(crate) default: Option<Value>,
    pub(crate) example: Option<Value>,
    pub(crate) comes_with: Option<String>,
    pub(crate) nullable: bool,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Object { fields: Vec<(String, Shape)>, required: Vec<String> },
    Map(Box<Shape>),
    List(Box<Shape>),
    Text(TextRule),
    Word(Vec<String>),
    Bool,
    Integer { min: i64, max: i64 },
    Number { min: f64, max: f64 },
    Either(Vec<Shape>),
    Free,
}

#[derive(Debug, Default)]
pub(crate) struct TextRule {
    pub(crate) format: Option<String>,
    pub(crate) starts_with: Option<String>,
    pub(crate) capitals: Option<usize>,
    pub(crate) length_min: usize,
    pub(crate) length_max: Option<usize>,
    /// A bare number stands for its own digits: money, tiers, labels.
    pub(crate) numeric: bool,
}

static CONFIG_SCHEMA: LazyLock<Value> = LazyLock::new(schema_of::<Config>);
static CONFIG: LazyLock<Shape> = LazyLock::new(|| Compiler { root: &CONFIG_SCHEMA }.shape(&CONFIG_SCHEMA));
static PRICES: LazyLock<Shape> = LazyLock::new(|| {
    let schema = schema_of::<PriceFile>();
    Compiler { root: &schema }.shape(&schema)
});

/// The published JSON Schema.
pub(crate) fn config_schema() -> &'static Value {
    &CONFIG_SCHEMA
}

/// The shape of `bulkhead.yaml`.
pub(crate) fn config() -> &'static Shape {
    &CONFIG
}

/// The shape of a price file.
pub(crate) fn prices() -> &'static Shape {
    &PRICES
}

fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}

impl Shape {
    /// The shape of what `key` holds.
    pub(crate) fn field(&self, key: &str) -> Option<&Self> {
        match &self.kind {
            Kind::Object { fields, .. } => {
                fields.iter().find(|(name, _)| name == key).map(|(_, shape)| shape)
            }
            Kind::Map(value) => Some(value),
            Kind::Either(shapes) => shapes.iter().find_map(|shape| shape.field(key)),
            Kind::Free => Some(self),
            Kind::List(_)
            | Kind::Text(_)
            | Kind::Word(_)
            | Kind::Bool
            | Kind::Integer { .. }
            | Kind::Number { .. } => None,
        }
    }

    /// The shape of a list's elements.
    pub(crate) fn element(&self) -> Option<&Self> {
        match &self.kind {
            Kind::List(element) => Some(element),
            Kind::Either(shapes) => shapes.iter().find_map(Self::element),
            Kind::Free => Some(self),
            Kind::Object { .. } | Kind::Map(_) | Kind::Text(_) | Kind::Word(_) | Kind::Bool => None,
            Kind::Integer { .. } | Kind::Number { .. } => None,
        }
    }

    pub(crate) fn at(&self, path: &Path) -> Option<&Self> {
        path.0.iter().try_fold(self, |shape, step| match step {
            Step::Key(key) => shape.field(key),
            Step::Index(_) => shape.element(),
        })
    }

    /// The fixed fields of a mapping; of the first mapping among alternatives.
    pub(crate) fn fields(&self) -> Option<&[(String, Self)]> {
        match &self.kind {
            Kind::Object { fields, .. } => Some(fields),
            Kind::Either(shapes) => shapes.iter().find_map(Self::fields),
            Kind::Map(_) | Kind::List(_) | Kind::Text(_) | Kind::Word(_) | Kind::Bool | Kind::Free => None,
            Kind::Integer { .. } | Kind::Number { .. } => None,
        }
    }

    /// What any key of a mapping with free keys holds.
    pub(crate) fn map_value(&self) -> Option<&Self> {
        match &self.kind {
            Kind::Map(value) => Some(value),
            Kind::Object { .. } | Kind::List(_) | Kind::Text(_) | Kind::Word(_) | Kind::Bool | Kind::Free => {
                None
            }
            Kind::Integer { .. } | Kind::Number { .. } | Kind::Either(_) => None,
        }
    }

    /// The names of the fields, when these are fixed.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.kind {
            Kind::Object { fields, .. } => fields.iter().map(|(name, _)| name.as_str()).collect(),
            Kind::Either(shapes) => shapes.iter().flat_map(Self::names).collect(),
            Kind::Map(_) | Kind::List(_) | Kind::Text(_) | Kind::Word(_) | Kind::Bool | Kind::Free => {
                Vec::new()
            }
            Kind::Integer { .. } | Kind::Number { .. } => Vec::new(),
        }
    }

    pub(crate) fn format(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(rule) => rule.format.as_deref(),
            Kind::Either(shapes) => shapes.iter().find_map(Self::format),
            Kind::Object { .. } | Kind::Map(_) | Kind::List(_) | Kind::Word(_) | Kind::Bool | Kind::Free => {
                None
            }
            Kind::Integer { .. } | Kind::Number { .. } => None,
        }
    }

    /// Whether the value must never be shown.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.format(), Some("secret" | "secret-url"))
    }
}

struct Compiler<'s> {
    root: &'s Value,
}

impl Compiler<'_> {
    fn shape(&self, schema: &Value) -> Shape {
        let resolved = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|target| target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)));
        let mut shape = match resolved {
            Some(target) => self.shape(target),
            None => self.bare(schema),
        };
        // What stands beside a reference speaks of this use of the type, so it wins.
        let text = |key: &str| schema.get(key).and_then(Value::as_str).map(str::to_owned);
        if let Some(doc) = text("description") {
            shape.doc = doc;
        }
        shape.comes_with = text("x-comes-with").or(shape.comes_with);
        shape.default = schema.get("default").cloned().or(shape.default);
        shape.example = schema.pointer("/examples/0").cloned().or(shape.example);
        shape
    }

    fn bare(&self, schema: &Value) -> Shape {
        let branches = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)).and_then(Value::as_array);
        let (kind, nullable) = match branches {
            Some(branches) => self.branches(branches),
            None => (self.kind(schema), types(schema).contains(&"null")),
        };
        Shape { kind, nullable, doc: String::new(), default: None, example: None, comes_with: None }
    }

    fn branches(&self, branches: &[Value]) -> (Kind, bool) {
        let is_null = |branch: &Value| types(branch) == ["null"];
        let nullable = branches.iter().any(is_null);
        let words: Option<Vec<String>> =
            branches.iter().map(|b| b.get("const").and_then(Value::as_str).map(str::to_owned)).collect();
        if let Some(words) = words {
            return (Kind::Word(words), nullable);
        }
        let mut shapes: Vec<Shape> = branches.iter().filter(|b| !is_null(b)).map(|b| self.shape(b)).collect();
        match shapes.len() {
            1 => shapes.pop().map_or((Kind::Free, nullable), |only| (only.kind, nullable)),
            _ => (Kind::Either(shapes), nullable),
        }
    }

    fn kind(&self, schema: &Value) -> Kind {
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return Kind::Word(words.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        }
        if let Some(word) = schema.get("const").and_then(Value::as_str) {
            return Kind::Word(vec![word.to_owned()]);
        }
        let types = types(schema);
        match types.iter().find(|name| **name != "null").copied() {
            Some("string" | "number" | "integer") if types.contains(&"string") => {
                Kind::Text(text_rule(schema, &types))
            }
            Some("boolean") => Kind::Bool,
            Some("integer") => Kind::Integer {
                min: bound(schema, "minimum", i64::MIN),
                max: bound(schema, "maximum", i64::MAX),
            },
            Some("number") => Kind::Number {
                min: schema.get("minimum").and_then(Value::as_f64).unwrap_or(f64::MIN),
                max: schema.get("maximum").and_then(Value::as_f64).unwrap_or(f64::MAX),
            },
            Some("array") => Kind::List(Box::new(self.shape(schema.get("items").unwrap_or(&Value::Null)))),
            Some("object") => self.object(schema),
            _ => Kind::Free,
        }
    }

    fn object(&self, schema: &Value) -> Kind {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return match schema.get("additionalProperties") {
                Some(value @ Value::Object(_)) => Kind::Map(Box::new(self.shape(value))),
                _ => Kind::Free,
            };
        };
        let fields = properties.iter().map(|(name, schema)| (name.clone(), self.shape(schema))).collect();
        let required =
            schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Kind::Object {
            fields,
            required: required.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn bound(schema: &Value, key: &str, default: i64) -> i64 {
    schema.get(key).and_then(|n| n.as_i64().or_else(|| whole(n.as_f64()?))).unwrap_or(default)
}

/// A schema may write a whole bound as `1.0`.
fn whole(number: f64) -> Option<i64> {
    format!("{number:.0}").parse().ok()
}

fn text_rule(schema: &Value, types: &[&str]) -> TextRule {
    let length = |key| schema.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
    TextRule {
        format: schema.get("format").and_then(Value::as_str).map(str::to_owned),
        starts_with: pattern.strip_prefix('^').filter(|rest| !rest.starts_with('[')).map(str::to_owned),
        capitals: (pattern == "^[A-Z]{3}$").then_some(3),
        length_min: length("minLength").unwrap_or(0),
        length_max: length("maxLength"),
        numeric: types.contains(&"number") || types.contains(&"integer"),
    }
}

/// Every fixed key of the configuration as a pattern path, with its shape.
#[cfg(test)]
pub(crate) fn every_key() -> BTreeMap<String, &'static Shape> {
    fn walk(shape: &'static Shape, path: &str, out: &mut BTreeMap<String, &'static Shape>) {
        match &shape.kind {
            Kind::Object { fields, .. } => {
                for (name, field) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    out.insert(path.clone(), field);
                    walk(field, &path, out);
                }
            }
            Kind::Map(value) => walk(value, &format!("{path}.*"), out),
            Kind::List(element) => walk(element, &format!("{path}[]"), out),
            Kind::Either(shapes) => shapes.iter().for_each(|shape| walk(shape, path, out)),
            Kind::Text(_)
            | Kind::Word(_)
            | Kind::Bool
            | Kind::Free
            | Kind::Integer { .. }
            | Kind::Number { .. } => {}
        }
    }
    let mut out = BTreeMap::new();
    walk(config(), "", &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_says_what_it_means() {
        let keys = every_key();
        assert!(keys.len() > 300, "only {} keys", keys.len());
        let silent: Vec<_> =
            keys.iter().filter(|(_, shape)| shape.doc.trim().is_empty()).map(|(key, _)| key).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }

    #[test]
    fn every_pattern_and_format_is_one_the_loader_enforces() {
        for (key, shape) in every_key() {
            if let Kind::Text(rule) = &shape.kind {
                let format = rule.format.as_deref().unwrap_or("secret");
                let known = crate::text::FORMATS.contains(&format);
                assert!(known, "{key}: format {format}");
            }
        }
        let text = config_schema().to_string();
        for (position, _) in text.match_indices("\"pattern\":\"") {
            let pattern = text[position + 11..].split('"').next().unwrap();
            assert!(["^/", "^[A-Z]{3}$", "^CLIENT_IP_SOURCE_"].contains(&pattern), "{pattern}");
        }
    }
}
