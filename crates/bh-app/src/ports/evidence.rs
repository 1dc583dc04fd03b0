//! The evidence log as the stories see it.

use std::collections::HashMap;
use std::sync::Arc;

use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::StoreResult;
use super::audit::AuditEvent;
use super::money::{Holder, SpendDelta};
use super::usage::UsageDelta;
use super::vault::KeyRef;

/// A sealed record and the columns that lists filter by.
#[derive(Clone, Debug)]
pub struct RecordRow {
    /// Tenant.
    pub nid: Nid,
    /// Position in the tenant's chain, from 1.
    pub seq: u64,
    /// Record id, unique within the tenant.
    pub id: String,
    /// The instant of the decision; budget windows go by it.
    pub at: Timestamp,
    /// RFC 6962 leaf hash of the record.
    pub leaf_hash: [u8; 32],
    /// Caller name (`agent_id` on the wire).
    pub caller: String,
    /// What kind of decision this was.
    pub invocation_type: String,
    /// Allowed or denied.
    pub allowed: bool,
    /// The model that served the call; empty when none did.
    pub model: String,
    /// Session, when one was asserted.
    pub session_id: Option<String>,
    /// Canonical JSON, signature included.
    pub record: Arc<str>,
}

/// A tenant's chain after a batch. Applied only if the stored head is still at `from_seq`.
#[derive(Clone, Debug)]
pub struct HeadUpdate {
    /// Tenant.
    pub nid: Nid,
    /// The head this batch was sealed on; 0 for an empty chain.
    pub from_seq: u64,
    /// The head after it.
    pub to_seq: u64,
    /// Leaf hash of record `to_seq`.
    pub leaf_hash: [u8; 32],
    /// `Frontier::to_bytes` of the tree with `to_seq` leaves.
    pub frontier: Vec<u8>,
}

/// A stored head.
#[derive(Clone, Debug)]
pub struct StoredHead {
    /// Number of records; the seq of the last one.
    pub seq: u64,
    /// Leaf hash of the last record.
    pub leaf_hash: [u8; 32],
    /// `Frontier::to_bytes` at that size.
    pub frontier: Vec<u8>,
}

/// A completed interior node of a tenant's tree, at level 8, 16 or 24.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// Tenant.
    pub nid: Nid,
    /// Height above the leaves.
    pub level: u8,
    /// Index among the nodes of its level, from 0.
    pub index: u64,
    /// Subtree hash.
    pub hash: [u8; 32],
}

/// A prompt or answer kept because the configuration asks for it; sealed before it gets here.
#[derive(Clone, Debug)]
pub struct ContentRow {
    /// Tenant.
    pub nid: Nid,
    /// The record it belongs to.
    pub record_id: String,
    /// `prompt` or `answer`.
    pub kind: &'static str,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    /// The data key that seals it.
    pub key: Option<KeyRef>,
}

/// A kept prompt or answer, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredContent {
    /// `prompt` or `answer`.
    pub kind: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
    /// The data key that seals it; `None` for the installation's own, as it was before tenants had data keys.
    pub key: Option<KeyRef>,
}

/// Everything that becomes durable together: one transaction, one fsync.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The process that commits.
    pub holder: Holder,
    /// Records, in chain order within each tenant.
    pub records: Vec<RecordRow>,
    /// One per tenant in `records`.
    pub heads: Vec<HeadUpdate>,
    /// Tree nodes completed by this batch.
    pub nodes: Vec<NodeRow>,
    /// Money and tokens, already added up per caller and day, and per session.
    pub spend: Vec<SpendDelta>,
    /// Usage, already added up per row of the ledger.
    pub usage: Vec<UsageDelta>,
    /// What audit trails tell of it.
    pub audit: Vec<(Nid, AuditEvent)>,
    /// Sealed content.
    pub contents: Vec<ContentRow>,
    /// Whether others may have the core in the middle of the work: while few calls are under way and none waits for this
    /// batch, a commit in one piece is what the next call would notice most.
    pub gentle: bool,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// All of it is durable.
    Durable,
    /// None of it: another process has moved these tenants' heads. Re-read and seal again.
    Stale(Vec<Nid>),
}

/// A signed note over a tenant's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Tenant.
    pub nid: Nid,
    /// Tree size it covers.
    pub size: u64,
    /// The signed note's text.
    pub note: String,
    /// When it was signed.
    pub at: Timestamp,
}

/// A place in a list, for keyset cursors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Instant of the record.
    pub at: Timestamp,
    /// Its tenant.
    pub nid: Nid,
    /// Its seq.
    pub seq: u64,
}

/// Which records a list wants. The scope bounds it; no filter can widen it.
#[derive(Clone, Debug, Default)]
pub struct EvidenceFilter {
    /// Caller name.
    pub caller: Option<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// Only allowed, or only denied.
    pub allowed: Option<bool>,
    /// Model.
    pub model: Option<String>,
    /// Kind of decision.
    pub invocation_type: Option<String>,
    /// Session.
    pub session_id: Option<String>,
    /// Start after this place (in the list's direction).
    pub after: Option<Position>,
    /// Oldest first instead of newest first.
    pub oldest_first: bool,
    /// At most this many.
    pub limit: u32,
}

/// A record as stored.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// Tenant.
    pub nid: Nid,
    /// Position in the chain.
    pub seq: u64,
    /// Instant of the decision.
    pub at: Timestamp,
    /// Record id.
    pub id: String,
    /// Leaf hash; survives retention.
    pub leaf_hash: [u8; 32],
    /// Canonical JSON; `None` once retention has removed it.
    pub record: Option<String>,
    /// What lists filter by, as stored beside it.
    pub columns: Columns,
}

/// The columns of a record's row that lists filter by. They are copies of what the record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Caller name.
    pub caller: String,
    /// Kind of decision.
    pub invocation_type: String,
    /// Allowed or denied.
    pub allowed: bool,
    /// The model that served the call.
    pub model: String,
    /// Session.
    pub session_id: Option<String>,
}

/// What one round of retention did for one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Tenant.
    pub nid: Nid,
    /// Records whose content was removed.
    pub removed: u64,
    /// The first of them.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
}

/// The append-only evidence log of all tenants.
///
/// Methods that take a [`Scope`] return nothing outside it; a foreign id is simply absent.
pub trait EvidenceStore: Send + Sync + 'static {
    /// The heads of these tenants; a tenant without records is absent.
    fn heads(&self, nids: Vec<Nid>) -> StoreResult<HashMap<Nid, StoredHead>>;
    /// Every tenant's head, for checkpoints. System jobs only.
    fn heads_everywhere(&self, scope: Scope) -> StoreResult<HashMap<Nid, StoredHead>>;
    /// Makes a batch durable, whole or not at all. Appending the same batch twice is `Stale`, never double.
    fn append(&self, batch: Arc<Batch>) -> StoreResult<Appended>;
    /// A durable write beside the evidence: whether the store takes writes at all.
    fn probe(&self) -> StoreResult<()>;
    /// Records that match, in order of (instant, nid, seq), newest first unless asked otherwise.
    fn records(&self, scope: Scope, filter: EvidenceFilter) -> StoreResult<Vec<StoredRecord>>;
    /// One record by id.
    fn record(&self, scope: Scope, id: String) -> StoreResult<Option<StoredRecord>>;
    /// Records `first..=last` of one tenant's chain, in chain order, at most `limit`.
    fn chain(
        &self,
        scope: Scope,
        nid: Nid,
        first: u64,
        last: u64,
        limit: u32,
    ) -> StoreResult<Vec<StoredRecord>>;
    /// Leaf hashes of records `first..=last` (1-based seq), in order.
    fn leaf_hashes(&self, scope: Scope, nid: Nid, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>>;
    /// Tree nodes of one level, indices `first..=last`, in order.
    fn nodes(&self, scope: Scope, nid: Nid, level: u8, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>>;
    /// The newest checkpoint of a tenant.
    fn checkpoint(&self, scope: Scope, nid: Nid) -> StoreResult<Option<Checkpoint>>;
    /// Keeps checkpoints. One of the same tenant and size is kept once.
    fn put_checkpoints(&self, checkpoints: Vec<Checkpoint>) -> StoreResult<()>;
    /// Sealed contents of one record, by kind.
    fn contents(&self, scope: Scope, nid: Nid, record_id: String) -> StoreResult<Vec<StoredContent>>;
    /// Removes the content of at most `limit` records older than `before` from one tenant, leaving hash and
    /// position (a tombstone), oldest first.
    fn purge(&self, scope: Scope, nid: Nid, before: Timestamp, limit: u32) -> StoreResult<Option<Purge>>;
    /// Number of records of a tenant since an instant: (all, denied).
    fn counts_since(&self, scope: Scope, nid: Option<Nid>, since: Timestamp) -> StoreResult<(u64, u64)>;
}
