//! Rotation of the master key and of data keys, while the gateway serves, and what came before (decision 26).

use aws_lc_rs::hmac;
use bh_domain::keys::imported::{HashVersion, ImportHasher};
use bh_domain::tenant::Nid;
use bh_testkit::{Call, Store, on_both_stores};
use serde_json::json;

use crate::keys_setup::{IMPORTED, ISSUED, VERIFY, import_body};
use crate::money::tamper;
use crate::vault_setup::{House, SECRETS, TENANTS, builder, secret, until};

/// What the other secrets of replicas are.
const OTHERS: &str = "evidence_key: an-evidence-key-that-replicas-share, \
    signing_key: 5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";
const OLD: &str = "an-old-master-key-of-both-replicas-1";
const NEW: &str = "a-new-master-key-of-both-replicas-02";

/// Replicas' secrets, with these master keys, the current one first.
fn masters(keys: &[&str]) -> String {
    let retired = keys[1..].join(", ");
    format!("secrets: {{master_key: {}, master_keys_retired: [{retired}], {OTHERS}}}\n", keys[0])
}

/// Whether a credential of the default tenant is good.
async fn is_good(house: &House, credential: &str) -> bool {
    let verdict = house.ask("POST", VERIFY, Some(&json!({ "credential": credential }))).await.json();
    verdict["is_valid"] == json!(true)
}

/// Whether a tenant's key opens its door.
async fn opens(house: &House, key: &str) -> bool {
    Call::get(house.0.at("/api/v1/audit")).bearer(key).send().await.status == 200
}

async fn issue(house: &House) -> String {
    let made = house.ask("POST", ISSUED, Some(&json!({"name": "before"}))).await.json();
    made["secret"].as_str().unwrap().to_owned()
}

/// A token derived from a key: what it is signed with is derived from the root key.
async fn token(house: &House, key: &str) -> String {
    let body = json!({"credential": key, "algorithm": "TOKEN_ALGORITHM_JWT", "ttl": "3600s"});
    let made = house.ask("POST", "/v2alpha1/admin/apiKeys:derive", Some(&body)).await;
    let told = made.json();
    told["token"]["token"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
}

fn id_of_master(house: &House) -> String {
    tamper(&house.0, "SELECT master_id FROM data_keys WHERE version = 0")
}

/// HMAC-SHA256, by hand.
fn tag(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

on_both_stores! {
    async fn a_generated_master_key_is_replaced_while_keys_tokens_and_secrets_go_on(store) {
        let mut house = House::start(store, "").await;
        let tenant_key = house.make("acme").await;
        house.put("acme", "db", "v").await;
        let key = issue(&house).await;
        let token = token(&house, &key).await;
        let first = (house.kept(), id_of_master(&house));
        let turned = house.cli(&["rotate-master"]);
        assert!(turned.ok() && turned.stdout.contains("2 keys are wrapped anew, all 2 open"), "{turned}");
        let second = (house.kept(), id_of_master(&house));
        assert_ne!(first.1, second.1);
        assert_eq!(second.0["master_keys_retired"], json!([first.0["master_key"]]));
        assert_eq!(second.0["evidence_key"], first.0["evidence_key"]);
        house.put("acme", "later", "v").await;
        house.make("globex").await;
        house.put("globex", "db", "v").await;
        let goes_on = async |house: &House| {
            assert_eq!(house.verified().await, (3, 3, vec![]));
            assert!(is_good(house, &key).await && is_good(house, &token).await);
            assert!(opens(house, &tenant_key).await, "what was issued before works on");
            house.done("GET", &secret("acme", "db"), None, 200).await;
        };
        goes_on(&house).await;
        house.0.restart().await;
        goes_on(&house).await;
        // Now for good: the old one is forgotten, here and in the file.
        let finished = house.finish().await;
        assert_eq!((finished.status, &finished.json()["data"]["retired"]), (200, &json!([])));
        assert_eq!(house.kept().get("master_keys_retired"), None);
        house.0.restart().await;
        goes_on(&house).await;
        // Whoever has the old file alone opens nothing.
        assert!(house.0.terminate().await);
        std::fs::write(house.secrets_file(), first.0.to_string()).unwrap();
        let end = house.0.try_restart_as(|same| same).await.expect_err("the master key is another");
        assert!(end.code == Some(1) && end.stderr.contains("`secrets.master_key` is not the one this store was made with"), "{end}");
        std::fs::write(house.secrets_file(), second.0.to_string()).unwrap();
        house.0.restart().await;
        goes_on(&house).await;
        let events = tamper(&house.0, "SELECT count(*) FROM audit_events WHERE action = 'secret.master_key_rotated' \
            AND nid = '00000000-0000-0000-0000-000000000000'");
        assert_eq!(events, "1");
    }

    /// What the file held is in use: it is not made anew, and the key in memory stays.
    async fn a_file_of_secrets_that_goes_away_while_the_gateway_serves_takes_no_key_with_it(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        house.put("acme", "db", "hunter2").await;
        let file = house.0.data_dir().join("server-secrets.json");
        let held = std::fs::read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let shown = house.ask("GET", &format!("{SECRETS}/master-key"), None).await;
        let turned = house.ask("POST", &format!("{SECRETS}/rotate-master"), None).await;
        assert_eq!((shown.status, turned.status), (500, 500), "{} {}", shown.text(), turned.text());
        assert!(!file.exists());
        house.put("acme", "another", "hunter3").await;
        std::fs::write(&file, held).unwrap();
        let (_, secrets, unreadable) = house.verified().await;
        assert_eq!((secrets, unreadable), (2, vec![]));
    }

    async fn a_configured_master_key_is_replaced_by_what_the_configuration_says_next(store) {
        let mut house = House::start(store, &masters(&[OLD])).await;
        house.make("acme").await;
        house.put("acme", "db", "v").await;
        let (status, code, message) = house.refused("POST", &format!("{SECRETS}/rotate-master"), None).await;
        assert_eq!((status, code.as_str()), (409, "FAILED_PRECONDITION"));
        assert!(message.contains("`secrets.master_key`") && message.contains("`secrets.master_keys_retired`"), "{message}");
        // Without a restart.
        house.0.reload(&masters(&[NEW, OLD]));
        let path = format!("{SECRETS}/master-key");
        until("the new key is known", async || {
            let known = house.done("GET", &path, None, 200).await;
            known["current"] != known["inForce"] && known["source"] == json!("configuration")
        }).await;
        let turned = house.rotate_master().await;
        assert_eq!((&turned["rewrapped"], &turned["verified"]), (&json!(2), &json!(2)));
        let known = house.done("GET", &path, None, 200).await;
        assert_eq!((&known["current"], &known["retired"]), (&known["inForce"], &json!([turned["previous"]])));
        assert_eq!(house.finish().await.status, 409, "that is for the configuration to say");
        house.0.try_restart_as(|same| same.config(&masters(&[NEW]))).await.unwrap();
        assert_eq!(house.verified().await, (2, 1, vec![]));
        let end = house.0.try_restart_as(|same| same.config(&masters(&[OLD]))).await.expect_err("it is over");
        assert!(end.stderr.contains("`secrets.master_key`"), "{end}");
    }

    async fn an_installation_from_before_opens_as_it_was_and_goes_on_through_a_rotation(store) {
        // A store as the version before made it: no root key, and the master key recognised by its own digest.
        let mut house = House::start(store, "").await;
        let master = house.kept()["master_key"].as_str().unwrap().to_owned();
        let bytes: Vec<u8> =
            (0..32).map(|n| u8::from_str_radix(&master[2 * n..2 * n + 2], 16).unwrap()).collect();
        house.0.kill9();
        let check = hex(&tag(&bytes, "bulkhead master key"));
        tamper(&house.0, &format!(
            "DELETE FROM data_keys; UPDATE meta SET value = '{check}' WHERE name = 'master_key_check'"
        ));
        house.0.restart().await;
        let key = issue(&house).await;
        let token = token(&house, &key).await;
        let imported = house.ask("POST", IMPORTED, Some(&import_body("an-imported-key-from-before"))).await;
        assert_eq!(imported.status, 201, "{}", imported.text());
        // What the version before would look for: a key's id is made of its text and of the master key.
        let pepper = tag(&bytes, "bulkhead imported keys").try_into().unwrap();
        let nid = Nid(tamper(&house.0, "SELECT nid FROM imported_api_keys").parse().unwrap());
        let wanted = ImportHasher::new(&pepper).key_id(HashVersion::V3, nid, b"an-imported-key-from-before");
        assert_eq!(tamper(&house.0, "SELECT key_id FROM imported_api_keys"), wanted);
        house.rotate_master().await;
        assert_eq!(house.finish().await.status, 200);
        house.0.restart().await;
        for credential in [key.as_str(), token.as_str(), "an-imported-key-from-before"] {
            assert!(is_good(&house, credential).await, "{credential}");
        }
    }

    async fn a_tenants_data_key_is_replaced_and_its_secrets_sealed_anew(store) {
        let house = House::start(store, "").await;
        for tenant in ["acme", "globex"] {
            house.make(tenant).await;
            house.put(tenant, "db", "v").await;
        }
        let before = tamper(&house.0, "SELECT count(*) FROM tenant_secrets WHERE key_version = 1");
        let turned = house.done("POST", &format!("{TENANTS}/acme/rotate-data-key"), None, 200).await;
        assert_eq!((before.as_str(), turned), ("2", json!({"keyVersion": 2, "resealed": 1})));
        assert_eq!(house.done("GET", &secret("acme", "db"), None, 200).await["keyVersion"], json!(2));
        assert_eq!(house.done("GET", &secret("globex", "db"), None, 200).await["keyVersion"], json!(1));
        assert_eq!(house.verified().await, (4, 2, vec![]));
        let trail = house.ask("GET", &format!("{TENANTS}/acme/audit?action=secret.data_key_rotated"), None).await.json();
        let event = &trail["data"][0];
        assert_eq!((&event["object"], &event["params"]), (&json!("acme"), &json!({"keyVersion": 2})));
        // A key of another tenant that cannot be opened stands in nobody's way.
        tamper(&house.0, "UPDATE data_keys SET state = 1, wrapped = (SELECT k.wrapped FROM data_keys AS k WHERE k.version = 0) \
            WHERE nid = (SELECT nid FROM tenants WHERE id = 'globex')");
        let again = house.done("POST", &format!("{TENANTS}/acme/rotate-data-key"), None, 200).await;
        assert_eq!(again, json!({"keyVersion": 3, "resealed": 1}));
        // One that has none yet gets its first.
        house.make("initech").await;
        let first = house.done("POST", &format!("{TENANTS}/initech/rotate-data-key"), None, 200).await;
        assert_eq!(first, json!({"keyVersion": 1, "resealed": 0}));
        assert_eq!(house.refused("POST", &format!("{TENANTS}/nobody/rotate-data-key"), None).await.1, "TENANT_NOT_FOUND");
    }

    async fn tenants_share_a_data_key_where_the_configuration_says_so(store) {
        let shared = "multiTenant: {isolation: {separateVaultKeys: false}}\n";
        let mut house = House::start(store, shared).await;
        for tenant in ["acme", "globex"] {
            house.make(tenant).await;
            house.put(tenant, "db", tenant).await;
        }
        let owners = "SELECT count(*) FROM data_keys WHERE version > 0 AND nid <> '00000000-0000-0000-0000-000000000000'";
        assert_eq!((house.verified().await.0, tamper(&house.0, owners).as_str()), (2, "0"));
        // A tenant that is deleted takes its secrets along, and nobody else's.
        house.done("DELETE", &format!("{TENANTS}/acme?confirm=true"), None, 200).await;
        assert_eq!(house.verified().await, (2, 1, vec![]));
        house.0.try_restart_as(|same| same.config("")).await.unwrap();
        house.done("GET", &secret("globex", "db"), None, 200).await;
        let own = house.done("POST", &format!("{TENANTS}/globex/rotate-data-key"), None, 200).await;
        assert_eq!((own, tamper(&house.0, owners).as_str()), (json!({"keyVersion": 1, "resealed": 1}), "1"));
        assert_eq!(house.verified().await, (3, 1, vec![]));
    }
}

#[tokio::test]
async fn master_keys_are_not_gathered_without_end() {
    let house = House::start(Store::Sqlite, "").await;
    let mut refused = None;
    for _ in 0..20 {
        let answer = house.ask("POST", &format!("{SECRETS}/rotate-master"), None).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let answer = refused.expect("there is an end");
    assert!(answer.status == 409 && answer.text().contains("--finish"), "{}", answer.text());
    assert_eq!(house.finish().await.status, 200);
    assert_eq!(house.rotate_master().await["retired"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn two_gateways_on_one_database_change_their_master_key_one_after_the_other() {
    let one = House(builder(Store::Postgres, &masters(&[OLD])).start().await);
    let url = one.0.database().unwrap().url();
    let on = |keys: &[&str]| format!("store: {{url: \"{url}\"}}\n{}", masters(keys));
    let mut one = one;
    let mut two = House(builder(Store::Sqlite, &on(&[OLD])).start().await);
    one.make("acme").await;
    one.put("acme", "db", "v").await;
    // First each learns of the new key, one after the other; the old one is in force all the while.
    one.0.try_restart_as(|same| same.config(&masters(&[NEW, OLD]))).await.unwrap();
    one.put("acme", "a", "v").await;
    let knows = async || two.ask("GET", &secret("acme", "a"), None).await.status == 200;
    until("the other gateway knows the tenant", knows).await;
    two.0.try_restart_as(|same| same.config(&on(&[NEW, OLD]))).await.unwrap();
    let turned = two.rotate_master().await;
    assert_eq!(turned["verified"], json!(2));
    for house in [&one, &two] {
        house.done("GET", &secret("acme", "db"), None, 200).await;
        assert_eq!(house.verified().await, (2, 2, vec![]));
    }
    one.make("globex").await;
    one.put("globex", "db", "v").await;
    // Then the old one goes, and nothing needs it.
    one.0.try_restart_as(|same| same.config(&masters(&[NEW]))).await.unwrap();
    two.0.try_restart_as(|same| same.config(&on(&[NEW]))).await.unwrap();
    for house in [&one, &two] {
        assert_eq!(house.verified().await, (3, 3, vec![]));
    }
}

#[tokio::test]
async fn gateways_that_share_a_data_directory_learn_of_a_new_master_key_by_themselves() {
    let one = House(builder(Store::Postgres, "").start().await);
    let yaml = format!("store: {{url: \"{}\"}}\n", one.0.database().unwrap().url());
    let shared = one.0.data_dir();
    let two = builder(Store::Sqlite, &yaml).env("BULKHEAD_DATA_DIR", shared.to_str().unwrap());
    let two = House(two.start().await);
    one.make("acme").await;
    one.put("acme", "a", "v").await;
    for (rotating, other) in [(&one, &two), (&two, &one)] {
        rotating.rotate_master().await;
        let answers = async || other.ask("GET", &secret("acme", "a"), None).await.status == 200;
        until("the other opens what it did", answers).await;
        // What the other makes now is wrapped by the new key: the old one is forgotten, and nothing is lost.
        let tenant = format!("of-{}", other.0.pid());
        other.make(&tenant).await;
        other.put(&tenant, "b", "v").await;
        assert_eq!(rotating.finish().await.status, 200);
        let (_, _, unreadable) = rotating.verified().await;
        assert_eq!(unreadable, Vec::<serde_json::Value>::new());
    }
    assert_eq!(one.verified().await, (4, 3, vec![]));
    assert_eq!(two.verified().await, (4, 3, vec![]));
}

#[tokio::test]
async fn a_gateway_that_was_not_told_of_the_new_master_key_says_so_and_loses_nothing() {
    let one = House(builder(Store::Postgres, &masters(&[OLD])).start().await);
    let url = one.0.database().unwrap().url();
    let key = one.make("acme").await;
    one.put("acme", "db", "v").await;
    let on = |keys: &[&str]| format!("store: {{url: \"{url}\"}}\n{}", masters(keys));
    let two = House(builder(Store::Sqlite, &on(&[NEW, OLD])).start().await);
    two.rotate_master().await;
    // It goes on with what it has derived, and opens nothing that the new key wraps.
    assert!(opens(&one, &key).await);
    let answer = one.ask("GET", &secret("acme", "db"), None).await;
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (503, &json!("MASTER_KEY_UNKNOWN")));
    let put = one.ask("PUT", &secret("acme", "x"), Some(&json!({"value": "v"}))).await;
    assert_eq!(put.status, 503, "{}", put.text());
    one.make("globex").await;
    assert_eq!(one.ask("PUT", &secret("globex", "x"), Some(&json!({"value": "v"}))).await.status, 503);
    assert_eq!(two.verified().await, (2, 1, vec![]));
    let mut one = one;
    one.0.reload(&masters(&[NEW, OLD]));
    until("the key is known", async || one.ask("GET", &secret("acme", "db"), None).await.status == 200).await;
    one.put("globex", "x", "v").await;
    assert_eq!(two.verified().await, (3, 2, vec![]));
}
