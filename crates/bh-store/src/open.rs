//! Where the store is, how it is opened, and why it could not be.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;

/// Connections of a pool unless the configuration says otherwise.
pub const CONNECTIONS_DEFAULT: u32 = 8;

/// What the opener means to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Serve from it: create and migrate it. An SQLite file then belongs to this process alone.
    Own,
    /// Read beside a running gateway, as `bulkhead audit` does. Writes fail.
    Read,
}

/// How to open a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// What for.
    pub access: Access,
    /// At most this many connections: all of them on PostgreSQL, the readers on SQLite.
    pub connections_max: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { access: Access::Own, connections_max: CONNECTIONS_DEFAULT }
    }
}

/// Why a store could not be opened. Every variant names the place; none carries a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// `store.url` is neither a path, `sqlite:PATH` nor a `postgres://` URL.
    #[error("store.url: {reason}")]
    Url {
        /// What is wrong with it; never the URL itself, which may hold a password.
        reason: String,
    },
    /// Something other than a file is where the SQLite file should be.
    #[error("{path} is not a file: the store needs a file of its own there")]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Another gateway serves from this file.
    #[error(
        "{path} is in use by another gateway: stop that one first, or give this one a data directory of its own"
    )]
    InUse {
        /// The SQLite file.
        path: PathBuf,
    },
    /// The file or its directory cannot be made or written.
    #[error("cannot use {path}")]
    File {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        cause: io::Error,
    },
    /// SQLite cannot open the file: missing, damaged, no database, or no permission.
    #[error("cannot open {path} as an SQLite database")]
    Unreadable {
        /// The SQLite file.
        path: PathBuf,
        /// SQLite's reason.
        #[source]
        cause: sqlx::Error,
    },
    /// PostgreSQL does not answer, or not to us.
    #[error("cannot connect to {place}")]
    Connect {
        /// Host, port and database.
        place: String,
        /// The reason.
        #[source]
        cause: sqlx::Error,
    },
    /// The database holds tables of some other program.
    #[error("{place} holds another program's tables: the store needs a database of its own")]
    Foreign {
        /// The database.
        place: String,
    },
    /// A newer program has migrated the database.
    #[error("{place} has schema version {found}, and this program knows {known}: use the newer program")]
    Newer {
        /// The database.
        place: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// The database has not been brought to our version yet.
    #[error(
        "{place} has schema version {found}, and this program needs {known}: start the gateway once to migrate it"
    )]
    Older {
        /// The database.
        place: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A migration was applied from a text that is not ours.
    #[error("{place}: schema version {version} is not the one this program was built with")]
    Differs {
        /// The database.
        place: String,
        /// The version.
        version: i64,
    },
    /// The schema could not be read or brought up to date.
    #[error("cannot migrate {place}")]
    Migrate {
        /// The database.
        place: String,
        /// The database's reason.
        #[source]
        cause: sqlx::Error,
    },
}

/// A parsed `store.url`.
#[derive(Clone)]
pub(crate) enum Place {
    Sqlite(PathBuf),
    Postgres {
        options: Box<PgConnectOptions>,
        /// Host, port and database: what may be shown.
        shown: String,
    },
}

impl Place {
    /// Reads a path, `sqlite:PATH` (`sqlite://PATH` too) or `postgres://…`.
    pub(crate) fn parse(url: &str) -> Result<Self, OpenFault> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Self::parse_postgres(url);
        }
        let path = match url.strip_prefix("sqlite:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if url.contains("://") => {
                return Err(refuse("the scheme must be sqlite: or postgres://"));
            }
            None => url,
        };
        if path.is_empty() || path == ":memory:" {
            return Err(refuse("a path is needed: evidence must outlive the process"));
        }
        Ok(Self::Sqlite(PathBuf::from(path)))
    }

    fn parse_postgres(url: &str) -> Result<Self, OpenFault> {
        let options = PgConnectOptions::from_str(url).map_err(|_| refuse("not a valid postgres:// URL"))?;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        let shown = format!("PostgreSQL at {}:{}/{database}", options.get_host(), options.get_port());
        Ok(Self::Postgres { options: Box::new(options), shown })
    }
}

fn refuse(reason: &str) -> OpenFault {
    OpenFault::Url { reason: reason.to_owned() }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres { shown, .. } => f.write_str(shown),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file_or_a_postgresql_database() {
        let shown = |url| Place::parse(url).map(|place| place.to_string()).map_err(|fault| fault.to_string());
        assert_eq!(shown("data/bulkhead.db").unwrap(), "data/bulkhead.db");
        assert_eq!(shown("sqlite:/var/lib/b.db").unwrap(), "/var/lib/b.db");
        assert_eq!(shown("sqlite:///var/lib/b.db").unwrap(), "/var/lib/b.db");
        assert_eq!(
            shown("postgres://u:hidden@db.internal:6432/b").unwrap(),
            "PostgreSQL at db.internal:6432/b"
        );
        assert_eq!(shown("mysql://x").unwrap_err(), "store.url: the scheme must be sqlite: or postgres://");
        assert!(shown("sqlite::memory:").unwrap_err().contains("must outlive the process"));
    }

    #[test]
    fn a_password_is_neither_shown_nor_debugged() {
        let place = Place::parse("postgres://u:hidden@db.internal/b").unwrap();
        assert!(!format!("{place} {place:?}").contains("hidden"));
        let fault = Place::parse("postgres://u:hidden@db.internal:notaport/b").unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("hidden"));
    }
}
