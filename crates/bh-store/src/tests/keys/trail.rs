//! Denied tokens, and who did what.

use bh_app::ports::{
    Anchor, AnchorStore as _, AuditEvent, AuditStore as _, Denial, KeyStore as _, TrailOrder,
};
use bh_domain::audit::{Actions, Outcome, TrailFilter};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;
use uuid::{Builder, Uuid};

use super::super::fixture::{Fixture, nid, system};
use super::{event, issued, other_tenant, tenant};

fn denial(tenant: u128, subject: &str, until: i64) -> Denial {
    Denial { nid: nid(tenant), subject: subject.to_owned(), until: Timestamp(until) }
}

on_both_stores! {
    async fn a_denial_holds_until_its_end_and_is_never_shortened(kind) {
        let fixture = Fixture::new(kind).await;
        let mut number = 0;
        for denied in [denial(1, "a", 100), denial(2, "a", 50), denial(1, "a", 20), denial(1, "b", 30)] {
            number += 1;
            let scope = Scope::tenant(denied.nid);
            fixture.store.deny(scope, denied.subject, denied.until, event(number)).await.unwrap();
        }
        fixture.store.deny(tenant(), "b".to_owned(), Timestamp(60), event(9)).await.unwrap();
        let at = async |scope, now| {
            let mut denials = fixture.store.denials_everywhere(scope, Timestamp(now)).await.unwrap();
            denials.sort_unstable_by(|a, b| (a.nid, &a.subject).cmp(&(b.nid, &b.subject)));
            denials
        };
        let (a, b, of_other) = (denial(1, "a", 100), denial(1, "b", 60), denial(2, "a", 50));
        assert_eq!(at(system(), 49).await, [a.clone(), b.clone(), of_other]);
        assert_eq!(at(system(), 50).await, [a.clone(), b], "one has ended");
        assert_eq!(at(tenant(), 0).await, [], "for system jobs only");
        assert_eq!(fixture.store.forget_denials(tenant(), Timestamp(99)).await.unwrap(), 0);
        assert_eq!(fixture.store.forget_denials(system(), Timestamp(99)).await.unwrap(), 2);
        assert_eq!(at(system(), 0).await, [a]);
        let too_long = "x".repeat(256);
        assert!(fixture.store.deny(tenant(), too_long, Timestamp(1), event(10)).await.is_err());
    }

    async fn the_trail_is_read_page_by_page_and_only_by_its_tenant(kind) {
        let fixture = Fixture::new(kind).await;
        for number in 1..=5 {
            let scope = if number == 3 { other_tenant() } else { tenant() };
            let key = issued(u64::try_from(number).unwrap());
            fixture.store.insert(scope, key, None, event(number)).await.unwrap();
        }
        let page = async |scope, after: Option<u128>| {
            let (any, newest) = (TrailFilter::default(), TrailOrder::NewestFirst);
            fixture.store.audit_events(scope, any, newest, after.map(Uuid::from_u128), 2).await.unwrap()
        };
        assert_eq!(page(tenant(), None).await, [event(5), event(4)]);
        assert_eq!(page(tenant(), Some(4)).await, [event(2), event(1)]);
        assert_eq!(page(tenant(), Some(1)).await, []);
        assert_eq!(page(other_tenant(), None).await, [event(3)]);
        assert_eq!(page(system(), None).await, []);

        let everywhere = async |scope, after: Option<u128>| {
            let after = after.map(Uuid::from_u128);
            fixture.store.audit_events_everywhere(scope, after, 2).await.unwrap()
        };
        assert_eq!(everywhere(system(), None).await, [(nid(1), event(1)), (nid(1), event(2))]);
        assert_eq!(everywhere(system(), Some(2)).await, [(nid(2), event(3)), (nid(1), event(4))]);
        assert_eq!(everywhere(tenant(), None).await, []);
    }

    async fn the_trail_is_filtered_and_read_either_way(kind) {
        let fixture = Fixture::new(kind).await;
        let made = |minute: i64, action: &str, actor: &str| {
            let at = Timestamp(1_800_000_000_000 + minute * 60_000);
            let id = Builder::from_unix_timestamp_millis(at.0.cast_unsigned(), &[7; 10]).into_uuid();
            AuditEvent { id, at, action: action.to_owned(), actor: actor.to_owned(), ..event(1) }
        };
        let events: Vec<AuditEvent> = (0..6)
            .map(|minute| match minute % 3 {
                0 => made(minute, "key.revoked", "ops"),
                1 => made(minute, "key.issued", "ops"),
                _ => made(minute, "keys", "bot"),
            })
            .collect();
        let rows: Vec<_> = events.iter().map(|event| (nid(1), event.clone())).collect();
        // Writing them once more changes nothing.
        for _ in 0..2 {
            fixture.store.append_audit_events(system(), rows.clone()).await.unwrap();
        }
        assert!(fixture.store.append_audit_events(other_tenant(), rows).await.is_err());
        let found = async |filter: TrailFilter, order, after: Option<usize>, limit| {
            let after = after.map(|index| events[index].id);
            let page = fixture.store.audit_events(tenant(), filter, order, after, limit).await.unwrap();
            page.iter().map(|found| events.iter().position(|event| event == found).unwrap()).collect::<Vec<_>>()
        };
        let (any, newest, oldest) = (TrailFilter::default, TrailOrder::NewestFirst, TrailOrder::OldestFirst);
        assert_eq!(found(any(), newest, None, 9).await, [5, 4, 3, 2, 1, 0]);
        assert_eq!(found(any(), oldest, Some(1), 3).await, [2, 3, 4]);
        assert_eq!(found(any(), newest, Some(1), 3).await, [0]);
        let family = TrailFilter { actions: Some(Actions::Family("key.".to_owned())), ..any() };
        assert_eq!(found(family.clone(), oldest, None, 9).await, [0, 1, 3, 4], "`keys` is no `key.*`");
        assert_eq!(found(family, oldest, Some(1), 1).await, [3]);
        let one = TrailFilter { actions: Some(Actions::One("key.revoked".to_owned())), ..any() };
        assert_eq!(found(one, newest, None, 9).await, [3, 0]);
        let actor = TrailFilter { actor: Some("bot".to_owned()), ..any() };
        assert_eq!(found(actor, newest, None, 9).await, [5, 2]);
        let object = TrailFilter { object: Some("key 2".to_owned()), ..any() };
        assert_eq!(found(object, newest, None, 9).await, [0_usize; 0]);
        let object = TrailFilter { object: Some("key 1".to_owned()), ..any() };
        assert_eq!(found(object.clone(), newest, Some(4), 2).await, [3, 2]);
        assert_eq!(found(object.clone(), oldest, Some(1), 2).await, [2, 3]);
        let of_bot = TrailFilter { actor: Some("bot".to_owned()), from: Some(events[3].at), ..object };
        assert_eq!(found(of_bot, oldest, None, 9).await, [5]);
        let span = TrailFilter { from: Some(events[1].at), to: Some(events[4].at), ..any() };
        assert_eq!(found(span.clone(), newest, None, 9).await, [3, 2, 1]);
        assert_eq!(found(span, oldest, Some(2), 9).await, [3]);
    }

    async fn old_failures_go_a_part_at_a_time_and_nothing_else_does(kind) {
        let fixture = Fixture::new(kind).await;
        let made = |ms: i64, action: &str| {
            let id = Builder::from_unix_timestamp_millis(ms.cast_unsigned(), &[7; 10]).into_uuid();
            AuditEvent { id, at: Timestamp(ms), action: action.to_owned(), ..event(1) }
        };
        let failed = |ms| made(ms, "key.verification_failed");
        let rows = vec![
            (nid(1), failed(1)), (nid(2), failed(1)), (nid(1), failed(3)), (nid(1), failed(5)),
            (nid(1), made(2, "key.issued")), (nid(1), made(4, "key.verification_failed_otherwise")),
        ];
        fixture.store.append_audit_events(system(), rows).await.unwrap();
        let forget = async |scope, before| fixture.store.forget_failures(scope, Timestamp(before), 2).await.unwrap();
        assert_eq!(forget(tenant(), 5).await, 0, "for system jobs only");
        assert_eq!([forget(system(), 5).await, forget(system(), 5).await, forget(system(), 5).await], [2, 1, 0]);
        let left = fixture.store.audit_events_everywhere(system(), None, 9).await.unwrap();
        let left: Vec<i64> = left.iter().map(|(_, event)| event.at.0).collect();
        assert_eq!(left, [2, 4, 5]);
    }

    async fn each_event_is_given_one_anchor_and_what_goes_with_time_has_its_own(kind) {
        let fixture = Fixture::new(kind).await;
        let made = |number: u128, action: &str| AuditEvent { action: action.to_owned(), ..event(number) };
        let rows = vec![
            (nid(1), made(1, "tenant.created")), (nid(2), made(2, "key.issued")), (nid(1), made(3, "request.read")),
            (nid(1), made(4, "key.issued")), (nid(2), made(5, "request.denied")), (nid(1), made(6, "request.failed")),
        ];
        fixture.store.append_audit_events(system(), rows).await.unwrap();
        let anchor = |number: u128, fading| Anchor { id: Uuid::from_u128(number), made: Timestamp(9), fading };
        let give = async |scope, anchor, limit| fixture.store.anchor_events(scope, anchor, limit).await.unwrap();
        assert_eq!(give(tenant(), anchor(90, false), 9).await, 0, "for system jobs only");
        assert_eq!(fixture.store.unanchored_events(system()).await.unwrap(), 6);
        assert_eq!(give(system(), anchor(91, false), 3).await, 3);
        assert_eq!(give(system(), anchor(92, true), 9).await, 2);
        assert_eq!(give(system(), anchor(93, false), 9).await, 1);
        assert_eq!(give(system(), anchor(94, false), 9).await, 0, "nothing is left");
        assert_eq!(fixture.store.unanchored_events(system()).await.unwrap(), 0);
        let of = async |number| -> Vec<u128> {
            let events = fixture.store.anchored_events(system(), Uuid::from_u128(number)).await.unwrap();
            events.iter().map(|(_, event)| event.id.as_u128()).collect()
        };
        assert_eq!([of(91).await, of(92).await, of(93).await, of(94).await], [vec![1, 2, 4], vec![3, 5], vec![6], vec![]]);
        assert_eq!(fixture.store.open_anchors(system()).await.unwrap(), [anchor(91, false), anchor(92, true), anchor(93, false)]);
        fixture.store.close_anchor(system(), Uuid::from_u128(92)).await.unwrap();
        assert_eq!(fixture.store.open_anchors(system()).await.unwrap(), [anchor(91, false), anchor(93, false)]);
        assert_eq!(fixture.store.open_anchors(tenant()).await.unwrap(), []);
        // What was read and what was denied goes with time, and nothing else.
        let later = Timestamp(i64::from(u32::MAX));
        assert_eq!(fixture.store.forget_failures(system(), later, 9).await.unwrap(), 2);
        assert_eq!((of(91).await.len(), of(92).await.len()), (3, 0));
        let denied = TrailFilter { outcome: Some(Outcome::Failed), ..TrailFilter::default() };
        let failed = fixture.store.audit_events(tenant(), denied, TrailOrder::NewestFirst, None, 9).await.unwrap();
        assert_eq!(failed, [made(6, "request.failed")]);
    }
}
