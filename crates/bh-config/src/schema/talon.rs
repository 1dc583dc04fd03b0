//! Top-level settings of Talon's configuration file that later parts use (Talon dossier §13.1).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::policy::{Free, words};
use crate::text::{GoDuration, HttpUrl};

/// Models of the agent runtime.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Llm {
    /// Price file; `pricing.file` is ours.
    pub pricing_file: Option<String>,
    /// By provider id.
    pub providers: BTreeMap<String, LlmProvider>,
    /// Which providers may serve.
    pub routing: LlmRouting,
}

/// One provider of the agent runtime.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlmProvider {
    /// What it is.
    pub r#type: Option<String>,
    /// Its own settings, free in form.
    pub config: Free,
    /// Whether it may be used.
    pub enabled: bool,
}

impl Default for LlmProvider {
    fn default() -> Self {
        Self { r#type: None, config: Free::new(), enabled: true }
    }
}

/// Which providers may serve.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LlmRouting {
    /// By where they process data.
    pub data_sovereignty_mode: Option<SovereigntyMode>,
}

/// Where data may go.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sovereignty {
    /// By where providers process data.
    pub mode: Option<SovereigntyMode>,
    /// `air_gap` limits every outgoing connection to `allowed_egress_hosts`. Default `standard`.
    pub deployment_mode: Option<DeploymentMode>,
    /// The only hosts reached in `air_gap` mode.
    pub allowed_egress_hosts: Vec<String>,
}

/// Who answers for the processing of personal data.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Compliance {
    /// The controller.
    pub controller: Controller,
}

/// The controller.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Controller {
    /// Name.
    pub name: Option<String>,
    /// How to reach it.
    pub contact: Option<String>,
    /// How to reach its data protection officer.
    pub dpo_contact: Option<String>,
    /// Address.
    pub address: Option<String>,
    /// Representative in the Union.
    pub representative: Option<String>,
}

/// What finds personal data.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Scanner {
    /// Which engine. Default `regex`.
    pub r#type: Option<ScannerType>,
    /// Where it answers.
    pub endpoint: Option<HttpUrl>,
    /// How long it may take. Default `10s`.
    pub timeout: Option<GoDuration>,
    /// Least score that counts, 0 to 1. Default 0.5.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_score: Option<f64>,
    /// Language of texts. Default `en`.
    pub language: Option<String>,
    /// What its positions count.
    pub offset_encoding: Option<OffsetEncoding>,
    /// Its name in evidence.
    pub name: Option<String>,
    /// Its version in evidence.
    pub engine_version: Option<String>,
    /// What it looks for.
    pub entities: Vec<String>,
    /// Whether it is asked before the gateway starts. Default true.
    pub health_check: Option<bool>,
    /// Settings of `type: llm`.
    pub llm: ScannerLlm,
}

/// Settings of the model that scans.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScannerLlm {
    /// Which model.
    pub model: Option<String>,
    /// Least confidence that counts, 0 to 1. Default 0.8.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub confidence: Option<f64>,
}

words!(
    /// Where providers may process data.
    SovereigntyMode {
        /// In the EU only.
        EuStrict,
        /// In the EU where possible.
        EuPreferred,
        /// Anywhere.
        Global,
    }
);
words!(
    /// Whether outgoing connections are limited.
    DeploymentMode {
        /// No.
        Standard,
        /// To listed hosts.
        AirGap,
    }
);
words!(
    /// An engine that finds personal data.
    ScannerType {
        /// Built in.
        Regex,
        /// Presidio.
        Presidio,
        /// Any HTTP service.
        Http,
        /// A model.
        Llm,
    }
);
words!(
    /// What a scanner's positions count.
    OffsetEncoding {
        /// Bytes.
        Byte,
        /// Characters.
        Rune,
    }
);
