//! Who still calls without a key while the migration window is open.

use std::net::IpAddr;

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::StoreResult;

/// Calls without a key from one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeylessCaller {
    /// Where they came from; `None` for all addresses that are not told apart any more.
    pub address: Option<IpAddr>,
    /// How many.
    pub calls: u64,
    /// The first.
    pub first: Timestamp,
    /// The last.
    pub last: Timestamp,
}

/// Counts of calls without a key.
pub trait KeylessStore: Send + Sync + 'static {
    /// Adds to what is counted. System jobs only.
    fn add_keyless(&self, scope: Scope, grown: Vec<(Nid, KeylessCaller)>) -> StoreResult<()>;
    /// What is counted: of one tenant, or of all.
    fn keyless(&self, scope: Scope) -> StoreResult<Vec<(Nid, KeylessCaller)>>;
}
