//! The outbox: what is written with a change, who takes a delivery, and what becomes of it.

use bh_app::ports::{
    AttemptEnd, AuditEvent, Backlog, DeliveryState, EndpointCounts, OutboxEvent, OutboxFilter,
    OutboxStore as _, StoredEvent, TakenDelivery,
};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_domain::webhook::EventKind;
use bh_testkit::on_both_stores;

use super::fixture::{Fixture, holder, nid, system};
use super::keys::any_event;
use crate::keys::audit;

const A: &str = "billing";
const B: &str = "ops";

/// An event of tenant 1 that happened at an instant, for these endpoints.
fn event(id: &str, at_ms: i64, endpoints: &[&str]) -> OutboxEvent {
    OutboxEvent {
        nid: nid(1),
        id: id.to_owned(),
        kind: EventKind::KeyRevoked,
        at: Timestamp(at_ms),
        payload: format!(r#"{{"id":"{id}"}}"#),
        endpoints: endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect(),
    }
}

fn end(state: DeliveryState, at_ms: i64, next_ms: i64) -> AttemptEnd {
    let failed = state != DeliveryState::Delivered;
    AttemptEnd {
        state,
        next_at: Timestamp(next_ms),
        at: Timestamp(at_ms),
        status: Some(if failed { 500 } else { 204 }),
        error: failed.then(|| "answered 500".to_owned()),
    }
}

impl Fixture {
    async fn write(&self, events: Vec<OutboxEvent>) -> Vec<bool> {
        self.store.append_outbox(system(), events).await.unwrap()
    }

    async fn take(&self, who: u128, endpoint: &str, now: i64, until: i64) -> Vec<TakenDelivery> {
        let (now, until) = (Timestamp(now), Timestamp(until));
        self.store.take_deliveries(holder(who), endpoint.to_owned(), now, until, 10).await.unwrap()
    }

    async fn end(&self, who: u128, endpoint: &str, taken: &TakenDelivery, end: AttemptEnd) -> bool {
        self.store.end_attempt(holder(who), endpoint.to_owned(), taken.clone(), end).await.unwrap()
    }

    async fn states(&self, id: &str) -> Vec<(String, DeliveryState, u32)> {
        let (_, deliveries) = self.store.outbox_event(system(), id.to_owned()).await.unwrap().unwrap();
        deliveries.into_iter().map(|d| (d.endpoint, d.state, d.attempts)).collect()
    }
}

fn ids(taken: &[TakenDelivery]) -> Vec<&str> {
    taken.iter().map(|delivery| delivery.event_id.as_str()).collect()
}

on_both_stores! {
    async fn an_event_is_written_with_its_change_or_not_at_all(kind) {
        let fixture = Fixture::new(kind).await;
        for (id, committed) in [("evt_1", false), ("evt_2", true)] {
            let told = Some(event(id, 5, &[A, B]));
            let event = AuditEvent { told, ..any_event() };
            let mut tx = fixture.store.0.write().await.unwrap();
            audit::add(&mut tx, nid(1), [&event]).await.unwrap();
            if committed { tx.commit().await.unwrap() } else { tx.rollback().await.unwrap() }
        }
        assert_eq!(fixture.count("SELECT COUNT(*) FROM outbox_events").await, 1);
        let waiting = |endpoint: &str| (endpoint.to_owned(), DeliveryState::Pending, 0);
        assert_eq!(fixture.states("evt_2").await, [waiting(A), waiting(B)]);
    }

    async fn an_event_is_written_once_whoever_tells_of_it(kind) {
        let fixture = Fixture::new(kind).await;
        assert_eq!(fixture.write(vec![event("evt_1", 5, &[A])]).await, [true]);
        let again = vec![event("evt_1", 6, &[A, B]), event("evt_2", 6, &[])];
        assert_eq!(fixture.write(again.clone()).await, [false, true]);
        assert_eq!(fixture.states("evt_1").await.len(), 1, "the deliveries of the first telling");
        let other = fixture.store.append_outbox(Scope::tenant(nid(2)), again).await;
        assert!(other.is_err(), "another tenant's");
    }

    async fn a_delivery_is_taken_by_one_and_is_due_again_when_its_time_is_over(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.write(vec![event("evt_1", 10, &[A, B]), event("evt_2", 20, &[A])]).await;
        assert_eq!(fixture.take(1, A, 9, 100).await, []);
        let mine = fixture.take(1, A, 15, 100).await;
        assert_eq!(ids(&mine), ["evt_1"]);
        assert_eq!((mine[0].attempt, mine[0].payload.as_str()), (1, r#"{"id":"evt_1"}"#));
        assert_eq!(ids(&fixture.take(2, A, 50, 120).await), ["evt_2"], "not what another has");
        // The first one died.
        let theirs = fixture.take(2, A, 100, 300).await;
        assert_eq!((ids(&theirs), theirs[0].attempt), (vec!["evt_1"], 2));
        assert!(!fixture.end(1, A, &mine[0], end(DeliveryState::Dead, 110, 0)).await, "it was not dead, and is too late");
        assert!(fixture.end(2, A, &theirs[0], end(DeliveryState::Pending, 130, 500)).await);
        assert_eq!(fixture.take(1, A, 499, 600).await.len(), 1, "evt_2, whose time is over");
        assert_eq!(ids(&fixture.take(1, A, 500, 600).await), ["evt_1"]);
        assert_eq!(ids(&fixture.take(1, B, 500, 600).await), ["evt_1"], "the other endpoint is apart");
    }

    async fn many_processes_take_each_delivery_once(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.write((0..40).map(|n| event(&format!("evt_{n}"), n, &[A])).collect()).await;
        let mut taking = tokio::task::JoinSet::new();
        for who in 0..4 {
            let store = fixture.another_process().await;
            taking.spawn(async move {
                let mut taken = Vec::new();
                for _ in 0..10 {
                    let more = store.take_deliveries(holder(who), A.to_owned(), Timestamp(100), Timestamp(900), 3);
                    taken.extend(more.await.unwrap().into_iter().map(|delivery| delivery.event_id));
                }
                taken
            });
        }
        let mut all: Vec<String> = taking.join_all().await.concat();
        all.sort_unstable();
        let count = all.len();
        all.dedup();
        assert_eq!((count, all.len()), (40, 40));
    }

    async fn what_was_given_up_is_listed_and_delivered_again(kind) {
        let fixture = Fixture::new(kind).await;
        fixture.write(vec![event("evt_1", 10, &[A]), event("evt_2", 20, &[A]), event("evt_3", 30, &[A])]).await;
        for taken in fixture.take(1, A, 50, 100).await {
            let state = if taken.event_id == "evt_3" { DeliveryState::Delivered } else { DeliveryState::Dead };
            assert!(fixture.end(1, A, &taken, end(state, 60, 60)).await);
        }
        assert_eq!(fixture.store.backlog(system()).await.unwrap(), Backlog { oldest_pending: None, dead: 2 });
        let dead = fixture.store.dead_letters(system(), Some(nid(1)), None, 1).await.unwrap();
        let (letter, kind) = &dead[0];
        assert_eq!((letter.event_id.as_str(), kind.as_str(), letter.last_status), ("evt_2", "key.revoked", Some(500)));
        let place = (letter.event_at, letter.event_id.clone(), letter.endpoint.clone());
        let rest = fixture.store.dead_letters(system(), None, Some(place), 10).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(fixture.store.dead_letters(system(), Some(nid(2)), None, 10).await.unwrap(), []);

        let (found, _) = fixture.store.outbox_event(system(), "evt_1".to_owned()).await.unwrap().unwrap();
        let endpoints = || vec![A.to_owned(), B.to_owned()];
        assert_eq!(fixture.store.redeliver(found.clone(), endpoints(), Timestamp(70)).await.unwrap(), 2);
        let waiting = |endpoint: &str| (endpoint.to_owned(), DeliveryState::Pending, 0);
        assert_eq!(fixture.states("evt_1").await, [waiting(A), waiting(B)]);
        let backlog = Backlog { oldest_pending: Some(Timestamp(10)), dead: 1 };
        assert_eq!(fixture.store.backlog(system()).await.unwrap(), backlog);
        let counts = fixture.store.endpoint_counts(system(), A.to_owned()).await.unwrap();
        assert_eq!(counts, EndpointCounts { pending: 1, dead: 1 });
        // One that is being attempted is let be.
        assert_eq!(fixture.take(1, A, 70, 200).await.len(), 1);
        assert_eq!(fixture.store.redeliver(found, endpoints(), Timestamp(80)).await.unwrap(), 1);
        assert_eq!(fixture.states("evt_1").await[0], (A.to_owned(), DeliveryState::Pending, 1));
    }

    async fn events_are_listed_newest_first_of_a_tenant_kind_and_state_and_go_with_time(kind) {
        let fixture = Fixture::new(kind).await;
        let elsewhere = OutboxEvent { nid: nid(2), kind: EventKind::KeyCreated, ..event("evt_4", 40, &[]) };
        fixture.write(vec![event("evt_1", 10, &[A]), event("evt_2", 20, &[A]), event("evt_3", 30, &[B]), elsewhere]).await;
        let list = async |scope: Scope, filter: OutboxFilter, after: Option<&StoredEvent>| -> Vec<StoredEvent> {
            let after = after.map(|event| (event.at, event.id.clone(), String::new()));
            fixture.store.outbox_events(scope, filter, after, 2).await.unwrap()
        };
        let names = |events: &[StoredEvent]| events.iter().map(|e| e.id.clone()).collect::<Vec<_>>();
        let first = list(system(), OutboxFilter::default(), None).await;
        assert_eq!(names(&first), ["evt_4", "evt_3"]);
        assert_eq!(names(&list(system(), OutboxFilter::default(), first.last()).await), ["evt_2", "evt_1"]);
        let of_one = OutboxFilter { nid: Some(nid(1)), ..OutboxFilter::default() };
        assert_eq!(names(&list(system(), of_one, None).await), ["evt_3", "evt_2"]);
        let created = OutboxFilter { kind: Some(EventKind::KeyCreated), ..OutboxFilter::default() };
        assert_eq!(names(&list(system(), created.clone(), None).await), ["evt_4"]);
        assert_eq!(list(Scope::tenant(nid(1)), created, None).await, []);
        let waiting = OutboxFilter { state: Some(DeliveryState::Pending), ..OutboxFilter::default() };
        assert_eq!(names(&list(system(), waiting, None).await), ["evt_3", "evt_2"], "evt_4 has no delivery");
        assert!(fixture.store.outbox_event(Scope::tenant(nid(2)), "evt_1".to_owned()).await.unwrap().is_none());

        assert_eq!(fixture.store.forget_outbox(system(), Timestamp(40), 1).await.unwrap(), 2, "up to the second one");
        assert_eq!(fixture.store.forget_outbox(system(), Timestamp(40), 10).await.unwrap(), 1);
        assert_eq!(fixture.count("SELECT COUNT(*) FROM outbox_deliveries").await, 0);
        assert_eq!(names(&list(system(), OutboxFilter::default(), None).await), ["evt_4"]);
    }

    async fn a_job_remembers_how_far_it_has_come(kind) {
        let fixture = Fixture::new(kind).await;
        assert_eq!(fixture.store.progress("closing").await.unwrap(), None);
        for month in ["2026-10", "2026-11"] {
            fixture.store.set_progress("closing", month.to_owned()).await.unwrap();
            assert_eq!(fixture.store.progress("closing").await.unwrap().as_deref(), Some(month));
        }
    }
}
