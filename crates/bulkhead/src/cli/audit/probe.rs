//! Whose export is this? Told by its head, without reading the rest.

use std::fmt;
use std::io::Read;

use bh_domain::evidence::export::ALGORITHM;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// The head of an export.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Signed by a gateway of ours.
    Bulkhead {
        /// The key it says it was signed with.
        public_key: Option<String>,
    },
    /// Signed the way Talon signs.
    Talon,
    /// JSON, but with no sign of a signature.
    Unsigned,
}

/// Reads as much of an export as tells whose it is.
pub(super) fn probe(export: impl Read) -> Result<Head, serde_json::Error> {
    let mut found = None;
    let mut parser = serde_json::Deserializer::from_reader(export);
    let read = parser.deserialize_map(Probe(&mut found));
    match found {
        Some(head) => Ok(head),
        None => read.map(|()| Head::Unsigned),
    }
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    algorithm: String,
    public_key: Option<String>,
}

impl Metadata {
    /// Any trace of ours counts: a changed `algorithm` must not lead to the weaker check.
    fn head(self) -> Head {
        if self.algorithm == ALGORITHM || self.public_key.is_some() {
            Head::Bulkhead { public_key: self.public_key }
        } else {
            Head::Talon
        }
    }
}

struct Probe<'f>(&'f mut Option<Head>);

impl<'de> Visitor<'de> for Probe<'_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a signed export")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "export_metadata" => {
                    *self.0 = Some(members.next_value::<Metadata>()?.head());
                    // What follows may be gigabytes, and says nothing more.
                    return Err(A::Error::custom("enough is read"));
                }
                // NDJSON of Talon: bare metadata, or a record, on the first line.
                "signature" | "talon_version" => {
                    members.next_value::<IgnoredAny>()?;
                    *self.0 = Some(Head::Talon);
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Option<Head> {
        probe(text.as_bytes()).ok()
    }

    #[test]
    fn the_head_tells_whose_export_it_is() {
        let own =
            r#"{"export_metadata":{"algorithm":"Ed25519+HMAC-SHA256","public_key":"k"},"records":[oops"#;
        let talon = r#"{"export_metadata":{"algorithm":"HMAC-SHA256","signed":true}}"#;
        assert_eq!(head(own), Some(Head::Bulkhead { public_key: Some("k".to_owned()) }));
        assert_eq!(head(talon), Some(Head::Talon));
        assert_eq!(head(r#"{"talon_version":"1.7.0","total_records":2}"#), Some(Head::Talon));
        assert_eq!(head(r#"{"id":"gw_1","signature":"hmac-sha256:00"}"#), Some(Head::Talon));
        assert_eq!(head(r#"{"id":"gw_1"}"#), Some(Head::Unsigned));
        assert_eq!((head("id,timestamp\n"), head("[]"), head("")), (None, None, None));
    }

    #[test]
    fn an_export_of_ours_is_not_taken_for_talons_when_its_algorithm_is_changed() {
        let changed = r#"{"export_metadata":{"algorithm":"HMAC-SHA256","public_key":"k"},"records":[]}"#;
        assert_eq!(head(changed), Some(Head::Bulkhead { public_key: Some("k".to_owned()) }));
    }
}
