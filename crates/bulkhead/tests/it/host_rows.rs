//! Tenants by host name, made and administered at run time: what is the installation's answers on every host, a tenant
//! gets its host names with its other settings, and a network takes nothing from a row.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD, PROXIED_CHAT, chat, gateway_yaml};
use crate::hostnames::{KEY_ROUTE, UNKNOWN, config, network, start};
use crate::keys_cache::SHARED;

const PATIENCE: Duration = Duration::from_secs(10);
const TENANTS: &str = "/api/v1/admin/tenants";
/// A name that leads to nobody, as operators use it.
const OPERATORS: &str = "10.0.0.5:8080";

async fn ask(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Answer {
    let call = Call::new(method, gateway.at(path)).header("host", OPERATORS).bearer(ADMIN_KEY);
    if method == "GET" { call.send().await } else { call.json(body).send().await }
}

/// The data of an answer with this status.
async fn done(gateway: &Gateway, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let answer = ask(gateway, method, path, body).await;
    assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    answer.json()["data"].take()
}

async fn make(gateway: &Gateway, body: &Value) -> (Value, String) {
    let made = done(gateway, "POST", TENANTS, body, 201).await;
    let key = made["apiKey"].as_str().unwrap().to_owned();
    (made, key)
}

fn status_of(gateway: &Gateway, host: &str, key: &str) -> Call {
    Call::get(gateway.at("/v1/status")).header("host", host).bearer(key)
}

/// The tenant that a key meets on a host; what it is refused with.
async fn meets(gateway: &Gateway, host: &str, key: &str) -> Result<String, u16> {
    let answer = status_of(gateway, host, key).send().await;
    match answer.status {
        200 => Ok(answer.json()["tenant_id"].as_str().unwrap().to_owned()),
        status => Err(status),
    }
}

async fn until_it_meets(gateway: &Gateway, host: &str, key: &str, wanted: Result<&str, u16>) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let met = meets(gateway, host, key).await;
        if met.as_deref().map_err(|status| *status) == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{host}: {met:?} and not {wanted:?}: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn assert_taken(answer: &Answer, name: &str) {
    assert_eq!(answer.status, 409, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!((&error["code"], &error["context"]["hostname"]), (&json!("HOSTNAME_TAKEN"), &json!(name)));
}

on_both_stores! {
    async fn what_is_the_installations_answers_on_every_host_and_tenants_doors_on_theirs_alone(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        make(&gateway, &json!({"id": "acme-corp"})).await;
        let installation = [
            TENANTS, "/api/v1/admin/tenants/acme-corp", "/api/v1/admin/tenants/acme-corp/api-keys",
            "/api/v1/admin/audit", "/api/v1/admin/webhooks/events", "/api/v1/admin/secrets/master-key", "/api/v1/metrics",
        ];
        let open = ["/openapi.json", "/docs", "/healthz", "/readyz", "/metrics"];
        for host in [OPERATORS, "tenant1.example.com", "nowhere.example"] {
            let at = |path: &str, key: &str| Call::get(gateway.at(path)).header("host", host).bearer(key);
            for path in installation {
                let answer = at(path, ADMIN_KEY).send().await;
                assert_eq!(answer.status, 200, "{host} {path}: {}", answer.text());
                for stranger in ["key-acme", "nobody"] {
                    assert_eq!(at(path, stranger).send().await.status, 401, "{host} {path} {stranger}");
                }
            }
            for path in open {
                assert_eq!(at(path, "nobody").send().await.status, 200, "{host} {path}");
            }
        }
        // What is a tenant's stays on its hosts, with an operator's key too.
        for key in ["key-acme", ADMIN_KEY] {
            for path in ["/v1/status", "/v1/evidence", "/v1/costs", "/api/v1/audit", "/v2alpha1/admin/issuedApiKeys", "/v1/models"] {
                let answer = Call::get(gateway.at(path)).header("host", OPERATORS).bearer(key).send().await;
                assert_eq!(answer.status, 404, "{path}: {}", answer.text());
            }
            let call = Call::post(gateway.at(PROXIED_CHAT), &chat()).header("host", OPERATORS).bearer(key);
            assert_eq!(call.send().await.status, 404);
        }
        assert_eq!(provider.hits(), 0);
    }

    async fn a_tenant_made_at_run_time_gets_its_host_names_with_its_settings(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        let (made, key) = make(&gateway, &json!({"id": "initech", "hostnames": ["Initech.Example:443", "api.initech.example"]})).await;
        assert_eq!(made["hostnames"], json!(["initech.example", "api.initech.example"]), "as they are compared");
        assert_eq!(meets(&gateway, "INITECH.example:8080", &key).await, Ok("initech".to_owned()));
        assert_eq!(meets(&gateway, "api.initech.example", &key).await, Ok("initech".to_owned()));
        assert_eq!(meets(&gateway, "tenant1.example.com", &key).await, Err(401), "another's host does not know it");
        assert_eq!(meets(&gateway, "initech.example", "key-acme").await, Err(403), "another's key");
        // One that has none says so, and is reached by no name.
        let (bare, bare_key) = make(&gateway, &json!({"id": "bare"})).await;
        assert_eq!(bare["hostnames"], json!([]));
        assert_eq!(meets(&gateway, OPERATORS, &bare_key).await, Err(404));
        // A change is a change of settings like others: the rest stays, and `null` takes all away.
        let patched = done(&gateway, "PATCH", &format!("{TENANTS}/initech"), &json!({"hostnames": ["new.example"]}), 200).await;
        assert_eq!((&patched["hostnames"], &patched["name"]), (&json!(["new.example"]), &json!("initech")));
        assert_eq!(meets(&gateway, "new.example", &key).await, Ok("initech".to_owned()));
        assert_eq!(meets(&gateway, "initech.example", &key).await, Err(404));
        done(&gateway, "PATCH", &format!("{TENANTS}/initech"), &json!({"name": "Initech"}), 200).await;
        assert_eq!(meets(&gateway, "new.example", &key).await, Ok("initech".to_owned()));
        done(&gateway, "PATCH", &format!("{TENANTS}/initech"), &json!({"hostnames": null}), 200).await;
        let gone = Call::get(gateway.at(KEY_ROUTE)).header("host", "new.example").send().await;
        assert_eq!((gone.status, gone.text().as_str()), (404, UNKNOWN));
    }

    async fn a_host_name_leads_to_one_tenant_wherever_that_comes_from(store) {
        let provider = FakeProvider::start();
        let wide = network("*.wide.example", "550e8400-e29b-41d4-a716-446655440001");
        let mut gateway = start(store, &provider, &config(&provider, &wide)).await;
        let (_, one) = make(&gateway, &json!({"id": "one", "hostnames": ["one.example", "own.wide.example"]})).await;
        let (_, two) = make(&gateway, &json!({"id": "two"})).await;
        assert_eq!(meets(&gateway, "own.wide.example", &one).await, Ok("one".to_owned()), "the narrower name wins");
        // Another row's, and the file's.
        for name in ["one.example", "tenant2.example.com"] {
            let body = json!({"id": "three", "hostnames": ["three.example", name]});
            assert_taken(&ask(&gateway, "POST", TENANTS, &body).await, name);
            assert_eq!(ask(&gateway, "GET", &format!("{TENANTS}/three"), &json!({})).await.status, 404, "nothing is made");
            let body = json!({"name": "Two", "hostnames": [name]});
            assert_taken(&ask(&gateway, "PATCH", &format!("{TENANTS}/two"), &body).await, name);
            assert_eq!(done(&gateway, "GET", &format!("{TENANTS}/two"), &json!({}), 200).await["name"], json!("two"));
        }
        for (name, what) in [("*.example", "wildcard"), ("*", "wildcard"), ("a b", "host name"), ("", "host name"), ("b\u{fc}cher.example", "xn--")] {
            let answer = ask(&gateway, "PATCH", &format!("{TENANTS}/two"), &json!({"hostnames": [name]})).await;
            assert_eq!((answer.status, &answer.json()["error"]["context"]["field"]), (400, &json!("hostnames")), "{name}");
            assert!(answer.text().contains(what), "{}", answer.text());
        }
        // Given back, it is anybody's: by a change, and by the tenant's end. It is there after a restart.
        done(&gateway, "PATCH", &format!("{TENANTS}/one"), &json!({"hostnames": ["own.wide.example"]}), 200).await;
        done(&gateway, "PATCH", &format!("{TENANTS}/two"), &json!({"hostnames": ["one.example"]}), 200).await;
        assert_eq!(meets(&gateway, "one.example", &two).await, Ok("two".to_owned()));
        done(&gateway, "DELETE", &format!("{TENANTS}/two?confirm=true"), &json!({}), 200).await;
        assert_eq!(meets(&gateway, "one.example", &two).await, Err(404));
        done(&gateway, "PATCH", &format!("{TENANTS}/one"), &json!({"hostnames": ["one.example"]}), 200).await;
        gateway.kill9();
        gateway.restart().await;
        assert_eq!(meets(&gateway, "one.example", &one).await, Ok("one".to_owned()));
        // A file that begins to name it wins.
        gateway.reload(&config(&provider, &network("one.example", "550e8400-e29b-41d4-a716-446655440001")));
        until_it_meets(&gateway, "one.example", "key-acme", Ok("acme")).await;
    }

    async fn of_many_who_want_one_host_name_at_once_one_gets_it(store) {
        let provider = FakeProvider::start();
        let gateway = start(store, &provider, &config(&provider, "")).await;
        let want = |n: usize| {
            let names = if n.is_multiple_of(2) { ["a.example", "b.example"] } else { ["b.example", "a.example"] };
            let body = json!({"id": format!("t{n}"), "hostnames": names});
            Call::post(gateway.at(TENANTS), &body).bearer(ADMIN_KEY)
        };
        let mut made = Vec::new();
        for answer in futures_util::future::join_all((0..8).map(|n| { let call = want(n); async move { call.send().await } })).await {
            match answer.status {
                201 => made.push(answer.json()["data"]["id"].as_str().unwrap().to_owned()),
                status => assert_eq!(status, 409, "{}", answer.text()),
            }
        }
        let [winner] = made.as_slice() else { panic!("{made:?}") };
        let told = done(&gateway, "GET", TENANTS, &json!({}), 200).await;
        let rows: Vec<&Value> = told.as_array().unwrap().iter().filter(|tenant| tenant["managedBy"] == "api").collect();
        assert_eq!((rows.len(), &rows[0]["id"]), (1, &json!(winner)));
    }

    /// A network entry gives a row a host name and an overlay. What the row says of limits and money stays in force, and
    /// can go on being changed where it was made.
    async fn a_network_of_a_row_keeps_its_caps_and_leaves_it_to_be_changed(store) {
        let provider = FakeProvider::start();
        let mut gateway = start(store, &provider, &config(&provider, "")).await;
        let caps = json!({"limits": {"requestsPerMinute": 7}, "budgets": {"daily": "3.50"}});
        let (made, key) = make(&gateway, &json!({"id": "initech", "limits": caps["limits"], "budgets": caps["budgets"]})).await;
        let nid = made["nid"].as_str().unwrap();
        let named = config(&provider, &network("filed.example", nid));
        gateway.reload(&named);
        until_it_meets(&gateway, "filed.example", &key, Ok("initech")).await;
        for restarted in [false, true] {
            if restarted {
                gateway.try_restart_as(|same| same.config(&named)).await.unwrap();
            }
            let told = done(&gateway, "GET", &format!("{TENANTS}/initech"), &json!({}), 200).await;
            assert_eq!((&told["limits"]["requestsPerMinute"], &told["budgets"]["daily"]), (&json!(7), &json!("3.5")), "{told}");
            let answer = status_of(&gateway, "filed.example", &key).send().await;
            assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, Some("7")));
        }
        done(&gateway, "PATCH", &format!("{TENANTS}/initech"), &json!({"limits": {"requestsPerMinute": 5}}), 200).await;
        let answer = status_of(&gateway, "filed.example", &key).send().await;
        assert_eq!((answer.status, answer.header("x-ratelimit-limit")), (200, Some("5")), "at once");
        done(&gateway, "POST", &format!("{TENANTS}/initech/suspend"), &json!({}), 200).await;
        assert_eq!(meets(&gateway, "filed.example", &key).await, Err(403));
        done(&gateway, "POST", &format!("{TENANTS}/initech/resume"), &json!({}), 200).await;
        assert_eq!(meets(&gateway, "filed.example", &key).await, Ok("initech".to_owned()));
    }

    async fn a_deleted_row_that_a_network_still_names_is_nobody_and_owes_by_its_plan(store) {
        let provider = FakeProvider::start();
        let plans = "plans: {pro: {prices: {api_calls_per_1k: 250}}}\n";
        let base = format!("{}{plans}", config(&provider, ""));
        let mut gateway = start(store, &provider, &base).await;
        let (made, key) = make(&gateway, &json!({"id": "initech", "plan": "pro"})).await;
        let named = format!("{}{plans}", config(&provider, &network("filed.example", made["nid"].as_str().unwrap())));
        gateway.reload(&named);
        until_it_meets(&gateway, "filed.example", &key, Ok("initech")).await;
        let call = Call::post(gateway.at(PROXIED_CHAT), &chat()).header("host", "filed.example").bearer(&key).send().await;
        assert_eq!(call.status, 200, "{}", call.text());
        let (tenant, month) = (format!("{TENANTS}/initech"), format!("{TENANTS}/initech/usage"));
        let deadline = Instant::now() + PATIENCE;
        while done(&gateway, "GET", &month, &json!({}), 200).await["apiCalls"] != 1 {
            assert!(Instant::now() < deadline, "the call is not in the ledger");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let owed = done(&gateway, "GET", &month, &json!({}), 200).await;
        assert_eq!(owed["apiCallsCost"], "0.25", "{owed}");
        done(&gateway, "DELETE", &format!("{tenant}?confirm=true"), &json!({}), 200).await;
        for restarted in [false, true] {
            if restarted {
                gateway.try_restart_as(|same| same.config(&named)).await.unwrap();
            }
            until_it_meets(&gateway, "filed.example", &key, Err(404)).await;
            done(&gateway, "GET", &tenant, &json!({}), 404).await;
            assert_eq!(done(&gateway, "GET", &month, &json!({}), 200).await, owed);
            done(&gateway, "POST", &format!("{tenant}/keys"), &json!({"name": "late"}), 404).await;
            let invoice = gateway.cli(&["invoice", "--tenant", "initech", "--json"]);
            assert!(invoice.ok(), "{invoice}");
            assert_eq!(serde_json::from_str::<Value>(&invoice.stdout).unwrap(), owed);
        }
    }

    async fn the_overlay_of_a_rows_network_is_in_force_with_the_rows_caps(store) {
        let provider = FakeProvider::start();
        let base = gateway_yaml(&provider, "    - {name: app, tenant_key: key-acme, tenant_id: acme}\n");
        let named = |networks: &str| format!("{base}multitenancy:\n  enabled: true\n  networks:\n{networks}");
        let plain = network("else.example", "550e8400-e29b-41d4-a716-446655440009");
        let overlay = "credentials: {api_keys: {prefix: {current: overlaid}}}\n";
        let mut gateway = Gateway::builder(BULKHEAD).store(store).config(&named(&plain)).file("initech.yaml", overlay)
            .env("ADMIN_API_KEY", ADMIN_KEY).start().await;
        let (made, _) = make(&gateway, &json!({"id": "initech", "limits": {"maxApiKeys": 9}})).await;
        let nid = made["nid"].as_str().unwrap();
        gateway.reload(&named(&format!("{plain}    - {{hostname: filed.example, id: {nid}, config_path: initech.yaml}}\n")));
        let deadline = Instant::now() + PATIENCE;
        while Call::get(gateway.at(KEY_ROUTE)).header("host", "filed.example").send().await.status != 200 {
            assert!(Instant::now() < deadline, "{}", gateway.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let issued = Call::post(gateway.at("/v2alpha1/admin/issuedApiKeys"), &json!({"name": "k"})).header("host", "filed.example").bearer(ADMIN_KEY);
        let issued = issued.send().await;
        assert!(issued.json()["secret"].as_str().is_some_and(|secret| secret.starts_with("overlaid_")), "{}", issued.text());
        let told = done(&gateway, "GET", &format!("{TENANTS}/initech"), &json!({}), 200).await;
        assert_eq!(told["limits"]["maxApiKeys"], json!(9));
    }
}

/// Proves: CONN-06
#[tokio::test]
async fn a_host_name_that_is_given_at_run_time_leads_there_on_every_replica() {
    let provider = FakeProvider::start();
    let yaml = format!("{}{SHARED}", config(&provider, ""));
    let gateway = start(Store::Postgres, &provider, &yaml).await;
    let database = gateway.database().unwrap().url();
    let other = Gateway::builder(BULKHEAD).config(&yaml).env("DATABASE_URL", &database);
    let other = other.env("ADMIN_API_KEY", ADMIN_KEY).start().await;
    let (_, key) = make(&gateway, &json!({"id": "initech", "hostnames": ["initech.example"]})).await;
    until_it_meets(&other, "initech.example", &key, Ok("initech")).await;
    done(&other, "PATCH", &format!("{TENANTS}/initech"), &json!({"hostnames": ["other.example"]}), 200).await;
    until_it_meets(&gateway, "other.example", &key, Ok("initech")).await;
    until_it_meets(&gateway, "initech.example", &key, Err(404)).await;
}
