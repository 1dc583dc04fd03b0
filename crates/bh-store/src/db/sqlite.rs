//! Opening an SQLite file: its directory, its owner, its settings.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use tokio::sync::Semaphore;

use super::Db;
use crate::open::{Access, OpenFault, Options};

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
/// How long a call waits for its connection.
pub(super) const ACQUIRE_MAX: Duration = Duration::from_secs(10);
/// How long SQLite waits for a lock that a reader outside this process holds.
const BUSY_MAX: Duration = Duration::from_secs(5);
const READERS_IDLE_MAX: Duration = Duration::from_secs(60);
/// Statements that a connection keeps prepared: those of a large batch take some 100 KB each.
const STATEMENTS_MAX: usize = 64;
/// Of new files. A record takes a third of a smaller page, and each page is two writes to the log and one to the file;
/// of larger ones, heads and indexes write more than they change.
const PAGE_BYTES: u32 = 8_192;
/// Page caches, in KiB with SQLite's minus sign. Small: the operating system caches the file as well.
const WRITER_CACHE: &str = "-4096";
const READER_CACHE: &str = "-2048";
/// The log is folded into the file when it has this many pages (8 MiB): a longer log makes rarer, but longer, stalls.
const CHECKPOINT_PAGES: &str = "1024";
/// What the log is cut back to after a burst, in bytes.
const LOG_BYTES_KEPT: &str = "67108864";
/// Steps of SQLite's machine, of some ten nanoseconds each, after which a gentle writer lets others have the core.
const GENTLE_STEPS: i32 = 100;
/// Rows that may wait between SQLite's thread and the reader of an answer.
const ROWS_BUFFERED: usize = 256;

/// A lock beside the file, held as long as this lives: one gateway per file.
#[derive(Debug)]
pub(crate) struct Ownership(File);

impl Ownership {
    fn take(database: &Path) -> Result<Self, OpenFault> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let file = private_file(&path).map_err(|cause| OpenFault::File { path: path.clone(), cause })?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenFault::InUse { path: database.to_owned() }),
            Err(TryLockError::Error(cause)) => Err(OpenFault::File { path, cause }),
        }
    }

    /// Lets another gateway have the file.
    pub(crate) fn release(&self) {
        // Closing the lock file unlocks it too, so a failure here only delays that.
        self.0.unlock().ok();
    }
}

/// Opens the file with one writer and several readers; to read only, when that is all the caller wants.
pub(super) async fn open(path: &Path, options: &Options) -> Result<Db, OpenFault> {
    let ownership = match options.access {
        Access::Own => {
            make_directory(path)?;
            check_is_file(path)?;
            let ownership = Ownership::take(path)?;
            private_file(path).map_err(|cause| OpenFault::File { path: path.to_owned(), cause })?;
            Some(ownership)
        }
        Access::Read => {
            check_is_file(path)?;
            None
        }
    };
    let unreadable = |cause| OpenFault::Unreadable { path: path.to_owned(), cause };
    let readers = options.connections_max.max(1);
    let Some(ownership) = ownership else {
        let pool = pool(readers).connect_with(settings(path, READER_CACHE).read_only(true)).await;
        let pool = pool.map_err(unreadable)?;
        return Ok(Db::Sqlite {
            writer: pool.clone(),
            lane: lane(),
            gentle: Arc::default(),
            readers: pool,
            ownership: None,
        });
    };
    let gentle = Arc::<AtomicBool>::default();
    let writer = writer(path, Arc::clone(&gentle)).await.map_err(unreadable)?;
    // `query_only` rather than `read_only`: a reader must be able to rebuild the log's index after a crash.
    let readers = pool(readers).connect_lazy_with(settings(path, READER_CACHE).pragma("query_only", "ON"));
    Ok(Db::Sqlite { writer, lane: lane(), gentle, readers, ownership: Some(ownership) })
}

fn lane() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

async fn writer(path: &Path, gentle: Arc<AtomicBool>) -> Result<SqlitePool, sqlx::Error> {
    let settings = settings(path, WRITER_CACHE)
        .page_size(PAGE_BYTES)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        // What retention removes is overwritten where that costs no extra write.
        .pragma("secure_delete", "FAST");
    let pool = pool(1).min_connections(1).idle_timeout(None).after_connect(move |connection, _| {
        let gentle = Arc::clone(&gentle);
        Box::pin(async move {
            connection.lock_handle().await?.set_progress_handler(GENTLE_STEPS, move || {
                if gentle.load(Ordering::Relaxed) {
                    std::thread::yield_now();
                }
                true
            });
            Ok(())
        })
    });
    pool.connect_with(settings).await
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_MAX)
        .idle_timeout(READERS_IDLE_MAX)
        .max_lifetime(None)
        .test_before_acquire(false)
        // A commit that failed, on a full disk say, leaves the driver believing in a transaction that SQLite has long
        // rolled back: such a connection never works again.
        .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
}

fn settings(path: &Path, cache: &'static str) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_MAX)
        .statement_cache_capacity(STATEMENTS_MAX)
        .row_buffer_size(ROWS_BUFFERED)
        .pragma("cache_size", cache)
        .pragma("temp_store", "MEMORY")
        .disable_statement_logging()
}

fn make_directory(database: &Path) -> Result<(), OpenFault> {
    let directory = match database.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => return Ok(()),
    };
    let made = fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(|cause| OpenFault::File { path: directory.to_owned(), cause })
}

fn check_is_file(path: &Path) -> Result<(), OpenFault> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(OpenFault::NotAFile { path: path.to_owned() }),
        // The owner makes the file; a reader's own attempt names it as missing.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(OpenFault::File { path: path.to_owned(), cause }),
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}
