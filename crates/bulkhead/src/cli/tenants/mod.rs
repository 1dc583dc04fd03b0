//! `bulkhead tenants …`: tenants from the command line, over the gateway's own doors (seed 001).
//!
//! A tenant's key is printed on standard output, once, and nowhere else.

mod settings;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::audit::table::Table;
use super::client::{Api, Where, escaped};
use super::keys::show;
use super::{Failure, print};
use crate::load::ConfigSource;
use settings::SettingsArgs;

const TENANTS: &str = "/api/v1/admin/tenants";
/// The most tenants that one page holds.
const PAGE_TENANTS_MAX: usize = 1_000;

#[derive(Debug, Args)]
pub(crate) struct TenantsArgs {
    #[command(flatten)]
    place: Where,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: TenantsCommand,
}

#[derive(Debug, Subcommand)]
enum TenantsCommand {
    /// Make a tenant. Its key is shown once.
    Create(CreateArgs),
    /// List tenants.
    List(ListArgs),
    /// Show a tenant.
    Get(IdArgs),
    /// Change a tenant; what is not given stays as it is.
    Update(CreateArgs),
    /// Refuse a tenant's calls until it is resumed.
    Suspend(IdArgs),
    /// Serve a suspended tenant again.
    Resume(IdArgs),
    /// Delete a tenant for good; its evidence stays.
    Delete(DeleteArgs),
    /// Replace a tenant's key. The new one is shown once.
    RotateKey(RotateArgs),
    /// Who did what with a tenant.
    Audit(AuditArgs),
    /// Who still calls without a key, while a tenant's migration window is open.
    Keyless(IdArgs),
}

#[derive(Debug, Args)]
struct IdArgs {
    /// The tenant's slug.
    id: String,
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The tenant's slug: 1 to 56 lower-case letters, digits and inner hyphens.
    id: String,
    #[command(flatten)]
    settings: SettingsArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// The most tenants that are listed.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// The tenant's slug.
    id: String,
    /// Yes, for good.
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// The tenant's slug.
    id: String,
    /// Seconds for which the old key still works.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    grace: u64,
}

#[derive(Debug, Args)]
struct AuditArgs {
    /// The tenant's slug.
    id: String,
    /// The most events that are shown.
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Which actions, e.g. `tenant.updated` or `key.*`.
    #[arg(long)]
    action: Option<String>,
}

/// Runs `bulkhead tenants …`.
pub(super) async fn run(source: ConfigSource, args: TenantsArgs) -> Result<(), Failure> {
    let api = Api::new(&source, &args.place, None)?;
    let as_json = args.json;
    match args.command {
        TenantsCommand::Create(CreateArgs { id, settings }) => {
            let mut body = settings.body()?;
            body.insert("id".to_owned(), id.into());
            told(&api.post(TENANTS, &body.into()).await?, as_json)
        }
        TenantsCommand::List(args) => list(&api, args.limit, as_json).await,
        TenantsCommand::Get(args) => told(&api.get(&path_of(&args.id)).await?, as_json),
        TenantsCommand::Update(CreateArgs { id, settings }) => {
            let body = settings.body()?;
            if body.is_empty() {
                return Err(Failure::new("nothing to change: give at least one of the options (see --help)"));
            }
            told(&api.patch(&path_of(&id), &body.into()).await?, as_json)
        }
        TenantsCommand::Suspend(args) => verb(&api, &args.id, "suspend", &json!({}), as_json).await,
        TenantsCommand::Resume(args) => verb(&api, &args.id, "resume", &json!({}), as_json).await,
        TenantsCommand::Delete(args) => {
            if !args.yes {
                return Err(Failure::new("deleting a tenant cannot be undone: say so with --yes"));
            }
            told(&api.delete(&format!("{}?confirm=true", path_of(&args.id))).await?, as_json)
        }
        TenantsCommand::RotateKey(args) => {
            let body = json!({ "gracePeriodSeconds": args.grace });
            verb(&api, &args.id, "rotate-api-key", &body, as_json).await
        }
        TenantsCommand::Keyless(args) => keyless(&api, &args.id, as_json).await,
        TenantsCommand::Audit(args) => audit(&api, &args, as_json).await,
    }
}

fn path_of(id: &str) -> String {
    format!("{TENANTS}/{}", escaped(id))
}

async fn verb(api: &Api, id: &str, verb: &str, body: &Value, as_json: bool) -> Result<(), Failure> {
    told(&api.post(&format!("{}/{verb}", path_of(id)), body).await?, as_json)
}

fn told(answer: &Value, as_json: bool) -> Result<(), Failure> {
    let data = &answer["data"];
    if as_json { print::json(data) } else { show::members(data) }
}

async fn list(api: &Api, limit: usize, as_json: bool) -> Result<(), Failure> {
    let mut tenants: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    while tenants.len() < limit {
        let wanted = (limit - tenants.len()).min(PAGE_TENANTS_MAX);
        let mut page = api.get(&format!("{TENANTS}?limit={wanted}{cursor}")).await?;
        tenants.extend(page["data"].as_array_mut().into_iter().flatten().map(Value::take));
        let Some(next) = page["metadata"]["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={}", escaped(next));
    }
    if as_json {
        return print::json(&tenants);
    }
    let mut table =
        Table::new(&["TENANT", "NAME", "PLAN", "STATUS", "REQUESTS/MIN", "MANAGED BY", "CREATED"]);
    for tenant in &tenants {
        let text = |name: &str| tenant[name].as_str().unwrap_or_default().to_owned();
        let per_minute = tenant["limits"]["requestsPerMinute"].as_u64();
        table.row([
            text("id"),
            text("name"),
            text("plan"),
            text("status"),
            per_minute.map(|requests| requests.to_string()).unwrap_or_default(),
            text("managedBy"),
            text("createdAt"),
        ]);
    }
    table.print()
}

async fn keyless(api: &Api, id: &str, as_json: bool) -> Result<(), Failure> {
    let answer = api.get(&format!("{}/keyless-calls", path_of(id))).await?;
    let told = &answer["data"];
    if as_json {
        return print::json(told);
    }
    let mut table = Table::new(&["ADDRESS", "CALLS", "FIRST", "LAST"]);
    for caller in told["addresses"].as_array().into_iter().flatten() {
        let text = |name: &str| caller[name].as_str().unwrap_or_default().to_owned();
        let calls = caller["calls"].as_u64().unwrap_or(0).to_string();
        table.row([text("address"), calls, text("firstSeenAt"), text("lastSeenAt")]);
    }
    table.print()?;
    let window = if told["windowOpen"] == true { "open" } else { "closed" };
    print::talk(&format!("the window for calls without a key is {window}"));
    Ok(())
}

async fn audit(api: &Api, args: &AuditArgs, as_json: bool) -> Result<(), Failure> {
    let action = args.action.as_deref().map(|action| format!("&action={}", escaped(action)));
    let path = format!("{}/audit?limit={}{}", path_of(&args.id), args.limit, action.unwrap_or_default());
    let answer = api.get(&path).await?;
    if as_json {
        return print::json(&answer["data"]);
    }
    let mut table = Table::new(&["TIME", "ACTION", "OBJECT", "RESULT", "ACTOR"]);
    for event in answer["data"].as_array().into_iter().flatten() {
        table.row(
            ["timestamp", "action", "object", "result", "actor"]
                .map(|name| event[name].as_str().unwrap_or_default().to_owned()),
        );
    }
    table.print()
}
