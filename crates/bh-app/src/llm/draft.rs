//! What a record says before it has a place in the chain.

use bh_domain::budget::Period;
use bh_domain::evidence::record::{
    AuditTrail, Compliance, ContentHash, CostBudget, Durability as Recorded, Execution, Failover,
    PolicyDecision, SessionBudget, Text, Tokens,
};
use bh_domain::evidence::{Draft, codes};
use bh_domain::money::NanoUsd;
use bh_domain::price::{PriceBasis, TokenCounts};
use bh_domain::refusal::Code;
use bh_wire::family::Endpoint;

use super::ticket::{EMPTY_SHA256, FailedAttempt, Ticket};
use crate::snapshot::{CallerSource, Durability};

/// Counts from a provider beyond these are not believed: they would not fit a record's exact integers.
const TOKENS_MAX: u64 = 1 << 40;
/// The largest amount a record holds exactly.
pub(super) const COST_MAX: NanoUsd = NanoUsd(1 << 53);

/// The record of a call as far as its ticket tells; what comes of the call is filled in on top.
pub(super) fn draft(ticket: &Ticket, invocation_type: &'static str, duration_ms: u64) -> Draft {
    let caller = &ticket.caller;
    let (cost_budget, session_budget) = budgets(ticket);
    Draft {
        agent_id: caller.name.clone().into(),
        audit_trail: AuditTrail {
            input_hash: ContentHash(ticket.input_hash()),
            output_hash: ContentHash(EMPTY_SHA256),
        },
        classification: None,
        compliance: Compliance::default(),
        correlation_id: ticket.correlation_id.clone().into(),
        cost_budget,
        durability: match ticket.durability {
            Durability::Strict => Recorded::Strict,
            Durability::Relaxed => Recorded::Relaxed,
        },
        execution: Execution {
            cost: NanoUsd::ZERO,
            cost_nano_usd: NanoUsd::ZERO,
            currency: ticket.snapshot.currency.clone().into(),
            duration_ms,
            error: None,
            estimated_cost: None,
            http_status: None,
            model_used: ticket.requested_model.clone().unwrap_or_default().into(),
            original_model: None,
            pricing_basis: PriceBasis::Table.as_str().into(),
            pricing_known: true,
            provider: "".into(),
            streamed: ticket.streamed,
            tokens: Tokens::default(),
            ttft_ms: None,
            usage_estimated: false,
        },
        explanations: Vec::new(),
        failover: None,
        failure_reason: None,
        gateway_annotations: annotations(ticket),
        id: ticket.request_id.clone().into(),
        invocation_type: invocation_type.into(),
        key_id: caller.key.as_ref().map(|key| key.id.to_string().into()),
        nid: caller.tenant.nid,
        policy_decision: PolicyDecision {
            action: "allow".into(),
            allowed: true,
            policy_version: ticket.snapshot.version.clone().into(),
            reasons: Vec::new(),
        },
        request_source_id: None,
        retry_attempt: None,
        routing_decision: None,
        sealed_content: None,
        secrets_accessed: Vec::new(),
        session_budget,
        session_id: ticket.session_id.clone().map(Into::into),
        status: "completed".into(),
        team: caller.team.clone().map(Into::into),
        tenant_id: caller.tenant.id.to_string().into(),
        timestamp: ticket.at,
        upstream_auth_mode: None,
        upstream_key_fingerprint: None,
        upstream_key_source: None,
    }
}

fn budgets(ticket: &Ticket) -> (Option<CostBudget>, Option<SessionBudget>) {
    let Some(state) = &ticket.budget else { return (None, None) };
    let (estimate, limit, spent) =
        (state.estimate.min(COST_MAX), state.limit.min(COST_MAX), state.spent.min(COST_MAX));
    match state.period {
        Period::Session => (None, Some(SessionBudget { estimate, limit, spent })),
        Period::Day | Period::Month => {
            (Some(CostBudget { estimate, limit, period: state.period.as_str().into(), spent }), None)
        }
    }
}

pub(super) fn failover(
    ticket: &Ticket,
    role: &'static str,
    attempt: u32,
    failed: &FailedAttempt,
) -> Failover {
    Failover {
        attempt,
        chain_position: failed.chain_position,
        error_class: Some(failed.error_class.into()),
        group_id: format!("fog_{}", ticket.request_id).into(),
        role: role.into(),
        upstream_status: failed.status,
    }
}

fn annotations(ticket: &Ticket) -> Vec<Text> {
    match ticket.caller.source {
        CallerSource::Quickstart => quickstart_annotations(ticket),
        CallerSource::Anonymous => vec!["anonymous_caller".into()],
        CallerSource::Keyless => vec!["keyless".into()],
        CallerSource::Issued => vec!["issued_key".into()],
        CallerSource::Imported => vec!["imported_key".into()],
        CallerSource::Token => token_annotations(ticket),
        CallerSource::Config | CallerSource::SourceIp => Vec::new(),
    }
}

/// That a derived token was used, and which one.
fn token_annotations(ticket: &Ticket) -> Vec<Text> {
    let token = ticket.caller.key.as_ref().and_then(|key| key.token.as_ref());
    let id = token.and_then(|token| token.claims().id.as_deref());
    let id = id.map(|id| Text::from(format!("token={id}")));
    [Text::from("derived_token")].into_iter().chain(id).collect()
}

/// What the quickstart was allowed that a developer should know of later (Talon dossier section 3.6).
fn quickstart_annotations(ticket: &Ticket) -> Vec<Text> {
    let unsafe_listen =
        ticket.snapshot.quickstart.as_ref().is_some_and(|quickstart| quickstart.unsafe_listen);
    let all_models = ticket.caller.allowed_models.is_empty();
    let told = [
        (true, "quickstart_mode"),
        (all_models, "quickstart_model_allowlist_disabled"),
        (unsafe_listen, "quickstart_unsafe_listen"),
    ];
    told.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name.into()).collect()
}

pub(super) fn invocation_type(ticket: &Ticket) -> &'static str {
    match ticket.endpoint {
        Endpoint::CountTokens => "gateway_count_tokens",
        Endpoint::ChatCompletions
        | Endpoint::Completions
        | Endpoint::Responses
        | Endpoint::Embeddings
        | Endpoint::Models
        | Endpoint::Messages
        | Endpoint::Other => "gateway",
    }
}

/// What a refusal is called in evidence: the decision, and the explanation code.
pub(super) fn words(code: Code) -> (&'static str, &'static str) {
    match code {
        Code::BudgetExceeded | Code::SessionBudgetExceeded => ("budget", codes::POLICY_DENIED_COST),
        Code::RateLimited => ("limit", codes::POLICY_DENIED),
        Code::ProviderUnknown
        | Code::ProviderNotAllowed
        | Code::ModelNotFound
        | Code::ModelNotAllowed
        | Code::UnmeteredPath
        | Code::ModelRequired => ("deny", codes::POLICY_DENIED_ROUTING),
        Code::UpstreamUnreachable
        | Code::UpstreamTimeout
        | Code::ToolFailed
        | Code::ToolBusy
        | Code::Internal
        | Code::EvidenceUnavailable
        | Code::LimitsUnavailable
        | Code::StoreTimeout
        | Code::MasterKeyUnknown
        | Code::SecretUnreadable => ("error", codes::EXECUTION_FAILED),
        Code::Unauthorized
        | Code::CrossTenantAccessDenied
        | Code::TenantInactive
        | Code::InvalidRequest
        | Code::RequestTooLarge
        | Code::RequestTimeout
        | Code::UnsupportedMediaType
        | Code::NotFound
        | Code::NetworkNotFound
        | Code::TenantNotFound
        | Code::TenantExists
        | Code::HostnameTaken
        | Code::TenantReadOnly
        | Code::FeatureDisabled
        | Code::Conflict
        | Code::FailedPrecondition
        | Code::Forbidden
        | Code::IpNotAllowed
        | Code::ApiKeyExpired
        | Code::ApiKeyRevoked
        | Code::SignatureInvalid
        | Code::ParentKeyInvalid
        | Code::CredentialRequired
        | Code::DerivedTokenNotRevocable
        | Code::QuotaExceeded
        | Code::ServerExists
        | Code::ServerNotFound
        | Code::DeploymentNotFound
        | Code::ToolNotFound
        | Code::MethodNotAllowed
        | Code::NotImplemented
        | Code::UpstreamCredentialMissing
        | Code::ShuttingDown => ("deny", codes::POLICY_DENIED),
    }
}

pub(super) fn believed(tokens: TokenCounts) -> TokenCounts {
    TokenCounts {
        input: tokens.input.min(TOKENS_MAX),
        output: tokens.output.min(TOKENS_MAX),
        cache_read: tokens.cache_read.min(TOKENS_MAX),
        cache_write: tokens.cache_write.min(TOKENS_MAX),
        reasoning: tokens.reasoning.min(TOKENS_MAX),
    }
}

/// The counts that a record tells.
pub(super) fn counts_of(tokens: &Tokens) -> TokenCounts {
    let Tokens { cache_read, cache_write, input, output, reasoning } = *tokens;
    TokenCounts { input, output, cache_read, cache_write, reasoning }
}

pub(super) fn tokens_of(tokens: &TokenCounts) -> Tokens {
    Tokens {
        cache_read: tokens.cache_read,
        cache_write: tokens.cache_write,
        input: tokens.input,
        output: tokens.output,
        reasoning: tokens.reasoning,
    }
}
