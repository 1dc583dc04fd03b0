//! Lists of keys: newest first, page by page.

use bh_app::ports::{KeyFilter, KeyStore as _};
use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::keys::verdict::KeyStatus;
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;

use super::super::fixture::{Fixture, system};
use super::{BOTH, any_event, id, key, other_tenant, revoked, tenant};

/// The numbers of the keys of a list, page by page.
async fn pages(fixture: &Fixture, scope: &Scope, kind: KeyKind, filter: &KeyFilter, limit: u32) -> Vec<u64> {
    let (mut numbers, mut after) = (Vec::new(), None);
    loop {
        let page = fixture.store.list(scope.clone(), kind, filter.clone(), after, limit).await.unwrap();
        let Some(last) = page.last() else { return numbers };
        after = Some((last.created, last.key_id.clone()));
        numbers.extend(page.iter().map(number));
    }
}

fn number(key: &Key) -> u64 {
    key.key_id.as_str().trim_start_matches("key-").parse().unwrap()
}

on_both_stores! {
    async fn a_list_holds_what_its_filter_names(kind) {
        let fixture = Fixture::new(kind).await;
        let now = Timestamp(1_000);
        for kind in BOTH {
            // By number: every third revoked, every fourth expired, every other one Ann's.
            for number in 1..=24 {
                let mut stored = key(kind, number);
                stored.actor_id = number.is_multiple_of(2).then(|| "ann".to_owned());
                stored.expires = match number % 4 {
                    0 => Some(now),
                    1 => Some(Timestamp(now.0 + 1)),
                    _ => None,
                };
                if number.is_multiple_of(3) {
                    stored = revoked(stored);
                }
                fixture.insert(stored).await;
            }
            let all: Vec<u64> = (1..=24).rev().collect();
            let is = |status: Option<KeyStatus>, number: u64| {
                let (revoked, ended) = (number.is_multiple_of(3), number.is_multiple_of(4));
                match status {
                    None => true,
                    Some(KeyStatus::Revoked) => revoked,
                    Some(KeyStatus::Expired) => !revoked && ended,
                    Some(KeyStatus::Active) => !revoked && !ended,
                }
            };
            for status in [None, Some(KeyStatus::Active), Some(KeyStatus::Revoked), Some(KeyStatus::Expired)] {
                for actor_id in [None, Some("ann".to_owned()), Some("bob".to_owned())] {
                    let of = |number: u64| match actor_id.as_deref() {
                        None => true,
                        Some(actor) => actor == "ann" && number.is_multiple_of(2),
                    };
                    let expected: Vec<u64> =
                        all.iter().copied().filter(|&number| is(status, number) && of(number)).collect();
                    let filter = KeyFilter { actor_id: actor_id.clone(), status, now };
                    for limit in [1, 5, 100] {
                        let listed = pages(&fixture, &tenant(), kind, &filter, limit).await;
                        assert_eq!(listed, expected, "{kind:?} {filter:?} by {limit}");
                    }
                    for scope in [other_tenant(), system()] {
                        assert!(pages(&fixture, &scope, kind, &filter, 100).await.is_empty());
                    }
                }
            }
        }
    }

    async fn keys_of_one_instant_are_told_apart_by_their_ids(kind) {
        let fixture = Fixture::new(kind).await;
        for number in [3, 1, 4, 2, 5] {
            fixture.insert(Key { created: Timestamp(7), ..key(KeyKind::Issued, number) }).await;
        }
        let listed = pages(&fixture, &tenant(), KeyKind::Issued, &KeyFilter::default(), 2).await;
        assert_eq!(listed, [5, 4, 3, 2, 1]);
    }

    async fn pages_stay_whole_while_keys_come_and_go(kind) {
        let fixture = Fixture::new(kind).await;
        for number in 1..=20 {
            fixture.insert(key(KeyKind::Imported, number)).await;
        }
        let (mut seen, mut after) = (Vec::new(), None);
        for round in 0..10 {
            let filter = KeyFilter::default();
            let page = fixture.store.list(tenant(), KeyKind::Imported, filter, after, 4).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some((last.created, last.key_id.clone()));
            seen.extend(page.iter().map(number));
            // New ones come before the first page; the place itself goes.
            fixture.insert(key(KeyKind::Imported, 100 + round)).await;
            let gone = id(number(last));
            assert!(fixture.store.delete(tenant(), KeyKind::Imported, gone, any_event()).await.unwrap());
        }
        assert_eq!(seen, (1..=20).rev().collect::<Vec<_>>());
    }
}
