//! Drafts for tests.

use super::*;
use crate::money::NanoUsd;
use crate::tenant::Nid;
use crate::time::Timestamp;

/// The least a record says.
pub(in crate::evidence) fn minimal() -> Draft {
    Draft {
        agent_id: "helpdesk".into(),
        audit_trail: AuditTrail { input_hash: ContentHash([0xaa; 32]), output_hash: ContentHash([0xbb; 32]) },
        classification: None,
        compliance: Compliance::default(),
        correlation_id: "req_5c1e9a3d".into(),
        cost_budget: None,
        durability: Durability::Strict,
        execution: Execution {
            cost: NanoUsd(0),
            cost_nano_usd: NanoUsd(0),
            currency: "USD".into(),
            duration_ms: 3,
            error: None,
            estimated_cost: None,
            http_status: None,
            model_used: "gpt-4o-mini".into(),
            original_model: None,
            pricing_basis: "table".into(),
            pricing_known: true,
            provider: "openai".into(),
            streamed: false,
            tokens: Tokens::default(),
            ttft_ms: None,
            usage_estimated: false,
        },
        explanations: Vec::new(),
        failover: None,
        failure_reason: None,
        gateway_annotations: Vec::new(),
        id: "gw_0123456789ab".into(),
        invocation_type: "gateway".into(),
        key_id: None,
        nid: Nid(uuid::Uuid::from_u128(0xacce_0001)),
        policy_decision: PolicyDecision {
            action: "deny".into(),
            allowed: false,
            policy_version: "sha256:77aa".into(),
            reasons: vec!["model not allowed".into()],
        },
        request_source_id: None,
        retry_attempt: None,
        routing_decision: None,
        sealed_content: None,
        secrets_accessed: Vec::new(),
        session_budget: None,
        session_id: None,
        status: "denied".into(),
        team: None,
        tenant_id: "acme".into(),
        timestamp: Timestamp(1_795_253_400_125),
        upstream_auth_mode: None,
        upstream_key_fingerprint: None,
        upstream_key_source: None,
    }
}

/// A record in which every member is present.
pub(in crate::evidence) fn full() -> Draft {
    Draft {
        classification: Some(Classification { input_tier: 1, output_tier: 0, pii_redacted: true }),
        compliance: Compliance {
            data_location: "eu-west-1".into(),
            frameworks: vec!["gdpr".into(), "nis2".into()],
        },
        cost_budget: Some(CostBudget {
            estimate: NanoUsd(2_500_000),
            limit: NanoUsd(10_000_000_000),
            period: "daily".into(),
            spent: NanoUsd(1_250_000_000),
        }),
        execution: full_execution(),
        explanations: vec![Explanation {
            code: crate::evidence::codes::POLICY_ALLOWED.into(),
            decision: "allow".into(),
            fix: Some("none needed".into()),
            reason: "within \"all\" limits <&> \u{2028} é😀".into(),
            stage: "admit".into(),
            trigger: Some("line\nbreak\tand\u{1}control".into()),
        }],
        failover: Some(Failover {
            attempt: 2,
            chain_position: 1,
            error_class: Some("timeout".into()),
            group_id: "fog_1".into(),
            role: "fallback_decision".into(),
            upstream_status: Some(503),
        }),
        failure_reason: Some("none".into()),
        gateway_annotations: vec!["quickstart_mode".into()],
        key_id: Some("5f0c3e1a-0c1d-4f5e-8a9b-0123456789ab".into()),
        policy_decision: PolicyDecision {
            action: "allow".into(),
            allowed: true,
            policy_version: "sha256:77aa".into(),
            reasons: Vec::new(),
        },
        request_source_id: Some("user-7".into()),
        retry_attempt: Some(1),
        routing_decision: Some(RoutingDecision {
            post_request_cost: Some(NanoUsd(1_500_000)),
            pre_request_estimate: Some(NanoUsd(2_500_000)),
            rejected_candidates: vec![RejectedCandidate {
                model: "gpt-4o".into(),
                provider: "azure".into(),
                reason: "down".into(),
            }],
            selected_model: "gpt-4o-mini".into(),
            selected_provider: "openai".into(),
        }),
        sealed_content: Some("c2VhbGVk".into()),
        secrets_accessed: vec!["openai-api-key".into()],
        session_budget: Some(SessionBudget {
            estimate: NanoUsd(2_500_000),
            limit: NanoUsd(1_000_000_000),
            spent: NanoUsd(0),
        }),
        session_id: Some("sess-1".into()),
        status: "completed".into(),
        team: Some("support".into()),
        upstream_auth_mode: Some("secret".into()),
        upstream_key_fingerprint: Some("0123456789ab".into()),
        upstream_key_source: Some("env".into()),
        ..minimal()
    }
}

fn full_execution() -> Execution {
    Execution {
        cost: NanoUsd(1_500_000),
        cost_nano_usd: NanoUsd(1_500_000),
        currency: "USD".into(),
        duration_ms: 812,
        error: Some("stream ended early".into()),
        estimated_cost: Some(NanoUsd(2_500_000)),
        http_status: Some(200),
        model_used: "gpt-4o-mini-2024-07-18".into(),
        original_model: Some("gpt-4o-mini".into()),
        pricing_basis: "table".into(),
        pricing_known: true,
        provider: "openai".into(),
        streamed: true,
        tokens: Tokens { cache_read: 64, cache_write: 8, input: 1_200, output: 340, reasoning: 12 },
        ttft_ms: Some(190),
        usage_estimated: true,
    }
}
