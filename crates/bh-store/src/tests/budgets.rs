//! Leases, and the ledger.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bh_app::ports::{
    Batch, BudgetStore as _, BudgetWindow, Change, ChangeId, EvidenceStore as _, Figures, Grant, Holder,
    LeaseRequest, Settled, SpendDelta, SpendQuery,
};
use bh_domain::budget::{Owner, SESSION_WINDOW};
use bh_domain::money::NanoUsd;
use bh_domain::price::TokenCounts;
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, caller, holder, nid, spent, system};

const DAY: &str = "2026-11-21";
const MONTH: &str = "2026-11";

fn window(owner: Owner, window: &str) -> BudgetWindow {
    BudgetWindow { nid: nid(1), owner, window: window.to_owned() }
}

/// A change's id that no other one of the test has.
fn next_id() -> ChangeId {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn change(budget: BudgetWindow, amount: i64) -> Change {
    Change { id: next_id(), budget, amount: NanoUsd(amount) }
}

fn wish(budget: BudgetWindow, cap: i64, needed: i64, wanted: i64) -> LeaseRequest {
    let (cap, needed, wanted) = (NanoUsd(cap), NanoUsd(needed), NanoUsd(wanted));
    LeaseRequest { id: next_id(), budget, cap, needed, wanted, first: false }
}

fn granted(granted: i64, left: i64) -> Grant {
    Grant { granted: NanoUsd(granted), left: NanoUsd(left) }
}

fn figures(settled: i64, leased: i64, unsettled: i64) -> Figures {
    Figures { settled: NanoUsd(settled), leased: NanoUsd(leased), unsettled: NanoUsd(unsettled) }
}

impl Fixture {
    async fn settle(&self, holder: Holder, spend: Vec<SpendDelta>) {
        self.store.append(Arc::new(Batch { holder, spend, ..Batch::default() })).await.unwrap();
    }

    async fn lease(&self, holder: Holder, request: LeaseRequest) -> Grant {
        self.store.lease(holder, vec![request]).await.unwrap()[0]
    }

    async fn figures(&self, budget: BudgetWindow) -> Figures {
        self.store.figures(system(), vec![budget]).await.unwrap()[0]
    }
}

on_both_stores! {
    async fn a_grant_is_what_fits_and_never_less_than_needed(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(caller("web"), DAY);
        let (p, q) = (holder(1), holder(2));
        assert_eq!(fixture.lease(p, wish(budget(), 100, 10, 60)).await, granted(60, 40));
        assert_eq!(fixture.lease(q, wish(budget(), 100, 41, 60)).await, granted(0, 40));
        assert_eq!(fixture.lease(q, wish(budget(), 100, 10, 60)).await, granted(40, 0));
        assert_eq!(fixture.lease(q, wish(budget(), 50, 1, 1)).await, granted(0, 0), "the cap was lowered");
        assert_eq!(fixture.figures(budget()).await, figures(0, 100, 0));
        let both = vec![wish(window(Owner::Tenant, DAY), 9, 5, 5), wish(window(caller("a"), DAY), 7, 7, 7)];
        assert_eq!(fixture.store.lease(p, both).await.unwrap(), [granted(5, 4), granted(7, 0)]);
    }

    async fn what_is_committed_is_told_of_each_budget_in_the_order_asked(kind) {
        let fixture = Fixture::new(kind).await;
        let (web, tenant) = (|| window(caller("web"), DAY), || window(Owner::Tenant, MONTH));
        fixture.lease(holder(1), wish(web(), 100, 10, 60)).await;
        fixture.lease(holder(2), wish(web(), 100, 10, 30)).await;
        fixture.lease(holder(2), wish(tenant(), 100, 7, 7)).await;
        fixture.settle(holder(1), vec![spent(nid(1), caller("web"), DAY, 20)]).await;
        let asked = || vec![tenant(), window(caller("nobody"), DAY), web(), tenant()];
        let told = async |scope| fixture.store.committed(scope, asked()).await.unwrap();
        assert_eq!(told(system()).await, [7, 0, 90, 7].map(NanoUsd));
        assert_eq!(told(Scope::tenant(nid(1))).await, [7, 0, 90, 7].map(NanoUsd));
        assert_eq!(told(Scope::tenant(nid(2))).await, [0; 4].map(NanoUsd), "no tenant is told of another");
    }

    async fn money_given_back_can_be_leased_again_but_no_more_than_was_out(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(caller("web"), DAY);
        let p = holder(1);
        fixture.lease(p, wish(budget(), 100, 1, 100)).await;
        fixture.settle(p, vec![spent(nid(1), caller("web"), DAY, 30)]).await;
        fixture.store.give_back(p, vec![change(budget(), 20)]).await.unwrap();
        assert_eq!(fixture.figures(budget()).await, figures(30, 50, 0));
        fixture.store.give_back(p, vec![change(budget(), 1_000)]).await.unwrap();
        assert_eq!(fixture.figures(budget()).await, figures(30, 0, 0));
        assert_eq!(fixture.lease(holder(2), wish(budget(), 100, 1, 100)).await, granted(70, 0));
    }

    async fn a_change_that_is_asked_for_again_is_made_once(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(caller("web"), DAY);
        let p = holder(1);
        let lease = wish(budget(), 100, 10, 60);
        for _ in 0..2 {
            assert_eq!(fixture.lease(p, lease.clone()).await, granted(60, 40), "the same grant, not another one");
        }
        assert_eq!(fixture.figures(budget()).await, figures(0, 60, 0));
        let (over, back) = (change(budget(), 5), change(budget(), 20));
        for _ in 0..2 {
            fixture.store.overdraw(p, vec![over.clone()]).await.unwrap();
            fixture.store.give_back(p, vec![back.clone()]).await.unwrap();
        }
        assert_eq!(fixture.figures(budget()).await, figures(0, 45, 0));
        assert_eq!(fixture.lease(holder(2), LeaseRequest { id: lease.id, ..wish(budget(), 100, 1, 100) }).await, granted(55, 0), "another process has ids of its own");
        // Forgotten, it is a new one.
        fixture.store.forget_changes(p, back.id).await.unwrap();
        fixture.store.give_back(p, vec![back]).await.unwrap();
        assert_eq!(fixture.figures(budget()).await, figures(0, 100, 0), "not forgotten yet");
        fixture.store.overdraw(p, vec![over]).await.unwrap();
        assert_eq!(fixture.figures(budget()).await, figures(0, 105, 0));
    }

    async fn requests_decided_together_are_decided_as_they_would_be_one_after_the_other(kind) {
        let (together, alone) = (Fixture::new(kind).await, Fixture::new(kind).await);
        let (asking, other) = (holder(1), holder(2));
        let owners = [(Owner::Tenant, DAY), (Owner::Tenant, MONTH), (caller("a"), DAY), (caller("b"), MONTH)];
        let session = (Owner::Session { caller: "a".to_owned(), id: "s".to_owned() }, SESSION_WINDOW);
        let budgets = owners.into_iter().chain([session]).map(|(owner, of)| window(owner, of));
        let budgets: Vec<BudgetWindow> = budgets.collect();
        let again = wish(budgets[2].clone(), 2_000, 5, 50);
        let mut requests = vec![again.clone()];
        for budget in &budgets {
            requests.push(LeaseRequest { first: true, ..wish(budget.clone(), 2_000, 10, 100) });
        }
        // A window that comes up again, and one that cannot hold what is asked of it.
        requests.push(wish(budgets[3].clone(), 2_000, 10, 1_800));
        requests.push(wish(budgets[0].clone(), 2_000, 1_990, 1_990));
        for fixture in [&together, &alone] {
            for (process, owner, day, cost) in
                [(asking, "a", DAY, 30), (other, "a", DAY, 40), (other, "b", "2026-11-02", 50), (other, "b", DAY, 7)]
            {
                fixture.settle(process, vec![spent(nid(1), caller(owner), day, cost)]).await;
            }
            fixture.lease(other, wish(budgets[2].clone(), 2_000, 1, 300)).await;
            assert_eq!(fixture.lease(asking, again.clone()).await.granted, NanoUsd(50));
        }
        let mut expected = Vec::new();
        for request in &requests {
            expected.push(alone.lease(asking, request.clone()).await);
        }
        assert_eq!(together.store.lease(asking, requests).await.unwrap(), expected);
        let refused = expected.iter().filter(|grant| grant.granted == NanoUsd::ZERO).count();
        assert_eq!((refused, expected[0].granted), (1, NanoUsd(50)), "{expected:?}");
        for budget in budgets {
            assert_eq!(together.figures(budget.clone()).await, alone.figures(budget).await);
        }
    }

    async fn an_overdraft_counts_against_everybody(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(caller("web"), DAY);
        let p = holder(1);
        fixture.lease(p, wish(budget(), 100, 1, 90)).await;
        fixture.store.overdraw(p, vec![change(budget(), 25)]).await.unwrap();
        fixture.settle(p, vec![spent(nid(1), caller("web"), DAY, 115)]).await;
        assert_eq!(fixture.lease(holder(2), wish(budget(), 120, 1, 50)).await, granted(5, 0));
        assert_eq!(fixture.figures(budget()).await, figures(115, 5, 0));
    }

    async fn a_first_lease_counts_what_was_spent_while_there_was_no_cap(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(Owner::Tenant, MONTH);
        let (p, q) = (holder(1), holder(2));
        fixture.settle(p, vec![
            spent(nid(1), caller("web"), "2026-11-01", 10),
            spent(nid(1), caller("app"), "2026-11-30", 20),
            spent(nid(1), caller("web"), "2026-10-31", 500),
            spent(nid(1), Owner::Session { caller: "web".to_owned(), id: "s".to_owned() }, SESSION_WINDOW, 500),
        ]).await;
        fixture.settle(q, vec![spent(nid(1), caller("web"), "2026-11-02", 5)]).await;
        let first = |cap| LeaseRequest { first: true, ..wish(budget(), cap, 1, 1_000) };
        assert_eq!(fixture.lease(p, first(100)).await, granted(65, 0));
        assert_eq!(fixture.figures(budget()).await, figures(35, 65, 0));
        // Asked once more after a restart of the budget: nothing is counted twice.
        assert_eq!(fixture.lease(q, first(100)).await, granted(0, 0));
        assert_eq!(fixture.lease(q, first(110)).await, granted(10, 0));
        assert_eq!(fixture.figures(budget()).await, figures(35, 75, 0));
    }

    async fn what_a_dead_process_left_counts_until_it_comes_back(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(Owner::Organization, DAY);
        let (p, q) = (holder(1), holder(2));
        fixture.store.heartbeat(p, Timestamp(1_000)).await.unwrap();
        fixture.store.heartbeat(q, Timestamp(5_000)).await.unwrap();
        fixture.lease(p, wish(budget(), 100, 1, 60)).await;
        fixture.settle(p, vec![spent(nid(1), Owner::Organization, DAY, 10)]).await;
        let alive = async |since| fixture.store.alive(Timestamp(since)).await.unwrap();
        assert_eq!((alive(1_000).await, alive(1_001).await, alive(5_001).await), (2, 1, 0));
        assert_eq!(fixture.store.bury(q, Some(Timestamp(1_000))).await.unwrap(), 0);
        assert_eq!(fixture.store.bury(q, Some(Timestamp(1_001))).await.unwrap(), 1);
        assert_eq!(fixture.store.bury(q, Some(Timestamp(1_001))).await.unwrap(), 0);
        assert_eq!(alive(1_000).await, 1);
        assert_eq!(fixture.figures(budget()).await, figures(10, 0, 50));
        assert_eq!(fixture.lease(q, wish(budget(), 100, 1, 60)).await, granted(40, 0));
        fixture.store.heartbeat(p, Timestamp(9_000)).await.unwrap();
        assert_eq!(fixture.figures(budget()).await, figures(10, 90, 0));
        assert_eq!(fixture.store.bury(q, None).await.unwrap(), 1);
        assert_eq!(fixture.figures(budget()).await, figures(10, 40, 50));
    }

    async fn a_process_that_ends_in_good_order_leaves_nothing_out(kind) {
        let fixture = Fixture::new(kind).await;
        let (day, month) = (|| window(caller("web"), DAY), || window(caller("web"), MONTH));
        let p = holder(1);
        fixture.store.lease(p, vec![wish(day(), 100, 1, 80), wish(month(), 100, 1, 90)]).await.unwrap();
        fixture.settle(p, vec![spent(nid(1), caller("web"), DAY, 30)]).await;
        fixture.store.retire(p).await.unwrap();
        assert_eq!(fixture.store.bury(holder(2), None).await.unwrap(), 0, "it is gone, not dead");
        for budget in [day, month] {
            assert_eq!(fixture.figures(budget()).await, figures(30, 0, 0));
            assert_eq!(fixture.lease(holder(2), wish(budget(), 100, 1, 100)).await, granted(70, 0));
        }
    }

    async fn concurrent_leases_never_pass_the_cap(kind) {
        const CAP: i64 = 1_000;
        let fixture = Fixture::new(kind).await;
        let mut tasks = Vec::new();
        for process in 1..=3 {
            let store = fixture.another_process().await;
            for turn in 0..12 {
                let store = store.clone();
                tasks.push(tokio::spawn(async move {
                    // Both budgets, in either order: whoever locks in the order asked would wait in a circle.
                    let mut wishes = vec![
                        wish(window(caller("web"), DAY), CAP, 20, 40),
                        wish(window(Owner::Tenant, DAY), CAP, 20, 40),
                    ];
                    if turn % 2 == 0 {
                        wishes.reverse();
                    }
                    let grants = store.lease(holder(process), wishes).await.unwrap();
                    grants.iter().map(|grant| grant.granted.0).sum::<i64>()
                }));
            }
        }
        let mut total = 0;
        for task in tasks {
            total += task.await.unwrap();
        }
        assert_eq!(total, 2 * CAP, "36 wishes of 40 in each of two budgets: exactly what fits");
        for budget in [window(caller("web"), DAY), window(Owner::Tenant, DAY)] {
            assert_eq!(fixture.figures(budget).await, figures(0, CAP, 0));
        }
    }

    async fn sums_are_those_of_callers_within_the_scope(kind) {
        let fixture = Fixture::new(kind).await;
        let (a, b) = (nid(1), nid(2));
        for process in [holder(1), holder(2)] {
            fixture.settle(process, vec![
                spent(a, caller("web"), "2026-11-20", 1),
                spent(a, caller("app"), DAY, 10),
                spent(b, caller("web"), DAY, 100),
                spent(Nid::SYSTEM, Owner::Organization, DAY, 1_000),
            ]).await;
        }
        let query = |name: Option<&str>| SpendQuery {
            caller: name.map(str::to_owned),
            from_day: "2026-11-01".to_owned(),
            to_day: DAY.to_owned(),
        };
        let sums = |rows: u64, cost| Settled {
            calls: rows,
            denied: 2 * rows,
            failed: 3 * rows,
            tokens: TokenCounts {
                input: 4 * rows,
                output: 5 * rows,
                cache_read: 6 * rows,
                cache_write: 7 * rows,
                reasoning: 8 * rows,
            },
            cost: NanoUsd(cost),
        };
        let settled = async |scope, nid, name| fixture.store.settled(scope, nid, query(name)).await.unwrap();
        assert_eq!(settled(Scope::tenant(a), Some(a), None).await, sums(4, 22));
        assert_eq!(settled(Scope::tenant(a), None, Some("app")).await, sums(2, 20));
        assert_eq!(settled(Scope::tenant(a), Some(b), None).await, sums(0, 0));
        assert_eq!(settled(system(), None, None).await, sums(6, 222));
        assert_eq!(settled(system(), None, Some("web")).await, sums(4, 202));
        let by_caller = async |scope| fixture.store.settled_by_caller(scope, a, query(None)).await.unwrap();
        let both = [("app".to_owned(), sums(2, 20)), ("web".to_owned(), sums(2, 2))];
        assert_eq!(by_caller(Scope::tenant(a)).await, both);
        assert_eq!(by_caller(Scope::tenant(b)).await, []);
    }

    async fn a_tenant_sees_no_budget_but_its_own(kind) {
        let fixture = Fixture::new(kind).await;
        let budget = || window(caller("web"), DAY);
        fixture.store.heartbeat(holder(1), Timestamp(1)).await.unwrap();
        fixture.lease(holder(1), wish(budget(), 100, 1, 60)).await;
        fixture.store.bury(holder(2), None).await.unwrap();
        for (scope, expected) in [(nid(1), figures(0, 0, 60)), (nid(2), figures(0, 0, 0))] {
            let seen = fixture.store.figures(Scope::tenant(scope), vec![budget()]).await.unwrap();
            assert_eq!(seen, [expected]);
        }
    }

    async fn a_session_has_a_budget_for_as_long_as_it_lives(kind) {
        let fixture = Fixture::new(kind).await;
        let session = || Owner::Session { caller: "web".to_owned(), id: "s-1".to_owned() };
        let p = holder(1);
        fixture.lease(p, wish(window(session(), SESSION_WINDOW), 50, 1, 50)).await;
        fixture.settle(p, vec![spent(nid(1), session(), SESSION_WINDOW, 20)]).await;
        assert_eq!(fixture.figures(window(session(), SESSION_WINDOW)).await, figures(20, 30, 0));
    }
}
