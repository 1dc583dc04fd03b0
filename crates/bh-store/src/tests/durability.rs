//! A batch is there whole, or not at all.

use std::sync::Arc;
use std::time::Duration;

use bh_app::ports::{Appended, BudgetStore as _, EvidenceStore as _, SpendQuery, TenantStore as _};
use bh_testkit::{Postgres, on_both_stores};

use super::fixture::{Fixture, batch, caller, nid, record, spent, system};
use crate::{Options, SqlStore, open};

on_both_stores! {
    async fn a_batch_with_one_bad_record_leaves_nothing_behind(kind) {
        let fixture = Fixture::new(kind).await;
        let mut sealed = batch((1..=40).map(|seq| record(nid(1), seq, 10)).collect());
        sealed.spend = vec![spent(nid(1), caller("web"), "2026-11-21", 5)];
        sealed.records[39].id = sealed.records[0].id.clone();
        assert!(fixture.store.append(Arc::new(sealed.clone())).await.is_err());
        assert!(fixture.store.heads_everywhere(system()).await.unwrap().is_empty());
        assert!(fixture.store.chain(system(), nid(1), 1, 99, 99).await.unwrap().is_empty());
        sealed.records[39].id = "another".to_owned();
        assert_eq!(fixture.store.append(Arc::new(sealed)).await.unwrap(), Appended::Durable);
    }

    async fn an_append_that_nobody_waits_for_any_more_is_whole_or_absent(kind) {
        let fixture = Fixture::new(kind).await;
        let mut next = 1;
        for patience_us in (0..40).map(|n| n * 150) {
            let mut sealed = batch((next..next + 40).map(|seq| record(nid(1), seq, 10)).collect());
            sealed.spend = vec![spent(nid(1), caller("web"), "2026-11-21", 1)];
            let append = fixture.store.append(Arc::new(sealed));
            tokio::time::timeout(Duration::from_micros(patience_us), append).await.ok();
            // SQLite's one writer: waits behind the abandoned transaction, so what follows sees its end.
            fixture.store.remember("barrier", "x".to_owned()).await.unwrap();
            let (head, stored, calls) = counts(&fixture.store).await;
            assert_eq!((stored, calls * 40), (head, head), "after {patience_us} µs");
            assert_eq!(head % 40, 0);
            next = head + 1;
        }
    }

    /// However many tenants are being made: a call's record waits behind one other transaction at most.
    async fn records_go_before_whatever_else_waits_to_be_written(kind) {
        let fixture = Fixture::new(kind).await;
        let held = fixture.store.0.write().await.unwrap();
        let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..6 {
            let (store, order) = (fixture.store.clone(), Arc::clone(&order));
            tasks.spawn(async move {
                store.remember(["a", "b", "c", "d", "e", "f"][n], "x".to_owned()).await.unwrap();
                order.lock().push("other");
            });
        }
        tokio::task::yield_now().await;
        let (store, said) = (fixture.store.clone(), Arc::clone(&order));
        tasks.spawn(async move {
            store.append(Arc::new(batch(vec![record(nid(1), 1, 10)]))).await.unwrap();
            said.lock().push("record");
        });
        // On PostgreSQL nobody waits for anybody here.
        tokio::time::sleep(Duration::from_millis(50)).await;
        held.commit().await.unwrap();
        tasks.join_all().await;
        let place = order.lock().iter().position(|who| *who == "record").unwrap();
        assert!(fixture.store.0.is_postgres() || place <= 2, "{:?}", order.lock());
    }

    async fn processes_that_append_to_one_chain_lose_and_double_nothing(kind) {
        let fixture = Fixture::new(kind).await;
        let mut tasks = Vec::new();
        for process in 0..3_u128 {
            let store = fixture.another_process().await;
            tasks.push(tokio::spawn(async move {
                let tenants = [nid(1), nid(2)];
                let mut durable = 0_u64;
                while durable < 10 {
                    let heads = store.heads(tenants.to_vec()).await.unwrap();
                    let next = |n| heads.get(&n).map_or(1, |head| head.seq + 1);
                    let records = tenants.map(|n| {
                        let mut made = record(n, next(n), 10);
                        made.id = format!("{process}-{durable}");
                        made
                    });
                    match store.append(Arc::new(batch(records.to_vec()))).await.unwrap() {
                        Appended::Durable => durable += 1,
                        Appended::Stale(moved) => assert!(!moved.is_empty()),
                    }
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        for tenant in [nid(1), nid(2)] {
            let chain = fixture.store.chain(system(), tenant, 1, 99, 99).await.unwrap();
            let seqs: Vec<_> = chain.iter().map(|stored| stored.seq).collect();
            assert_eq!(seqs, (1..=30).collect::<Vec<_>>());
        }
    }
}

/// Head, records and settled calls of a tenant, once a commit that nobody waits for has come to its end.
async fn counts(store: &SqlStore) -> (u64, u64, u64) {
    loop {
        let head = head(store).await;
        let stored = store.leaf_hashes(system(), nid(1), 1, 99_999).await.unwrap().len() as u64;
        let day = || "2026-11-21".to_owned();
        let query = SpendQuery { caller: None, from_day: day(), to_day: day() };
        let settled = store.settled(system(), Some(nid(1)), query).await.unwrap();
        if self::head(store).await == head {
            return (head, stored, settled.calls);
        }
    }
}

async fn head(store: &SqlStore) -> u64 {
    store.heads(vec![nid(1)]).await.unwrap().get(&nid(1)).map_or(0, |head| head.seq)
}

#[tokio::test]
async fn a_postgresql_that_comes_back_is_used_again() {
    let mut server = Postgres::private();
    let database = server.fresh_database();
    let store = open(&database.url(), Options::default()).await.unwrap();
    store.ping().await.unwrap();
    server.crash();
    let fault = store.remember("key", "value".to_owned()).await.unwrap_err();
    assert_eq!(fault.to_string(), "could not remember a fact");
    server.recover();
    assert_eq!(store.remember("key", "value".to_owned()).await.unwrap(), "value");
}
