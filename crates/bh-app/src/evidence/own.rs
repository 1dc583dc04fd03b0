//! Records of what the gateway itself decides: nothing ran at a provider, and nothing was spent.

use bh_domain::evidence::record::{
    AuditTrail, Compliance, ContentHash, Durability, Execution, Explanation, PolicyDecision, Text, Tokens,
};
use bh_domain::evidence::{Draft, codes};
use bh_domain::hash::sha256;
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;

use crate::snapshot::Snapshot;

/// A decision of the gateway's own.
#[derive(Debug)]
pub(crate) struct OwnRecord {
    /// In whose chain.
    pub(crate) nid: Nid,
    /// Its name.
    pub(crate) tenant_id: String,
    /// The record's id.
    pub(crate) id: String,
    /// What kind of decision.
    pub(crate) invocation_type: &'static str,
    /// Who decided, and the thread that ties such records together; lists find it by an index.
    pub(crate) actor: &'static str,
    /// What was done.
    pub(crate) action: &'static str,
    /// By which rule.
    pub(crate) rule: String,
    /// In words.
    pub(crate) reason: String,
    /// What was done, fact by fact.
    pub(crate) notes: Vec<String>,
}

impl OwnRecord {
    /// The record, before it has a place in the chain.
    pub(crate) fn draft(self, snapshot: &Snapshot, now: Timestamp) -> Draft {
        let Self { nid, tenant_id, id, invocation_type, actor, action, rule, reason, notes } = self;
        let hash = |text: &str| ContentHash(sha256(text.as_bytes()));
        let audit_trail = AuditTrail { input_hash: hash(&rule), output_hash: hash(&notes.join("\n")) };
        let id = Text::from(id);
        let explanation = Explanation {
            code: codes::POLICY_MODIFIED.into(),
            decision: "modify".into(),
            fix: None,
            reason: reason.into(),
            stage: invocation_type.into(),
            trigger: Some(rule.clone().into()),
        };
        Draft {
            agent_id: actor.into(),
            audit_trail,
            classification: None,
            compliance: Compliance::default(),
            correlation_id: id.clone(),
            cost_budget: None,
            durability: Durability::Strict,
            execution: execution(snapshot.currency.clone()),
            explanations: vec![explanation],
            failover: None,
            failure_reason: None,
            gateway_annotations: notes.into_iter().map(Text::from).collect(),
            id,
            invocation_type: invocation_type.into(),
            key_id: None,
            nid,
            policy_decision: PolicyDecision {
                action: action.into(),
                allowed: true,
                policy_version: snapshot.version.clone().into(),
                reasons: vec![rule.into()],
            },
            request_source_id: None,
            retry_attempt: None,
            routing_decision: None,
            sealed_content: None,
            secrets_accessed: Vec::new(),
            session_budget: None,
            session_id: Some(actor.into()),
            status: "completed".into(),
            team: None,
            tenant_id: tenant_id.into(),
            timestamp: now,
            upstream_auth_mode: None,
            upstream_key_fingerprint: None,
            upstream_key_source: None,
        }
    }
}

fn execution(currency: String) -> Execution {
    Execution {
        cost: NanoUsd::ZERO,
        cost_nano_usd: NanoUsd::ZERO,
        currency: currency.into(),
        duration_ms: 0,
        error: None,
        estimated_cost: None,
        http_status: None,
        model_used: "".into(),
        original_model: None,
        pricing_basis: "table".into(),
        pricing_known: true,
        provider: "".into(),
        streamed: false,
        tokens: Tokens::default(),
        ttft_ms: None,
        usage_estimated: false,
    }
}
