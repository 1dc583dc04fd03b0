//! What tenants are charged.

use bh_app::snapshot::Billing;
use bh_config::Money;
use bh_config::schema::{Config, UsageIncluded, UsagePrices};
use bh_domain::billing::{Tariff, Terms, UnitPrice};

/// What the configuration charges.
pub(super) fn compile(config: &Config) -> Billing {
    let billing = &config.billing;
    let everybodys = terms(&Terms::default(), &billing.prices, &billing.included);
    let plans = config.plans.iter();
    let plans =
        plans.map(|(name, plan)| (name.clone(), terms(&everybodys, &plan.prices, &plan.included))).collect();
    Billing { currency: config.pricing.currency.clone(), terms: everybodys, plans }
}

/// Terms over others: what is not said is as there.
fn terms(base: &Terms, prices: &UsagePrices, included: &UsageIncluded) -> Terms {
    let tariff =
        |base: &Tariff, one: &Option<Money>, thousand: &Option<Money>, included: Option<u64>| Tariff {
            included: included.unwrap_or(base.included),
            price: price(one, 1).or_else(|| price(thousand, 1_000)).unwrap_or(base.price),
        };
    Terms {
        api_calls: tariff(&base.api_calls, &prices.api_call, &prices.api_calls_per_1k, included.api_calls),
        tool_invocations: tariff(
            &base.tool_invocations,
            &prices.tool_invocation,
            &prices.tool_invocations_per_1k,
            included.tool_invocations,
        ),
        key_verifications: tariff(
            &base.key_verifications,
            &prices.key_verification,
            &prices.key_verifications_per_1k,
            included.key_verifications,
        ),
        server_hours: tariff(&base.server_hours, &prices.server_hour, &None, included.server_hours),
    }
}

fn price(money: &Option<Money>, units: u32) -> Option<UnitPrice> {
    money.as_ref().map(|money| UnitPrice { amount: money.0, units })
}

#[cfg(test)]
mod tests {
    use bh_domain::money::NanoUsd;

    use super::*;

    #[test]
    fn what_a_plan_does_not_say_is_as_for_everybody() {
        let money = |nano| Some(Money(NanoUsd(nano)));
        let prices =
            UsagePrices { api_calls_per_1k: money(500), server_hour: money(7), ..UsagePrices::default() };
        let included = UsageIncluded { api_calls: Some(10), ..UsageIncluded::default() };
        let everybody = terms(&Terms::default(), &prices, &included);
        let own = UsagePrices { api_call: money(3), ..UsagePrices::default() };
        let plan =
            terms(&everybody, &own, &UsageIncluded { server_hours: Some(2), ..UsageIncluded::default() });
        let of =
            |included, nano, units| Tariff { included, price: UnitPrice { amount: NanoUsd(nano), units } };
        assert_eq!(everybody.api_calls, of(10, 500, 1_000));
        assert_eq!((plan.api_calls, plan.server_hours), (of(10, 3, 1), of(2, 7, 1)));
        assert_eq!(plan.tool_invocations, Tariff::default());
    }
}
