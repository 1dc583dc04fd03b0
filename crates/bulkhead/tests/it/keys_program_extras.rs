//! What keys have beyond Talos's members, on the command line.

use bh_domain::evidence::hex;
use bh_domain::hash::sha256;
use bh_testkit::on_both_stores;
use serde_json::{Value, json};

use crate::keys_command_line::{guarded, keys, keys_json, text};

on_both_stores! {
    async fn permissions_limits_and_credits_are_given_changed_and_taken_on_the_command_line(store) {
        let gateway = guarded(store).await;
        let made = |command: &[&str]| {
            let given = [
                "--permission", "documents.*", "--permission", "users.read", "--limit", "exports=10/1h", "--limit",
                "all=100/60m:requests:auto", "--limit", "spend=2.5/24h:cost", "--refill", "monthly:1000@31",
            ];
            keys_json(&gateway, &[command, &given].concat())
        };
        let issued = made(&["issue", "ci", "--credits", "7"]);
        let imported = made(&["import", "elsewhere", "--raw-key", "sk_1", "--actor", "svc"]);
        let (key, secret) = (&issued["issued_api_key"], text(&issued["secret"]));
        let limit = |name: &str, quota: &str, window: &str, unit: &str, auto: bool| {
            json!({"name": name, "quota": quota, "window": window, "unit": unit, "auto_apply": auto})
        };
        let limits = json!([
            limit("exports", "10", "3600s", "requests", false),
            limit("all", "100", "3600s", "requests", true),
            limit("spend", "2.5", "86400s", "cost", false),
        ]);
        for (made, credits) in [(key, "7"), (&imported, "1000")] {
            assert_eq!(made["permissions"], json!(["documents.*", "users.read"]));
            assert_eq!(made["rate_limits"], limits);
            let told = &made["credits"];
            assert_eq!((&told["remaining"], &told["refill"]["amount"], &told["refill"]["day"]), (&json!(credits), &json!("1000"), &json!(31)));
        }

        let asked = ["verify", secret, "--permission", "documents.read AND users.read", "--limit", "exports=2", "--cost", "5"];
        let verdict = keys_json(&gateway, &asked);
        assert_eq!(verdict["credits"]["remaining"], json!("2"), "{verdict}");
        let left = |verdict: &Value| -> Vec<String> {
            verdict["rate_limits"].as_array().unwrap().iter().map(|limit| text(&limit["remaining"]).to_owned()).collect()
        };
        assert_eq!(left(&verdict), ["8", "99"]);
        let refused = keys(&gateway, &["verify", secret, "--permission", "admin"]);
        assert!(refused.code == Some(1) && refused.stderr.contains("INSUFFICIENT_PERMISSIONS"), "{refused}");

        let id = text(&key["key_id"]);
        let remaining = |args: &[&str]| {
            let told = keys_json(&gateway, &[&["credits", id], args].concat());
            told["credits"]["remaining"].as_str().map(str::to_owned)
        };
        assert_eq!(remaining(&["--increment", "3"]).as_deref(), Some("5"));
        assert_eq!(remaining(&["--decrement", "1"]).as_deref(), Some("4"));
        assert_eq!(remaining(&["--set", "20"]).as_deref(), Some("20"));
        assert_eq!(remaining(&["--set", "none"]), None, "any number");
        for id in [id, text(&imported["key_id"])] {
            let changed = keys_json(&gateway, &["update", id, "--permission", "a.b", "--limit", "exports=3/1h"]);
            assert_eq!(changed["permissions"], json!(["a.b"]));
            assert_eq!(changed["rate_limits"], json!([limit("exports", "3", "3600s", "requests", false)]));
            let cleared = keys_json(&gateway, &["update", id, "--permission", "", "--limit", "none"]);
            assert_eq!((cleared.get("permissions"), cleared.get("rate_limits")), (None, None));
        }
    }

    async fn a_key_is_imported_by_its_hash_alone_and_by_the_file(store) {
        let gateway = guarded(store).await;
        let digest = |raw: &str| hex::encode(&sha256(raw.as_bytes()));
        let import = ["imported", "import", "unkey", "--sha256", &digest("sk_1"), "--actor", "svc", "--ttl", "30d"];
        let id = keys_json(&gateway, &import)["key_id"].clone();
        assert_eq!(keys_json(&gateway, &["verify", "sk_1"])["key_id"], id);
        let line = |n: u32| {
            let hashed = json!({"algorithm": "SHA256", "digest": digest(&format!("sk_{n}"))});
            json!({"hashed": hashed, "name": format!("k{n}"), "actor_id": "svc"}).to_string()
        };
        let file = gateway.config_path().with_file_name("hashes.jsonl");
        std::fs::write(&file, [line(2), line(3)].join("\n")).unwrap();
        let told = keys_json(&gateway, &["import-file", file.to_str().unwrap()]);
        assert_eq!(told["success_count"], json!(2), "{told}");
        assert!(keys(&gateway, &["verify", "sk_3"]).ok());
    }
}
