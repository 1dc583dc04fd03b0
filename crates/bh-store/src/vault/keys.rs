//! Wrapped keys.

use bh_app::ports::{AuditEvent, KeyAdded, KeyRef, StoredRoot, WrappedKey};
use bh_domain::tenant::profile::Status;
use bh_domain::tenant::{Nid, Scope};

use super::{Outcome, place_of_key, sql};
use crate::db::{Db, Tx, Value};
use crate::keys::audit;
use crate::statements::{RECALL, REMEMBER};

/// What the installation's secrets are recognised by.
const CHECK: &str = "master_key_check";

pub(super) async fn stored_root(db: &Db) -> Outcome<StoredRoot> {
    let mut tx = db.read_at_once(&Scope::system("know the root key")).await?;
    let key = tx.fetch(sql::KEY, place_of_key(KeyRef::ROOT).into()).await?;
    let check = tx.fetch(RECALL, vec![Nid::SYSTEM.into(), CHECK.into()]).await?;
    tx.commit().await?;
    Ok(StoredRoot {
        key: key.first().map(super::key).transpose()?,
        check: check.first().map(|row| row.text(0)).transpose()?,
    })
}

pub(super) async fn keep_root(db: &Db, key: &WrappedKey, check: String) -> Outcome<bool> {
    let mut tx = db.write().await?;
    if tx.execute(sql::ADD_KEY, values(key)).await? != 1 {
        return tx.rollback().await.map(|()| false);
    }
    tx.execute(REMEMBER, vec![Nid::SYSTEM.into(), CHECK.into(), check.into()]).await?;
    tx.commit().await.map(|()| true)
}

pub(super) async fn add(
    db: &Db,
    key: &WrappedKey,
    tenant: Nid,
    event: Option<&AuditEvent>,
) -> Outcome<KeyAdded> {
    let mut tx = db.write().await?;
    let outcome = add_within(&mut tx, key, tenant).await?;
    match outcome {
        KeyAdded::Added => {
            audit::add(&mut tx, tenant, event).await?;
            tx.commit().await?;
        }
        KeyAdded::Exists | KeyAdded::MasterChanged | KeyAdded::TenantGone => tx.rollback().await?,
    }
    Ok(outcome)
}

async fn add_within(tx: &mut Tx, key: &WrappedKey, tenant: Nid) -> Outcome<KeyAdded> {
    if is_gone(tx, tenant).await? {
        return Ok(KeyAdded::TenantGone);
    }
    if !holds_master(tx, &key.master_id).await? {
        return Ok(KeyAdded::MasterChanged);
    }
    let before = KeyRef { version: key.id.version.saturating_sub(1), ..key.id };
    if before.version > 0 && tx.execute(sql::RETIRE_KEY, place_of_key(before).into()).await? != 1 {
        return Ok(KeyAdded::Exists);
    }
    let added = tx.execute(sql::ADD_KEY, values(key)).await? == 1;
    Ok(if added { KeyAdded::Added } else { KeyAdded::Exists })
}

/// Whether a tenant was deleted. If not, it is not until the transaction ends.
pub(crate) async fn is_gone(tx: &mut Tx, tenant: Nid) -> Outcome<bool> {
    let rows = tx.fetch(sql::HOLD_TENANT, vec![tenant.into()]).await?;
    let status = rows.first().map(|row| row.text(0)).transpose()?;
    Ok(status.as_deref() == Some(Status::Deleted.as_str()))
}

/// Whether a master key is in force. If so, it is until the transaction ends.
async fn holds_master(tx: &mut Tx, master_id: &str) -> Outcome<bool> {
    Ok(tx.execute(sql::HOLD_MASTER, vec![Nid::SYSTEM.into(), master_id.into()]).await? == 1)
}

pub(super) async fn rewrap_root(
    db: &Db,
    key: &WrappedKey,
    from: String,
    event: &AuditEvent,
) -> Outcome<bool> {
    let mut tx = db.write().await?;
    if tx.execute(sql::REWRAP, rewrapped(key, &from)).await? != 1 {
        return tx.rollback().await.map(|()| false);
    }
    audit::add(&mut tx, Nid::SYSTEM, [event]).await?;
    tx.commit().await.map(|()| true)
}

pub(super) async fn rewrap(db: &Db, keys: &[WrappedKey], from: &str) -> Outcome<Option<u64>> {
    let Some(first) = keys.first() else { return Ok(Some(0)) };
    let mut sorted: Vec<&WrappedKey> = keys.iter().collect();
    sorted.sort_unstable_by_key(|key| key.id);
    let mut tx = db.write().await?;
    if !holds_master(&mut tx, &first.master_id).await? {
        return tx.rollback().await.map(|()| None);
    }
    let mut changed = 0;
    for key in sorted {
        changed += tx.execute(sql::REWRAP, rewrapped(key, from)).await?;
    }
    tx.commit().await.map(|()| Some(changed))
}

fn rewrapped(key: &WrappedKey, from: &str) -> Vec<Value> {
    let [nid, version] = place_of_key(key.id);
    vec![nid, version, from.into(), key.wrapped.as_slice().into(), key.master_id.as_str().into()]
}

fn values(key: &WrappedKey) -> Vec<Value> {
    let [nid, version] = place_of_key(key.id);
    vec![
        nid,
        version,
        key.state.number().into(),
        key.wrapped.as_slice().into(),
        key.master_id.as_str().into(),
        key.created.into(),
    ]
}
