//! When a budget is worth a look (issue 4 §3, `budget.threshold` and `budget.exceeded`).

use bh_domain::money::NanoUsd;
use bh_domain::time::Timestamp;

use super::{BudgetCell, State};
use crate::budgets::notes::Note;

/// A budget is noted when so many hundredths of its cap may be spent: at the lowest threshold that is told.
const NOTED_FROM_PERCENT: i128 = 80;

impl State {
    /// Whether so much of the cap may be spent that somebody should look. What others have leased counts as spent, so this
    /// comes too early rather than too late.
    fn may_be_low(&self) -> bool {
        let Some(left) = self.left else { return false };
        let spent = self.cap - left - self.account.available() - self.account.held();
        i128::from(spent.0) * 100 >= i128::from(self.cap.0) * NOTED_FROM_PERCENT
    }
}

impl BudgetCell {
    /// A note that little may be left, once in a window. To be asked for when a call is settled.
    pub(super) fn note_low(&self, state: &mut State) -> Option<Note> {
        if state.noted_low || !state.may_be_low() {
            return None;
        }
        state.noted_low = true;
        self.note(state, false)
    }

    /// A note that a call was refused, once in a window. One that would not even fit into an empty budget says nothing
    /// about how full it is.
    pub(in crate::budgets) fn note_refusal(
        &self,
        amount: NanoUsd,
        cap: NanoUsd,
        now: Timestamp,
    ) -> Option<Note> {
        let windows = self.clock.at(now);
        let mut state = self.state.lock();
        if amount > cap || state.noted_refusal || !state.is_in(&windows, self.period) {
            return None;
        }
        state.noted_refusal = true;
        self.note(&state, true)
    }

    /// A note was lost: the next one counts.
    pub(in crate::budgets) fn forget_notes(&self) {
        let mut state = self.state.lock();
        (state.noted_low, state.noted_refusal) = (false, false);
    }

    fn note(&self, state: &State, refused: bool) -> Option<Note> {
        let windows = state.windows.as_deref()?;
        let ends = self.end_of(windows);
        Some(Note { budget: self.budget(windows), cap: state.cap, ends, refused })
    }
}
