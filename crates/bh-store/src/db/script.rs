//! Several statements in one trip to SQLite's thread. Of what a small transaction costs, trips are most: each wakes two
//! threads.

use std::sync::atomic::AtomicBool;

use sqlx::AssertSqlSafe;
use sqlx::error::ErrorKind;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{Sqlite, SqlitePool};

use super::{Bulk, Form, Gently, Outcome, Value, WRITE_SQLITE, bind_sqlite};

/// Arguments of statements that share a trip: some 128 records. SQLite keeps 80 bytes for each argument of each
/// combination of statements, and those of large batches come in many combinations; a trip more costs them nothing.
const ARGS_MAX: usize = 2_048;

/// A bulk statement and its rows, laid end to end.
pub(crate) type Part = (&'static Bulk, Vec<Value>);

/// How many rows a part has.
pub(super) fn rows_of((bulk, values): &Part) -> usize {
    values.len() / bulk.columns
}

/// Rows of one bulk statement that wait for their turn.
pub(super) struct Rows {
    bulk: &'static Bulk,
    values: std::vec::IntoIter<Value>,
    pub(super) left: usize,
}

impl Rows {
    pub(super) fn new(part: Part) -> Self {
        let left = rows_of(&part);
        Self { bulk: part.0, values: part.1.into_iter(), left }
    }

    /// The statement for the next rows, whose values it appends to `args`; `None` when there are no more.
    pub(super) fn next(&mut self, form: Form, args: &mut Vec<Value>) -> Option<&'static str> {
        let sized = self.bulk.next(form, self.left)?;
        let taken = sized.rows.min(self.left);
        args.extend(self.values.by_ref().take(taken * self.bulk.columns));
        args.extend(std::iter::repeat_n(Value::Int(None), (sized.rows - taken) * self.bulk.columns));
        self.left -= taken;
        Some(sized.text)
    }
}

/// Statements that run in one trip, and their arguments in order.
#[derive(Default)]
pub(super) struct Script {
    pub(super) texts: Vec<&'static str>,
    pub(super) args: Vec<Value>,
}

impl Script {
    /// As much of what is left as one trip takes: on PostgreSQL, which prepares statements one by one, one of them.
    pub(super) fn next(form: Form, parts: &mut [Rows]) -> Option<Self> {
        let mut script = Self::default();
        for part in parts {
            while let Some(text) = part.next(form, &mut script.args) {
                script.texts.push(text);
                if form == Form::Exact || script.args.len() >= ARGS_MAX {
                    return Some(script);
                }
            }
        }
        Some(script).filter(|script| !script.texts.is_empty())
    }

    /// All the statements as one text. Joining them anew costs less than keeping every combination that comes up.
    pub(super) fn text(&self) -> AssertSqlSafe<String> {
        // Safe: constants only.
        AssertSqlSafe(self.texts.join(";"))
    }
}

/// Whether a transaction of these parts, the first in one statement, fits into one trip.
pub(super) fn fits(first: &Part, rest: &[Part]) -> bool {
    let args: usize = rest.iter().chain([first]).map(|(_, values)| values.len()).sum();
    let one = first.0.next(Form::Padded, rows_of(first)).is_some_and(|sized| sized.rows >= rows_of(first));
    one && args <= ARGS_MAX
}

/// A whole transaction in one trip; returns whether `first` changed all its rows, else nothing has changed. Written gently
/// where a flag is given.
pub(super) async fn commit_if_all<const N: usize>(
    writer: &SqlitePool,
    first: Part,
    unless_all: &'static str,
    rest: [Part; N],
    gentle: Option<&AtomicBool>,
) -> Outcome<bool> {
    let given = rows_of(&first) as u64;
    let mut script = Script { texts: vec![WRITE_SQLITE], args: Vec::new() };
    let mut part = Rows::new(first);
    script.texts.extend(part.next(Form::Padded, &mut script.args));
    script.texts.push(unless_all);
    script.args.push(given.into());
    for mut part in rest.map(Rows::new) {
        while let Some(text) = part.next(Form::Padded, &mut script.args) {
            script.texts.push(text);
        }
    }
    script.texts.push("COMMIT");
    let query = bind_sqlite(script.text(), script.args)?;
    let mut connection = InTransaction(Some(writer.acquire().await?));
    let gently = gentle.map(Gently::now);
    let done = query.execute(connection.get()?).await;
    drop(gently);
    match done {
        Ok(_) => {
            connection.ended();
            Ok(true)
        }
        Err(error) => {
            connection.close().await;
            let refused = error.as_database_error().map(sqlx::error::DatabaseError::kind);
            if matches!(refused, Some(ErrorKind::NotNullViolation)) { Ok(false) } else { Err(error) }
        }
    }
}

/// A connection that the driver does not know to be in a transaction: unless that has ended it is closed, which takes
/// everything back, and never used again.
struct InTransaction(Option<PoolConnection<Sqlite>>);

impl InTransaction {
    fn get(&mut self) -> Outcome<&mut sqlx::SqliteConnection> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    fn ended(mut self) {
        self.0.take();
    }

    async fn close(mut self) {
        if let Some(connection) = self.0.take() {
            // What went wrong before is told; that it does not end in order either is no news.
            connection.close().await.ok();
        }
    }
}

impl Drop for InTransaction {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}
