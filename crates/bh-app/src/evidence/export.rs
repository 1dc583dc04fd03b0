//! Exports: tables of records, or signed documents that prove themselves (Talon dossier section 5.8).

use std::sync::Arc;

use bh_domain::evidence::Record;
use bh_domain::evidence::export::Format;
use bh_domain::evidence::record::Text;
use bh_domain::time::Timestamp;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::table::{Table, TableFormat, pages, written};
use super::view::parsed;
use super::{EvidenceReads, Pieces, Reach, ReadFault};
use crate::ports::{EvidenceFilter, StoredRecord};

/// Records of one export.
pub const EXPORT_RECORDS_MAX: u32 = 1_000_000;

/// Columns of a table of evidence, in the order of the CSV header.
pub const EXPORT_COLUMNS: &[&str] = &[
    "id",
    "timestamp",
    "tenant_id",
    "agent_id",
    "invocation_type",
    "allowed",
    "policy_action",
    "cost",
    "model_used",
    "provider",
    "input_tokens",
    "output_tokens",
    "duration_ms",
    "has_error",
    "input_tier",
    "output_tier",
    "pii_detected",
    "pii_redacted",
    "policy_reasons",
    "tools_called",
    "input_hash",
    "output_hash",
    "upstream_auth_mode",
    "upstream_key_source",
    "upstream_key_fingerprint",
    "gateway_annotations",
    "primary_explanation_code",
    "primary_explanation_reason",
    "primary_version_identity",
    "flow_destinations",
    "flow_regions",
    "flow_entity_types",
];

/// The form of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A table.
    Table(TableFormat),
    /// Whole records with public key, checkpoint and proof; verified offline by `bulkhead audit verify`.
    Signed(Format),
}

impl ExportFormat {
    /// Every name a form goes by.
    pub const NAMES: &[&str] = &["json", "csv", "ndjson", "signed-json", "signed-ndjson"];

    /// The form of this name; `None` when there is none.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Table(TableFormat::Csv)),
            "json" => Some(Self::Table(TableFormat::Json)),
            "ndjson" => Some(Self::Table(TableFormat::Ndjson)),
            "signed-json" => Some(Self::Signed(Format::Json)),
            "signed-ndjson" => Some(Self::Signed(Format::Ndjson)),
            _ => None,
        }
    }

    /// Media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Table(TableFormat::Csv) => "text/csv; charset=utf-8",
            Self::Table(TableFormat::Json) | Self::Signed(Format::Json) => "application/json",
            Self::Table(TableFormat::Ndjson) | Self::Signed(Format::Ndjson) => "application/x-ndjson",
        }
    }

    /// File name extension, without a dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Table(TableFormat::Csv) => "csv",
            Self::Table(TableFormat::Json) | Self::Signed(Format::Json) => "json",
            Self::Table(TableFormat::Ndjson) | Self::Signed(Format::Ndjson) => "ndjson",
        }
    }
}

/// Which records go into an export, and in which form.
#[derive(Clone, Debug)]
pub struct ExportQuery {
    /// Caller name.
    pub caller: Option<String>,
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
    /// Session.
    pub session_id: Option<String>,
    /// Only what was denied.
    pub violations_only: bool,
    /// The newest so many; at most [`EXPORT_RECORDS_MAX`].
    pub limit: u32,
    /// Form.
    pub format: ExportFormat,
}

impl ExportQuery {
    pub(super) fn filter(&self) -> EvidenceFilter {
        EvidenceFilter {
            caller: self.caller.clone(),
            from: self.from,
            to: self.to,
            allowed: self.violations_only.then_some(false),
            session_id: self.session_id.clone(),
            ..Default::default()
        }
    }

    /// The question, for the head of a signed export.
    pub(super) fn asked(&self, reach: &Reach) -> Value {
        let mut asked = json!({ "tenant_id": reach.tenant_id(), "limit": self.limit });
        let instant = |at: Timestamp| Value::from(at.rfc3339());
        let given = [
            ("agent_id", self.caller.clone().map(Value::from)),
            ("from", self.from.map(instant)),
            ("to", self.to.map(instant)),
            ("session_id", self.session_id.clone().map(Value::from)),
            ("violations_only", self.violations_only.then_some(Value::Bool(true))),
        ];
        for (name, value) in given {
            if let Some(value) = value {
                asked[name] = value;
            }
        }
        asked
    }
}

impl EvidenceReads {
    /// An export of the records in reach. Tables hold the newest first, signed documents each tenant's chain in
    /// order; content removed by retention is left out of signed ones, and named in tables.
    ///
    /// # Errors
    /// When the store does not answer while a signed export is prepared; later faults end the stream.
    pub async fn export(
        &self,
        reach: &Reach,
        query: &ExportQuery,
        now: Timestamp,
    ) -> Result<Pieces, ReadFault> {
        let limit = query.limit.min(EXPORT_RECORDS_MAX);
        match query.format {
            ExportFormat::Signed(format) => self.signed(reach, query, format, now).await,
            ExportFormat::Table(format) => {
                let records = match reach.scope() {
                    Some(scope) => pages(Arc::clone(&self.store), scope, query.filter(), limit),
                    None => stream::empty().boxed(),
                };
                Ok(written(Table { columns: EXPORT_COLUMNS, row }, format, records))
            }
        }
    }
}

fn row(stored: &StoredRecord) -> Vec<Value> {
    match parsed(stored) {
        Some(record) => record_row(&record),
        None => left_row(stored),
    }
}

/// What is left of a record without readable content: its id and instant, and why there is no more.
fn left_row(stored: &StoredRecord) -> Vec<Value> {
    let why = if stored.record.is_none() { "purged" } else { "unreadable" };
    let known = |column: &&str| match *column {
        "id" => stored.id.clone().into(),
        "timestamp" => stored.at.rfc3339().into(),
        "policy_action" => why.into(),
        _ => Value::Null,
    };
    EXPORT_COLUMNS.iter().map(known).collect()
}

/// The values of [`EXPORT_COLUMNS`]; what this release does not detect is empty.
fn record_row(record: &Record) -> Vec<Value> {
    let draft = &record.draft;
    let execution = &draft.execution;
    let tiers = draft.classification.as_ref();
    let primary = draft.explanations.first();
    vec![
        text(&draft.id),
        draft.timestamp.rfc3339().into(),
        text(&draft.tenant_id),
        text(&draft.agent_id),
        text(&draft.invocation_type),
        draft.policy_decision.allowed.into(),
        text(&draft.policy_decision.action),
        execution.cost.to_string().into(),
        text(&execution.model_used),
        text(&execution.provider),
        execution.tokens.input.into(),
        execution.tokens.output.into(),
        execution.duration_ms.into(),
        execution.error.is_some().into(),
        tiers.map(|tiers| tiers.input_tier).into(),
        tiers.map(|tiers| tiers.output_tier).into(),
        json!([]),
        tiers.map(|tiers| tiers.pii_redacted).into(),
        texts(&draft.policy_decision.reasons),
        json!([]),
        json!(draft.audit_trail.input_hash),
        json!(draft.audit_trail.output_hash),
        draft.upstream_auth_mode.as_ref().map_or(Value::Null, text),
        draft.upstream_key_source.as_ref().map_or(Value::Null, text),
        draft.upstream_key_fingerprint.as_ref().map_or(Value::Null, text),
        texts(&draft.gateway_annotations),
        primary.map_or(Value::Null, |primary| text(&primary.code)),
        primary.map_or(Value::Null, |primary| text(&primary.reason)),
        text(&draft.policy_decision.policy_version),
        json!([]),
        json!([]),
        json!([]),
    ]
}

pub(crate) fn text(text: &Text) -> Value {
    Value::String(text.to_string())
}

fn texts(texts: &[Text]) -> Value {
    texts.iter().map(text).collect()
}
