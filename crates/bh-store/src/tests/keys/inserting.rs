//! Keys are made once, and as many as there may be.

use std::sync::Arc;

use bh_app::ports::{INSERT_MANY_MAX, Inserted, KeyStore as _};
use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::tenant::Scope;
use bh_testkit::{Store, on_both_stores};
use tokio::sync::Barrier;

use super::super::fixture::{Fixture, nid, system};
use super::{
    BOTH, STRANGER, any_event, full, id, imported, in_order, issued, key, made_by, other_tenant, revoked,
    tenant,
};

on_both_stores! {
    async fn a_key_is_read_as_it_was_inserted_and_only_by_its_tenant(kind) {
        let fixture = Fixture::new(kind).await;
        for kind in BOTH {
            for stored in [full(kind), key(kind, 8)] {
                fixture.insert(stored).await;
            }
            let ids = || vec![id(7), id(8), id(9)];
            let read = fixture.store.keys(tenant(), kind, ids()).await.unwrap();
            assert!(in_order(read) == [full(kind), key(kind, 8)], "{kind:?}");
            for scope in [other_tenant(), Scope::tenant(STRANGER), system()] {
                assert_eq!(fixture.store.keys(scope, kind, ids()).await.unwrap(), []);
            }
        }
        let fault = fixture.store.insert(system(), issued(1), None, any_event()).await.unwrap_err();
        assert!(fault.cause.to_string().contains("scope of one tenant"), "{fault:?}");
    }

    async fn many_keys_are_read_at_once(kind) {
        let fixture = Fixture::new(kind).await;
        let keys = (0..300).map(|number| (imported(number), any_event())).collect();
        fixture.store.insert_many(tenant(), keys, None).await.unwrap();
        let ids = (0..300).map(id).collect();
        let read = in_order(fixture.store.keys(tenant(), KeyKind::Imported, ids).await.unwrap());
        assert_eq!(read, (0..300).map(imported).collect::<Vec<_>>());
    }

    async fn an_id_is_taken_once_for_each_tenant_and_kind(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.insert(issued(1)).await;
        let again = Key { name: "another".to_owned(), ..issued(1) };
        let insert = async |scope, key| fixture.store.insert(scope, key, None, any_event()).await.unwrap();
        assert_eq!(insert(tenant(), again.clone()).await, Inserted::Exists);
        assert_eq!(insert(tenant(), imported(1)).await, Inserted::Created);
        assert_eq!(insert(other_tenant(), again).await, Inserted::Created);
        assert_eq!(fixture.key(KeyKind::Issued, 1).await, Some(issued(1)));
        assert_eq!((fixture.live().await, fixture.events().await), (2, 2), "what was refused left nothing");
    }

    async fn a_request_makes_one_key_however_often_it_comes(kind) {
        let fixture = Fixture::new(kind).await;
        let first = made_by("r-1", issued(1));
        fixture.insert(first.clone()).await;
        let insert =
            async |scope, key| fixture.store.insert(scope, key, Some(2), any_event()).await.unwrap();
        let replayed = Inserted::Replayed(Box::new(first.clone()));
        assert_eq!(insert(tenant(), made_by("r-1", issued(2))).await, replayed);
        assert_eq!(insert(tenant(), made_by("r-1", imported(2))).await, Inserted::Created, "another table");
        assert_eq!(insert(tenant(), made_by("r-1", issued(3))).await, replayed, "the quota is used up by now");
        assert_eq!(insert(other_tenant(), made_by("r-1", issued(2))).await, Inserted::Created);
        assert_eq!((fixture.live().await, fixture.events().await), (2, 2));
    }

    async fn processes_that_race_with_one_request_make_one_key(kind) {
        let fixture = Fixture::new(kind).await;
        let (stores, start) = (fixture.processes().await, Arc::new(Barrier::new(16)));
        let tasks: Vec<_> = (0..16_u64).map(|number| {
            let (store, start) = (stores[number as usize % 2].clone(), Arc::clone(&start));
            tokio::spawn(async move {
                start.wait().await;
                store.insert(tenant(), made_by("r-1", issued(number)), None, any_event()).await.unwrap()
            })
        }).collect();
        let mut created = 0;
        for task in tasks {
            match task.await.unwrap() {
                Inserted::Created => created += 1,
                Inserted::Replayed(_) => {}
                refused @ (Inserted::Exists | Inserted::QuotaExceeded { .. }) => panic!("{refused:?}"),
            }
        }
        assert_eq!((created, fixture.live().await, fixture.events().await), (1, 1, 1));
    }

    async fn a_quota_is_exact_however_many_insert_at_once(kind) {
        const MAX: u64 = 20;
        let fixture = Fixture::new(kind).await;
        let (stores, start) = (fixture.processes().await, Arc::new(Barrier::new(50)));
        let tasks: Vec<_> = (0..50_u64).map(|number| {
            let (store, start) = (stores[number as usize % 2].clone(), Arc::clone(&start));
            let key = if number % 3 == 0 { imported(number) } else { issued(number) };
            tokio::spawn(async move {
                start.wait().await;
                store.insert(tenant(), key, Some(MAX), any_event()).await.unwrap()
            })
        }).collect();
        let mut created = 0;
        for task in tasks {
            let answer = task.await.unwrap();
            if answer == Inserted::Created {
                created += 1;
            } else {
                assert_eq!(answer, Inserted::QuotaExceeded { used: MAX });
            }
        }
        assert_eq!((created, fixture.live().await), (MAX, MAX));
        let by_table = "SELECT (SELECT COUNT(*) FROM api_keys) + (SELECT COUNT(*) FROM imported_api_keys)";
        assert_eq!(fixture.count(by_table).await, MAX);
    }

    async fn a_key_that_is_revoked_or_deleted_makes_room_and_an_expired_one_does_not(kind) {
        let fixture = Fixture::new(kind).await;
        let insert =
            async |key| fixture.store.insert(tenant(), key, Some(2), any_event()).await.unwrap();
        let mut expired = issued(1);
        expired.expires = Some(expired.created);
        assert_eq!(insert(expired).await, Inserted::Created);
        assert_eq!(insert(imported(2)).await, Inserted::Created);
        let full = Inserted::QuotaExceeded { used: 2 };
        assert_eq!(insert(issued(3)).await, full);
        assert_eq!(insert(revoked(issued(4))).await, Inserted::Created, "a revoked key takes no room");
        assert!(fixture.store.replace(tenant(), revoked(issued(1)), 1, any_event()).await.unwrap());
        assert_eq!(insert(issued(3)).await, Inserted::Created);
        assert_eq!(insert(issued(5)).await, full);
        let delete =
            async |kind, number| fixture.store.delete(tenant(), kind, id(number), any_event()).await.unwrap();
        assert!(delete(KeyKind::Issued, 4).await, "it did not count");
        assert_eq!(insert(issued(5)).await, full);
        assert!(delete(KeyKind::Imported, 2).await && !delete(KeyKind::Imported, 2).await);
        assert_eq!(insert(issued(5)).await, Inserted::Created);
        assert_eq!(fixture.live().await, 2);
    }

    async fn rows_removed_by_hand_leave_room_for_others(kind) {
        let fixture = Fixture::new(kind).await;
        let insert =
            async |key| fixture.store.insert(tenant(), key, Some(2), any_event()).await.unwrap();
        for number in 1..=2 {
            assert_eq!(insert(issued(number)).await, Inserted::Created);
        }
        fixture.by_hand("DELETE FROM api_keys WHERE nid = '00000000-0000-0000-0000-000000000001'").await;
        assert_eq!(insert(issued(3)).await, Inserted::Created);
        assert_eq!(fixture.live().await, 2 - 1, "counted anew when the quota seemed used up");

        fixture.by_hand("DELETE FROM imported_api_keys; DELETE FROM key_counts").await;
        assert_eq!(fixture.live().await, 1, "counted");
        assert_eq!(insert(issued(4)).await, Inserted::Created);
        assert_eq!(insert(issued(5)).await, Inserted::QuotaExceeded { used: 2 });
        fixture.by_hand("DELETE FROM api_keys").await;
        let keys = (1..=3).map(|number| (imported(number), any_event())).collect();
        let answers = fixture.store.insert_many(tenant(), keys, Some(2)).await.unwrap();
        assert_eq!(answers, [Inserted::Created, Inserted::Created, Inserted::QuotaExceeded { used: 2 }]);
    }

    async fn of_many_keys_each_is_decided_on_its_own_and_the_tail_beyond_the_quota_refused(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.insert(issued(1)).await;
        fixture.insert(imported(2)).await;
        fixture.insert(made_by("r-3", imported(3))).await;
        let keys = [
            imported(2),
            made_by("r-3", imported(4)),
            made_by("r-5", imported(5)),
            made_by("r-5", imported(6)),
            imported(5),
            imported(7),
            imported(8),
            imported(2),
        ];
        let keys = keys.map(|key| (key, any_event())).to_vec();
        let answers = fixture.store.insert_many(tenant(), keys, Some(5)).await.unwrap();
        assert_eq!(answers, [
            Inserted::Exists,
            Inserted::Replayed(Box::new(made_by("r-3", imported(3)))),
            Inserted::Created,
            Inserted::Replayed(Box::new(made_by("r-5", imported(5)))),
            Inserted::Exists,
            Inserted::Created,
            Inserted::QuotaExceeded { used: 5 },
            Inserted::Exists,
        ]);
        assert_eq!((fixture.live().await, fixture.events().await), (5, 3 + 2));
        assert!(fixture.key(KeyKind::Imported, 8).await.is_none());
    }

    async fn a_thousand_keys_are_inserted_at_once_and_no_more(kind) {
        let fixture = Fixture::new(kind).await;
        let keys = |count: usize| (0..count as u64).map(|n| (imported(n), any_event())).collect();
        let too_many = fixture.store.insert_many(tenant(), keys(INSERT_MANY_MAX + 1), None).await;
        assert!(too_many.is_err());
        let answers = fixture.store.insert_many(tenant(), keys(INSERT_MANY_MAX), None).await.unwrap();
        assert_eq!(answers, vec![Inserted::Created; INSERT_MANY_MAX]);
        assert_eq!((fixture.live().await, fixture.events().await), (1_000, 1_000));
        let both_kinds = vec![(issued(1), any_event()), (imported(2_000), any_event())];
        assert!(fixture.store.insert_many(tenant(), both_kinds, None).await.is_err());
        let twice = vec![(issued(1), any_event()), (issued(2), any_event()), (issued(1), any_event())];
        let answers = fixture.store.insert_many(tenant(), twice, None).await.unwrap();
        assert_eq!(answers[..2], [Inserted::Created, Inserted::Created]);
        assert_ne!(answers[2], Inserted::Created);
        assert_eq!(fixture.live().await, 1_002);
    }

    async fn batches_that_race_neither_wait_in_a_circle_nor_pass_the_quota(kind) {
        let fixture = Fixture::new(kind).await;
        let (stores, start) = (fixture.processes().await, Arc::new(Barrier::new(6)));
        let tasks: Vec<_> = (0..6_usize).map(|turn| {
            let (store, start) = (stores[turn % 2].clone(), Arc::clone(&start));
            let mut keys: Vec<_> = (0..100).map(|n| (imported(n), any_event())).collect();
            if turn % 2 == 1 {
                keys.reverse();
            }
            tokio::spawn(async move {
                start.wait().await;
                store.insert_many(tenant(), keys, Some(70)).await.unwrap()
            })
        }).collect();
        let mut created = 0;
        for task in tasks {
            let answers = task.await.unwrap();
            created += answers.iter().filter(|answer| matches!(answer, Inserted::Created)).count();
        }
        assert_eq!((created, fixture.live().await), (70, 70));
    }
}

#[tokio::test]
async fn postgresql_hides_a_tenants_keys_from_sessions_of_others_even_in_the_view() {
    let fixture = Fixture::new(Store::Postgres).await;
    fixture.insert(issued(1)).await;
    let seen = |tenant: String, table: &str| {
        let script =
            format!("SET ROLE bulkhead; SET bulkhead.nid = '{tenant}'; SELECT COUNT(*) FROM {table}");
        fixture.database.as_ref().unwrap().sql(&script)
    };
    for table in ["api_keys", "issued_api_keys", "key_counts", "audit_events"] {
        assert_eq!(seen(nid(1).to_string(), table), "1", "{table}");
        assert_eq!(seen(nid(2).to_string(), table), "0", "{table}");
    }
}
