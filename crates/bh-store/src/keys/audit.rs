//! The audit trail of keys, and denied tokens.

use bh_app::ports::{AuditEvent, Denial};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::Outcome;
use super::row::object;
use super::statements::beside;
use crate::db::{Db, Row, Tx, Value, malformed, uuid_text};

/// Sort before and after every UUID's text, in any collation.
const BEFORE_ALL: &str = "";
const AFTER_ALL: &str = "g";

/// Adds events to a transaction.
pub(super) async fn add<'e>(
    tx: &mut Tx,
    nid: Nid,
    events: impl IntoIterator<Item = &'e AuditEvent>,
) -> Outcome<()> {
    let rows = events.into_iter().flat_map(|event| values(nid, event)).collect();
    tx.execute_rows(&beside::ADD_EVENTS, rows).await.map(drop)
}

fn values(nid: Nid, event: &AuditEvent) -> [Value; 10] {
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
    ]
}

/// A tenant's events, newest first.
pub(super) async fn newest(db: &Db, nid: Nid, after: Option<Uuid>, limit: u32) -> Outcome<Vec<AuditEvent>> {
    let after = after.map_or_else(|| AFTER_ALL.into(), |id| uuid_text(id).into());
    let args = vec![nid.into(), after, limit.into()];
    db.fetch(&Scope::tenant(nid), beside::EVENTS_NEWEST, args).await?.iter().map(event).collect()
}

/// All tenants' events, oldest first.
pub(super) async fn everywhere(
    db: &Db,
    scope: &Scope,
    after: Option<Uuid>,
    limit: u32,
) -> Outcome<Vec<(Nid, AuditEvent)>> {
    let after = after.map_or_else(|| BEFORE_ALL.into(), |id| uuid_text(id).into());
    let rows = db.fetch(scope, beside::EVENTS_EVERYWHERE, vec![after, limit.into()]).await?;
    rows.iter().map(|row| Ok((row.nid(0)?, event(row)?))).collect()
}

fn event(row: &Row) -> Outcome<AuditEvent> {
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
    })
}

/// Every denial that holds at an instant.
pub(super) async fn denials(db: &Db, scope: &Scope, now: Timestamp) -> Outcome<Vec<Denial>> {
    let rows = db.fetch(scope, beside::DENIALS_EVERYWHERE, vec![now.into()]).await?;
    let denial = |row: &Row| Ok(Denial { nid: row.nid(0)?, subject: row.text(1)?, until: row.time(2)? });
    rows.iter().map(denial).collect()
}
