//! [`KeyStore`] and the audit trail on SQL.

mod anchors;
pub(crate) mod audit;
mod change;
mod counts;
mod feed;
mod identities;
mod insert;
mod profiles;
mod read;
mod row;
pub(crate) mod statements;

use std::sync::Arc;

use bh_app::ports::{
    AuditEvent, CreditsDue, CreditsWanted, Denial, Inserted, KeyChange, KeyChanges, KeyFilter, KeyStore,
    KeyUse, StoreResult,
};
use bh_domain::keys::identity::Identity;
use bh_domain::keys::key::{Key, KeyId, KeyKind};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

pub(crate) use self::feed::Feed;
use self::statements::beside;
use crate::SqlStore;
use crate::db::Db;

type Outcome<T> = Result<T, sqlx::Error>;

/// What can be denied has a name of at most this many bytes, so that every process can be told it.
const SUBJECT_BYTES_MAX: usize = 255;

impl KeyStore for SqlStore {
    fn keys(&self, scope: Scope, kind: KeyKind, ids: Vec<KeyId>) -> StoreResult<Vec<Key>> {
        self.run("read keys", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            let mut tx = db.read(&scope).await?;
            let keys = read::keys(&mut tx, nid, kind, ids.iter()).await?;
            tx.commit().await?;
            Ok(keys)
        })
    }

    fn keys_with_identities(
        &self,
        scope: Scope,
        kind: KeyKind,
        ids: Vec<KeyId>,
    ) -> StoreResult<Vec<(Key, Option<Identity>)>> {
        self.run("read keys", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            let mut tx = db.read(&scope).await?;
            let keys = read::keys_with_identities(&mut tx, nid, kind, ids.iter()).await?;
            tx.commit().await?;
            Ok(keys)
        })
    }

    fn insert(&self, scope: Scope, key: Key, max: Option<u64>, event: AuditEvent) -> StoreResult<Inserted> {
        self.change(scope, "insert a key", move |nid, db, feed| async move {
            insert::one(&db, &feed, nid, &key, max, &event).await
        })
    }

    fn insert_many(
        &self,
        scope: Scope,
        keys: Vec<(Key, AuditEvent)>,
        max: Option<u64>,
    ) -> StoreResult<Vec<Inserted>> {
        self.change(scope, "insert keys", move |nid, db, feed| async move {
            insert::many(&db, &feed, nid, keys, max).await
        })
    }

    fn replace(
        &self,
        scope: Scope,
        key: Key,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<bool> {
        self.change(scope, "replace a key", move |nid, db, feed| async move {
            change::replace(&db, &feed, nid, &key, expected_revision, &event).await
        })
    }

    fn rotate(
        &self,
        scope: Scope,
        new: Key,
        old: Key,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<Option<Key>> {
        self.change(scope, "rotate a key", move |nid, db, feed| async move {
            change::rotate(&db, &feed, nid, (new, old), expected_revision, &event).await
        })
    }

    fn delete(&self, scope: Scope, kind: KeyKind, key_id: KeyId, event: AuditEvent) -> StoreResult<bool> {
        self.change(scope, "delete a key", move |nid, db, feed| async move {
            change::delete(&db, &feed, nid, kind, key_id, &event).await
        })
    }

    fn list(
        &self,
        scope: Scope,
        kind: KeyKind,
        filter: KeyFilter,
        after: Option<(Timestamp, KeyId)>,
        limit: u32,
    ) -> StoreResult<Vec<Key>> {
        self.run("list keys", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            read::list(&db, nid, kind, &filter, after, limit).await
        })
    }

    fn touch(&self, scope: Scope, uses: Vec<KeyUse>) -> StoreResult<()> {
        self.run("remember uses of keys", move |db| async move { change::touch(&db, &scope, uses).await })
    }

    fn spend_credits(
        &self,
        scope: Scope,
        kind: KeyKind,
        key_id: KeyId,
        cost: u64,
        due: CreditsDue,
    ) -> StoreResult<Option<i64>> {
        self.change(scope, "spend a key's credits", move |nid, db, _| async move {
            let mut tx = db.write().await?;
            let args = change::taking(nid, &key_id, cost.into(), due);
            let rows = tx.fetch(row::table(kind).spend, args).await?;
            let left = rows.first().map(|row| row.int(0)).transpose()?;
            tx.commit().await?;
            Ok(left)
        })
    }

    fn set_credits(
        &self,
        scope: Scope,
        kind: KeyKind,
        key_id: KeyId,
        wanted: CreditsWanted,
        event: AuditEvent,
    ) -> StoreResult<bool> {
        self.change(scope, "set a key's credits", move |nid, db, feed| async move {
            change::set_credits(&db, &feed, nid, (kind, key_id), wanted, &event).await
        })
    }

    fn live_keys(&self, scope: Scope) -> StoreResult<u64> {
        self.run("count live keys", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(0) };
            counts::live(&db, &scope, nid).await
        })
    }

    fn deny(&self, scope: Scope, subject: String, until: Timestamp, event: AuditEvent) -> StoreResult<()> {
        self.change(scope, "deny tokens", move |nid, db, feed| async move {
            if subject.len() > SUBJECT_BYTES_MAX {
                let wanted = format!("a denied subject has at most {SUBJECT_BYTES_MAX} bytes");
                return Err(sqlx::Error::InvalidArgument(wanted));
            }
            let mut tx = db.write().await?;
            tx.execute(beside::DENY, vec![nid.into(), subject.as_str().into(), until.into()]).await?;
            audit::add(&mut tx, nid, [&event]).await?;
            feed.commit(tx, [KeyChange::Denied(Denial { nid, subject, until })]).await
        })
    }

    fn denials_everywhere(&self, scope: Scope, now: Timestamp) -> StoreResult<Vec<Denial>> {
        self.run("read denied tokens", move |db| async move {
            if scope.nid().is_some() { Ok(Vec::new()) } else { audit::denials(&db, &scope, now).await }
        })
    }

    fn forget_denials(&self, scope: Scope, before: Timestamp) -> StoreResult<u64> {
        self.run("forget denied tokens", move |db| async move {
            if scope.nid().is_some() {
                return Ok(0);
            }
            let mut tx = db.write().await?;
            let removed = tx.execute(beside::FORGET_DENIALS, vec![before.into()]).await?;
            tx.commit().await?;
            Ok(removed)
        })
    }

    fn key_changes(&self) -> KeyChanges {
        self.1.subscribe(&self.0)
    }
}

impl SqlStore {
    /// Runs a change of one tenant's keys.
    fn change<T, F>(
        &self,
        scope: Scope,
        step: &'static str,
        work: impl FnOnce(Nid, Arc<Db>, Arc<Feed>) -> F + Send + 'static,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let feed = Arc::clone(&self.1);
        self.run(step, move |db| async move {
            let nid = scope.nid().ok_or_else(|| {
                sqlx::Error::InvalidArgument("keys are changed in the scope of one tenant".to_owned())
            })?;
            work(nid, db, feed).await
        })
    }
}
