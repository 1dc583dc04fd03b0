//! A private PostgreSQL: started on loopback, owned by the test run, gone when its owner is.
//!
//! The server runs under a small shell that holds the read end of a pipe from us. When this process ends, in any way,
//! the pipe closes, and the shell stops the server and removes its folder: nothing leaks, even after a `kill -9`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::parts;
use crate::redis::free_port;

/// The role a gateway logs in as: the owner of its database and no superuser, so row-level security binds it.
const ROLE: &str = "bulkhead";
const SUPERUSER: &str = "postgres";
const START_WITHIN: Duration = Duration::from_secs(60);
const PORT_TRIES: u32 = 5;
const POLL_EVERY: Duration = Duration::from_millis(20);

/// `$1` is the folder, the rest the server's command. Lines on stdin stop and start it; the end of stdin ends it.
const KEEPER: &str = r#"
dir=$1; shift
start() { "$@" >>"$dir/log" 2>&1 </dev/null & child=$!; }
stop() { kill -QUIT "$child" 2>/dev/null; wait "$child" 2>/dev/null; }
start "$@"
while read -r word; do
  case $word in
    stop) stop ;;
    start) start "$@" ;;
  esac
done
stop
rm -rf -- "$dir"
"#;

/// A running PostgreSQL server on loopback.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    bin: PathBuf,
    dir: PathBuf,
    keeper: Option<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    shell: Child,
    orders: Option<ChildStdin>,
}

/// One database of a server. It is dropped with this value.
#[derive(Debug)]
pub struct Database {
    name: String,
    port: u16,
    bin: PathBuf,
}

impl Postgres {
    /// Starts a server of this value's own. Durability is off (`fsync`): a killed *gateway* loses nothing by that.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start; the message carries its log.
    #[must_use]
    pub fn private() -> Self {
        Self::launch(&["fsync=off", "full_page_writes=off"])
    }

    /// As [`Postgres::private`], with every commit flushed to disk: for measurements.
    #[must_use]
    pub fn private_and_durable() -> Self {
        Self::launch(&[])
    }

    fn launch(settings: &[&str]) -> Self {
        let server = (0..PORT_TRIES).find_map(|_| Self::try_launch(settings)).expect("a port stays free");
        server.sql(&format!("CREATE ROLE {ROLE} LOGIN"));
        server
    }

    /// `None` when another process took the port between our choice and the server's start.
    fn try_launch(settings: &[&str]) -> Option<Self> {
        let bin = parts::postgres_bin();
        let dir =
            tempfile::Builder::new().prefix("bulkhead-pg-").tempdir().expect("a temporary folder").keep();
        if runs_as_root() {
            // The server refuses to run as root; its folder goes to the account that Debian's package made.
            run(Command::new("chown").arg(SUPERUSER).arg(&dir));
        }
        let mut initdb = unprivileged(&bin.join("initdb"), &dir);
        initdb.arg("-D").arg(dir.join("data")).args(["-A", "trust", "-U", SUPERUSER]);
        run(initdb.args(["-E", "UTF8", "--locale=C", "--no-sync"]));
        let port = free_port();
        let keeper = Keeper::start(&bin, &dir, port, settings);
        let server = Self { port, bin, dir, keeper: Some(keeper) };
        server.becomes_ready().then_some(server)
    }

    /// The run's server: the one `cargo xtask test` started, or one private to this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var(parts::PG_URL_ENV) {
            Ok(url) => {
                let port = url.rsplit(':').next().and_then(|p| p.parse().ok());
                let port = port.unwrap_or_else(|| panic!("{}: no port in {url}", parts::PG_URL_ENV));
                Self { port, bin: parts::postgres_bin(), dir: PathBuf::new(), keeper: None }
            }
            Err(_) => Self::private(),
        })
    }

    /// The server's address, as [`parts::PG_URL_ENV`] carries it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}", self.port)
    }

    /// A new, empty database, owned by a role that is no superuser.
    ///
    /// # Panics
    /// When the server does not answer.
    #[must_use]
    pub fn fresh_database(&self) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name} OWNER {ROLE} TEMPLATE template0"));
        Database { name, port: self.port, bin: self.bin.clone() }
    }

    /// Stops a private server at once, as a crash would; databases stay.
    ///
    /// # Panics
    /// When the server is shared.
    pub fn crash(&mut self) {
        self.order("stop");
        while self.lock_file().exists() {
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Starts a crashed server again, on the same port.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn recover(&mut self) {
        self.order("start");
        assert!(self.becomes_ready(), "another process took the server's port");
    }

    fn order(&mut self, word: &str) {
        let orders = self.keeper.as_mut().and_then(|k| k.orders.as_mut());
        let orders = orders.expect("only a private server takes orders");
        writeln!(orders, "{word}").expect("the server's keeper listens");
    }

    fn sql(&self, statement: &str) -> String {
        psql(&self.bin, self.port, SUPERUSER, statement)
    }

    /// Asks the server's own lock file, so that a stranger on the same port is not taken for it.
    fn becomes_ready(&self) -> bool {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if std::fs::read_to_string(self.lock_file()).is_ok_and(|lock| lock.contains("ready")) {
                return true;
            }
            let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if log.contains("could not create any TCP/IP sockets") {
                return false;
            }
            assert!(Instant::now() < deadline, "PostgreSQL did not start:\n{log}");
            std::thread::sleep(POLL_EVERY);
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join("data/postmaster.pid")
    }
}

impl Keeper {
    fn start(bin: &Path, dir: &Path, port: u16, settings: &[&str]) -> Self {
        let always = [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "max_connections=200",
            "shared_buffers=64MB",
        ];
        let mut server = unprivileged(&bin.join("postgres"), dir);
        server.arg("-D").arg(dir.join("data")).arg("-p").arg(port.to_string());
        for setting in always.iter().chain(settings) {
            server.args(["-c", setting]);
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]).arg(dir).arg(server.get_program()).args(server.get_args());
        shell.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = shell.spawn().expect("sh can be run");
        let orders = shell.stdin.take();
        Self { shell, orders }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.shell.wait().ok();
    }
}

impl Database {
    /// `postgres://role@127.0.0.1:port/name`, as `store.url` takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{ROLE}@127.0.0.1:{}/{}", self.port, self.name)
    }

    /// Runs SQL as a superuser and returns unaligned rows, one a line, columns parted by `|`.
    ///
    /// # Panics
    /// When a statement fails; the message carries the server's.
    #[must_use]
    pub fn sql(&self, statement: &str) -> String {
        psql(&self.bin, self.port, &self.name, statement)
    }

    /// A superuser's session that runs what it reads from its standard input, and writes rows as [`Database::sql`] does.
    #[must_use]
    pub fn session(&self) -> Command {
        psql_session(&self.bin, self.port, &self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The server may have been stopped by its test: then the database goes with its folder.
        psql_command(&self.bin, self.port, SUPERUSER, &statement).output().ok();
    }
}

fn psql(bin: &Path, port: u16, database: &str, statement: &str) -> String {
    run(&mut psql_command(bin, port, database, statement)).trim_end().to_owned()
}

fn psql_command(bin: &Path, port: u16, database: &str, statement: &str) -> Command {
    let mut psql = psql_session(bin, port, database);
    psql.args(["-c", statement]);
    psql
}

fn psql_session(bin: &Path, port: u16, database: &str) -> Command {
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-U", SUPERUSER, "-d", database]);
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
    psql
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn unprivileged(program: &Path, dir: &Path) -> Command {
    let mut command = if runs_as_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid", SUPERUSER, "--regid", SUPERUSER, "--init-groups", "--"]).arg(program);
        setpriv
    } else {
        Command::new(program)
    };
    command.current_dir(dir);
    command
}

fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn each_database_is_empty_and_owned_by_no_superuser() {
        let server = Postgres::shared();
        let (one, two) = (server.fresh_database(), server.fresh_database());
        assert_eq!(one.sql("CREATE TABLE t (a INT); INSERT INTO t VALUES (7), (8); SELECT a FROM t"), "7\n8");
        assert_eq!(two.sql("SELECT count(*) FROM pg_tables WHERE tablename = 't'"), "0");
        let owner = "SELECT rolname, rolsuper FROM pg_database d JOIN pg_roles r ON r.oid = datdba \
                     WHERE datname = current_database()";
        assert_eq!(one.sql(owner), "bulkhead|f");
        assert!(one.url().starts_with("postgres://bulkhead@127.0.0.1:") && one.url() != two.url());
    }

    #[test]
    fn a_private_server_crashes_and_recovers_and_leaves_nothing_behind() {
        let mut server = Postgres::private();
        let database = server.fresh_database();
        assert_eq!(database.sql("CREATE TABLE t (a INT); SELECT 1"), "1");
        server.crash();
        assert!(TcpStream::connect(("127.0.0.1", server.port)).is_err());
        server.recover();
        assert_eq!(database.sql("SELECT count(*) FROM t"), "0");
        let folder = database.sql("SHOW data_directory");
        drop((database, server));
        assert!(!Path::new(&folder).exists(), "{folder} is left");
    }
}
