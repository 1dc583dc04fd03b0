//! What callers may do: policy blocks of the gateway (Talon dossier §4.3 and §13.1, both generations).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comes_with::{COMPLIANCE, GOVERNANCE};
use crate::text::{DataTier, GoDuration, HttpUrl, Money};

/// A caller's own policy, laid over `gateway.default_policy`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyOverrides {
    /// Most money per calendar day.
    #[schemars(example = 50.00)]
    pub max_daily_cost: Option<Money>,
    /// Most money per calendar month.
    #[schemars(example = 500.00)]
    pub max_monthly_cost: Option<Money>,
    /// Most money per session id.
    #[schemars(example = 5.00)]
    pub max_session_cost: Option<Money>,
    /// What happens to personal data in requests.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub pii_action: Option<PiiAction>,
    /// What happens to personal data in answers. Default: as `pii_action`.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub response_pii_action: Option<PiiAction>,
    /// The only models allowed; empty allows all.
    #[schemars(example = serde_json::json!(["gpt-4o-mini"]))]
    pub allowed_models: Vec<String>,
    /// Models refused.
    pub blocked_models: Vec<String>,
    /// The most confidential data that may leave.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub max_data_tier: Option<DataTier>,
    /// What happens to attachments.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub attachment_policy: Option<AttachmentPolicy>,
    /// The only tools allowed, by exact name.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub allowed_tools: Option<Vec<String>>,
    /// Tools refused, as case-insensitive globs.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub forbidden_tools: Option<Vec<String>>,
    /// `filter` removes a refused tool from the request, `block` refuses the request.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub tool_policy_action: Option<ToolPolicyAction>,
    /// Where data of each tier may go; replaces the server's block as a whole.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub egress: Option<Egress>,
    /// Requests per minute of this caller; over it the answer is 429. Absent: `gateway.rate_limits` decides.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub requests_per_minute: Option<u32>,
}

/// The policy of callers that don't say otherwise.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultPolicy {
    /// What happens to personal data in requests. Default `warn`.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub default_pii_action: Option<PiiAction>,
    /// What happens to personal data in answers. Default: as `default_pii_action`.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub response_pii_action: Option<PiiAction>,
    /// Most money per caller and calendar day; `null` for no cap.
    pub max_daily_cost: Option<Money>,
    /// Most money per caller and calendar month; `null` for no cap.
    pub max_monthly_cost: Option<Money>,
    /// Most money per session id.
    pub max_session_cost: Option<Money>,
    /// The only models allowed; empty allows all.
    pub allowed_models: Vec<String>,
    /// Models refused.
    pub blocked_models: Vec<String>,
    /// Whether a call without a known caller is refused. `false` serves it as caller `anonymous` of tenant `default`.
    pub require_caller_id: bool,
    /// Whether prompts are kept, sealed; the older name of `evidence.store_prompts`.
    pub log_prompts: bool,
    /// Whether answers are kept, sealed; the older name of `evidence.store_answers`.
    pub log_responses: bool,
    /// How many characters of an answer the record quotes.
    #[schemars(range(max = 100_000), extend("x-comes-with" = GOVERNANCE))]
    pub log_response_preview_chars: Option<u32>,
    /// What happens to attachments.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub attachment_policy: Option<AttachmentPolicy>,
    /// Tools refused, as case-insensitive globs.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub forbidden_tools: Option<Vec<String>>,
    /// `filter` removes a refused tool from the request, `block` refuses the request.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub tool_policy_action: Option<ToolPolicyAction>,
    /// Whether what tools say is scanned too.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub scan_tool_content: Option<ScanToolContent>,
    /// Where data of each tier may go.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub egress: Option<Egress>,
}

impl Default for DefaultPolicy {
    fn default() -> Self {
        let units = |n: i64| Some(Money(bh_domain::money::NanoUsd(n * 1_000_000_000)));
        Self {
            default_pii_action: None,
            response_pii_action: None,
            max_daily_cost: units(100),
            max_monthly_cost: units(2_000),
            max_session_cost: None,
            allowed_models: Vec::new(),
            blocked_models: Vec::new(),
            require_caller_id: true,
            log_prompts: false,
            log_responses: false,
            log_response_preview_chars: None,
            attachment_policy: None,
            forbidden_tools: None,
            tool_policy_action: None,
            scan_tool_content: None,
            egress: None,
        }
    }
}

/// Rules of the whole organisation: defaults, and hard limits that no caller can widen.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrganizationPolicy {
    /// What holds for a caller that says nothing.
    pub defaults: OrganizationDefaults,
    /// What holds whatever a caller says.
    pub constraints: OrganizationConstraints,
    /// Whether prompts are kept, sealed.
    pub log_prompts: Option<bool>,
    /// Whether answers are kept, sealed.
    pub log_responses: Option<bool>,
    /// How many characters of an answer the record quotes.
    #[schemars(range(max = 100_000), extend("x-comes-with" = GOVERNANCE))]
    pub log_response_preview_chars: Option<u32>,
    /// Whether what tools say is scanned too. Default `evidence_only`.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub scan_tool_content: Option<ScanToolContent>,
    /// Where a notice goes when a budget runs low.
    #[schemars(extend("x-comes-with" = COMPLIANCE))]
    pub cost_webhook_url: Option<HttpUrl>,
}

/// What holds for a caller that says nothing; the newer spelling of `default_policy`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrganizationDefaults {
    /// What happens to personal data in requests.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub pii_action: Option<PiiAction>,
    /// What happens to personal data in answers.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub response_pii_action: Option<PiiAction>,
    /// Most money per caller and calendar day. Default 100.
    pub daily_cost: Option<Money>,
    /// Most money per caller and calendar month. Default 2000.
    pub monthly_cost: Option<Money>,
    /// Most money per session id.
    pub session_cost: Option<Money>,
    /// `filter` removes a refused tool from the request, `block` refuses the request.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub tool_policy_action: Option<ToolPolicyAction>,
    /// What happens to attachments.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub attachment_policy: Option<AttachmentPolicy>,
    /// How often a provider is asked again.
    pub retry: Option<Retry>,
}

/// What holds whatever a caller says.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrganizationConstraints {
    /// The only providers allowed; empty allows all.
    pub allowed_providers: Vec<String>,
    /// The only models allowed; empty allows all.
    pub allowed_models: Vec<String>,
    /// Models refused.
    pub blocked_models: Vec<String>,
    /// The only tools allowed.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub allowed_tools: Option<Vec<String>>,
    /// Tools refused.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub forbidden_tools: Option<Vec<String>>,
    /// Ceiling of every caller's daily cap.
    pub max_daily_cost: Option<Money>,
    /// Ceiling of every caller's monthly cap.
    pub max_monthly_cost: Option<Money>,
    /// Ceiling of every session's cap.
    pub max_session_cost: Option<Money>,
    /// The most confidential data that may leave.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub max_data_tier: Option<DataTier>,
    /// Where data of each tier may go.
    #[schemars(extend("x-comes-with" = GOVERNANCE))]
    pub egress: Option<Egress>,
}

/// What happens to attachments.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AttachmentPolicy {
    /// What happens to an attachment as such.
    pub action: Option<AttachmentAction>,
    /// What happens when an attachment holds instructions to the model.
    pub injection_action: Option<AttachmentAction>,
    /// Largest attachment in MiB. Default 10.
    #[schemars(range(min = 1, max = 1024))]
    pub max_file_size_mb: Option<u32>,
    /// The only types allowed, as extensions or media types.
    pub allowed_types: Vec<String>,
    /// Types refused.
    pub blocked_types: Vec<String>,
}

/// Where data may go.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Egress {
    /// What holds for a tier without a rule.
    pub default_action: Option<PolicyAction>,
    /// One rule per tier.
    pub rules: Vec<EgressRule>,
}

/// Where data of one tier may go.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EgressRule {
    /// The tier.
    pub tier: DataTier,
    /// The only providers.
    #[serde(default)]
    pub allowed_providers: Vec<String>,
    /// The only regions.
    #[serde(default)]
    pub allowed_regions: Vec<String>,
}

/// How often a provider is asked again before the first byte of its answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Further attempts after the first; 0 to 5.
    #[schemars(range(max = 5))]
    pub max_attempts: u8,
    /// Pause before the first retry; doubled each time, then drawn at random below that.
    pub initial_backoff: GoDuration,
    /// Longest pause. At most 30s.
    pub max_backoff: GoDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            max_attempts: 0,
            initial_backoff: GoDuration(std::time::Duration::from_millis(250)),
            max_backoff: GoDuration(std::time::Duration::from_secs(2)),
        }
    }
}

/// Declares an enum of snake_case words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$word_doc])* $word),* }
    };
}
pub(crate) use words;

words!(
    /// What happens to personal data.
    PiiAction {
        /// Nothing.
        Allow,
        /// It is recorded.
        Warn,
        /// It is replaced.
        Redact,
        /// The call is refused.
        Block,
    }
);
words!(
    /// What happens to an attachment.
    AttachmentAction {
        /// It passes.
        Allow,
        /// It passes and is recorded.
        Warn,
        /// It is removed.
        Strip,
        /// The call is refused.
        Block,
    }
);
words!(
    /// What happens to a refused tool.
    ToolPolicyAction {
        /// It is removed from the request.
        Filter,
        /// The call is refused.
        Block,
    }
);
words!(
    /// Yes or no.
    PolicyAction {
        /// Yes.
        Allow,
        /// No.
        Deny,
    }
);
words!(
    /// Whether what tools say is scanned.
    ScanToolContent {
        /// No.
        Off,
        /// Findings are recorded only.
        EvidenceOnly,
        /// Findings are treated as in any other text.
        Enforce,
    }
);

/// Free settings of a part that is not active yet.
pub(crate) type Free = BTreeMap<String, serde_json::Value>;
