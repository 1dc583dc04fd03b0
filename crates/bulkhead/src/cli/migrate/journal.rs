//! What a migration has done so far, in the data directory: so that it can be resumed, repeated and taken back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "migration.json";
const VERSION: u32 = 1;

/// What has become of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TenantState {
    /// It is about to be made, or was: whether its key was told is not known.
    Making,
    /// It is there, and its key was told.
    Made,
    /// It was there before.
    Found,
}

/// One tenant of the migration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TenantStep {
    pub(super) id: String,
    pub(super) state: TenantState,
}

/// What the evidence of the single tenant was when the migration began: none of it is ever written anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EvidenceMark {
    pub(super) records: u64,
    /// Leaf hash of the last record, in hexadecimal digits.
    pub(super) leaf_hash: String,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Journal {
    version: u32,
    /// SHA-256 of the configuration file before and after, in hexadecimal digits; none where it needed no change.
    pub(super) config_before: Option<String>,
    pub(super) config_after: Option<String>,
    pub(super) evidence: EvidenceMark,
    pub(super) tenants: Vec<TenantStep>,
    pub(super) rolled_back: bool,
    #[serde(skip)]
    path: PathBuf,
}

impl Journal {
    /// The journal in a data directory; `None` where no migration has begun.
    ///
    /// # Errors
    /// When it cannot be read, or is another version's.
    pub(super) fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        let path = data_dir.join(FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let journal: Self = serde_json::from_str(&text)?;
        if journal.version != VERSION {
            let message = format!("{} is of another version of this program", path.display());
            return Err(io::Error::other(message));
        }
        Ok(Some(Self { path, ..journal }))
    }

    /// A migration that begins. Nothing is written yet.
    pub(super) fn begin(data_dir: &Path, evidence: EvidenceMark) -> Self {
        Self {
            version: VERSION,
            config_before: None,
            config_after: None,
            evidence,
            tenants: Vec::new(),
            rolled_back: false,
            path: data_dir.join(FILE),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When the data directory does not take it.
    pub(super) fn write(&self) -> io::Result<()> {
        replace(&self.path, serde_json::to_string_pretty(self)?.as_bytes())
    }

    /// What has become of a tenant.
    pub(super) fn state(&self, id: &str) -> Option<TenantState> {
        self.tenants.iter().find(|step| step.id == id).map(|step| step.state)
    }

    /// Notes what has become of a tenant, and writes that down.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub(super) fn note(&mut self, id: &str, state: TenantState) -> io::Result<()> {
        match self.tenants.iter_mut().find(|step| step.id == id) {
            Some(step) => step.state = state,
            None => self.tenants.push(TenantStep { id: id.to_owned(), state }),
        }
        self.write()
    }
}

/// Replaces a file, whole or not at all: whoever reads it sees the old one or the new one. It is its owner's alone, or as
/// the old one was.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".new");
    let draft = PathBuf::from(draft);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_as_it_was_written_and_another_versions_is_none_of_ours() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Journal::read(folder.path()).unwrap(), None);
        let mark = EvidenceMark { records: 7, leaf_hash: "ab".to_owned() };
        let mut journal = Journal::begin(folder.path(), mark);
        journal.note("default", TenantState::Making).unwrap();
        journal.note("default", TenantState::Made).unwrap();
        assert_eq!(Journal::read(folder.path()).unwrap(), Some(journal.clone()));
        assert_eq!((journal.state("default"), journal.state("acme")), (Some(TenantState::Made), None));
        let text =
            fs::read_to_string(folder.path().join(FILE)).unwrap().replace("\"version\": 1", "\"version\": 2");
        fs::write(folder.path().join(FILE), text).unwrap();
        assert!(Journal::read(folder.path()).is_err());
    }
}
