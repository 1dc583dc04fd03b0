//! Money on the wire: told as a decimal text, taken as one or as a whole number.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

use crate::money::NanoUsd;

// The signature is serde's.
#[expect(clippy::ref_option, reason = "serde hands the field over like this")]
pub(super) fn serialize<S: Serializer>(value: &Option<NanoUsd>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(amount) => to.collect_str(amount),
        None => to.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NanoUsd>, D::Error> {
    from.deserialize_any(Amount).map(Some)
}

/// Its schema.
pub(super) struct Wire;

impl JsonSchema for Wire {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<NanoUsd>();
        if generator.contract().is_serialize() {
            return text;
        }
        json_schema!({"anyOf": [text, {"type": "integer", "minimum": 0}, {"type": "null"}]})
    }
}

struct Amount;

impl Visitor<'_> for Amount {
    type Value = NanoUsd;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an amount of money: \"12.50\", or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<NanoUsd, E> {
        NanoUsd::parse_decimal(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, whole: u64) -> Result<NanoUsd, E> {
        self.visit_str(&whole.to_string())
    }
}
