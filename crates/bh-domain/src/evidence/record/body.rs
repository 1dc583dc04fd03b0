//! The body of a record, and how it is written with its place in the chain.

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::parts::{
    AuditTrail, Classification, Compliance, CostBudget, Durability, Execution, Explanation, Failover,
    PolicyDecision, RoutingDecision, SessionBudget, Text,
};
use super::text::{instant, nid};
use crate::evidence::canonical::INTEGER_MAX;
use crate::evidence::{Hash, hex};
use crate::tenant::Nid;
use crate::time::Timestamp;

/// Everything a record says, before it has a place in the chain. Ids, times and hashes are passed in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Draft {
    /// Name of the caller.
    pub agent_id: Text,
    /// What went in and out, by hash.
    pub audit_trail: AuditTrail,
    /// How sensitive the content was.
    #[serde(default)]
    pub classification: Option<Classification>,
    /// The rules the call falls under.
    pub compliance: Compliance,
    /// What the records of one request share.
    pub correlation_id: Text,
    /// State of the daily or monthly budget.
    #[serde(default)]
    pub cost_budget: Option<CostBudget>,
    /// Which durability the record was written with.
    pub durability: Durability,
    /// What ran and what it cost.
    pub execution: Execution,
    /// Why, code by code.
    #[serde(default)]
    pub explanations: Vec<Explanation>,
    /// Part in a chain of attempts.
    #[serde(default)]
    pub failover: Option<Failover>,
    /// Why the call failed, where it did.
    #[serde(default)]
    pub failure_reason: Option<Text>,
    /// Notes of the gateway about how it ran, such as `quickstart_mode`.
    #[serde(default)]
    pub gateway_annotations: Vec<Text>,
    /// The record's id.
    pub id: Text,
    /// What kind of call: `gateway`, `http`, `mcp`, ...
    pub invocation_type: Text,
    /// The issued or imported key that the caller used, or that its token was derived from.
    #[serde(default)]
    pub key_id: Option<Text>,
    /// The tenant's network id.
    #[serde(deserialize_with = "nid")]
    pub nid: Nid,
    /// What policy said.
    pub policy_decision: PolicyDecision,
    /// The end user or system behind the caller, as the caller asserts it.
    #[serde(default)]
    pub request_source_id: Option<Text>,
    /// Number of the retry, from 1.
    #[serde(default)]
    pub retry_attempt: Option<u32>,
    /// Why this provider and model.
    #[serde(default)]
    pub routing_decision: Option<RoutingDecision>,
    /// Prompt and answer, sealed, where the tenant has them stored.
    #[serde(default)]
    pub sealed_content: Option<Text>,
    /// Names of the secrets that were used; never their values.
    #[serde(default)]
    pub secrets_accessed: Vec<Text>,
    /// State of the session's budget.
    #[serde(default)]
    pub session_budget: Option<SessionBudget>,
    /// The session.
    #[serde(default)]
    pub session_id: Option<Text>,
    /// How it ended: `completed`, `denied`, `failed`, ...
    pub status: Text,
    /// The caller's team.
    #[serde(default)]
    pub team: Option<Text>,
    /// The tenant.
    pub tenant_id: Text,
    /// When it was decided.
    #[serde(deserialize_with = "instant")]
    pub timestamp: Timestamp,
    /// `secret` or `client_bearer`.
    #[serde(default)]
    pub upstream_auth_mode: Option<Text>,
    /// First 12 hexadecimal digits of the SHA-256 of the provider key that was used.
    #[serde(default)]
    pub upstream_key_fingerprint: Option<Text>,
    /// `client`, `env` or `secret`.
    #[serde(default)]
    pub upstream_key_source: Option<Text>,
}

impl Draft {
    /// The member whose integer canonical JSON cannot carry exactly, if there is one.
    pub(in crate::evidence) fn inexact_member(&self) -> Option<&'static str> {
        let Execution { cost_nano_usd, duration_ms, tokens, ttft_ms, .. } = &self.execution;
        let members = [
            ("cost_nano_usd", cost_nano_usd.0.unsigned_abs()),
            ("duration_ms", *duration_ms),
            ("ttft_ms", ttft_ms.unwrap_or(0)),
            ("cache_read", tokens.cache_read),
            ("cache_write", tokens.cache_write),
            ("input", tokens.input),
            ("output", tokens.output),
            ("reasoning", tokens.reasoning),
        ];
        members.into_iter().find(|(_, value)| *value > INTEGER_MAX).map(|(name, _)| name)
    }
}

/// A draft at its place in the chain, ready to be written.
pub(super) struct Linked<'a> {
    pub(super) draft: &'a Draft,
    pub(super) prev_hash: &'a Hash,
    pub(super) seq: u64,
    pub(super) signature: &'a str,
}

/// How many members a record has when none is left out.
const MEMBERS_MAX: usize = 34;

/// Writes members in the order given; `?` leaves out what is `None`, `*` what is empty.
macro_rules! members {
    ($to:ident; $($kind:tt $name:literal = $value:expr),* $(,)?) => { $( members!(@$kind $to, $name, $value); )* };
    (@! $to:ident, $name:literal, $value:expr) => { $to.serialize_field($name, $value)?; };
    (@? $to:ident, $name:literal, $value:expr) => {
        if let Some(value) = $value { $to.serialize_field($name, value)?; }
    };
    (@* $to:ident, $name:literal, $value:expr) => {
        if !$value.is_empty() { $to.serialize_field($name, $value)?; }
    };
}

impl Serialize for Linked<'_> {
    // Written by hand because the chain's three members stand between the draft's, and by destructuring so that a
    // new member of the draft cannot be forgotten.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[rustfmt::skip]
        let Draft {
            agent_id, audit_trail, classification, compliance, correlation_id, cost_budget, durability, execution,
            explanations, failover, failure_reason, gateway_annotations, id, invocation_type, key_id, nid,
            policy_decision, request_source_id, retry_attempt, routing_decision, sealed_content, secrets_accessed, session_budget,
            session_id, status, team, tenant_id, timestamp, upstream_auth_mode, upstream_key_fingerprint,
            upstream_key_source,
        } = self.draft;
        let mut to = to.serialize_struct("Record", MEMBERS_MAX)?;
        members! { to;
            ! "agent_id" = agent_id,
            ! "audit_trail" = audit_trail,
            ? "classification" = classification,
            ! "compliance" = compliance,
            ! "correlation_id" = correlation_id,
            ? "cost_budget" = cost_budget,
            ! "durability" = durability,
            ! "execution" = execution,
            * "explanations" = explanations,
            ? "failover" = failover,
            ? "failure_reason" = failure_reason,
            * "gateway_annotations" = gateway_annotations,
            ! "id" = id,
            ! "invocation_type" = invocation_type,
            ? "key_id" = key_id,
            ! "nid" = nid.0.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()),
            ! "policy_decision" = policy_decision,
            ! "prev_hash" = &hex::encode(self.prev_hash),
            ? "request_source_id" = request_source_id,
            ? "retry_attempt" = retry_attempt,
            ? "routing_decision" = routing_decision,
            ? "sealed_content" = sealed_content,
            ! "secrets_accessed" = secrets_accessed,
            ! "seq" = &self.seq,
            ? "session_budget" = session_budget,
            ? "session_id" = session_id,
            ! "signature" = self.signature,
            ! "status" = status,
            ? "team" = team,
            ! "tenant_id" = tenant_id,
            ! "timestamp" = &timestamp.rfc3339(),
            ? "upstream_auth_mode" = upstream_auth_mode,
            ? "upstream_key_fingerprint" = upstream_key_fingerprint,
            ? "upstream_key_source" = upstream_key_source,
        }
        to.end()
    }
}
