//! Keys, their number, their changes and their trail.

mod changes;
mod identities;
mod inserting;
mod lists;
mod news;
mod trail;

use std::time::Duration;

use bh_app::ports::{
    AuditEvent, AuditStore as _, CreditsChange, CreditsDue, CreditsWanted, Inserted, KeyStore as _,
    TrailOrder,
};
use bh_domain::audit::TrailFilter;
use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind, KeyRateLimit, Revocation};
use bh_domain::keys::verdict::{KeyStatus, RevocationReason, Visibility};
use bh_domain::tenant::{Nid, Scope};
use bh_domain::time::Timestamp;
use uuid::Uuid;

use super::fixture::{Fixture, nid};
use crate::SqlStore;

/// Generous: a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// The tenant that most tests act for.
fn tenant() -> Scope {
    Scope::tenant(nid(1))
}

fn other_tenant() -> Scope {
    Scope::tenant(nid(2))
}

fn id(number: u64) -> KeyId {
    KeyId::parse(&format!("key-{number:06}")).unwrap()
}

/// A change of the credits of a key as it was inserted.
fn wanted(change: CreditsChange, due: CreditsDue) -> CreditsWanted {
    CreditsWanted { change, due, expected_revision: 1 }
}

/// A plain key, made at instant `number`.
fn key(kind: KeyKind, number: u64) -> Key {
    let created = Timestamp(i64::try_from(number).unwrap());
    Key {
        kind,
        key_id: id(number),
        name: format!("key {number}"),
        actor_id: None,
        scopes: Vec::new(),
        metadata: JsonObject::default(),
        status: KeyStatus::Active,
        enabled: true,
        visibility: Visibility::Secret,
        token_prefix: None,
        version: 0,
        secret_digest: None,
        created,
        updated: created,
        expires: None,
        last_used: None,
        rate_limit: None,
        allowed_cidrs: Vec::new(),
        revocation: None,
        request_id: None,
        extras: JsonObject::default(),
        credits: None,
        refills: None,
        revision: 1,
    }
}

fn issued(number: u64) -> Key {
    key(KeyKind::Issued, number)
}

fn imported(number: u64) -> Key {
    key(KeyKind::Imported, number)
}

fn made_by(request: &str, key: Key) -> Key {
    Key { request_id: Some(request.to_owned()), ..key }
}

fn revoked(key: Key) -> Key {
    let revocation = Revocation { reason: RevocationReason::KeyCompromise, description: None };
    Key { status: KeyStatus::Revoked, revocation: Some(revocation), ..key }
}

/// A key with something in every column that its kind has.
fn full(kind: KeyKind) -> Key {
    let of_issued = Key {
        token_prefix: Some("talos".to_owned()),
        version: 1,
        secret_digest: Some([0xd1; 32]),
        ..key(kind, 7)
    };
    let base = match kind {
        KeyKind::Issued => of_issued,
        KeyKind::Imported => key(kind, 7),
    };
    Key {
        name: "Bücher 'n' \"quotes\"".to_owned(),
        actor_id: Some("user:1".to_owned()),
        scopes: vec!["read".to_owned(), "a,b\"c".to_owned()],
        metadata: JsonObject::parse(r#"{"b":1, "a":[10000000000000000000001]}"#).unwrap(),
        status: KeyStatus::Revoked,
        enabled: false,
        visibility: Visibility::Public,
        updated: Timestamp(8),
        expires: Some(Timestamp(9)),
        last_used: Some(Timestamp(10)),
        rate_limit: Some(KeyRateLimit { quota: 100, window_s: 60 }),
        allowed_cidrs: vec!["10.0.0.0/8".to_owned(), "2001:db8::/32".to_owned()],
        revocation: Some(Revocation {
            reason: RevocationReason::PrivilegeWithdrawn,
            description: Some("left".to_owned()),
        }),
        request_id: Some("request-7".to_owned()),
        extras: JsonObject::parse(r#"{"permissions":["documents.read"]}"#).unwrap(),
        credits: Some(12),
        refills: Some(Timestamp(77)),
        revision: 3,
        ..base
    }
}

/// An event; later numbers are listed later.
fn event(number: u128) -> AuditEvent {
    AuditEvent {
        id: Uuid::from_u128(number),
        at: Timestamp(5),
        action: "key.changed".to_owned(),
        object: format!("key {number}"),
        actor: "admin:ops".to_owned(),
        role: "admin".to_owned(),
        before_digest: None,
        after_digest: Some([9; 32]),
        detail: JsonObject::parse(r#"{"fields":["name"]}"#).unwrap(),
        origin: JsonObject::parse(r#"{"request_id":"gw_1"}"#).unwrap(),
        told: None,
    }
}

pub(super) fn any_event() -> AuditEvent {
    event(Uuid::now_v7().as_u128())
}

impl Fixture {
    async fn insert(&self, key: Key) {
        let inserted = self.store.insert(tenant(), key, None, any_event()).await.unwrap();
        assert_eq!(inserted, Inserted::Created);
    }

    async fn key(&self, kind: KeyKind, number: u64) -> Option<Key> {
        self.store.keys(tenant(), kind, vec![id(number)]).await.unwrap().pop()
    }

    async fn live(&self) -> u64 {
        self.store.live_keys(tenant()).await.unwrap()
    }

    async fn events(&self) -> usize {
        let (any, newest) = (TrailFilter::default(), TrailOrder::NewestFirst);
        self.store.audit_events(tenant(), any, newest, None, 10_000).await.unwrap().len()
    }

    /// What somebody does to the database by hand.
    async fn by_hand(&self, script: &'static str) {
        let mut tx = self.store.0.write().await.unwrap();
        tx.batch(script).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Stores of several processes, in turns.
    async fn processes(&self) -> [SqlStore; 2] {
        [self.store.clone(), self.another_process().await]
    }
}

fn in_order(mut keys: Vec<Key>) -> Vec<Key> {
    keys.sort_unstable_by(|a, b| a.key_id.cmp(&b.key_id));
    keys
}

const BOTH: [KeyKind; 2] = [KeyKind::Issued, KeyKind::Imported];

/// A tenant whose rows nobody made.
const STRANGER: Nid = Nid(Uuid::from_u128(99));
