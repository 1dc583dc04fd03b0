//! Prices of what a tenant uses.

use std::collections::HashMap;

use bh_domain::billing::Terms;

/// What tenants are charged for.
#[derive(Clone, Debug, Default)]
pub struct Billing {
    /// Currency of every price and invoice.
    pub currency: String,
    /// What holds for a tenant whose plan has no prices of its own.
    pub terms: Terms,
    /// By plan.
    pub plans: HashMap<String, Terms>,
}

impl Billing {
    /// What holds for a tenant of this plan.
    #[must_use]
    pub fn of(&self, plan: Option<&str>) -> &Terms {
        plan.and_then(|plan| self.plans.get(plan)).unwrap_or(&self.terms)
    }
}
