//! The one module that knows there are two databases. Everything above it sees statements, values and rows.

mod bulk;
mod notify;
mod postgres;
mod script;
mod sqlite;
mod tx;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bh_app::ports::Connections;
use bh_domain::tenant::Scope;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgPool;
use sqlx::sqlite::SqlitePool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::bulk::{Bulk, Form, Shape, bulk};
pub(crate) use self::notify::Heard;
pub(crate) use self::script::Part;
use self::sqlite::ACQUIRE_MAX;
pub(crate) use self::sqlite::Ownership;
pub(crate) use self::tx::Tx;
use self::tx::bind_sqlite;
pub(crate) use self::value::{AFTER_ALL, BEFORE_ALL, Row, Value, malformed, uuid_text};
use crate::open::{OpenFault, Options, Place};

/// What stands for "every tenant" where a statement takes a network id.
pub(crate) const EVERYWHERE: &str = "*";
const WRITE_SQLITE: &str = "BEGIN IMMEDIATE";
const WRITE_POSTGRES: &str = "BEGIN; SET LOCAL bulkhead.nid = '*'";
/// Two gateways that start at once must not both migrate; any number serves that nobody else uses.
const MIGRATE_LOCK: &str = "SELECT pg_advisory_xact_lock(4776014331)";

type Outcome<T> = Result<T, sqlx::Error>;

/// An open database.
#[derive(Debug)]
pub(crate) enum Db {
    Sqlite {
        /// One connection: SQLite has one writer, and waiting here is fair and interruptible.
        writer: SqlitePool,
        /// Who may wait for the writer next: one at a time, but for what calls wait for. So that is never behind more than
        /// one other transaction, however many tenants are being made.
        lane: Arc<Semaphore>,
        /// Whether the writer lets others have the core in the middle of its work.
        gentle: Arc<AtomicBool>,
        /// In WAL mode these never wait for the writer, nor it for them.
        readers: SqlitePool,
        /// Keeps other gateways out of the file for as long as it is open.
        ownership: Option<Ownership>,
    },
    Postgres(PgPool),
}

/// As long as this lives, the writer lets others have the core in the middle of its work. Made by whoever holds the
/// writer, and dropped before it is let go: what others write is never gentle.
struct Gently<'a>(&'a AtomicBool);

impl<'a> Gently<'a> {
    fn now(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(flag)
    }
}

impl Drop for Gently<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Db {
    /// Opens the database at a place, creating an SQLite file that does not exist.
    pub(crate) async fn open(place: &Place, options: &Options) -> Result<Self, OpenFault> {
        match place {
            Place::Sqlite(path) => sqlite::open(path, options).await,
            Place::Postgres { options: connect, .. } => {
                let pool = postgres::open(connect, options).await;
                Ok(Self::Postgres(
                    pool.map_err(|cause| OpenFault::Connect { place: place.to_string(), cause })?,
                ))
            }
        }
    }

    /// Rows of one statement, as far as `scope` reaches.
    pub(crate) async fn fetch(
        &self,
        scope: &Scope,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Outcome<Vec<Row>> {
        if let Self::Sqlite { readers, .. } = self {
            let rows = bind_sqlite(sql, args)?.fetch_all(readers).await?;
            return Ok(rows.into_iter().map(Row::Sqlite).collect());
        }
        let mut tx = self.read(scope).await?;
        let rows = tx.fetch(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// As [`Db::fetch`], a page of all tenants' rows in the order of an index. PostgreSQL takes the test of row-level security
    /// to pass one row in two hundred, so that it would read and sort all that is left for each page.
    pub(crate) async fn fetch_page(
        &self,
        scope: &Scope,
        sql: &'static str,
        args: Vec<Value>,
    ) -> Outcome<Vec<Row>> {
        if let Self::Sqlite { .. } = self {
            return self.fetch(scope, sql, args).await;
        }
        let mut tx = self.begin_read(scope, "READ ONLY; SET LOCAL enable_sort = off").await?;
        let rows = tx.fetch(sql, args).await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// A transaction that reads one consistent state, as far as `scope` reaches.
    pub(crate) async fn read(&self, scope: &Scope) -> Outcome<Tx> {
        self.begin_read(scope, "READ ONLY").await
    }

    /// The same for several statements, which all see what the first one does: nothing moves from where one reads to where
    /// another has read already.
    pub(crate) async fn read_at_once(&self, scope: &Scope) -> Outcome<Tx> {
        self.begin_read(scope, "ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    async fn begin_read(&self, scope: &Scope, mode: &'static str) -> Outcome<Tx> {
        match self {
            Self::Sqlite { readers, .. } => readers.begin().await.map(|tx| Tx::Sqlite(tx, None)),
            Self::Postgres(pool) => {
                let reach = scope.nid().map_or_else(|| EVERYWHERE.to_owned(), |nid| nid.to_string());
                // Safe: `reach` is a star or a UUID that we have printed ourselves.
                let begin = AssertSqlSafe(format!("BEGIN {mode}; SET LOCAL bulkhead.nid = '{reach}'"));
                pool.begin_with(begin).await.map(Tx::Postgres)
            }
        }
    }

    /// A transaction that may write, for every tenant.
    pub(crate) async fn write(&self) -> Outcome<Tx> {
        let place = match self {
            Self::Sqlite { lane, .. } => {
                let place = tokio::time::timeout(ACQUIRE_MAX, Arc::clone(lane).acquire_owned()).await;
                // Nobody closes the lane.
                Some(place.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?)
            }
            Self::Postgres(_) => None,
        };
        self.begin_write(place).await
    }

    /// The same for what LLM calls wait for: it goes before all others that wait.
    pub(crate) async fn write_first(&self) -> Outcome<Tx> {
        self.begin_write(None).await
    }

    async fn begin_write(&self, place: Option<OwnedSemaphorePermit>) -> Outcome<Tx> {
        match self {
            Self::Sqlite { writer, .. } => {
                writer.begin_with(WRITE_SQLITE).await.map(|tx| Tx::Sqlite(tx, place))
            }
            Self::Postgres(pool) => pool.begin_with(WRITE_POSTGRES).await.map(Tx::Postgres),
        }
    }

    /// One transaction: runs `first`, and if that changed as many rows as it was given, `rest`; returns whether it
    /// did. On SQLite it is one trip to its thread, as a rule: of what a small batch costs, trips are most. There
    /// `unless_all` fails, with the number of rows as its argument, unless the statement before it changed them all.
    /// A `gentle` one lets others have the core in the middle of it; on PostgreSQL the work is another machine's.
    pub(crate) async fn write_if_all<const N: usize>(
        &self,
        first: Part,
        unless_all: &'static str,
        rest: [Part; N],
        gentle: bool,
    ) -> Outcome<bool> {
        let flag = self.gentle_flag().filter(|_| gentle);
        if let Self::Sqlite { writer, .. } = self
            && script::fits(&first, &rest)
        {
            return script::commit_if_all(writer, first, unless_all, rest, flag).await;
        }
        let given = script::rows_of(&first) as u64;
        let mut tx = self.write_first().await?;
        let gently = flag.map(Gently::now);
        let all = tx.execute_each([first]).await? == given;
        if all {
            tx.execute_each(rest).await?;
        }
        drop(gently);
        if all {
            tx.commit().await?
        } else {
            tx.rollback().await?
        }
        Ok(all)
    }

    /// What tells SQLite's thread to be gentle.
    fn gentle_flag(&self) -> Option<&AtomicBool> {
        match self {
            Self::Sqlite { gentle, .. } => Some(gentle),
            Self::Postgres(_) => None,
        }
    }

    /// Whether what is written now is written gently.
    #[cfg(test)]
    pub(crate) fn is_gentle(&self) -> bool {
        self.gentle_flag().is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    /// A writing transaction that only one process at a time can have, for changing the schema.
    pub(crate) async fn migrate(&self) -> Outcome<Tx> {
        let mut tx = self.write().await?;
        if matches!(tx, Tx::Postgres(_)) {
            tx.batch(MIGRATE_LOCK).await?;
        }
        Ok(tx)
    }

    /// How many connections there are now.
    pub(crate) fn connections(&self) -> Connections {
        let idle = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        match self {
            Self::Sqlite { writer, readers, .. } => Connections {
                open: writer.size() + readers.size(),
                idle: idle(writer.num_idle() + readers.num_idle()),
                max: writer.options().get_max_connections() + readers.options().get_max_connections(),
            },
            Self::Postgres(pool) => Connections {
                open: pool.size(),
                idle: idle(pool.num_idle()),
                max: pool.options().get_max_connections(),
            },
        }
    }

    /// Waits for connections in use, closes all, and lets go of the file.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite { writer, readers, ownership, .. } => {
                readers.close().await;
                // Last of all: the last connection to close folds the log back into the file.
                writer.close().await;
                if let Some(ownership) = ownership {
                    ownership.release();
                }
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

impl Db {
    /// Whether this is PostgreSQL, for the one who must know: migrations.
    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// How this database's bulk statements are written.
    #[cfg(test)]
    pub(crate) fn form(&self) -> Form {
        if self.is_postgres() { Form::Exact } else { Form::Padded }
    }

    /// Prepares a statement whose parameters have the types of `sample`, or whatever types the database finds.
    #[cfg(test)]
    pub(crate) async fn prepare(&self, sql: &'static str, sample: &[Value]) -> Outcome<()> {
        use sqlx::{Executor as _, Postgres, SqlSafeStr as _};
        match self {
            Self::Sqlite { writer, .. } => writer.prepare(sql.into_sql_str()).await.map(drop),
            Self::Postgres(pool) => {
                let kind = |value: &Value| match value {
                    Value::Int(_) => <i64 as sqlx::Type<Postgres>>::type_info(),
                    Value::Text(_) => <str as sqlx::Type<Postgres>>::type_info(),
                    Value::Bytes(_) => <[u8] as sqlx::Type<Postgres>>::type_info(),
                };
                let kinds: Vec<_> = sample.iter().map(kind).collect();
                pool.prepare_with(sql.into_sql_str(), &kinds).await.map(drop)
            }
        }
    }

    /// The steps of SQLite's plan for a statement.
    #[cfg(test)]
    pub(crate) async fn explain(&self, sql: &'static str) -> Outcome<Vec<String>> {
        use sqlx::Row as _;
        let Self::Sqlite { writer, .. } = self else { return Ok(Vec::new()) };
        let plan = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let steps = sqlx::raw_sql(plan).fetch_all(writer).await?;
        steps.iter().map(|step| step.try_get("detail")).collect()
    }
}
