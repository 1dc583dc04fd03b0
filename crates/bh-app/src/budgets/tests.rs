//! A store that fails, or whose answers get lost: afterwards its books and the process's agree.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bh_domain::budget::{Owner, Period, TimeZone};
use bh_domain::money::NanoUsd;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use parking_lot::Mutex;

use super::{BudgetKeeper, NoBudget, ZoneClock};
use crate::ports::{
    BudgetStore, BudgetWindow, Change, ChangeId, Clock, Figures, Grant, Holder, LeaseRequest, Settled,
    SpendQuery, StoreFault, StoreResult,
};
use crate::snapshot::Capped;

const CAP: NanoUsd = NanoUsd(100_000_000);

/// What goes wrong with one request.
#[derive(Clone, Copy)]
enum Fault {
    /// It does not get to the store.
    Refused,
    /// It is done, and the answer is lost.
    Unanswered,
}

/// One budget, kept as the real store keeps it.
#[derive(Default)]
struct Books {
    committed: NanoUsd,
    changes: BTreeMap<ChangeId, NanoUsd>,
    faults: VecDeque<Fault>,
    /// How many leases were asked for at once, each time.
    asked: Vec<usize>,
}

#[derive(Default)]
struct FaultyStore(Mutex<Books>);

impl FaultyStore {
    fn fails_next(&self, fault: Fault) {
        self.0.lock().faults.push_back(fault);
    }

    fn committed(&self) -> NanoUsd {
        self.0.lock().committed
    }

    fn answer<T: Send + 'static>(&self, work: impl FnOnce(&mut Books) -> T) -> StoreResult<T> {
        let mut books = self.0.lock();
        let fault = books.faults.pop_front();
        let answer = match fault {
            Some(Fault::Refused) => None,
            Some(Fault::Unanswered) => {
                work(&mut books);
                None
            }
            None => Some(work(&mut books)),
        };
        let lost = || StoreFault { step: "answer", cause: "the connection broke".into() };
        Box::pin(async move {
            tokio::task::yield_now().await;
            answer.ok_or_else(lost)
        })
    }
}

impl BudgetStore for FaultyStore {
    fn lease(&self, _: Holder, requests: Vec<LeaseRequest>) -> StoreResult<Vec<Grant>> {
        self.answer(|books| {
            books.asked.push(requests.len());
            let one = |request: &LeaseRequest| {
                let room = request.cap - books.committed;
                let wanted = if room < request.needed { NanoUsd::ZERO } else { request.wanted.min(room) };
                let known = books.changes.get(&request.id).copied();
                let granted = known.unwrap_or(wanted);
                if known.is_none() {
                    books.committed += granted;
                    books.changes.insert(request.id, granted);
                }
                Grant { granted, left: request.cap - books.committed }
            };
            requests.iter().map(one).collect()
        })
    }

    fn give_back(&self, _: Holder, unspent: Vec<Change>) -> StoreResult<()> {
        self.answer(|books| {
            for change in unspent {
                if books.changes.insert(change.id, change.amount).is_none() {
                    books.committed -= change.amount;
                }
            }
        })
    }

    fn overdraw(&self, _: Holder, over: Vec<Change>) -> StoreResult<()> {
        self.answer(|books| {
            for change in over {
                if books.changes.insert(change.id, change.amount).is_none() {
                    books.committed += change.amount;
                }
            }
        })
    }

    fn forget_changes(&self, _: Holder, before: ChangeId) -> StoreResult<()> {
        self.answer(|books| books.changes.retain(|id, _| *id >= before))
    }

    fn committed(&self, _: Scope, _: Vec<BudgetWindow>) -> StoreResult<Vec<NanoUsd>> {
        self.answer(|_| Vec::new())
    }

    fn figures(&self, _: Scope, _: Vec<BudgetWindow>) -> StoreResult<Vec<Figures>> {
        self.answer(|_| Vec::new())
    }

    fn settled(&self, _: Scope, _: Option<Nid>, _: SpendQuery) -> StoreResult<Settled> {
        self.answer(|_| Settled::default())
    }

    fn settled_by_caller(&self, _: Scope, _: Nid, _: SpendQuery) -> StoreResult<Vec<(String, Settled)>> {
        self.answer(|_| Vec::new())
    }

    fn heartbeat(&self, _: Holder, _: Timestamp) -> StoreResult<()> {
        self.answer(|_| ())
    }

    fn bury(&self, _: Holder, _: Option<Timestamp>) -> StoreResult<u64> {
        self.answer(|_| 0)
    }

    fn alive(&self, _: Timestamp) -> StoreResult<u64> {
        self.answer(|_| 1)
    }

    fn retire(&self, _: Holder) -> StoreResult<()> {
        self.answer(|_| ())
    }
}

#[derive(Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_795_253_400_000)
    }

    fn monotonic_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct House {
    store: Arc<FaultyStore>,
    clock: Arc<SetClock>,
    keeper: BudgetKeeper,
    budget: Capped,
}

impl House {
    fn new() -> Self {
        let (store, clock) = (Arc::<FaultyStore>::default(), Arc::<SetClock>::default());
        let ports: (Arc<dyn BudgetStore>, Arc<dyn Clock>) = (store.clone(), clock.clone());
        let keeper = BudgetKeeper::new(ports.0, ports.1, Holder::default());
        let zone = Arc::new(ZoneClock::new(TimeZone::UTC, clock.now()));
        let cell = keeper.cell(Nid::SYSTEM, Owner::Caller("web".to_owned()), Period::Day, &zone);
        Self { store, clock, keeper, budget: Capped { cap: CAP, cell } }
    }

    async fn hold(&self, amount: NanoUsd) -> Result<super::Hold, NoBudget> {
        self.keeper.hold(vec![self.budget.clone()], amount).await
    }

    /// Lets so much time pass that money nobody touches is idle, and sweeps.
    async fn sweep_later(&self) -> Result<(), StoreFault> {
        self.sweep_after(1_000).await
    }

    async fn sweep_after(&self, seconds: u64) -> Result<(), StoreFault> {
        self.clock.0.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
        self.keeper.sweep().await
    }
}

#[tokio::test]
async fn idle_money_that_the_store_did_not_take_goes_back_at_the_next_round() {
    for fault in [Fault::Refused, Fault::Unanswered] {
        let house = House::new();
        house.hold(NanoUsd(1_000)).await.unwrap().settle(NanoUsd(400));
        house.store.fails_next(fault);
        assert!(house.sweep_later().await.is_err());
        house.sweep_later().await.unwrap();
        assert_eq!(house.store.committed(), NanoUsd(400), "what was spent, and no more or less");
        assert!(house.store.0.lock().changes.is_empty(), "and nothing is kept of it");
    }
}

#[tokio::test]
async fn an_overdraft_that_the_store_did_not_take_is_recorded_at_the_next_round() {
    for fault in [Fault::Refused, Fault::Unanswered] {
        let house = House::new();
        let hold = house.hold(CAP).await.unwrap();
        house.store.fails_next(fault);
        hold.settle(CAP + NanoUsd(7));
        // The first attempt runs on a task of its own; the fault is spent once it has been made.
        while !house.store.0.lock().faults.is_empty() {
            tokio::task::yield_now().await;
        }
        house.sweep_later().await.unwrap();
        assert_eq!(house.store.committed(), CAP + NanoUsd(7));
    }
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_neither_lost_nor_had_twice() {
    for fault in [Fault::Refused, Fault::Unanswered] {
        let house = House::new();
        house.store.fails_next(fault);
        assert!(matches!(house.hold(CAP).await, Err(NoBudget::Fault(_))));
        // All of the budget fits: nothing of the first grant is stranded.
        house.hold(CAP).await.unwrap().settle(NanoUsd(5));
        assert_eq!(house.store.committed(), CAP);
        house.sweep_later().await.unwrap();
        assert_eq!(house.store.committed(), NanoUsd(5));
    }
}

#[tokio::test]
async fn a_lost_lease_that_nobody_asks_for_again_is_found_and_given_back() {
    let house = House::new();
    house.store.fails_next(Fault::Unanswered);
    assert!(house.hold(CAP).await.is_err());
    assert_eq!(house.store.committed(), CAP);
    house.sweep_later().await.unwrap();
    house.sweep_later().await.unwrap();
    assert_eq!(house.store.committed(), NanoUsd::ZERO);
    assert!(house.store.0.lock().changes.is_empty());
}

#[tokio::test]
async fn what_a_lower_cap_sets_free_is_given_back_once_even_if_the_answer_is_lost() {
    for fault in [Fault::Refused, Fault::Unanswered] {
        let mut house = House::new();
        let running = house.hold(NanoUsd(1_000)).await.unwrap();
        house.budget.cap = NanoUsd(2_000_000);
        house.store.fails_next(fault);
        // More than is free under the lower cap: the surplus goes back before more is leased.
        assert!(matches!(house.hold(NanoUsd(1_500_000)).await, Err(NoBudget::Fault(_))));
        let more = house.hold(NanoUsd(1_500_000)).await.unwrap();
        assert!(house.store.committed() <= NanoUsd(2_000_000));
        running.settle(NanoUsd(1_000));
        more.settle(NanoUsd(1_500_000));
        house.sweep_later().await.unwrap();
        assert_eq!(house.store.committed(), NanoUsd(1_501_000));
    }
}

#[tokio::test]
async fn idle_money_goes_back_soon_only_when_others_may_need_it() {
    let house = House::new();
    house.hold(NanoUsd(1_000)).await.unwrap().settle(NanoUsd(400));
    house.sweep_after(60).await.unwrap();
    assert!(house.store.committed() > NanoUsd(400), "the store has plenty: the key may come back");
    house.sweep_after(900).await.unwrap();
    assert_eq!(house.store.committed(), NanoUsd(400));

    let scarce = House::new();
    scarce.hold(NanoUsd(60_000_000)).await.unwrap().settle(NanoUsd(400));
    scarce.sweep_after(60).await.unwrap();
    assert_eq!(scarce.store.committed(), NanoUsd(400));
}

#[tokio::test]
async fn leases_asked_for_at_the_same_time_share_a_transaction() {
    let house = House::new();
    let zone = Arc::new(ZoneClock::new(TimeZone::UTC, house.clock.now()));
    let capped = |name: String, period| {
        let cell = house.keeper.cell(Nid::SYSTEM, Owner::Caller(name), period, &zone);
        // The double keeps one book for all.
        Capped { cap: NanoUsd(100_000_000_000), cell }
    };
    let calls: Vec<_> = (0..20)
        .map(|number| {
            let budgets = [Period::Day, Period::Month].map(|period| capped(format!("app-{number}"), period));
            let keeper = house.keeper.clone();
            tokio::spawn(async move { keeper.hold(budgets.to_vec(), NanoUsd(10)).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let asked = house.store.0.lock().asked.clone();
    assert_eq!(asked.iter().sum::<usize>(), 40, "{asked:?}");
    assert!(asked.len() <= 4, "{asked:?}");
}

#[tokio::test]
async fn a_budget_is_noted_once_when_little_may_be_left_and_once_when_it_refuses() {
    let house = House::new();
    let part = |percent: i64| NanoUsd(CAP.0 / 100 * percent);
    house.hold(part(79)).await.unwrap().settle(part(79));
    assert_eq!(house.keeper.take_notes(), []);
    house.hold(part(1)).await.unwrap().settle(part(1));
    house.hold(part(1)).await.unwrap().settle(part(1));
    let noted: Vec<_> = house.keeper.take_notes().into_iter().map(|note| (note.cap, note.refused)).collect();
    assert_eq!(noted, [(CAP, false)]);

    assert!(house.hold(CAP + NanoUsd(1)).await.is_err());
    assert_eq!(house.keeper.take_notes(), [], "it would not fit into an empty budget either");
    assert!(house.hold(part(50)).await.is_err());
    assert!(house.hold(part(50)).await.is_err());
    let noted: Vec<_> = house.keeper.take_notes().into_iter().map(|note| (note.cap, note.refused)).collect();
    assert_eq!(noted, [(CAP, true)]);
}
