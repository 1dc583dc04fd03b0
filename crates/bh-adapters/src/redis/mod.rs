//! Redis: one connection that all of a process shares, made when it is first needed and made again when it is lost.

mod counts;
mod memory;

use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};
use secrecy::{ExposeSecret, SecretString};

pub use ::redis::RedisError as RedisFault;
pub use counts::RedisCounts;
pub use memory::RedisMemory;

/// Attempts to connect again for one command; the next command tries anew.
const RETRIES: usize = 1;

/// Where a Redis server is, and who asks.
#[derive(Clone, Debug)]
pub struct RedisServer {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Number of the database.
    pub db: u8,
    /// User; without one, the server's default user.
    pub username: Option<String>,
    /// Password.
    pub password: Option<SecretString>,
    /// Whether the connection is encrypted, with a certificate of a public authority.
    pub tls: bool,
    /// How long a connection, and a command, may take.
    pub timeout: Duration,
}

/// A shared connection to a server.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    manager: ConnectionManager,
    timeout: Duration,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// A connection that is made with the first command. To be called on the runtime.
    ///
    /// # Errors
    /// When the settings are of no server.
    pub fn new(server: &RedisServer) -> Result<Self, RedisFault> {
        let (host, port) = (server.host.clone(), server.port);
        let address = if server.tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let mut asker = RedisConnectionInfo::default().set_db(i64::from(server.db));
        if let Some(username) = &server.username {
            asker = asker.set_username(username);
        }
        if let Some(password) = &server.password {
            asker = asker.set_password(password.expose_secret());
        }
        let client = Client::open(address.into_connection_info()?.set_redis_settings(asker))?;
        Self::through(client, server.timeout)
    }

    /// As [`Redis::new`], of `redis://[user:password@]host[:port][/db]`; `rediss` for an encrypted connection.
    ///
    /// # Errors
    /// When the URL is of no server.
    pub fn at(url: &SecretString, timeout: Duration) -> Result<Self, RedisFault> {
        Self::through(Client::open(url.expose_secret())?, timeout)
    }

    fn through(client: Client, timeout: Duration) -> Result<Self, RedisFault> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(timeout))
            .set_response_timeout(Some(timeout))
            .set_number_of_retries(RETRIES);
        let manager = ConnectionManager::new_lazy_with_config(client.clone(), config)?;
        Ok(Self { client, manager, timeout })
    }
}
