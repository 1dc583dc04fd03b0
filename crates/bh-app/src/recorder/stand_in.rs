//! The plain record of a call whose own record can never be written.
//!
//! Left as it was, it would keep every later one from the store: a chain has no gaps. What is known in plain form stays:
//! id, tenant, caller, time, decision, model, tokens, cost. The money of the call settles as it would have.

use std::borrow::Cow;

use bh_domain::budget::Owner;
use bh_domain::evidence::canonical::INTEGER_MAX;
use bh_domain::evidence::record::{Execution, PolicyDecision, Text, Tokens};
use bh_domain::evidence::{Draft, SealError};
use bh_domain::keys::key::JsonObject;
use bh_domain::money::NanoUsd;

use super::queue::Entry;
use crate::ports::{AuditEvent, SpendDelta};

/// Note on a record that stands in for one without an exact form; the reason follows.
const UNSEALABLE: &str = "evidence_unsealable";
/// Note on a record that stands in for one that the store refused for what it contained.
const REFUSED: &str = "evidence_refused_by_store";
/// Characters of any text that a plain record repeats: an index takes no longer ones.
const TEXT_CHARS_MAX: usize = 256;

impl Entry {
    /// Replaces a draft that cannot be sealed. Ledger and content stay.
    pub(super) fn make_sealable(&mut self, cause: &SealError) {
        tracing::error!(id = %self.draft.id, %cause, "a record cannot be sealed; a plain one stands in its place");
        self.draft = plain_draft(&self.draft, format!("{UNSEALABLE}: {cause}"));
    }

    /// The same call without anything a store could refuse: plain texts, no content.
    pub(super) fn acceptable(&self) -> Self {
        Self {
            draft: plain_draft(&self.draft, REFUSED.to_owned()),
            spend: self.spend.iter().map(plain_spend).collect(),
            usage: self.usage.clone(),
            contents: Vec::new(),
            audit: self.audit.as_deref().map(plain_event).map(Box::new),
        }
    }
}

/// The event, without what somebody else wrote.
fn plain_event(event: &AuditEvent) -> AuditEvent {
    AuditEvent { detail: JsonObject::default(), origin: JsonObject::default(), ..event.clone() }
}

fn plain_draft(draft: &Draft, note: String) -> Draft {
    let exact = exact_cost(&draft.execution);
    let mut notes: Vec<Text> = draft.gateway_annotations.iter().map(plain).collect();
    notes.push(note.into());
    if exact.is_none() {
        // What the ledger has, as text: every amount has one.
        notes.push(format!("cost_nano_usd={}", draft.execution.cost_nano_usd.0).into());
    }
    Draft {
        agent_id: plain(&draft.agent_id),
        audit_trail: draft.audit_trail.clone(),
        classification: None,
        compliance: Default::default(),
        correlation_id: plain(&draft.correlation_id),
        cost_budget: None,
        durability: draft.durability,
        execution: plain_execution(&draft.execution, exact),
        explanations: Vec::new(),
        failover: None,
        failure_reason: draft.failure_reason.as_ref().map(plain),
        gateway_annotations: notes,
        id: plain(&draft.id),
        invocation_type: plain(&draft.invocation_type),
        key_id: draft.key_id.as_ref().map(plain),
        nid: draft.nid,
        policy_decision: PolicyDecision {
            action: plain(&draft.policy_decision.action),
            allowed: draft.policy_decision.allowed,
            policy_version: plain(&draft.policy_decision.policy_version),
            reasons: Vec::new(),
        },
        request_source_id: None,
        retry_attempt: draft.retry_attempt,
        routing_decision: None,
        sealed_content: None,
        secrets_accessed: Vec::new(),
        session_budget: None,
        session_id: draft.session_id.as_ref().map(plain),
        status: plain(&draft.status),
        team: None,
        tenant_id: plain(&draft.tenant_id),
        timestamp: draft.timestamp,
        upstream_auth_mode: None,
        upstream_key_fingerprint: None,
        upstream_key_source: None,
    }
}

/// The cost, where the draft says one and the same amount that canonical JSON carries.
fn exact_cost(execution: &Execution) -> Option<NanoUsd> {
    let cost = execution.cost;
    (cost == execution.cost_nano_usd && cost.0.unsigned_abs() <= INTEGER_MAX).then_some(cost)
}

fn plain_execution(execution: &Execution, exact: Option<NanoUsd>) -> Execution {
    let within = |count: u64| if count <= INTEGER_MAX { count } else { 0 };
    let cost = exact.unwrap_or(NanoUsd::ZERO);
    let Tokens { cache_read, cache_write, input, output, reasoning } = execution.tokens;
    Execution {
        cost,
        cost_nano_usd: cost,
        currency: plain(&execution.currency),
        duration_ms: within(execution.duration_ms),
        error: execution.error.as_ref().map(plain),
        estimated_cost: None,
        http_status: execution.http_status,
        model_used: plain(&execution.model_used),
        original_model: None,
        pricing_basis: plain(&execution.pricing_basis),
        pricing_known: execution.pricing_known && exact.is_some(),
        provider: plain(&execution.provider),
        streamed: execution.streamed,
        tokens: Tokens {
            cache_read: within(cache_read),
            cache_write: within(cache_write),
            input: within(input),
            output: within(output),
            reasoning: within(reasoning),
        },
        ttft_ms: execution.ttft_ms.map(within),
        usage_estimated: execution.usage_estimated,
    }
}

fn plain_spend(delta: &SpendDelta) -> SpendDelta {
    let text = |text: &String| plain_text(text).map_or_else(|| text.clone(), Cow::into_owned);
    let owner = match &delta.owner {
        Owner::Caller(name) => Owner::Caller(text(name)),
        Owner::Tenant => Owner::Tenant,
        Owner::Organization => Owner::Organization,
        Owner::Session { caller, id } => Owner::Session { caller: text(caller), id: text(id) },
        Owner::Token(id) => Owner::Token(text(id)),
    };
    SpendDelta { owner, ..delta.clone() }
}

fn plain(text: &Text) -> Text {
    plain_text(text).unwrap_or_else(|| text.clone())
}

/// The text without what a column cannot hold; `None` when there is nothing of it.
fn plain_text(text: &str) -> Option<Text> {
    let odd = text.len() > TEXT_CHARS_MAX || text.chars().any(char::is_control);
    let mended = || text.chars().take(TEXT_CHARS_MAX).map(|c| if c.is_control() { '\u{fffd}' } else { c });
    odd.then(|| Cow::Owned(mended().collect()))
}
