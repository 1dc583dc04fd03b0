//! Budgets that seem to be nearly used up, for whoever tells of it. Noted in memory where a call is settled or refused;
//! looked at elsewhere, so that no call waits for it.

use bh_domain::money::NanoUsd;
use bh_domain::time::Timestamp;
use parking_lot::Mutex;

use crate::ports::BudgetWindow;

/// Notes that wait to be looked at.
const NOTES_MAX: usize = 8_192;

/// A budget that is worth a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Which budget, in which window.
    pub budget: BudgetWindow,
    /// Its cap.
    pub cap: NanoUsd,
    /// When the window ends; a session has no end.
    pub ends: Option<Timestamp>,
    /// Whether it has refused a call that fits under its cap.
    pub refused: bool,
}

#[derive(Debug, Default)]
pub(super) struct Notes(Mutex<Vec<Note>>);

impl Notes {
    /// Adds a note; `false` when too many wait.
    pub(super) fn add(&self, note: Note) -> bool {
        let mut notes = self.0.lock();
        let fits = notes.len() < NOTES_MAX;
        if fits {
            notes.push(note);
        }
        fits
    }

    pub(super) fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.lock())
    }
}
