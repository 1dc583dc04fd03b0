//! One child process and what it prints.

use std::fmt;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::POLL_EVERY;

/// What a finished run of the binary left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliOutput {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
}

impl CliOutput {
    /// True for exit code 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for CliOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit {:?}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// A child whose two outputs are collected as they come. Killed when dropped.
pub(super) struct Process {
    child: Child,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
    status: Option<ExitStatus>,
}

impl Process {
    pub(super) fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", command.get_program()));
        let (stdout, first) = collect(child.stdout.take().expect("stdout is piped"));
        let (stderr, second) = collect(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr, readers: vec![first, second], status: None }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn output(&self) -> String {
        format!("{}{}", text(&self.stdout), text(&self.stderr))
    }

    /// The first word after `marker` on a complete line of stderr.
    pub(super) fn output_line_after(&self, marker: &str) -> Option<String> {
        let stderr = text(&self.stderr);
        let complete = &stderr[..stderr.rfind('\n')?];
        let rest = complete.split_once(marker)?.1;
        rest.split_whitespace().next().map(str::to_owned)
    }

    /// Sends a signal by name. Through the shell: it needs no package and no `unsafe`.
    pub(super) fn signal(&self, name: &str) {
        if self.status.is_none() {
            let script = format!("kill -{name} {}", self.child.id());
            let sent = Command::new("sh").args(["-c", &script]).status();
            assert!(sent.is_ok_and(|s| s.success()), "{script}: no such process");
        }
    }

    pub(super) fn kill9(&mut self) {
        if self.status.is_none() {
            self.child.kill().ok();
            self.status = self.child.wait().ok();
        }
        self.read_to_end();
    }

    /// What an ended process printed last is still on its way through the pipes.
    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
    }

    pub(super) async fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if self.status.is_none() {
                self.status = self.child.try_wait().ok().flatten();
            }
            if self.status.is_some() {
                self.read_to_end();
                return self.status;
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Everything, once the process has ended.
    pub(super) fn into_output(mut self) -> CliOutput {
        if self.status.is_none() {
            self.status = self.child.wait().ok();
        }
        self.kill9();
        let code = self.status.and_then(|status| status.code());
        CliOutput { code, stdout: text(&self.stdout), stderr: text(&self.stderr) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.child.id()).field("status", &self.status).finish()
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> (Arc<Mutex<Vec<u8>>>, JoinHandle<()>) {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let theirs = Arc::clone(&collected);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0_u8; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            theirs.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
        }
    });
    (collected, reader)
}

fn text(collected: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&collected.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}
