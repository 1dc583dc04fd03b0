//! Inserting keys: once for each request, and no more than a quota admits.

use std::collections::{HashMap, HashSet};

use bh_app::ports::{AuditEvent, INSERT_MANY_MAX, Inserted, KeyChange};
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::tenant::{Nid, Scope};

use super::feed::Feed;
use super::{Outcome, audit, counts, read, row};
use crate::db::{Db, Tx};

/// Inserts one key. A quota that seems used up is counted anew before that is said.
pub(super) async fn one(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    key: &Key,
    max: Option<u64>,
    event: &AuditEvent,
) -> Outcome<Inserted> {
    let inserted = try_one(db, feed, nid, key, max, event).await?;
    match inserted {
        Inserted::QuotaExceeded { .. } if counts::correct(db, nid).await? => {
            try_one(db, feed, nid, key, max, event).await
        }
        Inserted::QuotaExceeded { .. } | Inserted::Created | Inserted::Replayed(_) | Inserted::Exists => {
            Ok(inserted)
        }
    }
}

async fn try_one(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    key: &Key,
    max: Option<u64>,
    event: &AuditEvent,
) -> Outcome<Inserted> {
    let mut tx = db.write().await?;
    let change = i64::from(key.counts());
    let live = counts::add(&mut tx, nid, change).await?;
    let added = tx.execute_rows(row::table(key.kind).add, row::values(nid, key)?).await?;
    if added == 0 {
        let requests = key.request_id.iter();
        let there = read::made_by(&mut tx, nid, key.kind, requests).await?.pop();
        tx.rollback().await?;
        return Ok(there.map_or(Inserted::Exists, |stored| Inserted::Replayed(Box::new(stored))));
    }
    if max.is_some_and(|max| live > max) && key.counts() {
        tx.rollback().await?;
        return Ok(Inserted::QuotaExceeded { used: live - 1 });
    }
    audit::add(&mut tx, nid, [event]).await?;
    feed.commit(tx, [KeyChange::Made { nid, key_id: key.key_id.clone() }]).await?;
    Ok(Inserted::Created)
}

/// Inserts keys of one kind, as many as there is room for.
pub(super) async fn many(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    keys: Vec<(Key, AuditEvent)>,
    max: Option<u64>,
) -> Outcome<Vec<Inserted>> {
    let kind = keys.first().map_or(KeyKind::Imported, |(key, _)| key.kind);
    if keys.len() > INSERT_MANY_MAX || keys.iter().any(|(key, _)| key.kind != kind) {
        let wanted = format!("at most {INSERT_MANY_MAX} keys of one kind are inserted at once");
        return Err(sqlx::Error::InvalidArgument(wanted));
    }
    // Counting anew is for whoever may not have room, and must be over before the transaction starts.
    if let Some(max) = max {
        let live = counts::live(db, &Scope::tenant(nid), nid).await?;
        if live + keys.len() as u64 > max {
            counts::correct(db, nid).await?;
        }
    }
    let mut tx = db.write().await?;
    let live = counts::add(&mut tx, nid, 0).await?;
    let there = There::read(&mut tx, nid, kind, &keys).await?;
    let answers = decide(&keys, there, live, max);
    let created: Vec<&(Key, AuditEvent)> = keys
        .iter()
        .zip(&answers)
        .filter_map(|(key, answer)| matches!(answer, Inserted::Created).then_some(key))
        .collect();
    if created.is_empty() {
        tx.rollback().await?;
        return Ok(answers);
    }
    store(&mut tx, nid, kind, &created).await?;
    feed.commit(tx, [KeyChange::Tenant(nid)]).await?;
    Ok(answers)
}

async fn store(tx: &mut Tx, nid: Nid, kind: KeyKind, created: &[&(Key, AuditEvent)]) -> Outcome<()> {
    let mut rows = Vec::new();
    for (key, _) in created {
        rows.extend(row::values(nid, key)?);
    }
    let added = tx.execute_rows(row::table(kind).add, rows).await?;
    if added != created.len() as u64 {
        // Nobody adds a tenant's keys without holding its number, unless by hand.
        return Err(sqlx::Error::Protocol("keys appeared while others were inserted".to_owned()));
    }
    let live = created.iter().filter(|(key, _)| key.counts()).count();
    counts::add(tx, nid, i64::try_from(live).unwrap_or(i64::MAX)).await?;
    audit::add(tx, nid, created.iter().map(|(_, event)| event)).await
}

/// What is stored already, and what this batch adds to it.
struct There {
    ids: HashSet<KeyId>,
    by_request: HashMap<String, Key>,
}

impl There {
    async fn read(tx: &mut Tx, nid: Nid, kind: KeyKind, keys: &[(Key, AuditEvent)]) -> Outcome<Self> {
        let ids = keys.iter().map(|(key, _)| &key.key_id);
        let requests = keys.iter().filter_map(|(key, _)| key.request_id.as_ref());
        let with_id = read::keys(tx, nid, kind, ids).await?;
        let with_request = read::made_by(tx, nid, kind, requests).await?;
        let mut there = Self { ids: HashSet::new(), by_request: HashMap::new() };
        for key in with_id.iter().chain(&with_request) {
            there.add(key);
        }
        Ok(there)
    }

    fn add(&mut self, key: &Key) {
        self.ids.insert(key.key_id.clone());
        if let Some(request_id) = &key.request_id {
            self.by_request.insert(request_id.clone(), key.clone());
        }
    }
}

fn decide(keys: &[(Key, AuditEvent)], mut there: There, live: u64, max: Option<u64>) -> Vec<Inserted> {
    let mut live = live;
    let mut decide_one = |key: &Key| {
        if let Some(stored) = key.request_id.as_ref().and_then(|id| there.by_request.get(id)) {
            return Inserted::Replayed(Box::new(stored.clone()));
        }
        if there.ids.contains(&key.key_id) {
            return Inserted::Exists;
        }
        if key.counts() && max.is_some_and(|max| live >= max) {
            return Inserted::QuotaExceeded { used: live };
        }
        live += u64::from(key.counts());
        there.add(key);
        Inserted::Created
    };
    keys.iter().map(|(key, _)| decide_one(key)).collect()
}
