//! The one module that knows there are two databases. Everything above it sees statements, values and rows.

mod bulk;
mod notify;
mod postgres;
mod script;
mod sqlite;
mod value;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bh_app::ports::Connections;
use bh_domain::tenant::Scope;
use sqlx::postgres::{PgPool, Postgres};
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments, SqlitePool};
use sqlx::{Arguments as _, AssertSqlSafe, SqlSafeStr, Transaction};

pub(crate) use self::bulk::{Bulk, Form, Shape, bulk};
pub(crate) use self::notify::Heard;
pub(crate) use self::script::Part;
use self::script::{Rows, Script};
pub(crate) use self::sqlite::Ownership;
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

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
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
            Self::Sqlite { readers, .. } => readers.begin().await.map(Tx::Sqlite),
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
        match self {
            Self::Sqlite { writer, .. } => writer.begin_with(WRITE_SQLITE).await.map(Tx::Sqlite),
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
        let mut tx = self.write().await?;
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

impl Tx {
    /// Runs a statement; the number of rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Outcome<u64> {
        match self {
            Self::Sqlite(tx) => {
                bind_sqlite(sql, args)?.execute(&mut **tx).await.map(|done| done.rows_affected())
            }
            Self::Postgres(tx) => {
                bind_postgres(sql, args).execute(&mut **tx).await.map(|done| done.rows_affected())
            }
        }
    }

    /// Rows of a statement.
    pub(crate) async fn fetch(&mut self, sql: &'static str, args: Vec<Value>) -> Outcome<Vec<Row>> {
        match self {
            Self::Sqlite(tx) => {
                let rows = bind_sqlite(sql, args)?.fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Self::Postgres(tx) => {
                let rows = bind_postgres(sql, args).fetch_all(&mut **tx).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a bulk statement over rows laid end to end; the number of rows it changed.
    pub(crate) async fn execute_rows(&mut self, bulk: &'static Bulk, rows: Vec<Value>) -> Outcome<u64> {
        self.execute_each([(bulk, rows)]).await
    }

    /// Runs bulk statements one after the other, each over rows laid end to end; the number of rows they changed
    /// together. On SQLite all of them take one trip to its thread, as a rule.
    pub(crate) async fn execute_each<const N: usize>(&mut self, parts: [Part; N]) -> Outcome<u64> {
        let form = self.form();
        let mut parts = parts.map(Rows::new);
        let mut changed = 0;
        while let Some(script) = Script::next(form, &mut parts) {
            changed += self.run(script).await?;
        }
        Ok(changed)
    }

    async fn run(&mut self, script: Script) -> Outcome<u64> {
        match (self, &script.texts[..]) {
            (tx, [text]) => tx.execute(text, script.args).await,
            (Self::Sqlite(tx), _) => {
                let done = bind_sqlite(script.text(), script.args)?.execute(&mut **tx).await?;
                Ok(done.rows_affected())
            }
            (Self::Postgres(_), _) => Err(sqlx::Error::Protocol("one statement at a time".to_owned())),
        }
    }

    /// Rows of a bulk statement over rows laid end to end.
    pub(crate) async fn fetch_rows(&mut self, bulk: &'static Bulk, rows: Vec<Value>) -> Outcome<Vec<Row>> {
        let form = self.form();
        let mut part = Rows::new((bulk, rows));
        let mut found = Vec::with_capacity(part.left);
        let mut args = Vec::new();
        while let Some(text) = part.next(form, &mut args) {
            found.append(&mut self.fetch(text, std::mem::take(&mut args)).await?);
        }
        Ok(found)
    }

    fn form(&self) -> Form {
        match self {
            Self::Sqlite(_) => Form::Padded,
            Self::Postgres(_) => Form::Exact,
        }
    }

    /// Runs a script of several statements without parameters.
    pub(crate) async fn batch(&mut self, script: &'static str) -> Outcome<()> {
        match self {
            Self::Sqlite(tx) => sqlx::raw_sql(script).execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => sqlx::raw_sql(script).execute(&mut **tx).await.map(drop),
        }
    }

    /// Makes everything durable.
    pub(crate) async fn commit(self) -> Outcome<()> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    /// Takes everything back, and waits until it is.
    pub(crate) async fn rollback(self) -> Outcome<()> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}

fn bind_sqlite(sql: impl SqlSafeStr, args: Vec<Value>) -> Outcome<Query<'static, Sqlite, SqliteArguments>> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(args.len(), 0);
    for value in args {
        let added = match value {
            Value::Int(int) => arguments.add(int),
            Value::Text(text) => arguments.add(text),
            Value::Bytes(bytes) => arguments.add(bytes),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(sqlx::query_with(sql, arguments))
}

fn bind_postgres<'q>(
    sql: &'static str,
    args: Vec<Value>,
) -> Query<'q, Postgres, <Postgres as sqlx::Database>::Arguments> {
    args.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(int) => query.bind(int),
        Value::Text(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
    })
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
        use sqlx::Executor as _;
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
