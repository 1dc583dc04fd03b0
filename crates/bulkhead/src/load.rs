//! Reading the configuration: file, environment, and the files they name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bh_config::{Loaded, Problem, SourceFile, Sources};

/// Where the configuration comes from, to be read again on reload.
#[derive(Clone, Debug)]
pub(crate) struct ConfigSource {
    /// `--config`, `BULKHEAD_CONFIG`, or `bulkhead.yaml` in the working directory if there is one.
    pub(crate) file: Option<PathBuf>,
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

const DEFAULT_FILE: &str = "bulkhead.yaml";

impl ConfigSource {
    /// The named file, or `bulkhead.yaml` in the working directory if it is there.
    pub(crate) fn new(named: Option<PathBuf>) -> Self {
        let found = || Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists());
        Self { file: named.or_else(found) }
    }

    /// Reads everything anew.
    pub(crate) fn load(&self) -> Result<Loaded, LoadFault> {
        self.load_with(None)
    }

    /// Reads everything anew, with `text` in place of the file.
    pub(crate) fn load_with(&self, text: Option<&str>) -> Result<Loaded, LoadFault> {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        let read = |path: &Path| std::fs::read_to_string(path);
        let (name, text) = match (text, &self.file) {
            (Some(text), _) => ("(built in)".to_owned(), Some(text.to_owned())),
            (None, Some(path)) => {
                let unreadable = |cause| LoadFault::Unreadable { path: path.clone(), cause };
                (path.display().to_string(), Some(read(path).map_err(unreadable)?))
            }
            (None, None) => (String::new(), None),
        };
        let file = text.as_ref().map(|text| SourceFile { name: &name, text });
        bh_config::load(Sources { file, env: &env, read_file: &read }).map_err(LoadFault::Problems)
    }
}
