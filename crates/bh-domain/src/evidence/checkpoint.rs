//! Checkpoints: the signed root of a tenant's tree, in the forms of C2SP `tlog-checkpoint` and `signed-note`.
//!
//! ```text
//! bulkhead.example/3f0c…          origin
//! 1234                            number of records
//! 4tq…=                           root, base64
//! 2026-11-21T09:30:00.000Z        time (extension line)
//!
//! — bulkhead.example Az3g…=       key name, then key id and Ed25519 signature, base64
//! ```

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Hash, hex};
use crate::hash::sha256;
use crate::time::Timestamp;

/// The algorithm byte of Ed25519 in signed notes.
const ALGORITHM_ED25519: u8 = 1;
const SIGNATURE_MARK: &str = "— ";
/// A note longer than this is refused unread.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// A tree at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which tree: see [`origin`].
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// Root hash.
    pub root: Hash,
    /// When it was signed.
    pub time: Option<Timestamp>,
}

/// The origin of a tenant's tree: the server's key name, a slash, and the tenant's network id.
#[must_use]
pub fn origin(key_name: &str, nid: &str) -> String {
    [key_name, "/", nid].concat()
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn body(&self) -> String {
        let Self { origin, size, root, time } = self;
        let time = time.map(|at| at.rfc3339() + "\n").unwrap_or_default();
        format!("{origin}\n{size}\n{}\n{time}", STANDARD.encode(root))
    }

    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
        let size = lines.next()?;
        let canonical = size == "0" || !size.starts_with('0');
        let size = size.bytes().all(|digit| digit.is_ascii_digit()).then(|| size.parse().ok())??;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        // Extension lines of other writers are allowed and not understood.
        let time = lines.next().and_then(|line| Timestamp::parse(line).ok());
        canonical.then_some(Self { origin, size, root, time })
    }
}

/// Why a key is no key. It never repeats the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A name that cannot stand in a note.
    #[error("a key name is not empty and has no spaces, line breaks or `+`")]
    Name,
    /// No form of Ed25519 key that is known.
    #[error("expected `name+hash+base64`, or an Ed25519 public key as 64 hexadecimal digits or base64")]
    Form,
    /// The hash in the text is not the one of name and key.
    #[error("the key's hash does not belong to its name and bytes")]
    Hash,
    /// The cryptographic library refused the key.
    #[error("not an Ed25519 key")]
    Rejected,
}

/// Why a note proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not a note, or its text is no checkpoint.
    #[error("not a signed checkpoint")]
    Malformed,
    /// There is no signature by that key.
    #[error("the checkpoint is not signed by this key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("the checkpoint's signature is wrong")]
    Signature,
}

fn key_id(name: &str, public_key: &[u8; 32]) -> [u8; 4] {
    let hash = sha256(&[name.as_bytes(), b"\n", &[ALGORITHM_ED25519], public_key].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

fn valid_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+')
}

/// The Ed25519 key that signs checkpoints and exports.
pub struct SigningKey {
    name: String,
    public_key: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of a 32-byte seed, under the name that verifiers see.
    ///
    /// # Errors
    /// [`KeyError::Name`] for a name that cannot stand in a note, [`KeyError::Rejected`] from the library.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        if !valid_name(name) {
            return Err(KeyError::Name);
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Rejected)?;
        let public_key = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Rejected)?;
        Ok(Self { name: name.to_owned(), public_key, pair })
    }

    /// The name in its signatures.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, to be published.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey { name: Some(self.name.clone()), bytes: self.public_key }
    }

    /// The checkpoint as a signed note.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let body = checkpoint.body();
        let signature = self.pair.sign(body.as_bytes());
        let signed = [&key_id(&self.name, &self.public_key)[..], signature.as_ref()].concat();
        format!("{body}\n{SIGNATURE_MARK}{} {}\n", self.name, STANDARD.encode(signed))
    }

    /// A bare signature, as base64.
    pub(super) fn sign_bytes(&self, bytes: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(bytes))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("public_key", &self.public_key().to_string())
            .finish_non_exhaustive()
    }
}

/// An Ed25519 public key, with its name where it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: Option<String>,
    bytes: [u8; 32],
}

impl PublicKey {
    /// Reads a signed-note verifier key (`name+hash+base64`), or the bare 32 bytes as hexadecimal or base64.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let mut parts = text.splitn(3, '+');
        if let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next())
            && id.len() == 8
            && valid_name(name)
        {
            return Self::parse_named(name, id, encoded);
        }
        let bare = hex::decode_hash(text).or_else(|| STANDARD.decode(text).ok()?.try_into().ok());
        bare.map(|bytes| Self { name: None, bytes }).ok_or(KeyError::Form)
    }

    fn parse_named(name: &str, id: &str, encoded: &str) -> Result<Self, KeyError> {
        let tagged = STANDARD.decode(encoded).map_err(|_| KeyError::Form)?;
        let Some((&ALGORITHM_ED25519, bytes)) = tagged.split_first() else { return Err(KeyError::Form) };
        let bytes = bytes.try_into().map_err(|_| KeyError::Form)?;
        if hex::encode(&key_id(name, &bytes)) != id.to_ascii_lowercase() {
            return Err(KeyError::Hash);
        }
        Ok(Self { name: Some(name.to_owned()), bytes })
    }

    /// Whether both are the same key, whatever they are called.
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    /// Checks a signed note and returns what it says. A key without a name accepts the name in the note.
    ///
    /// # Errors
    /// [`CheckpointError`] says why the note proves nothing.
    pub fn verify(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        let split = (note.len() <= NOTE_BYTES_MAX).then(|| note.rfind("\n\n")).flatten();
        let (body, signatures) = note.split_at(split.ok_or(CheckpointError::Malformed)? + 1);
        let signatures = signatures.strip_prefix('\n').and_then(|text| text.strip_suffix('\n'));
        for line in signatures.ok_or(CheckpointError::Malformed)?.split('\n') {
            let signature = line.strip_prefix(SIGNATURE_MARK).and_then(|line| line.split_once(' '));
            let (name, encoded) = signature.ok_or(CheckpointError::Malformed)?;
            let decoded = STANDARD.decode(encoded).map_err(|_| CheckpointError::Malformed)?;
            let (id, signature) = decoded.split_first_chunk::<4>().ok_or(CheckpointError::Malformed)?;
            let named = self.name.as_deref().is_none_or(|own| own == name);
            // Notes may carry signatures of witnesses: those of other keys are passed over.
            if named && *id == key_id(name, &self.bytes) {
                return self.checked(body, signature);
            }
        }
        Err(CheckpointError::UnknownKey)
    }

    fn checked(&self, body: &str, signature: &[u8]) -> Result<Checkpoint, CheckpointError> {
        if !self.verifies(body.as_bytes(), signature) {
            return Err(CheckpointError::Signature);
        }
        Checkpoint::parse(body).ok_or(CheckpointError::Malformed)
    }

    /// Whether `encoded` is this key's bare signature over `bytes`, as base64.
    pub(super) fn verifies_base64(&self, bytes: &[u8], encoded: &str) -> bool {
        STANDARD.decode(encoded).is_ok_and(|signature| self.verifies(bytes, &signature))
    }

    fn verifies(&self, bytes: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.bytes).verify(bytes, signature).is_ok()
    }
}

/// The verifier key of signed notes, or base64 where the key has no name.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(name) = &self.name else { return f.write_str(&STANDARD.encode(self.bytes)) };
        let tagged = [&[ALGORITHM_ED25519][..], &self.bytes].concat();
        write!(f, "{name}+{}+{}", hex::encode(&key_id(name, &self.bytes)), STANDARD.encode(tagged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("bulkhead.example", &[7; 32]).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let origin = origin("bulkhead.example", "00000000-0000-0000-0000-0000acce0001");
        Checkpoint { origin, size: 1_234, root: [0xfe; 32], time: Some(Timestamp(1_795_253_400_125)) }
    }

    #[test]
    fn the_published_key_and_note_of_the_go_note_package_verify() {
        let key =
            PublicKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        // The signature is right; the text is no checkpoint.
        assert_eq!(key.verify(note), Err(CheckpointError::Malformed));
        assert_eq!(key.verify(&note.replace("answer", "Answer")), Err(CheckpointError::Signature));
    }

    #[test]
    fn a_signed_checkpoint_verifies_with_every_form_of_the_public_key() {
        let note = key().sign(&checkpoint());
        assert!(note.starts_with(
            "bulkhead.example/00000000-0000-0000-0000-0000acce0001\n1234\n/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v4=\n\
             2026-11-21T09:30:00.125Z\n\n— bulkhead.example "
        ), "{note}");
        let public = key().public_key();
        for text in [public.to_string(), hex::encode(&public.bytes), STANDARD.encode(public.bytes)] {
            assert_eq!(PublicKey::parse(&text).unwrap().verify(&note), Ok(checkpoint()), "{text}");
        }
    }

    #[test]
    fn every_flipped_byte_of_a_checkpoint_is_found() {
        let note = key().sign(&checkpoint());
        for position in 0..note.len() {
            let mut bytes = note.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert!(key().public_key().verify(&flipped).is_err(), "byte {position}");
        }
        let other = SigningKey::from_seed("bulkhead.example", &[8; 32]).unwrap().public_key();
        assert_eq!(other.verify(&note), Err(CheckpointError::UnknownKey));
    }

    #[test]
    fn a_signature_of_a_witness_may_stand_beside_ours() {
        let note = key().sign(&checkpoint());
        let witness = SigningKey::from_seed("witness.example", &[9; 32]).unwrap();
        let line = witness.sign(&checkpoint()).lines().last().unwrap().to_owned();
        let both = note.replace("\n\n", &format!("\n\n{line}\n"));
        assert_eq!(key().public_key().verify(&both), Ok(checkpoint()));
        assert_eq!(witness.public_key().verify(&both), Ok(checkpoint()));
    }

    #[test]
    fn keys_in_a_wrong_form_are_refused_by_reason() {
        let good = key().public_key().to_string();
        assert_eq!(PublicKey::parse(&good.replace("example", "exampla")), Err(KeyError::Hash));
        assert_eq!(PublicKey::parse("abc"), Err(KeyError::Form));
        assert_eq!(PublicKey::parse(&"ab".repeat(33)), Err(KeyError::Form));
        assert_eq!(SigningKey::from_seed("two words", &[0; 32]).unwrap_err(), KeyError::Name);
        assert!(!format!("{:?}", key()).contains("seed"));
    }
}
