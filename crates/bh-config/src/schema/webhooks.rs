//! Webhooks: who is told what happened.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::secret::Secret;
use crate::text::{GoDuration, HttpUrl, TenantId};
use crate::yaml::typed::whole_list;

/// Webhooks: who is told of the ends of billing periods, of budgets, tenants and keys. Signed as Standard Webhooks says.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    /// Where events are sent; at most 64.
    #[serde(deserialize_with = "whole_list")]
    pub endpoints: Vec<WebhookEndpoint>,
    /// Attempts at a delivery before it is given up and becomes a dead letter.
    #[schemars(range(min = 1, max = 100))]
    pub attempts_max: u32,
    /// How long an endpoint may take to answer, in milliseconds.
    #[schemars(range(min = 100, max = 120_000))]
    pub timeout_ms: u64,
    /// Pause after the first attempt that failed. The next ones keep their proportion to it: with 5s they are 5 min, 30 min,
    /// 2 h, 5 h, 10 h, 10 h, each up to a fifth longer by chance.
    pub first_retry: GoDuration,
    /// Deliveries that are under way at one endpoint at a time, from one process.
    #[schemars(range(min = 1, max = 256))]
    pub concurrency: u32,
    /// Days that events and what became of them are kept. Never less than the longest budget window.
    #[schemars(range(min = 40, max = 3_650))]
    pub retention_days: u32,
    /// How long after the end of a month, UTC, it is closed; at least a minute. A call is counted in the month in which it
    /// ends, and what ended in a month must be in the ledger by then.
    pub billing_close_delay: GoDuration,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            attempts_max: 10,
            timeout_ms: 15_000,
            first_retry: GoDuration(Duration::from_secs(5)),
            concurrency: 8,
            retention_days: 90,
            billing_close_delay: GoDuration(Duration::from_secs(3_600)),
        }
    }
}

/// Somebody who is told.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookEndpoint {
    /// Names it for good: what is on its way to it keeps the name. 1 to 63 lower-case letters, digits, `-` and `_`.
    #[schemars(example = &"billing")]
    pub id: String,
    /// Where events are posted. Redirects are not followed.
    #[schemars(example = &"https://billing.example.com/webhooks/billing")]
    pub url: HttpUrl,
    /// What deliveries are signed with: `whsec_` and 24 to 64 bytes as base64. Give this or `secret_file`.
    #[schemars(example = &"${env:BILLING_WEBHOOK_SECRET}")]
    pub secret: Option<Secret>,
    /// File that holds the secret.
    pub secret_file: Option<String>,
    /// Secrets that deliveries are signed with as well, for as long as the receiver may still have one of them.
    #[serde(default)]
    pub previous_secrets: Vec<Secret>,
    /// Which events: a kind, `family.*` or `*`.
    #[serde(default = "every_event")]
    #[schemars(example = serde_json::json!(["billing.*", "budget.*"]))]
    pub events: Vec<String>,
    /// Whose events; empty for every tenant's and the installation's own.
    #[serde(default)]
    #[schemars(example = serde_json::json!(["acme"]))]
    pub tenants: Vec<TenantId>,
    /// Whether `url` may lead to a loopback, private or link-local address.
    #[serde(default)]
    pub allow_private_network: bool,
}

fn every_event() -> Vec<String> {
    vec!["*".to_owned()]
}
