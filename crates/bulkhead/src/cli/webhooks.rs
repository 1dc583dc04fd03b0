//! `bulkhead webhooks`: what was told to whom, and telling it again.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::audit::table::{Table, shown};
use super::client::{Api, Where, escaped};
use super::{Failure, print};
use crate::load::ConfigSource;

const PATH: &str = "/api/v1/admin/webhooks";
/// The most that one page holds.
const PAGE_MAX: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct WebhooksArgs {
    #[command(flatten)]
    place: Where,
    /// Print the server's answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// List events, or what was given up, newest first.
    List(ListArgs),
    /// Show an event, what it sends, and what has become of its deliveries.
    Show {
        /// The event's id.
        id: String,
    },
    /// Have an event delivered again, under the same id.
    Redeliver(RedeliverArgs),
    /// List the endpoints, and how they are doing.
    Endpoints,
    /// Send an endpoint a test at once, and say what came of it.
    Test {
        /// The endpoint's id.
        id: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Pending,
    Delivered,
    Dead,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Of this tenant alone.
    #[arg(long = "of", value_name = "TENANT")]
    of_tenant: Option<String>,
    /// Of this kind alone, e.g. `budget.threshold`.
    #[arg(long)]
    kind: Option<String>,
    /// With a delivery in this state.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Deliveries that were given up, in place of events.
    #[arg(long, conflicts_with_all = ["kind", "state"])]
    dead_letters: bool,
    /// The most that are listed.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

#[derive(Debug, Args)]
struct RedeliverArgs {
    /// The event's id.
    id: String,
    /// To this endpoint alone; without it, to all that the event was for.
    #[arg(long)]
    to: Option<String>,
}

/// Runs `bulkhead webhooks …`.
pub(super) async fn run(source: ConfigSource, args: WebhooksArgs) -> Result<(), Failure> {
    let as_json = args.json;
    let api = Api::new(&source, &args.place, None)?;
    match args.command {
        WebhooksCommand::List(list) => listed(&api, &list, as_json).await,
        WebhooksCommand::Show { id } => {
            let event = api.get(&format!("{PATH}/events/{}", escaped(&id))).await?;
            told(&event["data"], as_json)
        }
        WebhooksCommand::Redeliver(RedeliverArgs { id, to }) => {
            let body = to.map_or_else(|| json!({}), |endpoint| json!({ "endpoint": endpoint }));
            let event = api.post(&format!("{PATH}/events/{}/redeliver", escaped(&id)), &body).await?;
            told(&event["data"], as_json)
        }
        WebhooksCommand::Endpoints => {
            let endpoints = api.get(&format!("{PATH}/endpoints")).await?;
            endpoints_told(&endpoints["data"], as_json)
        }
        WebhooksCommand::Test { id } => {
            let tried = api.post(&format!("{PATH}/endpoints/{}/test", escaped(&id)), &json!({})).await?;
            tried_told(&tried["data"], as_json)
        }
    }
}

impl ListArgs {
    fn path(&self) -> String {
        if self.dead_letters { format!("{PATH}/dead-letters") } else { format!("{PATH}/events") }
    }

    fn query(&self) -> String {
        let state = self.state.map(|state| match state {
            State::Pending => "pending",
            State::Delivered => "delivered",
            State::Dead => "dead",
        });
        let given = [("tenant", self.of_tenant.as_deref()), ("kind", self.kind.as_deref()), ("state", state)];
        let given =
            given.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value?))));
        given.collect()
    }
}

async fn listed(api: &Api, args: &ListArgs, as_json: bool) -> Result<(), Failure> {
    let (mut found, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
    while found.len() < args.limit {
        let size = (args.limit - found.len()).min(PAGE_MAX);
        let path = format!("{}?limit={size}&cursor={}{}", args.path(), escaped(&cursor), args.query());
        let page = api.get(&path).await?;
        found.extend(page["data"].as_array().into_iter().flatten().cloned());
        page["metadata"]["nextCursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    if as_json {
        return print::json(&found);
    }
    if args.dead_letters {
        dead_letters_told(&found)?
    } else {
        events_told(&found)?
    }
    if !cursor.is_empty() {
        print::talk("there are more: raise --limit");
    }
    Ok(())
}

/// A member as a cell: nothing for what is not there.
fn cell(object: &Value, name: &str) -> String {
    match &object[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => object[name].to_string(),
    }
}

fn events_told(events: &[Value]) -> Result<(), Failure> {
    let mut table = Table::new(&["TIME", "EVENT", "TYPE", "TENANT"]);
    for event in events {
        table.row(["timestamp", "id", "type", "tenantId"].map(|name| cell(event, name)));
    }
    table.print()
}

fn dead_letters_told(letters: &[Value]) -> Result<(), Failure> {
    let mut table = Table::new(&["TIME", "EVENT", "TYPE", "TENANT", "ENDPOINT", "ATTEMPTS", "ERROR"]);
    let names = ["timestamp", "eventId", "type", "tenantId", "endpoint", "attempts", "lastError"];
    for letter in letters {
        table.row(names.map(|name| cell(letter, name)));
    }
    table.print()
}

fn endpoints_told(endpoints: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(endpoints);
    }
    let mut table = Table::new(&["ENDPOINT", "STATUS", "PENDING", "DEAD", "URL", "ERROR"]);
    for endpoint in endpoints.as_array().into_iter().flatten() {
        let names = ["id", "status", "pending", "deadLetters", "url", "lastError"];
        table.row(names.map(|name| cell(endpoint, name)));
    }
    table.print()
}

fn tried_told(tried: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        print::json(tried)?;
    }
    if tried["delivered"] == true {
        return if as_json { Ok(()) } else { print::line("delivered") };
    }
    Err(Failure::new(format!("not delivered: {}", shown(&cell(tried, "error")))))
}

fn told(event: &Value, as_json: bool) -> Result<(), Failure> {
    if as_json {
        return print::json(event);
    }
    for name in ["id", "type", "tenantId", "timestamp", "payload"] {
        print::line(&format!("{name}: {}", shown(&cell(event, name))))?;
    }
    let mut table = Table::new(&["ENDPOINT", "STATE", "ATTEMPTS", "NEXT", "LAST", "STATUS", "ERROR"]);
    let names =
        ["endpoint", "state", "attempts", "nextAttemptAt", "lastAttemptAt", "lastStatus", "lastError"];
    for delivery in event["deliveries"].as_array().into_iter().flatten() {
        table.row(names.map(|name| cell(delivery, name)));
    }
    table.print()
}
