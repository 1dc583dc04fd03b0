//! The one way in which anything is sealed: AES-256-GCM, a nonce drawn for each piece, and the place it belongs to as
//! associated data.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hmac, rand};
use secrecy::zeroize::Zeroizing;

/// Parts the members of a place: no id, name or number has it.
const PART: char = '\u{1f}';

/// A key of 256 bits that seals. Zeroed when dropped.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

impl SealingKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new key; `None` when the machine has no randomness.
    #[must_use]
    pub fn random() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).ok()?;
        Some(Self(bytes))
    }

    /// Its bytes, for whoever wraps it or derives from it.
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Nonce, ciphertext and tag; `None` when the machine has no randomness. At most 2^32 pieces per key.
    #[must_use]
    pub fn seal(&self, place: &Place, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.extend_from_slice(plain);
        let nonce = self.key()?.seal_in_place_append_tag(Aad::from(place.bytes()), &mut sealed).ok()?;
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Some(sealed)
    }

    /// What was sealed; `None` when it was changed, moved to another place, or sealed by another key.
    #[must_use]
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.key()?.open_in_place(nonce, Aad::from(place.bytes()), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    fn key(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.0).ok()
    }
}

/// Where a sealed piece belongs: it opens nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// A place with these members, such as tenant, name and version. None of them may hold a control character.
    #[must_use]
    pub fn of(members: &[&dyn std::fmt::Display]) -> Self {
        let members: Vec<String> = members.iter().map(ToString::to_string).collect();
        Self(members.join(&PART.to_string()))
    }

    fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The key for one purpose that follows from another key: HMAC-SHA256 of `bulkhead PURPOSE`.
#[must_use]
pub fn derived(key: &[u8], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("bulkhead {purpose}").as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_opens_with_its_key_in_its_place_and_not_when_a_byte_is_another() {
        let (key, other) = (SealingKey::new([7; 32]), SealingKey::random().unwrap());
        let place = |name: &str| Place::of(&[&"acme", &name, &1]);
        let sealed = key.seal(&place("github"), b"hunter2").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        assert_eq!(key.open(&place("github"), &sealed).as_deref().map(Vec::as_slice), Some(&b"hunter2"[..]));
        assert!(key.open(&place("gmail"), &sealed).is_none());
        assert!(other.open(&place("github"), &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&place("github"), &changed).is_none(), "byte {at}");
        }
        assert!(key.open(&place("github"), &sealed[..11]).is_none());
    }

    #[test]
    fn two_pieces_are_never_sealed_alike_and_a_key_is_not_shown() {
        let key = SealingKey::new([7; 32]);
        let place = Place::of(&[&"acme"]);
        assert_ne!(key.seal(&place, b"same"), key.seal(&place, b"same"));
        assert_eq!(format!("{key:?}"), "SealingKey(..)");
    }

    #[test]
    fn what_is_derived_stays_what_it_was() {
        // HMAC-SHA256 of "bulkhead key digest" under 32 bytes of 0x01: keys that were issued depend on it.
        let hex: String = derived(&[1; 32], "key digest").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "f045e36a59d62f8e2ce007e7aad8b0111af55643db2efd87f5f7d806d171c251");
    }
}
