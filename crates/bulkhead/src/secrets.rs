//! Server secrets: from the configuration, else generated on first start into a file only its owner can read.
//! Never derived from a path.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bh_config::schema::Secrets;
use bh_domain::evidence::HmacKey;
use bh_domain::evidence::checkpoint::SigningKey;
use bh_domain::evidence::hex;
use serde::{Deserialize, Serialize};

const FILE_NAME: &str = "server-secrets.json";
/// The name verifiers see in checkpoints.
const SIGNER_NAME: &str = "bulkhead";

/// The installation's own secrets.
pub(crate) struct ServerSecrets {
    /// Wraps data at rest and peppers key digests.
    pub(crate) master: [u8; 32],
    /// Signs each record.
    pub(crate) evidence: HmacKey,
    /// Signs checkpoints and exports.
    pub(crate) signing: SigningKey,
    evidence_check: [u8; 32],
}

impl std::fmt::Debug for ServerSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ServerSecrets(..)")
    }
}

/// Secrets that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsFault {
    #[error("the secrets file {path} cannot be {step}: {cause}")]
    File { path: PathBuf, step: &'static str, cause: io::Error },
    #[error(
        "the secrets file {path} is damaged: {cause}; restore it from a backup, or what it protects is lost"
    )]
    Damaged { path: PathBuf, cause: serde_json::Error },
    #[error("`secrets.{0}` cannot be used: {1}")]
    Unusable(&'static str, String),
    #[error("the machine has no randomness to make secrets from")]
    NoRandomness,
}

/// What is kept in the file, hexadecimal.
#[derive(Serialize, Deserialize)]
struct Kept {
    master_key: String,
    evidence_key: String,
    signing_key: String,
}

/// The secrets of this installation. The file is read or made only when the configuration leaves one out.
pub(crate) fn obtain(configured: &Secrets, data_dir: &Path) -> Result<ServerSecrets, SecretsFault> {
    let text = |secret: &Option<bh_config::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let (master, evidence, signing) =
        (text(&configured.master_key), text(&configured.evidence_key), text(&configured.signing_key));
    let complete = master.is_some() && evidence.is_some() && signing.is_some();
    let kept = if complete { None } else { Some(kept(&data_dir.join(FILE_NAME))?) };
    let pick = |own: Option<String>, of: fn(&Kept) -> &String| {
        own.or_else(|| kept.as_ref().map(|kept| of(kept).clone())).unwrap_or_default()
    };
    let master = bytes_of(&pick(master, |kept| &kept.master_key));
    let evidence_text = pick(evidence, |kept| &kept.evidence_key);
    let evidence = HmacKey::parse(&evidence_text)
        .map_err(|error| SecretsFault::Unusable("evidence_key", error.to_string()))?;
    let seed = seed_of(&pick(signing, |kept| &kept.signing_key)).ok_or_else(|| {
        SecretsFault::Unusable("signing_key", "it must be 32 bytes in base64 or hexadecimal".to_owned())
    })?;
    let signing = SigningKey::from_seed(SIGNER_NAME, &seed)
        .map_err(|error| SecretsFault::Unusable("signing_key", error.to_string()))?;
    Ok(ServerSecrets {
        master,
        evidence,
        signing,
        evidence_check: check(evidence_text.as_bytes(), "evidence key"),
    })
}

impl ServerSecrets {
    /// A key for one purpose, derived from the master key.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        check(&self.master, purpose)
    }

    /// What the store remembers of each secret, so that a wrong one is noticed at the next start.
    pub(crate) fn checks(&self) -> [(&'static str, &'static str, String); 3] {
        [
            ("master_key_check", "master_key", hex::encode(&self.derive("master key"))),
            ("evidence_key_check", "evidence_key", hex::encode(&self.evidence_check)),
            ("signing_public_key", "signing_key", self.signing.public_key().to_string()),
        ]
    }
}

fn check(key: &[u8], purpose: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), format!("bulkhead {purpose}").as_bytes());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// 64 hexadecimal digits are the key itself; any other text is hashed to one.
fn bytes_of(text: &str) -> [u8; 32] {
    hex::decode_hash(text).unwrap_or_else(|| {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        bytes
    })
}

fn seed_of(text: &str) -> Option<[u8; 32]> {
    hex::decode_hash(text).or_else(|| STANDARD.decode(text).ok()?.try_into().ok())
}

fn kept(path: &Path) -> Result<Kept, SecretsFault> {
    let file = |step, cause| SecretsFault::File { path: path.to_owned(), step, cause };
    match fs::read_to_string(path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|cause| SecretsFault::Damaged { path: path.to_owned(), cause }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = make()?;
            write(path, &made).map_err(|cause| file("written", cause))?;
            // Another process may have been first: what is on disk is what counts.
            let text = fs::read_to_string(path).map_err(|cause| file("read", cause))?;
            serde_json::from_str(&text)
                .map_err(|cause| SecretsFault::Damaged { path: path.to_owned(), cause })
        }
        Err(cause) => Err(file("read", cause)),
    }
}

fn make() -> Result<Kept, SecretsFault> {
    let random = || {
        let mut bytes = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretsFault::NoRandomness)?;
        Ok(hex::encode(&bytes))
    };
    Ok(Kept { master_key: random()?, evidence_key: random()?, signing_key: random()? })
}

/// Written whole or not at all: to a file of another name first, synced, then linked to its own name, which fails
/// harmlessly when that exists.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let text = serde_json::to_string_pretty(kept).map_err(io::Error::other)?;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
