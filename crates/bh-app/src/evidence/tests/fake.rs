//! The store in memory, and a house with two tenants on it. Rows can be edited behind the gateway's back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;

use crate::ports::*;

/// A stored row with everything in it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) row: RecordRow,
    pub(crate) record: Option<String>,
}

#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) records: Vec<Row>,
    pub(crate) heads: HashMap<Nid, StoredHead>,
    pub(crate) nodes: BTreeMap<(Nid, u8, u64), [u8; 32]>,
    pub(crate) checkpoints: Vec<Checkpoint>,
    pub(crate) tenants: Vec<TenantRow>,
    pub(crate) spend: Vec<SpendDelta>,
    pub(crate) figures: HashMap<(Nid, Owner, String), Figures>,
}

/// Whether a store refuses a record for what it contains.
pub(crate) type Refuses = fn(&RecordRow) -> bool;

/// Counts rows that reads return, so that a test can bound them.
#[derive(Default)]
pub(crate) struct FakeStore {
    pub(crate) rows: Mutex<Rows>,
    pub(crate) rows_read: AtomicU64,
    /// Takes no write at all.
    pub(crate) down: AtomicBool,
    /// Records that the store refuses for what they contain.
    pub(crate) refuses: Mutex<Option<Refuses>>,
    /// How many records each batch that it was given had.
    pub(crate) batches: Mutex<Vec<usize>>,
}

impl FakeStore {
    /// Edits one record's row.
    pub(crate) fn edit(&self, id: &str, edit: impl FnOnce(&mut Row)) {
        let mut rows = self.rows.lock();
        edit(rows.records.iter_mut().find(|row| row.row.id == id).unwrap());
    }

    fn fault<T: Send + 'static>(&self, step: &'static str) -> StoreResult<T> {
        Box::pin(async move { Err(StoreFault { step, cause: "the store does not take it".into() }) })
    }

    fn answer<T: Send + 'static>(&self, read: impl FnOnce(&mut Rows) -> T) -> StoreResult<T> {
        let answer = read(&mut self.rows.lock());
        Box::pin(async move { Ok(answer) })
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&mut Rows) -> Vec<T>) -> StoreResult<Vec<T>> {
        let answer = read(&mut self.rows.lock());
        self.rows_read.fetch_add(answer.len() as u64, Ordering::Relaxed);
        Box::pin(async move { Ok(answer) })
    }
}

fn reaches(scope: &Scope, nid: Nid) -> bool {
    scope.nid().is_none_or(|own| own == nid)
}

fn stored(row: &Row) -> StoredRecord {
    let Row { row, record } = row;
    StoredRecord {
        nid: row.nid,
        seq: row.seq,
        at: row.at,
        id: row.id.clone(),
        leaf_hash: row.leaf_hash,
        record: record.clone(),
        columns: Columns {
            caller: row.caller.clone(),
            invocation_type: row.invocation_type.clone(),
            allowed: row.allowed,
            model: row.model.clone(),
            session_id: row.session_id.clone(),
        },
    }
}

fn passes(filter: &EvidenceFilter, row: &RecordRow) -> bool {
    let is = |wanted: &Option<String>, value: &str| wanted.as_ref().is_none_or(|wanted| wanted == value);
    is(&filter.caller, &row.caller)
        && is(&filter.model, &row.model)
        && is(&filter.invocation_type, &row.invocation_type)
        && filter.allowed.is_none_or(|allowed| allowed == row.allowed)
        && (filter.session_id.is_none() || filter.session_id == row.session_id)
        && filter.from.is_none_or(|from| row.at >= from)
        && filter.to.is_none_or(|to| row.at < to)
}

impl EvidenceStore for FakeStore {
    fn heads(&self, nids: Vec<Nid>) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.answer(|rows| {
            rows.heads.iter().filter(|(nid, _)| nids.contains(nid)).map(|(n, h)| (*n, h.clone())).collect()
        })
    }

    fn heads_everywhere(&self, _: Scope) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.answer(|rows| rows.heads.clone())
    }

    fn append(&self, batch: Arc<Batch>) -> StoreResult<Appended> {
        self.batches.lock().push(batch.records.len());
        let refuses = *self.refuses.lock();
        if self.down.load(Ordering::Relaxed)
            || refuses.is_some_and(|refuses| batch.records.iter().any(refuses))
        {
            return self.fault("append evidence");
        }
        self.answer(|rows| {
            for head in &batch.heads {
                let HeadUpdate { nid, to_seq, leaf_hash, frontier, .. } = head.clone();
                rows.heads.insert(nid, StoredHead { seq: to_seq, leaf_hash, frontier });
            }
            let row = |row: &RecordRow| Row { row: row.clone(), record: Some(row.record.to_string()) };
            rows.records.extend(batch.records.iter().map(row));
            rows.nodes.extend(batch.nodes.iter().map(|node| ((node.nid, node.level, node.index), node.hash)));
            rows.spend.extend(batch.spend.iter().cloned());
            Appended::Durable
        })
    }

    fn probe(&self) -> StoreResult<()> {
        if self.down.load(Ordering::Relaxed) { self.fault("probe") } else { self.answer(|_| ()) }
    }

    fn records(&self, scope: Scope, filter: EvidenceFilter) -> StoreResult<Vec<StoredRecord>> {
        self.read(|rows| {
            let key = |row: &Row| (row.row.at, row.row.nid, row.row.seq);
            let mut found: Vec<&Row> = rows
                .records
                .iter()
                .filter(|row| reaches(&scope, row.row.nid) && passes(&filter, &row.row))
                .collect();
            found.sort_by_key(|row| key(row));
            if !filter.oldest_first {
                found.reverse();
            }
            let after = filter.after.map(|place| (place.at, place.nid, place.seq));
            let beyond = |row: &&Row| match after {
                None => true,
                Some(place) if filter.oldest_first => key(row) > place,
                Some(place) => key(row) < place,
            };
            found.into_iter().filter(beyond).take(filter.limit as usize).map(stored).collect()
        })
    }

    fn record(&self, scope: Scope, id: String) -> StoreResult<Option<StoredRecord>> {
        self.answer(|rows| {
            rows.records.iter().find(|r| r.row.id == id && reaches(&scope, r.row.nid)).map(stored)
        })
    }

    fn chain(
        &self,
        scope: Scope,
        nid: Nid,
        first: u64,
        last: u64,
        limit: u32,
    ) -> StoreResult<Vec<StoredRecord>> {
        self.read(|rows| {
            let within =
                |r: &&Row| r.row.nid == nid && reaches(&scope, nid) && (first..=last).contains(&r.row.seq);
            let mut found: Vec<_> = rows.records.iter().filter(within).map(stored).collect();
            found.sort_by_key(|row| row.seq);
            found.truncate(limit as usize);
            found
        })
    }

    fn leaf_hashes(&self, scope: Scope, nid: Nid, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.read(|rows| {
            let within =
                |r: &&Row| r.row.nid == nid && reaches(&scope, nid) && (first..=last).contains(&r.row.seq);
            let mut found: Vec<_> = rows.records.iter().filter(within).collect();
            found.sort_by_key(|row| row.row.seq);
            found.into_iter().map(|row| row.row.leaf_hash).collect()
        })
    }

    fn nodes(&self, scope: Scope, nid: Nid, level: u8, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.read(|rows| {
            let found = rows.nodes.range((nid, level, first)..=(nid, level, last));
            found.filter(|_| reaches(&scope, nid)).map(|(_, hash)| *hash).collect()
        })
    }

    fn checkpoint(&self, scope: Scope, nid: Nid) -> StoreResult<Option<Checkpoint>> {
        self.answer(|rows| {
            let own = rows.checkpoints.iter().filter(|kept| kept.nid == nid && reaches(&scope, nid));
            own.max_by_key(|kept| kept.size).cloned()
        })
    }

    fn put_checkpoints(&self, checkpoints: Vec<Checkpoint>) -> StoreResult<()> {
        self.answer(|rows| rows.checkpoints.extend(checkpoints))
    }

    fn contents(&self, _: Scope, _: Nid, _: String) -> StoreResult<Vec<StoredContent>> {
        self.answer(|_| Vec::new())
    }

    fn purge(&self, scope: Scope, nid: Nid, before: Timestamp, limit: u32) -> StoreResult<Option<Purge>> {
        self.answer(|rows| {
            let old = |r: &&mut Row| {
                r.row.nid == nid && reaches(&scope, nid) && r.row.at < before && r.record.is_some()
            };
            let mut old: Vec<_> = rows.records.iter_mut().filter(old).collect();
            old.sort_by_key(|row| (row.row.at, row.row.seq));
            old.truncate(limit as usize);
            old.iter_mut().for_each(|row| row.record = None);
            let (first_seq, last_seq) =
                (old.iter().map(|r| r.row.seq).min()?, old.iter().map(|r| r.row.seq).max()?);
            Some(Purge { nid, removed: old.len() as u64, first_seq, last_seq })
        })
    }

    fn counts_since(&self, scope: Scope, nid: Option<Nid>, since: Timestamp) -> StoreResult<(u64, u64)> {
        self.answer(|rows| {
            let counts = |r: &&Row| {
                reaches(&scope, r.row.nid) && nid.is_none_or(|nid| r.row.nid == nid) && r.row.at >= since
            };
            let found: Vec<_> = rows.records.iter().filter(counts).collect();
            (found.len() as u64, found.iter().filter(|row| !row.row.allowed).count() as u64)
        })
    }
}

fn add(sum: &mut Settled, delta: &SpendDelta) {
    sum.calls += delta.calls;
    sum.denied += delta.denied;
    sum.failed += delta.failed;
    sum.tokens.input += delta.tokens.input;
    sum.tokens.output += delta.tokens.output;
    sum.cost += delta.cost;
}

impl Rows {
    fn by_caller(&self, scope: &Scope, nid: Option<Nid>, query: &SpendQuery) -> BTreeMap<String, Settled> {
        let mut sums = BTreeMap::new();
        for delta in &self.spend {
            let Owner::Caller(name) = &delta.owner else { continue };
            let days = (query.from_day.as_str()..=query.to_day.as_str()).contains(&delta.window.as_str());
            let wanted = query.caller.as_ref().is_none_or(|caller| caller == name);
            if days && wanted && reaches(scope, delta.nid) && nid.is_none_or(|nid| delta.nid == nid) {
                add(sums.entry(name.clone()).or_default(), delta);
            }
        }
        sums
    }
}

impl BudgetStore for FakeStore {
    fn lease(&self, _: Holder, requests: Vec<LeaseRequest>) -> StoreResult<Vec<Grant>> {
        let none = Grant { granted: Default::default(), left: Default::default() };
        self.answer(|_| vec![none; requests.len()])
    }

    fn give_back(&self, _: Holder, _: Vec<Change>) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn overdraw(&self, _: Holder, _: Vec<Change>) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn forget_changes(&self, _: Holder, _: ChangeId) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn committed(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<NanoUsd>> {
        let figures = self.figures(scope, budgets);
        Box::pin(async move {
            Ok(figures.await?.into_iter().map(|one| one.settled + one.leased + one.unsettled).collect())
        })
    }

    fn figures(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<Figures>> {
        self.answer(|rows| {
            let key = |budget: &BudgetWindow| (budget.nid, budget.owner.clone(), budget.window.clone());
            let of = |budget: &BudgetWindow| rows.figures.get(&key(budget)).copied().unwrap_or_default();
            budgets.iter().map(|b| if reaches(&scope, b.nid) { of(b) } else { Figures::default() }).collect()
        })
    }

    fn settled(&self, scope: Scope, nid: Option<Nid>, query: SpendQuery) -> StoreResult<Settled> {
        self.answer(|rows| {
            let mut total = Settled::default();
            for sum in rows.by_caller(&scope, nid, &query).into_values() {
                total.calls += sum.calls;
                total.denied += sum.denied;
                total.failed += sum.failed;
                total.cost += sum.cost;
            }
            total
        })
    }

    fn settled_by_caller(
        &self,
        scope: Scope,
        nid: Nid,
        query: SpendQuery,
    ) -> StoreResult<Vec<(String, Settled)>> {
        self.answer(|rows| rows.by_caller(&scope, Some(nid), &query).into_iter().collect())
    }

    fn heartbeat(&self, _: Holder, _: Timestamp) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn bury(&self, _: Holder, _: Option<Timestamp>) -> StoreResult<u64> {
        self.answer(|_| 0)
    }

    fn alive(&self, _: Timestamp) -> StoreResult<u64> {
        self.answer(|_| 1)
    }

    fn retire(&self, _: Holder) -> StoreResult<()> {
        self.answer(|_| ())
    }
}

impl TenantStore for FakeStore {
    fn ensure_tenants(&self, proposed: Vec<TenantRow>) -> StoreResult<Vec<TenantRow>> {
        self.answer(|rows| {
            rows.tenants.clone_from(&proposed);
            proposed
        })
    }

    fn tenants_everywhere(&self, _: Scope) -> StoreResult<Vec<TenantRow>> {
        self.answer(|rows| rows.tenants.clone())
    }

    fn remember(&self, _: &'static str, value: String) -> StoreResult<String> {
        self.answer(|_| value)
    }

    fn claim(&self, _: &'static str, _: Holder, _: Timestamp, _: Timestamp) -> StoreResult<bool> {
        self.answer(|_| true)
    }

    fn forget_dead(&self, _: String, _: Timestamp) -> StoreResult<u64> {
        self.answer(|_| 0)
    }

    fn ping(&self) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

/// The row of a tenant.
pub(crate) fn tenant_row(id: &str, nid: Nid) -> TenantRow {
    TenantRow { nid, id: TenantId::parse(id).unwrap() }
}
