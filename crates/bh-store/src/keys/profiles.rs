//! [`ProfileStore`] on SQL.

use std::collections::BTreeSet;

use bh_app::ports::{AuditEvent, KeyChange, KeyTurn, Made, ProfileStore, Replaced, StoreResult};
use bh_domain::keys::key::{Key, KeyId};
use bh_domain::tenant::profile::{Profile, Status};
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::change::rotate_within;
use super::feed::Feed;
use super::statements::profiles as sql;
use super::{Outcome, audit, counts, row};
use crate::db::{BEFORE_ALL, Db, Row, Tx, Value, malformed};
use crate::{SqlStore, statements, tools, vault};

impl ProfileStore for SqlStore {
    fn profiles_everywhere(
        &self,
        scope: Scope,
        since: Timestamp,
        after: Option<Nid>,
        limit: u32,
    ) -> StoreResult<Vec<Profile>> {
        self.run("read tenants", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let after: Value = after.map_or_else(|| BEFORE_ALL.into(), Value::from);
            let rows =
                db.fetch_page(&scope, sql::CHANGED_SINCE, vec![since.into(), after, limit.into()]).await?;
            Ok(rows.iter().filter_map(readable).collect())
        })
    }

    fn profile(&self, scope: Scope) -> StoreResult<Option<Profile>> {
        self.run("read a tenant", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(None) };
            let rows = db.fetch(&scope, sql::PROFILE, vec![nid.into()]).await?;
            rows.first().map(profile).transpose()
        })
    }

    fn make_tenant(&self, profile: Profile, key: Key, events: [AuditEvent; 2]) -> StoreResult<Made> {
        let scope = Scope::tenant(profile.nid);
        self.change(scope, "make a tenant", move |_, db, feed| async move {
            make(&db, &feed, &profile, &key, &events).await
        })
    }

    fn replace_profile(
        &self,
        scope: Scope,
        profile: Profile,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<Replaced> {
        self.change(scope, "replace a tenant", move |nid, db, feed| async move {
            let mut tx = db.write().await?;
            if !replace(&mut tx, nid, &profile, expected_revision, &event).await? {
                return tx.rollback().await.map(|()| Replaced::Outdated);
            }
            if let Some(taken) = change_hosts(&mut tx, &profile).await? {
                return tx.rollback().await.map(|()| Replaced::HostTaken(taken));
            }
            feed.commit(tx, [KeyChange::Profile(nid)]).await?;
            Ok(Replaced::Done)
        })
    }

    fn replace_profile_and_key(
        &self,
        scope: Scope,
        profile: Profile,
        expected_revision: u64,
        key: KeyTurn,
        event: AuditEvent,
    ) -> StoreResult<bool> {
        self.change(scope, "replace a tenant's key", move |nid, db, feed| async move {
            let mut tx = db.write().await?;
            if !replace(&mut tx, nid, &profile, expected_revision, &event).await? {
                return tx.rollback().await.map(|()| false);
            }
            match key {
                KeyTurn::Fresh { new, event } => {
                    add_key(&mut tx, nid, &new).await?;
                    audit::add(&mut tx, nid, [&event]).await?;
                    feed.commit(tx, [KeyChange::Profile(nid)]).await?;
                }
                KeyTurn::Rotated { new, old, old_revision, event } => {
                    let turned = rotate_within(&mut tx, nid, (*new, &old), old_revision, &event).await?;
                    if turned.is_none() {
                        return tx.rollback().await.map(|()| false);
                    }
                    let old = KeyChange::Key { nid, key_id: old.key_id };
                    feed.commit(tx, [old, KeyChange::Profile(nid)]).await?;
                }
            }
            Ok(true)
        })
    }

    fn owners_of_keys(&self, scope: Scope, ids: Vec<KeyId>) -> StoreResult<Vec<(KeyId, Nid)>> {
        self.run("find whose keys these are", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let mut tx = db.read(&scope).await?;
            let ids = ids.iter().map(|id| id.as_str().into()).collect();
            let rows = tx.fetch_rows(&sql::OWNERS_OF_KEYS, ids).await?;
            tx.commit().await?;
            rows.iter().map(owner).collect()
        })
    }
}

async fn make(db: &Db, feed: &Feed, profile: &Profile, key: &Key, events: &[AuditEvent; 2]) -> Outcome<Made> {
    let nid = profile.nid;
    let mut tx = db.write().await?;
    if is_made_at_once(&mut tx, profile, key, events).await? {
        feed.commit(tx, [KeyChange::Profile(nid)]).await?;
        return Ok(Made::Created);
    }
    // Something stands in the way, or the network id is not new.
    tx.rollback().await?;
    let mut tx = db.write().await?;
    if let Some(known) = claim(&mut tx, profile).await? {
        tx.rollback().await?;
        return Ok(Made::Known(known));
    }
    if tx.execute_rows(&sql::ADD_NEW, values(profile)?.into()).await? != 1 {
        tx.rollback().await?;
        return Ok(Made::Exists);
    }
    if let Some(taken) = change_hosts(&mut tx, profile).await? {
        tx.rollback().await?;
        return Ok(Made::HostTaken(taken));
    }
    add_key(&mut tx, nid, key).await?;
    audit::add(&mut tx, nid, events).await?;
    feed.commit(tx, [KeyChange::Profile(nid)]).await?;
    Ok(Made::Created)
}

/// Makes a tenant of which there is nothing yet, in one trip to SQLite's thread. `false`: then nothing of the transaction
/// may stay.
async fn is_made_at_once(
    tx: &mut Tx,
    profile: &Profile,
    key: &Key,
    events: &[AuditEvent; 2],
) -> Outcome<bool> {
    let nid = profile.nid;
    let name = vec![nid.into(), profile.id.as_str().into(), profile.created.into()];
    // All in one order: two tenants who want each other's names never wait in a circle.
    let hosts: BTreeSet<&str> = profile.settings.hostnames.iter().map(String::as_str).collect();
    let hosts: Vec<Value> = hosts.into_iter().flat_map(|host| [nid.into(), host.into()]).collect();
    let [trail, told, deliveries] = audit::parts(nid, events);
    let parts = [
        (&statements::ENSURE_TENANTS, name),
        (&sql::ADD_NEW, values(profile)?.into()),
        (&sql::TAKE_HOSTS, hosts),
        (&sql::COUNT_NEW, vec![nid.into(), i64::from(key.counts()).into()]),
        (row::table(key.kind).add, row::values(nid, key)?),
        trail,
        told,
        deliveries,
    ];
    let wanted: usize = parts.iter().map(|(bulk, values)| values.len() / bulk.columns).sum();
    Ok(tx.execute_each(parts).await? == wanted as u64)
}

/// A new profile's row.
fn values(profile: &Profile) -> Outcome<[Value; 7]> {
    Ok([
        profile.nid.into(),
        profile.status.as_str().into(),
        settings_text(profile)?,
        key_text(profile),
        profile.created.into(),
        profile.updated.into(),
        profile.revision.into(),
    ])
}

/// Gives a tenant the host names that its profile says; the first that is another's, and then nothing of the transaction
/// may stay. One that was deleted has none.
async fn change_hosts(tx: &mut Tx, profile: &Profile) -> Outcome<Option<String>> {
    let rows = tx.fetch(sql::HOSTS, vec![profile.nid.into()]).await?;
    let had: BTreeSet<String> = rows.iter().map(|row| row.text(0)).collect::<Outcome<_>>()?;
    let wanted = Some(&profile.settings.hostnames).filter(|_| profile.status != Status::Deleted);
    let wanted: BTreeSet<String> = wanted.into_iter().flatten().cloned().collect();
    // Nothing is touched that stays, and all in one order: two tenants who want each other's names never wait in a circle.
    for name in had.symmetric_difference(&wanted) {
        let args = vec![profile.nid.into(), name.as_str().into()];
        if had.contains(name) {
            tx.execute(sql::RELEASE_HOST, args).await?;
        } else if tx.execute(sql::TAKE_HOST, args).await? != 1 {
            return Ok(Some(name.clone()));
        }
    }
    Ok(None)
}

async fn add_key(tx: &mut Tx, nid: Nid, key: &Key) -> Outcome<()> {
    counts::add(tx, nid, i64::from(key.counts())).await?;
    if tx.execute_rows(row::table(key.kind).add, row::values(nid, key)?).await? != 1 {
        return Err(sqlx::Error::Protocol("a tenant's new key was there already".to_owned()));
    }
    Ok(())
}

/// `false`: the profile is not what it was, and nothing of the transaction may stay.
async fn replace(
    tx: &mut Tx,
    nid: Nid,
    profile: &Profile,
    expected_revision: u64,
    event: &AuditEvent,
) -> Outcome<bool> {
    let args = vec![
        nid.into(),
        expected_revision.into(),
        profile.status.as_str().into(),
        settings_text(profile)?,
        key_text(profile),
        profile.updated.into(),
    ];
    if tx.execute(sql::REPLACE, args).await? != 1 {
        return Ok(false);
    }
    if profile.status == Status::Deleted {
        vault::shred(tx, nid).await?;
        tools::forget(tx, nid).await?;
    }
    audit::add(tx, nid, [event]).await.map(|()| true)
}

/// Takes the tenant's name; the network id that has it, if that is another.
async fn claim(tx: &mut Tx, profile: &Profile) -> Outcome<Option<Nid>> {
    let row = vec![profile.nid.into(), profile.id.as_str().into(), profile.created.into()];
    if tx.execute_rows(&statements::ENSURE_TENANTS, row).await? == 1 {
        return Ok(None);
    }
    let rows = tx.fetch_rows(&statements::TENANTS_BY_ID, vec![profile.id.as_str().into()]).await?;
    let owner = rows.first().map(|row| nid(row, 0)).transpose()?;
    Ok(owner.filter(|owner| *owner != profile.nid))
}

fn settings_text(profile: &Profile) -> Outcome<Value> {
    let text = serde_json::to_string(&profile.settings);
    Ok(text.map_err(|cause| sqlx::Error::Encode(Box::new(cause)))?.into())
}

fn key_text(profile: &Profile) -> Value {
    Value::Text(profile.api_key.as_ref().map(|id| id.as_str().into()))
}

fn nid(row: &Row, column: usize) -> Outcome<Nid> {
    Uuid::parse_str(&row.text(column)?).map(Nid).map_err(|_| malformed(column, "a UUID"))
}

fn owner(row: &Row) -> Outcome<(KeyId, Nid)> {
    let id = KeyId::parse(&row.text(0)?).map_err(|_| malformed(0, "a key's id"))?;
    Ok((id, nid(row, 1)?))
}

/// A profile, unless it cannot be read: it is refused then, and hides no other.
fn readable(row: &Row) -> Option<Profile> {
    let read = profile(row);
    read.inspect_err(|error| {
        let nid = row.text(0).unwrap_or_default();
        tracing::error!(
            nid,
            error = error as &dyn std::error::Error,
            "a stored tenant cannot be read: it is not served"
        );
    })
    .ok()
}

/// A profile, in the order of the statements that read.
fn profile(row: &Row) -> Outcome<Profile> {
    let api_key = row.optional_text(4)?.map(|id| KeyId::parse(&id)).transpose();
    Ok(Profile {
        nid: nid(row, 0)?,
        id: TenantId::parse(&row.text(1)?).map_err(|_| malformed(1, "a tenant's slug"))?,
        status: Status::parse(&row.text(2)?).ok_or_else(|| malformed(2, "a tenant's status"))?,
        settings: serde_json::from_str(&row.text(3)?).map_err(|_| malformed(3, "a tenant's settings"))?,
        api_key: api_key.map_err(|_| malformed(4, "a key's id"))?,
        created: row.time(5)?,
        updated: row.time(6)?,
        revision: row.count(7)?,
    })
}
