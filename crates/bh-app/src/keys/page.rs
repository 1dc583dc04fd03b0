//! Page tokens: places in a list, sealed for one tenant, one list and one filter.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::secrets::SubKey;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use secrecy::ExposeSecret;

use super::house::House;

/// A list, as far as a place in it means anything.
pub(super) struct List<'a> {
    pub(super) nid: Nid,
    pub(super) kind: KeyKind,
    pub(super) filter: &'a str,
}

impl List<'_> {
    /// The token of the place after a key.
    pub(super) fn seal(&self, house: &House, last: &Key) -> Result<String, Refusal> {
        let mut sealed = format!("{}:{}", last.created.0, last.key_id).into_bytes();
        let secrets = house.pages.as_ref().unwrap_or(&house.secrets);
        let nonce = cipher(&secrets.pagination_key())
            .and_then(|key| key.seal_in_place_append_tag(self.aad(), &mut sealed).ok());
        let Some(nonce) = nonce else {
            return Err(Refusal::new(Code::Internal, "The machine has no randomness for a page token"));
        };
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The place of a token; `None` when it is not one of this tenant, list and filter.
    pub(super) fn open(&self, house: &House, token: &str, now: Timestamp) -> Option<(Timestamp, KeyId)> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let secrets = house.pages.as_ref().unwrap_or(&house.secrets);
        secrets.pagination_keys(now).find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut body = body.to_vec();
            let plain = cipher(&key)?.open_in_place(nonce, self.aad(), &mut body).ok()?;
            let (created, key_id) = std::str::from_utf8(plain).ok()?.split_once(':')?;
            Some((Timestamp(created.parse().ok()?), KeyId::parse(key_id).ok()?))
        })
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        let kind = match self.kind {
            KeyKind::Issued => "issued",
            KeyKind::Imported => "imported",
        };
        Aad::from(format!("{}\u{1f}{kind}\u{1f}{}", self.nid, self.filter).into_bytes())
    }
}

fn cipher(key: &SubKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose_secret().as_slice()).ok()
}
