//! Connecting to PostgreSQL.

use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use crate::open::{Access, Options};

const CONNECT_MAX: Duration = Duration::from_secs(10);
const IDLE_MAX: Duration = Duration::from_secs(300);
const STATEMENTS_MAX: usize = 128;
/// Limits the server enforces on each of our sessions, in milliseconds. A statement that waits longer than this
/// has lost its caller anyway.
const SESSION_LIMITS: [(&str, &str); 3] = [
    ("statement_timeout", "30000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "30000"),
];

/// What a reader's session is told on top.
const READ_ONLY: [(&str, &str); 1] = [("default_transaction_read_only", "on")];

/// Opens a bounded pool and its first connection; lost connections are replaced on the next call.
pub(super) async fn open(connect: &PgConnectOptions, options: &Options) -> Result<PgPool, sqlx::Error> {
    let connect = connect
        .clone()
        .application_name("bulkhead")
        .options(SESSION_LIMITS)
        .statement_cache_capacity(STATEMENTS_MAX)
        .disable_statement_logging();
    let connect = match options.access {
        Access::Own => connect,
        Access::Read => connect.options(READ_ONLY),
    };
    PgPoolOptions::new()
        .max_connections(options.connections_max.max(1))
        .acquire_timeout(CONNECT_MAX)
        .idle_timeout(IDLE_MAX)
        // A connection that broke while idle is replaced unnoticed.
        .test_before_acquire(true)
        .connect_with(connect)
        .await
}
