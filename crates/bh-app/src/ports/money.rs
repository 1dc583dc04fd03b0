//! Budgets and spending as the stories see them.
//!
//! `budget_windows.committed` = everything ever granted to any process and not returned; it never exceeds the cap.
//! `spend` = what was settled, written in the same transaction as the evidence that proves it.
//! A process's outstanding lease = what it was granted in a window − what it settled there. Once the process is
//! dead, that difference is the window's `unsettled`.

use bh_domain::budget::Owner;
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::StoreResult;

/// One run of one process: who holds leases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(pub Uuid);

/// One budget in one window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BudgetWindow {
    /// Tenant, or `Nid::SYSTEM` for the organisation's budget.
    pub nid: Nid,
    /// Whose budget.
    pub owner: Owner,
    /// `2026-11-21`, `2026-11` or `session`.
    pub window: String,
}

/// Names a change of a budget among those of one process, in the order in which they were begun. A change that is asked
/// for again under its id, because its answer was lost, is made once.
pub type ChangeId = u64;

/// An amount by which what a process has leased is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which change.
    pub id: ChangeId,
    /// Of which budget.
    pub budget: BudgetWindow,
    /// By how much; positive.
    pub amount: NanoUsd,
}

/// A wish for part of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRequest {
    /// Which change: asked for again, it gets the grant it had.
    pub id: ChangeId,
    /// Which budget.
    pub budget: BudgetWindow,
    /// The cap, from the configuration in force.
    pub cap: NanoUsd,
    /// Granting less than this is no use.
    pub needed: NanoUsd,
    /// Grant up to this much.
    pub wanted: NanoUsd,
    /// First lease of this process in this window: bring `committed` up to what was settled without a lease
    /// (while the budget had no cap).
    pub first: bool,
}

/// The store's answer to a [`LeaseRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Granted: 0, or between `needed` and `wanted`.
    pub granted: NanoUsd,
    /// Left under the cap after this grant, for everybody.
    pub left: NanoUsd,
}

/// What settled calls add to a caller's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendDelta {
    /// Tenant, or `Nid::SYSTEM` with [`Owner::Organization`].
    pub nid: Nid,
    /// [`Owner::Caller`], [`Owner::Organization`] or [`Owner::Session`].
    pub owner: Owner,
    /// The day, `2026-11-21`; `session` for a session.
    pub window: String,
    /// Calls that reached a provider.
    pub calls: u64,
    /// Calls refused.
    pub denied: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Tokens.
    pub tokens: TokenCounts,
    /// Cost.
    pub cost: NanoUsd,
}

/// A budget's state, for reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Proven by evidence.
    pub settled: NanoUsd,
    /// Leased by living processes and not settled yet.
    pub leased: NanoUsd,
    /// Left behind by dead processes: counts against the cap until the window ends.
    pub unsettled: NanoUsd,
}

/// Which spending to add up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpendQuery {
    /// One caller, or all.
    pub caller: Option<String>,
    /// First day, `2026-11-01`.
    pub from_day: String,
    /// Last day, inclusive.
    pub to_day: String,
}

/// Sums over the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Calls that reached a provider.
    pub calls: u64,
    /// Calls refused.
    pub denied: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Tokens.
    pub tokens: TokenCounts,
    /// Cost.
    pub cost: NanoUsd,
}

/// Leases, and the ledger of what was spent.
pub trait BudgetStore: Send + Sync + 'static {
    /// Grants parts of budgets, durably, all in one transaction; each request is decided on its own.
    fn lease(&self, holder: Holder, requests: Vec<LeaseRequest>) -> StoreResult<Vec<Grant>>;
    /// Gives unspent money back.
    fn give_back(&self, holder: Holder, unspent: Vec<Change>) -> StoreResult<()>;
    /// Records that a settled call cost more than was held: raises `committed` past the cap if it must.
    fn overdraw(&self, holder: Holder, over: Vec<Change>) -> StoreResult<()>;
    /// The process has heard the answer to every change before this one: none of them will be asked for again.
    fn forget_changes(&self, holder: Holder, before: ChangeId) -> StoreResult<()>;
    /// What was ever granted of budgets and not given back, in the order asked: no less than was spent, but for calls that
    /// cost more than they held and are settled just now. A look at one row each, where [`BudgetStore::figures`] adds up.
    fn committed(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<NanoUsd>>;
    /// The state of budgets, in the order asked.
    fn figures(&self, scope: Scope, budgets: Vec<BudgetWindow>) -> StoreResult<Vec<Figures>>;
    /// Sums over days of one tenant (`None` = all tenants, for a system scope).
    fn settled(&self, scope: Scope, nid: Option<Nid>, query: SpendQuery) -> StoreResult<Settled>;
    /// Sums per caller over days of one tenant.
    fn settled_by_caller(
        &self,
        scope: Scope,
        nid: Nid,
        query: SpendQuery,
    ) -> StoreResult<Vec<(String, Settled)>>;
    /// Marks this process alive at `now`; a durable write, so it also proves that the store can be written.
    fn heartbeat(&self, holder: Holder, now: Timestamp) -> StoreResult<()>;
    /// Marks processes dead that were last seen before `since` (all others, when this process owns the store
    /// alone). Returns how many died.
    fn bury(&self, holder: Holder, since: Option<Timestamp>) -> StoreResult<u64>;
    /// How many processes were seen alive at `since` or later.
    fn alive(&self, since: Timestamp) -> StoreResult<u64>;
    /// Ends this process in good order: its leases are given back in full.
    fn retire(&self, holder: Holder) -> StoreResult<()>;
}
