//! The hot path: a whole batch of evidence and money in one transaction (issue section 6, group commit).

use std::sync::Arc;

use bh_app::ports::{Appended, Batch, ContentRow, HeadUpdate, NodeRow, RecordRow, SpendDelta};
use bh_domain::tenant::Nid;

use crate::db::{Db, Value, uuid_text};
use crate::evidence::heads;
use crate::keys::audit;
use crate::keys::statements::trail;
use crate::statements;
use crate::usage::{self, late};

/// Makes a batch durable, whole or not at all.
pub(crate) async fn append(db: &Db, batch: &Batch) -> Result<Appended, sqlx::Error> {
    let used = late::counted(db, &batch.usage).await?;
    // First of all: whoever has moved a head makes the rest pointless, and waiting for its row costs least here.
    let heads = (&statements::ADVANCE_HEADS, head_values(&batch.heads));
    let rest = [
        (&statements::ADD_SPEND, spend_values(batch)),
        (&usage::statements::ADD, usage::values(batch.holder, &used)),
        (&statements::ADD_NODES, node_values(&batch.nodes)),
        (&statements::ADD_CONTENTS, content_values(&batch.contents)),
        (&trail::ADD_EVENTS, audit::values_of(&batch.audit)),
        (&statements::ADD_RECORDS, record_values(&batch.records)),
    ];
    if db.write_if_all(heads, statements::UNLESS_ADVANCED, rest, batch.gentle).await? {
        Ok(Appended::Durable)
    } else {
        stale(db, &batch.heads).await
    }
}

/// The tenants whose head is not where the batch was sealed. Heads only grow: what moved stays moved.
async fn stale(db: &Db, updates: &[HeadUpdate]) -> Result<Appended, sqlx::Error> {
    let stored = heads(db, updates.iter().map(|update| update.nid).collect()).await?;
    let at = |nid: Nid| stored.get(&nid).map_or(0, |head| head.seq);
    let moved = updates.iter().filter(|update| at(update.nid) != update.from_seq);
    let moved: Vec<Nid> = moved.map(|update| update.nid).collect();
    if moved.is_empty() {
        // Then it was something else that the database refused.
        return Err(sqlx::Error::Protocol("a batch was refused although no head has moved".to_owned()));
    }
    Ok(Appended::Stale(moved))
}

/// In order of tenant: two processes then lock shared heads in the same order, and never wait in a circle.
fn head_values(heads: &[HeadUpdate]) -> Vec<Value> {
    let mut sorted: Vec<&HeadUpdate> = heads.iter().collect();
    sorted.sort_unstable_by_key(|head| head.nid);
    let row = |head: &HeadUpdate| -> [Value; 5] {
        [
            head.nid.into(),
            head.from_seq.into(),
            head.to_seq.into(),
            head.leaf_hash.into(),
            head.frontier.as_slice().into(),
        ]
    };
    sorted.into_iter().flat_map(row).collect()
}

fn record_values(records: &[RecordRow]) -> Vec<Value> {
    let mut nid = NidText::default();
    let row = |record: &RecordRow| -> [Value; 11] {
        [
            nid.of(record.nid),
            record.seq.into(),
            record.id.as_str().into(),
            record.at.into(),
            record.leaf_hash.into(),
            record.caller.as_str().into(),
            record.invocation_type.as_str().into(),
            record.allowed.into(),
            record.model.as_str().into(),
            (&record.session_id).into(),
            (&record.record).into(),
        ]
    };
    records.iter().flat_map(row).collect()
}

/// The text of a tenant's network id, made once for the records that follow each other.
#[derive(Default)]
struct NidText(Option<(Nid, Arc<str>)>);

impl NidText {
    fn of(&mut self, nid: Nid) -> Value {
        let (_, text) = match self.0.take() {
            Some(kept) if kept.0 == nid => self.0.insert(kept),
            Some(_) | None => self.0.insert((nid, uuid_text(nid.0))),
        };
        Value::from(&*text)
    }
}

fn node_values(nodes: &[NodeRow]) -> Vec<Value> {
    let row = |node: &NodeRow| -> [Value; 4] {
        [node.nid.into(), u32::from(node.level).into(), node.index.into(), node.hash.into()]
    };
    nodes.iter().flat_map(row).collect()
}

fn spend_values(batch: &Batch) -> Vec<Value> {
    let holder: Arc<str> = uuid_text(batch.holder.0);
    let row = |delta: &SpendDelta| -> [Value; 13] {
        [
            delta.nid.into(),
            delta.owner.key().into(),
            delta.window.as_str().into(),
            (&holder).into(),
            delta.calls.into(),
            delta.denied.into(),
            delta.failed.into(),
            delta.tokens.input.into(),
            delta.tokens.output.into(),
            delta.tokens.cache_read.into(),
            delta.tokens.cache_write.into(),
            delta.tokens.reasoning.into(),
            delta.cost.into(),
        ]
    };
    batch.spend.iter().flat_map(row).collect()
}

fn content_values(contents: &[ContentRow]) -> Vec<Value> {
    let row = |content: &ContentRow| -> [Value; 6] {
        [
            content.nid.into(),
            content.record_id.as_str().into(),
            content.kind.into(),
            content.sealed.as_slice().into(),
            content.key.map_or(Value::Text(None), |key| key.nid.into()),
            content.key.map_or(Value::Int(None), |key| key.version.into()),
        ]
    };
    contents.iter().flat_map(row).collect()
}
