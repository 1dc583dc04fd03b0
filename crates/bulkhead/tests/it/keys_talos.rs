//! Coming from Talos: its database's keys go on working (Talos dossier §3, §9).

use std::process::Command;

use bh_testkit::{Call, CliOutput, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_command_line::text;
use crate::keys_program::{ISSUED, SECRET, VERIFY, network_yaml};

/// What Talos leaves behind: dossier §9's columns, the key of §3.1, one that was revoked, the imported key of §3.3, and a
/// row that nobody can read.
const TALOS: &str = r##"
import sqlite3, sys
nid = sys.argv[2]
with sqlite3.connect(sys.argv[1]) as db:
    shared = "name varchar(255) NOT NULL, actor_id varchar(255), scopes JSON NOT NULL, metadata JSON NOT NULL, status int NOT NULL, last_used_at timestamp, expires_at timestamp, created_at timestamp NOT NULL, updated_at timestamp NOT NULL, rate_limit_quota bigint, rate_limit_window bigint, revocation_reason int DEFAULT 0, revocation_reason_text varchar(500), allowed_cidrs JSON, request_id varchar(36), visibility int DEFAULT 1"
    db.execute("CREATE TABLE networks (id varchar(36) PRIMARY KEY)")
    db.execute(f"CREATE TABLE issued_api_keys (nid varchar(36), key_id varchar(36), token_prefix varchar(16), version int, {shared}, PRIMARY KEY (nid, key_id))")
    db.execute(f"CREATE TABLE imported_api_keys (nid varchar(36), key_id varchar(64), {shared}, PRIMARY KEY (nid, key_id))")
    db.execute("INSERT INTO networks VALUES (?)", (nid,))
    issued = """INSERT INTO issued_api_keys (nid, key_id, token_prefix, version, name, actor_id, scopes, metadata, status, created_at, updated_at, revocation_reason, rate_limit_quota, rate_limit_window) VALUES (?, ?, 't3', 1, ?, 'svc', '["read"]', '{"team":"x"}', ?, '2026-01-01 00:00:00 +0000 UTC', '2026-01-02T00:00:00Z', ?, 1000, 60)"""
    db.execute(issued, (nid, "3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e5f", "live", 1, 0))
    db.execute(issued, (nid, "3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e60", "gone", 2, 1))
    imported = "INSERT INTO imported_api_keys (nid, key_id, name, actor_id, scopes, metadata, status, created_at, updated_at) VALUES (?, ?, 'stripe', 'svc', ?, x'7b7d', 1, 1767225600, 1767225600)"
    db.execute(imported, (nid, sys.argv[3], "[]"))
    db.execute(imported, (nid, "f" * 64, "no list"))
"##;
const KEY_OF_TALOS: &str = "t3_v1_Qixkm4LLsreXThDin1LjiPzWdqj9LmfnNgVDhk2GFun3gQsTpYuUUoQKsD4WLJiH_5ene3AfHFyZM1GbjLt9uLREnxes8b6Cnwm2ZUAtoMn1A";
const ID_OF_TALOS: &str = "3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e5f";
const NIL: &str = "00000000-0000-0000-0000-000000000000";
const NETWORK: &str = "550e8400-e29b-41d4-a716-446655440001";
const HASH_NIL: &str = "8b6e68c91ff92f37e4aa41a5202093abd1400dfd5246649694b710b31bbca063";
const HASH_NETWORK: &str = "792697dfd6c018b9110c216ca7bfcf0515852e050f21315b0b896cc74d76630b";

fn talos_database(gateway: &Gateway, nid: &str, hash: &str) -> String {
    let file = gateway.config_path().with_file_name("talos.db");
    let run = Command::new("python3").args(["-c", TALOS]).arg(&file).args([nid, hash]).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    format!("sqlite:{}", file.display())
}

/// The old secret and prefix; lifetimes that outlast this test.
fn talos_settings() -> String {
    format!(
        "secrets: {{hmac: {{current: {SECRET}}}}}\ncredentials: {{api_keys: {{max_ttl: 876000h, prefix: {{current: t3}}}}}}\n"
    )
}

/// The database belongs to the server while it serves, where it is a file.
async fn import_talos(gateway: &mut Gateway, from: &str, more: &[&str]) -> CliOutput {
    if gateway.database().is_none() {
        assert!(gateway.terminate().await);
    }
    gateway.cli(&[&["keys", "import-talos", "--from", from, "--json"], more].concat())
}

on_both_stores! {
    async fn keys_of_a_talos_database_go_on_working(store) {
        for (config, nid, hash, host) in [
            (talos_settings(), NIL, HASH_NIL, "localhost"),
            (format!("{}{}", talos_settings(), network_yaml()), NETWORK, HASH_NETWORK, "a.example"),
        ] {
            let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&config).start().await;
            let from = talos_database(&gateway, nid, hash);
            let call = |gateway: &Gateway, path: &str| Call::get(gateway.at(path)).header("host", host);
            let seen = import_talos(&mut gateway, &from, &[]).await;
            assert_eq!(seen.code, Some(1), "one row cannot be read: {seen}");
            let told: Value = serde_json::from_str(&seen.stdout).unwrap();
            let network = &told["networks"][0];
            assert_eq!((&told["applied"], &network["nid"]), (&json!(false), &json!(nid)));
            assert_eq!(network["issued"], json!({"found": 2, "new": 2, "there_already": 0}));
            assert_eq!(network["imported"], json!({"found": 2, "new": 1, "there_already": 0}));
            assert_eq!(network["problems"][0], json!({"key_id": "f".repeat(64), "problem": "`scopes` is no JSON list of texts"}));
            gateway.restart().await;
            assert_eq!(call(&gateway, &format!("{ISSUED}/{ID_OF_TALOS}")).send().await.status, 404, "a dry run wrote");

            for there_already in [0, 2] {
                let done = import_talos(&mut gateway, &from, &["--apply"]).await;
                let told: Value = serde_json::from_str(&done.stdout).unwrap();
                let issued = json!({"found": 2, "new": 2 - there_already, "there_already": there_already});
                assert_eq!(told["networks"][0]["issued"], issued, "{done}");
                gateway.restart().await;
            }
            let verify = async |credential: &str| {
                let call = Call::post(gateway.at(VERIFY), &json!({"credential": credential}));
                call.header("host", host).send().await.json()
            };
            let verified = verify(KEY_OF_TALOS).await;
            assert_eq!((&verified["is_valid"], &verified["key_id"]), (&json!(true), &json!(ID_OF_TALOS)), "{verified}");
            assert_eq!((&verified["scopes"], &verified["metadata"]), (&json!(["read"]), &json!({"team": "x"})));
            assert_eq!(verify("sk_live_abc123").await["key_id"], json!(hash));
            let row = call(&gateway, &format!("{ISSUED}/{ID_OF_TALOS}")).send().await.json();
            let stored = (text(&row["create_time"]), text(&row["update_time"]), text(&row["rate_limit_policy"]["quota"]));
            assert!(stored.0.starts_with("2026-01-01T00:00:00") && stored.1.starts_with("2026-01-02T00:00:00"), "{row}");
            assert_eq!(stored.2, "1000");
            let gone = call(&gateway, &format!("{ISSUED}/3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e60")).send().await.json();
            let revoked = (text(&gone["status"]), text(&gone["revocation_reason"]));
            assert_eq!(revoked, ("KEY_STATUS_REVOKED", "REVOCATION_REASON_KEY_COMPROMISE"));
        }
    }

    async fn a_prefix_that_would_not_be_known_is_pointed_out(store) {
        for (prefix, missing) in [("other", json!(["t3"])), ("t3", json!([]))] {
            let config = talos_settings().replace("current: t3", &format!("current: {prefix}"));
            let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&config).start().await;
            let from = talos_database(&gateway, NIL, HASH_NIL);
            let seen = import_talos(&mut gateway, &from, &[]).await;
            let told: Value = serde_json::from_str(&seen.stdout).unwrap();
            assert_eq!(told["networks"][0]["prefixes_not_accepted"], missing, "{seen}");
        }
    }

    async fn a_talos_network_that_is_nobody_s_here_and_a_file_of_something_else_are_refused(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let from = talos_database(&gateway, NETWORK, HASH_NETWORK);
        let refused = import_talos(&mut gateway, &from, &["--apply"]).await;
        assert!(refused.code == Some(1) && refused.stderr.contains("no tenant here has the network id"), "{refused}");
        let missing = import_talos_of(&gateway, "sqlite:/nowhere/talos.db");
        assert!(missing.code == Some(1) && missing.stderr.contains("cannot read /nowhere/talos.db"), "{missing}");
        std::fs::write(gateway.config_path().with_file_name("empty.db"), "").unwrap();
        let empty = import_talos_of(&gateway, "sqlite:empty.db");
        assert!(empty.code == Some(1) && empty.stderr.contains("is no Talos database"), "{empty}");
    }
}

fn import_talos_of(gateway: &Gateway, from: &str) -> CliOutput {
    gateway.cli(&["keys", "import-talos", "--from", from])
}
