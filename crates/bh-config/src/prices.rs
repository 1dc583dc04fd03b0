//! Price tables: the built-in one, an operator's file over it, and what stands in the configuration over both.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use bh_domain::price::{ModelPrice, PriceTable, ProviderPrices as Priced};

use crate::check::{Finding, check};
use crate::path::Path;
use crate::problem::{Origin, nearest};
use crate::schema::{ModelPrices, PriceFile, Pricing, ProviderPrices};
use crate::shape;
use crate::text::Money;
use crate::yaml::parse;

/// The built-in price file.
pub const DEFAULT_PRICES_YAML: &str = include_str!("pricing.default.yaml");

static DEFAULT: LazyLock<PriceFile> = LazyLock::new(|| read(DEFAULT_PRICES_YAML).unwrap_or_default());

/// Prices as the meter needs them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// Nano units of `pricing.currency` per million tokens.
    pub table: PriceTable,
    /// Most output tokens by provider and model, where the table says.
    pub max_output_tokens: HashMap<String, HashMap<String, u32>>,
}

type Tables = BTreeMap<String, ProviderPrices>;

/// Reads a price file.
pub(crate) fn read(text: &str) -> Result<PriceFile, Vec<Finding>> {
    let (tree, duplicates) =
        parse::parse(text).map_err(|fault| vec![Finding::new(fault.origin, String::new(), fault.message)])?;
    let mut findings: Vec<Finding> = duplicates
        .into_iter()
        .map(|fault| Finding::new(fault.origin, String::new(), fault.message))
        .collect();
    findings.extend(check(&tree, shape::prices()).findings);
    if !findings.is_empty() {
        return Err(findings);
    }
    serde::Deserialize::deserialize(&tree).map_err(|misfit: crate::yaml::typed::Misfit| {
        vec![Finding::new(misfit.origin.unwrap_or_default(), String::new(), misfit.message)]
    })
}

/// Lays the tables over one another, model by model, and resolves `inherit`.
///
/// # Errors
/// One sentence with the provider at fault: an `inherit` that names nothing, or goes round in a circle.
pub(crate) fn assemble(pricing: &Pricing, file: Option<PriceFile>) -> Result<Prices, Vec<Finding>> {
    let mut tables: Tables = BTreeMap::new();
    lay_over(&mut tables, &DEFAULT.providers);
    if let Some(file) = file {
        lay_over(&mut tables, &file.providers);
    }
    lay_over(&mut tables, &pricing.providers);
    let mut prices = Prices::default();
    let mut findings = Vec::new();
    for id in tables.keys() {
        match inherited(&tables, id) {
            Ok(models) => add(&mut prices, id, &models),
            Err((message, suggestion)) => {
                let path = Path::of_keys(&["pricing", "providers", id, "inherit"]).to_string();
                findings.push(Finding { origin: Origin::Default, path, message, suggestion });
            }
        }
    }
    let flat = &pricing.fallback;
    prices.table.fallback = ModelPrice {
        input_per_1m: flat.input_per_1m.0.0,
        output_per_1m: flat.output_per_1m.0.0,
        ..ModelPrice::default()
    };
    if findings.is_empty() { Ok(prices) } else { Err(findings) }
}

fn lay_over(tables: &mut Tables, upper: &Tables) {
    for (id, provider) in upper {
        let below = tables.entry(id.clone()).or_default();
        if provider.inherit.is_some() {
            below.inherit.clone_from(&provider.inherit);
        }
        below.models.extend(provider.models.iter().map(|(model, price)| (model.clone(), price.clone())));
    }
}

type Unresolved = (String, Option<String>);

/// A provider's models with those of the providers it inherits from; the nearer one wins.
fn inherited(tables: &Tables, id: &str) -> Result<BTreeMap<String, ModelPrices>, Unresolved> {
    let mut models = BTreeMap::new();
    let mut seen = vec![id];
    let mut at = tables.get(id);
    while let Some(provider) = at {
        for (model, price) in &provider.models {
            models.entry(model.clone()).or_insert_with(|| price.clone());
        }
        let Some(next) = provider.inherit.as_deref() else { break };
        if seen.contains(&next) {
            return Err((format!("`{next}` inherits from itself"), None));
        }
        seen.push(next);
        at = tables.get(next);
        if at.is_none() {
            let suggestion = nearest(next, tables.keys().map(String::as_str));
            return Err((format!("`{next}` has no prices"), suggestion));
        }
    }
    Ok(models)
}

fn add(prices: &mut Prices, id: &str, models: &BTreeMap<String, ModelPrices>) {
    let nano = |price: &Option<Money>| price.as_ref().map(|money| money.0.0);
    let mut priced = Priced::default();
    for (model, price) in models {
        let entry = ModelPrice {
            input_per_1m: price.input_per_1m.0.0,
            output_per_1m: price.output_per_1m.0.0,
            cache_read_per_1m: nano(&price.cache_read_per_1m),
            cache_write_per_1m: nano(&price.cache_write_per_1m),
            reasoning_per_1m: nano(&price.reasoning_per_1m),
        };
        priced.models.insert(model.clone(), entry);
        if let Some(most) = price.max_output_tokens {
            prices.max_output_tokens.entry(id.to_owned()).or_default().insert(model.clone(), most);
        }
    }
    prices.table.providers.insert(id.to_owned(), priced);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_loads_and_prices_the_big_providers() {
        let file = read(DEFAULT_PRICES_YAML).unwrap();
        assert_eq!(file.currency.as_deref(), Some("USD"));
        let prices = assemble(&Pricing::default(), None).unwrap();
        for provider in
            ["openai", "anthropic", "azure_openai", "azure-openai", "mistral", "cohere", "google", "deepseek"]
        {
            assert!(prices.table.providers[provider].models.len() >= 3, "{provider}");
        }
        assert!(prices.table.providers["ollama"].models.is_empty(), "ollama is free");
        let (mini, listed) = prices.table.find("openai", "gpt-4o-mini-2024-07-18");
        assert!(listed);
        assert_eq!(
            mini,
            ModelPrice {
                input_per_1m: 150_000_000,
                output_per_1m: 600_000_000,
                cache_read_per_1m: Some(75_000_000),
                cache_write_per_1m: None,
                reasoning_per_1m: None,
            }
        );
        assert_eq!(prices.table.find("azure_openai", "gpt-4o-mini").0, mini);
    }

    #[test]
    fn a_price_in_the_configuration_wins_over_the_file_and_the_file_over_the_table() {
        let pricing = |yaml: &str| -> Pricing {
            let (tree, _) = parse::parse(yaml).unwrap();
            serde::Deserialize::deserialize(&tree).unwrap()
        };
        let file = read("version: 1\ncurrency: USD\nproviders:\n  openai:\n    models:\n      gpt-4o: {input_per_1m: 1, output_per_1m: 2}\n      own: {input_per_1m: 0.000000001, output_per_1m: 3.10}\n").unwrap();
        let ours = pricing(
            "providers:\n  openai:\n    models:\n      gpt-4o: {input_per_1m: 9.5, output_per_1m: 9, max_output_tokens: 7}\n  vllm: {inherit: openai}\n",
        );
        let prices = assemble(&ours, Some(file)).unwrap();
        assert_eq!(prices.table.find("vllm", "gpt-4o").0.input_per_1m, 9_500_000_000);
        assert_eq!(prices.table.find("openai", "own").0.input_per_1m, 1);
        assert_eq!(prices.table.find("openai", "own").0.output_per_1m, 3_100_000_000);
        assert!(prices.table.find("openai", "gpt-4o-mini").1, "what the file leaves out stays");
        assert_eq!(prices.max_output_tokens["openai"]["gpt-4o"], 7);
        assert_eq!(prices.table.find("openai", "never").0.input_per_1m, 2_000_000_000);
    }

    #[test]
    fn an_inheritance_that_leads_nowhere_is_named() {
        let pricing = |yaml: &str| -> Pricing {
            serde::Deserialize::deserialize(&parse::parse(yaml).unwrap().0).unwrap()
        };
        let lost = assemble(&pricing("providers: {x: {inherit: opnai}}"), None).unwrap_err();
        assert_eq!(
            (lost[0].path.as_str(), lost[0].suggestion.as_deref()),
            ("pricing.providers.x.inherit", Some("openai"))
        );
        let round = assemble(&pricing("providers: {x: {inherit: y}, y: {inherit: x}}"), None).unwrap_err();
        assert_eq!(round.len(), 2);
    }
}
