//! Keeping the ledger small: old hours become days, old days go. Step by step, so that no record waits for long.

use bh_domain::tenant::{Nid, Scope};
use bh_domain::usage::UtcDay;

use super::statements;
use crate::db::{AFTER_ALL, Db, Row, Value, malformed};

/// Rows of one step; in tests so few that it takes several.
const STEP_ROWS: u32 = if cfg!(test) { 2 } else { 5_000 };

/// Under this name a step waits for another process's.
const TURN: &str = "usage roll-up";
/// Under this name the first day stands that was not forgotten.
const KEPT_FROM: &str = "usage kept from";

/// Moves the hours before a day into their days. Nobody writes hours that old, and one process does this at a time: what
/// a step adds up is what it forgets.
pub(super) async fn roll_up(db: &Db, before: UtcDay) -> Result<u64, sqlx::Error> {
    let end = before.first_hour().0;
    let mut moved = 0;
    loop {
        let (place, is_last) = next(db, statements::NEXT_HOURS, end).await?;
        let mut tx = db.write().await?;
        // Its row is held to the end: whoever else believes that it is its turn adds nothing twice.
        let turn = vec![Nid::SYSTEM.into(), TURN.into(), "".into()];
        tx.execute(crate::statements::PROBE, turn).await?;
        tx.execute(statements::ROLL_UP, place.to_vec()).await?;
        moved += tx.execute(statements::FORGET_HOURS, place.to_vec()).await?;
        tx.commit().await?;
        if is_last {
            return Ok(moved);
        }
    }
}

/// Forgets the days before one. That they go is durable before the first of them is gone, and stays so: what was forgotten
/// does not come back when more is to be kept from then on.
pub(super) async fn forget(db: &Db, before: UtcDay) -> Result<u64, sqlx::Error> {
    let mut tx = db.write().await?;
    let kept_from = vec![Nid::SYSTEM.into(), KEPT_FROM.into(), before.to_string().into()];
    tx.execute(statements::KEEP_FROM, kept_from).await?;
    tx.commit().await?;
    let mut forgotten = 0;
    loop {
        let (place, is_last) = next(db, statements::NEXT_DAYS, before.0).await?;
        let mut tx = db.write().await?;
        forgotten += tx.execute(statements::FORGET_DAYS, place.to_vec()).await?;
        tx.commit().await?;
        if is_last {
            return Ok(forgotten);
        }
    }
}

/// The day from which on nothing was forgotten.
pub(super) async fn kept_from(db: &Db) -> Result<Option<UtcDay>, sqlx::Error> {
    let scope = Scope::system("since when usage is kept");
    let found =
        db.fetch(&scope, crate::statements::RECALL, vec![Nid::SYSTEM.into(), KEPT_FROM.into()]).await?;
    let day = |row: &Row| UtcDay::parse(&row.text(0)?).map_err(|_| malformed(0, "a calendar day"));
    found.first().map(day).transpose()
}

/// Where the next step ends, and whether it is the last one. A step takes whole hours or days of a tenant.
async fn next(db: &Db, statement: &'static str, end: i64) -> Result<([Value; 2], bool), sqlx::Error> {
    let scope = Scope::system("keep the usage ledger small");
    let found = db.fetch(&scope, statement, vec![end.into(), (STEP_ROWS - 1).into()]).await?;
    match found.first() {
        Some(row) => Ok(([row.int(0)?.into(), row.text(1)?.into()], false)),
        None => Ok(([end.saturating_sub(1).into(), AFTER_ALL.into()], true)),
    }
}
