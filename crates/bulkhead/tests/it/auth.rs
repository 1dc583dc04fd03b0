//! Who is calling: keys in every header they may come in, tenants, addresses, rotation, and where keys never show.

use bh_testkit::{Answer, Call, FakeProvider, Gateway, on_both_stores};
use serde_json::{Value, json};

pub(crate) const BULKHEAD: &str = env!("CARGO_BIN_EXE_bulkhead");
/// The provider's own key: the gateway's secret, which no client ever sees.
pub(crate) const PROVIDER_KEY: &str = "sk-provider-3f9c1d";
pub(crate) const ADMIN_KEY: &str = "admin-key-77aa01";

/// A small chat call.
pub(crate) fn chat() -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 16, "messages": [{"role": "user", "content": "hi"}]})
}

/// A `gateway` block with one OpenAI provider and these callers, in block style.
pub(crate) fn gateway_yaml(provider: &FakeProvider, callers: &str) -> String {
    let url = provider.url();
    format!(
        "gateway:\n  providers:\n    openai: {{base_url: \"{url}\", api_key: {PROVIDER_KEY}}}\n  callers:\n{callers}"
    )
}

pub(crate) const PROXIED_CHAT: &str = "/v1/proxy/openai/v1/chat/completions";

pub(crate) fn assert_unauthorized(answer: &Answer, message: &str) {
    assert_eq!(answer.status, 401, "{}", answer.text());
    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"bulkhead\""));
    let body = answer.json();
    assert_eq!((&body["error"], &body["message"]), (&json!("unauthorized"), &json!(message)));
}

async fn tenant_of(gateway: &Gateway, header: &str, key: &str) -> Value {
    let answer = Call::get(gateway.at("/v1/status")).header(header, key).send().await;
    assert_eq!(answer.status, 200, "{header}: {}", answer.text());
    answer.json()["tenant_id"].clone()
}

on_both_stores! {
    /// Proves: TALON-01
    async fn keys_from_the_environment_belong_to_their_tenants(store) {
        let gateway = Gateway::builder(BULKHEAD)
            .store(store)
            .env("TALON_API_KEYS", "key_acme:acme, key_globex:globex,key_lone,key_blank:")
            .start()
            .await;
        for (key, tenant) in
            [("key_acme", "acme"), ("key_globex", "globex"), ("key_lone", "default"), ("key_blank", "default")]
        {
            assert_eq!(tenant_of(&gateway, "x-talon-key", key).await, json!(tenant), "{key}");
        }
        let status = Call::get(gateway.at("/v1/status"));
        for wrong in ["key_acm", "key_acme2", "KEY_ACME", "acme", "key_acme:acme"] {
            let refused = status.clone().header("x-talon-key", wrong).send().await;
            assert_unauthorized(&refused, "Invalid or missing tenant/admin key");
        }
        assert_unauthorized(&status.send().await, "Invalid or missing tenant/admin key");
    }

    /// Proves: TALON-04
    async fn callers_authenticate_with_both_spellings_of_their_key(store) {
        let provider = FakeProvider::start();
        let callers = "    - {name: acme-app, api_key: talon-gw-acme-abc, tenant_id: acme}
    - {name: globex-bot, tenant_key: talon-gw-globex-xyz, tenant_id: globex}
";
        let yaml = gateway_yaml(&provider, callers);
        let gateway = Gateway::builder(BULKHEAD).store(store).config(&yaml).start().await;
        for (key, caller, tenant) in [
            ("talon-gw-acme-abc", "acme-app", "acme"),
            ("talon-gw-globex-xyz", "globex-bot", "globex"),
        ] {
            let answer = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(key).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let id = answer.header("x-bulkhead-request-id").unwrap().to_owned();
            let record = Call::get(gateway.at(&format!("/v1/evidence/{id}"))).bearer(key).send().await.json();
            let told = (&record["tenant_id"], &record["agent_id"], &record["policy_decision"]["allowed"]);
            assert_eq!(told, (&json!(tenant), &json!(caller), &json!(true)));
        }
        assert_eq!(provider.hits(), 2);
        assert_eq!(provider.last().header("authorization"), Some(format!("Bearer {PROVIDER_KEY}").as_str()));
    }

    /// Proves: TALON-14
    async fn an_admin_reads_one_tenant_or_all_of_them(store) {
        let provider = FakeProvider::start();
        let yaml = gateway_yaml(&provider, TWO_CALLERS);
        let gateway =
            Gateway::builder(BULKHEAD).store(store).config(&yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await;
        for key in [ACME_KEY, GLOBEX_KEY] {
            assert_eq!(Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(key).send().await.status, 200);
        }
        for (query, tenants) in [
            ("?tenant_id=*", vec!["acme", "globex"]),
            ("?tenant_id=acme", vec!["acme"]),
            ("?tenant_id=globex", vec!["globex"]),
            ("", vec![]),
        ] {
            let list = Call::get(gateway.at(&format!("/v1/evidence{query}")));
            let list = list.header("x-talon-admin-key", ADMIN_KEY).send().await.json();
            let mut seen: Vec<_> =
                list["entries"].as_array().unwrap().iter().map(|e| e["tenant_id"].as_str().unwrap()).collect();
            seen.sort_unstable();
            assert_eq!(seen, tenants, "{query}");
        }
    }
}

/// Proves: TALON-02
#[tokio::test]
async fn a_bearer_key_counts_like_the_key_header_and_the_header_wins() {
    let gateway =
        Gateway::builder(BULKHEAD).env("TALON_API_KEYS", "key_acme:acme,key_globex:globex").start().await;
    for header in ["x-talon-key", "X-Bulkhead-Key", "x-api-key", "api-key"] {
        assert_eq!(tenant_of(&gateway, header, "key_acme").await, json!("acme"), "{header}");
    }
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let value = format!("{scheme} key_globex");
        assert_eq!(tenant_of(&gateway, "authorization", &value).await, json!("globex"), "{scheme}");
    }
    for header in ["x-talon-key", "x-bulkhead-key"] {
        let both = Call::get(gateway.at("/v1/status")).header(header, "key_acme").bearer("key_globex");
        assert_eq!(both.send().await.json()["tenant_id"], json!("acme"), "{header}");
        // The decisive credential is wrong: the other one does not rescue it.
        let wrong = Call::get(gateway.at("/v1/status")).header(header, "nobody").bearer("key_globex");
        assert_unauthorized(&wrong.send().await, "Invalid or missing tenant/admin key");
    }
    let basic = Call::get(gateway.at("/v1/status")).header("authorization", "Basic key_acme").send().await;
    assert_unauthorized(&basic, "Invalid or missing tenant/admin key");
    let in_url = Call::get(gateway.at("/v1/status?api_key=key_acme&talon_admin_key=key_acme")).send().await;
    assert_unauthorized(&in_url, "Invalid or missing tenant/admin key");
}

pub(crate) const ACME_KEY: &str = "acme-key-5d1e90";
pub(crate) const GLOBEX_KEY: &str = "globex-key-c4a27b";
pub(crate) const TWO_CALLERS: &str = "    - {name: acme-app, tenant_key: acme-key-5d1e90, tenant_id: acme}
    - {name: globex-app, tenant_key: globex-key-c4a27b, tenant_id: globex}
";

/// Proves: TALON-10
#[tokio::test]
async fn the_admin_key_opens_admin_routes_in_its_header_and_as_bearer() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, TWO_CALLERS);
    let gateway = Gateway::builder(BULKHEAD).config(&yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await;
    let secrets = Call::get(gateway.at("/v1/secrets"));
    for call in [
        secrets.clone().header("x-talon-admin-key", ADMIN_KEY),
        secrets.clone().header("x-bulkhead-admin-key", ADMIN_KEY),
        secrets.clone().bearer(ADMIN_KEY),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let listed =
            json!([{"name": "providers.openai.api_key", "source": "configuration", "used_by": ["openai"]}]);
        assert_eq!(answer.json()["secrets"], listed);
    }
    for call in [
        secrets.clone(),
        secrets.clone().bearer(ACME_KEY),
        secrets.clone().header("x-talon-key", ADMIN_KEY),
        secrets.clone().header("x-talon-admin-key", ACME_KEY),
        // A wrong admin header is decisive: the bearer is only a fallback.
        secrets.clone().header("x-talon-admin-key", "nobody").bearer(ADMIN_KEY),
    ] {
        assert_unauthorized(&call.send().await, "Invalid or missing admin key");
    }
}

#[tokio::test]
async fn named_admin_keys_of_every_role_authenticate_and_unnamed_ones_do_not() {
    let yaml = "admin_keys:
  - {name: alice, key: key-of-alice, role: admin}
  - {name: rita, key: key-of-rita, role: reviewer}
  - {name: vic, key: key-of-vic, role: viewer}
";
    let gateway = Gateway::builder(BULKHEAD).config(yaml).env("BULKHEAD_ADMIN_KEY", ADMIN_KEY).start().await;
    for (key, status) in [
        ("key-of-alice", 200),
        ("key-of-rita", 200),
        ("key-of-vic", 200),
        (ADMIN_KEY, 200),
        ("key-of-bob", 401),
    ] {
        for path in ["/v1/secrets", "/v1/status?tenant_id=*", "/v1/evidence?tenant_id=*"] {
            let answer = Call::get(gateway.at(path)).header("x-talon-admin-key", key).send().await;
            assert_eq!(answer.status, status, "{key} on {path}: {}", answer.text());
        }
    }
}

#[tokio::test]
async fn without_an_admin_key_admin_routes_are_closed() {
    let gateway = Gateway::builder(BULKHEAD).env("TALON_API_KEYS", "key_acme:acme").start().await;
    for call in [
        Call::get(gateway.at("/v1/secrets")),
        Call::get(gateway.at("/v1/secrets")).header("x-talon-admin-key", ""),
        Call::get(gateway.at("/v1/secrets")).bearer(""),
        Call::get(gateway.at("/v1/secrets")).bearer("key_acme"),
    ] {
        assert_unauthorized(&call.send().await, "Invalid or missing admin key");
    }
}

/// Proves: TALON-12
#[tokio::test]
async fn without_a_gateway_block_only_the_admin_key_reads() {
    let provider = FakeProvider::start();
    let switched_off =
        gateway_yaml(&provider, TWO_CALLERS).replace("gateway:\n", "gateway:\n  enabled: false\n");
    for yaml in ["", &switched_off] {
        let gateway = Gateway::builder(BULKHEAD).config(yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await;
        for path in ["/v1/status", "/v1/evidence", "/v1/costs", "/v1/costs/budget"] {
            let tenant = Call::get(gateway.at(path)).bearer(ACME_KEY).send().await;
            assert_unauthorized(&tenant, "Invalid or missing tenant/admin key");
            for call in [
                Call::get(gateway.at(path)).header("x-talon-admin-key", ADMIN_KEY),
                Call::get(gateway.at(path)).bearer(ADMIN_KEY),
            ] {
                let answer = call.send().await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
        let chat = Call::post(gateway.at(PROXIED_CHAT), &chat()).bearer(ACME_KEY).send().await;
        assert_eq!(chat.status, 401, "{}", chat.text());
    }
    assert_eq!(provider.hits(), 0);
}

/// Proves: TALON-13
#[tokio::test]
async fn a_tenant_key_executes_and_an_admin_key_does_not() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, TWO_CALLERS);
    let gateway = Gateway::builder(BULKHEAD).config(&yaml).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await;
    let body = json!({"model": "gpt-4o-mini", "max_tokens": 16, "messages": [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "first"}, {"type": "text", "text": "second"}]},
        {"role": "assistant", "content": "third"},
        {"role": "user", "content": "fourth"},
    ]});
    let answer = Call::post(gateway.at("/v1/chat/completions"), &body).bearer(ACME_KEY).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["choices"][0]["message"]["content"], json!("Hello from the fake provider."));
    assert_eq!(provider.last().json(), body, "the whole conversation reaches the provider");

    for path in ["/v1/agents/run", "/mcp", "/mcp/proxy"] {
        let tenant = Call::post(gateway.at(path), &json!({})).bearer(ACME_KEY).send().await;
        assert_eq!((tenant.status, &tenant.json()["error"]), (501, &json!("not_implemented")), "{path}");
        let admin =
            Call::post(gateway.at(path), &json!({})).header("x-talon-admin-key", ADMIN_KEY).send().await;
        assert_unauthorized(&admin, "Invalid or missing tenant key");
    }
    let admin = Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer(ADMIN_KEY).send().await;
    assert_eq!((admin.status, provider.hits()), (401, 1), "{}", admin.text());
}

/// The tenant header may only confirm what the key says.
#[tokio::test]
async fn a_tenant_header_that_contradicts_the_key_is_refused_on_every_door() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, TWO_CALLERS);
    let gateway = Gateway::builder(BULKHEAD).config(&yaml).start().await;
    let doors = [
        Call::get(gateway.at("/v1/status")),
        Call::post(gateway.at(PROXIED_CHAT), &chat()),
        Call::post(gateway.at("/v1/chat/completions"), &chat()),
        Call::get(gateway.at("/v1/models")),
    ];
    for door in &doors {
        let door = door.clone().bearer(ACME_KEY);
        assert_eq!(door.clone().header("x-tenant-id", "acme").send().await.status, 200);
        for claims in [vec!["globex"], vec!["ACME"], vec!["acme", "globex"], vec![""]] {
            let claimed = claims.iter().fold(door.clone(), |call, claim| call.header("X-Tenant-ID", claim));
            let refused = claimed.send().await;
            assert_eq!(refused.status, 403, "{claims:?}: {}", refused.text());
            assert!(refused.text().contains("CROSS_TENANT_ACCESS_DENIED"), "{}", refused.text());
        }
    }
    assert_eq!(provider.hits(), 2, "only the confirmed calls were forwarded");
    // Without a key the header is nothing.
    let keyless = Call::get(gateway.at("/v1/status")).header("x-tenant-id", "acme").send().await;
    assert_unauthorized(&keyless, "Invalid or missing tenant/admin key");
}

const BY_ADDRESS: &str = "    - {name: acme-app, tenant_key: acme-key-5d1e90, tenant_id: acme}
    - name: branch-office
      identify_by: source_ip
      source_ip_ranges: [203.0.113.0/24, \"2001:db8::/32\"]
      tenant_id: globex
";

#[tokio::test]
async fn a_caller_is_known_by_its_address_only_through_a_trusted_proxy() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, BY_ADDRESS);
    let trusting = format!("{yaml}  trusted_proxy_cidrs: [127.0.0.0/8, 10.0.0.0/8]\n");
    let gateway =
        Gateway::builder(BULKHEAD).config(&trusting).env("TALON_ADMIN_KEY", ADMIN_KEY).start().await;
    let chat = Call::post(gateway.at(PROXIED_CHAT), &chat());
    let from = |hops: &str| chat.clone().header("x-forwarded-for", hops);
    for hops in [
        "203.0.113.9",
        "2001:db8::7",
        "::ffff:203.0.113.9",
        "198.51.100.1, 203.0.113.9",
        "203.0.113.9, 10.1.1.1",
    ] {
        let answer = from(hops).send().await;
        assert_eq!(answer.status, 200, "{hops}: {}", answer.text());
    }
    let list = Call::get(gateway.at("/v1/evidence?tenant_id=*")).bearer(ADMIN_KEY).send().await.json();
    let entries = list["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 5);
    for entry in entries {
        assert_eq!((&entry["tenant_id"], &entry["agent_id"]), (&json!("globex"), &json!("branch-office")));
    }
    // The leftmost hop is what anybody may write: the nearest untrusted hop is what counts.
    for hops in ["203.0.113.9, 198.51.100.1", "203.0.113.9, nonsense", "198.51.100.1", "127.0.0.1", ""] {
        assert_eq!(from(hops).send().await.status, 401, "{hops}");
    }
    assert_eq!(chat.send().await.status, 401);
    // A key that is present but unknown is not rescued by the address.
    assert_eq!(from("203.0.113.9").bearer("nobody").send().await.status, 401);
    assert_eq!(provider.hits(), 5);
    // An address reads nothing: the control plane wants a key.
    let status = Call::get(gateway.at("/v1/status")).header("x-forwarded-for", "203.0.113.9").send().await;
    assert_unauthorized(&status, "Invalid or missing tenant/admin key");
}

#[tokio::test]
async fn a_forwarded_address_from_an_untrusted_peer_is_ignored() {
    let provider = FakeProvider::start();
    let gateway = Gateway::builder(BULKHEAD).config(&gateway_yaml(&provider, BY_ADDRESS)).start().await;
    let spoofed =
        Call::post(gateway.at(PROXIED_CHAT), &chat()).header("x-forwarded-for", "203.0.113.9").send().await;
    assert_eq!((spoofed.status, provider.hits()), (401, 0), "{}", spoofed.text());
}
