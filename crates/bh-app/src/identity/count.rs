//! Requests of those who are known, counted.

use bh_domain::limit::RateVerdict;
use bh_domain::refusal::Refusal;

use super::Gate;
use crate::rates::{self, Counted};
use crate::snapshot::Caller;

impl Gate {
    /// Counts a request, whose sender is known by now, against every limit that concerns it. Once for each request.
    ///
    /// # Errors
    /// `rate_limited`; `rate_limit_unavailable`.
    pub async fn count(&self, asked: Counted<'_>, caller: &Caller) -> Result<Option<RateVerdict>, Refusal> {
        match &self.accounts.shared {
            // The instant of counting: those of arriving are in no order by now, and the last of a burst would be early.
            None => rates::count(asked, caller, self.keys.monotonic_ns()),
            // Boxed: or each call would keep room for it.
            Some(shared) => Box::pin(shared.count(asked, caller)).await,
        }
    }
}
