//! The data directory: every state file lives there and nowhere else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bh_config::Config;

/// The directory when neither the file nor the environment names one: seed 000's `TALON_DATA_DIR` and our own
/// variable are settings of the configuration, so only the home directory is looked at here.
const DEFAULT_NAME: &str = ".bulkhead";

/// A data directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirFault {
    #[error("no data directory: set BULKHEAD_DATA_DIR or `data_dir`, since there is no home directory")]
    Unknown,
    #[error(
        "the data directory {path} cannot be used: {cause}; it must be a directory this user can write to"
    )]
    Unusable { path: PathBuf, cause: io::Error },
}

/// The directory the configuration names, created for its owner alone where it is missing, and proven writable.
pub(crate) fn prepare(config: &Config) -> Result<PathBuf, DataDirFault> {
    let path = path(config)?;
    let unusable = |cause| DataDirFault::Unusable { path: path.clone(), cause };
    create(&path).map_err(unusable)?;
    let probe = path.join(".write-probe");
    fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(unusable)?;
    Ok(path)
}

/// The directory the configuration names.
pub(crate) fn path(config: &Config) -> Result<PathBuf, DataDirFault> {
    if let Some(path) = &config.data_dir {
        return Ok(PathBuf::from(path));
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).ok_or(DataDirFault::Unknown)?;
    Ok(Path::new(&home).join(DEFAULT_NAME))
}

fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
