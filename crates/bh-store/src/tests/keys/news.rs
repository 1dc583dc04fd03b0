//! What one process changes, the others hear.

use std::time::Duration;

use bh_app::ports::{AuditEvent, CreditsChange, CreditsDue, Denial, KeyChange, KeyChanges, KeyStore as _};
use bh_domain::keys::key::KeyKind;
use bh_domain::time::Timestamp;
use bh_testkit::{Store, on_both_stores};
use tokio::time::timeout;

use super::super::fixture::{Fixture, nid};
use super::{DEADLINE, any_event, id, imported, issued, revoked, tenant, wanted};
use crate::SqlStore;

pub(super) async fn next(changes: &mut KeyChanges) -> Option<KeyChange> {
    timeout(DEADLINE, changes.next()).await.expect("a change arrives")
}

/// Changes, from when they are sure to arrive.
pub(super) async fn listening(store: &SqlStore) -> KeyChanges {
    let mut changes = store.key_changes();
    assert_eq!(next(&mut changes).await, Some(KeyChange::Everything), "it listens from now on");
    changes
}

fn made(number: u64) -> Option<KeyChange> {
    Some(KeyChange::Made { nid: nid(1), key_id: id(number) })
}

fn changed(number: u64) -> Option<KeyChange> {
    Some(KeyChange::Key { nid: nid(1), key_id: id(number) })
}

on_both_stores! {
    async fn every_change_is_heard_by_every_process(kind) {
        let fixture = Fixture::new(kind).await;
        let other = fixture.another_process().await;
        let mut heard = [listening(&fixture.store).await, listening(&other).await];
        let (store, event) = (&fixture.store, || -> AuditEvent { any_event() });

        store.insert(tenant(), issued(1), None, event()).await.unwrap();
        store.insert(tenant(), issued(1), None, event()).await.unwrap();
        store.replace(tenant(), issued(1), 1, event()).await.unwrap();
        store.replace(tenant(), issued(1), 1, event()).await.unwrap();
        store.rotate(tenant(), issued(2), revoked(issued(1)), 2, event()).await.unwrap();
        store.insert_many(tenant(), vec![(imported(3), event())], None).await.unwrap();
        store.insert_many(tenant(), vec![(imported(3), event())], None).await.unwrap();
        store.delete(tenant(), KeyKind::Imported, id(3), event()).await.unwrap();
        store.delete(tenant(), KeyKind::Imported, id(3), event()).await.unwrap();
        let credits = wanted(CreditsChange::Set(Some(1)), CreditsDue::default());
        store.set_credits(tenant(), KeyKind::Issued, id(2), credits, event()).await.unwrap();
        store.deny(tenant(), "jti-1".to_owned(), Timestamp(9), event()).await.unwrap();
        let denial = Denial { nid: nid(1), subject: "jti-1".to_owned(), until: Timestamp(9) };
        for changes in &mut heard {
            for expected in [
                made(1),
                changed(1),
                changed(1),
                Some(KeyChange::Tenant(nid(1))),
                changed(3),
                changed(2),
                Some(KeyChange::Denied(denial.clone())),
            ] {
                assert_eq!(next(changes).await, expected, "what changed nothing is not told");
            }
        }
    }

    async fn readers_end_when_the_store_is_closed(kind) {
        let fixture = Fixture::new(kind).await;
        let mut changes = listening(&fixture.store).await;
        let waiting = tokio::spawn(async move { next(&mut changes).await });
        timeout(DEADLINE, fixture.store.close()).await.expect("nothing keeps the store open");
        assert_eq!(waiting.await.unwrap(), None);
        assert_eq!(next(&mut fixture.store.key_changes()).await, None);
        if let Some(database) = &fixture.database {
            let listeners = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND application_name = 'bulkhead'";
            let ended = async {
                while database.sql(listeners) != "0" {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            timeout(DEADLINE, ended).await.expect("its connections are gone");
        }
    }

    async fn a_reader_that_is_too_slow_is_told_that_everything_may_have_changed(kind) {
        let fixture = Fixture::new(kind).await;
        let mut slow = listening(&fixture.store).await;
        let mut fast = fixture.store.key_changes();
        let last = Denial { nid: nid(1), subject: "last".to_owned(), until: Timestamp(9) };
        fixture.store.1.flood();
        fixture.store.deny(tenant(), last.subject.clone(), last.until, any_event()).await.unwrap();
        while next(&mut fast).await != Some(KeyChange::Denied(last.clone())) {}
        assert_eq!(next(&mut slow).await, Some(KeyChange::Everything));
    }
}

#[tokio::test]
async fn after_a_lost_connection_everything_may_have_changed_and_changes_are_heard_again() {
    let fixture = Fixture::new(Store::Postgres).await;
    let mut changes = listening(&fixture.store).await;
    let cut = "SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() \
        AND query LIKE 'LISTEN%'";
    assert_eq!(fixture.database.as_ref().unwrap().sql(cut), "1");
    assert_eq!(next(&mut changes).await, Some(KeyChange::Deaf));
    assert_eq!(next(&mut changes).await, Some(KeyChange::Everything));
    fixture.insert(issued(1)).await;
    assert_eq!(next(&mut changes).await, made(1));
}
