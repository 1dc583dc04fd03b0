//! Page tokens: places in a list, sealed for one tenant, one list and one filter.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bh_domain::keys::secrets::SubKey;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use secrecy::ExposeSecret;

use super::house::House;
use super::{KeyStory, invalid};
use crate::snapshot::Tenant;

/// A list, as far as a place in it means anything.
pub(crate) struct PageList<'a> {
    pub(crate) nid: Nid,
    /// Of what.
    pub(crate) name: &'static str,
    pub(crate) filter: &'a str,
}

impl KeyStory {
    /// The token of a place in a tenant's list.
    pub(crate) fn seal_place(
        &self,
        tenant: &Tenant,
        list: &PageList<'_>,
        place: &str,
    ) -> Result<String, Refusal> {
        list.seal(&*self.0.houses.of(tenant)?, place)
    }

    /// The place of a token, as `read` understands it; `None` without a token.
    ///
    /// # Errors
    /// `invalid_request` for one that is not of this tenant, list and filter.
    pub(crate) fn open_place<T>(
        &self,
        tenant: &Tenant,
        list: &PageList<'_>,
        token: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        if token.is_empty() {
            return Ok(None);
        }
        let house = self.0.houses.of(tenant)?;
        let place = list.open(&house, token, self.0.parts.clock.now());
        place.and_then(|place| read(&place)).map(Some).ok_or_else(|| {
            invalid("page_token", "not a token of this tenant, this list and this filter: start with none")
        })
    }
}

impl PageList<'_> {
    fn seal(&self, house: &House, place: &str) -> Result<String, Refusal> {
        let mut sealed = place.as_bytes().to_vec();
        let secrets = house.pages.as_ref().unwrap_or(&house.secrets);
        let nonce = cipher(&secrets.pagination_key())
            .and_then(|key| key.seal_in_place_append_tag(self.aad(), &mut sealed).ok());
        let Some(nonce) = nonce else {
            return Err(Refusal::new(Code::Internal, "The machine has no randomness for a page token"));
        };
        sealed.splice(0..0, nonce.as_ref().iter().copied());
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    fn open(&self, house: &House, token: &str, now: Timestamp) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN)?;
        let secrets = house.pages.as_ref().unwrap_or(&house.secrets);
        secrets.pagination_keys(now).find_map(|key| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let mut body = body.to_vec();
            let plain = cipher(&key)?.open_in_place(nonce, self.aad(), &mut body).ok()?;
            std::str::from_utf8(plain).ok().map(str::to_owned)
        })
    }

    fn aad(&self) -> Aad<Vec<u8>> {
        Aad::from(format!("{}\u{1f}{}\u{1f}{}", self.nid, self.name, self.filter).into_bytes())
    }
}

fn cipher(key: &SubKey) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, key.expose_secret().as_slice()).ok()
}
