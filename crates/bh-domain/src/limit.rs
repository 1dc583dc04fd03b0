//! Request limits: the generic cell rate algorithm, as arithmetic on nanoseconds.

use crate::keys::named::LimitUnit;

/// A limit of `requests` per `period_ns`, with a burst of the whole period's allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    requests: u32,
    period_ns: u64,
}

/// What a limit said about one request, for the answer's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateVerdict {
    /// Whether the request may go on.
    pub allowed: bool,
    /// What is counted, as headers name it: requests, unless a key's own limit counts something else.
    pub unit: LimitUnit,
    /// Requests per period.
    pub limit: u64,
    /// Requests left right now.
    pub remaining: u64,
    /// Nanoseconds until the full allowance is back.
    pub reset_after_ns: u64,
    /// Nanoseconds until one request would be allowed; 0 when this one was.
    pub retry_after_ns: u64,
    /// The period in whole seconds.
    pub period_s: u64,
}

pub(crate) const SECOND_NS: u64 = 1_000_000_000;
/// A hundred years: what can be added to a monotonic clock without a thought.
pub(crate) const PERIOD_NS_MAX: u64 = 100 * 365 * 86_400 * SECOND_NS;
const MINUTE_NS: u64 = 60_000_000_000;

impl RateLimit {
    /// `requests` per minute; `None` when the number is 0, which stands for "no limit".
    #[must_use]
    pub fn per_minute(requests: u32) -> Option<Self> {
        (requests > 0).then_some(Self { requests, period_ns: MINUTE_NS })
    }

    /// `requests` in any `window_s` seconds; `None` when either is 0. What is beyond counting is cut to it.
    #[must_use]
    pub fn new(requests: u64, window_s: u64) -> Option<Self> {
        let period_ns = window_s.saturating_mul(SECOND_NS).min(PERIOD_NS_MAX);
        let most = u32::try_from(period_ns).unwrap_or(u32::MAX);
        let requests = u32::try_from(requests).unwrap_or(u32::MAX).min(most);
        (requests > 0).then_some(Self { requests, period_ns })
    }

    /// What one request adds to the theoretical arrival time.
    #[must_use]
    pub fn increment_ns(self) -> u64 {
        self.period_ns / u64::from(self.requests)
    }

    /// The period, in nanoseconds: the longest that what was used takes to come back.
    #[must_use]
    pub fn period_ns(self) -> u64 {
        self.period_ns
    }

    /// The part of one of so many who divide the limit among them; each may ask for one request at least.
    #[must_use]
    pub fn shared_by(self, holders: u32) -> Self {
        Self { requests: (self.requests / holders.max(1)).max(1), ..self }
    }

    /// Decides one request at `now_ns`, given the cell's theoretical arrival time (0 for a new cell).
    /// Returns the verdict and, when allowed, the cell's next value.
    #[must_use]
    pub fn decide(self, tat_ns: u64, now_ns: u64) -> (RateVerdict, Option<u64>) {
        let increment = self.increment_ns();
        let arrival = tat_ns.max(now_ns);
        let next = arrival + increment;
        let allowed = next <= now_ns + self.period_ns;
        let used_until = if allowed { next } else { arrival };
        let backlog = used_until - now_ns;
        let remaining = self.period_ns.saturating_sub(backlog) / increment;
        let limit = u64::from(self.requests);
        let verdict = RateVerdict {
            allowed,
            unit: LimitUnit::Requests,
            limit,
            remaining: remaining.min(limit),
            reset_after_ns: backlog,
            retry_after_ns: if allowed { 0 } else { next - (now_ns + self.period_ns) },
            period_s: self.period_ns / 1_000_000_000,
        };
        (verdict, allowed.then_some(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_the_limit_passes_and_the_next_waits_one_increment() {
        let limit = RateLimit::per_minute(5).unwrap();
        let (now, mut tat) = (1_000_000_000_000, 0);
        for left in (0..5).rev() {
            let (verdict, next) = limit.decide(tat, now);
            assert_eq!((verdict.allowed, verdict.remaining), (true, left));
            tat = next.unwrap();
        }
        let (verdict, next) = limit.decide(tat, now);
        assert_eq!((verdict.allowed, verdict.retry_after_ns, next), (false, 12_000_000_000, None));
        assert!(limit.decide(tat, now + 12_000_000_000).0.allowed);
    }

    #[test]
    fn parts_of_a_limit_are_no_more_than_the_whole_as_long_as_each_gets_one() {
        let limit = RateLimit::per_minute(10).unwrap();
        for (holders, part) in [(0, 10), (1, 10), (3, 3), (10, 1), (11, 1)] {
            assert_eq!(limit.shared_by(holders), RateLimit::per_minute(part).unwrap(), "{holders}");
        }
    }

    #[test]
    fn no_minute_ever_admits_more_than_twice_the_limit() {
        // A burst plus one period's refill is the GCRA's known bound.
        let limit = RateLimit::per_minute(60).unwrap();
        let mut tat = 0;
        let admitted = (0..60_000_u64)
            .filter(|ms| {
                let (_, next) = limit.decide(tat, 10_000_000_000_000 + ms * 1_000_000);
                tat = next.unwrap_or(tat);
                next.is_some()
            })
            .count();
        assert_eq!(admitted, 119);
    }
}
