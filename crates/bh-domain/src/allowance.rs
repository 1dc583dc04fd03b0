//! Limits of more than requests: so much of something in a time, taken in any amounts (the generic cell rate algorithm of
//! [`crate::limit`], in which one request takes one).

use crate::limit::{PERIOD_NS_MAX, SECOND_NS};

/// So much in any time of so long, with a burst of all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    quota: u64,
    period_ns: u64,
}

/// What an allowance said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowanceVerdict {
    /// Whether the amount was there.
    pub allowed: bool,
    /// What is left right now.
    pub remaining: u64,
    /// Nanoseconds until all of it is back.
    pub reset_after_ns: u64,
    /// Nanoseconds until the amount would be there; 0 when it was, and `None` when it is more than there ever is.
    pub retry_after_ns: Option<u64>,
}

/// The most that can be owed, in periods: whoever used more than that at once waits no longer.
pub const DEBT_PERIODS_MAX: u64 = 100;

impl Allowance {
    /// `quota` in any `window_s` seconds; `None` when either is 0.
    #[must_use]
    pub fn new(quota: u64, window_s: u64) -> Option<Self> {
        let period_ns = window_s.saturating_mul(SECOND_NS).min(PERIOD_NS_MAX);
        (quota > 0 && period_ns > 0).then_some(Self { quota, period_ns })
    }

    /// How much there is in a period.
    #[must_use]
    pub fn quota(self) -> u64 {
        self.quota
    }

    /// The period in whole seconds.
    #[must_use]
    pub fn period_s(self) -> u64 {
        self.period_ns / SECOND_NS
    }

    /// How long an amount takes to come back, in nanoseconds.
    #[must_use]
    pub fn time_of(self, amount: u64) -> u64 {
        let ns = u128::from(amount) * u128::from(self.period_ns) / u128::from(self.quota);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Decides whether an amount may be taken at `now_ns`, given the cell's theoretical arrival time (0 for a new cell):
    /// the verdict and, when it may, the cell's next value. An amount of 0 is there unless more was charged than there
    /// was.
    #[must_use]
    pub fn decide(self, tat_ns: u64, now_ns: u64, amount: u64) -> (AllowanceVerdict, Option<u64>) {
        let arrival = tat_ns.max(now_ns);
        let next = arrival.saturating_add(self.time_of(amount));
        let end = now_ns.saturating_add(self.period_ns);
        let ever = amount <= self.quota;
        let allowed = ever && next <= end;
        let backlog = if allowed { next } else { arrival } - now_ns;
        let free = u128::from(self.period_ns.saturating_sub(backlog));
        let remaining = free * u128::from(self.quota) / u128::from(self.period_ns);
        let verdict = AllowanceVerdict {
            allowed,
            remaining: u64::try_from(remaining).unwrap_or(u64::MAX).min(self.quota),
            reset_after_ns: backlog,
            retry_after_ns: ever.then(|| next.saturating_sub(end)),
        };
        (verdict, allowed.then_some(next))
    }

    /// The cell's next value after an amount that was used, whether it was there or not. What is owed is at most
    /// [`DEBT_PERIODS_MAX`] periods' worth.
    #[must_use]
    pub fn charge(self, tat_ns: u64, now_ns: u64, amount: u64) -> u64 {
        let arrival = tat_ns.max(now_ns);
        let most = now_ns.saturating_add(self.period_ns.saturating_mul(DEBT_PERIODS_MAX));
        arrival.max(arrival.saturating_add(self.time_of(amount)).min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000 * SECOND_NS;

    #[test]
    fn amounts_are_taken_until_nothing_is_left_and_come_back_with_time() {
        let limit = Allowance::new(10, 60).unwrap();
        let (mut tat, mut left) = (0, Vec::new());
        for amount in [4, 0, 5, 1] {
            let (verdict, next) = limit.decide(tat, NOW, amount);
            assert!(verdict.allowed);
            left.push(verdict.remaining);
            tat = next.unwrap();
        }
        assert_eq!(left, [6, 6, 1, 0]);
        let (verdict, next) = limit.decide(tat, NOW, 2);
        assert_eq!(
            (verdict.allowed, verdict.remaining, verdict.retry_after_ns, next),
            (false, 0, Some(12 * SECOND_NS), None)
        );
        assert!(limit.decide(tat, NOW, 0).0.allowed, "nothing is owed");
        assert_eq!(limit.decide(tat, NOW + 12 * SECOND_NS, 2).0.remaining, 0);
    }

    #[test]
    fn more_than_there_ever_is_has_no_time_at_which_to_come_back() {
        for quota in [10, 1_000_000_000_000_000] {
            let limit = Allowance::new(quota, 60).unwrap();
            let (verdict, next) = limit.decide(0, NOW, quota + 1);
            assert_eq!((verdict.allowed, verdict.retry_after_ns, next), (false, None, None), "{quota}");
            let (verdict, next) = limit.decide(0, NOW, quota);
            assert_eq!((verdict.allowed, verdict.retry_after_ns), (true, Some(0)), "{quota}");
            assert_eq!(limit.decide(next.unwrap(), NOW, quota).0.retry_after_ns, Some(60 * SECOND_NS));
        }
    }

    #[test]
    fn what_is_charged_beyond_the_quota_is_owed() {
        let limit = Allowance::new(10, 60).unwrap();
        let tat = limit.charge(0, NOW, 25);
        let (verdict, _) = limit.decide(tat, NOW, 0);
        assert_eq!(
            (verdict.allowed, verdict.remaining, verdict.retry_after_ns),
            (false, 0, Some(90 * SECOND_NS))
        );
        assert!(limit.decide(tat, NOW + 90 * SECOND_NS, 0).0.allowed);
        assert_eq!(limit.charge(u64::MAX, NOW, u64::MAX), u64::MAX, "it does not wrap round");
    }

    #[test]
    fn nobody_owes_for_ever() {
        let limit = Allowance::new(10, 60).unwrap();
        let most = NOW + DEBT_PERIODS_MAX * 60 * SECOND_NS;
        let tat = limit.charge(0, NOW, u64::MAX);
        assert_eq!((tat, limit.charge(tat, NOW, 1)), (most, most));
        let later = most + 60 * SECOND_NS;
        assert!(limit.decide(tat, later, 10).0.allowed);
    }

    #[test]
    fn odd_and_very_large_quotas_are_counted_exactly_enough() {
        for quota in [3, 7, 1_000_007, 1_000_000_000_000_000] {
            let limit = Allowance::new(quota, 60).unwrap();
            let (verdict, next) = limit.decide(0, NOW, 1);
            assert_eq!((verdict.allowed, verdict.remaining >= quota - 1), (true, true), "{quota}");
            assert!(limit.decide(next.unwrap(), NOW, quota + quota / 1_000 + 1).1.is_none(), "{quota}");
        }
        assert_eq!((Allowance::new(0, 1), Allowance::new(1, 0)), (None, None));
    }
}
