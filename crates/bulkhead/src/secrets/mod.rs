//! Server secrets: from the configuration, else generated on first start into a file only its owner can read.
//! Never derived from a path.
//!
//! The master key opens the root key, which is in the store, wrapped; what the installation needs for its own purposes is
//! derived from the root key, so that a new master key changes none of it (decision 26).

mod file;
mod masters;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bh_app::ports::{StoreFault, TenantStore, VaultStore};
use bh_app::vault::{self, MasterFault, Masters, RootKey, UnlockFault, derived};
use bh_config::schema::Secrets;
use bh_domain::evidence::HmacKey;
use bh_domain::evidence::checkpoint::SigningKey;
use bh_domain::evidence::hex;
use bh_domain::time::Timestamp;

use self::file::SecretsFile;
pub(crate) use self::masters::KeptMasters;

/// The name verifiers see in checkpoints.
const SIGNER_NAME: &str = "bulkhead";

/// The installation's own secrets, the root key still locked.
pub(crate) struct ServerSecrets {
    /// What wraps every key in the store.
    pub(crate) masters: Arc<Masters>,
    /// Where that comes from.
    pub(crate) kept_masters: KeptMasters,
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
    #[error(transparent)]
    Masters(#[from] MasterFault),
}

/// Secrets that do not belong to the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StrangeSecret {
    #[error("the store cannot be used")]
    Store(#[from] StoreFault),
    #[error(
        "`secrets.{0}` is not the one this store was made with: bring the old one back, or what it protects cannot be verified or read"
    )]
    Wrong(&'static str),
    #[error("the machine has no randomness to make secrets from")]
    NoRandomness,
}

impl From<UnlockFault> for StrangeSecret {
    fn from(fault: UnlockFault) -> Self {
        match fault {
            UnlockFault::Store(fault) => Self::Store(fault),
            UnlockFault::WrongMaster => Self::Wrong("master_key"),
            UnlockFault::NoRandomness => Self::NoRandomness,
        }
    }
}

/// The secrets of this installation. The file is read or made only when the configuration leaves one out.
pub(crate) fn obtain(configured: &Secrets, data_dir: &Path) -> Result<ServerSecrets, SecretsFault> {
    let text = |secret: &Option<bh_config::Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let (evidence, signing) = (text(&configured.evidence_key), text(&configured.signing_key));
    let file = SecretsFile::within(data_dir);
    let complete = configured.master_key.is_some() && evidence.is_some() && signing.is_some();
    let kept = if complete { None } else { Some(file.kept()?) };
    let pick = |own: Option<String>, of: fn(&file::Kept) -> &String| {
        own.or_else(|| kept.as_ref().map(|kept| of(kept).clone())).unwrap_or_default()
    };
    let evidence_text = pick(evidence, |kept| &kept.evidence_key);
    let evidence = HmacKey::parse(&evidence_text)
        .map_err(|error| SecretsFault::Unusable("evidence_key", error.to_string()))?;
    let seed = seed_of(&pick(signing, |kept| &kept.signing_key)).ok_or_else(|| {
        SecretsFault::Unusable("signing_key", "it must be 32 bytes in base64 or hexadecimal".to_owned())
    })?;
    let signing = SigningKey::from_seed(SIGNER_NAME, &seed)
        .map_err(|error| SecretsFault::Unusable("signing_key", error.to_string()))?;
    let kept_masters = KeptMasters::new(configured, file);
    Ok(ServerSecrets {
        masters: Arc::new(Masters::new(Box::new(kept_masters.clone()))?),
        kept_masters,
        evidence,
        signing,
        evidence_check: derived(evidence_text.as_bytes(), "evidence key"),
    })
}

impl ServerSecrets {
    /// The root key of the store, once every secret is known to belong to it.
    pub(crate) async fn unlock(
        &self,
        store: &(impl VaultStore + TenantStore),
        now: Timestamp,
    ) -> Result<RootKey, StrangeSecret> {
        let root = vault::unlock(store, &self.masters, now).await?;
        for (name, setting, value) in self.checks() {
            if store.remember(name, value.clone()).await? != value {
                return Err(StrangeSecret::Wrong(setting));
            }
        }
        Ok(root)
    }

    /// What the store remembers of each secret, so that a wrong one is noticed at the next start.
    fn checks(&self) -> [(&'static str, &'static str, String); 2] {
        [
            ("evidence_key_check", "evidence_key", hex::encode(&self.evidence_check)),
            ("signing_public_key", "signing_key", self.signing.public_key().to_string()),
        ]
    }
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
