//! A private Redis: started on loopback, owned by a test, gone when its owner is.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::parts;

const START_WITHIN: Duration = Duration::from_secs(30);
const PORT_TRIES: u32 = 5;
const POLL_EVERY: Duration = Duration::from_millis(10);

/// A running Redis server on loopback, which keeps nothing on disk. Its process ends when this is dropped, or with the
/// thread that started it.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    dir: tempfile::TempDir,
    server: Option<Child>,
}

impl Redis {
    /// Starts a server of this value's own.
    ///
    /// # Panics
    /// When Redis is not installed or does not start.
    #[must_use]
    pub fn private() -> Self {
        let dir = tempfile::Builder::new().prefix("bulkhead-redis-").tempdir().expect("a temporary folder");
        let mut redis = Self { port: 0, dir, server: None };
        for _ in 0..PORT_TRIES {
            redis.port = free_port();
            // Another process may have taken the port meanwhile.
            if redis.try_start() {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends the server at once, with all it has kept.
    pub fn crash(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().ok();
            server.wait().ok();
        }
    }

    /// Starts a crashed server again, on the same port.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&mut self) {
        assert!(self.try_start(), "redis-server does not start again");
    }

    /// Runs one command with `redis-cli` and returns what it prints.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn ask(&self, command: &[&str]) -> Vec<u8> {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port, "--raw"]).args(command).output();
        let output = output.expect("redis-cli comes with the server");
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// The names of all that is kept.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let text = String::from_utf8(self.ask(&["KEYS", "*"])).expect("names are texts");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    fn try_start(&mut self) -> bool {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(parts::redis_server()).current_dir(self.dir.path());
        command.args(["--bind", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = command.spawn().expect("setpriv comes with util-linux");
        let deadline = Instant::now() + START_WITHIN;
        while Instant::now() < deadline && server.try_wait().ok().flatten().is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.server = Some(server);
                return true;
            }
            std::thread::sleep(POLL_EVERY);
        }
        server.kill().ok();
        server.wait().ok();
        false
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A port that nobody has right now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address").port()
}
