//! What is kept of a key that came from elsewhere: a hash, which is also its id (Talos dossier §3.3 and §6).
//!
//! Version 1 is what Talos wrote: it has no secret in it, so whoever reads the table can try guesses. Versions 2 and 3 are
//! keyed with a pepper that is not in the store. Version 3 is made of the key's SHA-256 alone, so that a key and its plain
//! hash, which is all that many key servers keep, are one key. New imports take version 3 unless the configuration says
//! otherwise; all are looked up.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use uuid::Uuid;

use crate::evidence::hex;
use crate::hash::sha256;
use crate::tenant::Nid;

/// What stands between the network and what is hashed: of a key, or of its digest. Were they one, whoever holds a plain
/// digest could show its 32 bytes as a key.
const OF_KEY: u8 = 0;
const OF_DIGEST: u8 = 1;

/// Which hash names an imported key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashVersion {
    /// SHA-512/256, unkeyed.
    V1,
    /// HMAC-SHA256 under the installation's pepper.
    V2,
    /// The same, of the key's SHA-256.
    #[default]
    V3,
}

impl HashVersion {
    /// The number used in the configuration and in rows.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
            Self::V3 => 3,
        }
    }

    /// The version of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::V1, Self::V2, Self::V3].into_iter().find(|version| version.number() == number)
    }
}

/// The plain SHA-256 of a key, as other key servers keep it. Nothing here keeps it: see [`ImportHasher::hashed_id`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlainDigest([u8; 32]);

/// A text that is no SHA-256. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SHA-256: 64 hexadecimal digits, or the base64 of its 32 bytes")]
pub struct NoDigest;

impl PlainDigest {
    /// The digest of a key.
    #[must_use]
    pub fn of(raw: &[u8]) -> Self {
        Self(sha256(raw))
    }

    /// Reads hexadecimal digits of either case, or base64 of either alphabet with or without padding.
    ///
    /// # Errors
    /// [`NoDigest`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NoDigest> {
        let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let base64 = || {
            let of = |alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok();
            of(&alphabet::STANDARD).or_else(|| of(&alphabet::URL_SAFE))?.try_into().ok()
        };
        hex::decode_hash(text).or_else(base64).map(Self).ok_or(NoDigest)
    }
}

impl fmt::Debug for PlainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainDigest(..)")
    }
}

/// Names imported keys.
#[derive(Clone)]
pub struct ImportHasher(hmac::Key);

impl ImportHasher {
    /// With a pepper derived from the installation's master key.
    #[must_use]
    pub fn new(pepper: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, pepper))
    }

    /// The id of the key `raw` in the tenant `nid`: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn key_id(&self, version: HashVersion, nid: Nid, raw: &[u8]) -> String {
        match version {
            HashVersion::V1 => {
                let mut text = Uuid::encode_buffer();
                let nid = nid.0.hyphenated().encode_lower(&mut text).as_bytes();
                let mut context = digest::Context::new(&digest::SHA512_256);
                [nid, &[0], raw].iter().for_each(|part| context.update(part));
                hex::encode(context.finish().as_ref())
            }
            HashVersion::V2 => self.keyed(nid, OF_KEY, raw),
            HashVersion::V3 => self.hashed_id(nid, &PlainDigest::of(raw)),
        }
    }

    /// The id under version 3 of the key with a digest: the one that [`ImportHasher::key_id`] gives the key itself.
    #[must_use]
    pub fn hashed_id(&self, nid: Nid, digest: &PlainDigest) -> String {
        self.keyed(nid, OF_DIGEST, &digest.0)
    }

    fn keyed(&self, nid: Nid, of: u8, bytes: &[u8]) -> String {
        let mut text = Uuid::encode_buffer();
        let nid = nid.0.hyphenated().encode_lower(&mut text).as_bytes();
        let mut context = hmac::Context::with_key(&self.0);
        [nid, &[of], bytes].iter().for_each(|part| context.update(part));
        hex::encode(context.sign().as_ref())
    }

    /// Every id under which the key may be kept, the likeliest first: version 3, version 2, version 1, and version 1 as a
    /// Talos without tenants wrote it.
    #[must_use]
    pub fn candidates(&self, nid: Nid, raw: &[u8]) -> [String; 4] {
        [
            self.key_id(HashVersion::V3, nid, raw),
            self.key_id(HashVersion::V2, nid, raw),
            self.key_id(HashVersion::V1, nid, raw),
            self.key_id(HashVersion::V1, Nid(Uuid::nil()), raw),
        ]
    }
}

impl fmt::Debug for ImportHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportHasher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &[u8] = b"sk_live_abc123";
    const V1: &str = "792697dfd6c018b9110c216ca7bfcf0515852e050f21315b0b896cc74d76630b";
    const V1_NIL: &str = "8b6e68c91ff92f37e4aa41a5202093abd1400dfd5246649694b710b31bbca063";
    /// Computed with Python's `hmac`.
    const V2: &str = "c1439c6eaba58356e11d19f83dcb9d65010cb06ea398a58eb3ebaca2b27035db";
    const V3: &str = "46af515b1e29055a4f2d4cdd9ab6feb96558b9abf60ed91a9e4b8ab1090966d5";

    fn nid() -> Nid {
        Nid("550E8400-E29B-41D4-A716-446655440001".parse().unwrap())
    }

    #[test]
    fn all_hashes_are_the_known_ones_and_all_are_looked_up() {
        assert_eq!(ImportHasher::new(&[7; 32]).candidates(nid(), RAW), [V3, V2, V1, V1_NIL]);
    }

    #[test]
    fn a_key_and_its_digest_are_one_key_and_the_digest_is_no_key() {
        let hasher = ImportHasher::new(&[7; 32]);
        let digest = PlainDigest::of(RAW);
        assert_eq!(hasher.hashed_id(nid(), &digest), V3);
        let shown = hasher.candidates(nid(), &digest.0);
        assert!(!shown.contains(&V3.to_owned()), "the digest's bytes open nothing");
        assert_eq!(format!("{digest:?}"), "PlainDigest(..)");
    }

    #[test]
    fn a_digest_is_read_as_hexadecimal_and_as_base64() {
        let digest = PlainDigest::of(RAW);
        let hexadecimal = hex::encode(&digest.0);
        let encoded = |alphabet, padded| {
            let config = GeneralPurposeConfig::new().with_encode_padding(padded);
            GeneralPurpose::new(alphabet, config).encode([251_u8; 32])
        };
        assert_eq!(PlainDigest::parse(&hexadecimal), Ok(digest));
        assert_eq!(PlainDigest::parse(&hexadecimal.to_uppercase()), Ok(digest));
        for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
            for padded in [true, false] {
                assert_eq!(PlainDigest::parse(&encoded(alphabet, padded)), Ok(PlainDigest([251; 32])));
            }
        }
        let short = &hexadecimal[..63];
        for text in ["", short, &format!("{hexadecimal}0"), &format!("{short}g"), "AAAA", &"+_".repeat(22)] {
            assert_eq!(PlainDigest::parse(text), Err(NoDigest), "{text}");
        }
    }

    #[test]
    fn another_tenant_another_pepper_or_another_key_has_another_id() {
        let hasher = ImportHasher::new(&[7; 32]);
        let id = |hasher: &ImportHasher, nid, raw| hasher.key_id(HashVersion::default(), nid, raw);
        let ids = [
            id(&hasher, nid(), RAW),
            id(&hasher, Nid::SYSTEM, RAW),
            id(&hasher, nid(), b"sk_live_abc124"),
            id(&ImportHasher::new(&[8; 32]), nid(), RAW),
        ];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
        assert_eq!(format!("{hasher:?}"), "ImportHasher(..)");
    }

    #[test]
    fn versions_have_numbers() {
        for version in [HashVersion::V1, HashVersion::V2, HashVersion::V3] {
            assert_eq!(HashVersion::from_number(version.number()), Some(version));
        }
        assert_eq!((HashVersion::from_number(0), HashVersion::from_number(4)), (None, None));
    }
}
