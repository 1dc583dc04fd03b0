//! What one process does for all of them, and what dead ones leave.

use bh_app::ports::{BudgetStore as _, BudgetWindow, Change, Figures, LeaseRequest, TenantStore as _};
use bh_domain::budget::{Owner, SESSION_WINDOW};
use bh_domain::money::NanoUsd;
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, caller, holder, nid, system};

const JOB: &str = "housekeeping";
/// A day and a month that are over, and ones that are not, when everything before [`DAY`] is forgotten.
const WINDOWS: [(&str, bool); 5] = [
    ("2026-10-11", true),
    ("2026-09", true),
    ("2026-10-12", false),
    ("2026-10", false),
    (SESSION_WINDOW, false),
];
const DAY: &str = "2026-10-12";
const SEEN_BEFORE: Timestamp = Timestamp(1_000);

impl Fixture {
    async fn budget_of(&self, process: u128, window: &str, id: u64) -> BudgetWindow {
        let owner = if window == SESSION_WINDOW {
            Owner::Session { caller: "web".to_owned(), id: "s".to_owned() }
        } else {
            caller("web")
        };
        let budget = BudgetWindow { nid: nid(1), owner, window: window.to_owned() };
        let (cap, needed, wanted) = (NanoUsd(1_000), NanoUsd(10), NanoUsd(10));
        let wish = LeaseRequest { id, budget: budget.clone(), cap, needed, wanted, first: false };
        self.store.lease(holder(process), vec![wish]).await.unwrap();
        budget
    }

    async fn unsettled(&self, budget: BudgetWindow) -> NanoUsd {
        let figures: Figures = self.store.figures(system(), vec![budget]).await.unwrap()[0];
        figures.unsettled
    }
}

on_both_stores! {
    async fn a_job_is_done_by_one_process_at_a_time(kind) {
        let fixture = Fixture::new(kind).await;
        let other = fixture.another_process().await;
        let (p, q) = (holder(1), holder(2));
        let claim = async |store: &crate::SqlStore, holder, now, until| {
            store.claim(JOB, holder, Timestamp(now), Timestamp(until)).await.unwrap()
        };
        assert!(claim(&fixture.store, p, 100, 160).await, "nobody has it");
        assert!(!claim(&other, q, 120, 180).await, "it is taken");
        assert!(claim(&fixture.store, p, 120, 180).await, "kept for longer");
        assert!(!claim(&other, q, 179, 240).await);
        assert!(claim(&other, q, 181, 240).await, "whoever had it did not renew it");
        assert!(!claim(&fixture.store, p, 190, 250).await);
        assert!(!claim(&fixture.store, p, 190, 0).await, "only who has it lets it go");
        assert!(claim(&other, q, 200, 0).await);
        assert!(claim(&fixture.store, p, 200, 260).await, "let go");
    }

    async fn of_dead_processes_and_past_windows_only_what_still_counts_is_kept(kind) {
        let fixture = Fixture::new(kind).await;
        let store = &fixture.store;
        for (process, seen) in [(1, 10), (2, 10), (3, 2_000), (4, 10)] {
            store.heartbeat(holder(process), Timestamp(seen)).await.unwrap();
        }
        // Process 1 has died with leases of every kind, 2 with a lease in a window that is over, 3 just now.
        let mut budgets = Vec::new();
        for (id, (window, _)) in (1..).zip(WINDOWS) {
            budgets.push(fixture.budget_of(1, window, id).await);
        }
        fixture.budget_of(2, "2026-10-11", 1).await;
        fixture.budget_of(3, "2026-10-11", 1).await;
        let change = Change { id: 7, budget: budgets[2].clone(), amount: NanoUsd(1) };
        store.give_back(holder(4), vec![change]).await.unwrap();
        assert_eq!(store.bury(holder(4), None).await.unwrap(), 3);

        let (windows, leases, changes, processes) = (2, 4, 6, 1);
        let forgotten = store.forget_dead(DAY.to_owned(), SEEN_BEFORE).await.unwrap();
        assert_eq!(forgotten, windows + leases + changes + processes);
        assert_eq!(fixture.count("SELECT COUNT(*) FROM budget_windows").await, 3, "those that are not over");
        for (budget, (window, over)) in budgets.into_iter().zip(WINDOWS) {
            let kept = if over { NanoUsd::ZERO } else { NanoUsd(10) };
            assert_eq!(fixture.unsettled(budget).await, kept, "{window}");
        }
        assert_eq!(fixture.count("SELECT COUNT(*) FROM holders").await, 3, "process 1 has leases, 3 died just now");
        assert_eq!(fixture.count("SELECT COUNT(*) FROM budget_changes").await, 2, "those of 3 and 4");
        assert_eq!(store.forget_dead(DAY.to_owned(), SEEN_BEFORE).await.unwrap(), 0, "nothing is left to forget");
    }
}
