//! Reads of the outbox.

use bh_app::ports::{DeliveryState, OutboxFilter, OutboxPlace, StoredDelivery, StoredEvent};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use super::{Outcome, statements};
use crate::db::{AFTER_ALL, Db, EVERYWHERE, Row, Value, malformed};

/// A place before all others.
fn from_the_newest(after: Option<OutboxPlace>) -> OutboxPlace {
    after.unwrap_or_else(|| (Timestamp(i64::MAX), AFTER_ALL.to_owned(), AFTER_ALL.to_owned()))
}

/// Of which tenant rows are read: the scope's own, or the one that is asked for.
fn of(scope: &Scope, nid: Option<Nid>) -> Option<Nid> {
    scope.nid().or(nid)
}

pub(super) async fn events(
    db: &Db,
    scope: &Scope,
    filter: &OutboxFilter,
    after: Option<OutboxPlace>,
    limit: u32,
) -> Outcome<Vec<StoredEvent>> {
    let (at, id, _) = from_the_newest(after);
    let mut args: Vec<Value> = vec![
        at.into(),
        id.into(),
        filter.kind.map_or("", |kind| kind.as_str()).into(),
        filter.state.map_or("", DeliveryState::as_str).into(),
        limit.into(),
    ];
    let text = match of(scope, filter.nid) {
        Some(nid) => {
            args.push(nid.into());
            statements::EVENTS
        }
        None => statements::EVENTS_EVERYWHERE,
    };
    db.fetch(scope, text, args).await?.iter().map(stored_event).collect()
}

pub(super) async fn event(
    db: &Db,
    scope: &Scope,
    id: String,
) -> Outcome<Option<(StoredEvent, Vec<StoredDelivery>)>> {
    let mut tx = db.read(scope).await?;
    let whose = scope.nid().map_or_else(|| EVERYWHERE.into(), Value::from);
    let rows = tx.fetch(statements::EVENT, vec![id.into(), whose]).await?;
    let Some(event) = rows.first().map(stored_event).transpose()? else { return Ok(None) };
    let args = vec![event.nid.into(), event.id.as_str().into()];
    let deliveries = tx.fetch(statements::DELIVERIES, args).await?;
    tx.commit().await?;
    Ok(Some((event, deliveries.iter().map(delivery).collect::<Outcome<_>>()?)))
}

pub(super) async fn dead_letters(
    db: &Db,
    scope: &Scope,
    nid: Option<Nid>,
    after: Option<OutboxPlace>,
    limit: u32,
) -> Outcome<Vec<(StoredDelivery, String)>> {
    let (at, id, endpoint) = from_the_newest(after);
    let whose = of(scope, nid).map_or_else(|| EVERYWHERE.into(), Value::from);
    let args = vec![at.into(), id.into(), endpoint.into(), whose, limit.into()];
    let rows = db.fetch(scope, statements::DEAD_LETTERS, args).await?;
    rows.iter().map(|row| Ok((delivery(row)?, row.text(10)?))).collect()
}

fn stored_event(row: &Row) -> Outcome<StoredEvent> {
    Ok(StoredEvent {
        nid: row.nid(0)?,
        id: row.text(1)?,
        kind: row.text(2)?,
        at: row.time(3)?,
        payload: row.text(4)?,
    })
}

fn delivery(row: &Row) -> Outcome<StoredDelivery> {
    let status = row.optional_int(8)?.map(u16::try_from).transpose();
    Ok(StoredDelivery {
        nid: row.nid(0)?,
        event_id: row.text(1)?,
        endpoint: row.text(2)?,
        event_at: row.time(3)?,
        state: DeliveryState::parse(&row.text(4)?).ok_or_else(|| malformed(4, "a delivery's state"))?,
        attempts: u32::try_from(row.int(5)?).map_err(|_| malformed(5, "a number of attempts"))?,
        next_at: row.time(6)?,
        last_at: row.optional_time(7)?,
        last_status: status.map_err(|_| malformed(8, "a status"))?,
        last_error: row.optional_text(9)?,
    })
}
