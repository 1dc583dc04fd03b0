//! The store of a gateway that may be running: read, never written.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bh_app::ports::{
    AnchorStore, Appended, Batch, BudgetStore, BudgetWindow, Change, ChangeId, Checkpoint, Connections,
    EvidenceFilter, EvidenceStore, Figures, Grant, Holder, LeaseRequest, ModelDay, ProfileStore, Purge,
    Settled, SpendQuery, StoreResult, StoredContent, StoredHead, StoredRecord, TenantRow, TenantStore,
    TenantUsage, UsageDays, UsageDelta, UsageStore,
};
use bh_config::Loaded;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use bh_domain::usage::UtcDay;
use bh_store::{Access, Options, SqlStore};

use crate::assemble;
use crate::cli::Failure;

/// One command reads one thing after the other.
const CONNECTIONS: u32 = 2;

/// Opens the store that the configuration names, to read only.
pub(in crate::cli) async fn open_beside(
    loaded: &Loaded,
    data_dir: &Path,
) -> Result<Arc<ReadBeside>, Failure> {
    let (url, _) = assemble::store_url(loaded, data_dir);
    let store = bh_store::open(&url, Options { access: Access::Read, connections_max: CONNECTIONS }).await?;
    Ok(Arc::new(ReadBeside(store)))
}

/// The store as the gateway beside this process keeps it. The connection refuses every write; the two that reading
/// stories make along the way are left out here: a checkpoint signed now goes into what is printed and is not kept,
/// and a tenant that is configured but not on record yet is not put there.
pub(in crate::cli) struct ReadBeside(SqlStore);

impl ReadBeside {
    /// The audit trails, as far as they are part of the evidence.
    pub(super) fn trails(&self) -> &dyn AnchorStore {
        &self.0
    }

    /// The tenants that were made at run time.
    pub(in crate::cli) fn profiles(&self) -> &dyn ProfileStore {
        &self.0
    }
}

impl EvidenceStore for ReadBeside {
    fn heads(&self, nids: Vec<Nid>) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.0.heads(nids)
    }

    fn heads_everywhere(&self, scope: Scope) -> StoreResult<HashMap<Nid, StoredHead>> {
        self.0.heads_everywhere(scope)
    }

    fn append(&self, batch: Arc<Batch>) -> StoreResult<Appended> {
        self.0.append(batch)
    }

    fn probe(&self) -> StoreResult<()> {
        self.0.probe()
    }

    fn records(&self, scope: Scope, filter: EvidenceFilter) -> StoreResult<Vec<StoredRecord>> {
        self.0.records(scope, filter)
    }

    fn record(&self, scope: Scope, id: String) -> StoreResult<Option<StoredRecord>> {
        self.0.record(scope, id)
    }

    fn chain(
        &self,
        scope: Scope,
        nid: Nid,
        first: u64,
        last: u64,
        limit: u32,
    ) -> StoreResult<Vec<StoredRecord>> {
        self.0.chain(scope, nid, first, last, limit)
    }

    fn leaf_hashes(&self, scope: Scope, nid: Nid, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.0.leaf_hashes(scope, nid, first, last)
    }

    fn nodes(&self, scope: Scope, nid: Nid, level: u8, first: u64, last: u64) -> StoreResult<Vec<[u8; 32]>> {
        self.0.nodes(scope, nid, level, first, last)
    }

    fn checkpoint(&self, scope: Scope, nid: Nid) -> StoreResult<Option<Checkpoint>> {
        self.0.checkpoint(scope, nid)
    }

    fn put_checkpoints(&self, _checkpoints: Vec<Checkpoint>) -> StoreResult<()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn contents(&self, scope: Scope, nid: Nid, record_id: String) -> StoreResult<Vec<StoredContent>> {
        self.0.contents(scope, nid, record_id)
    }

    fn purge(&self, scope: Scope, nid: Nid, before: Timestamp, limit: u32) -> StoreResult<Option<Purge>> {
        self.0.purge(scope, nid, before, limit)
    }

    fn counts_since(&self, scope: Scope, nid: Option<Nid>, since: Timestamp) -> StoreResult<(u64, u64)> {
        self.0.counts_since(scope, nid, since)
    }
}

impl TenantStore for ReadBeside {
    fn ensure_tenants(&self, proposed: Vec<TenantRow>) -> StoreResult<Vec<TenantRow>> {
        let known = self.tenants_everywhere(Scope::system("the tenants on record"));
        Box::pin(async move {
            let known: HashMap<_, _> = known.await?.into_iter().map(|row| (row.id.clone(), row)).collect();
            Ok(proposed.into_iter().map(|row| known.get(&row.id).cloned().unwrap_or(row)).collect())
        })
    }

    fn tenants_everywhere(&self, scope: Scope) -> StoreResult<Vec<TenantRow>> {
        self.0.tenants_everywhere(scope)
    }

    fn remember(&self, name: &'static str, value: String) -> StoreResult<String> {
        self.0.remember(name, value)
    }

    fn claim(
        &self,
        job: &'static str,
        holder: Holder,
        now: Timestamp,
        until: Timestamp,
    ) -> StoreResult<bool> {
        self.0.claim(job, holder, now, until)
    }

    fn forget_dead(&self, day: String, seen: Timestamp) -> StoreResult<u64> {
        self.0.forget_dead(day, seen)
    }

    fn ping(&self) -> StoreResult<()> {
        self.0.ping()
    }

    fn connections(&self) -> Connections {
        self.0.connections()
    }
}

impl BudgetStore for ReadBeside {
    fn lease(&self, holder: Holder, requests: Vec<LeaseRequest>) -> StoreResult<Vec<Grant>> {
        self.0.lease(holder, requests)
    }

    fn give_back(&self, holder: Holder, unspent: Vec<Change>) -> StoreResult<()> {
        self.0.give_back(holder, unspent)
    }

    fn overdraw(&self, holder: Holder, over: Vec<Change>) -> StoreResult<()> {
        self.0.overdraw(holder, over)
    }

    fn forget_changes(&self, holder: Holder, before: ChangeId) -> StoreResult<()> {
        self.0.forget_changes(holder, before)
    }

    fn committed(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<NanoUsd>> {
        self.0.committed(scope, budgets)
    }

    fn figures(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<Figures>> {
        self.0.figures(scope, budgets)
    }

    fn settled(&self, scope: Scope, nid: Option<Nid>, query: SpendQuery) -> StoreResult<Settled> {
        self.0.settled(scope, nid, query)
    }

    fn settled_by_caller(
        &self,
        scope: Scope,
        nid: Nid,
        query: SpendQuery,
    ) -> StoreResult<Vec<(String, Settled)>> {
        self.0.settled_by_caller(scope, nid, query)
    }

    fn heartbeat(&self, holder: Holder, now: Timestamp) -> StoreResult<()> {
        self.0.heartbeat(holder, now)
    }

    fn bury(&self, holder: Holder, since: Option<Timestamp>) -> StoreResult<u64> {
        self.0.bury(holder, since)
    }

    fn alive(&self, since: Timestamp) -> StoreResult<u64> {
        self.0.alive(since)
    }

    fn retire(&self, holder: Holder) -> StoreResult<()> {
        self.0.retire(holder)
    }
}

impl UsageStore for ReadBeside {
    fn usage(&self, scope: Scope, nid: Nid, days: UsageDays, models_max: u32) -> StoreResult<TenantUsage> {
        self.0.usage(scope, nid, days, models_max)
    }

    fn usage_by_model_day(
        &self,
        scope: Scope,
        provider: String,
        days: UsageDays,
    ) -> StoreResult<Vec<ModelDay>> {
        self.0.usage_by_model_day(scope, provider, days)
    }

    fn put_usage(&self, holder: Holder, rows: Vec<UsageDelta>) -> StoreResult<()> {
        self.0.put_usage(holder, rows)
    }

    fn roll_usage_up(&self, before: UtcDay) -> StoreResult<u64> {
        self.0.roll_usage_up(before)
    }

    fn forget_usage(&self, before: UtcDay) -> StoreResult<u64> {
        self.0.forget_usage(before)
    }

    fn usage_kept_from(&self) -> StoreResult<Option<UtcDay>> {
        self.0.usage_kept_from()
    }
}
