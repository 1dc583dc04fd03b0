//! The stream brake: a stream whose cost reaches what is held gets more, or ends.

use std::task::{Context, Poll};

use bh_domain::money::NanoUsd;
use bh_domain::price::ModelPrice;

use super::super::close::Ending;
use super::used::counts;
use super::{AnswerBody, Watch};
use crate::budgets::{Hold, NoBudget};
use crate::ports::BoxFuture;
use crate::snapshot::Capped;

/// Ends a stream whose real cost has reached what is held, once no more can be held.
pub(super) struct Brake {
    pub(super) budgets: Vec<Capped>,
    pub(super) price: ModelPrice,
    pub(super) more: Option<BoxFuture<'static, Result<Hold, NoBudget>>>,
    pub(super) exhausted: bool,
}

impl AnswerBody {
    /// Compares the stream's cost with what is held, and holds more in time. Returns true while the stream must
    /// wait for the answer to that.
    pub(super) fn brake_holds_back(&mut self, cx: &mut Context<'_>) -> bool {
        let (Watch::Stream(watcher), Some(call)) = (&self.watch, &mut self.call) else { return false };
        let ticket = call.ticket();
        let (usage, _) = watcher.progress().usage_or_estimate(ticket.input_estimate);
        let (cost, held) = (self.brake.price.cost(&counts(usage)) + ticket.lost(), ticket.reserved);
        if cost.0 <= held.0 / 10 * 9 || self.brake.budgets.is_empty() {
            return false;
        }
        if self.brake.more.is_none() && !self.brake.exhausted {
            let wish = (cost - held).max(NanoUsd(held.0 / 2)).max(NanoUsd(1));
            self.brake.more = Some(call.hold_more(self.brake.budgets.clone(), wish));
        }
        if let Some(more) = &mut self.brake.more {
            match more.as_mut().poll(cx) {
                Poll::Pending => return cost > held,
                Poll::Ready(Ok(hold)) => {
                    call.add_hold(hold);
                    self.brake.more = None;
                    return false;
                }
                Poll::Ready(Err(_)) => {
                    self.brake.more = None;
                    self.brake.exhausted = true;
                }
            }
        }
        if self.brake.exhausted && cost >= held {
            self.broke(Ending::Braked, "The budget is used up; the stream ends here");
        }
        false
    }
}
