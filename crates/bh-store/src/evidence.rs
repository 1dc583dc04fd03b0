//! [`EvidenceStore`] on SQL.

use std::collections::HashMap;
use std::sync::Arc;

use bh_app::ports::{
    Appended, Batch, Checkpoint, Columns, EvidenceFilter, EvidenceStore, KeyRef, Purge, StoreResult,
    StoredContent, StoredHead, StoredRecord,
};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use crate::db::{Db, EVERYWHERE, Row, Value};
use crate::{SqlStore, append, now, purge, reaches, records, statements};

/// The fact that a probe writes: when there was one last, in milliseconds since 1970.
const PROBED: &str = "evidence_probed_ms";

impl EvidenceStore for SqlStore {
    fn heads(&self, nids: Vec<Nid>) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.run("read evidence heads", |db| async move { heads(&db, nids).await })
    }

    fn heads_everywhere(&self, scope: Scope) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.run("read all evidence heads", |db| async move {
            if scope.nid().is_some() {
                return Ok(HashMap::new());
            }
            db.fetch(&scope, statements::HEADS_EVERYWHERE, Vec::new()).await?.iter().map(head).collect()
        })
    }

    fn append(&self, batch: Arc<Batch>) -> StoreResult<Appended> {
        self.run("append evidence", |db| async move { append::append(&db, &batch).await })
    }

    fn probe(&self) -> StoreResult<()> {
        self.run("write beside the evidence", |db| async move {
            let mut tx = db.write_first().await?;
            tx.execute(
                statements::PROBE,
                vec![Nid::SYSTEM.into(), PROBED.into(), now().0.to_string().into()],
            )
            .await?;
            tx.commit().await
        })
    }

    fn records(&self, scope: Scope, filter: EvidenceFilter) -> StoreResult<Vec<StoredRecord>> {
        self.run("list evidence", |db| async move {
            let (sql, args) = records::list(&scope, &filter);
            db.fetch(&scope, sql, args).await?.iter().map(record).collect()
        })
    }

    fn record(&self, scope: Scope, id: String) -> StoreResult<Option<StoredRecord>> {
        self.run("read an evidence record", |db| async move {
            let reach = scope.nid().map_or_else(|| EVERYWHERE.into(), Value::from);
            let rows = db.fetch(&scope, statements::RECORD, vec![id.into(), reach]).await?;
            rows.first().map(record).transpose()
        })
    }

    fn chain(
        &self,
        scope: Scope,
        nid: Nid,
        first: u64,
        last: u64,
        limit: u32,
    ) -> StoreResult<Vec<StoredRecord>> {
        self.run("read an evidence chain", move |db| async move {
            let args = vec![nid.into(), first.into(), last.into(), limit.into()];
            fetch_of(&db, &scope, nid, statements::CHAIN, args).await?.iter().map(record).collect()
        })
    }

    fn leaf_hashes(&self, scope: Scope, nid: Nid, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.run("read leaf hashes", move |db| async move {
            let args = vec![nid.into(), first.into(), last.into()];
            let rows = fetch_of(&db, &scope, nid, statements::LEAF_HASHES, args).await?;
            rows.iter().map(|row| row.hash(0)).collect()
        })
    }

    fn nodes(&self, scope: Scope, nid: Nid, level: u8, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.run("read tree nodes", move |db| async move {
            let args = vec![nid.into(), u32::from(level).into(), first.into(), last.into()];
            let rows = fetch_of(&db, &scope, nid, statements::NODES, args).await?;
            rows.iter().map(|row| row.hash(0)).collect()
        })
    }

    fn checkpoint(&self, scope: Scope, nid: Nid) -> StoreResult<Option<Checkpoint>> {
        self.run("read a checkpoint", move |db| async move {
            let rows = fetch_of(&db, &scope, nid, statements::CHECKPOINT, vec![nid.into()]).await?;
            rows.first().map(|row| checkpoint(nid, row)).transpose()
        })
    }

    fn put_checkpoints(&self, checkpoints: Vec<Checkpoint>) -> StoreResult<()> {
        self.run("keep checkpoints", |db| async move {
            let row = |kept: Checkpoint| -> [Value; 4] {
                [kept.nid.into(), kept.size.into(), kept.note.into(), kept.at.into()]
            };
            let mut tx = db.write().await?;
            tx.execute_rows(&statements::ADD_CHECKPOINTS, checkpoints.into_iter().flat_map(row).collect())
                .await?;
            tx.commit().await
        })
    }

    fn contents(&self, scope: Scope, nid: Nid, record_id: String) -> StoreResult<Vec<StoredContent>> {
        self.run("read sealed contents", move |db| async move {
            let args = vec![nid.into(), record_id.into()];
            let rows = fetch_of(&db, &scope, nid, statements::CONTENTS, args).await?;
            rows.iter().map(content).collect()
        })
    }

    fn purge(&self, scope: Scope, nid: Nid, before: Timestamp, limit: u32) -> StoreResult<Option<Purge>> {
        self.run("remove old evidence", move |db| async move {
            if reaches(&scope, nid) { purge::purge(&db, nid, before, limit).await } else { Ok(None) }
        })
    }

    fn counts_since(&self, scope: Scope, nid: Option<Nid>, since: Timestamp) -> StoreResult<(u64, u64)> {
        self.run("count evidence", move |db| async move {
            let rows = match nid.or(scope.nid()) {
                Some(nid) => {
                    fetch_of(&db, &scope, nid, statements::COUNTS, vec![nid.into(), since.into()]).await?
                }
                None => db.fetch(&scope, statements::COUNTS_EVERYWHERE, vec![since.into()]).await?,
            };
            rows.first().map_or(Ok((0, 0)), |row| Ok((row.count(0)?, row.count(1)?)))
        })
    }
}

fn content(row: &Row) -> Result<StoredContent, sqlx::Error> {
    let key = match (row.optional_text(2)?, row.optional_int(3)?) {
        (Some(_), Some(_)) => Some(KeyRef { nid: row.nid(2)?, version: row.count(3)? }),
        (None, _) | (Some(_), None) => None,
    };
    Ok(StoredContent { kind: row.text(0)?, sealed: row.bytes(1)?, key })
}

/// Rows of one tenant; none when the scope does not reach it.
async fn fetch_of(
    db: &Db,
    scope: &Scope,
    nid: Nid,
    sql: &'static str,
    args: Vec<Value>,
) -> Result<Vec<Row>, sqlx::Error> {
    if reaches(scope, nid) { db.fetch(scope, sql, args).await } else { Ok(Vec::new()) }
}

/// The heads of these tenants, for whoever appends to them.
pub(crate) async fn heads(db: &Db, nids: Vec<Nid>) -> Result<HashMap<Nid, StoredHead>, sqlx::Error> {
    let mut tx = db.read(&Scope::system("append evidence")).await?;
    let rows = tx.fetch_rows(&statements::HEADS, nids.into_iter().map(Value::from).collect()).await?;
    tx.commit().await?;
    rows.iter().map(head).collect()
}

fn head(row: &Row) -> Result<(Nid, StoredHead), sqlx::Error> {
    Ok((row.nid(0)?, StoredHead { seq: row.count(1)?, leaf_hash: row.hash(2)?, frontier: row.bytes(3)? }))
}

fn record(row: &Row) -> Result<StoredRecord, sqlx::Error> {
    Ok(StoredRecord {
        nid: row.nid(0)?,
        seq: row.count(1)?,
        at: row.time(2)?,
        id: row.text(3)?,
        leaf_hash: row.hash(4)?,
        record: row.optional_text(5)?,
        columns: Columns {
            caller: row.text(6)?,
            invocation_type: row.text(7)?,
            allowed: row.int(8)? != 0,
            model: row.text(9)?,
            session_id: row.optional_text(10)?,
        },
    })
}

fn checkpoint(nid: Nid, row: &Row) -> Result<Checkpoint, sqlx::Error> {
    Ok(Checkpoint { nid, size: row.count(0)?, note: row.text(1)?, at: row.time(2)? })
}
