//! What is on record of a tool's call: evidence, usage and an event of the trail, in one transaction. Whatever becomes of the
//! call, and of who waits for it, it is recorded once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bh_domain::audit::{TOOL_FAILED, TOOL_INVOKED};
use bh_domain::evidence::record::{AuditTrail, ContentHash, Durability as Recorded, Explanation};
use bh_domain::evidence::{Draft, codes};
use bh_domain::hash::sha256;
use bh_domain::refusal::Refusal;
use bh_domain::time::Timestamp;
use bh_domain::usage::{Hour, Latency, UsageKind};
use serde_json::json;

use super::ToolParts;
use crate::audit::{Doer, Provenance};
use crate::evidence::own::OwnRecord;
use crate::ports::{AuditEvent, UsageDelta, UsageKey, UsageSums};
use crate::recorder::{Entry, Receipt};
use crate::snapshot::{Caller, Durability, Snapshot};

/// `invocation_type` of the record.
const TOOL: &str = "mcp";
/// Role in the trail.
const TENANT: &str = "tenant";

/// How a call ended.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// The tool answered: so.
    Answered {
        /// SHA-256 of its result.
        output: [u8; 32],
        /// It says itself that it failed.
        is_error: bool,
    },
    /// It was let, and came to nothing.
    Failed {
        /// What the caller is told.
        refusal: Refusal,
        /// Nobody knows whether the tool ran.
        may_have_run: bool,
    },
    /// It was not let.
    Denied(Refusal),
    /// Whoever asked for it has gone.
    ClientGone {
        /// It was on its way to the tool, which may have run.
        may_have_run: bool,
    },
}

/// A call that has to be recorded. Dropped, it is recorded as given up.
pub(super) struct Open<'s> {
    pub(super) parts: &'s ToolParts,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) caller: Arc<Caller>,
    pub(super) origin: Arc<Provenance>,
    pub(super) request_id: String,
    pub(super) server: String,
    pub(super) tool: String,
    pub(super) input: [u8; 32],
    pub(super) begun: Timestamp,
    pub(super) begun_ns: u64,
    /// It is on its way to the tool.
    pub(super) sent: AtomicBool,
    pub(super) durability: Durability,
    pub(super) is_closed: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_closed {
            // Nobody waits for it any more.
            let may_have_run = self.sent.load(Ordering::Relaxed);
            let _nobody = self.record(&End::ClientGone { may_have_run });
        }
    }
}

impl Open<'_> {
    /// Puts the call on the record; what there is to wait for.
    pub(super) fn close(mut self, end: &End) -> Option<Receipt> {
        self.record(end)
    }

    fn record(&mut self, end: &End) -> Option<Receipt> {
        self.is_closed = true;
        let metrics = &self.parts.metrics;
        metrics.tool(&self.caller.tenant.id, outcome(end));
        let draft = self.draft(end);
        let usage = Some(self.usage(end, draft.execution.duration_ms));
        let audit = self.event(end).map(Box::new);
        let entry = Entry { usage, audit, ..Entry::of(draft) };
        self.parts.recorder.submit(entry, self.durability)
    }

    fn elapsed_ms(&self) -> u64 {
        self.parts.clock.monotonic_ns().saturating_sub(self.begun_ns) / 1_000_000
    }

    fn draft(&self, end: &End) -> Draft {
        let Caller { name, tenant, team, key, .. } = &*self.caller;
        let own = OwnRecord {
            nid: tenant.nid,
            tenant_id: tenant.id.to_string(),
            id: self.request_id.clone(),
            invocation_type: TOOL,
            actor: TOOL,
            action: "allow",
            rule: String::new(),
            reason: String::new(),
            notes: Vec::new(),
        };
        let mut draft = own.draft(&self.snapshot, self.begun);
        draft.agent_id = name.clone().into();
        draft.team = team.clone().map(Into::into);
        draft.key_id = key.as_ref().map(|key| key.id.to_string().into());
        draft.session_id = None;
        draft.explanations = Vec::new();
        draft.policy_decision.reasons = Vec::new();
        draft.durability = match self.durability {
            Durability::Strict => Recorded::Strict,
            Durability::Relaxed => Recorded::Relaxed,
        };
        let output = if let End::Answered { output, .. } = end { *output } else { sha256(&[]) };
        draft.audit_trail =
            AuditTrail { input_hash: ContentHash(self.input), output_hash: ContentHash(output) };
        draft.execution.provider = self.server.clone().into();
        draft.execution.model_used = self.tool.clone().into();
        draft.execution.duration_ms = self.elapsed_ms();
        let (status, reason) = words(end);
        draft.status = status.into();
        draft.failure_reason = reason.map(Into::into);
        if let End::Failed { refusal, .. } | End::Denied(refusal) = end {
            draft.execution.error = Some(refusal.message.clone().into());
            let denied = matches!(end, End::Denied(_));
            draft.policy_decision.allowed = !denied;
            draft.policy_decision.action = if denied { "deny".into() } else { "error".into() };
            draft.explanations = vec![explanation(refusal, denied)];
        }
        draft
    }

    fn usage(&self, end: &End, duration_ms: u64) -> UsageDelta {
        let ended = self.parts.clock.now();
        let names = [self.caller.name.as_str(), &self.server, &self.tool];
        let well = matches!(end, End::Answered { is_error: false, .. });
        UsageDelta {
            key: UsageKey::new(self.caller.tenant.nid, Hour::of(ended), UsageKind::Tools, names),
            sums: UsageSums {
                requests: 1,
                denied: u64::from(matches!(end, End::Denied(_))),
                failed: u64::from(!well && !matches!(end, End::Denied(_))),
                units: u64::from(is_invocation(end)),
                latency: if well { Latency::one(duration_ms) } else { Latency::default() },
                ..UsageSums::default()
            },
        }
    }

    /// What the trail tells; of what was denied whoever watches the door does.
    fn event(&self, end: &End) -> Option<AuditEvent> {
        if matches!(end, End::Denied(_)) {
            return None;
        }
        let id = bh_domain::tools::tool_id(&self.server, &self.tool);
        let well = matches!(end, End::Answered { is_error: false, .. });
        let (status, reason) = words(end);
        let mut detail = json!({ "toolId": id, "status": status });
        if let Some(reason) = reason {
            detail["reason"] = reason.into();
        }
        let action = if well { TOOL_INVOKED } else { TOOL_FAILED };
        if !well {
            // The door that answers with the refusal has nothing to add.
            self.origin.failure_is_told();
        }
        let by = Doer { name: &self.caller.name, role: TENANT, origin: &self.origin };
        Some(by.event(self.parts.clock.as_ref(), action, &id, &detail))
    }
}

/// Whether it counts as an invocation: the tool was reached, or may have been.
fn is_invocation(end: &End) -> bool {
    match end {
        End::Answered { .. } => true,
        End::Failed { may_have_run, .. } | End::ClientGone { may_have_run } => *may_have_run,
        End::Denied(_) => false,
    }
}

fn outcome(end: &End) -> &'static str {
    match end {
        End::Answered { is_error: false, .. } => "completed",
        End::Answered { is_error: true, .. } | End::Failed { .. } => "failed",
        End::Denied(_) => "denied",
        End::ClientGone { .. } => "client_disconnected",
    }
}

fn words(end: &End) -> (&'static str, Option<&'static str>) {
    let reason = match end {
        End::Answered { is_error: false, .. } => None,
        End::Answered { is_error: true, .. } => Some("tool_error"),
        End::Failed { refusal, .. } | End::Denied(refusal) => Some(refusal.code.as_str()),
        End::ClientGone { .. } => Some("client_disconnected"),
    };
    (outcome(end), reason)
}

fn explanation(refusal: &Refusal, denied: bool) -> Explanation {
    Explanation {
        code: if denied { codes::POLICY_DENIED } else { codes::EXECUTION_FAILED }.into(),
        decision: if denied { "deny".into() } else { "error".into() },
        fix: None,
        reason: refusal.message.clone().into(),
        stage: TOOL.into(),
        trigger: None,
    }
}
