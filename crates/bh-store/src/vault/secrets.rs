//! Sealed secrets.

use std::collections::BTreeSet;

use bh_app::ports::{AuditEvent, KeyRef, SecretRow, SecretStored};
use bh_domain::tenant::Nid;

use super::keys::is_gone;
use super::{Outcome, place_of_key, sql};
use crate::db::{Db, Tx, Value};
use crate::keys::audit;

pub(super) async fn put(db: &Db, secret: &SecretRow, max: u64, event: &AuditEvent) -> Outcome<SecretStored> {
    let mut tx = db.write().await?;
    let outcome = put_within(&mut tx, secret, max).await?;
    match outcome {
        SecretStored::Created | SecretStored::Replaced => {
            audit::add(&mut tx, secret.nid, [event]).await?;
            tx.commit().await?;
        }
        SecretStored::KeyRetired | SecretStored::TenantGone | SecretStored::Full => tx.rollback().await?,
    }
    Ok(outcome)
}

async fn put_within(tx: &mut Tx, secret: &SecretRow, max: u64) -> Outcome<SecretStored> {
    if is_gone(tx, secret.nid).await? {
        return Ok(SecretStored::TenantGone);
    }
    if !holds(tx, secret.key).await? {
        return Ok(SecretStored::KeyRetired);
    }
    let others = tx.fetch(sql::OTHER_SECRETS, vec![secret.nid.into(), secret.name.as_str().into()]).await?;
    if others.first().map_or(Ok(0), |row| row.count(0))? >= max {
        return Ok(SecretStored::Full);
    }
    let [key_nid, key_version] = place_of_key(secret.key);
    let row = vec![
        secret.nid.into(),
        secret.name.as_str().into(),
        key_nid,
        key_version,
        secret.sealed.as_slice().into(),
        secret.metadata.as_str().into(),
        secret.created.into(),
        secret.updated.into(),
    ];
    let stored = tx.fetch(sql::PUT_SECRET, row).await?;
    let revision = stored.first().ok_or(sqlx::Error::RowNotFound)?.count(0)?;
    Ok(if revision == 1 { SecretStored::Created } else { SecretStored::Replaced })
}

/// Whether a data key is a current one. If so, it is until the transaction ends.
async fn holds(tx: &mut Tx, key: KeyRef) -> Outcome<bool> {
    Ok(tx.execute(sql::HOLD_KEY, place_of_key(key).into()).await? == 1)
}

pub(super) async fn delete(db: &Db, nid: Nid, name: String, event: &AuditEvent) -> Outcome<bool> {
    let mut tx = db.write().await?;
    if tx.execute(sql::DELETE_SECRET, vec![nid.into(), name.into()]).await? != 1 {
        return tx.rollback().await.map(|()| false);
    }
    audit::add(&mut tx, nid, [event]).await?;
    tx.commit().await.map(|()| true)
}

pub(super) async fn reseal(db: &Db, secrets: &[SecretRow], from: KeyRef) -> Outcome<Option<u64>> {
    let mut tx = db.write().await?;
    let keys: BTreeSet<KeyRef> = secrets.iter().map(|secret| secret.key).collect();
    for key in keys {
        if !holds(&mut tx, key).await? {
            return tx.rollback().await.map(|()| None);
        }
    }
    let mut changed = 0;
    for secret in secrets {
        changed += tx.execute(sql::RESEAL, resealed(secret, from)).await?;
    }
    tx.commit().await.map(|()| Some(changed))
}

fn resealed(secret: &SecretRow, from: KeyRef) -> Vec<Value> {
    let ([from_nid, from_version], [nid, version]) = (place_of_key(from), place_of_key(secret.key));
    vec![
        secret.nid.into(),
        secret.name.as_str().into(),
        from_nid,
        from_version,
        nid,
        version,
        secret.sealed.as_slice().into(),
        secret.revision.into(),
    ]
}
