//! Where an export goes: standard output, or a file that is there whole or not at all.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::Failure;

/// Takes an export piece by piece.
pub(crate) enum Output {
    /// Standard output.
    Stdout(io::Stdout),
    /// A draft beside the file it becomes, readable by its owner alone. Dropped unfinished, it is removed.
    File { draft: NamedTempFile, path: PathBuf },
}

impl Output {
    /// Standard output, or the file at `path`.
    pub(crate) fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let draft = tempfile::Builder::new().prefix(".bulkhead-export-").tempfile_in(folder);
        let draft = draft.map_err(|cause| unwritable(path, &cause))?;
        Ok(Self::File { draft, path: path.to_owned() })
    }

    /// Writes the next piece. Returns false when nobody reads on (`| head`), which is not a failure.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<bool, Failure> {
        match self {
            Self::Stdout(to) => match to.write_all(bytes) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
                other => Ok(other.map(|()| true)?),
            },
            Self::File { draft, path } => match draft.write_all(bytes) {
                Ok(()) => Ok(true),
                Err(cause) => Err(unwritable(path, &cause)),
            },
        }
    }

    /// Puts the file in its place, durable, with mode 0600.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(mut to) => match to.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => Ok(other?),
            },
            Self::File { draft, path } => {
                draft.as_file().sync_all().map_err(|cause| unwritable(&path, &cause))?;
                draft.persist(&path).map(drop).map_err(|fault| unwritable(&path, &fault.error))
            }
        }
    }
}

fn unwritable(path: &Path, cause: &io::Error) -> Failure {
    Failure::new(format!("{} cannot be written: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_appears_only_when_it_is_whole_and_belongs_to_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.csv");
        std::fs::write(&path, "old").unwrap();
        let names = || std::fs::read_dir(folder.path()).unwrap().count();

        let mut abandoned = Output::open(Some(&path)).unwrap();
        assert!(abandoned.write(b"half").unwrap());
        drop(abandoned);
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), names()), ("old", 1));

        let mut whole = Output::open(Some(&path)).unwrap();
        assert!(whole.write(b"all of ").unwrap() && whole.write(b"it").unwrap());
        whole.finish().unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (std::fs::read_to_string(&path).unwrap().as_str(), mode, names()),
            ("all of it", 0o600, 1)
        );
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        let path = Path::new("no-such-folder/export.csv");
        let failure = Output::open(Some(path)).map(drop).unwrap_err();
        assert!(
            format!("{failure:?}").contains("no-such-folder/export.csv cannot be written"),
            "{failure:?}"
        );
    }
}
