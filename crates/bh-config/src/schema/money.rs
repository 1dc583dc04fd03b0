//! Prices and budgets.

use std::collections::BTreeMap;

use bh_domain::money::NanoUsd;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::comes_with::COMPLIANCE;
use crate::text::{HttpUrl, Label, Money, TimeZoneName};

/// What tokens cost. Laid over the built-in table, model by model: the file first, then what stands here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pricing {
    /// Currency of every amount, as a three-letter code. Nothing is converted.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    pub currency: String,
    /// Price file of the same shape as the built-in table.
    #[schemars(example = &"/etc/bulkhead/prices.yaml")]
    pub file: Option<String>,
    /// Price of a model that no table names; such a call is flagged `pricing_known: false`.
    pub fallback: TokenPrices,
    /// By provider id.
    pub providers: BTreeMap<String, ProviderPrices>,
}

impl Default for Pricing {
    fn default() -> Self {
        let flat = Money(NanoUsd(2_000_000_000));
        Self {
            currency: "USD".to_owned(),
            file: None,
            fallback: TokenPrices { input_per_1m: flat.clone(), output_per_1m: flat },
            providers: BTreeMap::new(),
        }
    }
}

/// A price for input and one for output.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPrices {
    /// Per million input tokens.
    pub input_per_1m: Money,
    /// Per million output tokens.
    pub output_per_1m: Money,
}

/// One provider's prices. A provider listed without any model is free.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderPrices {
    /// Provider whose models it takes over; its own models win.
    #[schemars(example = &"openai")]
    pub inherit: Option<String>,
    /// By the provider's own name of the model.
    pub models: BTreeMap<String, ModelPrices>,
}

/// Prices of one model, per million tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelPrices {
    /// Input tokens.
    #[schemars(example = 2.50)]
    pub input_per_1m: Money,
    /// Output tokens.
    #[schemars(example = 10.00)]
    pub output_per_1m: Money,
    /// Input read from the provider's cache. Absent: as input.
    #[schemars(example = 1.25)]
    pub cache_read_per_1m: Option<Money>,
    /// Input written to the provider's cache. Absent: as input.
    pub cache_write_per_1m: Option<Money>,
    /// Reasoning output. Absent: as output.
    pub reasoning_per_1m: Option<Money>,
    /// Most output tokens the model can make; bounds the reservation of a call that sets no limit.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub max_output_tokens: Option<u32>,
}

/// A price file: the built-in table and `pricing.file` have this shape (Talon dossier §6).
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PriceFile {
    /// Version of the table, for people.
    pub version: Option<Label>,
    /// Currency; must equal `pricing.currency`.
    pub currency: Option<String>,
    /// By provider id.
    pub providers: BTreeMap<String, ProviderPrices>,
}

/// Caps on money for the whole installation, and how budgets are kept.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budgets {
    /// Time zone whose midnight ends a day and a month; a tenant may have its own.
    pub timezone: TimeZoneName,
    /// Ceiling of everything together.
    pub organization: Budget,
    /// Output tokens a reservation assumes when neither the request nor the price table says.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub default_output_tokens: u32,
    /// Input tokens a reservation adds for what the provider reads beyond the request: results of tools it runs itself,
    /// and context it keeps (`previous_response_id`). More than that is charged all the same, as an overdraft.
    #[schemars(range(min = 0, max = 10_000_000))]
    pub remote_input_tokens: u32,
    /// Notices when a budget runs low.
    #[schemars(extend("x-comes-with" = COMPLIANCE))]
    pub alert: Option<BudgetAlert>,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            timezone: TimeZoneName("UTC".to_owned()),
            organization: Budget::default(),
            default_output_tokens: 4_096,
            remote_input_tokens: 16_384,
            alert: None,
        }
    }
}

/// A cap per window; absent means none.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Most money per calendar day.
    #[schemars(example = 100.00)]
    pub daily: Option<Money>,
    /// Most money per calendar month.
    #[schemars(example = 2000.00)]
    pub monthly: Option<Money>,
    /// Most money per session id.
    #[schemars(example = 5.00)]
    pub session: Option<Money>,
}

/// Notices when a budget runs low.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetAlert {
    /// Percentages of a cap at which a notice is sent.
    #[schemars(inner(range(min = 1, max = 100)))]
    pub thresholds_percent: Vec<u8>,
    /// Where notices go.
    pub webhook_url: Option<HttpUrl>,
}
