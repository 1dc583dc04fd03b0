//! The sealed store, with the story that seals.

use std::collections::BTreeSet;
use std::sync::Arc;

use bh_app::content::ContentSealer;
use bh_app::ports::{
    AuditEvent, KeyRef, ProfileStore as _, Replaced, StoredContent, SystemClock, VaultStore as _,
};
use bh_app::tenants::Actor;
use bh_app::vault::{
    MasterFault, MasterKey, MasterSource, Masters, Ring, SECRET_BYTES_MAX, SecretName, UnlockFault, Vault,
    VaultParts, derived, unlock,
};
use bh_domain::keys::key::JsonObject;
use bh_domain::refusal::Code;
use bh_domain::tenant::profile::{Profile, Settings, Status};
use bh_domain::tenant::{Nid, Scope, TenantId};
use bh_domain::time::Timestamp;
use bh_testkit::on_both_stores;
use parking_lot::Mutex;
use serde_json::Map;
use uuid::Uuid;

use super::fixture::{Fixture, nid, system};
use crate::SqlStore;

const NOW: Timestamp = Timestamp(1_000);
/// Two tenants of their own, as a gateway makes them.
const TENANTS: &str = "INSERT INTO tenants (nid, id, created_ms) VALUES \
    ('00000000-0000-0000-0000-000000000001', 'acme', 1), ('00000000-0000-0000-0000-000000000002', 'globex', 1); \
    INSERT INTO tenant_profiles (nid, status, settings, created_ms, updated_ms, revision) VALUES \
    ('00000000-0000-0000-0000-000000000001', 'active', '{}', 1, 1, 1), \
    ('00000000-0000-0000-0000-000000000002', 'active', '{}', 1, 1, 1)";

/// Master keys in memory: each a byte, the current one first.
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Bytes {
    fn ring(bytes: &[u8]) -> Ring {
        let mut keys = bytes.iter().map(|byte| Arc::new(MasterKey::new([*byte; 32])));
        Ring { current: keys.next().unwrap(), retired: keys.collect(), configured: false }
    }
}

impl MasterSource for Bytes {
    fn read(&self) -> Result<Ring, MasterFault> {
        Ok(Self::ring(&self.0.lock()))
    }

    fn renew(&self, in_force: &str) -> Result<Ring, MasterFault> {
        let mut bytes = self.0.lock();
        if MasterKey::new([bytes[0]; 32]).id() == in_force {
            let next = bytes[0] + 1;
            bytes.insert(0, next);
        }
        Ok(Self::ring(&bytes))
    }

    fn forget_retired(&self, _: &str) -> Result<Ring, MasterFault> {
        let mut bytes = self.0.lock();
        bytes.truncate(1);
        Ok(Self::ring(&bytes))
    }
}

fn masters(bytes: &[u8]) -> Masters {
    Masters::new(Box::new(Bytes(Arc::new(Mutex::new(bytes.to_vec()))))).unwrap()
}

fn story(store: &SqlStore, masters: Masters, separate_keys: bool) -> Vault {
    Vault::new(VaultParts {
        store: Arc::new(store.clone()),
        masters: Arc::new(masters),
        audit: Arc::new(store.clone()),
        clock: Arc::new(SystemClock::new()),
        separate_keys,
        old_content: ContentSealer::new(&[9; 32]),
    })
}

/// A store with two tenants, and a vault on it whose master key is made of ones.
async fn house(fixture: &Fixture, separate_keys: bool) -> Vault {
    batch(&fixture.store, TENANTS).await;
    unlock(&fixture.store, &masters(&[1]), NOW).await.unwrap();
    story(&fixture.store, masters(&[1]), separate_keys)
}

async fn batch(store: &SqlStore, script: &'static str) {
    let mut tx = store.0.write().await.unwrap();
    tx.batch(script).await.unwrap();
    tx.commit().await.unwrap();
}

fn ops() -> Actor {
    Actor { name: "ops".to_owned(), role: "admin", origin: Arc::default() }
}

fn name(text: &str) -> SecretName {
    SecretName::parse(text).unwrap()
}

async fn put(vault: &Vault, tenant: Nid, at: &str, value: &str) {
    vault.put(&ops(), tenant, &name(at), value.as_bytes(), &Map::new()).await.unwrap();
}

async fn value(vault: &Vault, tenant: Nid, at: &str) -> Result<String, Code> {
    let value = vault.value(tenant, &name(at)).await.map_err(|refusal| refusal.code)?;
    Ok(String::from_utf8(value.to_vec()).unwrap())
}

fn acme_id() -> TenantId {
    TenantId::parse("acme").unwrap()
}

/// Deletes tenant 1, as its story does.
async fn delete_acme(store: &SqlStore) {
    let profile = Profile {
        id: acme_id(),
        nid: nid(1),
        status: Status::Deleted,
        settings: Settings::default(),
        api_key: None,
        created: NOW,
        updated: NOW,
        revision: 2,
    };
    let event = AuditEvent {
        id: Uuid::now_v7(),
        at: NOW,
        action: "tenant.deleted".to_owned(),
        object: "acme".to_owned(),
        actor: "ops".to_owned(),
        role: "admin".to_owned(),
        before_digest: None,
        after_digest: None,
        detail: JsonObject::default(),
        origin: JsonObject::default(),
        told: None,
    };
    let replaced = store.replace_profile(Scope::tenant(nid(1)), profile, 1, event).await.unwrap();
    assert_eq!(replaced, Replaced::Done);
}

on_both_stores! {
    async fn replicas_that_race_make_one_root_key_which_only_a_known_master_opens(kind) {
        let fixture = Fixture::new(kind).await;
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let store = fixture.another_process().await;
            tasks.push(tokio::spawn(async move {
                unlock(&store, &masters(&[1]), NOW).await.unwrap().derive("key digest")
            }));
        }
        let mut roots = BTreeSet::new();
        for task in tasks {
            roots.insert(task.await.unwrap());
        }
        assert_eq!(roots.len(), 1);
        assert!(!roots.contains(&derived(&[1; 32], "key digest")), "the root is drawn, and not the master key");
        let again = unlock(&fixture.store, &masters(&[2, 1]), NOW).await.unwrap().derive("key digest");
        assert!(roots.contains(&again));
        let strange = unlock(&fixture.store, &masters(&[2]), NOW).await;
        assert!(matches!(strange, Err(UnlockFault::WrongMaster)), "{strange:?}");
    }

    async fn a_store_from_before_keeps_its_master_key_as_its_root_through_every_rotation(kind) {
        let fixture = Fixture::new(kind).await;
        // What 32 bytes of 0x01 were recognised by: HMAC-SHA256 of "bulkhead master key".
        batch(&fixture.store, "INSERT INTO meta (nid, name, value) VALUES \
            ('00000000-0000-0000-0000-000000000000', 'master_key_check', '60c5732c2ae9b405e3413416d9692e3c025469512c8246a6aa25f67f760257f5')").await;
        let wrong = unlock(&fixture.store, &masters(&[2]), NOW).await;
        assert!(matches!(wrong, Err(UnlockFault::WrongMaster)), "{wrong:?}");
        assert_eq!(fixture.store.stored_root().await.unwrap().key, None);
        let wanted = derived(&[1; 32], "key digest");
        // The new key may be configured before the first start of this version.
        assert_eq!(unlock(&fixture.store, &masters(&[2, 1]), NOW).await.unwrap().derive("key digest"), wanted);
        let vault = story(&fixture.store, masters(&[2, 1]), true);
        vault.rotate_master(&ops()).await.unwrap();
        assert_eq!(unlock(&fixture.store, &masters(&[2]), NOW).await.unwrap().derive("key digest"), wanted);
        assert!(unlock(&fixture.store, &masters(&[1]), NOW).await.is_err());
    }

    /// Proves: CONN-17
    async fn a_secret_comes_back_to_its_own_tenant_and_name_and_to_nobody_else(kind) {
        let fixture = Fixture::new(kind).await;
        let vault = house(&fixture, true).await;
        put(&vault, nid(1), "db", "first").await;
        put(&vault, nid(1), "db", "second").await;
        put(&vault, nid(2), "db", "theirs").await;
        assert_eq!(value(&vault, nid(1), "db").await, Ok("second".to_owned()));
        assert_eq!(value(&vault, nid(2), "db").await, Ok("theirs".to_owned()));
        assert_eq!(value(&vault, nid(1), "other").await, Err(Code::NotFound));
        let rows = fixture.store.secrets(Scope::tenant(nid(1)), String::new(), 9).await.unwrap();
        assert_eq!((rows.len(), rows[0].revision, rows[0].key), (1, 2, KeyRef { nid: nid(1), version: 1 }));
        assert!(!rows[0].sealed.windows(6).any(|window| window == b"second"));
        // One byte.
        batch(&fixture.store, "UPDATE tenant_secrets SET sealed = (SELECT s.sealed FROM tenant_secrets AS s \
            WHERE s.nid = '00000000-0000-0000-0000-000000000002') WHERE nid = '00000000-0000-0000-0000-000000000001'").await;
        assert_eq!(value(&vault, nid(1), "db").await, Err(Code::SecretUnreadable));
        // Also with the other one's key.
        batch(&fixture.store, "UPDATE tenant_secrets SET key_nid = '00000000-0000-0000-0000-000000000002'").await;
        assert_eq!(value(&vault, nid(1), "db").await, Err(Code::SecretUnreadable));
        assert_eq!(value(&vault, nid(2), "db").await, Ok("theirs".to_owned()));
        let check = vault.check().await.unwrap();
        assert_eq!((check.keys, check.secrets, check.unreadable_count), (3, 1, 1));
        assert_eq!(check.unreadable[0].secret.as_deref(), Some("db"));
        for bad in [String::new(), "x".repeat(SECRET_BYTES_MAX + 1)] {
            let refused = vault.put(&ops(), nid(1), &name("db"), bad.as_bytes(), &Map::new()).await.unwrap_err();
            assert_eq!(refused.code, Code::InvalidRequest);
        }
    }

    async fn a_data_key_is_replaced_while_secrets_are_stored_and_none_is_lost(kind) {
        let fixture = Fixture::new(kind).await;
        let vault = house(&fixture, true).await;
        for number in 0..30 {
            put(&vault, nid(1), &format!("s{number}"), "before").await;
        }
        let (writing, turning) = (vault.clone(), vault.clone());
        let writes = tokio::spawn(async move {
            for number in (0..30).rev() {
                put(&writing, nid(1), &format!("s{number}"), &format!("after {number}")).await;
            }
        });
        for version in 2..5 {
            let rotated = turning.rotate_data_key(&ops(), (nid(1), &acme_id())).await.unwrap();
            assert_eq!(rotated.key_version, version);
        }
        writes.await.unwrap();
        turning.settle_retiring().await.unwrap();
        for row in fixture.store.secrets(Scope::tenant(nid(1)), String::new(), 99).await.unwrap() {
            assert_eq!(row.key.version, 4, "{}", row.name);
            let number = row.name.trim_start_matches('s');
            assert_eq!(value(&vault, nid(1), &row.name).await, Ok(format!("after {number}")));
        }
        assert_eq!(fixture.store.retiring_keys(system(), None, 9).await.unwrap(), []);
    }

    async fn keys_made_while_the_master_key_changes_are_wrapped_by_the_new_one(kind) {
        let fixture = Fixture::new(kind).await;
        batch(&fixture.store, TENANTS).await;
        let bytes = Arc::new(Mutex::new(vec![1]));
        let shared = || Masters::new(Box::new(Bytes(Arc::clone(&bytes)))).unwrap();
        unlock(&fixture.store, &shared(), NOW).await.unwrap();
        // Two processes that read their keys from the same place.
        let another = fixture.another_process().await;
        let (one, two) = (story(&fixture.store, shared(), true), story(&another, shared(), true));
        let writes = tokio::spawn(async move {
            for number in 10..40 {
                put(&two, nid(number), "s", &number.to_string()).await;
            }
            two
        });
        for _ in 0..3 {
            one.rotate_master(&ops()).await.unwrap();
        }
        let two = writes.await.unwrap();
        let done = one.rotate_master(&ops()).await.unwrap();
        assert_eq!((done.verified, done.retired.len()), (31, bytes.lock().len() - 1));
        let kept = one.finish_master_rotation(&ops()).await.unwrap();
        assert_eq!((kept.master_key, kept.retired.len(), bytes.lock().len()), (done.master_key, 0, 1));
        for number in 10..40 {
            assert_eq!(value(&two, nid(number), "s").await, Ok(number.to_string()));
        }
    }

    /// Proves: CONN-71
    async fn a_deleted_tenants_keys_and_secrets_are_gone_and_nobody_adds_any(kind) {
        let fixture = Fixture::new(kind).await;
        let vault = house(&fixture, true).await;
        put(&vault, nid(1), "db", "mine").await;
        put(&vault, nid(2), "db", "theirs").await;
        let key = vault.content_key(nid(1)).await.unwrap();
        let sealed = key.seal_content(nid(1), "gw_1", "prompt", b"hello").unwrap();
        let stored = StoredContent { kind: "prompt".to_owned(), sealed: sealed.sealed, key: sealed.key };
        let opened = vault.open_content(nid(1), "gw_1", &stored).await.unwrap();
        assert_eq!(opened.as_deref(), Some(&b"hello"[..]));
        assert_eq!(vault.open_content(nid(1), "gw_2", &stored).await.unwrap(), None);
        delete_acme(&fixture.store).await;
        assert_eq!(vault.open_content(nid(1), "gw_1", &stored).await.unwrap(), None);
        assert_eq!(value(&vault, nid(1), "db").await, Err(Code::NotFound));
        let left = "SELECT (SELECT COUNT(*) FROM data_keys WHERE nid = '00000000-0000-0000-0000-000000000001') \
            + (SELECT COUNT(*) FROM tenant_secrets WHERE nid = '00000000-0000-0000-0000-000000000001')";
        assert_eq!(fixture.count(left).await, 0);
        let late = vault.put(&ops(), nid(1), &name("db"), b"late", &Map::new()).await.unwrap_err();
        assert_eq!((late.code, fixture.count(left).await), (Code::TenantNotFound, 0));
        assert_eq!(value(&vault, nid(2), "db").await, Ok("theirs".to_owned()));
    }

    async fn a_shared_data_key_still_ties_each_secret_to_its_tenant(kind) {
        let fixture = Fixture::new(kind).await;
        let vault = house(&fixture, false).await;
        put(&vault, nid(1), "db", "mine").await;
        put(&vault, nid(2), "db", "theirs").await;
        assert_eq!(fixture.count("SELECT COUNT(*) FROM data_keys").await, 2, "the root's and one for all");
        batch(&fixture.store, "UPDATE tenant_secrets SET sealed = (SELECT s.sealed FROM tenant_secrets AS s \
            WHERE s.nid = '00000000-0000-0000-0000-000000000002')").await;
        assert_eq!(value(&vault, nid(1), "db").await, Err(Code::SecretUnreadable));
        assert_eq!(value(&vault, nid(2), "db").await, Ok("theirs".to_owned()));
        // A tenant gets a key of its own when the configuration says so, with its next rotation.
        put(&vault, nid(1), "db", "mine").await;
        let separate = story(&fixture.store, masters(&[1]), true);
        let rotated = separate.rotate_data_key(&ops(), (nid(1), &acme_id())).await.unwrap();
        assert_eq!((rotated.key_version, rotated.resealed), (1, 1));
        assert_eq!(value(&separate, nid(1), "db").await, Ok("mine".to_owned()));
        let rows = fixture.store.secrets(Scope::tenant(nid(1)), String::new(), 9).await.unwrap();
        assert_eq!(rows[0].key.nid, nid(1));
        delete_acme(&fixture.store).await;
        assert_eq!(value(&vault, nid(2), "db").await, Ok("theirs".to_owned()), "the shared key stays");
    }
}
