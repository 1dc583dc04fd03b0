//! JSON objects, read as such: left to itself, serde reads a struct from an array too, member by member.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// A `T` that stands there as an object, and as nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Object<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Sample {
        name: Option<String>,
        inner: Option<Object<Box<Sample>>>,
        raw: Option<Box<RawValue>>,
    }

    #[test]
    fn an_object_is_read_and_nothing_else_is() {
        let text = r#"{"name":"a","raw":{"n": 1.0},"inner":{"name":"b","unknown":[]}}"#;
        let Object(sample) = serde_json::from_str::<Object<Sample>>(text).unwrap();
        assert_eq!(sample.name.as_deref(), Some("a"));
        assert_eq!(sample.raw.unwrap().get(), r#"{"n": 1.0}"#);
        assert_eq!(sample.inner.unwrap().0.name.as_deref(), Some("b"));
        for (text, found) in
            [("[\"a\"]", "sequence"), ("null", "null"), ("7", "integer `7`"), ("\"a\"", "string \"a\"")]
        {
            let error = serde_json::from_str::<Object<Sample>>(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("invalid type: {found}, expected an object at line 1")),
                "{error}"
            );
        }
        let nested = serde_json::from_str::<Object<Sample>>(r#"{"inner":[]}"#).unwrap_err().to_string();
        assert_eq!(nested, "invalid type: sequence, expected an object at line 1 column 9");
    }
}
