//! Reading the configuration: file, environment, and the files they name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bh_config::{Loaded, Problem, SourceFile, Sources};
use parking_lot::Mutex;

/// Where the configuration comes from, to be read again on reload.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSource {
    /// `--config`, `BULKHEAD_CONFIG`, or `bulkhead.yaml` in the working directory if there is one.
    pub(crate) file: Option<PathBuf>,
    /// What each file looked like before it was last read.
    seen: Arc<Mutex<HashMap<PathBuf, Option<Stamp>>>>,
}

/// What tells one version of a file from another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

impl Stamp {
    /// `None` when there is no such file.
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let found = std::fs::metadata(path).ok()?;
        Some(Self { inode: found.ino(), length: found.len(), modified: found.modified().ok() })
    }
}

/// A configuration that does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadFault {
    #[error("the configuration file {path} cannot be read: {cause}")]
    Unreadable { path: PathBuf, cause: std::io::Error },
    #[error("{}", listed(.0))]
    Problems(Vec<Problem>),
}

fn listed(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

type Loader = fn(Sources<'_>) -> Result<Loaded, Vec<Problem>>;

const DEFAULT_FILE: &str = "bulkhead.yaml";

impl ConfigSource {
    /// The named file, or `bulkhead.yaml` in the working directory if it is there.
    pub(crate) fn new(named: Option<PathBuf>) -> Self {
        let found = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        Self { file: named.or_else(found), seen: Arc::default() }
    }

    /// Whether a file that was read is another one by now.
    pub(crate) fn has_changed(&self, path: &Path) -> bool {
        self.seen.lock().get(path).is_some_and(|stamp| *stamp != Stamp::of(path))
    }

    /// Reads everything anew.
    pub(crate) fn load(&self) -> Result<Loaded, LoadFault> {
        self.load_with(None)
    }

    /// Reads everything anew while an earlier configuration is in force, or for a command that serves nobody: a bad
    /// overlay of one tenant is no reason to refuse the rest.
    pub(crate) fn reload(&self) -> Result<Loaded, LoadFault> {
        self.read(None, bh_config::reload)
    }

    /// Reads everything anew, with `text` in place of the file.
    pub(crate) fn load_with(&self, text: Option<&str>) -> Result<Loaded, LoadFault> {
        self.read(text, bh_config::load)
    }

    fn read(&self, text: Option<&str>, load: Loader) -> Result<Loaded, LoadFault> {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        self.seen.lock().clear();
        let read = |path: &Path| {
            // Before it is read: a change in between shows as one.
            self.seen.lock().insert(path.to_owned(), Stamp::of(path));
            std::fs::read_to_string(path)
        };
        let (name, text) = match (text, &self.file) {
            (Some(text), _) => ("(built in)".to_owned(), Some(text.to_owned())),
            (None, Some(path)) => {
                let unreadable = |cause| LoadFault::Unreadable { path: path.clone(), cause };
                (path.display().to_string(), Some(read(path).map_err(unreadable)?))
            }
            (None, None) => (String::new(), None),
        };
        let file = text.as_ref().map(|text| SourceFile { name: &name, text });
        load(Sources { file, env: &env, read_file: &read }).map_err(LoadFault::Problems)
    }
}
