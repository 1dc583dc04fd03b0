//! Who wins: defaults, file, environment, files of secrets.

use super::{lines, load_with, loaded};
use crate::{Config, MASK};

fn config(yaml: &str, env: &[(&str, &str)]) -> Config {
    load_with(yaml, env).unwrap_or_else(|problems| panic!("{}", lines(&problems).join("\n"))).config
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let loaded = loaded("# nothing\n");
    assert_eq!(loaded.config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(loaded.config.server.body_bytes_max, 33_554_432);
    assert!(loaded.config.gateway.is_none());
    assert!(loaded.prices.table.find("openai", "gpt-4o").1);
}

#[test]
fn the_environment_wins_over_the_file_and_the_precise_name_over_an_alias() {
    let yaml = "server: {listen: '10.0.0.1:1', drain_timeout_ms: 5}\nlog: {level: warn}\n";
    let env = [("PORT", "3000"), ("LOG_LEVEL", "DEBUG"), ("BULKHEAD_SERVER__MAX_CONNECTIONS", "7")];
    let read = config(yaml, &env);
    assert_eq!(read.server.listen.to_string(), "10.0.0.1:3000");
    assert_eq!((read.server.max_connections, read.server.drain_timeout_ms), (7, 5));
    assert_eq!(read.log.level.as_str(), "debug");
    let both = config(yaml, &[("PORT", "3000"), ("HOST", "::1"), ("BULKHEAD_SERVER__LISTEN", "127.0.0.1:9")]);
    assert_eq!(both.server.listen.to_string(), "127.0.0.1:9");
    let host = load_with("", &[("HOST", "my-laptop"), ("PORT", "81")]).unwrap();
    assert_eq!(host.config.server.listen.to_string(), "127.0.0.1:81");
    assert_eq!(host.warnings, ["HOST is not an IP address and was ignored"]);
}

#[test]
fn talon_api_keys_are_split_at_the_first_colon_and_default_their_tenant() {
    let read = config("", &[("TALON_API_KEYS", " key_acme:acme , key_globex:globex,k3, k4: ,")]);
    let keys: Vec<_> = read.api_keys.iter().map(|k| (k.key.expose(), k.tenant())).collect();
    assert_eq!(keys, [("key_acme", "acme"), ("key_globex", "globex"), ("k3", "default"), ("k4", "default")]);
    let bad = load_with("", &[("TALON_API_KEYS", "s3cret:acme:prod")]).unwrap_err();
    let line = "TALON_API_KEYS: api_keys[0].tenant_id: a tenant id is 1 to 56 lower-case letters, digits and inner hyphens";
    assert_eq!(lines(&bad), [line]);
}

#[test]
fn admin_keys_of_the_environment_join_those_of_the_file() {
    let yaml = "admin_keys: [{name: alice, key: a-key, role: viewer}]\n";
    let loaded = load_with(yaml, &[("ADMIN_API_KEY", "old"), ("BULKHEAD_ADMIN_KEY", "new")]).unwrap();
    let keys: Vec<_> = loaded
        .config
        .admin_keys
        .iter()
        .map(|k| (k.name.as_str(), k.key.as_ref().unwrap().expose()))
        .collect();
    assert_eq!(keys, [("alice", "a-key"), ("environment", "new")]);
    assert_eq!(loaded.warnings, ["BULKHEAD_ADMIN_KEY and ADMIN_API_KEY differ: BULKHEAD_ADMIN_KEY counts"]);
}

#[test]
fn a_secret_may_lie_in_a_file_and_the_later_layer_wins() {
    let yaml =
        "gateway:\n  callers:\n  - {name: a, api_key_file: /secret/k1}\nstore: {url_file: '/secret/x'}\n";
    let env = [("DATABASE_URL", "postgres://u:p@h/d"), ("TALON_ADMIN_KEY_FILE", "/secret/adm")];
    let read = config(yaml, &env);
    assert_eq!(read.gateway.unwrap().callers[0].key().unwrap().expose(), "k1");
    assert_eq!(read.store.url.unwrap().expose(), "postgres://u:p@h/d");
    assert_eq!(read.store.url_file, None);
    assert_eq!(read.admin_keys[0].key.as_ref().unwrap().expose(), "adm");
}

#[test]
fn nested_names_reach_into_maps_and_lists() {
    let yaml = "gateway:\n  providers:\n    azure-openai: {base_url: 'https://x.example'}\n  callers: [{name: a, api_key: k}]\n";
    let env = [
        ("BULKHEAD_GATEWAY__PROVIDERS__AZURE_OPENAI__API_KEY", "sk-1"),
        ("BULKHEAD_GATEWAY__PROVIDERS__OPENAI__ALLOWED_MODELS", "gpt-4o, gpt-4o-mini"),
        ("BULKHEAD_GATEWAY__CALLERS__0__TENANT_ID", "acme"),
        ("BULKHEAD_TENANTS", "ignored: not of the nested form"),
        ("BULKHEAD_MODELS__FAST", "openai/gpt-4o-mini"),
        ("BULKHEAD_SERVER__TRUSTED_PROXY_CIDRS", "[\"10.0.0.0/8\", \"::1\"]"),
    ];
    let read = config(yaml, &env);
    let gateway = read.gateway.unwrap();
    assert_eq!(gateway.providers["azure-openai"].api_key.as_ref().unwrap().expose(), "sk-1");
    assert_eq!(gateway.providers["openai"].allowed_models, ["gpt-4o", "gpt-4o-mini"]);
    assert_eq!(gateway.callers[0].tenant(), "acme");
    assert_eq!(read.models["fast"].candidates()[0].model.as_deref(), Some("gpt-4o-mini"));
    assert_eq!(read.server.trusted_proxy_cidrs.len(), 2);
}

#[test]
fn seed_001_environment_file_is_understood() {
    let env = [
        ("MULTI_TENANT_ENABLED", "true"),
        ("TENANT_ID_HEADER", "X-Tenant-ID"),
        ("API_KEY_HEADER", "Authorization"),
        ("VAULT_ADDR", "http://vault:8200"),
        ("VAULT_TOKEN", "your-vault-token"),
        ("VAULT_TENANT_PREFIX", "connectors/tenants"),
        ("REDIS_URL", "redis://redis:6379"),
        ("REDIS_TENANT_PREFIX", "tenant"),
        ("RATE_LIMIT_ENABLED", "true"),
        ("RATE_LIMIT_STORE", "redis"),
    ];
    let loaded = load_with("", &env).unwrap();
    assert!(loaded.config.multi_tenant.unwrap().enabled);
    assert_eq!(loaded.config.vault.unwrap().token.unwrap().expose(), "your-vault-token");
    let inactive: Vec<_> = loaded.inactive.iter().map(|i| (i.path.as_str(), i.source.as_str())).collect();
    let expected = [("vault", "VAULT_ADDR")];
    assert_eq!(inactive, expected);
}

#[test]
fn a_cap_is_exact_and_null_removes_a_default() {
    let yaml = "gateway:\n  default_policy: {max_daily_cost: 0.10, max_monthly_cost: null}\n  callers:\n  - {name: a, api_key: k, policy_overrides: {max_daily_cost: '33.333333333', max_session_cost: \"${env:CAP}\"}}\n";
    let gateway = config(yaml, &[("CAP", "1.5")]).gateway.unwrap();
    assert_eq!(gateway.default_policy.max_daily_cost.unwrap().0.0, 100_000_000);
    assert_eq!(gateway.default_policy.max_monthly_cost, None);
    let policy = &gateway.callers[0].policy_overrides;
    assert_eq!(policy.max_daily_cost.as_ref().unwrap().0.0, 33_333_333_333);
    assert_eq!(policy.max_session_cost.as_ref().unwrap().0.0, 1_500_000_000);
}

#[test]
fn no_secret_shows_anywhere() {
    let yaml = "store: {url: 'postgres://u:hunter2@h/d'}\nadmin_keys: [{name: a, key: hunter2-admin}]\ngateway:\n  callers: [{name: b, api_key: hunter2-key}]\n";
    let loaded = load_with(yaml, &[("OPENAI_API_KEY", "hunter2-openai")]).unwrap();
    let shown = loaded.show();
    assert!(shown.contains(MASK) && shown.contains("postgres://u:********@h/d"), "{shown}");
    let debug = format!("{:?}", loaded.config);
    for text in [shown, debug] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[test]
fn a_variable_that_is_nearly_ours_is_pointed_out_and_a_stranger_is_not() {
    let env = [
        ("BULKHEAD_ADMINKEY", "x"),
        ("BULKHEAD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("BULKHEAD_CONFIG", "f"),
    ];
    let warnings = load_with("", &env).unwrap().warnings;
    assert_eq!(warnings, ["BULKHEAD_ADMINKEY is not a known variable; did you mean BULKHEAD_ADMIN_KEY?"]);
}

#[test]
fn ten_thousand_tenants_and_callers_load() {
    let mut yaml = "gateway:\n  callers:\n".to_owned();
    for n in 0..10_000 {
        yaml.push_str(&format!("    - {{name: app-{n}, api_key: key-{n}, tenant_id: t{n}}}\n"));
    }
    yaml.push_str("tenants:\n");
    for n in 0..10_000 {
        yaml.push_str(&format!("  - {{id: t{n}, budgets: {{daily: {n}.5}}}}\n"));
    }
    let config = config(&yaml, &[]);
    assert_eq!((config.gateway.unwrap().callers.len(), config.tenants.len()), (10_000, 10_000));
}
