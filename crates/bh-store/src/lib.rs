//! The store: SQL on SQLite and PostgreSQL, one set of statements (`spec/architecture.md`, Data).
//!
//! [`SqlStore`] implements the store ports of bh-app. Only the `db` module knows that there are two databases; the
//! statements are constants whose text both accept, and every table starts with the tenant. PostgreSQL repeats the
//! tenant rule with row-level security.
//!
//! What becomes durable together is one transaction: records, heads, tree nodes and spending of a whole batch.

mod append;
mod budgets;
mod db;
mod evidence;
mod keyless;
mod keys;
mod leases;
mod ledger;
mod migrate;
mod open;
mod outbox;
mod purge;
mod records;
mod statements;
mod talos;
mod tenants;
#[cfg(test)]
mod tests;
mod tools;
mod usage;
mod vault;

use std::sync::Arc;

use bh_app::ports::{Overdue, StoreFault, StoreResult};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

pub use migrate::VERSION as SCHEMA_VERSION;
pub use open::{Access, CONNECTIONS_DEFAULT, OpenFault, Options};
pub use talos::{TALOS_PAGE_KEYS, TalosDb, TalosFault, TalosKey};

use db::Db;
use keys::Feed;
use open::Place;

/// What the databases call a lock that was waited for too long, and a statement that took too long: SQLite's busy codes,
/// PostgreSQL's `lock_not_available` and `query_canceled`.
const OVERDUE: [&str; 5] = ["5", "517", "773", "55P03", "57014"];

/// A store on SQLite or PostgreSQL. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqlStore(Arc<Db>, Arc<Feed>);

/// Opens the store at a path, `sqlite:PATH` or `postgres://…`; a gateway also creates and migrates it.
///
/// # Errors
/// [`OpenFault`] names the place and what is wrong with it.
pub async fn open(url: &str, options: Options) -> Result<SqlStore, OpenFault> {
    let place = Place::parse(url)?;
    let db = Db::open(&place, &options).await?;
    match migrate::run(&db, &place, options.access).await {
        Ok(()) => Ok(SqlStore(Arc::new(db), Arc::new(Feed::new()))),
        Err(fault) => {
            db.close().await;
            Err(fault)
        }
    }
}

impl SqlStore {
    /// Waits for calls under way, writes SQLite's log back into its file and closes every connection.
    pub async fn close(&self) {
        self.0.close().await;
        self.1.close().await;
    }

    /// Runs a port method's work, and gives its fault the name of the step.
    fn run<T, F>(&self, step: &'static str, work: impl FnOnce(Arc<Db>) -> F) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    {
        let work = work(Arc::clone(&self.0));
        Box::pin(async move {
            work.await.map_err(|cause| {
                let overdue = is_overdue(&cause);
                let cause = Box::new(cause);
                StoreFault { step, cause: if overdue { Box::new(Overdue(cause)) } else { cause } }
            })
        })
    }
}

/// Whether all that is wrong is that somebody was waited for too long: a connection, a lock, a statement's end.
fn is_overdue(cause: &sqlx::Error) -> bool {
    let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
    matches!(cause, sqlx::Error::PoolTimedOut) || code.is_some_and(|code| OVERDUE.contains(&&*code))
}

/// Whether `scope` reaches this tenant's rows.
fn reaches(scope: &Scope, nid: Nid) -> bool {
    scope.nid().is_none_or(|own| own == nid)
}

/// The wall clock, for columns that only say when the store did something.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
