//! [`BudgetStore`] on SQL: leases that never pass a cap, and sums over the ledger.
//!
//! Whoever changes a window locks its row first, in the order of [`WindowKey`]; everything read after that is
//! settled among processes.

use std::collections::HashMap;

use bh_app::ports::{
    BudgetStore, BudgetWindow, Change, ChangeId, Figures, Grant, Holder, LeaseRequest, Settled, SpendQuery,
    StoreResult,
};
use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;

use crate::db::{Db, Row, Tx, Value};
use crate::ledger::{CALLER_PREFIX, Ledger, WindowKey, sums, window_key};
use crate::{SqlStore, leases, reaches, statements};

type Outcome<T> = Result<T, sqlx::Error>;

impl BudgetStore for SqlStore {
    fn lease(&self, holder: Holder, requests: Vec<LeaseRequest>) -> StoreResult<Vec<Grant>> {
        self.run("lease budgets", move |db| async move { leases::lease(&db, holder, requests).await })
    }

    fn give_back(&self, holder: Holder, unspent: Vec<Change>) -> StoreResult<()> {
        self.run("give leased money back", move |db| async move {
            let mut tx = db.write().await?;
            for (key, id, amount) in sorted(unspent) {
                give_back_once(&mut tx, holder, &key, id, amount).await?;
            }
            tx.commit().await
        })
    }

    fn overdraw(&self, holder: Holder, over: Vec<Change>) -> StoreResult<()> {
        self.run("record an overdraft", move |db| async move {
            let mut tx = db.write().await?;
            for (key, id, amount) in sorted(over) {
                let committed = lock(&mut tx, &key).await?;
                if is_new(&mut tx, holder, id, amount).await? {
                    set_committed(&mut tx, &key, committed + amount).await?;
                    add_lease(&mut tx, &key, holder, amount).await?;
                }
            }
            tx.commit().await
        })
    }

    fn forget_changes(&self, holder: Holder, before: ChangeId) -> StoreResult<()> {
        self.run("forget changes of budgets", move |db| async move {
            let mut tx = db.write().await?;
            let args = vec![Nid::SYSTEM.into(), holder.into(), before.into()];
            tx.execute(statements::FORGET_CHANGES, args).await?;
            tx.commit().await
        })
    }

    fn committed(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<NanoUsd>> {
        self.run("read what is committed of budgets", |db| async move {
            let keys = reached(&scope, budgets);
            let windows = keys.iter().flatten().flat_map(WindowKey::args).collect();
            let mut tx = db.read(&scope).await?;
            let rows = tx.fetch_rows(&statements::COMMITTED, windows).await?;
            tx.commit().await?;
            let found = rows.iter().map(|row| Ok((window_key(row)?, row.nano(3)?)));
            let found = found.collect::<Outcome<HashMap<WindowKey, NanoUsd>>>()?;
            let of = |key: &Option<WindowKey>| key.as_ref().and_then(|key| found.get(key)).copied();
            Ok(keys.iter().map(|key| of(key).unwrap_or_default()).collect())
        })
    }

    fn figures(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<Figures>> {
        self.run("read budgets", |db| async move {
            let mut tx = db.read(&scope).await?;
            let mut figures = Vec::with_capacity(budgets.len());
            for key in reached(&scope, budgets) {
                figures.push(match key {
                    Some(key) => Ledger::read(&mut tx, &key).await?.figures(),
                    None => Figures::default(),
                });
            }
            tx.commit().await?;
            Ok(figures)
        })
    }

    fn settled(&self, scope: Scope, nid: Option<Nid>, query: SpendQuery) -> StoreResult<Settled> {
        self.run("add up spending", move |db| async move {
            let rows = match nid.or(scope.nid()) {
                Some(nid) if !reaches(&scope, nid) => Vec::new(),
                Some(nid) => settled_of(&db, &scope, nid, query).await?,
                None => {
                    let args =
                        vec![query.from_day.into(), query.to_day.into(), (&owner_key(query.caller)).into()];
                    db.fetch(&scope, statements::LEDGER_EVERYWHERE, args).await?
                }
            };
            rows.first().map_or_else(|| Ok(Settled::default()), sums)
        })
    }

    fn settled_by_caller(
        &self,
        scope: Scope,
        nid: Nid,
        query: SpendQuery,
    ) -> StoreResult<Vec<(String, Settled)>> {
        self.run("add up spending by caller", move |db| async move {
            if !reaches(&scope, nid) {
                return Ok(Vec::new());
            }
            let caller = owner_key(query.caller);
            let args = vec![nid.into(), query.from_day.into(), query.to_day.into(), (&caller).into()];
            db.fetch(&scope, statements::LEDGER_BY_CALLER, args).await?.iter().map(caller_sums).collect()
        })
    }

    fn heartbeat(&self, holder: Holder, now: Timestamp) -> StoreResult<()> {
        self.run("say that this process is alive", move |db| async move {
            // Calls depend on it: it waits behind nobody's administration.
            let mut tx = db.write_first().await?;
            tx.execute(statements::HEARTBEAT, vec![Nid::SYSTEM.into(), holder.into(), now.into()]).await?;
            tx.commit().await
        })
    }

    fn bury(&self, holder: Holder, since: Option<Timestamp>) -> StoreResult<u64> {
        self.run("find dead processes", move |db| async move {
            let since = since.unwrap_or(Timestamp(i64::MAX));
            let mut tx = db.write().await?;
            let args = vec![Nid::SYSTEM.into(), holder.into(), since.into()];
            let died = tx.execute(statements::BURY, args).await?;
            tx.commit().await?;
            Ok(died)
        })
    }

    fn alive(&self, since: Timestamp) -> StoreResult<u64> {
        self.run("count live processes", move |db| async move {
            let args = vec![Nid::SYSTEM.into(), since.into()];
            let rows = db.fetch(&Scope::system("count processes"), statements::ALIVE, args).await?;
            let alive = rows.first().map_or(Ok(0), |row| row.int(0))?;
            Ok(u64::try_from(alive).unwrap_or(0))
        })
    }

    fn retire(&self, holder: Holder) -> StoreResult<()> {
        self.run("give all leases back", move |db| async move {
            let mut tx = db.write().await?;
            let mut keys = Vec::new();
            for row in tx.fetch(statements::LEASES_OF_HOLDER, vec![holder.into()]).await? {
                keys.push(window_key(&row)?);
            }
            keys.sort_unstable();
            for key in keys {
                give_back(&mut tx, holder, &key, NanoUsd::MAX).await?;
            }
            tx.execute(statements::DROP_LEASES, vec![holder.into()]).await?;
            let every = vec![Nid::SYSTEM.into(), holder.into(), i64::MAX.into()];
            tx.execute(statements::FORGET_CHANGES, every).await?;
            tx.execute(statements::DROP_HOLDER, vec![Nid::SYSTEM.into(), holder.into()]).await?;
            tx.commit().await
        })
    }
}

/// Brings `committed` up to what was settled while nobody leased, and this process's lease up to its own part.
pub(crate) async fn reconcile(
    tx: &mut Tx,
    holder: Holder,
    key: &WindowKey,
    ledger: &Ledger,
    committed: NanoUsd,
) -> Outcome<NanoUsd> {
    let used = ledger.settled() + ledger.outstanding();
    if used > committed {
        set_committed(tx, key, used).await?;
    }
    let unleased = ledger.settled_by(holder) - ledger.granted_to(holder);
    if unleased > NanoUsd::ZERO {
        add_lease(tx, key, holder, unleased).await?;
    }
    Ok(used.max(committed))
}

/// Whether a change has not been made before; from now on it has. To be asked under the lock of its window: whoever
/// makes the same change at the same time waits there.
async fn is_new(tx: &mut Tx, holder: Holder, id: ChangeId, granted: NanoUsd) -> Outcome<bool> {
    let args = vec![Nid::SYSTEM.into(), holder.into(), id.into(), granted.into()];
    Ok(tx.execute(statements::ADD_CHANGE, args).await? == 1)
}

async fn give_back_once(
    tx: &mut Tx,
    holder: Holder,
    key: &WindowKey,
    id: ChangeId,
    amount: NanoUsd,
) -> Outcome<()> {
    lock(tx, key).await?;
    if is_new(tx, holder, id, amount).await? { give_back(tx, holder, key, amount).await } else { Ok(()) }
}

/// Returns at most what the process has outstanding: more was never granted.
async fn give_back(tx: &mut Tx, holder: Holder, key: &WindowKey, amount: NanoUsd) -> Outcome<()> {
    let committed = lock(tx, key).await?;
    let back = Ledger::read(tx, key).await?.outstanding_of(holder).min(amount).min(committed);
    if back <= NanoUsd::ZERO {
        return Ok(());
    }
    set_committed(tx, key, committed - back).await?;
    add_lease(tx, key, holder, -back).await
}

async fn lock(tx: &mut Tx, key: &WindowKey) -> Outcome<NanoUsd> {
    let rows = tx.fetch(statements::LOCK_WINDOW, key.args()).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.nano(0)
}

async fn set_committed(tx: &mut Tx, key: &WindowKey, committed: NanoUsd) -> Outcome<()> {
    let mut args = key.args();
    args.push(committed.into());
    tx.execute(statements::SET_COMMITTED, args).await.map(drop)
}

async fn add_lease(tx: &mut Tx, key: &WindowKey, holder: Holder, amount: NanoUsd) -> Outcome<()> {
    let mut args = key.args();
    args.extend([holder.into(), amount.into()]);
    tx.execute(statements::ADD_LEASE, args).await.map(drop)
}

async fn settled_of(db: &Db, scope: &Scope, nid: Nid, query: SpendQuery) -> Outcome<Vec<Row>> {
    let (from, to): (Value, Value) = (query.from_day.into(), query.to_day.into());
    match owner_key(query.caller) {
        Some(owner) => {
            db.fetch(scope, statements::LEDGER_OF_OWNER, vec![nid.into(), owner.into(), from, to]).await
        }
        None => db.fetch(scope, statements::LEDGER_OF_TENANT, vec![nid.into(), from, to]).await,
    }
}

fn caller_sums(row: &Row) -> Outcome<(String, Settled)> {
    let owner = row.text(9)?;
    let caller = owner.strip_prefix(CALLER_PREFIX).unwrap_or(&owner).to_owned();
    Ok((caller, sums(row)?))
}

fn owner_key(caller: Option<String>) -> Option<String> {
    caller.map(|name| Owner::Caller(name).key())
}

/// The keys of budgets; none where a scope does not reach.
fn reached(scope: &Scope, budgets: Vec<BudgetWindow>) -> Vec<Option<WindowKey>> {
    budgets.into_iter().map(|budget| reaches(scope, budget.nid).then(|| key(budget))).collect()
}

pub(crate) fn key(budget: BudgetWindow) -> WindowKey {
    WindowKey { nid: budget.nid, budget: budget.owner.key(), window: budget.window }
}

/// By window, in the order in which windows are locked.
fn sorted(changes: Vec<Change>) -> Vec<(WindowKey, ChangeId, NanoUsd)> {
    let mut sorted: Vec<_> = changes.into_iter().map(|c| (key(c.budget), c.id, c.amount)).collect();
    sorted.sort_unstable();
    sorted
}
