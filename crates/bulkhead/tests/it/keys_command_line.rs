//! The key server's command line (Talos dossier §9).

use bh_testkit::{CliOutput, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD};
use crate::keys_program::network_yaml;

pub(crate) fn printed(output: &CliOutput) -> Value {
    assert!(output.ok(), "{output}");
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output}"))
}

/// A server that wants an admin key, and the command line that has it.
pub(crate) async fn guarded(store: Store) -> Gateway {
    Gateway::builder(BULKHEAD).store(store).env("BULKHEAD_ADMIN_KEY", ADMIN_KEY).start().await
}

pub(crate) fn keys(gateway: &Gateway, args: &[&str]) -> CliOutput {
    gateway.cli(&[&["keys", "-e", gateway.url()], args].concat())
}

pub(crate) fn keys_json(gateway: &Gateway, args: &[&str]) -> Value {
    printed(&keys(gateway, &[args, &["--format", "json"]].concat()))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

on_both_stores! {
    /// Proves: TALOS-C20
    async fn a_key_lives_its_whole_life_on_the_command_line(store) {
        let gateway = guarded(store).await;
        let issue = ["issue", "ci", "--actor", "svc", "--scopes", "read,write", "--ttl", "30d", "--rate-limit", "100/60s", "--allowed-cidrs", "127.0.0.0/8"];
        let issued = keys_json(&gateway, &issue);
        let (key, secret) = (&issued["issued_api_key"], text(&issued["secret"]));
        let id = text(&key["key_id"]);
        assert_eq!((&key["scopes"], &key["rate_limit_policy"]["quota"]), (&json!(["read", "write"]), &json!("100")));
        assert_eq!(keys_json(&gateway, &["verify", secret])["key_id"], json!(id));
        assert_eq!(keys_json(&gateway, &["get", id])["name"], json!("ci"));
        let changed = keys_json(&gateway, &["issued", "update", id, "--name", "ci-2", "--scopes", "", "--allowed-cidrs", ""]);
        assert_eq!(changed["name"], json!("ci-2"));
        assert!(changed["scopes"].as_array().is_none_or(Vec::is_empty), "{changed}");
        let derived = keys_json(&gateway, &["derive", secret, "--algorithm", "macaroon", "--ttl", "10m"]);
        assert!(keys_json(&gateway, &["verify", text(&derived["token"]["token"])])["is_valid"].as_bool().unwrap());
        let rotated = keys_json(&gateway, &["rotate", id]);
        let (new_id, new_secret) = (text(&rotated["issued_api_key"]["key_id"]), text(&rotated["secret"]));
        let refused = keys(&gateway, &["verify", secret, "--json"]);
        assert_eq!(refused.code, Some(1), "{refused}");
        assert!(refused.stdout.contains("VERIFICATION_ERROR_REVOKED") && !refused.stderr.contains(secret), "{refused}");
        assert!(keys(&gateway, &["verify", new_secret]).ok());
        let list = keys_json(&gateway, &["list", "--filter", "status=KEY_STATUS_ACTIVE"]);
        assert_eq!(list["issued_api_keys"].as_array().unwrap().len(), 1, "{list}");
        assert!(keys(&gateway, &["issued", "revoke", new_id, "--reason", "key_compromise"]).ok());
        let again = keys(&gateway, &["revoke", new_id]);
        assert_eq!(again.code, Some(1));
        assert!(again.stderr.contains("(409 "), "{again}");
        assert!(keys(&gateway, &["delete", new_id]).ok());
        assert_eq!(keys(&gateway, &["get", new_id]).code, Some(1));
    }

    /// Proves: TALOS-C20
    async fn keys_from_elsewhere_are_imported_alone_and_by_the_file(store) {
        let gateway = guarded(store).await;
        let imported = keys_json(&gateway, &["imported", "import", "stripe", "--raw-key", "sk_live_1", "--actor", "svc"]);
        let id = text(&imported["key_id"]);
        assert_eq!(id.len(), 64);
        assert!(keys_json(&gateway, &["verify", "sk_live_1"])["is_valid"].as_bool().unwrap());
        let line = |n: u32| format!("{{\"raw_key\": \"sk_live_{n}\", \"name\": \"k{n}\", \"actor_id\": \"svc\"}}\n");
        let file = gateway.config_path().with_file_name("keys.jsonl");
        std::fs::write(&file, (1..=1_101).map(line).collect::<String>()).unwrap();
        let output = keys(&gateway, &["import-file", file.to_str().unwrap(), "--json"]);
        assert_eq!(output.code, Some(1), "one of them is there already: {output}");
        let told: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!((&told["success_count"], &told["failure_count"]), (&json!(1_100), &json!(1)));
        assert_eq!(told["failures"][0]["index"], json!(0));
        assert!(!output.stdout.contains("sk_live_"), "a key shows");
        assert!(keys_json(&gateway, &["verify", "sk_live_1101"])["is_valid"].as_bool().unwrap());
        let list = keys_json(&gateway, &["imported", "list", "--limit", "1101"]);
        assert_eq!(list["imported_api_keys"].as_array().unwrap().len(), 1_101);
        assert!(keys(&gateway, &["imported", "revoke", id, "--reason", "superseded"]).ok());
        assert_eq!(keys(&gateway, &["verify", "sk_live_1"]).code, Some(1));
        assert!(keys(&gateway, &["imported", "delete", id]).ok());
        std::fs::write(&file, "{\"raw_key\": \"sk_secret_9\"\n").unwrap();
        let broken = keys(&gateway, &["import-file", file.to_str().unwrap()]);
        assert!(!broken.ok() && broken.stderr.contains("keys.jsonl:1: expected a JSON object"), "{broken}");
        assert!(!broken.stderr.contains("sk_secret_9"), "a key shows");
    }

    async fn the_command_line_says_what_is_wrong_and_ends_with_one(store) {
        let gateway = guarded(store).await;
        let wrong = |args: &[&str], why: &str| {
            let output = gateway.cli(args);
            assert_eq!(output.code, Some(1), "{args:?}: {output}");
            assert!(output.stderr.contains(why) && output.stdout.is_empty(), "{args:?}: {output}");
        };
        let url = gateway.url();
        wrong(&["keys", "-e", url, "get", "unknown"], "(404 NOT_FOUND)");
        wrong(&["keys", "-e", url, "issue", "x", "--ttl", "tomorrow"], "`ttl`");
        wrong(&["keys", "-e", url, "issue", "x", "--rate-limit", "lots"], "--rate-limit: expected");
        wrong(&["keys", "-e", url, "issue", "x", "--metadata", "[]"], "--metadata: expected a JSON object");
        wrong(&["keys", "-e", url, "update", "x"], "nothing to change");
        wrong(&["keys", "-e", url, "issue", "x", "--limit", "a=5"], "--limit: expected NAME=QUOTA/WINDOW");
        wrong(&["keys", "-e", url, "issue", "x", "--limit", "a=5/1h:apples"], "`rate_limits[0].unit`");
        wrong(&["keys", "-e", url, "issue", "x", "--permission", "a..b"], "`a..b` is not a permission");
        wrong(&["keys", "-e", url, "issue", "x", "--refill", "weekly:5"], "--refill: expected daily:AMOUNT");
        wrong(&["keys", "-e", url, "credits", "x", "--set", "many"], "--set: expected a number");
        wrong(&["keys", "-e", url, "verify", "x", "--permission", "a AND"], "`permissions`: expected");
        wrong(&["keys", "-e", url, "import", "x", "--actor", "a", "--sha256", "abc"], "`hashed.digest`: expected");
        for unclear in [
            &["credits", "x"][..],
            &["credits", "x", "--set", "1", "--increment", "2"],
            &["import", "x", "--actor", "a"],
            &["import", "x", "--actor", "a", "--raw-key", "k", "--sha256", "d"],
        ] {
            let output = keys(&gateway, unclear);
            assert_eq!(output.code, Some(2), "{unclear:?}: {output}");
            assert!(output.stderr.contains("--help"), "{output}");
        }
        wrong(&["keys", "-e", "ftp://x", "list"], "--endpoint: expected");
        wrong(&["keys", "-e", "http://127.0.0.1:1", "list"], "no answer from http://127.0.0.1:1");
        let file = gateway.config_path().with_file_name("wrong.key");
        std::fs::write(&file, "another-key\n").unwrap();
        wrong(&["keys", "-e", url, "--admin-key-file", file.to_str().unwrap(), "list"], "(401 UNAUTHENTICATED)");
        assert_eq!(gateway.cli(&["keys", "revoke", "x", "--reason", "boredom"]).code, Some(2));
    }

    async fn the_configured_server_is_asked_with_the_configured_key_and_no_other_server_is_told_it(store) {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let listen = format!("server:\n  listen: 127.0.0.1:{port}\n");
        let yaml = format!("{listen}admin_keys:\n  - {{name: v, key: viewer-key-1, role: viewer}}\n  - {{name: a, key: {ADMIN_KEY}}}\n");
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        let issued = gateway.cli(&["keys", "issue", "x"]);
        assert!(issued.ok() && issued.stdout.contains("\nsecret: ory_ak_v1_"), "{issued}");
        assert!(!issued.stderr.contains("ory_ak_v1_"), "the secret shows on standard error");
        let elsewhere = keys(&gateway, &["list"]);
        assert!(elsewhere.code == Some(1) && elsewhere.stderr.contains("(401 UNAUTHENTICATED)"), "{elsewhere}");
    }

    async fn a_tenant_is_named_by_its_host(store) {
        let networks = format!("{}    - {{hostname: b.example, id: 550e8400-e29b-41d4-a716-446655440002}}\n", network_yaml());
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&networks).start().await;
        let issued = keys_json(&gateway, &["issue", "x", "--tenant", "a.example"]);
        let secret = text(&issued["secret"]);
        assert!(keys(&gateway, &["verify", secret, "--tenant", "a.example"]).ok());
        assert_eq!(keys(&gateway, &["verify", secret, "--tenant", "b.example"]).code, Some(1));
        let unknown = keys(&gateway, &["list", "--tenant", "c.example"]);
        assert!(!unknown.ok() && unknown.stderr.contains("network not found"), "{unknown}");
    }

    /// Proves: TALOS-C20
    async fn the_schema_is_migrated_beforehand_or_said_to_be_old(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        assert_eq!(printed(&gateway.cli(&["migrate", "status", "--json"]))["current"], json!(true));
        assert!(gateway.terminate().await);
        assert!(gateway.cli(&["migrate", "up"]).ok());
        let elsewhere = gateway.data_dir().join("other.db");
        let database = elsewhere.to_str().unwrap();
        assert_eq!(gateway.cli(&["migrate", "status", "--database", database]).code, Some(1));
        assert!(gateway.cli(&["migrate", "up", "--database", database]).ok());
        assert!(gateway.cli(&["migrate", "status", "--database", database]).ok());
    }
}

/// Proves: TALOS-C20
#[test]
fn signing_keys_are_made_and_are_what_the_configuration_takes() {
    for (algorithm, kind) in [("eddsa", "OKP"), ("rs256", "RSA")] {
        let made = Gateway::builder(BULKHEAD).run(&["jwk", "generate", algorithm, "--format", "json"]);
        let key = printed(&made);
        assert_eq!((&key["kty"], &key["use"]), (&json!(kind), &json!("sig")));
        assert!(key["d"].is_string() && made.stderr.is_empty());
        let set = Gateway::builder(BULKHEAD).run(&["jwk", "generate", algorithm, "--jwks", "--base64"]);
        let config = format!(
            "credentials: {{derived_tokens: {{jwt: {{signing_keys: {{urls: ['{}']}}}}}}}}\n",
            set.stdout.trim()
        );
        let checked = Gateway::builder(BULKHEAD).config(&config).run(&["validate"]);
        assert!(checked.ok(), "{checked}");
    }
}
