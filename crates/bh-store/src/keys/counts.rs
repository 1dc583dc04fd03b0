//! How many live keys a tenant has.
//!
//! The number stands in a row of its own, which every transaction that changes it holds to its end, before it touches a
//! key: a quota is then exact, and transactions never wait for each other in a circle. Rows of keys that were removed by
//! hand leave the number too high; that shows when a quota is reached, and is put right then.

use bh_domain::tenant::{Nid, Scope};

use super::Outcome;
use super::statements::beside;
use crate::db::{Db, Tx, malformed};

/// Adds to the tenant's number, and holds it. The new one.
pub(super) async fn add(tx: &mut Tx, nid: Nid, change: i64) -> Outcome<u64> {
    let args = || vec![nid.into(), change.into()];
    let mut rows = tx.fetch(beside::ADD_LIVE, args()).await?;
    if rows.is_empty() {
        tx.execute(beside::COUNT_FIRST, vec![nid.into()]).await?;
        rows = tx.fetch(beside::ADD_LIVE, args()).await?;
    }
    let live = rows.first().ok_or(sqlx::Error::RowNotFound)?.int(0)?;
    // Below zero only after somebody has changed rows by hand; then nothing is left to count down.
    Ok(u64::try_from(live).unwrap_or(0))
}

/// Compares the tenant's number with its keys, and notes the latter if they differ. Whether they did. Counting holds no
/// lock: the noted number and the keys change together, so their difference stays what it is.
pub(super) async fn correct(db: &Db, nid: Nid) -> Outcome<bool> {
    let rows = db.fetch(&Scope::tenant(nid), beside::COMPARE_LIVE, vec![nid.into()]).await?;
    let Some(row) = rows.first() else { return Ok(false) };
    let (noted, counted) = (row.int(0)?, row.int(1)?);
    if noted == counted {
        return Ok(false);
    }
    let mut tx = db.write().await?;
    let changed = tx.execute(beside::CORRECT_LIVE, vec![nid.into(), noted.into(), counted.into()]).await?;
    tx.commit().await?;
    Ok(changed == 1)
}

/// The tenant's number.
pub(super) async fn live(db: &Db, scope: &Scope, nid: Nid) -> Outcome<u64> {
    let noted = db.fetch(scope, beside::LIVE, vec![nid.into()]).await?;
    let rows = match noted.first() {
        Some(_) => noted,
        None => db.fetch(scope, beside::COUNT_LIVE, vec![nid.into()]).await?,
    };
    let live = rows.first().ok_or_else(|| malformed(0, "a count"))?.int(0)?;
    Ok(u64::try_from(live).unwrap_or(0))
}
