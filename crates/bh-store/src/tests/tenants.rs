//! Tenants, and the installation's facts.

use bh_app::ports::{TenantRow, TenantStore as _};
use bh_domain::tenant::{Scope, TenantId};
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, NEWER, nid, system};
use crate::migrate::VERSION;

fn row(low: u128, id: &str) -> TenantRow {
    TenantRow { nid: nid(low), id: TenantId::parse(id).unwrap() }
}

on_both_stores! {
    async fn replicas_that_race_get_the_same_tenants(kind) {
        let fixture = Fixture::new(kind).await;
        let mut tasks = Vec::new();
        for replica in 1..=4_u128 {
            let store = fixture.another_process().await;
            let mut proposed: Vec<_> =
                (0..50).map(|n| row(replica * 1_000 + n, &format!("tenant-{n}"))).collect();
            if replica % 2 == 0 {
                proposed.reverse();
            }
            tasks.push(tokio::spawn(async move {
                let mut rows = store.ensure_tenants(proposed).await.unwrap();
                rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
                rows
            }));
        }
        let stored = fixture.store.tenants_everywhere(system()).await.unwrap();
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap());
        }
        let after = fixture.store.tenants_everywhere(system()).await.unwrap();
        assert_eq!((after.len(), stored.len() % 50), (50, 0));
        assert!(all.iter().all(|rows| *rows == after), "{all:?}");
        assert!(fixture.store.tenants_everywhere(Scope::tenant(nid(1_000))).await.unwrap().is_empty());
    }

    async fn a_fact_is_kept_as_first_told(kind) {
        let fixture = Fixture::new(kind).await;
        let told = async |value: &str| fixture.store.remember("key-name", value.to_owned()).await.unwrap();
        assert_eq!(told("first").await, "first");
        assert_eq!(told("second").await, "first");
    }

    async fn a_store_of_another_schema_version_is_not_ready(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.store.ping().await.unwrap();
        let mut tx = fixture.store.0.write().await.unwrap();
        tx.batch(NEWER).await.unwrap();
        tx.commit().await.unwrap();
        let fault = fixture.store.ping().await.unwrap_err();
        let told = format!("the schema version is Some(1000), not {VERSION}");
        assert!(fault.cause.to_string().contains(&told), "{:?}", fault.cause);
    }
}
