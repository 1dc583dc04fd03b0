//! Named limits of keys: taken together or not at all, and charged with what calls have used.

use std::sync::Arc;

use bh_domain::allowance::{Allowance, AllowanceVerdict};
use bh_domain::keys::named::{LimitUnit, NamedLimit};
use bh_domain::limit::RateVerdict;
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;

use super::RateCell;
use crate::snapshot::Caller;

/// A named limit and its count.
#[derive(Clone, Debug)]
pub struct NamedCount {
    /// The limit.
    pub limit: NamedLimit,
    allowance: Allowance,
    cell: Arc<RateCell>,
}

impl NamedCount {
    /// A limit that is counted in this cell; `None` for one that allows nothing.
    #[must_use]
    pub fn new(limit: NamedLimit, cell: Arc<RateCell>) -> Option<Self> {
        let allowance = limit.allowance()?;
        Some(Self { limit, allowance, cell })
    }

    /// Takes an amount, or says why not. Nothing is taken with an amount of 0.
    pub fn take(&self, amount: u64, now_ns: u64) -> AllowanceVerdict {
        self.cell.decide(|seen| {
            let (verdict, next) = self.allowance.decide(seen, now_ns, amount);
            (verdict, next.filter(|_| amount > 0))
        })
    }

    /// Puts an amount back, because another limit refused.
    pub fn put_back(&self, amount: u64) {
        self.cell.give(self.allowance.time_of(amount));
    }

    /// Puts back what is still held, some time later, of an amount that was there with this verdict.
    pub fn put_back_later(&self, amount: u64, taken: &AllowanceVerdict, elapsed_ns: u64) {
        let held_ns = taken.reset_after_ns.saturating_sub(elapsed_ns);
        self.cell.give(self.allowance.time_of(amount).min(held_ns));
    }

    /// Takes what was used, whether it was there or not.
    fn charge(&self, amount: u64, now_ns: u64) {
        if amount > 0 {
            self.cell.decide(|seen| ((), Some(self.allowance.charge(seen, now_ns, amount))));
        }
    }

    /// What a call takes when it is let in; `None` when the limit does not concern it. What it uses is charged when that
    /// is known.
    fn on_entry(&self) -> Option<u64> {
        self.limit.concerns_calls().then(|| self.limit.unit.amount_of_use())
    }

    fn told(&self, verdict: AllowanceVerdict) -> RateVerdict {
        RateVerdict {
            allowed: verdict.allowed,
            unit: self.limit.unit,
            limit: self.allowance.quota(),
            remaining: verdict.remaining,
            reset_after_ns: verdict.reset_after_ns,
            // Calls ask for no more than one, which every limit has.
            retry_after_ns: verdict.retry_after_ns.unwrap_or_default(),
            period_s: self.allowance.period_s(),
        }
    }
}

/// Lets a call in under all of a key's limits, or under none. The tightest of those that count requests.
///
/// # Errors
/// The limit that refused.
pub(super) fn admit(counts: &[NamedCount], now_ns: u64) -> Result<Option<RateVerdict>, RateVerdict> {
    let mut tightest: Option<RateVerdict> = None;
    for (index, count) in counts.iter().enumerate() {
        let Some(amount) = count.on_entry() else { continue };
        let verdict = count.told(count.take(amount, now_ns));
        if !verdict.allowed {
            leave(counts.get(..index).unwrap_or_default());
            return Err(verdict);
        }
        let tighter = tightest.is_none_or(|seen| verdict.remaining < seen.remaining);
        if tighter && verdict.unit == LimitUnit::Requests {
            tightest = Some(verdict);
        }
    }
    Ok(tightest)
}

/// Puts back what a call took when it was let in, because it was refused after all.
pub(super) fn leave(counts: &[NamedCount]) {
    for count in counts {
        if let Some(amount) = count.on_entry() {
            count.put_back(amount);
        }
    }
}

/// Charges a caller's key with what a call has used.
pub fn charge(caller: &Caller, tokens: &TokenCounts, cost: NanoUsd, now_ns: u64) {
    let Some(key) = &caller.key else { return };
    for count in &*key.named {
        count.charge(count.limit.unit.used(tokens, cost), now_ns);
    }
}

#[cfg(test)]
mod tests {
    use bh_domain::tenant::Nid;

    use super::*;

    const NOW: u64 = 3_600_000_000_000;

    fn count(quota: u64, unit: LimitUnit, auto_apply: bool) -> NamedCount {
        let limit = NamedLimit { name: "limit".into(), quota, window_s: 60, unit, auto_apply };
        NamedCount::new(limit, Arc::new(RateCell::new(Nid::SYSTEM, "limit"))).unwrap()
    }

    #[test]
    fn a_call_is_let_in_by_all_limits_or_counted_by_none() {
        let counts = [
            count(5, LimitUnit::Requests, true),
            count(1, LimitUnit::Requests, false),
            count(2, LimitUnit::Requests, true),
        ];
        for left in [1, 0] {
            assert_eq!(admit(&counts, NOW).unwrap().unwrap().remaining, left);
        }
        assert_eq!(admit(&counts, NOW).unwrap_err().limit, 2);
        assert_eq!(counts[0].take(0, NOW).remaining, 3, "the third call was put back");
        assert_eq!(counts[1].take(0, NOW).remaining, 1, "it holds for those only who name it");
    }

    #[test]
    fn an_amount_that_is_put_back_late_makes_no_room_for_more_than_it_had_taken() {
        let minute = 60_000_000_000;
        let count = count(10, LimitUnit::Requests, true);
        let taken = count.take(10, NOW);
        assert!(count.take(10, NOW + minute).allowed, "it has come back by itself");
        count.put_back_later(10, &taken, minute);
        assert_eq!(count.take(0, NOW + minute).remaining, 0);
        let (later, taken) = (NOW + 2 * minute, count.take(10, NOW + 2 * minute));
        count.put_back_later(10, &taken, minute / 2);
        assert_eq!(count.take(0, later + minute / 2).remaining, 10, "the half that was held still");
    }

    #[test]
    fn tokens_are_owed_once_they_are_used() {
        let counts = [count(10, LimitUnit::Tokens, false)];
        assert_eq!(admit(&counts, NOW), Ok(None));
        counts[0].charge(25, NOW);
        let refused = admit(&counts, NOW).unwrap_err();
        assert_eq!((refused.unit, refused.remaining), (LimitUnit::Tokens, 0));
        assert!(admit(&counts, NOW + refused.retry_after_ns).is_ok());
    }
}
