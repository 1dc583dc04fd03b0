//! `bulkhead audit actions`: who did what, and who was not let, as the gateway tells it.

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::table::Table;
use crate::cli::client::{Api, Where, escaped};
use crate::cli::{Failure, print};
use crate::load::ConfigSource;

/// The most events that one page holds.
const PAGE_EVENTS_MAX: usize = 1_000;

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Ended {
    Success,
    Denied,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Ndjson,
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct ActionsArgs {
    #[command(flatten)]
    place: Where,
    /// This tenant's trail; without it the installation's own: what operators read, who was not known, reloads.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// What was done, e.g. `tenant.created`, or `key.*`.
    #[arg(long)]
    action: Option<String>,
    /// By whom.
    #[arg(long)]
    actor: Option<String>,
    /// To what.
    #[arg(long)]
    object: Option<String>,
    /// How it ended.
    #[arg(long, value_enum)]
    result: Option<Ended>,
    /// From this instant on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this instant.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The most events that are listed; `ndjson` and `csv` write all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// How events are written.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The same as `--format json`.
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

impl ActionsArgs {
    fn path(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("/api/v1/admin/tenants/{}/audit", escaped(tenant)),
            None => "/api/v1/admin/audit".to_owned(),
        }
    }

    fn query(&self) -> String {
        let result = self.result.map(|ended| match ended {
            Ended::Success => "success",
            Ended::Denied => "denied",
            Ended::Failed => "failed",
        });
        let given = [
            ("action", self.action.as_deref()),
            ("actor", self.actor.as_deref()),
            ("object", self.object.as_deref()),
            ("result", result),
            ("from", self.from.as_deref()),
            ("to", self.to.as_deref()),
        ];
        given.into_iter().filter_map(|(name, value)| Some(format!("&{name}={}", escaped(value?)))).collect()
    }
}

/// Runs `bulkhead audit actions`.
pub(super) async fn actions(source: &ConfigSource, args: &ActionsArgs) -> Result<(), Failure> {
    let api = Api::new(source, &args.place, None)?;
    let (path, query) = (args.path(), args.query());
    let format = if args.json { Format::Json } else { args.format };
    match format {
        Format::Ndjson => return api.download(&format!("{path}?format=ndjson{query}")).await,
        Format::Csv => return api.download(&format!("{path}?format=csv{query}")).await,
        Format::Json | Format::Text => {}
    }
    let (events, more) = listed(&api, &path, &query, args.limit).await?;
    if format == Format::Json {
        return print::json(&events);
    }
    table(&events)?;
    if more {
        print::talk("there are more: raise --limit, or take all with --format ndjson");
    }
    Ok(())
}

/// Events, and whether there are more.
async fn listed(api: &Api, path: &str, query: &str, limit: usize) -> Result<(Vec<Value>, bool), Failure> {
    let (mut events, mut cursor): (Vec<Value>, String) = (Vec::new(), String::new());
    while events.len() < limit {
        let size = (limit - events.len()).min(PAGE_EVENTS_MAX);
        let page = api.get(&format!("{path}?limit={size}&cursor={}{query}", escaped(&cursor))).await?;
        events.extend(page["data"].as_array().into_iter().flatten().cloned());
        page["metadata"]["nextCursor"].as_str().unwrap_or_default().clone_into(&mut cursor);
        if cursor.is_empty() {
            break;
        }
    }
    Ok((events, !cursor.is_empty()))
}

fn table(events: &[Value]) -> Result<(), Failure> {
    let mut table = Table::new(&["TIME", "RESULT", "ACTION", "OBJECT", "ACTOR", "ROLE", "ADDRESS", "PARAMS"]);
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let params = &event["params"];
        let empty = params.as_object().is_none_or(serde_json::Map::is_empty);
        let params = if empty { String::new() } else { params.to_string() };
        let [time, result, action, object, actor, role, ip] =
            ["timestamp", "result", "action", "object", "actor", "role", "ip"].map(text);
        table.row([time, result, action, object, actor, role, ip, params]);
    }
    table.print()
}
