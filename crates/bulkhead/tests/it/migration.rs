//! From a single tenant to `default`, and on to tenants with names (seed 001, "Migration from Single-Tenant"): planned, run,
//! interrupted, run again, checked, and taken back.

use std::process::{Command, Stdio};
use std::time::Duration;

use bh_testkit::{Call, CliOutput, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{OPENAI_KEY, PATIENCE, PRICES, binary};

const ADMIN_KEY: &str = "ops-admin-key-of-the-migration";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
/// Interrupted runs of the command.
const KILLS: u64 = 12;

/// A single tenant's configuration: one provider, callers without a tenant, and clients without a key.
fn single_tenant(provider: &FakeProvider) -> String {
    format!(
        "# Ours since 2024.\ngateway:\n  providers:\n    openai: {{base_url: \"{}\", api_key: {OPENAI_KEY}}}\n  callers:\n    - {{name: app, api_key: app-key-of-the-single-tenant}}\n  default_policy: {{require_caller_id: false}}\n{PRICES}",
        provider.url()
    )
}

struct House {
    gateway: Gateway,
    _provider: FakeProvider,
}

impl House {
    async fn start(store: Store) -> Self {
        let provider = FakeProvider::start();
        let yaml = single_tenant(&provider);
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        Self { gateway, _provider: provider }
    }

    async fn chat(&self, key: Option<&str>) -> u16 {
        let body =
            json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        let call = Call::post(self.gateway.at(CHAT), &body);
        match key {
            Some(key) => call.bearer(key).send().await.status,
            None => call.send().await.status,
        }
    }

    fn migrate(&self, args: &[&str]) -> CliOutput {
        self.gateway.cli(&[&["migrate"], args, &["--endpoint", self.gateway.url()]].concat())
    }

    fn done(&self, args: &[&str]) -> Value {
        let output = self.migrate(&[args, &["--json"]].concat());
        assert!(output.ok(), "{args:?}: {output}");
        serde_json::from_str(&output.stdout).unwrap()
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.gateway.config_path()).unwrap()
    }

    async fn operate(&self, method: &str, path: &str) -> Value {
        let answer = Call::new(method, self.gateway.at(&format!("/api/v1/admin{path}")))
            .bearer(ADMIN_KEY)
            .send()
            .await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()["data"].clone()
    }

    /// Waits until the gateway has the file in force.
    async fn window_opens(&self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while self.operate("GET", "/tenants/default/keyless-calls").await["windowOpen"] != true {
            assert!(std::time::Instant::now() < deadline, "{}", self.gateway.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn states(told: &Value) -> Vec<(&str, &str)> {
    let steps = told["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["step"].as_str().unwrap(), step["state"].as_str().unwrap())).collect()
}

fn keys(told: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    told["keys"].as_array().unwrap().iter().map(|key| (text(&key["tenant"]), text(&key["apiKey"]))).collect()
}

/// Starts the command and kills it after a while.
fn interrupted(house: &House, args: &[&str], after: Duration) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bulkhead"))
        .args(["--config", house.gateway.config_path().to_str().unwrap(), "migrate"])
        .args(args)
        .args(["--endpoint", house.gateway.url()])
        .env("BULKHEAD_DATA_DIR", house.gateway.data_dir())
        .env("ADMIN_API_KEY", ADMIN_KEY)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(after);
    // It may be done by now.
    let _ended = child.kill();
    child.wait().unwrap();
}

on_both_stores! {
    /// Proves: CONN-46
    async fn a_single_tenant_becomes_default_and_more_twice_is_no_change_and_there_is_a_way_back(store) {
        let house = House::start(store).await;
        for _ in 0..3 {
            assert_eq!(house.chat(None).await, 200);
            assert_eq!(house.chat(Some("app-key-of-the-single-tenant")).await, 200);
        }
        let before = house.file();
        let to = ["--to", "acme", "--to", "globex"];
        let plan = house.done(&[&["plan"], &to[..]].concat());
        assert_eq!(states(&plan), [("configuration", "todo"), ("tenant default", "todo"), ("tenant acme", "todo"), ("tenant globex", "todo"), ("data", "done")]);
        assert_eq!(house.file(), before, "a plan changes nothing");
        assert!(!house.migrate(&["verify"]).ok() && !house.migrate(&["rollback"]).ok(), "nothing has begun");

        let made = keys(&house.done(&[&["run"], &to[..]].concat()));
        assert_eq!(made.iter().map(|(tenant, _)| tenant.as_str()).collect::<Vec<_>>(), ["default", "acme", "globex"]);
        let after = house.file();
        assert!(after.starts_with(&before) && after.contains("\nmultiTenant:\n  enabled: true\n  fallbackTenantId: default\n  requireApiKey: false\n"), "{after}");
        house.window_opens().await;
        // Everybody goes on: with the new keys, with the old one, and without any, counted by now.
        for (_, key) in &made {
            assert_eq!(house.chat(Some(key)).await, 200);
        }
        assert_eq!(house.chat(Some("app-key-of-the-single-tenant")).await, 200);
        assert_eq!(house.chat(None).await, 200);
        let default = house.operate("GET", "/tenants/default").await;
        assert_eq!((&default["name"], &default["limits"]["requestsPerMinute"]), (&json!("Default Tenant"), &json!(10_000)));
        assert_eq!(house.operate("GET", "/tenants/acme").await["metadata"]["migratedFrom"], json!("default"));
        let evidence = Call::get(house.gateway.at("/v1/evidence?limit=100")).bearer(&made[0].1).send().await.json();
        assert_eq!(evidence["entries"].as_array().map(Vec::len), Some(9), "what was there before is default's: {evidence}");

        // Again: nothing.
        let trail = house.operate("GET", "/tenants/default/audit?action=tenant.*").await;
        assert_eq!(keys(&house.done(&[&["run"], &to[..]].concat())), []);
        assert_eq!(house.file(), after);
        assert_eq!(house.operate("GET", "/tenants/default/audit?action=tenant.*").await, trail);
        let verified = house.done(&["verify"]);
        assert!(states(&verified).iter().all(|(_, state)| *state == "done"), "{verified:#}");
        assert_eq!(verified["keyless"]["calls"], json!(1));
        let whole = house.gateway.cli(&["audit", "verify", "--all"]);
        assert!(whole.ok(), "{whole}");

        // Back, and back again, and there once more: under the same names, with the same keys.
        assert_eq!(house.done(&["rollback"])["done"].as_array().map(Vec::len), Some(3));
        assert_eq!(house.file(), before);
        assert_eq!(house.done(&["rollback"])["done"], json!([]));
        assert_eq!((house.chat(Some(&made[1].1)).await, house.chat(Some(&made[0].1)).await), (403, 200));
        assert!(!house.migrate(&["verify"]).ok());
        assert_eq!(keys(&house.done(&[&["run"], &to[..]].concat())), []);
        assert_eq!((house.file(), house.chat(Some(&made[1].1)).await), (after.clone(), 200));
        house.window_opens().await;
        // A file that somebody has changed since is not overwritten.
        std::fs::write(house.gateway.config_path(), format!("{after}# Mine.\n")).unwrap();
        let refused = house.migrate(&["rollback"]);
        assert!(!refused.ok() && refused.stderr.contains("was changed since the migration"), "{refused}");
        assert!(house.file().ends_with("# Mine.\n"));
    }

    async fn a_migration_that_is_killed_again_and_again_is_done_once(store) {
        let house = House::start(store).await;
        assert_eq!(house.chat(None).await, 200);
        let before = house.file();
        let to = ["run", "--to", "acme", "--to", "globex"];
        for kill in 0..KILLS {
            interrupted(&house, &to, Duration::from_millis(5 + 11 * kill));
            let file = house.file();
            assert!(file == before || file.starts_with(&before) && file.ends_with("requireApiKey: false\n"), "half a file: {file}");
        }
        let told = keys(&house.done(&to));
        for (tenant, key) in &told {
            assert_eq!(house.chat(Some(key)).await, 200, "{tenant}");
        }
        assert_eq!(keys(&house.done(&to)), []);
        let verified = house.done(&["verify"]);
        assert!(states(&verified).iter().all(|(_, state)| *state == "done"), "{verified:#}");
        assert_eq!(house.file().matches("multiTenant:").count(), 1);
        for tenant in ["default", "acme", "globex"] {
            let trail = house.operate("GET", &format!("/tenants/{tenant}/audit?action=tenant.created")).await;
            assert_eq!(trail.as_array().map(Vec::len), Some(1), "{tenant}: {trail}");
        }
        house.done(&["rollback"]);
        assert_eq!(house.file(), before);
    }

    async fn a_block_that_says_something_else_is_for_a_person_to_decide(store) {
        let provider = FakeProvider::start();
        let yaml = format!("{}multiTenant: {{enabled: false}}\n", single_tenant(&provider));
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        let house = House { gateway, _provider: provider };
        let before = house.file();
        for command in ["plan", "run"] {
            let refused = house.migrate(&[command]);
            assert!(!refused.ok(), "{refused}");
            assert!(refused.to_string().contains("`enabled: false`"), "{refused}");
        }
        assert_eq!(house.file(), before);
    }
}
