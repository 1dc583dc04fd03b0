//! What a tenant is charged for what it used (seed 001; Connectors dossier §10). Money is whole nano units throughout.

use crate::money::NanoUsd;

/// The price of a number of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitPrice {
    /// What they cost.
    pub amount: NanoUsd,
    /// How many they are; not 0.
    pub units: u32,
}

impl UnitPrice {
    /// Nothing.
    pub const FREE: Self = Self { amount: NanoUsd::ZERO, units: 1 };

    /// What so many units cost, rounded to the nearest nano unit of currency; halves up.
    #[must_use]
    pub fn of(&self, quantity: u64) -> NanoUsd {
        let units = i128::from(self.units.max(1));
        let exact = i128::from(quantity).saturating_mul(i128::from(self.amount.0));
        let rounded = exact.saturating_mul(2).saturating_add(units).div_euclid(units * 2);
        NanoUsd(i64::try_from(rounded).unwrap_or(i64::MAX))
    }
}

/// What one kind of use costs in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// So many are included each month.
    pub included: u64,
    /// The price of the others.
    pub price: UnitPrice,
}

impl Default for Tariff {
    fn default() -> Self {
        Self { included: 0, price: UnitPrice::FREE }
    }
}

/// What a use comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// How many were used.
    pub quantity: u64,
    /// How many of these are charged for.
    pub billable: u64,
    /// What for.
    pub amount: NanoUsd,
}

impl Tariff {
    /// What a month with this quantity comes to.
    #[must_use]
    pub fn charge(&self, quantity: u64) -> Charge {
        let billable = quantity.saturating_sub(self.included);
        Charge { quantity, billable, amount: self.price.of(billable) }
    }
}

/// What a plan charges for. What providers charge for tokens is passed on as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// API calls that were let through.
    pub api_calls: Tariff,
    /// Tools that were invoked.
    pub tool_invocations: Tariff,
    /// Hours that custom servers ran.
    pub server_hours: Tariff,
    /// Keys that were verified.
    pub key_verifications: Tariff,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_per_thousand_is_charged_to_the_nano_and_halves_go_up() {
        let price = UnitPrice { amount: NanoUsd(1_500), units: 1_000 };
        let costs = [0, 1, 2, 3, 1_000, 1_001].map(|quantity| price.of(quantity).0);
        assert_eq!(costs, [0, 2, 3, 5, 1_500, 1_502]);
        let dear = UnitPrice { amount: NanoUsd::MAX, units: 1 };
        assert_eq!(dear.of(u64::MAX), NanoUsd::MAX, "at the far end it holds");
    }

    #[test]
    fn only_what_is_not_included_is_charged() {
        let tariff = Tariff { included: 10, price: UnitPrice { amount: NanoUsd(7), units: 1 } };
        assert_eq!(tariff.charge(10), Charge { quantity: 10, billable: 0, amount: NanoUsd::ZERO });
        assert_eq!(tariff.charge(12), Charge { quantity: 12, billable: 2, amount: NanoUsd(14) });
    }
}
