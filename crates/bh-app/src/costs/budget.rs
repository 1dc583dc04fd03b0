//! What is left of the budgets.

use std::sync::Arc;

use bh_domain::budget::{Owner, Windows};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use super::{CostReads, this_month, today, windows};
use crate::evidence::Reach;
use crate::ports::{BudgetWindow, Figures, StoreFault};
use crate::snapshot::{Caller, Caps, Snapshot};

/// Where a cap comes from (`budget_source` of the Talon dossier, section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BudgetSource {
    /// The caps of one caller.
    AgentEffectiveCap,
    /// No such caller is configured: there is no cap to show.
    UnknownAgent,
    /// The tenant has no caps of its own and several callers: name one.
    UnresolvedMultiAgent,
    /// The caps of the tenant as a whole.
    PolicyCostLimits,
    /// The cap over every tenant.
    OrganizationCap,
}

impl BudgetSource {
    /// What the figures mean, in a sentence.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Self::AgentEffectiveCap => "Caps of this agent; the tenant's own caps hold beside them",
            Self::UnknownAgent => "No agent of this name is configured, so it has no caps",
            Self::UnresolvedMultiAgent => {
                "The tenant has no caps of its own; name an agent_id to see that agent's"
            }
            Self::PolicyCostLimits => "Caps of the tenant; each agent's own caps hold beside them",
            Self::OrganizationCap => "Caps over every tenant together",
        }
    }
}

/// An amount for the day and one for the month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "PerPeriodOf{T}")]
pub struct PerPeriod<T> {
    /// Of the day.
    pub daily: T,
    /// Of the month.
    pub monthly: T,
}

/// The state of a daily and a monthly budget. `used + leased + unsettled` never passes a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "BudgetState")]
pub struct Budget {
    /// Tenant, or `*`.
    pub tenant_id: String,
    /// Caller, when the figures are one caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// Settled today, in `currency`.
    pub daily_used: NanoUsd,
    /// Settled this month, in `currency`.
    pub monthly_used: NanoUsd,
    /// Cap of the day; none = unlimited.
    pub daily_limit: Option<NanoUsd>,
    /// Cap of the month; none = unlimited.
    pub monthly_limit: Option<NanoUsd>,
    /// Set aside for calls by running processes, today.
    pub daily_leased: NanoUsd,
    /// Set aside for calls by running processes, this month.
    pub monthly_leased: NanoUsd,
    /// Left behind by processes that died: counts against the cap until the window ends.
    pub unsettled: PerPeriod<NanoUsd>,
    /// ISO 4217 code.
    pub currency: String,
    /// When the windows end, RFC 3339.
    #[serde(serialize_with = "instants")]
    #[schemars(with = "PerPeriod<String>")]
    pub window_ends_at: PerPeriod<Timestamp>,
    /// Where the caps come from.
    pub budget_source: BudgetSource,
    /// What that means.
    pub note: &'static str,
}

fn instants<S: Serializer>(ends: &PerPeriod<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    PerPeriod { daily: ends.daily.rfc3339(), monthly: ends.monthly.rfc3339() }.serialize(to)
}

/// Whose budget it is, and its caps.
struct Account {
    nid: Nid,
    owner: Owner,
    caps: Caps,
    source: BudgetSource,
    windows: Windows,
}

impl CostReads {
    /// The budgets of the reach: of one caller, of the tenant, or over every tenant.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn budget(&self, reach: &Reach, caller: Option<&str>) -> Result<Budget, StoreFault> {
        let snapshot = self.live.load_full();
        let account = account(&snapshot, reach, caller, self.clock.now());
        let [daily, monthly] = self.figures(reach, &account, caller).await?;
        let Account { owner, caps, source, windows, .. } = account;
        Ok(Budget {
            tenant_id: reach.tenant_id().to_owned(),
            agent_id: match owner {
                Owner::Caller(name) => Some(name),
                Owner::Tenant | Owner::Organization | Owner::Session { .. } | Owner::Token(_) => None,
            },
            daily_used: daily.settled,
            monthly_used: monthly.settled,
            daily_limit: caps.daily,
            monthly_limit: caps.monthly,
            daily_leased: daily.leased,
            monthly_leased: monthly.leased,
            unsettled: PerPeriod { daily: daily.unsettled, monthly: monthly.unsettled },
            currency: snapshot.currency.clone(),
            window_ends_at: PerPeriod { daily: windows.day_end, monthly: windows.month_end },
            budget_source: source,
            note: source.note(),
        })
    }

    async fn figures(
        &self,
        reach: &Reach,
        account: &Account,
        caller: Option<&str>,
    ) -> Result<[Figures; 2], StoreFault> {
        let Some(scope) = reach.scope() else { return Ok([Figures::default(); 2]) };
        let Account { nid, owner, windows, .. } = account;
        let window = |label: &str| BudgetWindow { nid: *nid, owner: owner.clone(), window: label.to_owned() };
        let asked = vec![window(&windows.day), window(&windows.month)];
        let mut figures = self.store.figures(scope, asked).await?.into_iter();
        let mut both = [figures.next().unwrap_or_default(), figures.next().unwrap_or_default()];
        if *reach == Reach::Everywhere {
            // The organisation's own counter starts with its cap; what was spent is known without one.
            both[0].settled = self.settled(reach, today(windows, caller)).await?.cost;
            both[1].settled = self.settled(reach, this_month(windows, caller)).await?.cost;
        }
        Ok(both)
    }
}

fn account(snapshot: &Snapshot, reach: &Reach, caller: Option<&str>, now: Timestamp) -> Account {
    let windows = windows(snapshot, reach, now);
    let (nid, owner, caps, source) = match reach {
        Reach::Everywhere => organization(snapshot),
        Reach::Tenant { nid, .. } => match caller {
            Some(name) => of_caller(snapshot, *nid, name),
            None => of_tenant(snapshot, *nid),
        },
        // Nobody's budget: the nil tenant's, which is never read because there is no scope for it.
        Reach::Nobody { .. } => (Nid::SYSTEM, Owner::Tenant, Caps::default(), BudgetSource::PolicyCostLimits),
    };
    Account { nid, owner, caps, source, windows }
}

type Whose = (Nid, Owner, Caps, BudgetSource);

fn of_caller(snapshot: &Snapshot, nid: Nid, name: &str) -> Whose {
    let known = callers(snapshot, nid).into_iter().find(|caller| caller.name == name);
    let source = if known.is_some() { BudgetSource::AgentEffectiveCap } else { BudgetSource::UnknownAgent };
    let caps = known.map(|caller| caller.caps).unwrap_or_default();
    (nid, Owner::Caller(name.to_owned()), caps, source)
}

fn of_tenant(snapshot: &Snapshot, nid: Nid) -> Whose {
    let caps = snapshot.tenant_by_nid(nid).map(|tenant| tenant.caps).unwrap_or_default();
    let callers = callers(snapshot, nid);
    let own = caps.daily.is_some() || caps.monthly.is_some();
    let capped = callers.iter().any(|caller| caller.caps.daily.is_some() || caller.caps.monthly.is_some());
    if own || !capped {
        return (nid, Owner::Tenant, caps, BudgetSource::PolicyCostLimits);
    }
    match callers.as_slice() {
        [only] => of_caller(snapshot, nid, &only.name),
        _ => (nid, Owner::Tenant, caps, BudgetSource::UnresolvedMultiAgent),
    }
}

/// The cap over every tenant. Each caller carries the budgets it must fit, so any one of them knows it.
fn organization(snapshot: &Snapshot) -> Whose {
    let mut caps = Caps::default();
    let budgets =
        snapshot.keyring.callers().next().map(|caller| caller.budgets.as_slice()).unwrap_or_default();
    for budget in budgets.iter().filter(|budget| *budget.cell.owner == Owner::Organization) {
        match budget.cell.period {
            bh_domain::budget::Period::Day => caps.daily = Some(budget.cap),
            bh_domain::budget::Period::Month => caps.monthly = Some(budget.cap),
            bh_domain::budget::Period::Session => {}
        }
    }
    (Nid::SYSTEM, Owner::Organization, caps, BudgetSource::OrganizationCap)
}

/// A tenant's callers, each once however many keys it has.
fn callers(snapshot: &Snapshot, nid: Nid) -> Vec<&Arc<Caller>> {
    let all =
        snapshot.keyring.callers().chain(snapshot.quickstart.iter().map(|quickstart| &quickstart.caller));
    let mut callers: Vec<_> = all.filter(|caller| caller.tenant.nid == nid).collect();
    callers.sort_by(|a, b| a.name.cmp(&b.name));
    callers.dedup_by(|a, b| a.name == b.name);
    callers
}
