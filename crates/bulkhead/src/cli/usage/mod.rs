//! `bulkhead usage`: what tenants used, from the ledger (seed 001; decision 22).

mod bill;
mod reconcile;

use bh_app::ports::UsageDays;
use bh_app::usage::{DayUsage, ModelUsage, UsageMetrics};
use bh_domain::usage::{UtcDay, UtcMonth};
use clap::{Args, Subcommand, ValueEnum};

use super::audit::table::Table;
use super::costs::Books;
use super::{Failure, print};
use crate::load::ConfigSource;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct UsageArgs {
    #[command(subcommand)]
    command: Option<UsageCommand>,
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// A month in UTC, such as 2026-11.
    #[arg(long, value_name = "MONTH", value_parser = UtcMonth::parse, conflicts_with_all = ["from", "to"])]
    month: Option<UtcMonth>,
    /// First day in UTC, such as 2026-11-01; without it, the 30 days up to the last one.
    #[arg(long, value_name = "DAY", value_parser = UtcDay::parse)]
    from: Option<UtcDay>,
    /// Last day, included; without it, today.
    #[arg(long, value_name = "DAY", value_parser = UtcDay::parse)]
    to: Option<UtcDay>,
    /// What a line is about.
    #[arg(long, value_enum, default_value_t = By::Tenant)]
    by: By,
    /// Print JSON, with everything by model and by day.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum UsageCommand {
    /// Compare our ledger with what a provider says was used, by day and model. Fails where they differ.
    Reconcile(reconcile::ReconcileArgs),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    Tenant,
    Day,
    Model,
}

/// Runs `bulkhead usage …`.
pub(super) async fn run(source: ConfigSource, args: UsageArgs) -> Result<(), Failure> {
    if let Some(UsageCommand::Reconcile(args)) = args.command {
        return Box::pin(reconcile::run(&source, args)).await;
    }
    let books = Books::open(&source).await?;
    let days = match args.month {
        Some(month) => UsageDays { first: month.first, last: month.last },
        None => books.usage.days(args.from, args.to)?,
    };
    let mut used = Vec::new();
    for account in books.accounts(args.tenant.as_deref()).await? {
        used.push(books.usage.metrics(&account, days).await?);
    }
    if let Some(month) = args.month {
        books.usage.whole(month).await?;
    } else if let Some(kept_from) = books.usage.kept_after(days.first).await? {
        let first = days.first;
        print::talk(&format!(
            "usage is kept from {kept_from} on, as `usage.retention_days` says: what was used from {first} until then is missing"
        ));
    }
    if args.json {
        return print::json(&used);
    }
    match args.by {
        By::Tenant => by_tenant(used),
        By::Day => by_day(used),
        By::Model => by_model(used),
    }
}

fn by_tenant(used: Vec<UsageMetrics>) -> Result<(), Failure> {
    let mut table = Table::new(&[
        "TENANT",
        "REQUESTS",
        "SERVED",
        "FAILED",
        "DENIED",
        "TOKENS",
        "COST",
        "CURRENCY",
        "VERIFICATIONS",
    ]);
    for of in used {
        table.row([
            of.tenant_id,
            of.requests.total.to_string(),
            of.requests.success.to_string(),
            of.requests.failed.to_string(),
            of.requests.denied.to_string(),
            of.tokens.total.to_string(),
            of.cost.total.to_string(),
            of.cost.currency,
            of.keys.verifications.to_string(),
        ]);
    }
    table.print()
}

fn by_day(used: Vec<UsageMetrics>) -> Result<(), Failure> {
    let mut table = Table::new(&["TENANT", "DAY", "REQUESTS", "DENIED", "TOKENS", "COST", "CURRENCY"]);
    for of in used {
        for DayUsage { date, requests, tokens, cost, .. } in of.by_day {
            table.row([
                of.tenant_id.clone(),
                date,
                requests.total.to_string(),
                requests.denied.to_string(),
                tokens.total.to_string(),
                cost.to_string(),
                of.cost.currency.clone(),
            ]);
        }
    }
    table.print()
}

fn by_model(used: Vec<UsageMetrics>) -> Result<(), Failure> {
    let mut table = Table::new(&["TENANT", "PROVIDER", "MODEL", "REQUESTS", "TOKENS", "COST", "CURRENCY"]);
    for of in used {
        for ModelUsage { provider, model, requests, tokens, cost } in of.by_model {
            table.row([
                of.tenant_id.clone(),
                named(provider),
                named(model),
                requests.total.to_string(),
                tokens.total.to_string(),
                cost.to_string(),
                of.cost.currency.clone(),
            ]);
        }
    }
    table.print()
}

/// A request that was denied reached no provider.
fn named(name: String) -> String {
    if name.is_empty() { "-".to_owned() } else { name }
}
