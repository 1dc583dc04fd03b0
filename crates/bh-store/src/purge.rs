//! Retention: content goes, hash and position stay, so that the tree remains provable. And what dead processes leave.

use bh_app::ports::Purge;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use crate::db::{AFTER_ALL, BEFORE_ALL, Db, Tx, Value};
use crate::{now, statements};

/// Rows that are looked through at a time; in tests so few that their tables take several steps.
const STEP_ROWS: u32 = if cfg!(test) { 2 } else { 5_000 };
/// Characters of `2026-11`, the month of a day.
const MONTH_CHARS: usize = 7;

/// The records of one round.
struct Picked {
    first_seq: u64,
    last_seq: u64,
    /// The last of them in order of time: what the round's range ends with.
    last_at: Timestamp,
    last_at_seq: u64,
}

/// Turns at most `limit` of a tenant's oldest records from before an instant into tombstones.
pub(crate) async fn purge(
    db: &Db,
    nid: Nid,
    before: Timestamp,
    limit: u32,
) -> Result<Option<Purge>, sqlx::Error> {
    let mut tx = db.write().await?;
    let reached = tx.fetch(statements::RETENTION, vec![nid.into()]).await?;
    let from = reached.first().map_or(Ok(Timestamp(i64::MIN)), |row| row.time(0))?;
    let Some(picked) = pick(&mut tx, nid, from, before, limit).await? else {
        return tx.rollback().await.map(|()| None);
    };
    let range =
        || -> Vec<Value> { vec![nid.into(), from.into(), picked.last_at.into(), picked.last_at_seq.into()] };
    tx.execute(statements::PURGE_CONTENTS, range()).await?;
    let mut args = range();
    args.push(now().into());
    let removed = tx.execute(statements::PURGE_RECORDS, args).await?;
    tx.execute(statements::SET_RETENTION, vec![nid.into(), picked.last_at.into()]).await?;
    tx.commit().await?;
    Ok(Some(Purge { nid, removed, first_seq: picked.first_seq, last_seq: picked.last_seq }))
}

/// Removes windows that are over with their leases, and dead processes with all that they leave. A process that was
/// taken for dead may come back and ask for a change again, which is why its rows are kept for as long as `seen` says.
pub(crate) async fn forget_dead(db: &Db, day: &str, seen: Timestamp) -> Result<u64, sqlx::Error> {
    let leases = forget_ended(db, statements::NEXT_LEASES, statements::FORGET_LEASES, day).await?;
    let windows = forget_ended(db, statements::NEXT_WINDOWS, statements::FORGET_WINDOWS, day).await?;
    let dead = || -> Vec<Value> { vec![Nid::SYSTEM.into(), seen.into()] };
    let mut tx = db.write().await?;
    let changes = tx.execute(statements::FORGET_CHANGES_OF_DEAD, dead()).await?;
    let processes = tx.execute(statements::FORGET_DEAD, dead()).await?;
    tx.commit().await?;
    Ok(leases + windows + changes + processes)
}

/// Removes what is over from a table of budgets: step by step through all of it, so that no record waits for long.
async fn forget_ended(
    db: &Db,
    next: &'static str,
    forget: &'static str,
    day: &str,
) -> Result<u64, sqlx::Error> {
    let month = day.get(..MONTH_CHARS).unwrap_or_default();
    let scope = Scope::system("forget what is over");
    let (mut from, mut forgotten) = ([BEFORE_ALL; 3].map(Value::from), 0);
    loop {
        let mut args = from.to_vec();
        args.push(u64::from(STEP_ROWS - 1).into());
        let step = db.fetch(&scope, next, args).await?;
        let to = match step.first() {
            Some(row) => [row.text(0)?, row.text(1)?, row.text(2)?].map(Value::from),
            None => [AFTER_ALL; 3].map(Value::from),
        };
        let range = from.into_iter().chain(to.clone()).chain([day.into(), month.into()]);
        let mut tx = db.write().await?;
        forgotten += tx.execute(forget, range.collect()).await?;
        tx.commit().await?;
        if step.is_empty() {
            return Ok(forgotten);
        }
        from = to;
    }
}

async fn pick(
    tx: &mut Tx,
    nid: Nid,
    from: Timestamp,
    before: Timestamp,
    limit: u32,
) -> Result<Option<Picked>, sqlx::Error> {
    let args = vec![nid.into(), from.into(), before.into(), limit.into()];
    let mut picked: Option<Picked> = None;
    for row in tx.fetch(statements::PURGE_PICK, args).await? {
        let (seq, at) = (row.count(0)?, row.time(1)?);
        let (first, last) = picked.map_or((seq, seq), |p| (p.first_seq.min(seq), p.last_seq.max(seq)));
        picked = Some(Picked { first_seq: first, last_seq: last, last_at: at, last_at_seq: seq });
    }
    Ok(picked)
}
