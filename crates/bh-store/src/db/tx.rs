//! One transaction, on either database.

use sqlx::postgres::Postgres;
use sqlx::query::Query;
use sqlx::sqlite::{Sqlite, SqliteArguments};
use sqlx::{Arguments as _, SqlSafeStr, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use super::script::{Rows, Script};
use super::{Bulk, Form, Outcome, Part, Row, Value};

/// A transaction. Dropped without [`Tx::commit`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) enum Tx {
    /// With its place in the lane, which is free again once it has ended.
    Sqlite(Transaction<'static, Sqlite>, Option<OwnedSemaphorePermit>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    /// Runs a statement; the number of rows it changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: Vec<Value>) -> Outcome<u64> {
        match self {
            Self::Sqlite(tx, _) => {
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
            Self::Sqlite(tx, _) => {
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
            (Self::Sqlite(tx, _), _) => {
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
            Self::Sqlite(..) => Form::Padded,
            Self::Postgres(_) => Form::Exact,
        }
    }

    /// Runs a script of several statements without parameters.
    pub(crate) async fn batch(&mut self, script: &'static str) -> Outcome<()> {
        match self {
            Self::Sqlite(tx, _) => sqlx::raw_sql(script).execute(&mut **tx).await.map(drop),
            Self::Postgres(tx) => sqlx::raw_sql(script).execute(&mut **tx).await.map(drop),
        }
    }

    /// Makes everything durable.
    pub(crate) async fn commit(self) -> Outcome<()> {
        match self {
            Self::Sqlite(tx, place) => {
                let done = tx.commit().await;
                drop(place);
                done
            }
            Self::Postgres(tx) => tx.commit().await,
        }
    }

    /// Takes everything back, and waits until it is.
    pub(crate) async fn rollback(self) -> Outcome<()> {
        match self {
            Self::Sqlite(tx, place) => {
                let done = tx.rollback().await;
                drop(place);
                done
            }
            Self::Postgres(tx) => tx.rollback().await,
        }
    }
}

pub(super) fn bind_sqlite(
    sql: impl SqlSafeStr,
    args: Vec<Value>,
) -> Outcome<Query<'static, Sqlite, SqliteArguments>> {
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

pub(super) fn bind_postgres<'q>(
    sql: &'static str,
    args: Vec<Value>,
) -> Query<'q, Postgres, <Postgres as sqlx::Database>::Arguments> {
    args.into_iter().fold(sqlx::query(sql), |query, value| match value {
        Value::Int(int) => query.bind(int),
        Value::Text(text) => query.bind(text),
        Value::Bytes(bytes) => query.bind(bytes),
    })
}
