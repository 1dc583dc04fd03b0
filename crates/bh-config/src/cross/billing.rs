//! Prices of what tenants use.

use super::Cross;
use crate::schema::UsagePrices;

impl Cross<'_> {
    pub(super) fn billing(&mut self) {
        let (billing, pricing) = (&self.config.billing, &self.config.pricing);
        if let Some(currency) = billing.currency.as_ref().filter(|currency| **currency != pricing.currency) {
            let message = format!(
                "`{currency}` is not `pricing.currency`, {}, and nothing is converted",
                pricing.currency
            );
            self.say("billing.currency", message);
        }
        self.usage_prices(&billing.prices, "billing.prices");
        for (name, plan) in &self.config.plans {
            self.usage_prices(&plan.prices, &format!("plans.{name}.prices"));
        }
    }

    /// One thing has one price.
    pub(super) fn usage_prices(&mut self, prices: &UsagePrices, path: &str) {
        let twice = [
            ("api_call", prices.api_call.is_some() && prices.api_calls_per_1k.is_some(), "api_calls_per_1k"),
            (
                "tool_invocation",
                prices.tool_invocation.is_some() && prices.tool_invocations_per_1k.is_some(),
                "tool_invocations_per_1k",
            ),
            (
                "key_verification",
                prices.key_verification.is_some() && prices.key_verifications_per_1k.is_some(),
                "key_verifications_per_1k",
            ),
        ];
        for (one, given_twice, thousand) in twice {
            if given_twice {
                self.say(
                    &format!("{path}.{one}"),
                    format!("`{one}` and `{thousand}` are one price: keep one"),
                );
            }
        }
    }
}
