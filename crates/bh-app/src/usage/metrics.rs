//! `getMetrics`: what a tenant used from one day to another.

use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::Scope;
use bh_domain::usage::{Latency, UsageKind, UtcDay};
use schemars::JsonSchema;
use serde::Serialize;

use super::{Account, MODELS_MAX, UsageReads};
use crate::ports::{StoreFault, TenantUsage, UsageDays, UsageSums};

/// What stands for the models beyond those that are told one by one.
const OTHER_MODELS: &str = "(other)";
/// Seconds of an hour: servers are counted in seconds and told in hours.
const HOUR_S: u64 = 3_600;

/// What a tenant used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TenantMetrics")]
pub struct UsageMetrics {
    /// Tenant.
    pub tenant_id: String,
    /// First day, in UTC.
    pub start_date: String,
    /// Last day, included.
    pub end_date: String,
    /// The day from which on usage is kept, where that is after `startDate`: what was used before it is in none of these
    /// numbers. `null` when they are whole.
    pub kept_from: Option<String>,
    /// Requests.
    pub requests: RequestCounts,
    /// Tools.
    pub tools: ToolCounts,
    /// Custom servers.
    pub servers: ServerCounts,
    /// Keys that were verified.
    pub keys: KeyCounts,
    /// Tokens.
    pub tokens: TokenTotals,
    /// What providers charge.
    pub cost: CostTotal,
    /// How long requests took, in milliseconds; `null` when none was served.
    pub latency: Option<Percentiles>,
    /// By model, the dearest first. Together they are `requests`, `tokens` and `cost` of the LLM doors.
    pub by_model: Vec<ModelUsage>,
    /// By day. Days without use are left out.
    pub by_day: Vec<DayUsage>,
}

/// Requests, each on record once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RequestCounts {
    /// All of them.
    pub total: u64,
    /// Served.
    pub success: u64,
    /// Let through, and failed.
    pub failed: u64,
    /// Refused: over a limit or a budget, or against a rule.
    pub denied: u64,
}

/// Tools.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ToolCounts {
    /// Tools that were invoked.
    pub invocations: u64,
}

/// Custom servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ServerCounts {
    /// How many ran.
    pub custom: u64,
    /// For how many hours together, each begun one included.
    pub hours: u64,
}

/// Keys that were verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct KeyCounts {
    /// How often.
    pub verifications: u64,
    /// How often they were good.
    pub valid: u64,
    /// How often they were not.
    pub invalid: u64,
}

/// Tokens by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TokenCounts")]
pub struct TokenTotals {
    /// All of them.
    pub total: u64,
    /// Input, neither read from nor written to a cache.
    pub input: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// Input read from a provider's cache.
    pub cache_read: u64,
    /// Input written to a provider's cache.
    pub cache_write: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

/// Money.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CostTotal {
    /// What providers charge, in `currency`.
    pub total: NanoUsd,
    /// ISO 4217 code.
    pub currency: String,
}

/// Milliseconds within which so many per cent of the requests were served to their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Percentiles {
    /// Half of them.
    pub p50: u64,
    /// 95 %.
    pub p95: u64,
    /// 99 %.
    pub p99: u64,
}

/// One model's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ModelUsage {
    /// Provider; empty for requests that reached none.
    pub provider: String,
    /// Model; empty for requests that reached none.
    pub model: String,
    /// Requests.
    pub requests: RequestCounts,
    /// Tokens.
    pub tokens: TokenTotals,
    /// What the provider charges.
    pub cost: NanoUsd,
}

/// One day's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DayUsage {
    /// The day, in UTC.
    pub date: String,
    /// Requests.
    pub requests: RequestCounts,
    /// Tools.
    pub tools: ToolCounts,
    /// Keys that were verified.
    pub keys: KeyCounts,
    /// Tokens.
    pub tokens: TokenTotals,
    /// What providers charge.
    pub cost: NanoUsd,
}

impl UsageReads {
    /// What a tenant used over days.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn metrics(&self, account: &Account, days: UsageDays) -> Result<UsageMetrics, StoreFault> {
        let used = self.used(account, days).await?;
        let kept_from = self.kept_after(days.first).await?;
        let all = Totals::of(&used);
        Ok(UsageMetrics {
            tenant_id: account.tenant_id.clone(),
            start_date: days.first.to_string(),
            end_date: days.last.to_string(),
            kept_from: kept_from.map(|day| day.to_string()),
            requests: RequestCounts::of(&all.all),
            tools: ToolCounts { invocations: all.tools.units },
            servers: ServerCounts { custom: used.servers, hours: all.server_hours() },
            keys: KeyCounts::of(&all.keys),
            tokens: TokenTotals::of(&all.all),
            cost: CostTotal { total: all.all.cost, currency: self.live.load().currency.clone() },
            latency: Percentiles::of(&all.all.latency),
            by_model: by_model(&used, &all.llm),
            by_day: by_day(&used),
        })
    }

    /// The day from which on usage is kept, when days that begin with `first` reach back before it. What was read before
    /// this was asked is whole without one.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn kept_after(&self, first: UtcDay) -> Result<Option<UtcDay>, StoreFault> {
        Ok(self.store.usage_kept_from().await?.filter(|kept_from| *kept_from > first))
    }

    pub(super) async fn used(&self, account: &Account, days: UsageDays) -> Result<TenantUsage, StoreFault> {
        let scope = Scope::tenant(account.nid);
        self.store.usage(scope, account.nid, days, MODELS_MAX).await
    }
}

/// Sums over days.
#[derive(Default)]
pub(super) struct Totals {
    /// Of LLMs and tools: what is asked of somebody else.
    pub(super) all: UsageSums,
    llm: UsageSums,
    pub(super) tools: UsageSums,
    pub(super) keys: UsageSums,
    servers: UsageSums,
}

impl Totals {
    pub(super) fn of(used: &TenantUsage) -> Self {
        let mut totals = Self::default();
        for (_, kind, sums) in &used.days {
            totals.add(*kind, sums);
        }
        totals
    }

    fn add(&mut self, kind: UsageKind, sums: &UsageSums) {
        match kind {
            UsageKind::Llm => {
                self.all.add(sums);
                self.llm.add(sums);
            }
            UsageKind::Tools => {
                self.all.add(sums);
                self.tools.add(sums);
            }
            UsageKind::Keys => self.keys.add(sums),
            UsageKind::Servers => self.servers.add(sums),
            // Nobody is told of it yet.
            UsageKind::Storage => {}
        }
    }

    /// Each begun hour counts.
    pub(super) fn server_hours(&self) -> u64 {
        self.servers.units.div_ceil(HOUR_S)
    }
}

impl RequestCounts {
    pub(super) fn of(sums: &UsageSums) -> Self {
        let UsageSums { requests: total, denied, failed, .. } = *sums;
        Self { total, success: total.saturating_sub(denied + failed), failed, denied }
    }
}

impl KeyCounts {
    fn of(sums: &UsageSums) -> Self {
        let UsageSums { requests: verifications, denied: invalid, .. } = *sums;
        Self { verifications, valid: verifications.saturating_sub(invalid), invalid }
    }
}

impl TokenTotals {
    pub(super) fn of(sums: &UsageSums) -> Self {
        let TokenCounts { input, output, cache_read, cache_write, reasoning } = sums.tokens;
        let total = input + output + cache_read + cache_write;
        Self { total, input, output, cache_read, cache_write, reasoning }
    }
}

impl Percentiles {
    fn of(latency: &Latency) -> Option<Self> {
        let at = |percent| latency.percentile(percent);
        Some(Self { p50: at(50)?, p95: at(95)?, p99: at(99)? })
    }
}

impl ModelUsage {
    fn of(provider: &str, model: &str, sums: &UsageSums) -> Self {
        Self {
            provider: provider.to_owned(),
            model: model.to_owned(),
            requests: RequestCounts::of(sums),
            tokens: TokenTotals::of(sums),
            cost: sums.cost,
        }
    }
}

/// The models that are told, and what is left of everything for those that are not.
fn by_model(used: &TenantUsage, all: &UsageSums) -> Vec<ModelUsage> {
    let mut told = UsageSums::default();
    let mut models = Vec::with_capacity(used.models.len() + 1);
    for (provider, model, sums) in &used.models {
        told.add(sums);
        models.push(ModelUsage::of(provider, model, sums));
    }
    let left = left(all, &told);
    if left != UsageSums::default() {
        models.push(ModelUsage::of("", OTHER_MODELS, &left));
    }
    models
}

/// One less the other, latency apart.
fn left(all: &UsageSums, told: &UsageSums) -> UsageSums {
    UsageSums {
        requests: all.requests.saturating_sub(told.requests),
        denied: all.denied.saturating_sub(told.denied),
        failed: all.failed.saturating_sub(told.failed),
        units: all.units.saturating_sub(told.units),
        tokens: TokenCounts {
            input: all.tokens.input.saturating_sub(told.tokens.input),
            output: all.tokens.output.saturating_sub(told.tokens.output),
            cache_read: all.tokens.cache_read.saturating_sub(told.tokens.cache_read),
            cache_write: all.tokens.cache_write.saturating_sub(told.tokens.cache_write),
            reasoning: all.tokens.reasoning.saturating_sub(told.tokens.reasoning),
        },
        cost: all.cost - told.cost,
        latency: Latency::default(),
    }
}

/// Days in order, each with what all kinds came to.
fn by_day(used: &TenantUsage) -> Vec<DayUsage> {
    let mut days: Vec<(UtcDay, Totals)> = Vec::new();
    for (day, kind, sums) in &used.days {
        if days.last().is_none_or(|(last, _)| last != day) {
            days.push((*day, Totals::default()));
        }
        if let Some((_, totals)) = days.last_mut() {
            totals.add(*kind, sums);
        }
    }
    let told = |(day, totals): (UtcDay, Totals)| DayUsage {
        date: day.to_string(),
        requests: RequestCounts::of(&totals.all),
        tools: ToolCounts { invocations: totals.tools.units },
        keys: KeyCounts::of(&totals.keys),
        tokens: TokenTotals::of(&totals.all),
        cost: totals.all.cost,
    };
    days.into_iter().map(told).collect()
}
