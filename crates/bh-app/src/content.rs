//! Prompts and answers at rest.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use bh_domain::tenant::Nid;

use crate::ports::ContentRow;

/// Seals prompts and answers that the configuration wants kept: AES-256-GCM, a key per tenant, tenant and record as
/// associated data.
pub struct ContentSealer(hmac::Key);

impl std::fmt::Debug for ContentSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ContentSealer(..)")
    }
}

impl ContentSealer {
    /// From the master key.
    #[must_use]
    pub fn new(master: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, master))
    }

    fn key(&self, nid: Nid) -> Option<RandomizedNonceKey> {
        let derived = hmac::sign(&self.0, format!("content:{nid}").as_bytes());
        RandomizedNonceKey::new(&AES_256_GCM, derived.as_ref()).ok()
    }

    fn aad(nid: Nid, record_id: &str, kind: &str) -> Aad<Vec<u8>> {
        Aad::from(format!("{nid}\u{1f}{record_id}\u{1f}{kind}").into_bytes())
    }

    /// Nonce, ciphertext and tag; `None` when the machine has no randomness left.
    #[must_use]
    pub fn seal(&self, nid: Nid, record_id: &str, kind: &'static str, plain: &[u8]) -> Option<ContentRow> {
        let mut sealed = plain.to_vec();
        let nonce =
            self.key(nid)?.seal_in_place_append_tag(Self::aad(nid, record_id, kind), &mut sealed).ok()?;
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Some(ContentRow { nid, record_id: record_id.to_owned(), kind, sealed })
    }

    /// The plain content; `None` when it was changed, moved to another record, or sealed by another key.
    #[must_use]
    pub fn open(&self, nid: Nid, record_id: &str, kind: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plain = self.key(nid)?.open_in_place(nonce, Self::aad(nid, record_id, kind), &mut body).ok()?;
        Some(plain.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_opens_only_for_its_own_tenant_record_and_kind() {
        let sealer = ContentSealer::new(&[7; 32]);
        let (acme, globex) = (Nid(uuid::Uuid::from_u128(1)), Nid(uuid::Uuid::from_u128(2)));
        let row = sealer.seal(acme, "gw_1", "prompt", b"hello").unwrap();
        assert!(!row.sealed.windows(5).any(|window| window == b"hello"));
        assert_eq!(sealer.open(acme, "gw_1", "prompt", &row.sealed).as_deref(), Some(&b"hello"[..]));
        assert_eq!(sealer.open(globex, "gw_1", "prompt", &row.sealed), None);
        assert_eq!(sealer.open(acme, "gw_2", "prompt", &row.sealed), None);
        assert_eq!(sealer.open(acme, "gw_1", "answer", &row.sealed), None);
        assert_eq!(ContentSealer::new(&[8; 32]).open(acme, "gw_1", "prompt", &row.sealed), None);
    }
}
