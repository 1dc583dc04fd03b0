//! Memory that replicas share, and may lose at any time.

use std::time::Duration;

use super::BoxFuture;

/// Shared memory that did not answer.
#[derive(Debug, thiserror::Error)]
#[error("the shared memory did not answer")]
pub struct SharedFault(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What came of asking shared memory.
pub type SharedResult<T> = BoxFuture<'static, Result<T, SharedFault>>;

/// Memory that replicas share. Whoever can write there is not believed: what is read is to be proven by the reader.
pub trait SharedMemory: Send + Sync + 'static {
    /// What is kept under each of some names, in order.
    fn get(&self, names: Vec<String>) -> SharedResult<Vec<Option<Vec<u8>>>>;
    /// Keeps something for so long.
    fn put(&self, name: String, value: Vec<u8>, ttl: Duration) -> SharedResult<()>;
    /// Forgets what is kept under a name, and tells all who listen there.
    fn forget(&self, name: String, news: String) -> SharedResult<()>;
    /// Calls `heard` with the news of others until the connection is lost, or could not be made.
    fn listen(&self, heard: Box<dyn Fn(&str) + Send + Sync>) -> SharedResult<()>;
}
