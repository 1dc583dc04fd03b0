//! [`VaultStore`] on SQL.
//!
//! Who changes keys holds rows in one order: the tenant's profile, the root key, data keys. Nobody waits in a circle.

mod keys;
mod secrets;
mod shred;
pub(crate) mod statements;

use bh_app::ports::{
    AuditEvent, KeyAdded, KeyRef, KeyState, SecretRow, SecretStored, StoreResult, StoredRoot, VaultStore,
    WrappedKey,
};
use bh_domain::tenant::{Nid, Scope};

pub(crate) use self::keys::is_gone;
pub(crate) use self::shred::shred;
use self::statements as sql;
use crate::db::{BEFORE_ALL, Row, Value, malformed};
use crate::{SqlStore, reaches};

type Outcome<T> = Result<T, sqlx::Error>;

impl VaultStore for SqlStore {
    fn stored_root(&self) -> StoreResult<StoredRoot> {
        self.run("read the root key", |db| async move { keys::stored_root(&db).await })
    }

    fn keep_root(&self, key: WrappedKey, check: String) -> StoreResult<bool> {
        self.run("keep the root key", move |db| async move { keys::keep_root(&db, &key, check).await })
    }

    fn key(&self, scope: Scope, id: KeyRef) -> StoreResult<Option<WrappedKey>> {
        self.run("read a data key", move |db| async move {
            let rows = db.fetch(&scope, sql::KEY, vec![id.nid.into(), id.version.into()]).await?;
            rows.first().map(key).transpose()
        })
    }

    fn newest_key(&self, scope: Scope, owner: Nid) -> StoreResult<Option<WrappedKey>> {
        self.run("read a data key", move |db| async move {
            let rows = db.fetch(&scope, sql::NEWEST_KEY, vec![owner.into()]).await?;
            rows.first().map(key).transpose()
        })
    }

    fn add_key(
        &self,
        scope: Scope,
        key: WrappedKey,
        tenant: Nid,
        event: Option<AuditEvent>,
    ) -> StoreResult<KeyAdded> {
        self.run("add a data key", move |db| async move {
            within(&scope, key.id.nid)?;
            keys::add(&db, &key, tenant, event.as_ref()).await
        })
    }

    fn keys_after(&self, scope: Scope, after: Option<KeyRef>, limit: u32) -> StoreResult<Vec<WrappedKey>> {
        self.run("read data keys", move |db| async move {
            let place = after.map_or_else(|| [BEFORE_ALL.into(), 0_i64.into()], place_of_key);
            let args = place.into_iter().chain([limit.into()]).collect();
            db.fetch_page(&scope, sql::KEYS_AFTER, args).await?.iter().map(key).collect()
        })
    }

    fn keys_of_master(&self, scope: Scope, master_id: String, limit: u32) -> StoreResult<Vec<WrappedKey>> {
        self.run("read data keys", move |db| async move {
            let args = vec![master_id.into(), limit.into()];
            db.fetch(&scope, sql::KEYS_OF_MASTER, args).await?.iter().map(key).collect()
        })
    }

    fn rewrap_root(
        &self,
        scope: Scope,
        key: WrappedKey,
        from: String,
        event: AuditEvent,
    ) -> StoreResult<bool> {
        self.run("put a master key in force", move |db| async move {
            within(&scope, Nid::SYSTEM)?;
            keys::rewrap_root(&db, &key, from, &event).await
        })
    }

    fn rewrap(&self, scope: Scope, keys: Vec<WrappedKey>, from: String) -> StoreResult<Option<u64>> {
        self.run("wrap data keys anew", move |db| async move {
            within(&scope, Nid::SYSTEM)?;
            keys::rewrap(&db, &keys, &from).await
        })
    }

    fn retiring_keys(&self, scope: Scope, owner: Option<Nid>, limit: u32) -> StoreResult<Vec<KeyRef>> {
        self.run("read retiring data keys", move |db| async move {
            let rows = match owner {
                Some(nid) => db.fetch(&scope, sql::RETIRING_KEYS_OF, vec![nid.into(), limit.into()]).await?,
                None => db.fetch(&scope, sql::RETIRING_KEYS, vec![limit.into()]).await?,
            };
            rows.iter().map(|row| key_ref(row, 0)).collect()
        })
    }

    fn key_retired(&self, scope: Scope, id: KeyRef) -> StoreResult<bool> {
        self.run("retire a data key", move |db| async move {
            within(&scope, id.nid)?;
            let mut tx = db.write().await?;
            let retired = tx.execute(sql::KEY_RETIRED, place_of_key(id).into()).await? == 1;
            tx.commit().await.map(|()| retired)
        })
    }

    fn put_secret(
        &self,
        scope: Scope,
        secret: SecretRow,
        max: u64,
        event: AuditEvent,
    ) -> StoreResult<SecretStored> {
        self.run("store a secret", move |db| async move {
            within(&scope, secret.nid)?;
            secrets::put(&db, &secret, max, &event).await
        })
    }

    fn secret(&self, scope: Scope, name: String) -> StoreResult<Option<SecretRow>> {
        self.run("read a secret", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(None) };
            let rows = db.fetch(&scope, sql::SECRET, vec![nid.into(), name.into()]).await?;
            rows.first().map(secret).transpose()
        })
    }

    fn secrets(&self, scope: Scope, after: String, limit: u32) -> StoreResult<Vec<SecretRow>> {
        self.run("list secrets", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            let args = vec![nid.into(), after.into(), limit.into()];
            db.fetch(&scope, sql::SECRETS, args).await?.iter().map(secret).collect()
        })
    }

    fn delete_secret(&self, scope: Scope, name: String, event: AuditEvent) -> StoreResult<bool> {
        self.run("delete a secret", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(false) };
            secrets::delete(&db, nid, name, &event).await
        })
    }

    fn secrets_everywhere(
        &self,
        scope: Scope,
        after: Option<(Nid, String)>,
        limit: u32,
    ) -> StoreResult<Vec<SecretRow>> {
        self.run("read all secrets", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let args = place_of_secret(after).into_iter().chain([limit.into()]).collect();
            db.fetch_page(&scope, sql::SECRETS_EVERYWHERE, args).await?.iter().map(secret).collect()
        })
    }

    fn secrets_of_key(
        &self,
        scope: Scope,
        key: KeyRef,
        after: Option<(Nid, String)>,
        limit: u32,
    ) -> StoreResult<Vec<SecretRow>> {
        self.run("read a key's secrets", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let place = place_of_key(key).into_iter().chain(place_of_secret(after));
            let args = place.chain([limit.into()]).collect();
            db.fetch(&scope, sql::SECRETS_OF_KEY, args).await?.iter().map(secret).collect()
        })
    }

    fn reseal(&self, scope: Scope, rows: Vec<SecretRow>, from: KeyRef) -> StoreResult<Option<u64>> {
        self.run("seal secrets anew", move |db| async move {
            rows.iter().try_for_each(|row| within(&scope, row.nid))?;
            secrets::reseal(&db, &rows, from).await
        })
    }

    fn forget_contents_of_deleted(&self, scope: Scope, limit: u32) -> StoreResult<u64> {
        self.run("forget what deleted tenants asked", move |db| async move {
            if scope.nid().is_some() {
                return Ok(0);
            }
            let mut tx = db.write().await?;
            let removed = tx.execute(sql::FORGET_CONTENTS_OF_DELETED, vec![limit.into()]).await?;
            tx.commit().await.map(|()| removed)
        })
    }
}

/// Refuses a change of what a scope does not reach.
fn within(scope: &Scope, nid: Nid) -> Outcome<()> {
    if reaches(scope, nid) {
        return Ok(());
    }
    Err(sqlx::Error::InvalidArgument("keys and secrets are changed in the scope of their owner".to_owned()))
}

fn place_of_key(id: KeyRef) -> [Value; 2] {
    [id.nid.into(), id.version.into()]
}

fn place_of_secret(after: Option<(Nid, String)>) -> [Value; 2] {
    after.map_or_else(|| [BEFORE_ALL.into(), "".into()], |(nid, name)| [nid.into(), name.into()])
}

fn key_ref(row: &Row, column: usize) -> Outcome<KeyRef> {
    Ok(KeyRef { nid: row.nid(column)?, version: row.count(column + 1)? })
}

fn key(row: &Row) -> Outcome<WrappedKey> {
    Ok(WrappedKey {
        id: key_ref(row, 0)?,
        state: KeyState::of(row.int(2)?).ok_or_else(|| malformed(2, "a key's state"))?,
        wrapped: row.bytes(3)?,
        master_id: row.text(4)?,
        created: row.time(5)?,
    })
}

fn secret(row: &Row) -> Outcome<SecretRow> {
    Ok(SecretRow {
        nid: row.nid(0)?,
        name: row.text(1)?,
        key: key_ref(row, 2)?,
        sealed: row.bytes(4)?,
        metadata: row.text(5)?,
        created: row.time(6)?,
        updated: row.time(7)?,
        revision: row.count(8)?,
    })
}
