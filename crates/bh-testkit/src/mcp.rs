//! A real MCP server on loopback, owned by a test, gone when its owner is.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::parts;
use crate::redis::free_port;
use crate::sdk::isolated;

const START_WITHIN: Duration = Duration::from_secs(60);
const PORT_TRIES: u32 = 5;
const POLL_EVERY: Duration = Duration::from_millis(20);

/// A running MCP server: a script of the official Python SDK. Its process ends when this is dropped, or with the thread that
/// started it.
#[derive(Debug)]
pub struct McpServer {
    script: PathBuf,
    settings: Vec<(String, String)>,
    port: u16,
    process: Option<Child>,
}

impl McpServer {
    /// Starts a script with these environment variables, and `PORT`.
    ///
    /// # Panics
    /// Outside `cargo xtask test`, which installs the SDK; when the server does not start.
    #[must_use]
    pub fn start(script: &Path, settings: &[(&str, &str)]) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut server =
            Self { script: script.to_owned(), settings: settings.collect(), port: 0, process: None };
        for _ in 0..PORT_TRIES {
            server.port = free_port();
            // Another process may have taken the port meanwhile.
            if server.try_start() {
                return server;
            }
        }
        panic!("the MCP server does not start");
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Ends it at once, with all its sessions.
    pub fn crash(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().ok();
            process.wait().ok();
        }
    }

    /// Starts it again at the same address; it knows of nothing.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        // Somebody else may have the port for a moment.
        let started = (0..PORT_TRIES).any(|_| {
            self.try_start() || {
                std::thread::sleep(POLL_EVERY);
                false
            }
        });
        assert!(started, "the MCP server does not start again");
    }

    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let settings = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let settings: Vec<_> = settings.chain([("PORT", port.as_str())]).collect();
        let mut command = isolated(&parts::python(), &settings);
        command.arg("-I").arg(&self.script).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().expect("setpriv comes with util-linux");
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline && process.try_wait().ok().flatten().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.process = Some(process);
                return true;
            }
            std::thread::sleep(POLL_EVERY);
        }
        process.kill().ok();
        process.wait().ok();
        false
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.crash();
    }
}
