//! [`OutboxStore`] on SQL.

mod lists;
pub(crate) mod statements;

use bh_app::ports::{
    AttemptEnd, Backlog, DeliveryState, EndpointCounts, Holder, OutboxEvent, OutboxFilter, OutboxPlace,
    OutboxStore, StoreResult, StoredDelivery, StoredEvent, TakenDelivery,
};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use crate::db::{Db, Part, Tx, Value, malformed};
use crate::{SqlStore, reaches};

type Outcome<T> = Result<T, sqlx::Error>;

/// Counts go no further than this: nobody needs to know more, and counting must stay cheap.
const COUNT_MAX: u64 = 10_000;
/// Processes that take deliveries take turns, as holders of this row: two that change the same rows in different order
/// would wait in a circle.
const TURN: &str = "webhooks turn";
const NO_HOLDER: &str = "";

impl OutboxStore for SqlStore {
    fn append_outbox(&self, scope: Scope, events: Vec<OutboxEvent>) -> StoreResult<Vec<bool>> {
        self.run("append to the outbox", move |db| async move {
            within(&scope, &events)?;
            append(&db, &events).await
        })
    }

    fn close_periods(&self, scope: Scope, events: Vec<OutboxEvent>) -> StoreResult<Vec<Option<Timestamp>>> {
        self.run("close billing periods", move |db| async move {
            within(&scope, &events)?;
            close(&db, &events).await
        })
    }

    fn take_deliveries(
        &self,
        holder: Holder,
        endpoint: String,
        now: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> StoreResult<Vec<TakenDelivery>> {
        self.run("take deliveries", move |db| async move {
            take(&db, holder, &endpoint, (now, until), limit).await
        })
    }

    fn end_attempt(
        &self,
        holder: Holder,
        endpoint: String,
        taken: TakenDelivery,
        end: AttemptEnd,
    ) -> StoreResult<bool> {
        self.run("end a delivery's attempt", move |db| async move {
            let args = vec![
                taken.nid.into(),
                taken.event_id.into(),
                endpoint.into(),
                holder.into(),
                taken.attempt.into(),
                end.state.as_str().into(),
                end.next_at.into(),
                end.at.into(),
                end.status.map(i64::from).into(),
                (&end.error).into(),
            ];
            let mut tx = db.write().await?;
            let ended = tx.execute(statements::END_ATTEMPT, args).await? == 1;
            tx.commit().await?;
            Ok(ended)
        })
    }

    fn outbox_events(
        &self,
        scope: Scope,
        filter: OutboxFilter,
        after: Option<OutboxPlace>,
        limit: u32,
    ) -> StoreResult<Vec<StoredEvent>> {
        self.run("list webhook events", move |db| async move {
            lists::events(&db, &scope, &filter, after, limit).await
        })
    }

    fn outbox_event(
        &self,
        scope: Scope,
        id: String,
    ) -> StoreResult<Option<(StoredEvent, Vec<StoredDelivery>)>> {
        self.run("read a webhook event", move |db| async move { lists::event(&db, &scope, id).await })
    }

    fn dead_letters(
        &self,
        scope: Scope,
        nid: Option<Nid>,
        after: Option<OutboxPlace>,
        limit: u32,
    ) -> StoreResult<Vec<(StoredDelivery, String)>> {
        self.run("list dead letters", move |db| async move {
            lists::dead_letters(&db, &scope, nid, after, limit).await
        })
    }

    fn redeliver(&self, event: StoredEvent, endpoints: Vec<String>, now: Timestamp) -> StoreResult<u64> {
        self.run("redeliver an event", move |db| async move {
            let mut tx = db.write().await?;
            let mut due = 0;
            for endpoint in endpoints {
                let name = [event.nid.into(), event.id.as_str().into(), endpoint.into()];
                let args = name.into_iter().chain([event.at.into(), now.into()]).collect();
                due += tx.execute(statements::REDELIVER, args).await?;
            }
            tx.commit().await?;
            Ok(due)
        })
    }

    fn backlog(&self, scope: Scope) -> StoreResult<Backlog> {
        self.run("look at the outbox", move |db| async move {
            let oldest = db.fetch(&scope, statements::OLDEST_PENDING, Vec::new()).await?;
            let dead = db.fetch(&scope, statements::COUNT_DEAD, vec![COUNT_MAX.into()]).await?;
            Ok(Backlog {
                oldest_pending: oldest.first().map(|row| row.time(0)).transpose()?,
                dead: dead.first().map_or(Ok(0), |row| row.count(0))?,
            })
        })
    }

    fn endpoint_counts(&self, scope: Scope, endpoint: String) -> StoreResult<EndpointCounts> {
        self.run("count an endpoint's deliveries", move |db| async move {
            let mut tx = db.read(&scope).await?;
            let pending = count(&mut tx, &endpoint, DeliveryState::Pending).await?;
            let dead = count(&mut tx, &endpoint, DeliveryState::Dead).await?;
            tx.commit().await?;
            Ok(EndpointCounts { pending, dead })
        })
    }

    fn forget_outbox(&self, scope: Scope, before: Timestamp, limit: u32) -> StoreResult<u64> {
        self.run("forget old webhook events", move |db| async move {
            if scope.nid().is_some() { Ok(0) } else { forget(&db, before, limit).await }
        })
    }

    fn progress(&self, job: &'static str) -> StoreResult<Option<String>> {
        self.run("read a job's progress", move |db| async move {
            let args = vec![Nid::SYSTEM.into(), job.into()];
            let rows = db.fetch(&Scope::system(job), crate::statements::RECALL, args).await?;
            rows.first().map(|row| row.text(0)).transpose()
        })
    }

    fn set_progress(&self, job: &'static str, value: String) -> StoreResult<()> {
        self.run("note a job's progress", move |db| async move {
            let mut tx = db.write().await?;
            let args = vec![Nid::SYSTEM.into(), job.into(), value.into()];
            tx.execute(crate::statements::PROBE, args).await?;
            tx.commit().await
        })
    }
}

/// Adds events to a transaction, each with a delivery for every endpoint that is told.
pub(crate) async fn add<'e>(tx: &mut Tx, events: impl IntoIterator<Item = &'e OutboxEvent>) -> Outcome<()> {
    tx.execute_each(parts(events)).await.map(drop)
}

/// The same as parts of a transaction.
pub(crate) fn parts<'e>(events: impl IntoIterator<Item = &'e OutboxEvent>) -> [Part; 2] {
    let (mut rows, mut deliveries) = (Vec::new(), Vec::new());
    for event in events {
        rows.extend(event_values(event));
        deliveries.extend(delivery_values(event));
    }
    [(&statements::ADD_EVENTS, rows), (&statements::ADD_DELIVERIES, deliveries)]
}

fn event_values(event: &OutboxEvent) -> [Value; 5] {
    [
        event.nid.into(),
        event.id.as_str().into(),
        event.kind.as_str().into(),
        event.at.into(),
        event.payload.as_str().into(),
    ]
}

fn delivery_values(event: &OutboxEvent) -> Vec<Value> {
    let row = |endpoint: &String| -> [Value; 8] {
        [
            event.nid.into(),
            event.id.as_str().into(),
            endpoint.as_str().into(),
            event.at.into(),
            DeliveryState::Pending.as_str().into(),
            0_i64.into(),
            event.at.into(),
            NO_HOLDER.into(),
        ]
    };
    event.endpoints.iter().flat_map(row).collect()
}

fn within(scope: &Scope, events: &[OutboxEvent]) -> Outcome<()> {
    if events.iter().all(|event| reaches(scope, event.nid)) {
        return Ok(());
    }
    Err(sqlx::Error::InvalidArgument("events are appended in the scope of their tenant".to_owned()))
}

/// Whoever closes a period first tells of it; the others learn when that was.
async fn close(db: &Db, events: &[OutboxEvent]) -> Outcome<Vec<Option<Timestamp>>> {
    let mut tx = db.write().await?;
    let (mut before, mut told) = (Vec::with_capacity(events.len()), Vec::new());
    for event in events {
        let closed: [Value; 3] = [event.nid.into(), event.id.as_str().into(), event.at.into()];
        if tx.execute(statements::ADD_CLOSED, closed.into()).await? == 1 {
            told.push(event);
            before.push(None);
        } else {
            let rows = tx.fetch(statements::CLOSED, vec![event.nid.into(), event.id.as_str().into()]).await?;
            before.push(rows.first().map(|row| row.time(0)).transpose()?);
        }
    }
    add(&mut tx, told).await?;
    tx.commit().await?;
    Ok(before)
}

/// An event that somebody else has written has the deliveries that they gave it.
async fn append(db: &Db, events: &[OutboxEvent]) -> Outcome<Vec<bool>> {
    let mut tx = db.write().await?;
    let (mut added, mut deliveries) = (Vec::with_capacity(events.len()), Vec::new());
    for event in events {
        let is_new = tx.execute(statements::ADD_EVENT, event_values(event).into()).await? == 1;
        if is_new {
            deliveries.extend(delivery_values(event));
        }
        added.push(is_new);
    }
    tx.execute_rows(&statements::ADD_DELIVERIES, deliveries).await?;
    tx.commit().await?;
    Ok(added)
}

async fn take(
    db: &Db,
    holder: Holder,
    endpoint: &str,
    (now, until): (Timestamp, Timestamp),
    limit: u32,
) -> Outcome<Vec<TakenDelivery>> {
    let everywhere = Scope::system("take deliveries");
    // As a rule nothing is due, and then nothing is written.
    if db.fetch(&everywhere, statements::DUE, vec![endpoint.into(), now.into()]).await?.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = db.write().await?;
    let turn = vec![Nid::SYSTEM.into(), TURN.into(), holder.0.to_string().into()];
    tx.execute(crate::statements::PROBE, turn).await?;
    let args = vec![endpoint.into(), now.into(), holder.into(), until.into(), limit.into()];
    let rows = tx.fetch(statements::TAKE_DUE, args).await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let (nid, event_id) = (row.nid(0)?, row.text(1)?);
        let attempt = u32::try_from(row.int(2)?).map_err(|_| malformed(2, "a number of attempts"))?;
        let found = tx.fetch(statements::PAYLOAD, vec![nid.into(), event_id.as_str().into()]).await?;
        let Some(payload) = found.first().map(|row| row.text(0)).transpose()? else {
            // Its event was forgotten while it was asked for again: there is nothing to deliver.
            tx.execute(statements::FORGET_DELIVERY, vec![nid.into(), event_id.into()]).await?;
            continue;
        };
        taken.push(TakenDelivery { nid, event_id, attempt, payload });
    }
    tx.commit().await?;
    Ok(taken)
}

async fn count(tx: &mut Tx, endpoint: &str, state: DeliveryState) -> Outcome<u64> {
    let args = vec![endpoint.into(), state.as_str().into(), COUNT_MAX.into()];
    let rows = tx.fetch(statements::COUNT_OF_ENDPOINT, args).await?;
    rows.first().map_or(Ok(0), |row| row.count(0))
}

async fn forget(db: &Db, before: Timestamp, limit: u32) -> Outcome<u64> {
    let mut tx = db.write().await?;
    let end = tx.fetch(statements::OLD_EVENTS_END, vec![before.into(), limit.into()]).await?;
    // All of an instant together: as many as there are tenants may have happened in one.
    let end = end.first().map_or(Ok(before), |row| row.time(0).map(|end| end.plus_ms(1)))?;
    let before = end.min(before);
    tx.execute(statements::FORGET_DELIVERIES, vec![before.into()]).await?;
    let removed = tx.execute(statements::FORGET_EVENTS, vec![before.into()]).await?;
    tx.commit().await?;
    Ok(removed)
}
