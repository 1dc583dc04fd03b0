//! What is kept of a key that came from elsewhere: a hash, which is also its id (Talos dossier §3.3 and §6).
//!
//! Version 1 is what Talos wrote: it has no secret in it, so whoever reads the table can try guesses. Version 2 is keyed
//! with a pepper that is not in the store. New imports take version 2 unless the configuration says otherwise; both are
//! looked up.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use uuid::Uuid;

use crate::evidence::hex;
use crate::tenant::Nid;

/// Which hash names an imported key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashVersion {
    /// SHA-512/256, unkeyed.
    V1,
    /// HMAC-SHA256 under the installation's pepper.
    #[default]
    V2,
}

impl HashVersion {
    /// The number used in the configuration and in rows.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The version of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::V1, Self::V2].into_iter().find(|version| version.number() == number)
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
        let mut text = Uuid::encode_buffer();
        let nid = nid.0.hyphenated().encode_lower(&mut text).as_bytes();
        match version {
            HashVersion::V1 => {
                let mut context = digest::Context::new(&digest::SHA512_256);
                [nid, &[0], raw].iter().for_each(|part| context.update(part));
                hex::encode(context.finish().as_ref())
            }
            HashVersion::V2 => {
                let mut context = hmac::Context::with_key(&self.0);
                [nid, &[0], raw].iter().for_each(|part| context.update(part));
                hex::encode(context.sign().as_ref())
            }
        }
    }

    /// Every id under which the key may be kept, the likeliest first: version 2, version 1, and version 1 as a Talos
    /// without tenants wrote it.
    #[must_use]
    pub fn candidates(&self, nid: Nid, raw: &[u8]) -> [String; 3] {
        [
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

    fn nid() -> Nid {
        Nid("550E8400-E29B-41D4-A716-446655440001".parse().unwrap())
    }

    #[test]
    fn both_hashes_are_the_known_ones_and_all_are_looked_up() {
        assert_eq!(ImportHasher::new(&[7; 32]).candidates(nid(), RAW), [V2, V1, V1_NIL]);
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
        assert_eq!([1, 2].map(HashVersion::from_number), [Some(HashVersion::V1), Some(HashVersion::V2)]);
        assert_eq!((HashVersion::from_number(0), HashVersion::from_number(3)), (None, None));
    }
}
