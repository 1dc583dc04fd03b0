//! Reading keys, by id and in lists.

use bh_app::ports::KeyFilter;
use bh_domain::keys::identity::Identity;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::keys::verdict::KeyStatus;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::{Outcome, identities, row};
use crate::db::{Db, Row, Tx, Value};

/// Keys by id.
pub(super) async fn keys(
    tx: &mut Tx,
    nid: Nid,
    kind: KeyKind,
    ids: impl Iterator<Item = &KeyId>,
) -> Outcome<Vec<Key>> {
    let nid: Value = nid.into();
    let names = ids.flat_map(|id| [nid.clone(), id.as_str().into()]).collect();
    let rows = tx.fetch_rows(row::table(kind).keys, names).await?;
    rows.iter().map(|found| row::key(kind, found)).collect()
}

/// Keys by id, each with the identity that its actor names.
pub(super) async fn keys_with_identities(
    tx: &mut Tx,
    nid: Nid,
    kind: KeyKind,
    ids: impl Iterator<Item = &KeyId>,
) -> Outcome<Vec<(Key, Option<Identity>)>> {
    let nid: Value = nid.into();
    let names = ids.flat_map(|id| [nid.clone(), id.as_str().into()]).collect();
    let rows = tx.fetch_rows(row::table(kind).keys_with_identities, names).await?;
    let both = |found: &Row| {
        let identity = found.optional_text(row::COLUMNS)?;
        let identity = identity.map(|_| identities::identity(found, row::COLUMNS)).transpose()?;
        Ok((row::key(kind, found)?, identity))
    };
    rows.iter().map(both).collect()
}

/// The keys that requests have made.
pub(super) async fn made_by(
    tx: &mut Tx,
    nid: Nid,
    kind: KeyKind,
    requests: impl Iterator<Item = &String>,
) -> Outcome<Vec<Key>> {
    let nid: Value = nid.into();
    let names = requests.flat_map(|id| [nid.clone(), id.as_str().into()]).collect();
    let rows = tx.fetch_rows(row::table(kind).by_request, names).await?;
    rows.iter().map(|found| row::key(kind, found)).collect()
}

/// A page of a tenant's keys.
pub(super) async fn list(
    db: &Db,
    nid: Nid,
    kind: KeyKind,
    filter: &KeyFilter,
    after: Option<(Timestamp, KeyId)>,
    limit: u32,
) -> Outcome<Vec<Key>> {
    let (sql, args) = statement(nid, kind, filter, after, limit);
    let rows = db.fetch(&Scope::tenant(nid), sql, args).await?;
    rows.iter().map(|found| row::key(kind, found)).collect()
}

fn statement(
    nid: Nid,
    kind: KeyKind,
    filter: &KeyFilter,
    after: Option<(Timestamp, KeyId)>,
    limit: u32,
) -> (&'static str, Vec<Value>) {
    // Without a place a list starts above every instant; no key id matters there.
    let (created, key_id): (Value, Value) = match after {
        Some((created, key_id)) => (created.into(), key_id.as_str().into()),
        None => (i64::MAX.into(), "".into()),
    };
    let mut args = vec![nid.into(), created, key_id, limit.into()];
    let table = row::table(kind);
    let lists = match &filter.actor_id {
        Some(actor) => {
            args.push(actor.as_str().into());
            &table.lists_of_actor
        }
        None => &table.lists,
    };
    let (sql, by_time) = match filter.status {
        None => (lists.any, false),
        Some(KeyStatus::Active) => (lists.active, true),
        Some(KeyStatus::Revoked) => (lists.revoked, false),
        Some(KeyStatus::Expired) => (lists.expired, true),
    };
    if by_time {
        args.push(filter.now.into());
    }
    (sql, args)
}
