//! Seed 001's `multi-tenant.yaml`: each key changes what a gateway does, the environment wins over the file, and a mistake is
//! named (Connectors dossier §5.1, §5.2).

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{PRICES, binary, config, providers};

const ADMIN_KEY: &str = "ops-admin-key-of-the-tenancy";
const TENANTS: &str = "/api/v1/admin/tenants";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";

/// Where in the block a key stands, a value of its own, and a mistake in its name.
const KEYS: [(&str, &str, &str); 14] = [
    ("enabled", "false", "enable"),
    ("tenantIdHeader", "X-Customer", "tenantHeader"),
    ("fallbackTenantId", "legacy", "fallbackTenant"),
    ("requireApiKey", "false", "requireApikey"),
    ("apiKeyHeader", "X-Customer-Key", "apikeyHeader"),
    ("rateLimits.requestsPerMinute", "7", "requestPerMinute"),
    ("rateLimits.requestsPerHour", "8", "requestsPerhour"),
    ("rateLimits.requestsPerDay", "9", "requests_per_day"),
    ("quotas.maxCustomServers", "3", "maxServers"),
    ("quotas.maxToolInvocations", "4", "maxInvocations"),
    ("quotas.maxStorageMB", "5", "maxStorageMb"),
    ("isolation.separateVaultKeys", "false", "separateVault"),
    ("isolation.separateRedisNamespace", "false", "separateRedis"),
    ("isolation.separateLogs", "false", "separateLog"),
];

/// The block with one key.
fn block(key: &str, value: &str) -> String {
    match key.split_once('.') {
        None => format!("multiTenant: {{{key}: {value}}}\n"),
        Some((part, key)) => format!("multiTenant: {{{part}: {{{key}: {value}}}}}\n"),
    }
}

/// A gateway with this block, and a tenant `acme-corp`.
struct House {
    gateway: Gateway,
    key: String,
    _provider: FakeProvider,
}

impl House {
    async fn start(store: Store, more: &str) -> Self {
        let provider = FakeProvider::start();
        let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
        let gateway = binary().store(store).config(&yaml).env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        let made =
            Call::post(gateway.at(TENANTS), &json!({"id": "acme-corp"})).bearer(ADMIN_KEY).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        let key = made.json()["data"]["apiKey"].as_str().unwrap().to_owned();
        Self { gateway, key, _provider: provider }
    }

    fn call(&self) -> Call {
        let body =
            json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        Call::post(self.gateway.at(CHAT), &body)
    }

    async fn limits(&self) -> Value {
        let told = Call::get(self.gateway.at(&format!("{TENANTS}/acme-corp"))).bearer(ADMIN_KEY).send().await;
        told.json()["data"]["limits"].clone()
    }

    /// How many calls are let in of so many.
    async fn let_in(&self, calls: usize) -> usize {
        let mut let_in = 0;
        for _ in 0..calls {
            let_in += usize::from(self.call().bearer(&self.key).send().await.status == 200);
        }
        let_in
    }

    /// What a key does that is not seen in the limits.
    async fn observed(&self) -> [bool; 6] {
        let under = async |header: &str, value: &str| -> Answer {
            self.call().bearer(&self.key).header(header, value).send().await
        };
        let keyless = self.call().send().await.status == 200;
        let evidence =
            Call::get(self.gateway.at("/v1/evidence?tenant_id=legacy")).bearer(ADMIN_KEY).send().await;
        [
            under("x-tenant-id", "default").await.status == 403,
            under("x-customer", "default").await.status == 403,
            keyless,
            evidence.json()["entries"].as_array().is_some_and(|entries| !entries.is_empty()),
            self.call().header("x-customer-key", &self.key).send().await.status == 200,
            self.gateway.data_dir().join("logs").is_dir(),
        ]
    }
}

on_both_stores! {
    /// Proves: CONN-01
    async fn each_key_of_the_tenancy_block_changes_what_a_gateway_does(store) {
        let seed = [true, false, false, false, false, true];
        // While no key is required, a header that carries none is no obstacle either.
        for (keys, wanted) in [
            (block("enabled", "true"), seed),
            ("multiTenant: {enabled: false, requireApiKey: false}\n".to_owned(), [true, false, false, false, false, false]),
            (block("tenantIdHeader", "X-Customer"), [false, true, false, false, false, true]),
            (block("requireApiKey", "false"), [true, false, true, false, true, true]),
            ("multiTenant: {requireApiKey: false, fallbackTenantId: legacy}\n".to_owned(), [true, false, true, true, true, true]),
            (block("apiKeyHeader", "X-Customer-Key"), [true, false, false, false, true, true]),
            (block("isolation.separateLogs", "false"), [true, false, false, false, false, false]),
        ] {
            let house = House::start(store, &keys).await;
            assert_eq!(house.observed().await, wanted, "{keys}");
        }
        for (key, value, _) in KEYS.iter().filter(|(key, ..)| key.starts_with("rateLimits") || key.starts_with("quotas")) {
            let (part, name) = key.split_once('.').unwrap();
            let house = House::start(store, &block(key, value)).await;
            let number: usize = value.parse().unwrap();
            assert_eq!(house.limits().await[name], json!(number), "{key}");
            if part == "rateLimits" {
                assert_eq!(house.let_in(number + 2).await, number, "{key}");
            }
        }
    }
}

#[tokio::test]
async fn the_environment_wins_over_the_file_and_a_mistake_is_named() {
    let provider = FakeProvider::start();
    let yaml = |more: &str| config(&providers(provider.url()), "{}", &format!("{PRICES}{more}"));
    for (key, value, mistake) in KEYS {
        let right = binary().config(&yaml(&block(key, value))).run(&["validate"]);
        assert!(right.ok(), "{key}: {right}");
        let wrong =
            key.rsplit_once('.').map_or_else(|| mistake.to_owned(), |(part, _)| format!("{part}.{mistake}"));
        let refused = binary().config(&yaml(&block(&wrong, value))).run(&["validate"]);
        assert!(!refused.ok() && refused.to_string().contains(mistake), "{wrong}: {refused}");
        let no_value = binary().config(&yaml(&block(key, "[]"))).run(&["validate"]);
        assert!(
            !no_value.ok() && no_value.to_string().contains(key.rsplit('.').next().unwrap()),
            "{key}: {no_value}"
        );
    }
    let shown = |name: &str, value: &str| {
        let file = "multiTenant: {enabled: true, tenantIdHeader: X-File, apiKeyHeader: X-File-Key}\nredis: {tenant_prefix: file}\n";
        let output = binary().config(&yaml(file)).env(name, value).run(&["config", "show"]);
        assert!(output.ok(), "{name}: {output}");
        output.stdout
    };
    for (name, value, told) in [
        ("MULTI_TENANT_ENABLED", "false", "enabled: false"),
        ("TENANT_ID_HEADER", "X-Env", "tenantIdHeader: X-Env"),
        ("API_KEY_HEADER", "X-Env-Key", "apiKeyHeader: X-Env-Key"),
        ("REDIS_TENANT_PREFIX", "env", "tenant_prefix: env"),
        ("RATE_LIMIT_STORE", "redis", "backend: redis"),
        ("RATE_LIMIT_ENABLED", "false", "enabled: false"),
    ] {
        let output = shown(name, value);
        assert!(output.contains(told), "{name}: {output}");
    }
    // A secret in a URL is masked.
    let output = shown("REDIS_URL", "redis://:s3cret-of-redis@redis:6379");
    assert!(output.contains("redis") && !output.contains("s3cret-of-redis"), "{output}");
    for (name, value) in [
        ("MULTI_TENANT_ENABLED", "perhaps"),
        ("RATE_LIMIT_STORE", "paper"),
        ("TENANT_ID_HEADER", "not a header"),
    ] {
        let refused = binary().config(&yaml("")).env(name, value).run(&["validate"]);
        assert!(!refused.ok() && refused.to_string().contains(name), "{name}: {refused}");
    }
}
