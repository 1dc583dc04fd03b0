//! The tour in words and tables.

use comfy_table::{Table, presets};

use super::tour::{Call, Tour};
use super::{Home, Stage};

/// Characters of a signature that tell it from another; the whole of it is in the record.
const SIGNATURE_CHARS: usize = 24;

/// What the demo prints about its calls.
pub(super) fn report(stage: &Stage, tour: &Tour) -> String {
    let mut text = format!("Bulkhead demo: http://{}, {}.\n", stage.gateway, kept_in(&stage.home));
    text.push_str(
        "The provider behind it is a demo that answers like OpenAI and Anthropic; no model is asked.\n",
    );
    for (call, number) in tour.calls.iter().zip(1..) {
        text.push_str(&format!("\n{number}. {}\n{}", call.title, answer(call)));
    }
    text.push_str(&format!(
        "\nThe evidence: one signed record per decision, chained per tenant\n{}\n",
        evidence(&tour.calls)
    ));
    text.push_str(&format!("\nThe costs: settled from what the provider counted\n{}\n", costs(tour)));
    text.push_str(&isolation(tour));
    text
}

fn kept_in(home: &Home) -> String {
    match home {
        Home::Kept(path) => format!("embedded SQLite store in {}", path.display()),
        Home::Temporary(_) => "embedded SQLite store in a temporary directory".to_owned(),
    }
}

fn answer(call: &Call) -> String {
    let streamed = call.events.map_or_else(String::new, |events| format!(", streamed in {events} events"));
    format!("   {}  ->  {}{streamed}\n   {}\n", call.request, call.status, call.answer)
}

/// Columns without borders: what is printed can be pasted anywhere.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    table
}

fn indented(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| format!("  {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

fn evidence(calls: &[Call]) -> String {
    let mut table = table(&[
        "tenant",
        "seq",
        "record",
        "decision",
        "model",
        "in",
        "out",
        "cost",
        "signature",
        "verified",
    ]);
    for record in calls.iter().map(|call| &call.evidence) {
        let signature: String = record.signature.chars().take(SIGNATURE_CHARS).collect();
        table.add_row([
            record.tenant_id.clone(),
            record.seq.to_string(),
            record.id.clone(),
            record.decision.clone(),
            record.model.clone(),
            record.input_tokens.to_string(),
            record.output_tokens.to_string(),
            record.cost.clone(),
            format!("{signature}…"),
            if record.valid { "yes".to_owned() } else { "NO".to_owned() },
        ]);
    }
    indented(&table)
}

fn costs(tour: &Tour) -> String {
    let mut table = table(&["tenant", "caller", "calls", "refused", "spent", "of a day's"]);
    for costs in &tour.costs {
        table.add_row([
            costs.tenant_id.clone(),
            costs.caller.clone(),
            costs.calls.to_string(),
            costs.denied.to_string(),
            format!("{} {}", costs.total, costs.currency),
            format!("{} {}", costs.daily_limit, costs.currency),
        ]);
    }
    indented(&table)
}

fn isolation(tour: &Tour) -> String {
    let isolation = &tour.isolation;
    let words =
        if isolation.same_as_unknown { "as for an id that never was" } else { "UNLIKE an id that never was" };
    format!(
        "\nThe bulkhead: GET /v1/evidence/{}\n  with globex's key {}, with acme's key {} ({words}), without a key {}\n",
        isolation.id, isolation.owner, isolation.other_tenant, isolation.nobody
    )
}
