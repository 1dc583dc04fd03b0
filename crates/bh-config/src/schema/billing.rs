//! What tenants are charged, and how long what they used is remembered.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::text::Money;

/// What tenants are charged for what they use. What providers charge for tokens is passed on as it is. A change holds at
/// once and for the whole month: usage is counted, and priced when it is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Billing {
    /// Currency of invoices, as a three-letter code. Nothing is converted, so it must be `pricing.currency`. Absent: it is.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"), example = &"USD")]
    pub currency: Option<String>,
    /// Prices. Absent: free.
    pub prices: UsagePrices,
    /// What each month includes. Absent: nothing.
    pub included: UsageIncluded,
}

/// Prices of what tenants use, in `pricing.currency`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsagePrices {
    /// Of one API call that was let through.
    #[schemars(example = 0.001)]
    pub api_call: Option<Money>,
    /// Of a thousand of them, in place of `api_call`.
    #[schemars(example = 0.50)]
    pub api_calls_per_1k: Option<Money>,
    /// Of one tool that was invoked.
    #[schemars(example = 0.002)]
    pub tool_invocation: Option<Money>,
    /// Of a thousand of them, in place of `tool_invocation`.
    #[schemars(example = 1.50)]
    pub tool_invocations_per_1k: Option<Money>,
    /// Of one hour that a custom server ran.
    #[schemars(example = 0.05)]
    pub server_hour: Option<Money>,
    /// Of one key that was verified.
    #[schemars(example = 0.0001)]
    pub key_verification: Option<Money>,
    /// Of a thousand of them, in place of `key_verification`.
    #[schemars(example = 0.10)]
    pub key_verifications_per_1k: Option<Money>,
}

/// What each month includes: only what is used beyond it is charged for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageIncluded {
    /// API calls.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64), example = 10_000)]
    pub api_calls: Option<u64>,
    /// Tools that are invoked.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64), example = 1_000)]
    pub tool_invocations: Option<u64>,
    /// Hours that custom servers run.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64), example = 720)]
    pub server_hours: Option<u64>,
    /// Keys that are verified.
    #[schemars(range(min = 0, max = 1_000_000_000_000_u64), example = 100_000)]
    pub key_verifications: Option<u64>,
}

/// The ledger of what tenants use.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UsageLedger {
    /// Days that it goes back. Hours are kept for 90 of them, before that days. A month that reaches back further has no
    /// price any more and is not closed: keep at least 62 where months are billed.
    #[schemars(range(min = 1, max = 36_500))]
    pub retention_days: u32,
}

impl Default for UsageLedger {
    fn default() -> Self {
        Self { retention_days: 800 }
    }
}
