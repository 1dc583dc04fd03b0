//! The groups of a record. Members are in lexicographic order: the declaration is the canonical order.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::text::nano;
use crate::evidence::hex;
use crate::money::NanoUsd;

/// Text of a record: constants cost nothing, the rest is owned.
pub type Text = Cow<'static, str>;

/// SHA-256 of the bytes that went in or out, as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash(pub [u8; 32]);

const CONTENT_HASH_PREFIX: &str = "sha256:";

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&[CONTENT_HASH_PREFIX, &hex::encode(&self.0)].concat())
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(from)?;
        let hash = text.strip_prefix(CONTENT_HASH_PREFIX).and_then(hex::decode_hash);
        hash.map(Self).ok_or_else(|| D::Error::custom("expected `sha256:` and 64 hexadecimal digits"))
    }
}

/// Which guarantee the record carries about its own durability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Committed within milliseconds after the end of the answer left.
    Relaxed,
    /// On disk before the end of the answer left.
    Strict,
}

/// What went in and out, by hash. Always filled, also where the content itself is not stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditTrail {
    /// Hash of the request body as the caller sent it.
    pub input_hash: ContentHash,
    /// Hash of the answer's body as the caller received it.
    pub output_hash: ContentHash,
}

/// How sensitive the content was found to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Classification {
    /// Data tier of the input, 0 being public.
    pub input_tier: u8,
    /// Data tier of the output.
    pub output_tier: u8,
    /// Whether personal data was taken out.
    pub pii_redacted: bool,
}

/// The rules the call falls under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EvidenceCompliance")]
pub struct Compliance {
    /// Region or jurisdiction of the provider that got the data.
    pub data_location: Text,
    /// Frameworks the tenant declares, such as `gdpr`.
    pub frameworks: Vec<Text>,
}

/// The state of the budget that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostBudget {
    /// Upper bound that this call asked for.
    pub estimate: NanoUsd,
    /// The cap.
    pub limit: NanoUsd,
    /// `daily` or `monthly`.
    pub period: Text,
    /// What was spent before this call.
    pub spent: NanoUsd,
}

/// The state of the session's budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionBudget {
    /// Upper bound that this call asked for.
    pub estimate: NanoUsd,
    /// The cap.
    pub limit: NanoUsd,
    /// What was spent before this call.
    pub spent: NanoUsd,
}

/// What ran, how long, and what it cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Cost as a decimal string; the same amount as `cost_nano_usd`.
    pub cost: NanoUsd,
    /// Cost in nano units of `currency`.
    #[serde(with = "nano")]
    pub cost_nano_usd: NanoUsd,
    /// ISO 4217 code of every amount in the record.
    pub currency: Text,
    /// From the first byte of the request to the end of the answer, in milliseconds.
    pub duration_ms: u64,
    /// What went wrong, in public words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Text>,
    /// What was reserved before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated_cost: Option<NanoUsd>,
    /// Status the provider answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The model that answered.
    pub model_used: Text,
    /// The model that was asked for, where an alias or a fallback changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_model: Option<Text>,
    /// Where the price came from: `table`, `cache_fallback_input_rate` or `default_estimate`.
    pub pricing_basis: Text,
    /// Whether the model is in the price table.
    pub pricing_known: bool,
    /// The provider's id in the configuration.
    pub provider: Text,
    /// Whether the answer was a stream.
    pub streamed: bool,
    /// Tokens used.
    pub tokens: Tokens,
    /// Milliseconds to the first token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    /// Whether the usage was estimated because the provider reported none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub usage_estimated: bool,
}

/// LLM tokens of one call, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Read from the provider's prompt cache.
    pub cache_read: u64,
    /// Written to the provider's prompt cache.
    pub cache_write: u64,
    /// Input at the full price.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// Hidden reasoning.
    pub reasoning: u64,
}

/// One reason for the decision, as a stable code and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// One of [`crate::evidence::codes`].
    pub code: Text,
    /// What it led to: `allow`, `deny`, `modify`, `filter`.
    pub decision: Text,
    /// What the caller can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<Text>,
    /// Why, in a sentence.
    pub reason: Text,
    /// The stage that decided.
    pub stage: Text,
    /// The value that set the rule off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<Text>,
}

/// This record's part in a chain of attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failover {
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Position of the provider in the fallback chain, 0 being the first choice.
    pub chain_position: u32,
    /// Why the attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_class: Option<Text>,
    /// What the attempts of one call share.
    pub group_id: Text,
    /// `failed_attempt`, `fallback_decision` or `fail_closed`.
    pub role: Text,
    /// Status the provider answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
}

/// What policy said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyDecision {
    /// What was done: `allow`, `deny`, `limit`, ...
    pub action: Text,
    /// Whether the call went ahead.
    pub allowed: bool,
    /// Version of the configuration that decided.
    pub policy_version: Text,
    /// Reasons, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Text>,
}

/// A provider and model that could have served the call and did not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedCandidate {
    /// The model.
    pub model: Text,
    /// The provider.
    pub provider: Text,
    /// Why not.
    pub reason: Text,
}

/// Why this provider and this model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoutingDecision {
    /// What the call cost in the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_request_cost: Option<NanoUsd>,
    /// What it was expected to cost at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pre_request_estimate: Option<NanoUsd>,
    /// The others, in the order they were considered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_candidates: Vec<RejectedCandidate>,
    /// The model chosen.
    pub selected_model: Text,
    /// The provider chosen.
    pub selected_provider: Text,
}
