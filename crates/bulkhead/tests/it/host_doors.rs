//! Tenants by host name at the doors: an unknown one is 404 everywhere, a key opens its own tenant's hosts and no
//! other's, and hosts come and go with the configuration.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::json;

use crate::auth::{ADMIN_KEY, PROXIED_CHAT, chat, gateway_yaml};
use crate::hostnames::{KEY_ROUTE, TENANTS, To, UNKNOWN, assert_leads, config, network, start};

const PATIENCE: Duration = Duration::from_secs(10);

on_both_stores! {
    /// Proves: TALOS-M10
    async fn an_unknown_host_is_404_on_every_door_and_no_name_is_told(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        let call = |method: &str, path: &str, key: &str| {
            let call = Call::new(method, gateway.at(path)).header("host", "evil-name.example");
            let call = if method == "POST" { call.json(&chat()) } else { call };
            if key.is_empty() { call } else { call.bearer(key) }
        };
        for key in ["", "key-acme", ADMIN_KEY, "nobody"] {
            for (method, path) in [
                ("GET", KEY_ROUTE),
                ("POST", "/v2alpha1/apiKeys:selfRevoke"),
                ("POST", "/v2alpha1/admin/issuedApiKeys"),
                ("GET", "/v2alpha1/admin/issuedApiKeys/some-key"),
                ("POST", "/v2alpha1/admin/issuedApiKeys/some-key:rotate"),
                ("PUT", "/v2alpha1/admin/issuedApiKeys"),
                ("GET", "/v2alpha1/nothing"),
                ("GET", "/no/such/route"),
            ] {
                let answer = call(method, path, key).send().await;
                assert_eq!((answer.status, answer.text().as_str()), (404, UNKNOWN), "{method} {path}");
                assert_eq!(answer.header("content-type"), Some("application/json"));
            }
            for path in ["/v1/status", "/v1/secrets", "/v1/evidence", "/v1/agents/none"] {
                let answer = call("GET", path, key).send().await;
                assert_eq!(answer.status, 404, "{path}: {}", answer.text());
            }
            for (method, path) in [("POST", PROXIED_CHAT), ("POST", "/v1/chat/completions"), ("GET", "/v1/models")] {
                let answer = call(method, path, key).send().await;
                let error = answer.json()["error"].clone();
                let told = (answer.status, &error["code"], &error["message"]);
                assert_eq!(told, (404, &json!("network_not_found"), &json!("network not found")), "{path}");
            }
        }
        let answer = call("GET", "/v1/status", "key-acme").send().await.json();
        assert_eq!(answer["error"], json!("network_not_found"), "{answer}");
        // What is the process's own answers on every host.
        for path in ["/healthz", "/livez", "/health", "/v1/health", "/readyz", "/ready", "/metrics"] {
            assert_eq!(call("GET", path, "").send().await.status, 200, "{path}");
        }
        assert_eq!(provider.hits(), 0);
        assert!(!gateway.output().contains("evil-name"), "{}", gateway.output());
    }

    async fn a_key_opens_its_own_tenants_hosts_on_every_door(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        let call = |host: &str, method: &str, path: &str, key: &str| {
            let call = Call::new(method, gateway.at(path)).header("host", host);
            let call = if method == "POST" { call.json(&chat()) } else { call };
            call.bearer(key)
        };
        let doors = [
            ("POST", PROXIED_CHAT),
            ("POST", "/v1/proxy/openai/v1/embeddings"),
            ("POST", "/v1/chat/completions"),
            ("GET", "/v1/models"),
            ("GET", "/v1/status"),
            ("GET", "/v1/evidence"),
            ("GET", "/v1/costs/budget"),
            ("POST", "/mcp"),
        ];
        for (method, path) in doors {
            let answer = call("tenant2.example.com", method, path, "key-acme").send().await;
            assert_eq!(answer.status, 403, "{path}: {}", answer.text());
            assert!(answer.text().contains("CROSS_TENANT_ACCESS_DENIED"), "{path}: {}", answer.text());
            for told in ["acme", "globex", "tenant1", "tenant2"] {
                assert!(!answer.text().contains(told), "{path}: {}", answer.text());
            }
            let stranger = call("tenant2.example.com", method, path, "nobody").send().await;
            assert_eq!(stranger.status, 401, "{path}: {}", stranger.text());
        }
        assert_eq!(provider.hits(), 0, "nothing is forwarded");
        let own = call("tenant1.example.com", "POST", PROXIED_CHAT, "key-acme").send().await;
        assert_eq!((own.status, provider.hits()), (200, 1), "{}", own.text());
        // Host, key and header must all agree; an operator's word about a tenant must fit the host too.
        let status = |key: &str, named: &str| call("tenant1.example.com", "GET", "/v1/status", key).header("x-tenant-id", named);
        for (key, named, status_code) in [
            ("key-acme", "acme", 200),
            ("key-acme", "globex", 403),
            (ADMIN_KEY, "acme", 200),
            (ADMIN_KEY, "globex", 403),
        ] {
            let answer = status(key, named).send().await;
            assert_eq!(answer.status, status_code, "{key} {named}: {}", answer.text());
        }
    }

    /// A host comes and goes with a reload, and the others go on. Its tenant's rows stay.
    async fn hosts_come_and_go_by_reload(store) {
        let provider = FakeProvider::start();
        let before = config(&provider, "");
        let more = config(&provider, &network("new.example", "550e8400-e29b-41d4-a716-446655440003"));
        let mut gateway = start(store, &provider, &before).await;
        let unknown = |answer: &Answer| answer.status == 404 && answer.text() == UNKNOWN;
        let ask = |gateway: &Gateway, host: &str| Call::get(gateway.at(KEY_ROUTE)).header("host", host);
        assert!(unknown(&ask(&gateway, "new.example").send().await));
        gateway.reload(&more);
        until(&gateway, &ask(&gateway, "new.example"), |answer| !unknown(answer)).await;
        let own = Call::get(gateway.at("/v1/status")).header("host", "new.example").bearer(ADMIN_KEY);
        let own = own.header("x-tenant-id", "550e8400-e29b-41d4-a716-446655440003");
        assert_eq!(own.send().await.status, 200, "its tenant is called by its network id");
        // The file alone changes, too.
        gateway.rewrite_config(&before);
        until(&gateway, &ask(&gateway, "new.example"), unknown).await;
        assert_leads(&gateway, "", &[("host", b"tenant1.example.com")], To::Tenant("acme")).await;
        gateway.reload(&more);
        until(&gateway, &ask(&gateway, "new.example"), |answer| !unknown(answer)).await;
    }

    /// The store's own tenant keeps its network id, by its slug and by the id.
    async fn a_network_is_the_tenant_that_the_store_has_with_its_id(store) {
        let provider = FakeProvider::start();
        let caller = "    - {name: app, tenant_key: key-acme, tenant_id: acme}\n";
        let plain = gateway_yaml(&provider, caller);
        let acme = TENANTS[0].1;
        let with_nid = |slug: &str, nid: &str| format!("{plain}tenants:\n  - {{id: {slug}, nid: {nid}}}\n");
        let mut gateway = start(store, &provider, &with_nid("acme", acme)).await;
        // Named by nothing but the id of its network, it is the same tenant.
        let networks = format!("{plain}multitenancy:\n  enabled: true\n  networks:\n{}", network("a.example", acme));
        gateway.try_restart_as(|same| same.config(&networks)).await.unwrap();
        let status = Call::get(gateway.at("/v1/status")).header("host", "a.example").bearer("key-acme");
        let answer = status.send().await;
        assert_eq!((answer.status, &answer.json()["tenant_id"]), (200, &json!("acme")), "{}", answer.text());
        let globex = TENANTS[1].1;
        for (yaml, wanted) in [
            (with_nid("acme", globex), format!("the tenant `acme` has the network id {acme}, so it cannot have {globex} too")),
            (with_nid("other", acme), format!("the network id {acme} belongs to the tenant `acme`, so it cannot be that of `other` too")),
        ] {
            let end = gateway.try_restart_as(|same| same.config(&yaml)).await.unwrap_err();
            assert!(end.code == Some(1) && end.stderr.contains(&wanted), "{end}");
        }
    }
}

/// Sends a call until its answer is as wanted.
async fn until(gateway: &Gateway, call: &Call, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = call.send().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{} {}: {}", answer.status, answer.text(), gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn host_names_decide_nothing_while_tenancy_by_host_is_off() {
    let provider = FakeProvider::start();
    let off = config(&provider, "").replace("enabled: true", "enabled: false");
    let gateway = start(Store::Sqlite, &provider, &off).await;
    for host in ["tenant2.example.com", "nowhere.example", "a b"] {
        let answer = Call::get(gateway.at("/v1/status")).header("host", host).bearer("key-acme").send().await;
        assert_eq!((answer.status, &answer.json()["tenant_id"]), (200, &json!("acme")), "{host}");
    }
}
