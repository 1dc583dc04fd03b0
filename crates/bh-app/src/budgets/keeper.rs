//! Holding an amount in all budgets of a call, or in none.

use std::sync::Arc;

use bh_domain::budget::{Owner, Period, Windows};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::Nid;
use parking_lot::Mutex;

use super::ahead::Ahead;
use super::cell::{BudgetCell, Held, Short, ZoneClock};
use super::cells::Cells;
use super::changes::{Changes, Direction};
use super::desk::Desk;
use super::notes::{Note, Notes};
use super::turns::{Place, Turns};
use crate::ports::{BudgetStore, BudgetWindow, Clock, Holder, LeaseRequest, StoreFault};
use crate::snapshot::Capped;

/// A call asks the store for more at most this often before it is refused; each round was a real chance.
const ROUNDS_MAX: usize = 64;

/// Every budget of this process.
#[derive(Clone)]
pub struct BudgetKeeper(Arc<Inner>);

struct Inner {
    store: Arc<dyn BudgetStore>,
    clock: Arc<dyn Clock>,
    holder: Holder,
    cells: Mutex<Cells>,
    changes: Changes,
    notes: Notes,
    desk: Desk,
    turns: Turns,
    ahead: Ahead,
    /// Taken by whoever has changes made or forgotten: asked for twice at once, one could be made after the store has
    /// forgotten that it was.
    flushing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for BudgetKeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BudgetKeeper").field("holder", &self.0.holder).finish_non_exhaustive()
    }
}

/// Why an amount could not be held.
#[derive(Debug)]
pub enum NoBudget {
    /// A budget does not hold it.
    Short(Short),
    /// The store could not be asked.
    Fault(StoreFault),
}

impl BudgetKeeper {
    /// A keeper that leases as `holder`.
    pub fn new(store: Arc<dyn BudgetStore>, clock: Arc<dyn Clock>, holder: Holder) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            holder,
            cells: Mutex::default(),
            changes: Changes::default(),
            notes: Notes::default(),
            desk: Desk::default(),
            turns: Turns::default(),
            ahead: Ahead::default(),
            flushing: tokio::sync::Mutex::default(),
        }))
    }

    /// The process that holds the leases.
    #[must_use]
    pub fn holder(&self) -> Holder {
        self.0.holder
    }

    /// The cell of one budget; the same one for the life of the process.
    #[must_use]
    pub fn cell(
        &self,
        nid: Nid,
        owner: impl Into<Arc<Owner>>,
        period: Period,
        clock: &Arc<ZoneClock>,
    ) -> Arc<BudgetCell> {
        self.0.cells.lock().cell(nid, owner.into(), period, clock)
    }

    /// Holds `amount` in every one of `budgets`, or in none.
    ///
    /// # Errors
    /// [`NoBudget::Short`] names the first budget that does not hold it, once nothing under way can change that.
    pub async fn hold(&self, budgets: Vec<Capped>, amount: NanoUsd) -> Result<Hold, NoBudget> {
        let outcome = self.hold_all(&budgets, amount).await;
        if let Err(NoBudget::Short(short)) = &outcome {
            self.0.note_refusal(&budgets, short, amount);
        }
        outcome
    }

    async fn hold_all(&self, budgets: &[Capped], amount: NanoUsd) -> Result<Hold, NoBudget> {
        let mut hold = Hold { keeper: self.clone(), parts: Vec::with_capacity(budgets.len()), amount };
        for _ in 0..ROUNDS_MAX {
            match hold.try_all(budgets) {
                None => return Ok(hold),
                Some(short) => {
                    // Given back before waiting, so that two calls never wait for what the other one holds.
                    hold.release();
                    self.refill_all(&budgets[short..], amount).await?;
                }
            }
        }
        Err(NoBudget::Short(self.0.shortage(budgets, amount)))
    }

    /// Budgets that have become worth a look since this was last asked.
    #[must_use]
    pub fn take_notes(&self) -> Vec<Note> {
        self.0.notes.take()
    }

    /// Leases so much more that `amount` fits into this budget.
    async fn refill(&self, capped: &Capped, amount: NanoUsd) -> Result<(), NoBudget> {
        let place = self.0.turns.queue(&capped.cell, amount);
        let _turn = place.turn().await;
        self.lease(capped, amount, &place).await
    }

    /// The same for every one of `budgets` that is short of `amount`, all at once: they share a transaction. On tasks of
    /// their own: a client that hangs up must not lose what the store grants meanwhile.
    async fn refill_all(&self, budgets: &[Capped], amount: NanoUsd) -> Result<(), NoBudget> {
        let short = budgets.iter().filter(|capped| capped.cell.lacks(amount));
        let refills: Vec<_> = short
            .map(|capped| {
                let (keeper, capped) = (self.clone(), capped.clone());
                tokio::spawn(async move { keeper.refill(&capped, amount).await })
            })
            .collect();
        for refill in refills {
            refill.await.unwrap_or_else(|end| {
                Err(NoBudget::Fault(StoreFault { step: "lease budgets", cause: Box::new(end) }))
            })?;
        }
        Ok(())
    }

    /// Leases what is missing. To be called in the cell's turn.
    async fn lease(
        &self,
        Capped { cap, cell }: &Capped,
        amount: NanoUsd,
        place: &Place<'_>,
    ) -> Result<(), NoBudget> {
        let Inner { clock, changes, .. } = &*self.0;
        self.ask_again(cell).await.map_err(NoBudget::Fault)?;
        // What a lower cap has set free goes back first, or the store would count it against the new cap.
        if let Some((budget, surplus)) = cell.take_surplus(*cap, clock.now()) {
            self.0.change(Direction::Back, budget, surplus);
        }
        if changes.goes_back(&cell.window(clock.now())) {
            self.flush().await.map_err(NoBudget::Fault)?;
        }
        let (now, now_ns) = (clock.now(), clock.monotonic_ns());
        let needs = (amount, place.demand());
        let wish = cell.wish(needs, *cap, now, now_ns, || changes.begin()).map_err(NoBudget::Short)?;
        let Some(request) = wish else { return Ok(()) };
        self.ask(cell, request).await.map_err(NoBudget::Fault)?.map_err(NoBudget::Short)
    }

    /// Asks for a lease. Without an answer the request is kept: the store may have granted it.
    async fn ask(&self, cell: &BudgetCell, request: LeaseRequest) -> Result<Result<(), Short>, StoreFault> {
        let Inner { store, clock, holder, changes, desk, .. } = &*self.0;
        let (now, now_ns) = (clock.now(), clock.monotonic_ns());
        match desk.lease(store.as_ref(), *holder, request.clone()).await {
            Err(fault) => {
                cell.keep(request);
                Err(fault)
            }
            Ok(grant) => {
                changes.done([request.id]);
                Ok(cell.take(&request, grant, now, now_ns))
            }
        }
    }

    /// Asks once more for a lease whose answer was lost. To be called in the cell's turn to refill.
    async fn ask_again(&self, cell: &BudgetCell) -> Result<(), StoreFault> {
        let Some(request) = cell.take_unanswered() else { return Ok(()) };
        // What it was short of then is no matter now: whoever needs money asks anew.
        self.ask(cell, request).await.map(drop)
    }

    fn fetch_ahead(&self, capped: Capped, amount: NanoUsd) {
        // Twice the low-water mark: asking for what is there already would lease nothing.
        if !self.0.ahead.add(capped, amount.times(32)) {
            return;
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            let mut runner = keeper.0.ahead.runner();
            while let Some((capped, amount)) = runner.next() {
                if let Err(NoBudget::Fault(fault)) = keeper.refill(&capped, amount).await {
                    tracing::warn!(error = &fault as &dyn std::error::Error, "could not lease ahead");
                }
                capped.cell.fetched();
            }
        });
    }

    fn overdraw(&self, over: Vec<(BudgetWindow, NanoUsd)>) {
        for (budget, amount) in over {
            self.0.change(Direction::Over, budget, amount);
        }
        let keeper = self.clone();
        tokio::spawn(async move {
            if let Err(fault) = keeper.flush().await {
                tracing::warn!(error = &fault as &dyn std::error::Error, "an overdraft waits for the store");
            }
        });
    }

    /// Has the store make every change that waits. What it does not answer to waits on; made twice it is never.
    async fn flush(&self) -> Result<(), StoreFault> {
        let Inner { store, holder, changes, flushing, .. } = &*self.0;
        let _turn = flushing.lock().await;
        let over = changes.pending(Direction::Over);
        if !over.is_empty() {
            store.overdraw(*holder, over.clone()).await?;
            changes.done(over.iter().map(|change| change.id));
        }
        let back = changes.pending(Direction::Back);
        if !back.is_empty() {
            store.give_back(*holder, back.clone()).await?;
            changes.done(back.iter().map(|change| change.id));
        }
        Ok(())
    }

    /// Gives idle money back to the store, repeats what it has not answered to, and forgets sessions that nobody uses.
    /// Run now and then.
    ///
    /// # Errors
    /// When the store does not answer; the next round does what this one could not.
    pub async fn sweep(&self) -> Result<(), StoreFault> {
        let now_ns = self.0.clock.monotonic_ns();
        let (mut unspent, mut unanswered) = (Vec::new(), Vec::new());
        let room = self.0.changes.has_room();
        self.0.cells.lock().retain(|cell| {
            if cell.has_unanswered() {
                unanswered.push(Arc::clone(cell));
            }
            let (idle, unused) = if room { cell.take_idle(now_ns) } else { (None, false) };
            unspent.extend(idle);
            let forgotten = unused && cell.period == Period::Session && Arc::strong_count(cell) == 1;
            !forgotten
        });
        for (budget, amount) in unspent {
            self.0.change(Direction::Back, budget, amount);
        }
        for cell in unanswered {
            let place = self.0.turns.queue(&cell, NanoUsd::ZERO);
            let _turn = place.turn().await;
            self.ask_again(&cell).await?;
        }
        self.flush().await?;
        let _turn = self.0.flushing.lock().await;
        let Some(before) = self.0.changes.answered_before() else { return Ok(()) };
        self.0.store.forget_changes(self.0.holder, before).await?;
        self.0.changes.forgot(before);
        Ok(())
    }
}

impl Inner {
    fn note(&self, cell: &BudgetCell, note: Option<Note>) {
        if note.is_some_and(|note| !self.notes.add(note)) {
            cell.forget_notes();
        }
    }

    fn note_refusal(&self, budgets: &[Capped], short: &Short, amount: NanoUsd) {
        let is_it = |b: &&Capped| *b.cell.owner == short.owner && b.cell.period == short.period;
        if let Some(Capped { cap, cell }) = budgets.iter().find(is_it) {
            self.note(cell, cell.note_refusal(amount, *cap, self.clock.now()));
        }
    }

    fn change(&self, direction: Direction, budget: BudgetWindow, amount: NanoUsd) {
        if !self.changes.add(direction, budget.clone(), amount) {
            tracing::error!(?direction, ?budget, %amount, "too many changes of budgets wait for the store");
        }
    }

    fn shortage(&self, budgets: &[Capped], amount: NanoUsd) -> Short {
        let (now, now_ns) = (self.clock.now(), self.clock.monotonic_ns());
        let needs = (amount, amount);
        let first = budgets.iter().find_map(|b| b.cell.wish(needs, b.cap, now, now_ns, || 0).err());
        let unsettled = Short {
            owner: Owner::Tenant,
            period: Period::Day,
            cap: NanoUsd::ZERO,
            left: NanoUsd::ZERO,
            ends: None,
        };
        first.unwrap_or(unsettled)
    }
}

/// An amount held in every budget of one call. Dropping it releases all of it.
#[derive(Debug)]
pub struct Hold {
    keeper: BudgetKeeper,
    parts: Vec<Part>,
    amount: NanoUsd,
}

#[derive(Debug)]
struct Part {
    cell: Arc<BudgetCell>,
    windows: Arc<Windows>,
}

impl Hold {
    /// The amount held.
    #[must_use]
    pub fn amount(&self) -> NanoUsd {
        self.amount
    }

    /// Tries every budget; on the first that is short, returns its index.
    fn try_all(&mut self, budgets: &[Capped]) -> Option<usize> {
        let clock = &self.keeper.0.clock;
        let (now, now_ns) = (clock.now(), clock.monotonic_ns());
        for (index, capped) in budgets.iter().enumerate() {
            let held = capped.cell.hold(self.amount, capped.cap, now, now_ns);
            let Held::Yes { windows, low } = held else { return Some(index) };
            if low {
                self.keeper.fetch_ahead(capped.clone(), self.amount);
            }
            self.parts.push(Part { cell: Arc::clone(&capped.cell), windows });
        }
        None
    }

    fn release(&mut self) {
        for part in self.parts.drain(..) {
            let (_, note) = part.cell.settle(&part.windows, self.amount, NanoUsd::ZERO);
            self.keeper.0.note(&part.cell, note);
        }
    }

    /// Replaces the hold by what the call really cost.
    pub fn settle(mut self, cost: NanoUsd) {
        let mut over = Vec::new();
        for part in self.parts.drain(..) {
            let (missing, note) = part.cell.settle(&part.windows, self.amount, cost);
            self.keeper.0.note(&part.cell, note);
            if missing > NanoUsd::ZERO {
                over.push((part.cell.window(self.keeper.0.clock.now()), missing));
            }
        }
        if !over.is_empty() {
            self.keeper.overdraw(over);
        }
    }
}

/// Settles the holds of one call, of which a long stream has several, at its real cost.
pub fn settle_all(holds: Vec<Hold>, cost: NanoUsd) {
    let mut left = cost;
    let count = holds.len();
    for (index, hold) in holds.into_iter().enumerate() {
        let last = index + 1 == count;
        let part = if last { left } else { left.min(hold.amount()) };
        left -= part;
        hold.settle(part);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.release();
    }
}
