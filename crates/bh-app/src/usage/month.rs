//! `getUsage`: what a tenant used in a month, and what that comes to.

use bh_domain::billing::{Charge, Tariff, Terms};
use bh_domain::money::NanoUsd;
use bh_domain::usage::UtcMonth;
use schemars::JsonSchema;
use serde::Serialize;

use super::metrics::{RequestCounts, TokenTotals, Totals};
use super::{Account, MonthError, UsageReads};
use crate::ports::{TenantUsage, UsageDays};

/// A month's use and its costs, at the prices in force. `total_cost` is the sum of the items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "UsageReport")]
pub struct MonthUsage {
    /// Tenant.
    pub tenant_id: String,
    /// The month, in UTC.
    pub month: String,
    /// Requests that were let through: these are charged for.
    pub api_calls: u64,
    /// Requests that were denied: these are not.
    pub denied_calls: u64,
    /// What API calls cost.
    pub api_calls_cost: NanoUsd,
    /// Tools that were invoked.
    pub tool_invocations: u64,
    /// What they cost.
    pub tool_invocations_cost: NanoUsd,
    /// Custom servers that ran.
    pub custom_servers: u64,
    /// For how many hours together, each begun one included.
    pub custom_server_hours: u64,
    /// What these hours cost.
    pub custom_servers_cost: NanoUsd,
    /// Keys that were verified.
    pub key_verifications: u64,
    /// What that costs.
    pub key_verifications_cost: NanoUsd,
    /// Tokens.
    pub tokens: TokenTotals,
    /// What providers charge for them.
    pub llm_cost: NanoUsd,
    /// Everything together.
    pub total_cost: NanoUsd,
    /// ISO 4217 code.
    pub currency: String,
    /// What the total is the sum of.
    pub line_items: Vec<LineItem>,
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LineItem {
    /// For people.
    pub description: &'static str,
    /// How much was used.
    pub quantity: u64,
    /// Of what.
    pub unit: &'static str,
    /// How much of it the plan includes.
    pub included: u64,
    /// How much of it is charged for.
    pub billable: u64,
    /// The price of `price_units`; `null` where providers' own prices are passed on.
    pub unit_price: Option<NanoUsd>,
    /// How many units `unit_price` is for.
    pub price_units: u32,
    /// What it comes to.
    pub amount: NanoUsd,
}

impl UsageReads {
    /// A tenant's month.
    ///
    /// # Errors
    /// [`MonthError::Forgotten`] when it reaches back before what is kept; when the store does not answer.
    pub async fn month(&self, account: &Account, month: UtcMonth) -> Result<MonthUsage, MonthError> {
        let used = self.used(account, UsageDays { first: month.first, last: month.last }).await?;
        self.whole(month).await?;
        let snapshot = self.live.load();
        let terms = snapshot.billing.of(account.plan.as_deref());
        Ok(MonthUsage::of(account, month, &used, terms, &snapshot.billing.currency))
    }

    /// Says when part of a month has been forgotten. To be asked once what is told of it has been read.
    ///
    /// # Errors
    /// As [`UsageReads::month`].
    pub async fn whole(&self, month: UtcMonth) -> Result<(), MonthError> {
        match self.kept_after(month.first).await? {
            Some(kept_from) => Err(MonthError::Forgotten { month, kept_from }),
            None => Ok(()),
        }
    }
}

impl MonthUsage {
    pub(super) fn of(
        account: &Account,
        month: UtcMonth,
        used: &TenantUsage,
        terms: &Terms,
        currency: &str,
    ) -> Self {
        let totals = Totals::of(used);
        let (requests, tokens) = (RequestCounts::of(&totals.all), TokenTotals::of(&totals.all));
        let api_calls = terms.api_calls.charge(requests.success + requests.failed);
        let tools = terms.tool_invocations.charge(totals.tools.units);
        let servers = terms.server_hours.charge(totals.server_hours());
        let keys = terms.key_verifications.charge(totals.keys.requests);
        let line_items = vec![
            LineItem::of("API calls", "call", &terms.api_calls, api_calls),
            LineItem::of("Tool invocations", "invocation", &terms.tool_invocations, tools),
            LineItem::of("Custom servers", "hour", &terms.server_hours, servers),
            LineItem::of("Key verifications", "verification", &terms.key_verifications, keys),
            LineItem::passed_on("LLM usage", "token", tokens.total, totals.all.cost),
        ];
        Self {
            tenant_id: account.tenant_id.clone(),
            month: month.to_string(),
            api_calls: api_calls.quantity,
            denied_calls: requests.denied,
            api_calls_cost: api_calls.amount,
            tool_invocations: tools.quantity,
            tool_invocations_cost: tools.amount,
            custom_servers: used.servers,
            custom_server_hours: servers.quantity,
            custom_servers_cost: servers.amount,
            key_verifications: keys.quantity,
            key_verifications_cost: keys.amount,
            tokens,
            llm_cost: totals.all.cost,
            total_cost: line_items.iter().map(|item| item.amount).sum(),
            currency: currency.to_owned(),
            line_items,
        }
    }
}

impl LineItem {
    fn of(description: &'static str, unit: &'static str, tariff: &Tariff, charge: Charge) -> Self {
        let Charge { quantity, billable, amount } = charge;
        Self {
            description,
            quantity,
            unit,
            included: tariff.included,
            billable,
            unit_price: Some(tariff.price.amount),
            price_units: tariff.price.units,
            amount,
        }
    }

    fn passed_on(description: &'static str, unit: &'static str, quantity: u64, amount: NanoUsd) -> Self {
        let (included, billable) = (0, quantity);
        Self { description, quantity, unit, included, billable, unit_price: None, price_units: 1, amount }
    }
}
