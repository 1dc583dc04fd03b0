//! Calling a tool (Connectors dossier §2.2, `tools/invoke`).

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bh_domain::hash::sha256;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::Scope;
use bh_domain::tenant::profile::Feature;
use bh_domain::tools::split_tool_id;
use bh_domain::usage::UtcMonth;
use bh_wire::mcp::{CallHead, INVALID_PARAMS};
use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::client::{CallFault, ClientFault, strange};
use super::place::Place;
use super::record::{End, Open};
use super::view::head;
use super::{Source, ToolParts, ToolStory, mask, misnamed, no_tool, told};
use crate::audit::Provenance;
use crate::ports::{QuotaPeriod, ServerRow, ToolRow};
use crate::recorder::Receipt;
use crate::snapshot::{Caller, Snapshot};

/// What the parameters may have in bytes.
pub(super) const PARAMETERS_BYTES_MAX: usize = 1024 * 1024;
const QUOTA: &str = "maxToolInvocations";

/// A call that is asked for.
#[derive(Debug)]
pub struct Invocation {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// The configuration that holds for it.
    pub snapshot: Arc<Snapshot>,
    /// Where the request came from.
    pub origin: Arc<Provenance>,
    /// Names the request.
    pub request_id: String,
    /// The tool.
    pub tool_id: String,
    /// Its server, where that is told too.
    pub integration: Option<String>,
    /// What the tool is given, a JSON object as it came.
    pub parameters: Box<RawValue>,
}

/// What a tool answered.
#[derive(Debug)]
pub struct Invoked {
    /// Its result (MCP, `CallToolResult`), as it came.
    pub result: Box<RawValue>,
    /// Whether the tool says that it failed.
    pub is_error: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl ToolStory {
    /// Calls a tool. Whatever comes of it is on record; the answer leaves when that is as durable as the tenant's evidence is.
    ///
    /// # Errors
    /// `invalid_request`; `tool_not_found`; `quota_exceeded`; `upstream_unreachable`, `upstream_timeout`,
    /// `upstream_credential_missing`, `tool_busy` and `tool_failed` for what its server did; `feature_disabled`;
    /// `evidence_unavailable`.
    pub async fn invoke(&self, asked: Invocation) -> Result<Invoked, Refusal> {
        let parts = self.parts();
        parts.recorder.accepting()?;
        let arguments = arguments(&asked.parameters)?;
        confirmed(&asked)?;
        let tenant = &asked.caller.tenant;
        tenant.allows(Feature::CustomServers)?;
        let (server, tool) = self.found(tenant, &asked.tool_id).await?;
        let _turn = self.0.under_way.begin(tenant.nid)?;
        asked.origin.asked(shown(arguments, &tool));
        let open = open(parts, &asked, &tool);
        let begun_ns = open.begun_ns;
        let quota = match self.counted(&asked.caller).await {
            Ok(quota) => quota,
            Err(refusal) if refusal.code == Code::QuotaExceeded => {
                let end = End::Denied(refusal);
                return Err(refused_on_record(open.close(&end), end).await);
            }
            Err(refusal) => {
                let end = End::Failed { refusal, may_have_run: false };
                return Err(refused_on_record(open.close(&end), end).await);
            }
        };
        match self.called(&asked, &server, &tool, &open.sent).await {
            Ok((result, is_error)) => {
                let took_ms = parts.clock.monotonic_ns().saturating_sub(begun_ns) / 1_000_000;
                let output = sha256(result.get().as_bytes());
                answered_on_record(open, &End::Answered { output, is_error }).await?;
                Ok(Invoked { result, is_error, took_ms })
            }
            Err((refusal, may_have_run)) => {
                let end = End::Failed { refusal, may_have_run };
                // First of all: whoever asked may be gone before the rest is done.
                let receipt = open.close(&end);
                if let Some(quota) = quota.filter(|_| !may_have_run) {
                    self.given_back(&asked.caller, quota).await;
                }
                Err(refused_on_record(receipt, end).await)
            }
        }
    }

    /// The tool's result; or why there is none, and whether it may have run.
    async fn called(
        &self,
        asked: &Invocation,
        server: &ServerRow,
        tool: &ToolRow,
        sent: &AtomicBool,
    ) -> Result<(Box<RawValue>, bool), (Refusal, bool)> {
        let settings = &asked.snapshot.mcp;
        let source = Source::stored(&server.source).ok_or_else(|| (no_tool(&asked.tool_id), false))?;
        let place = self.place(&asked.caller.tenant, (&server.name, server.deployment), &source, settings);
        let place = place.await.map_err(|refusal| (refusal, false))?;
        let called = self.0.client.call(&place, settings, (&tool.name, &asked.parameters), sent).await;
        let refused =
            |CallFault { fault, may_have_run }| (refused(&fault, &asked.tool_id, &place), may_have_run);
        let result = called.map_err(refused)?;
        let head = serde_json::from_str::<CallHead>(result.get());
        let head = head.map_err(|error| {
            refused(CallFault { fault: strange("the result of a call", &error), may_have_run: true })
        })?;
        Ok((result, head.is_error))
    }

    /// Counts an invocation towards the month's quota, where there is one.
    async fn counted(&self, caller: &Caller) -> Result<Option<QuotaPeriod>, Refusal> {
        let Some(max) = caller.tenant.limits.max_tool_invocations else { return Ok(None) };
        let now = self.parts().clock.now();
        let Some(month) = UtcMonth::of(now) else { return Ok(None) };
        let before = UtcMonth::of(month.first.plus(-1).first_hour().start()).unwrap_or(month);
        let quota = QuotaPeriod { quota: QUOTA, month: month.to_string(), kept_from: before.to_string() };
        let taken = self.store().take_quota(Scope::tenant(caller.tenant.nid), quota.clone(), max).await;
        match taken.map_err(told)? {
            (_, true) => Ok(Some(quota)),
            (used, false) => {
                let message = format!(
                    "The tenant has used {used} of its {max} tool invocations of {month} (`{QUOTA}`); the month ends in UTC"
                );
                let refusal = Refusal::new(Code::QuotaExceeded, message).with("quota", QUOTA);
                Err(refusal.with("used", used.to_string()).with("limit", max.to_string()))
            }
        }
    }

    /// Nothing was done for it. One that cannot be given back stays counted, for the tenant's safety and not its favour.
    async fn given_back(&self, caller: &Caller, quota: QuotaPeriod) {
        let scope = Scope::tenant(caller.tenant.nid);
        if let Err(fault) = self.store().give_back_quota(scope, quota).await {
            tracing::warn!(error = &fault as &dyn std::error::Error, "an invocation stays counted");
        }
    }
}

/// Waits until the record of a call that was answered is durable.
async fn answered_on_record(open: Open<'_>, end: &End) -> Result<(), Refusal> {
    let Some(receipt) = open.close(end) else { return Ok(()) };
    receipt.durable().await.map_err(|_| {
        let message = "The tool was called, and its evidence could not be made durable in time";
        Refusal::new(Code::EvidenceUnavailable, message).retry_after(1)
    })
}

/// The same for one that came to nothing, which is told whatever becomes of its record: that stays queued.
async fn refused_on_record(receipt: Option<Receipt>, end: End) -> Refusal {
    if let Some(receipt) = receipt
        && receipt.durable().await.is_err()
    {
        tracing::error!("a tool's call is not on the record yet; it stays queued");
    }
    match end {
        End::Denied(refusal) | End::Failed { refusal, .. } => refusal,
        End::Answered { .. } | End::ClientGone { .. } => {
            Refusal::new(Code::Internal, "The call has ended otherwise")
        }
    }
}

fn open<'s>(parts: &'s ToolParts, asked: &Invocation, tool: &ToolRow) -> Open<'s> {
    Open {
        parts,
        snapshot: Arc::clone(&asked.snapshot),
        caller: Arc::clone(&asked.caller),
        origin: Arc::clone(&asked.origin),
        request_id: asked.request_id.clone(),
        server: tool.server.clone(),
        tool: tool.name.clone(),
        input: sha256(asked.parameters.get().as_bytes()),
        begun: parts.clock.now(),
        begun_ns: parts.clock.monotonic_ns(),
        sent: AtomicBool::new(false),
        durability: asked.snapshot.evidence.durability_for("/api/v1/tools/invoke", &asked.caller.tenant),
        is_closed: false,
    }
}

fn arguments(parameters: &RawValue) -> Result<Map<String, Value>, Refusal> {
    let wrong = |problem: String| {
        let message = format!("`parameters` {problem}");
        Refusal::new(Code::InvalidRequest, message).with("field", "parameters")
    };
    if parameters.get().len() > PARAMETERS_BYTES_MAX {
        return Err(wrong(format!("has more than {PARAMETERS_BYTES_MAX} bytes")));
    }
    serde_json::from_str(parameters.get()).map_err(|_| wrong("must be a JSON object".to_owned()))
}

/// A server that is told beside the tool must be its own.
fn confirmed(asked: &Invocation) -> Result<(), Refusal> {
    let (server, _) = split_tool_id(&asked.tool_id).map_err(|error| misnamed(&error))?;
    match asked.integration.as_deref() {
        Some(told) if told != server => {
            let message = format!("`integration` is not the server of `toolId`, which is `{server}`");
            Err(Refusal::new(Code::InvalidRequest, message).with("field", "integration"))
        }
        Some(_) | None => Ok(()),
    }
}

/// The parameters as the trail shows them.
fn shown(mut arguments: Map<String, Value>, tool: &ToolRow) -> Bytes {
    let schema = head(tool).input_schema;
    match schema.map(|schema| serde_json::from_str::<Value>(schema.get())) {
        None => {}
        Some(Ok(schema)) => mask::by_schema(&mut arguments, &schema),
        // Nobody knows what of it is secret.
        Some(Err(_)) => arguments.clear(),
    }
    Value::Object(arguments).to_string().into()
}

/// What a caller is told of what a server did. The server's own words stand beside the message, which goes on record: they are
/// anybody's, and may repeat what the server was shown.
fn refused(fault: &ClientFault, tool_id: &str, place: &Place) -> Refusal {
    tracing::warn!(tool_id, error = fault as &dyn std::error::Error, "a tool was not called well");
    let told = |code: Code| Refusal::new(code, format!("The tool's server: {fault}")).with("toolId", tool_id);
    match fault {
        ClientFault::Forbidden | ClientFault::Unreachable(_) | ClientFault::Broken(_) => {
            told(Code::UpstreamUnreachable)
        }
        ClientFault::Timeout => told(Code::UpstreamTimeout),
        ClientFault::Unauthorized(_) | ClientFault::Withheld(_) => {
            let message = format!(
                "The tool's server: {fault}. An operator stores one with admin.oauth.storeCredentials(tenant, server, …)"
            );
            Refusal::new(Code::UpstreamCredentialMissing, message).with("toolId", tool_id)
        }
        ClientFault::Busy(after) => {
            let after = after.map_or(1, |after| after.as_secs().max(1));
            told(Code::ToolBusy).retry_after(after)
        }
        ClientFault::Rpc(error) => {
            let code = if error.code == INVALID_PARAMS { Code::InvalidRequest } else { Code::ToolFailed };
            told(code).with("serverMessage", place.without_credential(&error.message))
        }
        ClientFault::Status(_) | ClientFault::Strange(_) => told(Code::ToolFailed),
    }
}
