//! `bulkhead costs`: today's and this month's spending, from the ledger (Talon dossier section 6).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bh_app::budgets::BudgetKeeper;
use bh_app::costs::{AgentCosts, COST_ROWS_MAX, CostExport, CostReads, Day};
use bh_app::evidence::{IndexEntry, PAGE_RECORDS_MAX};
use bh_app::identity::KeyHasher;
use bh_app::metrics::Metrics;
use bh_app::ports::{EvidenceFilter, Holder, Store};
use bh_app::snapshot::{Accounts, Live, TenantSecrets};
use bh_app::tenants;
use bh_app::usage::{Account, UsageReads};
use bh_domain::budget::{TimeZone, Windows};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::TenantId;
use bh_domain::time::Timestamp;
use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::audit::output::Output;
use super::audit::reader::{Reader, Tenant};
use super::audit::table::Table;
use super::{Failure, audit, print};
use crate::compile::{self, Mode, Runtime};
use crate::load::ConfigSource;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct CostsArgs {
    #[command(subcommand)]
    command: Option<CostsCommand>,
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// One caller.
    #[arg(long, value_name = "CALLER")]
    agent: Option<String>,
    /// This month's spending by model, from the evidence.
    #[arg(long, conflicts_with = "by_provider")]
    by_model: bool,
    /// This month's spending by provider, from the evidence.
    #[arg(long)]
    by_provider: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum CostsCommand {
    /// Write the rows behind the sums, one for each decision, newest first.
    Export(CostsExportArgs),
}

#[derive(Debug, Args)]
struct CostsExportArgs {
    /// Form.
    #[arg(long, value_enum, default_value_t = Form::Csv)]
    format: Form,
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// One caller.
    #[arg(long, value_name = "CALLER")]
    agent: Option<String>,
    /// From this time on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Before this time: RFC 3339, or a date.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// The newest so many rows.
    #[arg(long, default_value = "10000", value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(COST_ROWS_MAX)))]
    limit: u32,
    /// File to write, readable by its owner alone; standard output without it.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Csv,
    Json,
}

/// Runs `bulkhead costs …`.
pub(super) async fn run(source: ConfigSource, args: CostsArgs) -> Result<(), Failure> {
    let books = Books::open(&source).await?;
    match args.command {
        Some(CostsCommand::Export(args)) => export(&books, args).await,
        None if args.by_model || args.by_provider => by_share(&books, &args).await,
        None => by_caller(&books, &args).await,
    }
}

/// The ledger and the configuration that says whose day it is.
pub(super) struct Books {
    pub(super) reader: Reader,
    costs: CostReads,
    pub(super) usage: UsageReads,
    live: Live,
}

impl Books {
    pub(super) async fn open(source: &ConfigSource) -> Result<Self, Failure> {
        let reader = Reader::open(source).await?;
        let store: Arc<dyn Store> = reader.store.clone();
        // A snapshot is compiled for callers that come with keys; here none does.
        let (hasher, secrets) = (KeyHasher::new(&[0; 32]), TenantSecrets::new(&[0; 32]));
        let keeper = BudgetKeeper::new(reader.store.clone(), Arc::clone(&reader.clock), Holder::default());
        let runtime = Runtime::new(
            hasher,
            secrets,
            Accounts { budgets: keeper, rates: Arc::default(), shared: None },
            Metrics::new(),
        );
        let live = Box::pin(in_force(&reader, &runtime)).await?;
        let costs = CostReads::new(store, Arc::clone(&reader.clock), Arc::clone(&live));
        let usage = UsageReads::new(reader.store.clone(), Arc::clone(&reader.clock), Arc::clone(&live));
        Ok(Self { reader, costs, usage, live })
    }

    /// The accounts of the named tenant, or of all of them when none is named, as the gateway has them. One that is on
    /// record and neither configured nor made at run time has no plan.
    pub(super) async fn accounts(&self, tenant: Option<&str>) -> Result<Vec<Account>, Failure> {
        let snapshot = self.live.load_full();
        let known = |tenant: &Tenant| {
            let found = TenantId::parse(&tenant.id).ok().and_then(|id| snapshot.tenant_ever(&id));
            found.filter(|found| found.nid == tenant.nid)
        };
        let account = |tenant: Tenant| match known(&tenant) {
            Some(known) => Account::of(&known),
            None => Account { tenant_id: tenant.id, nid: tenant.nid, plan: None },
        };
        Ok(self.reader.tenants(tenant).await?.into_iter().map(account).collect())
    }

    /// The tenant's own day and month; UTC's for one that is not configured any more.
    fn windows(&self, tenant: &Tenant) -> Windows {
        let (snapshot, now) = (self.live.load(), self.reader.now());
        let zone = snapshot.tenant_by_nid(tenant.nid).map(|tenant| tenant.clock.at(now));
        zone.map_or_else(|| Windows::at(now, &TimeZone::UTC), |windows| Windows::clone(&windows))
    }
}

/// The configuration as the gateway has it in force, with the tenants that were made at run time: their plans say what they
/// owe.
async fn in_force(reader: &Reader, runtime: &Runtime) -> Result<Live, Failure> {
    tenants::learn(reader.store.profiles(), &runtime.directory, Timestamp(i64::MIN)).await?;
    let (now, beside) = (reader.now(), reader.store.as_ref());
    let snapshot = compile::compile(&reader.loaded, runtime, beside, None, now, Mode::Configured).await?;
    Ok(Arc::new(ArcSwap::from_pointee(snapshot)))
}

/// One caller's line.
#[derive(Debug, Serialize)]
struct CallerCosts {
    tenant_id: String,
    agent_id: String,
    daily: NanoUsd,
    monthly: NanoUsd,
    calls_this_month: u64,
    denied_this_month: u64,
    currency: String,
}

async fn by_caller(books: &Books, args: &CostsArgs) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for tenant in books.reader.tenants(args.tenant.as_deref()).await? {
        lines.extend(callers(books, &tenant, args.agent.as_deref()).await?);
    }
    if args.json {
        return print::json(&lines);
    }
    let mut table = Table::new(&["TENANT", "AGENT", "TODAY", "THIS MONTH", "CURRENCY", "CALLS", "DENIED"]);
    for line in lines {
        table.row([
            line.tenant_id,
            line.agent_id,
            line.daily.to_string(),
            line.monthly.to_string(),
            line.currency,
            line.calls_this_month.to_string(),
            line.denied_this_month.to_string(),
        ]);
    }
    table.print()
}

/// Every caller of a tenant that has spent, or been refused, this month.
async fn callers(books: &Books, tenant: &Tenant, caller: Option<&str>) -> Result<Vec<CallerCosts>, Failure> {
    let windows = books.windows(tenant);
    let (today, first) = (Day::Named(windows.day), Day::Named(format!("{}-01", windows.month)));
    let reach = tenant.reach();
    let month = books.costs.report(&reach, caller, Some(first), Some(today.clone())).await?;
    let day = books.costs.report(&reach, caller, Some(today.clone()), Some(today)).await?;
    let daily: BTreeMap<String, NanoUsd> =
        day.by_agent.into_iter().map(|agent| (agent.agent_id, agent.cost)).collect();
    let line = |agent: AgentCosts| CallerCosts {
        daily: daily.get(&agent.agent_id).copied().unwrap_or_default(),
        tenant_id: agent.tenant_id,
        agent_id: agent.agent_id,
        monthly: agent.cost,
        calls_this_month: agent.calls,
        denied_this_month: agent.denied,
        currency: month.currency.clone(),
    };
    Ok(month.by_agent.into_iter().map(line).collect())
}

/// One model's or provider's line.
#[derive(Debug, Serialize)]
struct Share {
    tenant_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    monthly: NanoUsd,
    records: u64,
    currency: String,
}

async fn by_share(books: &Books, args: &CostsArgs) -> Result<(), Failure> {
    let currency = books.live.load().currency.clone();
    let mut lines = Vec::new();
    for tenant in books.reader.tenants(args.tenant.as_deref()).await? {
        for (name, (monthly, records)) in shares(books, &tenant, args).await? {
            let (model, provider) = if args.by_model { (Some(name), None) } else { (None, Some(name)) };
            let (tenant_id, currency) = (tenant.id.clone(), currency.clone());
            lines.push(Share { tenant_id, model, provider, monthly, records, currency });
        }
    }
    if args.json {
        return print::json(&lines);
    }
    let what = if args.by_model { "MODEL" } else { "PROVIDER" };
    let mut table = Table::new(&["TENANT", what, "THIS MONTH", "CURRENCY", "RECORDS"]);
    for line in lines {
        let name = line.model.or(line.provider).unwrap_or_default();
        table.row([line.tenant_id, name, line.monthly.to_string(), line.currency, line.records.to_string()]);
    }
    table.print()
}

/// This month's spending by what `args` asks for. The ledger does not know models: each record does.
async fn shares(
    books: &Books,
    tenant: &Tenant,
    args: &CostsArgs,
) -> Result<BTreeMap<String, (NanoUsd, u64)>, Failure> {
    let month_start = books.windows(tenant).month_start;
    let (caller, limit) = (args.agent.clone(), PAGE_RECORDS_MAX);
    let mut filter = EvidenceFilter { caller, from: Some(month_start), limit, ..EvidenceFilter::default() };
    let mut shares: BTreeMap<String, (NanoUsd, u64)> = BTreeMap::new();
    loop {
        let page = books.reader.reads.page(&tenant.reach(), filter.clone()).await?;
        for entry in &page.entries {
            // What retention emptied within the month has no model any more; the ledger still has its sum.
            let IndexEntry::Record(record) = entry else { continue };
            let name = if args.by_model { &record.model_used } else { &record.provider };
            let share = shares.entry(name.to_string()).or_default();
            share.0 += record.cost;
            share.1 += 1;
        }
        filter.after = page.next;
        if filter.after.is_none() {
            return Ok(shares);
        }
    }
}

async fn export(books: &Books, args: CostsExportArgs) -> Result<(), Failure> {
    let CostsExportArgs { format, tenant, agent, from, to, limit, output } = args;
    let reach = books.reader.reach(tenant.as_deref()).await?;
    let rows =
        books.costs.export(&reach, CostExport { caller: agent, from, to, limit, csv: format == Form::Csv });
    audit::copy(rows, Output::open(output.as_deref())?).await
}
