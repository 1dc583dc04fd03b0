//! What was spent, what is left, and the rows behind it (issue section 5; Talon dossier sections 2.4 and 6).
//!
//! Sums come from the ledger, which is written in the same transaction as the evidence, so they equal the sum over
//! evidence. Days are each tenant's own.

mod budget;
mod export;

use std::fmt;
use std::sync::Arc;

use bh_domain::budget::{TimeZone, Windows};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Scope;
use bh_domain::time::{DAY_MS, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use crate::evidence::Reach;
use crate::ports::{Clock, Settled, SpendQuery, Store, StoreFault};
use crate::snapshot::{Live, Snapshot};

pub use budget::{Budget, BudgetSource, PerPeriod};
pub use export::{COST_COLUMNS, COST_ROWS_MAX, CostExport};

/// A report goes back this far when nobody says how far: today and the 29 days before it.
const REPORT_DAYS: i64 = 30;

/// Reads spending.
#[derive(Clone)]
pub struct CostReads {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    live: Live,
}

impl fmt::Debug for CostReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CostReads").finish_non_exhaustive()
    }
}

/// Today's and this month's spending.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Costs {
    /// Tenant, or `*`.
    pub tenant_id: String,
    /// Caller; empty for all of them.
    pub agent_id: String,
    /// Settled today, in `currency`.
    pub daily: NanoUsd,
    /// Settled this month, in `currency`.
    pub monthly: NanoUsd,
    /// ISO 4217 code.
    pub currency: String,
}

/// Spending over days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CostReport {
    /// Tenant, or `*`.
    pub tenant_id: String,
    /// Caller; empty for all of them.
    pub agent_id: String,
    /// First day, `2026-11-01`.
    pub from: String,
    /// Last day, inclusive.
    pub to: String,
    /// The same as `total`, under the name Talon's clients read. The unit is `currency`, whatever the name says.
    pub total_eur: NanoUsd,
    /// Settled, in `currency`.
    pub total: NanoUsd,
    /// ISO 4217 code.
    pub currency: String,
    /// The same by caller.
    pub by_agent: Vec<AgentCosts>,
}

/// One caller's spending over days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AgentCosts {
    /// Tenant.
    pub tenant_id: String,
    /// Caller.
    pub agent_id: String,
    /// Settled.
    pub cost: NanoUsd,
    /// Calls that reached a provider.
    pub calls: u64,
    /// Calls refused.
    pub denied: u64,
    /// Calls that failed.
    pub failed: u64,
    /// Input tokens at the full price.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// One end of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Day {
    /// A calendar day, `2026-11-21`.
    Named(String),
    /// The tenant's day at this instant.
    Of(Timestamp),
}

impl Day {
    /// Reads a date or an RFC 3339 time.
    ///
    /// # Errors
    /// [`bh_domain::time::TimeError`] repeats the text.
    pub fn parse(text: &str) -> Result<Self, bh_domain::time::TimeError> {
        let instant = Timestamp::parse(text)?;
        Ok(if text.len() == "2026-11-21".len() { Self::Named(text.to_owned()) } else { Self::Of(instant) })
    }
}

impl CostReads {
    /// Stories over `store`, with the days and caps of the configuration in force.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, live: Live) -> Self {
        Self { store, clock, live }
    }

    /// Today's and this month's spending of the reach, or of one caller in it. Over every tenant, today is the day
    /// that has this name in UTC, as each tenant has it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn costs(&self, reach: &Reach, caller: Option<&str>) -> Result<Costs, StoreFault> {
        let snapshot = self.live.load_full();
        let windows = windows(&snapshot, reach, self.clock.now());
        let daily = self.settled(reach, today(&windows, caller)).await?;
        let monthly = self.settled(reach, this_month(&windows, caller)).await?;
        Ok(Costs {
            tenant_id: reach.tenant_id().to_owned(),
            agent_id: caller.unwrap_or_default().to_owned(),
            daily: daily.cost,
            monthly: monthly.cost,
            currency: snapshot.currency.clone(),
        })
    }

    /// Spending from one day to another, both included; the last 30 days when nothing is said.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn report(
        &self,
        reach: &Reach,
        caller: Option<&str>,
        from: Option<Day>,
        to: Option<Day>,
    ) -> Result<CostReport, StoreFault> {
        let snapshot = self.live.load_full();
        let now = self.clock.now();
        let named = |day: Option<Day>, otherwise: Timestamp| match day.unwrap_or(Day::Of(otherwise)) {
            Day::Named(day) => day,
            Day::Of(instant) => windows(&snapshot, reach, instant).day,
        };
        let (from_day, to_day) = (named(from, now.plus_ms(-(REPORT_DAYS - 1) * DAY_MS)), named(to, now));
        let query = SpendQuery { caller: caller.map(str::to_owned), from_day, to_day };
        let by_agent = self.by_agent(reach, &query).await?;
        let total = self.settled(reach, query.clone()).await?.cost;
        Ok(CostReport {
            tenant_id: reach.tenant_id().to_owned(),
            agent_id: caller.unwrap_or_default().to_owned(),
            from: query.from_day,
            to: query.to_day,
            total_eur: total,
            total,
            currency: snapshot.currency.clone(),
            by_agent,
        })
    }

    async fn by_agent(&self, reach: &Reach, query: &SpendQuery) -> Result<Vec<AgentCosts>, StoreFault> {
        let tenants = match reach {
            Reach::Nobody { .. } => Vec::new(),
            Reach::Tenant { id, nid } => vec![(id.clone(), *nid)],
            Reach::Everywhere => {
                let rows =
                    self.store.tenants_everywhere(Scope::system("a cost report of every tenant")).await?;
                rows.into_iter().map(|row| (row.id.to_string(), row.nid)).collect()
            }
        };
        let mut agents = Vec::new();
        for (tenant_id, nid) in tenants {
            let sums = self.store.settled_by_caller(Scope::tenant(nid), nid, query.clone()).await?;
            agents
                .extend(sums.into_iter().map(|(agent, settled)| AgentCosts::of(&tenant_id, agent, &settled)));
        }
        Ok(agents)
    }

    async fn settled(&self, reach: &Reach, query: SpendQuery) -> Result<Settled, StoreFault> {
        settled(self.store.as_ref(), reach, query).await
    }
}

/// Sums over the ledger, of what is in reach.
pub(crate) async fn settled(
    store: &dyn Store,
    reach: &Reach,
    query: SpendQuery,
) -> Result<Settled, StoreFault> {
    match reach.scope() {
        Some(scope) => store.settled(scope, reach.nid(), query).await,
        None => Ok(Settled::default()),
    }
}

impl AgentCosts {
    fn of(tenant_id: &str, agent_id: String, settled: &Settled) -> Self {
        Self {
            tenant_id: tenant_id.to_owned(),
            agent_id,
            cost: settled.cost,
            calls: settled.calls,
            denied: settled.denied,
            failed: settled.failed,
            input_tokens: settled.tokens.input,
            output_tokens: settled.tokens.output,
        }
    }
}

/// The day and month of an instant: the tenant's own, or UTC's for every tenant and for one that is not configured.
pub(crate) fn windows(snapshot: &Snapshot, reach: &Reach, at: Timestamp) -> Windows {
    let tenant = reach.nid().and_then(|nid| snapshot.tenant_by_nid(nid));
    tenant.map_or_else(|| Windows::at(at, &TimeZone::UTC), |tenant| Windows::clone(&tenant.clock.at(at)))
}

/// The spending of one day.
pub(crate) fn today(windows: &Windows, caller: Option<&str>) -> SpendQuery {
    let day = &windows.day;
    SpendQuery { caller: caller.map(str::to_owned), from_day: day.clone(), to_day: day.clone() }
}

/// The spending of one month. Days are compared as text, so no month needs to know its length.
pub(crate) fn this_month(windows: &Windows, caller: Option<&str>) -> SpendQuery {
    let month = &windows.month;
    let (from_day, to_day) = (format!("{month}-01"), format!("{month}-31"));
    SpendQuery { caller: caller.map(str::to_owned), from_day, to_day }
}

#[cfg(test)]
mod tests;
