//! One budget in this process.

mod watch;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bh_domain::budget::{Account, Owner, Period, SESSION_WINDOW, TimeZone, Windows, block_size};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use bh_domain::time::Timestamp;
use parking_lot::Mutex;

use super::notes::Note;
use crate::ports::{BudgetWindow, ChangeId, Grant, LeaseRequest};

/// After the store has said "nothing left", it is not asked again for this long.
const REFUSAL_HOLDS_NS: u64 = 100_000_000;
/// Money that no call has touched for this long goes back to the store when others may need it.
const IDLE_AFTER_NS: u64 = 30_000_000_000;
/// And after this long when the store has plenty: a key that comes back now and then need not lease each time.
const RESTING_AFTER_NS: u64 = 900_000_000_000;
/// A block is fetched ahead when fewer calls than this fit into what is left.
const LOW_WATER_CALLS: i64 = 16;

/// The days and months of one time zone.
#[derive(Debug)]
pub struct ZoneClock {
    zone: TimeZone,
    current: ArcSwap<Windows>,
}

impl ZoneClock {
    /// A clock for `zone`.
    #[must_use]
    pub fn new(zone: TimeZone, now: Timestamp) -> Self {
        let current = ArcSwap::from_pointee(Windows::at(now, &zone));
        Self { zone, current }
    }

    /// The day and month `now` belongs to.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Arc<Windows> {
        let current = self.current.load_full();
        if current.cover(now) {
            return current;
        }
        let fresh = Arc::new(Windows::at(now, &self.zone));
        self.current.store(Arc::clone(&fresh));
        fresh
    }
}

/// One budget in this process: an account, and the window it is for.
///
/// There are four for each of thousands of callers, so it is kept small: what only few need at a time is elsewhere
/// ([`Turns`](super::turns::Turns)), and the names of windows are the clock's.
#[derive(Debug)]
pub struct BudgetCell {
    /// Tenant, or the system for the organisation.
    pub nid: Nid,
    /// Whose budget; one text for all of its periods.
    pub owner: Arc<Owner>,
    /// Day, month or session.
    pub period: Period,
    /// A block is being fetched ahead.
    fetching: AtomicBool,
    clock: Arc<ZoneClock>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The days and months that the account's window was taken from; `None` before the first call.
    windows: Option<Arc<Windows>>,
    cap: NanoUsd,
    account: Account,
    /// When the store had nothing left, or less than was needed: a nanosecond after the clock's reading.
    refused_ns: Option<NonZeroU64>,
    /// What the store had left under the cap at the last lease; `None` before the first in this window.
    left: Option<NanoUsd>,
    /// Leased under a higher cap than today's: goes back before more is leased.
    surplus: NanoUsd,
    touched_ns: u64,
    /// A lease whose answer was lost: the store may have granted it.
    unanswered: Option<Box<LeaseRequest>>,
    /// It was noted in this window that little may be left.
    noted_low: bool,
    /// It was noted in this window that a call was refused.
    noted_refusal: bool,
}

/// A budget that does not hold an amount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    /// Whose budget.
    pub owner: Owner,
    /// Which period.
    pub period: Period,
    /// Its cap.
    pub cap: NanoUsd,
    /// What would still fit.
    pub left: NanoUsd,
    /// When the window ends; a session has no end.
    pub ends: Option<Timestamp>,
}

/// What holding an amount in one cell led to.
pub(super) enum Held {
    /// It is held, in this window.
    Yes {
        windows: Arc<Windows>,
        /// Little is left: fetch a block ahead.
        low: bool,
    },
    /// More must be leased first.
    Short,
}

impl BudgetCell {
    pub(super) fn new(nid: Nid, owner: Arc<Owner>, period: Period, clock: Arc<ZoneClock>) -> Self {
        let state = State {
            windows: None,
            cap: NanoUsd::MAX,
            account: Account::default(),
            refused_ns: None,
            left: None,
            surplus: NanoUsd::ZERO,
            touched_ns: 0,
            unanswered: None,
            noted_low: false,
            noted_refusal: false,
        };
        Self { nid, owner, period, fetching: AtomicBool::new(false), clock, state: Mutex::new(state) }
    }

    /// This budget's window at `now`, for reads.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> BudgetWindow {
        self.budget(&self.clock.at(now))
    }

    /// When the window of `now` ends.
    #[must_use]
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.end_of(&self.clock.at(now))
    }

    fn end_of(&self, windows: &Windows) -> Option<Timestamp> {
        match self.period {
            Period::Day => Some(windows.day_end),
            Period::Month => Some(windows.month_end),
            Period::Session => None,
        }
    }

    /// Holds `amount` under `cap`.
    pub(super) fn hold(&self, amount: NanoUsd, cap: NanoUsd, now: Timestamp, now_ns: u64) -> Held {
        let windows = self.clock.at(now);
        let mut state = self.state.lock();
        state.enter(&windows, self.period);
        state.bind(cap);
        state.touched_ns = now_ns;
        if !state.account.hold(amount) {
            return Held::Short;
        }
        let low = state.runs_low(amount, now_ns) && !self.fetching.swap(true, Ordering::AcqRel);
        Held::Yes { windows, low }
    }

    /// Whether `amount` is not there.
    pub(super) fn lacks(&self, amount: NanoUsd) -> bool {
        self.state.lock().account.missing(amount) > NanoUsd::ZERO
    }

    /// What a lower cap than before has set free, to go back to the store.
    pub(super) fn take_surplus(&self, cap: NanoUsd, now: Timestamp) -> Option<(BudgetWindow, NanoUsd)> {
        let windows = self.clock.at(now);
        let mut state = self.state.lock();
        state.enter(&windows, self.period);
        state.bind(cap);
        let surplus = std::mem::take(&mut state.surplus);
        (surplus > NanoUsd::ZERO).then(|| (self.budget(&windows), surplus))
    }

    /// Keeps a lease that the store did not answer to, to be asked for again.
    pub(super) fn keep(&self, request: LeaseRequest) {
        self.state.lock().unanswered = Some(Box::new(request));
    }

    /// Whether there is one.
    pub(super) fn has_unanswered(&self) -> bool {
        self.state.lock().unanswered.is_some()
    }

    /// The lease to ask for again, under the cap in force now. To be called in the turn to refill.
    pub(super) fn take_unanswered(&self) -> Option<LeaseRequest> {
        let mut state = self.state.lock();
        let request = *state.unanswered.take()?;
        Some(LeaseRequest { cap: state.cap, ..request })
    }

    fn budget(&self, windows: &Windows) -> BudgetWindow {
        let window = label(windows, self.period).to_owned();
        BudgetWindow { nid: self.nid, owner: Owner::clone(&self.owner), window }
    }

    /// Replaces a hold by the real cost. Returns what the account is short of, to be overdrawn at the store, and a note
    /// when the budget is worth a look.
    pub(super) fn settle(
        &self,
        windows: &Arc<Windows>,
        held: NanoUsd,
        cost: NanoUsd,
    ) -> (NanoUsd, Option<Note>) {
        let mut state = self.state.lock();
        if !state.is_in(windows, self.period) {
            // The window is over. What was not spent stays with its lease and ends with the window.
            return (NanoUsd::ZERO, None);
        }
        state.account.settle(held, cost);
        // Before the overdraft is granted: it is spent.
        let note = self.note_low(&mut state);
        let over = (-state.account.available()).max(NanoUsd::ZERO);
        state.account.grant(over);
        (over, note)
    }

    /// The lease to ask for so that `amount` fits; `Ok(None)` when it fits by now. `demand` is what all waiting calls
    /// need in sum, so that one lease serves them.
    pub(super) fn wish(
        &self,
        (amount, demand): (NanoUsd, NanoUsd),
        cap: NanoUsd,
        now: Timestamp,
        now_ns: u64,
        begin: impl FnOnce() -> ChangeId,
    ) -> Result<Option<LeaseRequest>, Short> {
        let windows = self.clock.at(now);
        let mut state = self.state.lock();
        state.enter(&windows, self.period);
        state.bind(cap);
        let needed = state.account.missing(amount);
        if needed == NanoUsd::ZERO {
            return Ok(None);
        }
        if let Some(left) = state.refused_left(now_ns)
            && left < needed
        {
            return Err(self.short(cap, left + state.account.available(), now));
        }
        let budget = self.budget(&windows);
        let wanted = demand.max(needed) + block_size(amount, cap);
        Ok(Some(LeaseRequest { id: begin(), budget, cap, needed, wanted, first: state.left.is_none() }))
    }

    /// Takes the store's answer.
    pub(super) fn take(
        &self,
        request: &LeaseRequest,
        grant: Grant,
        now: Timestamp,
        now_ns: u64,
    ) -> Result<(), Short> {
        let mut state = self.state.lock();
        if state.label(self.period) != Some(&request.budget.window) {
            return Ok(());
        }
        state.left = Some(grant.left);
        state.account.grant(grant.granted);
        if grant.granted < request.needed {
            state.refused_ns = Some(after(now_ns));
            return Err(self.short(request.cap, grant.left + state.account.available(), now));
        }
        state.refused_ns = (grant.left == NanoUsd::ZERO).then(|| after(now_ns));
        Ok(())
    }

    /// About how much money calls could still hold; the cap itself before the store has been asked.
    #[must_use]
    pub fn room(&self, cap: NanoUsd) -> NanoUsd {
        let state = self.state.lock();
        state.left.map_or(cap, |left| left + state.account.available())
    }

    pub(super) fn fetched(&self) {
        self.fetching.store(false, Ordering::Release);
    }

    /// Money nobody has touched for a while, to be given back. Returns whether the cell is wholly unused.
    pub(super) fn take_idle(&self, now_ns: u64) -> (Option<(BudgetWindow, NanoUsd)>, bool) {
        let mut state = self.state.lock();
        let wanted_elsewhere = self.period == Period::Session || state.is_scarce();
        let limit = if wanted_elsewhere { IDLE_AFTER_NS } else { RESTING_AFTER_NS };
        if now_ns.saturating_sub(state.touched_ns) < limit {
            return (None, false);
        }
        let idle = state.account.take_idle(NanoUsd::ZERO) + std::mem::take(&mut state.surplus);
        let unused = state.account.held() == NanoUsd::ZERO && state.unanswered.is_none();
        let budget = state.windows.as_deref().filter(|_| idle > NanoUsd::ZERO);
        (budget.map(|windows| (self.budget(windows), idle)), unused)
    }

    fn short(&self, cap: NanoUsd, left: NanoUsd, now: Timestamp) -> Short {
        let left = left.max(NanoUsd::ZERO);
        Short { owner: Owner::clone(&self.owner), period: self.period, cap, left, ends: self.ends(now) }
    }
}

impl State {
    /// The name of the window that the account is for.
    fn label(&self, period: Period) -> Option<&str> {
        self.windows.as_deref().map(|windows| label(windows, period))
    }

    /// Whether the account is for the window of `period` among `windows`. A month is the same on its next day.
    fn is_in(&self, windows: &Arc<Windows>, period: Period) -> bool {
        self.windows
            .as_ref()
            .is_some_and(|own| Arc::ptr_eq(own, windows) || label(own, period) == label(windows, period))
    }

    /// Moves on to another window: the old one's account ends with it.
    fn enter(&mut self, windows: &Arc<Windows>, period: Period) {
        if self.is_in(windows, period) {
            return;
        }
        self.windows = Some(Arc::clone(windows));
        self.account = Account::default();
        self.refused_ns = None;
        self.left = None;
        self.surplus = NanoUsd::ZERO;
        (self.noted_low, self.noted_refusal) = (false, false);
    }

    /// Puts a cap in force. A lower one than before takes back what was leased ahead under the old one.
    fn bind(&mut self, cap: NanoUsd) {
        let before = std::mem::replace(&mut self.cap, cap);
        if cap > before {
            self.refused_ns = None;
        }
        if cap < before {
            self.surplus += self.account.take_idle(NanoUsd::ZERO);
        }
    }

    /// Whether the store had less than half of the cap left when it was last asked.
    fn is_scarce(&self) -> bool {
        self.left.is_none_or(|left| left < NanoUsd(self.cap.0 / 2))
    }

    fn runs_low(&self, amount: NanoUsd, now_ns: u64) -> bool {
        let mark = amount.times(LOW_WATER_CALLS);
        let worth_it = block_size(amount, self.cap) > mark;
        worth_it && self.account.available() < mark && self.refused_left(now_ns).is_none()
    }

    fn refused_left(&self, now_ns: u64) -> Option<NanoUsd> {
        let at = self.refused_ns?.get();
        self.left.filter(|_| now_ns.saturating_sub(at) < REFUSAL_HOLDS_NS)
    }
}

fn label(windows: &Windows, period: Period) -> &str {
    match period {
        Period::Day => &windows.day,
        Period::Month => &windows.month,
        Period::Session => SESSION_WINDOW,
    }
}

/// A nanosecond later: never nought, so that having an instant takes no room of its own.
fn after(now_ns: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(now_ns)
}
