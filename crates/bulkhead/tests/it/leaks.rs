//! No credential appears in a log line, an error, a file, a table, or on the provider's side.

use bh_testkit::{Call, FakeProvider, Gateway, on_both_stores};
use serde_json::json;

use crate::auth::{
    ACME_KEY, ADMIN_KEY, BULKHEAD, GLOBEX_KEY, PROVIDER_KEY, PROXIED_CHAT, TWO_CALLERS, chat, gateway_yaml,
};

on_both_stores! {
    /// No credential appears in a log line, an error, a file, a table or on the provider's side.
    async fn no_key_is_written_down_anywhere(store) {
        let provider = FakeProvider::start();
        let dead = "http://127.0.0.1:9";
        let yaml = format!(
            "log: {{level: trace}}\nadmin_keys:\n  - {{name: ops, key: named-admin-8e51, role: viewer}}\n{}",
            gateway_yaml(&provider, TWO_CALLERS)
                .replace("  callers:", &format!("    dead: {{base_url: \"{dead}\", api_key: sk-dead-19ab}}\n  callers:")),
        );
        let mut gateway = Gateway::builder(BULKHEAD)
            .store(store)
            .config(&yaml)
            .env("TALON_ADMIN_KEY", ADMIN_KEY)
            .env("TALON_API_KEYS", "env-key-a1b2c3:acme")
            .start()
            .await;
        let keys =
            [ACME_KEY, GLOBEX_KEY, "env-key-a1b2c3", ADMIN_KEY, "named-admin-8e51", "unknown-key-d00d"];
        let mut seen = String::new();
        for key in keys {
            for header in ["authorization", "x-talon-key", "x-api-key", "x-talon-admin-key"] {
                let value = if header == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
                for call in [
                    Call::post(gateway.at(PROXIED_CHAT), &chat()),
                    Call::post(gateway.at("/v1/proxy/dead/v1/chat/completions"), &chat()),
                    Call::post(gateway.at(PROXIED_CHAT), &json!({"model": 7})),
                    Call::get(gateway.at("/v1/secrets")),
                    Call::get(gateway.at("/v1/evidence?from=never")),
                    Call::get(gateway.at("/nowhere")),
                ] {
                    let answer = call.header(header, &value).send().await;
                    seen.push_str(&format!("{:?} {}\n", answer.headers, answer.text()));
                }
            }
        }
        for args in [["config", "show"], ["audit", "list"]] {
            let ran = gateway.cli(&args);
            assert!(ran.ok(), "{args:?}: {ran}");
            seen.push_str(&ran.to_string());
        }
        if let Some(database) = gateway.database() {
            for table in database.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").split_whitespace() {
                seen.push_str(&database.sql(&format!("SELECT row_to_json(t) FROM {table} t")));
            }
            assert!(seen.contains("acme-app"), "the tables were read");
        }
        assert!(gateway.terminate().await, "{}", gateway.output());
        seen.push_str(&gateway.output());
        let files = gateway.files();
        assert!(provider.hits() > 0 && !files.is_empty());
        for key in keys.into_iter().chain([PROVIDER_KEY, "sk-dead-19ab"]) {
            let place = seen.find(key).map(|at| &seen[at.saturating_sub(200)..at]);
            assert_eq!(place, None, "{key} was told");
            for (path, bytes) in &files {
                let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
                assert!(!found, "{key} is in {}", path.display());
            }
            for request in provider.requests() {
                assert!(key == PROVIDER_KEY || !request.mentions(key), "{key} went to the provider");
            }
        }
    }
}
