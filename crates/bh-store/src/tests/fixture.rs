//! Stores to test on, and rows to put in.

use std::sync::Arc;

use bh_app::ports::{
    Appended, Batch, EvidenceStore as _, HeadUpdate, Holder, RecordRow, SpendDelta, StoredRecord,
};
use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use bh_testkit::{Database, Postgres, Store};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{Options, SqlStore, open};

/// Makes the schema look as a later program would leave it.
pub(crate) const NEWER: &str = "UPDATE schema_migrations SET version = 1000 \
    WHERE version = (SELECT MAX(version) FROM schema_migrations)";

/// A store of this test's own, and what keeps it alive.
pub(crate) struct Fixture {
    pub(crate) store: SqlStore,
    pub(crate) url: String,
    pub(crate) database: Option<Database>,
    _directory: Option<TempDir>,
}

impl Fixture {
    pub(crate) async fn new(kind: Store) -> Self {
        match kind {
            Store::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                let url = format!("sqlite:{}", directory.path().join("data/bulkhead.db").display());
                let store = open(&url, Options::default()).await.unwrap();
                Self { store, url, database: None, _directory: Some(directory) }
            }
            Store::Postgres => {
                let database = Postgres::shared().fresh_database();
                let url = database.url();
                let store = open(&url, Options::default()).await.unwrap();
                Self { store, url, database: Some(database), _directory: None }
            }
        }
    }

    /// What another process would have: on PostgreSQL a pool of its own.
    pub(crate) async fn another_process(&self) -> SqlStore {
        if self.database.is_some() {
            open(&self.url, Options::default()).await.unwrap()
        } else {
            self.store.clone()
        }
    }

    /// The number that a query answers with.
    pub(crate) async fn count(&self, query: &'static str) -> u64 {
        self.store.0.fetch(&system(), query, Vec::new()).await.unwrap()[0].count(0).unwrap()
    }

    /// Appends records to one tenant whose head is at `from_seq`.
    pub(crate) async fn append(&self, records: Vec<RecordRow>) -> Appended {
        self.store.append(Arc::new(batch(records))).await.unwrap()
    }
}

pub(crate) fn nid(low: u128) -> Nid {
    Nid(Uuid::from_u128(low))
}

pub(crate) fn holder(low: u128) -> Holder {
    Holder(Uuid::from_u128(low))
}

pub(crate) fn system() -> Scope {
    Scope::system("test")
}

/// An allowed record of a tenant, made at an instant.
pub(crate) fn record(nid: Nid, seq: u64, at_ms: i64) -> RecordRow {
    RecordRow {
        nid,
        seq,
        id: format!("req_{}_{seq}", nid.0.simple()),
        at: Timestamp(at_ms),
        leaf_hash: leaf(seq),
        caller: "web".to_owned(),
        invocation_type: "llm".to_owned(),
        allowed: true,
        model: "gpt-5".to_owned(),
        session_id: None,
        record: format!(r#"{{"seq":{seq}}}"#).into(),
    }
}

pub(crate) fn leaf(seq: u64) -> [u8; 32] {
    let mut hash = [0xab; 32];
    hash[..8].copy_from_slice(&seq.to_be_bytes());
    hash
}

/// A batch of these records with the heads that go with them.
pub(crate) fn batch(records: Vec<RecordRow>) -> Batch {
    let mut heads: Vec<HeadUpdate> = Vec::new();
    for record in &records {
        match heads.iter_mut().find(|head| head.nid == record.nid) {
            Some(head) => (head.to_seq, head.leaf_hash) = (record.seq, record.leaf_hash),
            None => heads.push(HeadUpdate {
                nid: record.nid,
                from_seq: record.seq - 1,
                to_seq: record.seq,
                leaf_hash: record.leaf_hash,
                frontier: vec![7; 32],
            }),
        }
    }
    Batch { holder: holder(1), records, heads, ..Batch::default() }
}

pub(crate) fn spent(nid: Nid, owner: Owner, window: &str, cost: i64) -> SpendDelta {
    SpendDelta {
        nid,
        owner,
        window: window.to_owned(),
        calls: 1,
        denied: 2,
        failed: 3,
        tokens: TokenCounts { input: 4, output: 5, cache_read: 6, cache_write: 7, reasoning: 8 },
        cost: NanoUsd(cost),
    }
}

pub(crate) fn caller(name: &str) -> Owner {
    Owner::Caller(name.to_owned())
}

pub(crate) fn places(records: &[StoredRecord]) -> Vec<(Nid, u64)> {
    records.iter().map(|record| (record.nid, record.seq)).collect()
}
