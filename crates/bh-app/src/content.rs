//! Prompts and answers from before tenants had data keys: sealed by a key of the installation's for each tenant. What is
//! kept now is sealed by [`crate::vault::DataKey::seal_content`].

use aws_lc_rs::hmac;
use bh_domain::tenant::Nid;

use crate::vault::{Place, SealingKey};

/// Opens them.
pub struct ContentSealer(hmac::Key);

impl std::fmt::Debug for ContentSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentSealer(..)")
    }
}

impl ContentSealer {
    /// From the key that the root key has for content.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    fn key(&self, nid: Nid) -> Option<SealingKey> {
        let derived = hmac::sign(&self.0, format!("content:{nid}").as_bytes());
        Some(SealingKey::new(derived.as_ref().try_into().ok()?))
    }

    /// The plain content; `None` when it was changed, moved to another record, or sealed by another key.
    #[must_use]
    pub fn open(&self, nid: Nid, record_id: &str, kind: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let plain = self.key(nid)?.open(&Place::of(&[&nid, &record_id, &kind]), sealed)?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "hello", sealed as an earlier version did: by 32 bytes of 0x07, for tenant 1, record gw_1, kind prompt.
    const SEALED: &str = "000102030405060708090a0bd294f8e6bea1ed7b48a0e6ffbf8cc24386ba7c036d";

    #[test]
    fn content_from_before_opens_only_for_its_own_tenant_record_and_kind() {
        let sealer = ContentSealer::new(&[7; 32]);
        let (acme, globex) = (Nid(uuid::Uuid::from_u128(1)), Nid(uuid::Uuid::from_u128(2)));
        let sealed: Vec<u8> = (0..SEALED.len() / 2)
            .map(|n| u8::from_str_radix(&SEALED[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        assert_eq!(sealer.open(acme, "gw_1", "prompt", &sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(sealer.open(globex, "gw_1", "prompt", &sealed), None);
        assert_eq!(sealer.open(acme, "gw_2", "prompt", &sealed), None);
        assert_eq!(sealer.open(acme, "gw_1", "answer", &sealed), None);
        assert_eq!(ContentSealer::new(&[8; 32]).open(acme, "gw_1", "prompt", &sealed), None);
    }
}
