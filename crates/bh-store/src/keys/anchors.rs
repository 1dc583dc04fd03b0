//! Audit events as part of the evidence (decision 27).

use bh_app::ports::{Anchor, AnchorStore, AuditEvent, StoreResult};
use bh_domain::tenant::{Nid, Scope};
use uuid::Uuid;

use super::Outcome;
use super::audit::event;
use super::statements::trail;
use crate::SqlStore;
use crate::db::{BEFORE_ALL, Db, Row, malformed, uuid_text};

impl AnchorStore for SqlStore {
    fn anchor_events(&self, scope: Scope, anchor: Anchor, limit: u32) -> StoreResult<u64> {
        self.run("anchor audit events", move |db| async move {
            if scope.nid().is_some() { Ok(0) } else { anchor_events(&db, &anchor, limit).await }
        })
    }

    fn anchored_events(&self, scope: Scope, anchor: Uuid) -> StoreResult<Vec<(Nid, AuditEvent)>> {
        self.run("read the events of an anchor", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let rows = db.fetch(&scope, trail::ANCHORED_EVENTS, vec![uuid_text(anchor).into()]).await?;
            rows.iter().map(|row| Ok((row.nid(0)?, event(row)?))).collect()
        })
    }

    fn open_anchors(&self, scope: Scope) -> StoreResult<Vec<Anchor>> {
        self.run("read anchors", move |db| async move {
            if scope.nid().is_some() {
                return Ok(Vec::new());
            }
            let rows = db.fetch(&scope, trail::OPEN_ANCHORS, vec![Nid::SYSTEM.into()]).await?;
            rows.iter().map(anchor_of).collect()
        })
    }

    fn close_anchor(&self, scope: Scope, anchor: Uuid) -> StoreResult<()> {
        self.run("close an anchor", move |db| async move {
            if scope.nid().is_some() {
                return Ok(());
            }
            let mut tx = db.write().await?;
            let args = vec![Nid::SYSTEM.into(), uuid_text(anchor).into()];
            tx.execute(trail::CLOSE_ANCHOR, args).await?;
            tx.commit().await
        })
    }

    fn unanchored_events(&self, scope: Scope) -> StoreResult<u64> {
        self.run("count events without an anchor", move |db| async move {
            if scope.nid().is_some() {
                return Ok(0);
            }
            let rows = db.fetch(&scope, trail::COUNT_UNANCHORED, vec![BEFORE_ALL.into()]).await?;
            let count = rows.first().map_or(Ok(0), |row| row.int(0))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }
}

/// Anchors events, if there are any to be anchored.
async fn anchor_events(db: &Db, anchor: &Anchor, limit: u32) -> Outcome<u64> {
    let Anchor { id, made, fading } = *anchor;
    let mut tx = db.write().await?;
    let args = vec![uuid_text(id).into(), BEFORE_ALL.into(), fading.into(), limit.into()];
    let events = tx.execute(trail::ANCHOR_EVENTS, args).await?;
    if events > 0 {
        let row = vec![Nid::SYSTEM.into(), uuid_text(id).into(), made.into(), fading.into()];
        tx.execute(trail::ADD_ANCHOR, row).await?;
    }
    tx.commit().await?;
    Ok(events)
}

fn anchor_of(row: &Row) -> Outcome<Anchor> {
    let id = Uuid::parse_str(&row.text(0)?).map_err(|_| malformed(0, "a UUID"))?;
    Ok(Anchor { id, made: row.time(1)?, fading: row.int(2)? != 0 })
}
