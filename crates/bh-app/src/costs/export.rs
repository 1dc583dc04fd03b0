//! The rows behind the sums: one for each decision, from its evidence.

use std::sync::Arc;

use bh_domain::evidence::Record;
use bh_domain::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::CostReads;
use crate::evidence::table::{Table, TableFormat, pages, written};
use crate::evidence::{Pieces, Reach};
use crate::ports::{EvidenceFilter, EvidenceStore, StoredRecord};

/// Rows of one export.
pub const COST_ROWS_MAX: u32 = 1_000_000;

/// Columns of a cost export. `cost_eur` is Talon's name; the unit is the configured currency.
pub const COST_COLUMNS: &[&str] = &[
    "evidence_id",
    "tenant_id",
    "agent_id",
    "timestamp",
    "model",
    "provider",
    "cost_eur",
    "input_tokens",
    "output_tokens",
    "policy_decision",
    "policy_reason",
];

/// Which rows a cost export has.
#[derive(Clone, Debug)]
pub struct CostExport {
    /// Caller name.
    pub caller: Option<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// The newest so many; at most [`COST_ROWS_MAX`].
    pub limit: u32,
    /// CSV rather than JSON.
    pub csv: bool,
}

impl CostReads {
    /// The rows of the reach, newest first, page by page.
    #[must_use]
    pub fn export(&self, reach: &Reach, export: CostExport) -> Pieces {
        let CostExport { caller, from, to, limit, csv } = export;
        let filter = EvidenceFilter { caller, from, to, ..Default::default() };
        let store: Arc<dyn EvidenceStore> = Arc::clone(&self.store) as Arc<dyn EvidenceStore>;
        let records = match reach.scope() {
            Some(scope) => pages(store, scope, filter, limit.min(COST_ROWS_MAX)),
            None => stream::empty().boxed(),
        };
        let format = if csv { TableFormat::Csv } else { TableFormat::Json };
        written(Table { columns: COST_COLUMNS, row }, format, records)
    }
}

fn row(stored: &StoredRecord) -> Vec<Value> {
    let record = stored.record.as_deref().and_then(|text| serde_json::from_str::<Record>(text).ok());
    match record {
        Some(record) => record_row(record),
        None => left_row(stored),
    }
}

fn record_row(record: Record) -> Vec<Value> {
    let draft = record.draft;
    let execution = draft.execution;
    let reasons = draft.policy_decision.reasons.join("; ");
    vec![
        draft.id.into(),
        draft.tenant_id.into(),
        draft.agent_id.into(),
        draft.timestamp.rfc3339().into(),
        execution.model_used.into(),
        execution.provider.into(),
        execution.cost.to_string().into(),
        execution.tokens.input.into(),
        execution.tokens.output.into(),
        draft.policy_decision.action.into(),
        reasons.into(),
    ]
}

/// A row whose content retention has removed: the ledger still has its sum.
fn left_row(stored: &StoredRecord) -> Vec<Value> {
    let why = if stored.record.is_none() { "purged" } else { "unreadable" };
    let known = |column: &&str| match *column {
        "evidence_id" => stored.id.clone().into(),
        "timestamp" => stored.at.rfc3339().into(),
        "policy_decision" => why.into(),
        _ => Value::Null,
    };
    COST_COLUMNS.iter().map(known).collect()
}
