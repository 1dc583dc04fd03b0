//! Reading a record back from its text, in order to check it.

use std::borrow::Cow;

use serde_json::Value;

use super::canonical::{canonical, parse_strict};
use super::{Hash, HmacKey, hex, merkle, scan};

/// What verification needs of one record. Text that is not canonical (pretty-printed, say) is brought into canonical
/// form first, so that it verifies as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading<'a> {
    /// The record's id.
    pub id: Cow<'a, str>,
    /// The tenant's network id.
    pub nid: Cow<'a, str>,
    /// The tenant.
    pub tenant_id: Cow<'a, str>,
    /// Position in the tenant's chain.
    pub seq: u64,
    /// The hash the record gives for the one before it.
    pub prev_hash: Hash,
    /// The signature as it stands in the record.
    pub signature: Cow<'a, str>,
    /// Leaf hash of the record as it stands there.
    pub leaf_hash: Hash,
    /// The signed bytes: what stands before and after the signature.
    signed: [Cow<'a, str>; 2],
}

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// Not JSON, or JSON that two readers could read differently.
    #[error("not valid JSON: {0}")]
    Json(String),
    /// A member that every record has is missing or of another type.
    #[error("member `{0}` is missing or not what it should be")]
    Member(&'static str),
}

impl<'a> Reading<'a> {
    /// Reads the text of one record.
    ///
    /// # Errors
    /// [`ReadingError`] when the text is no record.
    pub fn of(text: &'a [u8]) -> Result<Self, ReadingError> {
        let fast = std::str::from_utf8(text).ok().and_then(|text| Some((text, scan::scan(text)?)));
        match fast {
            Some((text, members)) => Self::canonical(text, members),
            None => Self::parsed(text),
        }
    }

    /// Whether the record carries the right `hmac-sha256:` signature.
    #[must_use]
    pub fn signed_by(&self, key: &HmacKey) -> bool {
        let [before, after] = &self.signed;
        key.verifies(&[before.as_bytes(), after.as_bytes()], &self.signature)
    }

    fn canonical(text: &'a str, members: scan::Members<'a>) -> Result<Self, ReadingError> {
        let prev_hash = hex::decode_hash(members.prev_hash).ok_or(ReadingError::Member("prev_hash"))?;
        let (before, after) = (&text[..members.signature.start], &text[members.signature.end..]);
        Ok(Self {
            id: members.id.into(),
            nid: members.nid.into(),
            tenant_id: members.tenant_id.into(),
            seq: members.seq,
            prev_hash,
            signature: text[members.signature].into(),
            leaf_hash: merkle::leaf_hash(&[before.as_bytes(), after.as_bytes()]),
            signed: [before.into(), after.into()],
        })
    }

    fn parsed(text: &[u8]) -> Result<Self, ReadingError> {
        let mut record = parse_strict(text).map_err(|error| ReadingError::Json(error.to_string()))?;
        let string = |name| member(&record, name).map(|text| Cow::Owned(text.to_owned()));
        let (id, nid, tenant_id) = (string("id")?, string("nid")?, string("tenant_id")?);
        let signature = string("signature")?;
        let prev_hash =
            hex::decode_hash(member(&record, "prev_hash")?).ok_or(ReadingError::Member("prev_hash"))?;
        let seq = record.get("seq").and_then(Value::as_u64).ok_or(ReadingError::Member("seq"))?;
        record["signature"] = Value::String(String::new());
        let unsigned = canonical(&record);
        let leaf_hash = merkle::leaf_hash(&[unsigned.as_bytes()]);
        Ok(Self {
            id,
            nid,
            tenant_id,
            seq,
            prev_hash,
            signature,
            leaf_hash,
            signed: [unsigned.into(), "".into()],
        })
    }
}

fn member<'v>(record: &'v Value, name: &'static str) -> Result<&'v str, ReadingError> {
    record.get(name).and_then(Value::as_str).ok_or(ReadingError::Member(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evidence::record::samples;
    use crate::evidence::{ChainHead, seal};

    #[test]
    fn a_record_reads_the_same_however_it_is_laid_out() {
        let key = HmacKey::parse("a signing key of thirty-two bytes").unwrap();
        let sealed = seal(&samples::full(), &ChainHead::default(), &key).unwrap();
        let value: Value = serde_json::from_str(&sealed.canonical).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let escaped = sealed.canonical.replace('é', "\\u00e9");
        for text in [&sealed.canonical, &pretty, &escaped] {
            let reading = Reading::of(text.as_bytes()).unwrap();
            assert_eq!(
                (reading.seq, reading.leaf_hash, reading.id.as_ref()),
                (1, sealed.leaf_hash, "gw_0123456789ab")
            );
            assert!(reading.signed_by(&key));
        }
        assert!(
            matches!(Reading::of(sealed.canonical.as_bytes()).unwrap().id, Cow::Borrowed(_)),
            "the fast way"
        );
    }

    #[test]
    fn a_member_given_twice_is_no_record() {
        let text = r#"{"seq":1,"seq":2}"#;
        assert!(matches!(Reading::of(text.as_bytes()), Err(ReadingError::Json(_))));
        assert_eq!(Reading::of(b"{\"id\":\"x\",\"nid\":7}"), Err(ReadingError::Member("nid")));
        assert_eq!(Reading::of(b"[]"), Err(ReadingError::Member("id")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_096))]

        /// The scanner and the parser never disagree, so that no text verifies by one and reads otherwise by the other.
        #[test]
        fn what_the_scanner_accepts_is_canonical_to_the_parser_too(
            at in any::<prop::sample::Index>(),
            cut in 0_usize..4,
            put in "[\"\\\\{}\\[\\],:a-f0-9u .eE+-]{0,4}",
        ) {
            let golden = include_str!("record/golden.json").trim_end();
            let start = golden.floor_char_boundary(at.index(golden.len()));
            let end = golden.ceil_char_boundary(start + cut);
            let text = [&golden[..start], &put, &golden[end..]].concat();
            if scan::scan(&text).is_some() {
                let value = parse_strict(text.as_bytes()).unwrap();
                prop_assert_eq!(canonical(&value), text);
            }
        }
    }
}
