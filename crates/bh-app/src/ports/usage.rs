//! The usage ledger as the stories see it.
//!
//! What a call counts as is written in the transaction of its evidence and its money, so that usage, evidence and costs
//! never differ (decision 22).

use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::usage::{Hour, Latency, UsageKind, UtcDay};

use super::{Holder, StoreResult};

/// Bytes of a name in the ledger: an index takes no longer ones, and callers choose what models are called.
const NAME_BYTES_MAX: usize = 256;

/// A row of the ledger, but for the process that writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// Tenant.
    pub nid: Nid,
    /// The hour in which what is counted ended: a month that is over gets nothing more once its last calls are written.
    pub hour: Hour,
    /// What is counted.
    pub kind: UsageKind,
    /// Caller name.
    pub caller: String,
    /// Provider; empty where none was reached.
    pub provider: String,
    /// Model, tool or server; empty where none was reached.
    pub model: String,
}

impl UsageKey {
    /// A key with names that every store takes: without control characters, and cut where they are too long.
    #[must_use]
    pub fn new(nid: Nid, hour: Hour, kind: UsageKind, names: [&str; 3]) -> Self {
        let [caller, provider, model] = names.map(plain);
        Self { nid, hour, kind, caller, provider, model }
    }
}

fn plain(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control) {
        return name.to_owned();
    }
    let cut = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
    cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Counts of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Requests on record: those that were served, those that failed and those that were denied.
    pub requests: u64,
    /// Requests denied: over a limit or a budget, or against a rule.
    pub denied: u64,
    /// Requests that were let through and failed.
    pub failed: u64,
    /// What the kind counts beside requests ([`UsageKind`] says in which unit).
    pub units: u64,
    /// Tokens.
    pub tokens: TokenCounts,
    /// What providers charge for it.
    pub cost: NanoUsd,
    /// How long requests took that were served to their end.
    pub latency: Latency,
}

impl UsageSums {
    /// Adds counts.
    pub fn add(&mut self, other: &Self) {
        let add = |sum: &mut u64, count: u64| *sum = sum.saturating_add(count);
        add(&mut self.requests, other.requests);
        add(&mut self.denied, other.denied);
        add(&mut self.failed, other.failed);
        add(&mut self.units, other.units);
        add(&mut self.tokens.input, other.tokens.input);
        add(&mut self.tokens.output, other.tokens.output);
        add(&mut self.tokens.cache_read, other.tokens.cache_read);
        add(&mut self.tokens.cache_write, other.tokens.cache_write);
        add(&mut self.tokens.reasoning, other.tokens.reasoning);
        self.cost += other.cost;
        self.latency.add(&other.latency);
    }
}

/// What is added to a row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageDelta {
    /// To which row.
    pub key: UsageKey,
    /// How much.
    pub sums: UsageSums,
}

/// Calendar days in UTC, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsageDays {
    /// First day.
    pub first: UtcDay,
    /// Last day.
    pub last: UtcDay,
}

/// A tenant's usage over days, all of it of one instant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantUsage {
    /// By day and kind, in this order. Together they are all there is.
    pub days: Vec<(UtcDay, UsageKind, UsageSums)>,
    /// Providers and their models at the LLM doors, the dearest first; latency is not told apart.
    pub models: Vec<(String, String, UsageSums)>,
    /// How many custom servers ran.
    pub servers: u64,
}

/// A model on one day, over every tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelDay {
    /// The day.
    pub day: UtcDay,
    /// Model.
    pub model: String,
    /// Counts; latency is not told.
    pub sums: UsageSums,
}

/// The usage ledger. What is on record is added to it by [`super::EvidenceStore::append`].
pub trait UsageStore: Send + Sync + 'static {
    /// A tenant's usage over days: at most `models_max` models of it.
    fn usage(&self, scope: Scope, nid: Nid, days: UsageDays, models_max: u32) -> StoreResult<TenantUsage>;
    /// What every tenant's calls used of one provider's models, by day. For a system scope alone.
    fn usage_by_model_day(
        &self,
        scope: Scope,
        provider: String,
        days: UsageDays,
    ) -> StoreResult<Vec<ModelDay>>;
    /// Sets what a process has counted in its rows, for what no batch counts. Asked for again, it changes nothing.
    fn put_usage(&self, holder: Holder, rows: Vec<UsageDelta>) -> StoreResult<()>;
    /// Moves the hours before a day into days, in bounded steps: no sum changes by it. Returns how many rows were moved.
    fn roll_usage_up(&self, before: UtcDay) -> StoreResult<u64>;
    /// Forgets days before one, in bounded steps, having noted that they go. Returns how many rows were forgotten.
    fn forget_usage(&self, before: UtcDay) -> StoreResult<u64>;
    /// The day from which on nothing has been forgotten; `None`: nothing has. Read after sums, it says whether they are
    /// whole: a day is noted before it goes.
    fn usage_kept_from(&self) -> StoreResult<Option<UtcDay>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_index_takes_is_cut_and_mended() {
        let long = "ä".repeat(200);
        let key = UsageKey::new(Nid::SYSTEM, Hour(1), UsageKind::Llm, ["web", "a\0b", &long]);
        assert_eq!((key.caller.as_str(), key.provider.as_str()), ("web", "a b"));
        assert_eq!(key.model, "ä".repeat(128));
    }
}
