//! The audit trail of keys, and denied tokens.

use std::sync::Arc;

use bh_app::ports::{AuditEvent, AuditStore, Denial, EVENT_ID_SKEW_MS, StoreResult, TrailOrder};
use bh_domain::audit::{Actions, Outcome as TrailOutcome, TrailFilter};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::{Builder, Uuid};

use super::Outcome;
use super::row::object;
use super::statements::{beside, trail};
use crate::db::{AFTER_ALL, BEFORE_ALL, Db, Part, Row, Tx, Value, malformed, uuid_text};
use crate::{SqlStore, outbox, reaches};

impl AuditStore for SqlStore {
    fn audit_events(
        &self,
        scope: Scope,
        filter: TrailFilter,
        order: TrailOrder,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<AuditEvent>> {
        self.run("read the audit trail", move |db| async move {
            let Some(nid) = scope.nid() else { return Ok(Vec::new()) };
            of_tenant(&db, nid, &filter, order, after, limit).await
        })
    }

    fn audit_events_everywhere(
        &self,
        scope: Scope,
        after: Option<Uuid>,
        limit: u32,
    ) -> StoreResult<Vec<(Nid, AuditEvent)>> {
        self.run("read all audit trails", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            everywhere(&db, &scope, after, limit).await
        })
    }

    fn append_audit_events(&self, scope: Scope, events: Vec<(Nid, AuditEvent)>) -> StoreResult<()> {
        self.run("append to the audit trail", move |db| async move {
            if !events.iter().all(|(nid, _)| reaches(&scope, *nid)) {
                let wanted = "events are appended in the scope of their tenant".to_owned();
                return Err(sqlx::Error::InvalidArgument(wanted));
            }
            let rows = values_of(&events);
            let mut tx = db.write().await?;
            tx.execute_rows(&trail::APPEND_EVENTS, rows).await?;
            tx.commit().await
        })
    }

    fn forget_failures(&self, scope: Scope, before: Timestamp, limit: u32) -> StoreResult<u64> {
        self.run("forget failed verifications", move |db| async move {
            if scope.nid().is_some() { Ok(0) } else { forget_failures(&db, before, limit).await }
        })
    }
}

/// Removes the oldest failed verifications from before an instant.
async fn forget_failures(db: &Db, before: Timestamp, limit: u32) -> Outcome<u64> {
    let mut tx = db.write().await?;
    let removed = tx.execute(trail::FORGET_FAILURES, vec![near(before, 0).into(), limit.into()]).await?;
    tx.commit().await?;
    Ok(removed)
}

/// Adds events to a transaction, and what webhooks are told of them.
pub(crate) async fn add<'e>(
    tx: &mut Tx,
    nid: Nid,
    events: impl IntoIterator<Item = &'e AuditEvent>,
) -> Outcome<()> {
    tx.execute_each(parts(nid, events)).await.map(drop)
}

/// The same as parts of a transaction.
pub(crate) fn parts<'e>(nid: Nid, events: impl IntoIterator<Item = &'e AuditEvent>) -> [Part; 3] {
    let (mut rows, mut told) = (Vec::new(), Vec::new());
    for event in events {
        rows.extend(values(nid, event));
        told.extend(&event.told);
    }
    let [told, deliveries] = outbox::parts(told);
    [(&trail::ADD_EVENTS, rows), told, deliveries]
}

/// Events of any tenants, as rows.
pub(crate) fn values_of(events: &[(Nid, AuditEvent)]) -> Vec<Value> {
    events.iter().flat_map(|(nid, event)| values(*nid, event)).collect()
}

fn values(nid: Nid, event: &AuditEvent) -> [Value; 11] {
    [
        nid.into(),
        uuid_text(event.id).into(),
        event.at.into(),
        event.action.as_str().into(),
        event.object.as_str().into(),
        event.actor.as_str().into(),
        event.role.as_str().into(),
        event.before_digest.into(),
        event.after_digest.into(),
        event.detail.as_str().into(),
        event.origin.as_str().into(),
    ]
}

/// A tenant's events that pass a filter, after one of them.
async fn of_tenant(
    db: &Db,
    nid: Nid,
    filter: &TrailFilter,
    order: TrailOrder,
    after: Option<Uuid>,
    limit: u32,
) -> Outcome<Vec<AuditEvent>> {
    let mut low = filter.from.map_or_else(|| BEFORE_ALL.into(), |from| near(from, -EVENT_ID_SKEW_MS));
    let mut high = filter.to.map_or_else(|| AFTER_ALL.into(), |to| near(to, EVENT_ID_SKEW_MS));
    let after = after.map(uuid_text);
    match order {
        TrailOrder::NewestFirst => high = after.into_iter().fold(high, Ord::min),
        TrailOrder::OldestFirst => low = after.into_iter().fold(low, Ord::max),
    }
    let sql = match (order, filter.object.is_some()) {
        (TrailOrder::NewestFirst, false) => trail::EVENTS_NEWEST,
        (TrailOrder::NewestFirst, true) => trail::EVENTS_NEWEST_OF_OBJECT,
        (TrailOrder::OldestFirst, false) => trail::EVENTS_OLDEST,
        (TrailOrder::OldestFirst, true) => trail::EVENTS_OLDEST_OF_OBJECT,
    };
    let (one, family) = match &filter.actions {
        None => ("", ""),
        Some(Actions::One(action)) => (action.as_str(), ""),
        Some(Actions::Family(family)) => ("", family.as_str()),
    };
    let args = vec![
        nid.into(),
        low.into(),
        high.into(),
        filter.from.unwrap_or(Timestamp(i64::MIN)).into(),
        filter.to.unwrap_or(Timestamp(i64::MAX)).into(),
        one.into(),
        family.into(),
        filter.actor.as_deref().unwrap_or_default().into(),
        filter.object.as_deref().unwrap_or_default().into(),
        limit.into(),
        filter.outcome.map_or("", TrailOutcome::as_str).into(),
    ];
    db.fetch(&Scope::tenant(nid), sql, args).await?.iter().map(event).collect()
}

/// The id that would be the first of an instant some time away.
fn near(at: Timestamp, away_ms: i64) -> Arc<str> {
    let ms = u64::try_from(at.plus_ms(away_ms).0).unwrap_or(0);
    uuid_text(Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid())
}

/// All tenants' events, oldest first.
async fn everywhere(
    db: &Db,
    scope: &Scope,
    after: Option<Uuid>,
    limit: u32,
) -> Outcome<Vec<(Nid, AuditEvent)>> {
    let after = after.map_or_else(|| BEFORE_ALL.into(), |id| uuid_text(id).into());
    let rows = db.fetch_page(scope, trail::EVENTS_EVERYWHERE, vec![after, limit.into()]).await?;
    rows.iter().map(|row| Ok((row.nid(0)?, event(row)?))).collect()
}

pub(super) fn event(row: &Row) -> Outcome<AuditEvent> {
    Ok(AuditEvent {
        id: Uuid::parse_str(&row.text(1)?).map_err(|_| malformed(1, "a UUID"))?,
        at: row.time(2)?,
        action: row.text(3)?,
        object: row.text(4)?,
        actor: row.text(5)?,
        role: row.text(6)?,
        before_digest: row.optional_hash(7)?,
        after_digest: row.optional_hash(8)?,
        detail: object(row, 9)?,
        origin: object(row, 10)?,
        told: None,
    })
}

/// Every denial that holds at an instant.
pub(super) async fn denials(db: &Db, scope: &Scope, now: Timestamp) -> Outcome<Vec<Denial>> {
    let rows = db.fetch(scope, beside::DENIALS_EVERYWHERE, vec![now.into()]).await?;
    let denial = |row: &Row| Ok(Denial { nid: row.nid(0)?, subject: row.text(1)?, until: row.time(2)? });
    rows.iter().map(denial).collect()
}
