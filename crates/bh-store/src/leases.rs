//! Leases: many decided in one transaction, with a few statements over all of them.
//!
//! When thousands of keys come back in turn, each leases from four budgets. A statement for each step of each lease would
//! be a trip to the database for each, which costs more than the step.

use std::collections::{BTreeSet, HashMap};

use bh_app::ports::{ChangeId, Grant, Holder, LeaseRequest};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;

use crate::budgets::{key, reconcile};
use crate::db::{Db, Tx, Value};
use crate::ledger::{Ledger, WindowKey, window_key};
use crate::statements;

type Outcome<T> = Result<T, sqlx::Error>;

/// A request, by its place among those asked, and the window it is about.
type Asked = (WindowKey, usize);

/// Decides all requests in one transaction, and answers in the order asked.
pub(crate) async fn lease(db: &Db, holder: Holder, requests: Vec<LeaseRequest>) -> Outcome<Vec<Grant>> {
    let mut asked: Vec<Asked> =
        requests.iter().enumerate().map(|(place, request)| (key(request.budget.clone()), place)).collect();
    // In the order in which windows are locked.
    asked.sort_unstable();
    let mut grants = vec![Grant { granted: NanoUsd::ZERO, left: NanoUsd::ZERO }; requests.len()];
    let mut tx = db.write_first().await?;
    tx.execute(statements::KNOW_HOLDER, vec![Nid::SYSTEM.into(), holder.into()]).await?;
    // A process asks for one lease of a budget at a time, so as a rule this is one round. Windows of later rounds are
    // locked by then.
    while !asked.is_empty() {
        let (round, later) = once_each(asked);
        let mut decided = Decided::new(holder);
        decided.round(&mut tx, &round, &requests, &mut grants).await?;
        decided.write(&mut tx).await?;
        asked = later;
    }
    tx.commit().await?;
    Ok(grants)
}

/// The first request of each window, and the others.
fn once_each(asked: Vec<Asked>) -> (Vec<Asked>, Vec<Asked>) {
    let mut seen = BTreeSet::new();
    asked.into_iter().partition(|(key, _)| seen.insert(key.clone()))
}

/// What a round has decided, as rows to be written.
struct Decided {
    holder: Holder,
    count: u64,
    taken: Vec<Value>,
    leases: Vec<Value>,
    changes: Vec<Value>,
}

impl Decided {
    fn new(holder: Holder) -> Self {
        Self { holder, count: 0, taken: Vec::new(), leases: Vec::new(), changes: Vec::new() }
    }

    /// Decides a round. What is read of its windows is read once they are locked.
    async fn round(
        &mut self,
        tx: &mut Tx,
        round: &[Asked],
        requests: &[LeaseRequest],
        grants: &mut [Grant],
    ) -> Outcome<()> {
        let committed = lock_all(tx, round).await?;
        let asked = || round.iter().filter_map(|(key, place)| Some((key, requests.get(*place)?)));
        let made = changes_made(tx, self.holder, asked().map(|(_, request)| request)).await?;
        let first = asked().filter(|(_, request)| request.first && !made.contains_key(&request.id));
        let ledgers = Ledger::read_all(tx, &first.map(|(key, _)| key).collect::<Vec<_>>()).await?;
        let nothing = Ledger::default();
        for (key, place) in round {
            if let (Some(request), Some(grant)) = (requests.get(*place), grants.get_mut(*place)) {
                let committed = committed.get(key).copied().ok_or(sqlx::Error::RowNotFound)?;
                *grant = match made.get(&request.id) {
                    Some(granted) => Grant { granted: *granted, left: left(request, committed) },
                    None => {
                        let ledger = ledgers.get(key).unwrap_or(&nothing);
                        self.decide(tx, key, ledger, request, committed).await?
                    }
                };
            }
        }
        Ok(())
    }

    /// Decides a request that has not been decided before.
    async fn decide(
        &mut self,
        tx: &mut Tx,
        key: &WindowKey,
        ledger: &Ledger,
        request: &LeaseRequest,
        mut committed: NanoUsd,
    ) -> Outcome<Grant> {
        if request.first {
            committed = reconcile(tx, self.holder, key, ledger, committed).await?;
        }
        let take = share(request, committed);
        if take > NanoUsd::ZERO {
            self.count += 1;
            self.taken.extend(key.args());
            self.taken.extend([take.into(), request.cap.into()]);
            self.leases.extend(key.args());
            self.leases.extend([self.holder.into(), take.into()]);
            self.changes.extend([Nid::SYSTEM.into(), self.holder.into(), request.id.into(), take.into()]);
        }
        Ok(Grant { granted: take, left: left(request, committed + take) })
    }

    async fn write(self, tx: &mut Tx) -> Outcome<()> {
        // The rows are locked, so all of them fit; the database says so itself rather than believe our arithmetic.
        if tx.execute_rows(&statements::TAKE, self.taken).await? != self.count {
            return Err(sqlx::Error::Protocol("a lease would have passed its cap".to_owned()));
        }
        tx.execute_each([(&statements::ADD_LEASES, self.leases), (&statements::ADD_CHANGES, self.changes)])
            .await
            .map(drop)
    }
}

/// How much of the wish fits under the cap: nothing, or at least what is needed.
fn share(request: &LeaseRequest, committed: NanoUsd) -> NanoUsd {
    let room = request.cap - committed;
    let take = request.wanted.max(request.needed).min(room);
    if take < request.needed { NanoUsd::ZERO } else { take.max(NanoUsd::ZERO) }
}

fn left(request: &LeaseRequest, committed: NanoUsd) -> NanoUsd {
    (request.cap - committed).max(NanoUsd::ZERO)
}

/// Makes the windows that are not there, locks them all in their order, and reads what is committed in each.
async fn lock_all(tx: &mut Tx, round: &[Asked]) -> Outcome<HashMap<WindowKey, NanoUsd>> {
    let row = |(key, _): &Asked| {
        let mut args = key.args();
        args.push(NanoUsd::ZERO.into());
        args
    };
    let rows = tx.fetch_rows(&statements::LOCK_WINDOWS, round.iter().flat_map(row).collect()).await?;
    let committed = rows.iter().map(|row| Ok((window_key(row)?, row.nano(3)?)));
    committed.collect()
}

/// What requests that the store has decided before were granted, by their ids.
async fn changes_made(
    tx: &mut Tx,
    holder: Holder,
    requests: impl Iterator<Item = &LeaseRequest>,
) -> Outcome<HashMap<ChangeId, NanoUsd>> {
    let row =
        |request: &LeaseRequest| -> [Value; 3] { [Nid::SYSTEM.into(), holder.into(), request.id.into()] };
    let rows = tx.fetch_rows(&statements::CHANGES, requests.flat_map(row).collect()).await?;
    rows.iter().map(|row| Ok((row.count(0)?, row.nano(1)?))).collect()
}
