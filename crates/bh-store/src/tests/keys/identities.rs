//! Identities: found by their keys in the read of the keys, changed where their revision is the one that was read.

use bh_app::ports::{IdentityStore as _, KeyChange, KeyStore as _};
use bh_domain::keys::identity::{Identity, IdentityId};
use bh_domain::keys::key::{JsonObject, Key, KeyKind};
use bh_domain::keys::named::{LimitUnit, NamedLimit};
use bh_domain::tenant::Scope;
use bh_domain::time::Timestamp;
use bh_testkit::{Store, on_both_stores};
use uuid::Uuid;

use super::super::fixture::{Fixture, nid, system};
use super::{any_event, full, id, imported, issued, news, other_tenant, tenant};

fn identity(number: u64, external_id: &str) -> Identity {
    let limit =
        NamedLimit { name: "all".into(), quota: 5, window_s: 60, unit: LimitUnit::Tokens, auto_apply: true };
    Identity {
        id: IdentityId(Uuid::from_u128(number.into())),
        external_id: external_id.to_owned(),
        metadata: JsonObject::parse(r#"{"b":1, "a":"ü"}"#).unwrap(),
        rate_limits: vec![limit],
        created: Timestamp(i64::try_from(number).unwrap()),
        updated: Timestamp(9),
        revision: 1,
        is_whole: true,
    }
}

impl Fixture {
    async fn insert_identity(&self, scope: Scope, identity: &Identity) -> bool {
        self.store.insert_identity(scope, identity.clone(), any_event()).await.unwrap()
    }
}

on_both_stores! {
    async fn an_identity_is_read_as_it_was_written_and_replaced_where_nobody_was_faster(kind) {
        let fixture = Fixture::new(kind).await;
        let store = &fixture.store;
        let first = identity(1, "acme");
        assert!(fixture.insert_identity(tenant(), &first).await);
        assert!(!fixture.insert_identity(tenant(), &identity(2, "acme")).await, "one of each name");
        assert!(fixture.insert_identity(other_tenant(), &identity(2, "acme")).await, "in each tenant");
        let read = async |scope: Scope| store.identity(scope, first.id).await.unwrap();
        assert_eq!(read(tenant()).await.as_ref(), Some(&first));
        assert_eq!((read(other_tenant()).await, read(system()).await), (None, None));
        let called = store.identity_called(tenant(), "acme".to_owned()).await.unwrap();
        assert_eq!(called.as_ref(), Some(&first));

        let changed = Identity { rate_limits: Vec::new(), updated: Timestamp(20), ..first.clone() };
        let replace = async |expected: u64| {
            store.replace_identity(tenant(), changed.clone(), expected, any_event()).await.unwrap()
        };
        assert!(replace(1).await && !replace(1).await);
        assert_eq!(read(tenant()).await, Some(Identity { revision: 2, ..changed.clone() }));
        let delete = async |scope| store.delete_identity(scope, first.clone(), any_event()).await.unwrap();
        assert!(!delete(other_tenant()).await && delete(tenant()).await && !delete(tenant()).await);
        assert!(store.insert_identity(system(), first.clone(), any_event()).await.is_err());
    }

    async fn identities_are_listed_newest_first_after_a_place(kind) {
        let fixture = Fixture::new(kind).await;
        for number in [3, 1, 2] {
            assert!(fixture.insert_identity(tenant(), &identity(number, &format!("n-{number}"))).await);
        }
        assert!(fixture.insert_identity(other_tenant(), &identity(9, "n-9")).await);
        let list = async |after, limit| {
            let listed = fixture.store.identities(tenant(), after, limit).await.unwrap();
            listed.into_iter().map(|identity| identity.external_id).collect::<Vec<_>>()
        };
        assert_eq!(list(None, 2).await, ["n-3", "n-2"]);
        assert_eq!(list(Some((Timestamp(2), identity(2, "").id)), 9).await, ["n-1"]);
        assert!(fixture.store.identities(system(), None, 9).await.unwrap().is_empty());
    }

    async fn a_key_is_read_with_the_identity_that_its_actor_names(kind) {
        let fixture = Fixture::new(kind).await;
        let acme = identity(1, "user:1");
        assert!(fixture.insert_identity(tenant(), &acme).await);
        assert!(fixture.insert_identity(other_tenant(), &identity(2, "elsewhere")).await);
        let of = |actor: Option<&str>, key: Key| Key { actor_id: actor.map(str::to_owned), ..key };
        for (kind, plain) in [(KeyKind::Issued, issued as fn(u64) -> Key), (KeyKind::Imported, imported)] {
            let keys = [full(kind), of(None, plain(1)), of(Some("elsewhere"), plain(2)), of(Some("user:1"), plain(3))];
            for key in &keys {
                fixture.insert(key.clone()).await;
            }
            let ids = keys.iter().map(|key| key.key_id.clone()).chain([id(99)]).collect();
            let mut read = fixture.store.keys_with_identities(tenant(), kind, ids).await.unwrap();
            read.sort_by(|(one, _), (other, _)| one.key_id.cmp(&other.key_id));
            let [whole, nobody, elsewhere, named] = keys;
            let wanted = [(nobody, None), (elsewhere, None), (named, Some(acme.clone())), (whole, Some(acme.clone()))];
            assert_eq!(read, wanted);
        }
    }

    async fn an_identity_that_cannot_be_read_hides_no_other(kind) {
        let fixture = Fixture::new(kind).await;
        let [good, limits, metadata] = [identity(1, "good"), identity(2, "limits"), identity(3, "metadata")];
        for (number, identity) in (1..).zip([&good, &limits, &metadata]) {
            assert!(fixture.insert_identity(tenant(), identity).await);
            fixture.insert(Key { actor_id: Some(identity.external_id.clone()), ..issued(number) }).await;
        }
        let mut tx = fixture.store.0.write().await.unwrap();
        let unit = r#"UPDATE identities SET rate_limits = '[{"name":"l","quota":1,"window_s":1,"unit":"moons","auto_apply":true}]'
            WHERE external_id = 'limits'"#;
        assert_eq!(tx.execute(unit, Vec::new()).await.unwrap(), 1);
        let list = "UPDATE identities SET metadata = '[]' WHERE external_id = 'metadata'";
        assert_eq!(tx.execute(list, Vec::new()).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let spoilt = |identity: Identity| {
            Some(Identity { metadata: JsonObject::default(), rate_limits: Vec::new(), is_whole: false, ..identity })
        };
        let wanted = [Some(good), spoilt(limits), spoilt(metadata)];
        let ids = (1..=3).map(id).collect();
        let mut read = fixture.store.keys_with_identities(tenant(), KeyKind::Issued, ids).await.unwrap();
        read.sort_by(|(one, _), (other, _)| one.key_id.cmp(&other.key_id));
        assert_eq!(read.into_iter().map(|(_, identity)| identity).collect::<Vec<_>>(), wanted);
        let mut listed = fixture.store.identities(tenant(), None, 9).await.unwrap();
        listed.reverse();
        assert_eq!(listed.into_iter().map(Some).collect::<Vec<_>>(), wanted);
    }

    async fn every_change_of_an_identity_is_heard(kind) {
        let fixture = Fixture::new(kind).await;
        let mut changes = news::listening(&fixture.store).await;
        let acme = identity(1, "acme/ü");
        let heard = Some(KeyChange::Identity { nid: nid(1), external_id: "acme/ü".to_owned() });
        assert!(fixture.insert_identity(tenant(), &acme).await);
        assert_eq!(news::next(&mut changes).await, heard);
        assert!(fixture.store.replace_identity(tenant(), acme.clone(), 1, any_event()).await.unwrap());
        assert_eq!(news::next(&mut changes).await, heard);
        assert!(fixture.store.delete_identity(tenant(), acme, any_event()).await.unwrap());
        assert_eq!(news::next(&mut changes).await, heard);
    }
}

#[tokio::test]
async fn postgresql_shows_no_identity_to_a_session_that_has_not_said_whose() {
    let fixture = Fixture::new(Store::Postgres).await;
    assert!(fixture.insert_identity(tenant(), &identity(1, "acme")).await);
    let count = async |said: &str| {
        let script = format!("SET ROLE bulkhead; {said} SELECT count(*) FROM identities");
        fixture.database.as_ref().unwrap().sql(&script)
    };
    assert_eq!(count("").await, "0");
    assert_eq!(count(&format!("SET bulkhead.nid = '{}';", nid(2))).await, "0");
    assert_eq!(count(&format!("SET bulkhead.nid = '{}';", nid(1))).await, "1");
}
