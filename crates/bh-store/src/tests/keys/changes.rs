//! Changing a key: whoever read what is there wins, whole or not at all.

use std::sync::Arc;
use std::time::Duration;

use bh_app::ports::{CreditsChange, CreditsDue, CreditsWanted, KeyStore as _, KeyUse};
use bh_domain::keys::credits::CREDITS_MAX;
use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::{DAY_MS, Timestamp};
use bh_testkit::{Store, on_both_stores};
use tokio::sync::Barrier;
use tokio::time::timeout;

use super::super::fixture::{Fixture, nid, system};
use super::{
    BOTH, DEADLINE, any_event, full, id, imported, issued, key, other_tenant, revoked, tenant, wanted,
};
use crate::keys::statements::beside;

on_both_stores! {
    async fn a_change_replaces_what_it_may_and_leaves_what_others_change(kind) {
        let fixture = Fixture::new(kind).await;
        for kind in BOTH {
            let before = Key { credits: Some(5), last_used: Some(Timestamp(1)), ..key(kind, 7) };
            fixture.insert(before.clone()).await;
            let after = Key { revision: 1, ..full(kind) };
            assert!(fixture.store.replace(tenant(), after.clone(), 1, any_event()).await.unwrap());
            let expected = Key {
                revision: 2,
                credits: before.credits,
                refills: before.refills,
                last_used: before.last_used,
                request_id: before.request_id,
                token_prefix: before.token_prefix,
                version: before.version,
                secret_digest: before.secret_digest,
                ..after.clone()
            };
            assert!(fixture.key(kind, 7).await == Some(expected), "{kind:?}");
            let replace = async |scope, revision| {
                fixture.store.replace(scope, after.clone(), revision, any_event()).await.unwrap()
            };
            let events = fixture.events().await;
            assert!(!replace(tenant(), 1).await, "it was changed meanwhile");
            assert!(!replace(other_tenant(), 2).await, "another tenant has no such key");
            assert_eq!(fixture.events().await, events);
        }
        assert_eq!(fixture.live().await, 0);
    }

    async fn of_changes_to_one_revision_one_is_made(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.insert(issued(1)).await;
        let (stores, start) = (fixture.processes().await, Arc::new(Barrier::new(12)));
        let tasks: Vec<_> = (0..12_usize).map(|turn| {
            let (store, start) = (stores[turn % 2].clone(), Arc::clone(&start));
            let mut key = Key { name: format!("turn {turn}"), ..issued(1) };
            if turn % 3 == 0 {
                key = revoked(key);
            }
            tokio::spawn(async move {
                start.wait().await;
                store.replace(tenant(), key.clone(), 1, any_event()).await.unwrap().then_some(key)
            })
        }).collect();
        let mut made = Vec::new();
        for task in tasks {
            made.extend(task.await.unwrap());
        }
        let [winner] = &made[..] else { panic!("{made:?}") };
        assert_eq!(fixture.live().await, u64::from(winner.counts()));
        assert_eq!(fixture.key(KeyKind::Issued, 1).await, Some(Key { revision: 2, ..winner.clone() }));
        assert_eq!(fixture.events().await, 2);
    }

    async fn a_rotation_is_made_whole_or_not_at_all(kind) {
        let fixture = Fixture::new(kind).await;
        let old = Key { credits: Some(10), ..issued(1) };
        let new = Key { credits: Some(10), ..issued(2) };
        fixture.insert(old.clone()).await;
        fixture.insert(issued(3)).await;
        let rotate = async |new: &Key, revision| {
            let old = revoked(old.clone());
            fixture.store.rotate(tenant(), new.clone(), old, revision, any_event()).await.unwrap()
        };
        assert_eq!(rotate(&new, 7).await, None, "the old key is at revision 1");
        assert_eq!(rotate(&issued(3), 1).await, None, "that id is taken");
        assert_eq!(fixture.key(KeyKind::Issued, 1).await, Some(old.clone()));
        assert_eq!(fixture.key(KeyKind::Issued, 2).await, None);
        assert_eq!((fixture.live().await, fixture.events().await), (2, 2));

        let spent = fixture.store.spend_credits(tenant(), KeyKind::Issued, id(1), 3, CreditsDue::default()).await.unwrap();
        assert_eq!(spent, Some(7), "between the reading and the rotation");
        let moved = Key { credits: Some(7), ..new.clone() };
        assert_eq!(rotate(&new, 1).await, Some(moved.clone()), "what was moved is told");
        let left_behind = Key { credits: Some(0), revision: 2, ..revoked(old.clone()) };
        assert_eq!(fixture.key(KeyKind::Issued, 1).await, Some(left_behind));
        assert_eq!(fixture.key(KeyKind::Issued, 2).await, Some(moved));
        assert_eq!((fixture.live().await, fixture.events().await), (2, 3));
        assert_eq!(rotate(&issued(4), 1).await, None, "once");
    }

    async fn a_rotation_moves_the_credits_of_the_row_and_not_those_that_were_read(kind) {
        let fixture = Fixture::new(kind).await;
        for (number, change) in [(1, CreditsChange::Set(None)), (3, CreditsChange::Set(Some(4)))] {
            let old = Key { credits: Some(10), refills: Some(Timestamp(9)), ..issued(number) };
            fixture.insert(old.clone()).await;
            let wanted = wanted(change, CreditsDue::default());
            let changed = fixture.store.set_credits(tenant(), KeyKind::Issued, id(number), wanted, any_event()).await;
            assert!(changed.unwrap(), "between the reading and the rotation");
            let new = Key { credits: Some(10), refills: Some(Timestamp(9)), ..issued(number + 1) };
            let moved = fixture.store.rotate(tenant(), new.clone(), revoked(old), 1, any_event()).await.unwrap();
            let CreditsChange::Set(credits) = change else { panic!() };
            let wanted = Key { credits, refills: None, ..new };
            assert_eq!(moved, Some(wanted.clone()));
            assert_eq!(fixture.key(KeyKind::Issued, number + 1).await, Some(wanted));
        }
    }

    async fn a_rotation_with_a_time_of_grace_counts_both_keys(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.insert(issued(1)).await;
        let old = Key { expires: Some(Timestamp(50)), ..issued(1) };
        assert!(fixture.store.rotate(tenant(), issued(2), old, 1, any_event()).await.unwrap().is_some());
        assert_eq!(fixture.live().await, 2);
    }

    async fn only_its_tenant_deletes_a_key(kind) {
        let fixture = Fixture::new(kind).await;
        for kind in BOTH {
            fixture.insert(key(kind, 1)).await;
            let delete =
                async |scope| fixture.store.delete(scope, kind, id(1), any_event()).await.unwrap();
            assert!(!delete(other_tenant()).await);
            assert_eq!(fixture.key(kind, 1).await, Some(key(kind, 1)));
            assert!(delete(tenant()).await);
            assert_eq!(fixture.key(kind, 1).await, None);
        }
        assert_eq!((fixture.live().await, fixture.events().await), (0, 4));
    }

    async fn credits_are_spent_to_zero_and_never_beyond(kind) {
        let fixture = Fixture::new(kind).await;
        for kind in BOTH {
            fixture.insert(Key { credits: Some(100), ..key(kind, 1) }).await;
            let (stores, start) = (fixture.processes().await, Arc::new(Barrier::new(20)));
            let tasks: Vec<_> = (0..20_usize).map(|turn| {
                let (store, start) = (stores[turn % 2].clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait().await;
                    store.spend_credits(tenant(), kind, id(1), 7, CreditsDue::default()).await.unwrap()
                })
            }).collect();
            let mut left = Vec::new();
            for task in tasks {
                left.extend(task.await.unwrap());
            }
            left.sort_unstable();
            assert_eq!(left, (0..14).map(|spent| 2 + 7 * spent).collect::<Vec<_>>());
            let spend =
                async |scope, cost| fixture.store.spend_credits(scope, kind, id(1), cost, CreditsDue::default()).await.unwrap();
            assert_eq!((spend(tenant(), 3).await, spend(tenant(), u64::MAX).await), (None, None));
            assert_eq!(spend(other_tenant(), 1).await, None);
            assert_eq!((spend(tenant(), 2).await, spend(tenant(), 0).await), (Some(0), Some(0)));
        }
    }

    async fn credits_are_changed_only_while_the_key_is_as_it_was_read(kind) {
        let fixture = Fixture::new(kind).await;
        let old = Key { credits: Some(10), ..issued(1) };
        fixture.insert(old.clone()).await;
        assert!(fixture.store.rotate(tenant(), issued(2), old, 1, any_event()).await.unwrap().is_some());
        for change in [CreditsChange::Set(Some(5)), CreditsChange::Add(5), CreditsChange::Set(None)] {
            let late = wanted(change, CreditsDue::default());
            let changed = fixture.store.set_credits(tenant(), KeyKind::Issued, id(1), late, any_event()).await;
            assert!(!changed.unwrap(), "it was rotated since: {change:?}");
            assert_eq!(fixture.key(KeyKind::Issued, 1).await.unwrap().credits, Some(0));
            let now = CreditsWanted { expected_revision: 2, ..late };
            assert!(fixture.store.set_credits(tenant(), KeyKind::Issued, id(1), now, any_event()).await.unwrap());
            let back = CreditsWanted { change: CreditsChange::Set(Some(0)), ..now };
            assert!(fixture.store.set_credits(tenant(), KeyKind::Issued, id(1), back, any_event()).await.unwrap());
        }
    }

    async fn credits_are_set_and_taken_away(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.insert(issued(1)).await;
        let set = async |scope, credits| {
            fixture.store.set_credits(scope, KeyKind::Issued, id(1), wanted(CreditsChange::Set(credits), CreditsDue::default()), any_event()).await.unwrap()
        };
        let spend =
            async || fixture.store.spend_credits(tenant(), KeyKind::Issued, id(1), 1, CreditsDue::default()).await.unwrap();
        assert_eq!(spend().await, None, "it has any number");
        assert!(set(tenant(), Some(2)).await && !set(other_tenant(), Some(9)).await);
        assert_eq!(spend().await, Some(1));
        assert!(set(tenant(), None).await);
        assert_eq!(fixture.key(KeyKind::Issued, 1).await, Some(issued(1)));
        assert_eq!(fixture.events().await, 3);
    }

    async fn credits_are_refilled_when_that_is_due_and_once(kind) {
        let fixture = Fixture::new(kind).await;
        for kind in BOTH {
            let key = Key { credits: Some(1), refills: Some(Timestamp(100)), ..key(kind, 1) };
            fixture.insert(key).await;
            let due = |now| CreditsDue { now: Timestamp(now), refill: Some((5, Timestamp(200))) };
            let spend = async |now, cost| {
                fixture.store.spend_credits(tenant(), kind, id(1), cost, due(now)).await.unwrap()
            };
            let kept = async || {
                let key = fixture.key(kind, 1).await.unwrap();
                (key.credits, key.refills)
            };
            assert_eq!((spend(99, 1).await, spend(99, 1).await), (Some(0), None));
            assert_eq!((spend(100, 6).await, kept().await), (None, (Some(0), Some(Timestamp(100)))));
            assert_eq!((spend(100, 2).await, kept().await), (Some(3), (Some(3), Some(Timestamp(200)))));
            assert_eq!(spend(199, 2).await, Some(1), "not again before the next time");
            let change = async |now, change| {
                fixture.store.set_credits(tenant(), kind, id(1), wanted(change, due(now)), any_event()).await.unwrap()
            };
            assert!(change(199, CreditsChange::Add(3)).await);
            assert_eq!(kept().await, (Some(4), Some(Timestamp(200))));
            assert!(change(200, CreditsChange::Add(-9)).await);
            assert_eq!(kept().await, (Some(0), Some(Timestamp(200))), "five, and nine less");
            assert!(!change(1, CreditsChange::Add(CREDITS_MAX + 1)).await);
            assert!(change(1, CreditsChange::Set(None)).await);
            assert_eq!(kept().await, (None, None));
            assert!(!change(1, CreditsChange::Add(1)).await, "it has any number");
        }
    }

    async fn a_use_is_remembered_once_a_day(kind) {
        let fixture = Fixture::new(kind).await;
        for key in [issued(1), imported(1), issued(2)] {
            fixture.insert(key).await;
        }
        let used = |tenant, kind, number, at| {
            KeyUse { nid: nid(tenant), kind, key_id: id(number), at: Timestamp(at) }
        };
        let touch = async |scope, uses| fixture.store.touch(scope, uses).await.unwrap();
        let last = async |kind| fixture.key(kind, 1).await.unwrap().last_used;
        let (morning, evening) = (10 * DAY_MS, 11 * DAY_MS - 1);
        let uses = vec![
            used(1, KeyKind::Issued, 1, 9 * DAY_MS),
            used(1, KeyKind::Issued, 1, morning),
            used(1, KeyKind::Issued, 1, 8 * DAY_MS),
            used(2, KeyKind::Imported, 1, morning),
            used(1, KeyKind::Issued, 404, morning),
        ];
        touch(system(), uses).await;
        assert_eq!(last(KeyKind::Issued).await, Some(Timestamp(morning)), "the latest of them");
        assert_eq!(last(KeyKind::Imported).await, None, "that was another tenant's");
        touch(system(), vec![used(1, KeyKind::Issued, 1, evening)]).await;
        assert_eq!(last(KeyKind::Issued).await, Some(Timestamp(morning)), "the same day");
        let other = Scope::tenant(nid(2));
        touch(other, vec![used(1, KeyKind::Issued, 1, evening + 1)]).await;
        assert_eq!(last(KeyKind::Issued).await, Some(Timestamp(morning)), "not its tenant");
        let next = vec![used(1, KeyKind::Issued, 1, evening + 1), used(1, KeyKind::Imported, 1, evening + 1)];
        touch(tenant(), next).await;
        for kind in BOTH {
            assert_eq!(last(kind).await, Some(Timestamp(evening + 1)));
        }
        assert_eq!(fixture.key(KeyKind::Issued, 2).await, Some(issued(2)));
    }
}

#[tokio::test]
async fn processes_that_remember_uses_take_turns() {
    let fixture = Fixture::new(Store::Postgres).await;
    fixture.insert(issued(1)).await;
    let other = fixture.another_process().await;
    let uses =
        |day| vec![KeyUse { nid: nid(1), kind: KeyKind::Issued, key_id: id(1), at: Timestamp(day * DAY_MS) }];
    other.touch(system(), uses(1)).await.unwrap();
    // As one that has begun and is in the middle of its rows.
    let mut turn = fixture.store.0.write().await.unwrap();
    turn.execute(beside::ADD_LIVE, vec![Nid::SYSTEM.into(), 0_i64.into()]).await.unwrap();
    let waiting = tokio::spawn(async move { other.touch(system(), uses(2)).await });
    let database = fixture.database.as_ref().unwrap();
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND wait_event_type = 'Lock'";
    let is_waiting = async {
        while database.sql(waits) != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(DEADLINE, is_waiting).await.expect("the other waits for its turn");
    turn.commit().await.unwrap();
    waiting.await.unwrap().unwrap();
    let last_used = fixture.key(KeyKind::Issued, 1).await.unwrap().last_used;
    assert_eq!(last_used, Some(Timestamp(2 * DAY_MS)));
}
