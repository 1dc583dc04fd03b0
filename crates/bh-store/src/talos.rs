//! Reading the keys of a Talos database (SQLite; dossier §9), so that they can be taken over.

mod row;

use std::path::{Path, PathBuf};

use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::tenant::Nid;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow};
use uuid::Uuid;

/// Keys that are read at once.
pub const TALOS_PAGE_KEYS: u32 = 500;

const TABLES: &str = "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')";
const ISSUED: &str = "SELECT * FROM issued_api_keys WHERE nid = ?1 AND key_id > ?2 ORDER BY key_id LIMIT ?3";
const IMPORTED: &str =
    "SELECT * FROM imported_api_keys WHERE nid = ?1 AND key_id > ?2 ORDER BY key_id LIMIT ?3";
const NETWORKS: &str = "SELECT nid FROM issued_api_keys UNION SELECT nid FROM imported_api_keys ORDER BY 1";

/// Why a Talos database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TalosFault {
    /// The file cannot be opened as a database.
    #[error("cannot read {path} as an SQLite database")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        #[source]
        cause: sqlx::Error,
    },
    /// It is a database of something else.
    #[error("{path} is no Talos database: it has no table `{table}`")]
    NotTalos {
        /// The file.
        path: PathBuf,
        /// What is missing.
        table: &'static str,
    },
    /// A network's id is no UUID.
    #[error("{path}: `{nid}` is not a network id")]
    Network {
        /// The file.
        path: PathBuf,
        /// What stands there.
        nid: String,
    },
}

/// A key that was read, or why it cannot be: its id, and a sentence.
pub type TalosKey = Result<Key, (String, String)>;

/// A Talos database, opened to read only.
#[derive(Debug)]
pub struct TalosDb {
    pool: SqlitePool,
    path: PathBuf,
}

impl TalosDb {
    /// Opens the file at a path, `sqlite:PATH` or `sqlite3://PATH`. Nothing in it is changed.
    ///
    /// # Errors
    /// [`TalosFault`] when it is not a database, or not Talos's.
    pub async fn open(place: &str) -> Result<Self, TalosFault> {
        let bare = place.strip_prefix("sqlite3:").or_else(|| place.strip_prefix("sqlite:")).unwrap_or(place);
        let bare = bare.strip_prefix("//").unwrap_or(bare);
        let path = PathBuf::from(bare.split_once('?').map_or(bare, |(path, _)| path));
        let options = SqliteConnectOptions::new().filename(&path).read_only(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await;
        let db = Self { pool: pool.map_err(|cause| unreadable(&path, cause))?, path };
        let tables: Vec<String> = sqlx::query_scalar(TABLES)
            .fetch_all(&db.pool)
            .await
            .map_err(|cause| unreadable(&db.path, cause))?;
        for table in ["issued_api_keys", "imported_api_keys"] {
            if !tables.iter().any(|found| found == table) {
                return Err(TalosFault::NotTalos { path: db.path, table });
            }
        }
        Ok(db)
    }

    /// Networks that have keys. The nil UUID is that of a Talos without tenants.
    ///
    /// # Errors
    /// [`TalosFault`] when the file cannot be read or an id is no UUID.
    pub async fn networks(&self) -> Result<Vec<Nid>, TalosFault> {
        let found: Vec<String> = sqlx::query_scalar(NETWORKS)
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| unreadable(&self.path, cause))?;
        let parsed = found.into_iter().map(|text| match Uuid::try_parse(&text) {
            Ok(nid) => Ok(Nid(nid)),
            Err(_) => Err(TalosFault::Network { path: self.path.clone(), nid: text }),
        });
        parsed.collect()
    }

    /// Keys of a network in the order of their ids, at most [`TALOS_PAGE_KEYS`] after an id, and the last id read.
    ///
    /// # Errors
    /// [`TalosFault`] when the file cannot be read.
    pub async fn keys(
        &self,
        network: Nid,
        kind: KeyKind,
        after: &str,
    ) -> Result<(Vec<TalosKey>, Option<String>), TalosFault> {
        let statement = match kind {
            KeyKind::Issued => ISSUED,
            KeyKind::Imported => IMPORTED,
        };
        let rows: Vec<SqliteRow> = sqlx::query(statement)
            .bind(network.0.hyphenated().to_string())
            .bind(after)
            .bind(TALOS_PAGE_KEYS)
            .fetch_all(&self.pool)
            .await
            .map_err(|cause| unreadable(&self.path, cause))?;
        let last = rows.last().map(row::key_id);
        Ok((rows.iter().map(|found| row::key(kind, found)).collect(), last))
    }

    /// Closes the file.
    pub async fn close(self) {
        self.pool.close().await;
    }
}

fn unreadable(path: &Path, cause: sqlx::Error) -> TalosFault {
    TalosFault::Unreadable { path: path.to_owned(), cause }
}
