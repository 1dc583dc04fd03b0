//! PostgreSQL's LISTEN and NOTIFY.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool, PgPoolOptions};
use tokio::time::{sleep, timeout};

use super::tx::bind_postgres;
use super::{Db, Outcome, Tx};

const ANNOUNCE: &str = "SELECT pg_notify($1, $2)";
const CHECK: &str = "SELECT 1";
/// After this long without a message, whether the connection still stands is checked: a listener sends nothing, so it
/// would never find out that the other side is gone.
const CHECK_EVERY: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts to connect.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// What a listener hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It listens from now on; what was announced before may have been missed.
    Connected,
    /// An announcement.
    Message(String),
    /// It listens no more, until it is connected again.
    Lost,
}

impl Tx {
    /// Announces a text to every listener once the transaction commits; `false` where the database cannot.
    pub(crate) async fn announce(
        &mut self,
        channel: &'static str,
        text: impl FnOnce() -> String,
    ) -> Outcome<bool> {
        match self {
            Self::Sqlite(..) => Ok(false),
            Self::Postgres(tx) => {
                let args = vec![channel.into(), text().into()];
                bind_postgres(ANNOUNCE, args).execute(&mut **tx).await?;
                Ok(true)
            }
        }
    }
}

impl Db {
    /// Listens on a connection of its own until the database is closed; `None` where there is nothing to listen to.
    pub(crate) fn listen(
        &self,
        channel: &'static str,
        heard: impl FnMut(Heard) + Send + 'static,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        match self {
            Self::Sqlite { .. } => None,
            Self::Postgres(pool) => Some(until_closed(pool.clone(), channel, heard)),
        }
    }
}

async fn until_closed(served: PgPool, channel: &'static str, heard: impl FnMut(Heard) + Send) {
    // Not one of the pool's connections: there may be only one, and every call would wait for it forever.
    let own = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ANSWER_WITHIN)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_lazy_with((*served.connect_options()).clone());
    tokio::select! {
        () = served.close_event() => {}
        () = reconnecting(&own, channel, heard) => {}
    }
    // A connection that does not answer is dropped instead.
    timeout(ANSWER_WITHIN, own.close()).await.ok();
}

async fn reconnecting(own: &PgPool, channel: &'static str, mut heard: impl FnMut(Heard) + Send) {
    loop {
        let cause = listen(own, channel, &mut heard).await;
        heard(Heard::Lost);
        tracing::warn!(channel, cause = &cause as &dyn std::error::Error, "not listening; trying again");
        sleep(RETRY_AFTER).await;
    }
}

/// Listens for as long as the connection stands, and returns what broke it.
async fn listen(own: &PgPool, channel: &'static str, heard: &mut impl FnMut(Heard)) -> sqlx::Error {
    let mut listener = match connect(own, channel).await {
        Ok(listener) => listener,
        Err(cause) => return cause,
    };
    heard(Heard::Connected);
    loop {
        match timeout(CHECK_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(message))) => heard(Heard::Message(message.payload().to_owned())),
            Ok(Ok(None)) => return lost(),
            Ok(Err(cause)) => return cause,
            Err(_) => match timeout(ANSWER_WITHIN, sqlx::raw_sql(CHECK).execute(&mut listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(cause)) => return cause,
                Err(_) => return lost(),
            },
        }
    }
}

async fn connect(own: &PgPool, channel: &'static str) -> Outcome<PgListener> {
    let mut listener = PgListener::connect_with(own).await?;
    // What is lost must be told, so connecting again is done here.
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    Ok(listener)
}

fn lost() -> sqlx::Error {
    sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into())
}
