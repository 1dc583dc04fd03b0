//! [`IdentityStore`] on SQL.

use bh_app::ports::{AuditEvent, IdentityStore, KeyChange, StoreResult};
use bh_domain::keys::identity::{Identity, IdentityId};
use bh_domain::keys::key::JsonObject;
use bh_domain::keys::named::NamedLimit;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::statements::identities as sql;
use super::{Outcome, audit, row};
use crate::SqlStore;
use crate::db::{Row, Value, malformed, uuid_text};

impl IdentityStore for SqlStore {
    fn identity(&self, scope: Scope, id: IdentityId) -> StoreResult<Option<Identity>> {
        self.run("read an identity", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(None) };
            let rows = db.fetch(&scope, sql::IDENTITY, vec![nid.into(), uuid_text(id.0).into()]).await?;
            rows.first().map(|row| identity(row, 0)).transpose()
        })
    }

    fn identity_called(&self, scope: Scope, external_id: String) -> StoreResult<Option<Identity>> {
        self.run("read an identity", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(None) };
            let args = vec![nid.into(), external_id.as_str().into()];
            let rows = db.fetch(&scope, sql::IDENTITY_CALLED, args).await?;
            rows.first().map(|row| identity(row, 0)).transpose()
        })
    }

    fn identities(
        &self,
        scope: Scope,
        after: Option<(Timestamp, IdentityId)>,
        limit: u32,
    ) -> StoreResult<Vec<Identity>> {
        self.run("list identities", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            // Without a place a list starts above every instant; no id matters there.
            let (created, id): (Value, Value) = match after {
                Some((created, id)) => (created.into(), uuid_text(id.0).into()),
                None => (i64::MAX.into(), "".into()),
            };
            let rows = db.fetch(&scope, sql::NEWEST, vec![nid.into(), created, id, limit.into()]).await?;
            rows.iter().map(|row| identity(row, 0)).collect()
        })
    }

    fn insert_identity(&self, scope: Scope, identity: Identity, event: AuditEvent) -> StoreResult<bool> {
        self.change(scope, "insert an identity", move |nid, db, feed| async move {
            let mut tx = db.write().await?;
            let args = vec![
                nid.into(),
                uuid_text(identity.id.0).into(),
                identity.external_id.as_str().into(),
                identity.metadata.as_str().into(),
                limits_text(&identity)?,
                identity.created.into(),
                identity.updated.into(),
                identity.revision.into(),
            ];
            if tx.execute(sql::ADD, args).await? != 1 {
                return tx.rollback().await.map(|()| false);
            }
            audit::add(&mut tx, nid, [&event]).await?;
            feed.commit(tx, [changed(nid, identity)]).await?;
            Ok(true)
        })
    }

    fn replace_identity(
        &self,
        scope: Scope,
        identity: Identity,
        expected_revision: u64,
        event: AuditEvent,
    ) -> StoreResult<bool> {
        self.change(scope, "replace an identity", move |nid, db, feed| async move {
            let mut tx = db.write().await?;
            let args = vec![
                nid.into(),
                uuid_text(identity.id.0).into(),
                expected_revision.into(),
                identity.metadata.as_str().into(),
                limits_text(&identity)?,
                identity.updated.into(),
            ];
            if tx.execute(sql::REPLACE, args).await? != 1 {
                return tx.rollback().await.map(|()| false);
            }
            audit::add(&mut tx, nid, [&event]).await?;
            feed.commit(tx, [changed(nid, identity)]).await?;
            Ok(true)
        })
    }

    fn delete_identity(&self, scope: Scope, identity: Identity, event: AuditEvent) -> StoreResult<bool> {
        self.change(scope, "delete an identity", move |nid, db, feed| async move {
            let mut tx = db.write().await?;
            if tx.execute(sql::DELETE, vec![nid.into(), uuid_text(identity.id.0).into()]).await? != 1 {
                return tx.rollback().await.map(|()| false);
            }
            audit::add(&mut tx, nid, [&event]).await?;
            feed.commit(tx, [changed(nid, identity)]).await?;
            Ok(true)
        })
    }
}

fn changed(nid: Nid, identity: Identity) -> KeyChange {
    KeyChange::Identity { nid, external_id: identity.external_id }
}

fn limits_text(identity: &Identity) -> Outcome<Value> {
    let text = serde_json::to_string(&identity.rate_limits);
    Ok(text.map_err(|cause| sqlx::Error::Encode(Box::new(cause)))?.into())
}

/// An identity whose columns begin at a place, in the order of the statements that read. One whose metadata or limits
/// cannot be read comes without either: it must not hide the others of a read.
pub(super) fn identity(row: &Row, first: usize) -> Outcome<Identity> {
    let id = IdentityId::parse(&row.text(first)?).ok_or_else(|| malformed(first, "a UUID"))?;
    let said = said(row, first + 2);
    let is_whole = said.is_ok();
    let (metadata, rate_limits) = said.unwrap_or_else(|error| {
        let error = &error as &dyn std::error::Error;
        tracing::error!(identity_id = %id, error, "a stored identity cannot be read: its keys are good for nothing");
        Default::default()
    });
    Ok(Identity {
        id,
        external_id: row.text(first + 1)?,
        metadata,
        rate_limits,
        created: row.time(first + 4)?,
        updated: row.time(first + 5)?,
        revision: row.count(first + 6)?,
        is_whole,
    })
}

/// Metadata and limits.
fn said(row: &Row, first: usize) -> Outcome<(JsonObject, Vec<NamedLimit>)> {
    let metadata = row::object(row, first)?;
    let limits = serde_json::from_str(&row.text(first + 1)?);
    Ok((metadata, limits.map_err(|_| malformed(first + 1, "named limits"))?))
}
