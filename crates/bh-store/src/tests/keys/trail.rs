//! Denied tokens, and who did what.

use bh_app::ports::{Denial, KeyStore as _};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;
use uuid::Uuid;

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
            fixture.store.audit_events(scope, after.map(Uuid::from_u128), 2).await.unwrap()
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
}
