//! `keys audit`: who did what with keys, and which credentials were not good.

use clap::Args;
use serde_json::{Value, json};

use super::Format;
use crate::cli::audit::table::Table;
use crate::cli::client::{Api, escaped};
use crate::cli::{Failure, print};

const PATH: &str = "/v2alpha1/admin/auditEvents";
/// The most events that one page holds.
const PAGE_EVENTS_MAX: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// What was done, e.g. `key.revoked`, or `key.*`.
    #[arg(long)]
    action: Option<String>,
    /// By whom.
    #[arg(long)]
    actor: Option<String>,
    /// To what: a key's id.
    #[arg(long)]
    object: Option<String>,
    /// From this instant on: RFC 3339, or a date.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this instant.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// The oldest first.
    #[arg(long)]
    oldest_first: bool,
    /// The most events that are listed; `--format ndjson` and `--format csv` write all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
}

impl AuditArgs {
    fn query(&self) -> String {
        let clauses = [
            ("action", &self.action),
            ("actor", &self.actor),
            ("object", &self.object),
            ("from", &self.from),
            ("to", &self.to),
        ];
        let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
        let given = clauses.iter().filter_map(|(name, value)| {
            value.as_deref().map(|value| format!("{name}=\"{}\"", quoted(value)))
        });
        let filter = given.collect::<Vec<_>>().join(" AND ");
        let order = if self.oldest_first { "create_time" } else { "create_time desc" };
        format!("filter={}&order_by={}", escaped(&filter), escaped(order))
    }
}

/// Prints events in a form.
pub(super) async fn show(api: &Api, args: &AuditArgs, format: Format) -> Result<(), Failure> {
    let query = args.query();
    match format {
        Format::Ndjson => api.download(&format!("{PATH}:export?format=ndjson&{query}")).await,
        Format::Csv => api.download(&format!("{PATH}:export?format=csv&{query}")).await,
        Format::Json => {
            let (events, _) = listed(api, args.limit, &query).await?;
            print::json(&json!({ "audit_events": events }))
        }
        Format::Text => {
            let (events, more) = listed(api, args.limit, &query).await?;
            table(&events)?;
            if more {
                print::talk("there are more: raise --limit, or take all with --format ndjson");
            }
            Ok(())
        }
    }
}

/// Events, and whether there are more.
async fn listed(api: &Api, limit: usize, query: &str) -> Result<(Vec<Value>, bool), Failure> {
    let (mut events, mut token) = (Vec::new(), String::new());
    while events.len() < limit {
        let size = (limit - events.len()).min(PAGE_EVENTS_MAX);
        let path = format!("{PATH}?page_size={size}&page_token={}&{query}", escaped(&token));
        let page = api.get(&path).await?;
        events.extend(page["audit_events"].as_array().into_iter().flatten().cloned());
        token = page["next_page_token"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    Ok((events, !token.is_empty()))
}

fn table(events: &[Value]) -> Result<(), Failure> {
    let mut table = Table::new(&["TIME", "ACTION", "OBJECT", "ACTOR", "ROLE", "DETAIL"]);
    for event in events {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        let detail = &event["detail"];
        let empty = detail.as_object().is_none_or(serde_json::Map::is_empty);
        let detail = if empty { String::new() } else { detail.to_string() };
        table.row([text("create_time"), text("action"), text("object"), text("actor"), text("role"), detail]);
    }
    table.print()
}
