//! Calls that reach the ledger after their month was closed, because the store was away meanwhile.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use bh_app::ports::{UsageDelta, UsageKey, UsageSums};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::usage::Hour;
use bh_domain::webhook::{Month, id_of_period};

use crate::db::{Db, Value};
use crate::now;
use crate::usage::statements;

/// Usage as the ledger takes it: what belongs to a month that its tenant was told is closed counts in the one that runs. A
/// closed month stays as it was told, but for the one batch that each process may have under way while it is being closed:
/// whoever is told of it reads it later.
pub(crate) async fn counted<'a>(
    db: &Db,
    usage: &'a [UsageDelta],
) -> Result<Cow<'a, [UsageDelta]>, sqlx::Error> {
    let current = Hour::of(Month::of(now()).start());
    if usage.iter().all(|delta| delta.key.hour >= current) {
        return Ok(Cow::Borrowed(usage));
    }
    let late = usage.iter().filter(|delta| delta.key.hour < current);
    let periods: HashSet<(Nid, String)> = late.map(|delta| period(&delta.key)).collect();
    let closed = closed(db, periods).await?;
    if closed.is_empty() {
        return Ok(Cow::Borrowed(usage));
    }
    // Added up anew: one batch writes each row once.
    let mut sums: BTreeMap<UsageKey, UsageSums> = BTreeMap::new();
    for UsageDelta { key, sums: more } in usage {
        let is_over = key.hour < current && closed.contains(&period(key));
        let hour = if is_over { current } else { key.hour };
        sums.entry(UsageKey { hour, ..key.clone() }).or_default().add(more);
    }
    tracing::warn!(
        periods = closed.len(),
        "calls of months that are closed are counted in the one that runs"
    );
    Ok(Cow::Owned(sums.into_iter().map(|(key, sums)| UsageDelta { key, sums }).collect()))
}

/// A tenant, and the event that tells of the end of the month that a row belongs to.
fn period(key: &UsageKey) -> (Nid, String) {
    (key.nid, id_of_period(key.nid, Month::of(key.hour.start())))
}

/// Those of some periods that are closed.
async fn closed(db: &Db, periods: HashSet<(Nid, String)>) -> Result<HashSet<(Nid, String)>, sqlx::Error> {
    let args = periods.into_iter().flat_map(|(nid, id)| [Value::from(nid), id.into()]).collect();
    let mut tx = db.read(&Scope::system("count what came late")).await?;
    let rows = tx.fetch_rows(&statements::CLOSED_PERIODS, args).await?;
    tx.commit().await?;
    rows.iter().map(|row| Ok((row.nid(0)?, row.text(1)?))).collect()
}
