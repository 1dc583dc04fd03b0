//! Sealing: giving a draft its place in the tenant's chain, its signature and its leaf hash.

use std::fmt;

use aws_lc_rs::hmac;

use super::canonical::INTEGER_MAX;
use super::merkle::{self, Frontier, Node};
use super::record::{Draft, unsigned_text};
use super::{GENESIS_HASH, Hash, hex};

/// What a record's signature starts with; 64 hexadecimal digits follow.
pub const SIGNATURE_PREFIX: &str = "hmac-sha256:";

/// The fewest bytes a signing key may have.
const HMAC_KEY_BYTES_MIN: usize = 32;

/// The one member that is empty while a record is signed. It cannot occur inside a string, where quotes are escaped.
const EMPTY_SIGNATURE: &str = "\"signature\":\"\"";

/// The key of the records' signatures (`TALON_SIGNING_KEY` of seed 002).
#[derive(Clone)]
pub struct HmacKey(hmac::Key);

/// A text that cannot be a signing key. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an evidence signing key has at least {HMAC_KEY_BYTES_MIN} bytes, or 64 hexadecimal digits")]
pub struct HmacKeyError;

impl HmacKey {
    /// Reads a key: 64 or more hexadecimal digits, even in number, are the key's bytes; any other text is the key
    /// itself and has at least 32 bytes.
    ///
    /// # Errors
    /// [`HmacKeyError`] for anything shorter.
    pub fn parse(text: &str) -> Result<Self, HmacKeyError> {
        let decoded = if text.len() >= 2 * HMAC_KEY_BYTES_MIN { hex::decode(text) } else { None };
        let bytes = decoded.as_deref().unwrap_or(text.as_bytes());
        if bytes.len() < HMAC_KEY_BYTES_MIN {
            return Err(HmacKeyError);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The signature over bytes that come in parts, with its prefix.
    pub(super) fn sign(&self, parts: &[&[u8]]) -> String {
        let mut signature = String::with_capacity(SIGNATURE_PREFIX.len() + 64);
        signature.push_str(SIGNATURE_PREFIX);
        signature.push_str(&hex::encode(self.tag(parts).as_ref()));
        signature
    }

    /// Whether `signature` is the one over the bytes. Takes the same time for every wrong signature.
    pub(super) fn verifies(&self, parts: &[&[u8]], signature: &str) -> bool {
        let claimed = signature.strip_prefix(SIGNATURE_PREFIX).and_then(hex::decode_hash);
        let tag = self.tag(parts);
        claimed.is_some_and(|claimed| {
            aws_lc_rs::constant_time::verify_slices_are_equal(&claimed, tag.as_ref()).is_ok()
        })
    }

    fn tag(&self, parts: &[&[u8]]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        parts.iter().for_each(|part| context.update(part));
        context.sign()
    }
}

impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacKey(..)")
    }
}

/// The end of a tenant's chain, to which the next record is linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// Sequence number of the last record; 0 before the first.
    pub seq: u64,
    /// Leaf hash of the last record; [`GENESIS_HASH`] before the first.
    pub leaf_hash: Hash,
    /// The tree over all records so far.
    pub frontier: Frontier,
}

impl Default for ChainHead {
    fn default() -> Self {
        Self { seq: 0, leaf_hash: GENESIS_HASH, frontier: Frontier::default() }
    }
}

impl ChainHead {
    /// Moves on to a record that was sealed against this head, and returns the tree nodes to store with it.
    pub fn advance(&mut self, sealed: &Sealed) -> Vec<Node> {
        self.seq = sealed.seq;
        self.leaf_hash = sealed.leaf_hash;
        self.frontier.append(sealed.leaf_hash)
    }
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Position in the tenant's chain, from 1.
    pub seq: u64,
    /// RFC 6962 leaf hash over the signed bytes.
    pub leaf_hash: Hash,
    /// The whole record as canonical JSON, signature included.
    pub canonical: String,
}

/// Why a draft cannot become a record.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// An integer that canonical JSON would round.
    #[error("evidence member `{0}` is beyond ±2^53")]
    Inexact(&'static str),
    /// `cost` and `cost_nano_usd` say two different things.
    #[error("evidence members `cost` and `cost_nano_usd` differ")]
    CostMismatch,
    /// The record could not be written as JSON.
    #[error("the evidence record cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Links `draft` to the end of its tenant's chain and signs it. The head stays where it is until
/// [`ChainHead::advance`].
///
/// # Errors
/// [`SealError`] when the draft has no exact canonical form.
pub fn seal(draft: &Draft, head: &ChainHead, key: &HmacKey) -> Result<Sealed, SealError> {
    let seq = head.seq + 1;
    let inexact = if seq > INTEGER_MAX { Some("seq") } else { draft.inexact_member() };
    if let Some(member) = inexact {
        return Err(SealError::Inexact(member));
    }
    if draft.execution.cost != draft.execution.cost_nano_usd {
        return Err(SealError::CostMismatch);
    }
    let mut text = unsigned_text(draft, seq, &head.leaf_hash)?;
    let leaf_hash = merkle::leaf_hash(&[text.as_bytes()]);
    let signature = key.sign(&[text.as_bytes()]);
    let member = text
        .rfind(EMPTY_SIGNATURE)
        .ok_or_else(|| SealError::Json(serde::ser::Error::custom("the record has no signature member")))?;
    text.insert_str(member + EMPTY_SIGNATURE.len() - 1, &signature);
    Ok(Sealed { seq, leaf_hash, canonical: text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::record::samples;

    fn key() -> HmacKey {
        HmacKey::parse("a signing key of thirty-two bytes").unwrap()
    }

    #[test]
    fn a_key_is_hex_from_64_digits_on_and_raw_text_otherwise() {
        let signed = |text: &str| HmacKey::parse(text).map(|key| key.sign(&[b"x"]));
        let raw = |bytes: &[u8]| Ok(HmacKey(hmac::Key::new(hmac::HMAC_SHA256, bytes)).sign(&[b"x"]));
        assert_eq!(signed(&"ab".repeat(32)), raw(&[0xab; 32]));
        assert_eq!(signed(&"AB".repeat(40)), raw(&[0xab; 40]));
        assert_eq!(signed(&"a".repeat(65)), raw(&[b'a'; 65]), "an odd number of digits is text");
        assert_eq!(signed(&"a".repeat(62)), raw(&[b'a'; 62]), "fewer than 64 digits are text");
        assert_eq!(signed(&"z".repeat(32)), raw(&[b'z'; 32]));
        assert_eq!(signed(&"z".repeat(31)), Err(HmacKeyError));
        assert_eq!(format!("{:?}", key()), "HmacKey(..)");
    }

    #[test]
    fn a_sealed_record_is_linked_signed_and_hashed_over_its_text_without_the_signature() {
        let mut head = ChainHead::default();
        let first = seal(&samples::full(), &head, &key()).unwrap();
        assert_eq!(head.advance(&first), []);
        let second = seal(&samples::minimal(), &head, &key()).unwrap();

        let record: crate::evidence::Record = serde_json::from_str(&second.canonical).unwrap();
        assert_eq!((record.seq, record.prev_hash, &record.draft), (2, first.leaf_hash, &samples::minimal()));
        let unsigned = second.canonical.replace(&record.signature, "");
        assert_eq!(second.leaf_hash, merkle::leaf_hash(&[unsigned.as_bytes()]));
        assert!(key().verifies(&[unsigned.as_bytes()], &record.signature));
        assert!(!key().verifies(&[second.canonical.as_bytes()], &record.signature));
        assert!(
            !HmacKey::parse(&"z".repeat(32)).unwrap().verifies(&[unsigned.as_bytes()], &record.signature)
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), second.canonical);
    }

    #[test]
    fn text_that_looks_like_the_signature_member_does_not_attract_the_signature() {
        let mut draft = samples::minimal();
        draft.upstream_key_source = Some(r#"","signature":"""#.into());
        let sealed = seal(&draft, &ChainHead::default(), &key()).unwrap();
        let record: crate::evidence::Record = serde_json::from_str(&sealed.canonical).unwrap();
        assert_eq!(record.draft, draft);
        assert!(record.signature.starts_with(SIGNATURE_PREFIX));
    }

    #[test]
    fn what_has_no_exact_form_is_refused() {
        let mut draft = samples::minimal();
        draft.execution.tokens.cache_read = INTEGER_MAX + 1;
        let refused = seal(&draft, &ChainHead::default(), &key()).unwrap_err();
        assert_eq!(refused.to_string(), "evidence member `cache_read` is beyond ±2^53");
        let mut draft = samples::minimal();
        draft.execution.cost.0 += 1;
        assert!(matches!(seal(&draft, &ChainHead::default(), &key()), Err(SealError::CostMismatch)));
    }
}
