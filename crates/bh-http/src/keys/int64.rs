//! 64-bit numbers as proto JSON has them.

use std::borrow::Cow;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// A 64-bit number, as text or as a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Int64(pub(super) i64);

impl<'de> Deserialize<'de> for Int64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Int64Visitor)
    }
}

impl JsonSchema for Int64 {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Int64".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let number = json!({"type": "integer", "format": "int64"});
        schemars::json_schema!({"anyOf": [number, {"type": "string", "pattern": "^[+-]?[0-9]{1,19}$"}]})
    }
}

struct Int64Visitor;

impl Visitor<'_> for Int64Visitor {
    type Value = Int64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of 64 bits, as a number or as text")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Int64, E> {
        Ok(Int64(number))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Int64, E> {
        let signed = i64::try_from(number).map(Int64);
        signed.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Int64, E> {
        text.parse().map(Int64).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}
