//! Memory that replicas share, and may lose at any time.

use std::time::Duration;

use bh_domain::limit::RateLimit;

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

/// One of the limits that a request counts against, and the name that its count goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedLimit {
    /// The count's name.
    pub name: String,
    /// The limit; its period is at most a day.
    pub limit: RateLimit,
    /// Nanoseconds until what this process has let in under it has come back: what counts where nothing is counted yet.
    pub own_ns: u64,
}

/// Counts that replicas share.
pub trait SharedCounts: Send + Sync + 'static {
    /// Takes one request from all of some limits, or from none when one of them refuses it, as
    /// [`RateLimit::decide`] has it, in one step. Answers for each, in order, how long it would have taken until its
    /// allowance was whole again, in nanoseconds, before the request. A count ends by itself with its allowance whole.
    fn take(&self, limits: Vec<SharedLimit>) -> SharedResult<Vec<u64>>;
}
