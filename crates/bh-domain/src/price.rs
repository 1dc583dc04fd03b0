//! What tokens cost.

use std::collections::HashMap;

use crate::money::NanoUsd;

const TOKENS_PER_PRICE: i128 = 1_000_000;

/// Tokens of one call, by the price that applies to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Input tokens billed at the input price: neither read from nor written to the provider's cache.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from the provider's prompt cache.
    pub cache_read: u64,
    /// Input tokens written to the provider's prompt cache.
    pub cache_write: u64,
    /// The part of `output` that was reasoning.
    pub reasoning: u64,
}

/// Prices of one model, in nano-USD per million tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelPrice {
    /// Input tokens.
    pub input_per_1m: i64,
    /// Output tokens.
    pub output_per_1m: i64,
    /// Cached input read; the input price when absent.
    pub cache_read_per_1m: Option<i64>,
    /// Cached input written; the input price when absent.
    pub cache_write_per_1m: Option<i64>,
    /// Reasoning output; the output price when absent.
    pub reasoning_per_1m: Option<i64>,
}

/// How a price was found; goes into evidence as `pricing_basis`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceBasis {
    /// The table names the model.
    Table,
    /// The table names the model but no price for its cached tokens, so the input price stood in.
    CacheFallbackInputRate,
    /// The table does not name the model: the configured fallback price stood in.
    DefaultEstimate,
}

impl PriceBasis {
    /// The word used in evidence (Talon dossier §5.1).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::CacheFallbackInputRate => "cache_fallback_input_rate",
            Self::DefaultEstimate => "default_estimate",
        }
    }

    /// Whether the model's own price was known.
    #[must_use]
    pub fn known(self) -> bool {
        match self {
            Self::Table | Self::CacheFallbackInputRate => true,
            Self::DefaultEstimate => false,
        }
    }
}

impl ModelPrice {
    /// What `tokens` cost, rounded up to the next nano-USD.
    #[must_use]
    pub fn cost(&self, tokens: &TokenCounts) -> NanoUsd {
        let part = |count: u64, price: i64| i128::from(count) * i128::from(price);
        let reasoning = tokens.reasoning.min(tokens.output);
        let total = part(tokens.input, self.input_per_1m)
            + part(tokens.cache_read, self.cache_read_per_1m.unwrap_or(self.input_per_1m))
            + part(tokens.cache_write, self.cache_write_per_1m.unwrap_or(self.input_per_1m))
            + part(tokens.output - reasoning, self.output_per_1m)
            + part(reasoning, self.reasoning_per_1m.unwrap_or(self.output_per_1m));
        let rounded_up = (total + TOKENS_PER_PRICE - 1) / TOKENS_PER_PRICE;
        NanoUsd(i64::try_from(rounded_up).unwrap_or(i64::MAX))
    }

    /// The most that `input` and `output` tokens of any kind can cost: what a reservation holds.
    #[must_use]
    pub fn cost_bound(&self, input: u64, output: u64) -> NanoUsd {
        let dearest = |own: i64, others: [Option<i64>; 2]| others.into_iter().flatten().fold(own, i64::max);
        let bound = Self {
            input_per_1m: dearest(self.input_per_1m, [self.cache_read_per_1m, self.cache_write_per_1m]),
            output_per_1m: dearest(self.output_per_1m, [self.reasoning_per_1m, None]),
            ..Self::default()
        };
        bound.cost(&TokenCounts { input, output, ..TokenCounts::default() })
    }

    /// How the price of `tokens` is to be labelled, given that the table names the model.
    #[must_use]
    pub fn basis(&self, tokens: &TokenCounts) -> PriceBasis {
        let read_unpriced = tokens.cache_read > 0 && self.cache_read_per_1m.is_none();
        let write_unpriced = tokens.cache_write > 0 && self.cache_write_per_1m.is_none();
        if read_unpriced || write_unpriced { PriceBasis::CacheFallbackInputRate } else { PriceBasis::Table }
    }
}

/// One provider's models.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderPrices {
    /// By model name. A provider that is listed with no model at all is free (Ollama).
    pub models: HashMap<String, ModelPrice>,
}

/// All prices, by provider id, with the price of what is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable {
    /// By provider id.
    pub providers: HashMap<String, ProviderPrices>,
    /// For a model that no table names.
    pub fallback: ModelPrice,
}

impl PriceTable {
    /// The price of `model` at `provider`: exact name, then without a date or version suffix
    /// (Talon dossier §6), then the fallback. `None` in the basis position means "listed".
    #[must_use]
    pub fn find(&self, provider: &str, model: &str) -> (ModelPrice, bool) {
        let Some(prices) = self.providers.get(provider) else { return (self.fallback, false) };
        if prices.models.is_empty() {
            return (ModelPrice::default(), true);
        }
        let listed = prices.models.get(model).or_else(|| prices.models.get(without_suffix(model)));
        listed.map_or((self.fallback, false), |price| (*price, true))
    }
}

/// `gpt-5-2026-08-07`, `claude-x-20260807` and `m-v2` without their date or version.
fn without_suffix(model: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((head, tail)) = model.rsplit_once('-') else { return model };
    if (tail.len() == 8 && digits(tail)) || tail.strip_prefix('v').is_some_and(digits) {
        return head;
    }
    let Some(start) = model.len().checked_sub("-YYYY-MM-DD".len()) else { return model };
    let (Some(head), Some(date)) = (model.get(..start), model.get(start..)) else { return model };
    let dated = date.bytes().enumerate().all(|(i, b)| match i {
        0 | 5 | 8 => b == b'-',
        _ => b.is_ascii_digit(),
    });
    if dated { head } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price() -> ModelPrice {
        ModelPrice {
            input_per_1m: 3_000_000_000,
            output_per_1m: 15_000_000_000,
            cache_read_per_1m: Some(300_000_000),
            cache_write_per_1m: Some(3_750_000_000),
            reasoning_per_1m: None,
        }
    }

    #[test]
    fn cost_adds_each_kind_at_its_own_price_and_rounds_up() {
        let tokens = TokenCounts { input: 10, output: 20, cache_read: 100, cache_write: 1, reasoning: 5 };
        assert_eq!(price().cost(&tokens), NanoUsd(30_000 + 300_000 + 30_000 + 3_750));
        let one = ModelPrice { input_per_1m: 1, ..ModelPrice::default() };
        assert_eq!(one.cost(&TokenCounts { input: 1, ..TokenCounts::default() }), NanoUsd(1));
    }

    #[test]
    fn a_bound_is_never_below_the_cost_of_any_split() {
        let bound = price().cost_bound(1_000, 500);
        for cached in [0, 1, 400, 1_000] {
            let split = TokenCounts {
                input: 1_000 - cached,
                cache_write: cached,
                output: 500,
                reasoning: 500,
                cache_read: 0,
            };
            assert!(price().cost(&split) <= bound);
        }
    }

    #[test]
    fn a_dated_or_versioned_model_is_priced_as_its_family() {
        let prices = ProviderPrices { models: HashMap::from([("gpt-x".to_owned(), price())]) };
        let table = PriceTable {
            providers: HashMap::from([
                ("openai".to_owned(), prices),
                ("ollama".to_owned(), ProviderPrices::default()),
            ]),
            fallback: ModelPrice { input_per_1m: 7, output_per_1m: 7, ..ModelPrice::default() },
        };
        for model in ["gpt-x", "gpt-x-2026-08-07", "gpt-x-20260807", "gpt-x-v2"] {
            assert_eq!(table.find("openai", model), (price(), true), "{model}");
        }
        for model in ["gpt-y", "gpt-x-mini", "x-2026", "é-2026-08-0é"] {
            assert_eq!(table.find("openai", model), (table.fallback, false), "{model}");
        }
        assert_eq!(table.find("ollama", "llama"), (ModelPrice::default(), true));
        assert_eq!(table.find("nobody", "gpt-x"), (table.fallback, false));
    }
}
