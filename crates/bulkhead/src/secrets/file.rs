//! The file of generated secrets. It is written whole or not at all, and changed under a lock: two gateways that share a
//! data directory never lose each other's key.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bh_app::vault::MasterFault;
use bh_domain::evidence::hex;
use serde::{Deserialize, Serialize};

use super::SecretsFault;

const FILE_NAME: &str = "server-secrets.json";
const OWNER_ONLY: u32 = 0o600;

/// What is kept in the file, hexadecimal.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) master_key: String,
    /// Older master keys, the newest first, until a rotation is finished.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) master_keys_retired: Vec<String>,
    pub(super) evidence_key: String,
    pub(super) signing_key: String,
}

/// Where it is.
#[derive(Clone)]
pub(super) struct SecretsFile(PathBuf);

impl SecretsFile {
    pub(super) fn within(data_dir: &Path) -> Self {
        Self(data_dir.join(FILE_NAME))
    }

    /// What it holds; made where there is none.
    pub(super) fn kept(&self) -> Result<Kept, SecretsFault> {
        match fs::read_to_string(&self.0) {
            Ok(text) => self.parsed(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(&made()?).map_err(|cause| self.fault("written", cause))?;
                // Another process may have been first: what is on disk is what counts.
                self.parsed(&fs::read_to_string(&self.0).map_err(|cause| self.fault("read", cause))?)
            }
            Err(cause) => Err(self.fault("read", cause)),
        }
    }

    /// What it holds. One that has gone is not made anew: what it held is in use.
    pub(super) fn held(&self) -> Result<Kept, SecretsFault> {
        self.parsed(&fs::read_to_string(&self.0).map_err(|cause| self.fault("read", cause))?)
    }

    /// Changes it, durable before this returns; `None` leaves it as it is. What it holds then.
    pub(super) fn change(
        &self,
        change: impl FnOnce(Kept) -> Result<Option<Kept>, MasterFault>,
    ) -> Result<Kept, MasterFault> {
        let failed = |step, cause| MasterFault::Failed(Box::new(self.fault(step, cause)));
        let locked = self.lock().map_err(|cause| failed("locked", cause))?;
        let before = self.held().map_err(|fault| MasterFault::Failed(Box::new(fault)))?;
        let after = match change(before.clone())? {
            Some(after) => {
                self.replace(&after).map_err(|cause| failed("written", cause))?;
                after
            }
            None => before,
        };
        drop(locked);
        Ok(after)
    }

    fn parsed(&self, text: &str) -> Result<Kept, SecretsFault> {
        serde_json::from_str(text).map_err(|cause| SecretsFault::Damaged { path: self.0.clone(), cause })
    }

    fn fault(&self, step: &'static str, cause: io::Error) -> SecretsFault {
        SecretsFault::File { path: self.0.clone(), step, cause }
    }

    /// Held until the file is dropped, or its process ends however it ends.
    fn lock(&self) -> io::Result<fs::File> {
        let path = self.0.with_extension("lock");
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(false).mode(OWNER_ONLY).open(path)?;
        file.lock()?;
        Ok(file)
    }

    /// Written to a file of another name first, synced, then linked to its own name, which fails harmlessly when that
    /// exists.
    fn make(&self, kept: &Kept) -> io::Result<()> {
        // Not under the lock: each process has a draft of its own.
        let draft = self.draft(kept, &format!("draft-{}", std::process::id()))?;
        let linked = fs::hard_link(&draft, &self.0);
        fs::remove_file(&draft)?;
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// As [`SecretsFile::make`], in place of what is there.
    fn replace(&self, kept: &Kept) -> io::Result<()> {
        fs::rename(self.draft(kept, "draft")?, &self.0)?;
        let folder = self.0.parent().unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    }

    fn draft(&self, kept: &Kept, extension: &str) -> io::Result<PathBuf> {
        let draft = self.0.with_extension(extension);
        let text = serde_json::to_string_pretty(kept).map_err(io::Error::other)?;
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(draft)
    }
}

/// 32 random bytes, hexadecimal.
pub(super) fn random() -> Result<String, SecretsFault> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| SecretsFault::NoRandomness)?;
    Ok(hex::encode(&bytes))
}

fn made() -> Result<Kept, SecretsFault> {
    Ok(Kept {
        master_key: random()?,
        master_keys_retired: Vec::new(),
        evidence_key: random()?,
        signing_key: random()?,
    })
}
