//! Changing and removing keys that are there.

use std::collections::BTreeMap;

use bh_app::ports::{AuditEvent, CreditsChange, CreditsDue, CreditsWanted, KeyChange, KeyUse};
use bh_domain::keys::credits::CREDITS_MAX;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::feed::Feed;
use super::{Outcome, audit, counts, row};
use crate::db::{Db, Tx, Value};
use crate::reaches;

/// Uses that one transaction remembers, so that none holds the writer for long.
const TOUCHED_AT_ONCE: usize = 256;

/// Replaces a key that is still at a revision.
pub(super) async fn replace(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    key: &Key,
    expected_revision: u64,
    event: &AuditEvent,
) -> Outcome<bool> {
    let mut tx = db.write().await?;
    if !put(&mut tx, nid, key, expected_revision, 0).await? {
        return tx.rollback().await.map(|()| false);
    }
    audit::add(&mut tx, nid, [event]).await?;
    feed.commit(tx, [KeyChange::Key { nid, key_id: key.key_id.clone() }]).await?;
    Ok(true)
}

/// Replaces a key and inserts the one that takes its place, which is told with the credits that it has got.
pub(super) async fn rotate(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    (new, old): (Key, Key),
    expected_revision: u64,
    event: &AuditEvent,
) -> Outcome<Option<Key>> {
    let mut tx = db.write().await?;
    let Some(new) = rotate_within(&mut tx, nid, (new, &old), expected_revision, event).await? else {
        return tx.rollback().await.map(|()| None);
    };
    feed.commit(tx, [KeyChange::Key { nid, key_id: old.key_id }]).await?;
    Ok(Some(new))
}

/// The same, as a part of more. `None`: the old key is not what it was, and nothing of the transaction may stay.
pub(super) async fn rotate_within(
    tx: &mut Tx,
    nid: Nid,
    (mut new, old): (Key, &Key),
    expected_revision: u64,
    event: &AuditEvent,
) -> Outcome<Option<Key>> {
    if !put(tx, nid, old, expected_revision, i64::from(new.counts())).await? {
        return Ok(None);
    }
    let moved = move_credits(tx, nid, old).await?;
    new.credits = moved.map(|(left, _)| left);
    new.refills = moved.and_then(|(_, refills)| refills);
    if tx.execute_rows(row::table(new.kind).add, row::values(nid, &new)?).await? != 1 {
        return Ok(None);
    }
    audit::add(tx, nid, [event]).await?;
    Ok(Some(new))
}

/// Removes a key for good.
pub(super) async fn delete(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    kind: KeyKind,
    key_id: KeyId,
    event: &AuditEvent,
) -> Outcome<bool> {
    let mut tx = db.write().await?;
    counts::add(&mut tx, nid, 0).await?;
    let args = vec![nid.into(), key_id.as_str().into()];
    let rows = tx.fetch(row::table(kind).delete, args).await?;
    let Some(removed) = rows.first() else {
        return tx.rollback().await.map(|()| false);
    };
    if row::is_live(removed.int(0)?) {
        counts::add(&mut tx, nid, -1).await?;
    }
    audit::add(&mut tx, nid, [event]).await?;
    feed.commit(tx, [KeyChange::Key { nid, key_id }]).await?;
    Ok(true)
}

/// Changes the credits of a key that is still at a revision.
pub(super) async fn set_credits(
    db: &Db,
    feed: &Feed,
    nid: Nid,
    (kind, key_id): (KeyKind, KeyId),
    CreditsWanted { change, due, expected_revision }: CreditsWanted,
    event: &AuditEvent,
) -> Outcome<bool> {
    let mut tx = db.write().await?;
    let table = row::table(kind);
    let next = due.refill.map(|(_, next)| next);
    let (statement, args) = match change {
        CreditsChange::Set(credits) => {
            let next = next.filter(|_| credits.is_some());
            let name = [nid.into(), key_id.as_str().into()];
            let args = name.into_iter().chain([credits.into(), next.into(), expected_revision.into()]);
            (table.set_credits, args.collect())
        }
        CreditsChange::Add(more) => {
            let mut args = taking(nid, &key_id, more.into(), due);
            args.extend([CREDITS_MAX.into(), expected_revision.into()]);
            (table.add_credits, args)
        }
    };
    if tx.execute(statement, args).await? != 1 {
        return tx.rollback().await.map(|()| false);
    }
    audit::add(&mut tx, nid, [event]).await?;
    feed.commit(tx, [KeyChange::Key { nid, key_id }]).await?;
    Ok(true)
}

/// The first arguments of statements that take or add credits.
pub(super) fn taking(nid: Nid, key_id: &KeyId, amount: Value, due: CreditsDue) -> Vec<Value> {
    let CreditsDue { now, refill } = due;
    let (refilled, next) = refill.unzip();
    vec![nid.into(), key_id.as_str().into(), amount, now.into(), refilled.into(), next.into()]
}

/// Replaces a row that is still at a revision, and counts what that changes, and `more` keys, as live. A row at a known
/// revision has a known state, so the tenant's number can be held before the row is.
async fn put(tx: &mut Tx, nid: Nid, key: &Key, expected_revision: u64, more: i64) -> Outcome<bool> {
    let table = row::table(key.kind);
    let args = vec![nid.into(), key.key_id.as_str().into(), expected_revision.into()];
    let rows = tx.fetch(table.state, args).await?;
    let Some(found) = rows.first() else { return Ok(false) };
    let change = more + i64::from(key.counts()) - i64::from(row::is_live(found.int(0)?));
    if change != 0 {
        counts::add(tx, nid, change).await?;
    }
    let replaced = tx.execute(table.replace, row::replacement(nid, key, expected_revision)?).await?;
    Ok(replaced == 1)
}

/// Takes the credits that a key has left; `None` when it has any number. To be called when its row is held.
async fn move_credits(tx: &mut Tx, nid: Nid, old: &Key) -> Outcome<Option<(i64, Option<Timestamp>)>> {
    let table = row::table(old.kind);
    let name = || vec![nid.into(), old.key_id.as_str().into()];
    let rows = tx.fetch(table.credits, name()).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let left = row.optional_int(0)?.map(|left| row.optional_time(1).map(|refills| (left, refills)));
    let left = left.transpose()?;
    if left.is_some() {
        tx.execute(table.empty_credits, name()).await?;
    }
    Ok(left)
}

/// Remembers when keys were last used.
pub(super) async fn touch(db: &Db, scope: &Scope, uses: Vec<KeyUse>) -> Outcome<()> {
    for kind in [KeyKind::Issued, KeyKind::Imported] {
        let mut latest: BTreeMap<(Nid, KeyId), Timestamp> = BTreeMap::new();
        for used in uses.iter().filter(|used| used.kind == kind && reaches(scope, used.nid)) {
            let at = latest.entry((used.nid, used.key_id.clone())).or_insert(used.at);
            *at = used.at.max(*at);
        }
        let latest: Vec<_> = latest.into_iter().collect();
        for part in latest.chunks(TOUCHED_AT_ONCE) {
            let row = |((nid, key_id), at): &((Nid, KeyId), Timestamp)| -> [Value; 3] {
                [(*nid).into(), key_id.as_str().into(), (*at).into()]
            };
            let mut tx = db.write().await?;
            // Processes take turns: two that change many rows each, in whatever order, could wait in a circle.
            counts::add(&mut tx, Nid::SYSTEM, 0).await?;
            tx.execute_rows(row::table(kind).touch, part.iter().flat_map(row).collect()).await?;
            tx.commit().await?;
        }
    }
    Ok(())
}
