//! How the values of a record look in JSON.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, de::Error};

use crate::tenant::Nid;
use crate::time::Timestamp;

/// Money as an integer of nano units.
pub(super) mod nano {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::money::NanoUsd;

    pub(in crate::evidence) fn serialize<S: Serializer>(amount: &NanoUsd, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(amount.0)
    }

    pub(in crate::evidence) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<NanoUsd, D::Error> {
        i64::deserialize(from).map(NanoUsd)
    }
}

/// A tenant's network id from a UUID.
pub(super) fn nid<'de, D: Deserializer<'de>>(from: D) -> Result<Nid, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    text.parse().map(Nid).map_err(D::Error::custom)
}

/// An instant from RFC 3339.
pub(super) fn instant<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = Cow::<str>::deserialize(from)?;
    Timestamp::parse(&text).map_err(D::Error::custom)
}
