//! What a gateway under test is made of.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::Process;
use super::{CliOutput, Gateway, listening, run_to_end};
use crate::{Database, Postgres, Store};

/// A gateway to be: its binary, configuration, environment and store. [`GatewayBuilder::start`] makes it run.
///
/// The harness adds `server.listen: 127.0.0.1:0` and, for PostgreSQL, `store.url` where the configuration leaves them
/// open. The process sees no environment but what it is given here, `PATH`, and a home of its own.
#[derive(Clone, Debug)]
pub struct GatewayBuilder {
    binary: PathBuf,
    config: String,
    env: Vec<(String, String)>,
    args: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
    store: Store,
}

pub(super) fn data_dir(home: &Path) -> PathBuf {
    home.join("data")
}

pub(super) fn config_path(home: &Path) -> PathBuf {
    home.join("bulkhead.yaml")
}

impl GatewayBuilder {
    pub(super) fn new(binary: PathBuf) -> Self {
        let args = vec!["serve".to_owned()];
        let (config, env, files) = (String::new(), Vec::new(), Vec::new());
        Self { binary, config, env, args, files, store: Store::Sqlite }
    }

    /// The text of `bulkhead.yaml`.
    #[must_use]
    pub fn config(mut self, yaml: &str) -> Self {
        self.set_config(yaml);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The arguments in place of `serve`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|&arg| arg.to_owned()).collect();
        self
    }

    /// A file beside `bulkhead.yaml`, which is the process's working directory.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// The store; SQLite unless told otherwise.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.store = store;
        self
    }

    /// Starts the gateway and waits until it listens.
    ///
    /// # Panics
    /// When it ends or says nothing before; the message carries its output.
    pub async fn start(self) -> Gateway {
        self.try_start().await.unwrap_or_else(|end| panic!("the gateway did not start: {end}"))
    }

    /// As [`GatewayBuilder::start`].
    ///
    /// # Errors
    /// The exit code and the output, when the process ends (or hangs) before it listens.
    pub async fn try_start(self) -> Result<Gateway, CliOutput> {
        let home = self.home();
        let database = match self.store {
            Store::Sqlite => None,
            Store::Postgres => Some(Postgres::shared().fresh_database()),
        };
        self.write_config(home.path(), database.as_ref());
        let process = self.spawn(home.path());
        let (process, url) = listening(process).await?;
        Ok(Gateway { setup: self, process, url, earlier_output: String::new(), home, database })
    }

    /// Runs the binary once with other arguments, in a fresh folder with this configuration.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> CliOutput {
        let home = self.home();
        self.write_config(home.path(), None);
        self.run_once(home.path(), args)
    }

    pub(super) fn set_config(&mut self, yaml: &str) {
        yaml.clone_into(&mut self.config);
    }

    pub(super) fn run_once(&self, home: &Path, args: &[&str]) -> CliOutput {
        run_to_end(self.command(home).args(args))
    }

    pub(super) fn spawn(&self, home: &Path) -> Process {
        Process::spawn(self.command(home).args(&self.args))
    }

    pub(super) fn write_config(&self, home: &Path, database: Option<&Database>) {
        let mut config = with_key(&self.config, "server", "listen", "127.0.0.1:0");
        if let Some(database) = database {
            config = with_key(&config, "store", "url", &database.url());
        }
        // A rename, so that a watcher never sees half a file.
        let (path, draft) = (config_path(home), home.join("bulkhead.yaml.new"));
        std::fs::write(&draft, config).expect("the temporary folder takes files");
        std::fs::rename(&draft, &path).expect("the temporary folder takes files");
    }

    fn home(&self) -> tempfile::TempDir {
        let home = tempfile::Builder::new().prefix("bulkhead-test-").tempdir().expect("a temporary folder");
        std::fs::create_dir(data_dir(home.path())).expect("a fresh folder takes another");
        for (name, content) in &self.files {
            std::fs::write(home.path().join(name), content).expect("the temporary folder takes files");
        }
        home
    }

    fn command(&self, home: &Path) -> Command {
        // The kernel kills the gateway with the thread that started it: no test run leaks one.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.binary);
        command.env_clear().current_dir(home);
        for kept in ["PATH", "TMPDIR", "LLVM_PROFILE_FILE", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.env("HOME", home);
        command.env("BULKHEAD_CONFIG", config_path(home)).env("BULKHEAD_DATA_DIR", data_dir(home));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Puts `key: value` into a top-level section of block-style YAML, unless the section has that key already.
fn with_key(yaml: &str, section: &str, key: &str, value: &str) -> String {
    let header = format!("{section}:");
    let line = format!("  {key}: \"{value}\"");
    let lines: Vec<&str> = yaml.lines().collect();
    let Some(start) = lines.iter().position(|l| l.split('#').next().unwrap_or_default().trim_end() == header)
    else {
        return format!("{header}\n{line}\n{yaml}");
    };
    let body = lines[start + 1..].iter().take_while(|l| l.is_empty() || l.starts_with([' ', '#']));
    let indent = body
        .clone()
        .find_map(|l| l.trim_start().starts_with(|c: char| c.is_alphabetic()).then(|| indent_of(l)));
    if body.clone().any(|l| l.trim_start().starts_with(&format!("{key}:")) && Some(indent_of(l)) == indent) {
        return yaml.to_owned();
    }
    let line = format!("{}{key}: \"{value}\"", indent.unwrap_or("  "));
    let with: Vec<&str> = [&lines[..=start], &[line.as_str()], &lines[start + 1..]].concat();
    with.join("\n") + "\n"
}

fn indent_of(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

#[cfg(test)]
mod tests {
    use super::with_key;

    #[test]
    fn a_missing_section_is_added_in_front() {
        assert_eq!(with_key("a: 1\n", "server", "listen", "x"), "server:\n  listen: \"x\"\na: 1\n");
    }

    #[test]
    fn an_open_key_is_added_at_the_section_s_own_indent() {
        let yaml = "a: 1\nserver: # ours\n    # note\n    tls:\n        listen: y\nb: 2";
        let wanted =
            "a: 1\nserver: # ours\n    listen: \"x\"\n    # note\n    tls:\n        listen: y\nb: 2\n";
        assert_eq!(with_key(yaml, "server", "listen", "x"), wanted);
    }

    #[test]
    fn a_key_that_is_set_stays() {
        let yaml = "server:\n  listen: 127.0.0.1:7777\n";
        assert_eq!(with_key(yaml, "server", "listen", "x"), yaml);
    }
}
