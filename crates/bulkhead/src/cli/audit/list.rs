//! `bulkhead audit list` and `bulkhead audit show`.

use bh_app::evidence::{Found, IndexEntry, PAGE_RECORDS_MAX};
use bh_app::ports::EvidenceFilter;
use clap::Args;
use clap::builder::RangedU64ValueParser;
use serde_json::Value;

use super::reader::Reader;
use super::table::Table;
use crate::cli::{Failure, print};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// One tenant; every tenant without it.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// One caller.
    #[arg(long, value_name = "CALLER")]
    agent: Option<String>,
    /// One session.
    #[arg(long, value_name = "SESSION")]
    session: Option<String>,
    /// At most this many records.
    #[arg(long, default_value = "20", value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(PAGE_RECORDS_MAX)))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// The record's id.
    id: String,
    /// Look only among this tenant's records.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON: the record as it is stored.
    #[arg(long)]
    json: bool,
}

/// Prints the newest records.
pub(super) async fn list(reader: &Reader, args: ListArgs) -> Result<(), Failure> {
    let reach = reader.reach(args.tenant.as_deref()).await?;
    let filter = EvidenceFilter {
        caller: args.agent,
        session_id: args.session,
        limit: args.limit,
        ..EvidenceFilter::default()
    };
    let page = reader.reads.page(&reach, filter).await?;
    if args.json {
        return print::json(&page.entries);
    }
    let mut table =
        Table::new(&["TIME", "ID", "TENANT", "AGENT", "TYPE", "ACTION", "MODEL", "COST", "MS", "REASON"]);
    page.entries.iter().for_each(|entry| table.row(cells(entry)));
    table.print()?;
    if page.next.is_some() {
        print::talk("There are more records: raise --limit, or narrow the list.");
    }
    Ok(())
}

fn cells(entry: &IndexEntry) -> [String; 10] {
    match entry {
        IndexEntry::Record(record) => [
            record.timestamp.clone(),
            record.id.to_string(),
            record.tenant_id.to_string(),
            record.agent_id.to_string(),
            record.invocation_type.to_string(),
            record.policy_action.to_string(),
            record.model_used.to_string(),
            format!("{} {}", record.cost, record.currency),
            record.duration_ms.to_string(),
            record.primary_explanation_code.as_deref().unwrap_or_default().to_owned(),
        ],
        IndexEntry::Tombstone(left) => {
            let why = if left.purged { "removed by retention" } else { "damaged: see `audit verify`" };
            let mut cells = [const { String::new() }; 10];
            (cells[0], cells[1], cells[2]) = (left.timestamp.clone(), left.id.clone(), left.nid.clone());
            cells[9] = why.to_owned();
            cells
        }
    }
}

/// Prints one record.
pub(super) async fn show(reader: &Reader, args: ShowArgs) -> Result<(), Failure> {
    let reach = reader.reach(args.tenant.as_deref()).await?;
    let found = reader.reads.record(&reach, &args.id).await?;
    let found = found.ok_or_else(|| Failure::new(format!("there is no record `{}`", args.id)))?;
    if args.json {
        return match found {
            // As it is stored: what is signed is the text.
            Found::Record(text) => print::line(&text),
            Found::Tombstone(left) => print::json(&left),
        };
    }
    let value = match found {
        Found::Record(text) => serde_json::from_str(&text)?,
        Found::Tombstone(left) => serde_json::to_value(left)?,
    };
    let mut table = Table::new(&["MEMBER", "VALUE"]);
    flatten("", &value, &mut |member, value| table.row([member.to_owned(), value]));
    table.print()
}

/// Every value of a document with its path, `execution.tokens.input`. JSON of a record is bounded in depth.
fn flatten(path: &str, value: &Value, take: &mut impl FnMut(&str, String)) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| flatten(&below(name), value, take)),
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| flatten(&below(&index.to_string()), item, take));
        }
        Value::String(text) => take(path, text.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => take(path, value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_member_by_member() {
        let value = serde_json::json!({"id": "gw_1", "execution": {"tokens": {"input": 3}}, "reasons": ["a", "b"],
            "explanations": [{"code": "X"}]});
        let mut shown = Vec::new();
        flatten("", &value, &mut |member, value| shown.push(format!("{member}={value}")));
        let wanted = ["id=gw_1", "execution.tokens.input=3", r#"reasons=["a","b"]"#, "explanations.0.code=X"];
        assert_eq!(shown, wanted);
    }
}
