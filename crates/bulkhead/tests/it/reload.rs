//! Reload while serving: keys that rotate, tenants that are suspended, and files that are wrong.

use std::time::{Duration, Instant};

use bh_testkit::{Call, FakeProvider, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::auth::{ACME_KEY, BULKHEAD, GLOBEX_KEY, PROXIED_CHAT, TWO_CALLERS, chat, gateway_yaml};

const PATIENCE: Duration = Duration::from_secs(10);

on_both_stores! {
    /// Proves: TALON-33
    async fn keys_rotate_by_reload_without_a_restart(store) {
        let provider = FakeProvider::start();
        let config = |tenant_key: &str, admin_key: &str| {
            let callers = format!("    - {{name: app, tenant_key: {tenant_key}, tenant_id: acme}}\n");
            let gateway = gateway_yaml(&provider, &callers);
            format!("admin_keys:\n  - {{name: ops, key: {admin_key}, role: admin}}\n{gateway}")
        };
        let builder = Gateway::builder(BULKHEAD).store(store).config(&config("tenant-old", "admin-old"));
        let mut gateway = builder.start().await;
        let pid = gateway.pid();
        assert_opens(&gateway, ["tenant-old", "admin-old"], ["tenant-new", "admin-new"]).await;
        // First the file alone changes, then a signal says so.
        gateway.rewrite_config(&config("tenant-new", "admin-new"));
        opens_soon(&gateway, "tenant-new").await;
        assert_opens(&gateway, ["tenant-new", "admin-new"], ["tenant-old", "admin-old"]).await;
        gateway.reload(&config("tenant-newest", "admin-newest"));
        opens_soon(&gateway, "tenant-newest").await;
        assert_opens(&gateway, ["tenant-newest", "admin-newest"], ["tenant-new", "admin-new"]).await;
        assert_eq!(gateway.pid(), pid);
    }

    async fn a_bad_reload_keeps_the_last_good_configuration_until_a_good_one_comes(store) {
        let provider = FakeProvider::start();
        let good = gateway_yaml(&provider, TWO_CALLERS);
        let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&good).start().await;
        let opens = |gateway: &Gateway, key: &str| Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(key);
        let ready = |gateway: &Gateway| Call::get(gateway.at("/readyz?verbose"));
        assert_eq!(ready(&gateway).send().await.json()["checks"]["config"], json!("current"));

        // A file that is sound by itself and cannot be served; then a typo that would take the caller away.
        let unservable = good.replace("api_key: sk", "upstream_auth_mode: client_bearer, api_key: sk");
        let misspelt = good.replace("callers:", "calers:");
        let suggestion = "gateway.calers: unknown key; did you mean `callers`?";
        for (number, bad, reason) in [(1, unservable, "client_bearer"), (2, misspelt, suggestion)] {
            gateway.reload(&bad);
            let told = config_error_mentions(&gateway, reason).await;
            assert_eq!((&told["status"], &told["checks"]["config"]), (&json!("ready"), &json!("stale")), "{told}");
            assert_eq!(told["config_generation"], json!(1));
            assert_eq!(metric(&gateway, "bulkhead_config_current").await, 0);
            assert!(metric(&gateway, "bulkhead_config_rejections_total").await >= number);
            assert!(gateway.prints(reason, PATIENCE).await, "{}", gateway.output());
            assert_eq!(opens(&gateway, ACME_KEY).send().await.status, 200);
        }
        assert!(gateway.prints("the last good one stays in force", PATIENCE).await, "{}", gateway.output());
        let quiet = Call::get(gateway.at("/readyz")).send().await.text();
        assert!(!quiet.contains("calers"), "details are for ?verbose: {quiet}");

        gateway.reload(&good.replace(ACME_KEY, "acme-key-2"));
        opens_soon(&gateway, "acme-key-2").await;
        assert_eq!(opens(&gateway, ACME_KEY).send().await.status, 401);
        assert_eq!(ready(&gateway).send().await.json()["checks"]["config"], json!("current"));
        assert_eq!(metric(&gateway, "bulkhead_config_current").await, 1);
    }
}

/// Waits until a reload lets a key in; what else that reload brought is in force with it.
async fn opens_soon(gateway: &Gateway, key: &str) {
    let deadline = Instant::now() + PATIENCE;
    while Call::get(gateway.at("/v1/status")).bearer(key).send().await.status != 200 {
        assert!(Instant::now() < deadline, "no reload: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until `/readyz?verbose` gives this reason for a rejected configuration.
async fn config_error_mentions(gateway: &Gateway, reason: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = Call::get(gateway.at("/readyz?verbose")).send().await.json();
        if told["config_error"].as_str().is_some_and(|error| error.contains(reason)) {
            return told;
        }
        assert!(Instant::now() < deadline, "{told}: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn assert_opens(gateway: &Gateway, new: [&str; 2], old: [&str; 2]) {
    for ([tenant_key, admin_key], status) in [(new, 200), (old, 401)] {
        let chat = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(tenant_key).send().await;
        assert_eq!(chat.status, status, "{tenant_key}: {}", chat.text());
        let secrets =
            Call::get(gateway.at("/v1/secrets")).header("x-talon-admin-key", admin_key).send().await;
        assert_eq!(secrets.status, status, "{admin_key}: {}", secrets.text());
    }
}

/// Keys kept in files rotate when a signal says so: the configuration file itself stays as it is.
#[tokio::test]
async fn keys_in_files_rotate_on_sighup() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, "    - {name: app, tenant_key_file: tenant.key, tenant_id: acme}\n");
    let gateway = Gateway::builder(BULKHEAD)
        .config(&yaml)
        .file("tenant.key", "tenant-old\n")
        .file("admin.key", "admin-old\n")
        .env("TALON_ADMIN_KEY_FILE", "admin.key")
        .start()
        .await;
    assert_opens(&gateway, ["tenant-old", "admin-old"], ["tenant-new", "admin-new"]).await;
    let home = gateway.config_path().parent().unwrap().to_owned();
    std::fs::write(home.join("tenant.key"), "tenant-new\n").unwrap();
    std::fs::write(home.join("admin.key"), "admin-new\n").unwrap();
    let hangup = format!("kill -HUP {}", gateway.pid());
    assert!(std::process::Command::new("sh").args(["-c", &hangup]).status().unwrap().success());
    opens_soon(&gateway, "tenant-new").await;
    assert_opens(&gateway, ["tenant-new", "admin-new"], ["tenant-old", "admin-old"]).await;
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_until_it_is_active_again() {
    let provider = FakeProvider::start();
    let active = gateway_yaml(&provider, TWO_CALLERS);
    let suspended = format!("tenants:\n  - {{id: acme, status: suspended}}\n{active}");
    let mut gateway = Gateway::builder(BULKHEAD).config(&suspended).start().await;
    let calls = |gateway: &Gateway, key: &str| {
        [
            Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(key),
            Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer(key),
            Call::get(gateway.at("/v1/status")).bearer(key),
        ]
    };
    for call in calls(&gateway, ACME_KEY) {
        let refused = call.send().await;
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(refused.text().contains("tenant_inactive"), "{}", refused.text());
    }
    assert_eq!(provider.hits(), 0);
    for call in calls(&gateway, GLOBEX_KEY) {
        assert_eq!(call.send().await.status, 200);
    }
    gateway.reload(&active);
    opens_soon(&gateway, ACME_KEY).await;
    for call in calls(&gateway, ACME_KEY) {
        assert_eq!(call.send().await.status, 200);
    }
}

async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = Call::get(gateway.at("/metrics")).send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}
