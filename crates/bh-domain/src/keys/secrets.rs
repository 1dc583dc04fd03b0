//! A tenant's signing secrets: the current one, those that still verify, and the keys derived from them (Talos dossier
//! §3.4).

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::{constant_time, hmac};
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox, SecretString};

use crate::time::Timestamp;

/// The fewest characters a secret may have.
pub const SECRET_CHARS_MIN: usize = 32;

const MACAROON_LABEL: &[u8] = b"talos/macaroon/v1/root-key";
const PAGINATION_LABEL: &[u8] = b"talos/pagination/v1/cursor-key";

/// A key derived from a secret for one purpose.
pub type SubKey = SecretBox<[u8; 32]>;

/// Signs with the current secret; verifies with it and with every retired one that has not expired.
pub struct KeySecrets {
    current: Secret,
    retired: Vec<Retired>,
}

/// A secret that is too short. It never repeats the secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretTooShort {
    /// The current one.
    #[error("the current secret has fewer than {SECRET_CHARS_MIN} characters")]
    Current,
    /// The retired one at this position, from 0.
    #[error("the retired secret at position {0} has fewer than {SECRET_CHARS_MIN} characters")]
    Retired(usize),
}

struct Retired {
    secret: Secret,
    /// From here on it verifies nothing; `None` means never.
    expires: Option<Timestamp>,
}

/// A secret and, once it has been used, its key schedule: a tenant that nobody calls costs a text only.
struct Secret {
    text: SecretString,
    key: OnceLock<Box<hmac::Key>>,
}

impl Secret {
    fn new(text: SecretString) -> Option<Self> {
        let long_enough = text.expose_secret().chars().nth(SECRET_CHARS_MIN - 1).is_some();
        long_enough.then_some(Self { text, key: OnceLock::new() })
    }

    fn tag(&self, message: &[u8]) -> hmac::Tag {
        let schedule = || Box::new(hmac::Key::new(hmac::HMAC_SHA256, self.text.expose_secret().as_bytes()));
        hmac::sign(self.key.get_or_init(schedule), message)
    }

    fn sub_key(&self, label: &[u8]) -> SubKey {
        let mut key = SubKey::new(Box::new([0; 32]));
        key.expose_secret_mut().copy_from_slice(self.tag(label).as_ref());
        key
    }
}

impl KeySecrets {
    /// The secret that signs, and those that signed before, each with the instant from which it verifies no more.
    ///
    /// # Errors
    /// [`SecretTooShort`] names the first secret below [`SECRET_CHARS_MIN`].
    pub fn new(
        current: SecretString,
        retired: Vec<(SecretString, Option<Timestamp>)>,
    ) -> Result<Self, SecretTooShort> {
        let current = Secret::new(current).ok_or(SecretTooShort::Current)?;
        let retired = retired.into_iter().enumerate().map(|(position, (text, expires))| {
            let secret = Secret::new(text).ok_or(SecretTooShort::Retired(position))?;
            Ok(Retired { secret, expires })
        });
        Ok(Self { current, retired: retired.collect::<Result<_, _>>()? })
    }

    /// The HMAC-SHA256 of `message` under the current secret.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 32] {
        let mut tag = [0; 32];
        tag.copy_from_slice(self.current.tag(message).as_ref());
        tag
    }

    /// Whether `tag` is the one over `message` under any secret in force at `now`. Each comparison takes the same time
    /// for every wrong tag.
    #[must_use]
    pub fn verifies(&self, message: &[u8], tag: &[u8; 32], now: Timestamp) -> bool {
        self.in_force(now)
            .any(|secret| constant_time::verify_slices_are_equal(secret.tag(message).as_ref(), tag).is_ok())
    }

    /// The root key that macaroons are minted from.
    #[must_use]
    pub fn macaroon_root_key(&self) -> SubKey {
        self.current.sub_key(MACAROON_LABEL)
    }

    /// The root keys a macaroon may stem from, the current one first.
    pub fn macaroon_root_keys(&self, now: Timestamp) -> impl Iterator<Item = SubKey> {
        self.in_force(now).map(|secret| secret.sub_key(MACAROON_LABEL))
    }

    /// The key that seals page tokens.
    #[must_use]
    pub fn pagination_key(&self) -> SubKey {
        self.current.sub_key(PAGINATION_LABEL)
    }

    /// The keys a page token may be sealed with, the current one first.
    pub fn pagination_keys(&self, now: Timestamp) -> impl Iterator<Item = SubKey> {
        self.in_force(now).map(|secret| secret.sub_key(PAGINATION_LABEL))
    }

    fn in_force(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        let alive = move |retired: &&Retired| retired.expires.is_none_or(|expires| now < expires);
        std::iter::once(&self.current).chain(self.retired.iter().filter(alive).map(|r| &r.secret))
    }
}

impl fmt::Debug for KeySecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecrets(current, {} retired)", self.retired.len())
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The dossier's secret.
    pub(in crate::keys) const SECRET: &str = "test-hmac-secret-32-characters-long-for-hmac-sha256";

    pub(in crate::keys) fn dossier() -> KeySecrets {
        KeySecrets::new(SECRET.into(), Vec::new()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{SECRET, dossier};
    use super::*;
    use crate::evidence::hex;

    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn rotated(expires: Option<Timestamp>) -> KeySecrets {
        KeySecrets::new("n".repeat(32).into(), vec![(SECRET.into(), expires)]).unwrap()
    }

    fn text(key: &SubKey) -> String {
        hex::encode(key.expose_secret())
    }

    #[test]
    fn derived_keys_are_those_of_the_dossier() {
        let macaroon = "bdfbbec231c0d0c1c0ff35b578fd4a05d28aa5e4f710441963ec96fda20de1c7";
        let pagination = "994858190be6a710ddd1df6fb70df20662adbfe441af961522af37026631227c";
        assert_eq!(text(&dossier().macaroon_root_key()), macaroon);
        assert_eq!(text(&dossier().pagination_key()), pagination);
        let second = |mut keys: Box<dyn Iterator<Item = SubKey> + '_>| text(&keys.nth(1).unwrap());
        let secrets = rotated(None);
        assert_eq!(second(Box::new(secrets.macaroon_root_keys(NOW))), macaroon);
        assert_eq!(second(Box::new(secrets.pagination_keys(NOW))), pagination);
    }

    #[test]
    fn a_retired_secret_verifies_until_the_instant_it_expires() {
        let tag = dossier().sign(b"message");
        assert!(dossier().verifies(b"message", &tag, NOW));
        assert!(!dossier().verifies(b"massage", &tag, NOW));
        for (expires, verifies) in
            [(None, true), (Some(NOW.plus_ms(1)), true), (Some(NOW), false), (Some(NOW.plus_ms(-1)), false)]
        {
            assert_eq!(rotated(expires).verifies(b"message", &tag, NOW), verifies, "{expires:?}");
            assert_eq!(rotated(expires).macaroon_root_keys(NOW).count(), 1 + usize::from(verifies));
        }
        assert_ne!(rotated(None).sign(b"message"), tag, "only the current one signs");
    }

    #[test]
    fn a_short_secret_is_refused_by_place_and_nothing_is_shown() {
        let long = || SecretString::from("ä".repeat(32));
        let short = || SecretString::from("ä".repeat(31));
        assert_eq!(KeySecrets::new(short(), vec![]).unwrap_err(), SecretTooShort::Current);
        let retired = vec![(long(), None), (short(), None)];
        let refused = KeySecrets::new(long(), retired).unwrap_err();
        assert_eq!(refused.to_string(), "the retired secret at position 1 has fewer than 32 characters");
        assert_eq!(format!("{:?}", rotated(None)), "KeySecrets(current, 1 retired)");
    }
}
