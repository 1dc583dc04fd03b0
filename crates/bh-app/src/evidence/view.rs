//! What lists say about a record (Talon dossier section 5.7).

use bh_domain::evidence::Record;
use bh_domain::evidence::record::{Compliance, Text};
use bh_domain::money::NanoUsd;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ports::StoredRecord;

/// One record in a list.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "EvidenceEntry")]
pub enum IndexEntry {
    /// A record.
    Record(Box<Summary>),
    /// One whose content is gone or cannot be read.
    Tombstone(Tombstone),
}

/// The index fields of a record.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "EvidenceSummary")]
pub struct Summary {
    /// Record id.
    pub id: Text,
    /// What the records of one request share.
    pub correlation_id: Text,
    /// Session.
    pub session_id: Option<Text>,
    /// When it was decided, RFC 3339.
    pub timestamp: String,
    /// Tenant.
    pub tenant_id: Text,
    /// Caller.
    pub agent_id: Text,
    /// Kind of decision.
    pub invocation_type: Text,
    /// Whether the call went ahead.
    pub allowed: bool,
    /// What was done.
    pub policy_action: Text,
    /// How it ended.
    pub status: Text,
    /// Cost in `currency`.
    pub cost: NanoUsd,
    /// ISO 4217 code.
    pub currency: Text,
    /// The model that answered.
    pub model_used: Text,
    /// The provider that answered.
    pub provider: Text,
    /// Duration in milliseconds.
    pub duration_ms: u64,
    /// Whether something went wrong.
    pub has_error: bool,
    /// Always false: answers are not cached.
    pub cache_hit: bool,
    /// Always nothing: answers are not cached.
    pub cost_saved: NanoUsd,
    /// The rules the call fell under.
    pub compliance: Compliance,
    /// Code of the most important reason.
    pub primary_explanation_code: Option<Text>,
    /// The most important reason.
    pub primary_explanation_reason: Option<Text>,
    /// Position in the tenant's chain.
    pub seq: u64,
}

/// What is left of a record that retention has emptied, or that was damaged in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "EvidenceTombstone")]
pub struct Tombstone {
    /// Record id.
    pub id: String,
    /// The tenant's network id.
    pub nid: String,
    /// When it was decided, RFC 3339.
    pub timestamp: String,
    /// Position in the tenant's chain.
    pub seq: u64,
    /// RFC 6962 leaf hash, in hexadecimal: the record stays provable by it.
    pub leaf_hash: String,
    /// Removed by retention.
    pub purged: bool,
    /// There is content, and it is no record: see the record's verification.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

impl Tombstone {
    /// The tombstone of a stored record.
    #[must_use]
    pub fn of(stored: &StoredRecord) -> Self {
        Self {
            id: stored.id.clone(),
            nid: stored.nid.to_string(),
            timestamp: stored.at.rfc3339(),
            seq: stored.seq,
            leaf_hash: bh_domain::evidence::hex::encode(&stored.leaf_hash),
            purged: stored.record.is_none(),
            damaged: stored.record.is_some(),
        }
    }
}

impl IndexEntry {
    /// The list entry of a stored record.
    #[must_use]
    pub fn of(stored: &StoredRecord) -> Self {
        match parsed(stored) {
            Some(record) => Self::Record(Box::new(Summary::of(record))),
            None => Self::Tombstone(Tombstone::of(stored)),
        }
    }
}

impl Summary {
    fn of(record: Record) -> Self {
        let Record { draft, seq, .. } = record;
        let execution = draft.execution;
        let primary = draft.explanations.into_iter().next();
        let (code, reason) = primary.map(|primary| (primary.code, primary.reason)).unzip();
        Self {
            id: draft.id,
            correlation_id: draft.correlation_id,
            session_id: draft.session_id,
            timestamp: draft.timestamp.rfc3339(),
            tenant_id: draft.tenant_id,
            agent_id: draft.agent_id,
            invocation_type: draft.invocation_type,
            allowed: draft.policy_decision.allowed,
            policy_action: draft.policy_decision.action,
            status: draft.status,
            cost: execution.cost,
            currency: execution.currency,
            model_used: execution.model_used,
            provider: execution.provider,
            duration_ms: execution.duration_ms,
            has_error: execution.error.is_some(),
            cache_hit: false,
            cost_saved: NanoUsd::ZERO,
            compliance: draft.compliance,
            primary_explanation_code: code,
            primary_explanation_reason: reason,
            seq,
        }
    }
}

/// The record in a stored row; `None` when it is a tombstone or no record any more.
pub(crate) fn parsed(stored: &StoredRecord) -> Option<Record> {
    serde_json::from_str(stored.record.as_deref()?).ok()
}
