//! The cross-tenant oracle: everything tenant acme owns, tried by globex, by nobody and with a bad key, on every route.

use std::collections::BTreeSet;

use bh_app::identity::Access;
use bh_http::{MATRIX, Row};
use bh_testkit::{Answer, Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::money::{ADMIN, APP, BATCH, WEB, call, config, entries, gateway, provider, read};

/// An id of the same form as acme's, which never was.
const NEVER_WAS: &str = "gw_00000000000000000000000000000000";
const SESSION: &str = "acme-secret-session";
const PROMPT: &str = "the acme merger is called bluebird";

/// Words of acme that must not occur in any answer to somebody else.
fn belongings(objects: &[String]) -> Vec<String> {
    let words = [SESSION, PROMPT, "\"app\"", "\"batch\"", "\"acme\""].map(str::to_owned);
    words.into_iter().chain(objects.iter().cloned()).collect()
}

/// Traffic of acme: allowed, refused, in a session, by two callers.
async fn acme_at_work(gateway: &Gateway) {
    let body = json!({"model": "penny", "max_tokens": 5, "messages": [{"role": "user", "content": PROMPT}]});
    let url = gateway.at("/v1/proxy/openai/v1/chat/completions");
    for key in [APP, BATCH, APP] {
        let ask = Call::post(&url, &body).bearer(key).header("x-talon-session-id", SESSION);
        assert_eq!(ask.send().await.status, 200);
    }
    let refused =
        Call::post(gateway.at("/v1/proxy/nowhere/v1/chat/completions"), &body).bearer(APP).send().await;
    assert_eq!(refused.status, 400);
}

/// Everything by which one of acme's objects could be named: ids, cursors, hashes, network id.
async fn objects_of_acme(gateway: &Gateway) -> Vec<String> {
    let records = entries(gateway, APP).await;
    let mut objects: Vec<String> = records.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect();
    let page = read(gateway, APP, "/v1/evidence?limit=1").await;
    objects.push(page["next_cursor"].as_str().unwrap().to_owned());
    let record = read(gateway, APP, &format!("/v1/evidence/{}", objects[0])).await;
    objects.push(record["nid"].as_str().unwrap().to_owned());
    objects.push(record["prev_hash"].as_str().unwrap().to_owned());
    let checkpoint = read(gateway, APP, "/v1/evidence/checkpoint").await;
    objects.push(checkpoint["root"].as_str().unwrap().to_owned());
    objects
}

/// The body without what differs between any two requests.
fn told(answer: &Answer) -> (u16, String) {
    let text = answer.text();
    let own = answer.header("x-request-id").unwrap_or("no request id");
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    // Seed 001's envelope says when it was made.
    let at = body["metadata"]["timestamp"].as_str().unwrap_or("no timestamp");
    (answer.status, text.replace(own, "REQUEST").replace(at, "TIMESTAMP"))
}

/// Every method and path of a row, with `object` wherever the row takes a parameter.
fn tries(row: &Row, object: &str) -> Vec<(&'static str, String)> {
    let path = row.path.replace("{id}", object).replace("{*rest}", object).replace("{*model}", object);
    let path = path.replace("{provider}", "openai");
    let methods = if row.methods == "*" { "GET POST PUT DELETE" } else { row.methods };
    methods.split(' ').map(|method| (method, path.clone())).collect()
}

/// Who tries, and with which key.
const STRANGERS: [(&str, Option<&str>); 3] =
    [("globex", Some(WEB)), ("nobody", None), ("a bad key", Some("acme-app-key-for-tests-0002"))];

async fn tried(gateway: &Gateway, method: &str, path: &str, key: Option<&str>) -> Answer {
    let call = Call::new(method, gateway.at(path));
    let call = if method == "GET" || method == "DELETE" { call } else { call.json(&json!({})) };
    match key {
        Some(key) => call.bearer(key).send().await,
        None => call.send().await,
    }
}

fn refuses(status: u16) -> bool {
    status == 401 || status == 404
}

on_both_stores! {
    /// Acceptance 5.
    /// Proves: TALON-03
    async fn no_object_of_a_tenant_is_told_from_one_that_never_was_by_anybody_else(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, ["{}"; 3], "")).store(store).start().await;
        acme_at_work(&gateway).await;
        let objects = objects_of_acme(&gateway).await;
        let (hits, belongings) = (provider.hits(), belongings(&objects));
        let with_object = MATRIX.iter().filter(|row| row.path.contains("{id}") || row.path.contains("{*"));
        // The data plane passes paths on to the provider with the sender's own rights: nothing of a tenant is there.
        for row in with_object.filter(|row| row.access != Access::Tenant) {
            for (who, key) in STRANGERS {
                for (number, (method, unknown)) in tries(row, NEVER_WAS).into_iter().enumerate() {
                    let nothing = tried(&gateway, method, &unknown, key).await;
                    for object in &objects {
                        let (_, path) = tries(row, object).swap_remove(number);
                        let answer = tried(&gateway, method, &path, key).await;
                        assert_eq!(told(&answer), told(&nothing), "{who}: {method} {path}");
                        let later = row.access == Access::TenantOrAdmin && key == Some(WEB) && answer.status == 501;
                        assert!(later || refuses(answer.status), "{who}: {method} {path}: {}", answer.status);
                    }
                }
            }
        }
        // Parameters and bodies that name what is acme's.
        for object in &objects {
            for path in [
                format!("/v1/evidence/timeline?around={object}"),
                format!("/v1/evidence/timeline?around={object}&tenant_id=acme"),
                format!("/v1/evidence/{object}?tenant_id=acme"),
                format!("/v1/evidence/{object}/verify?tenant_id=*"),
            ] {
                for (who, key) in STRANGERS {
                    let answer = tried(&gateway, "GET", &path, key).await;
                    let nothing = tried(&gateway, "GET", &path.replace(object.as_str(), NEVER_WAS), key).await;
                    assert_eq!(told(&answer), told(&nothing), "{who}: {path}");
                    assert!(refuses(answer.status), "{who}: {path}: {}", answer.status);
                }
            }
        }
        for answer in everything_that_lists(&gateway, &objects).await {
            let text = answer.text();
            let found: Vec<_> = belongings.iter().filter(|word| text.contains(word.as_str())).collect();
            assert!(found.is_empty(), "{found:?} in {text}");
        }
        assert_eq!(provider.hits(), hits, "no try reached a provider");
    }

    /// Proves: TALON-03
    async fn a_tenant_that_made_no_call_sees_nothing_whatever_it_asks_for(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, ["{}"; 3], "")).store(store).start().await;
        acme_at_work(&gateway).await;
        for query in ["", "?tenant_id=acme", "?tenant_id=*", "?agent_id=app", "?session_id=acme-secret-session"] {
            let page = read(&gateway, WEB, &format!("/v1/evidence{query}")).await;
            assert_eq!((&page["entries"], &page["next_cursor"]), (&json!([]), &Value::Null), "{query}");
        }
        for query in ["", "?tenant_id=acme", "?agent_id=app"] {
            let costs = read(&gateway, WEB, &format!("/v1/costs{query}")).await;
            assert_eq!(
                (&costs["tenant_id"], &costs["daily"], &costs["monthly"]),
                (&json!("globex"), &json!("0"), &json!("0"))
            );
            let budget = read(&gateway, WEB, &format!("/v1/costs/budget{query}")).await;
            assert_eq!((&budget["tenant_id"], &budget["daily_used"]), (&json!("globex"), &json!("0")));
            let report = read(&gateway, WEB, &format!("/v1/costs/report{query}")).await;
            assert_eq!((&report["total"], &report["by_agent"]), (&json!("0"), &json!([])));
        }
        let status = read(&gateway, WEB, "/v1/status?tenant_id=acme").await;
        assert_eq!((&status["tenant_id"], &status["evidence_count_today"]), (&json!("globex"), &json!(0)));
        for (path, body) in [
            ("/v1/evidence/export", json!({"tenant_id": "acme"})),
            ("/v1/evidence/export", json!({"tenant_id": "*", "agent_id": "app", "format": "json"})),
            ("/v1/evidence/export", json!({"session_id": SESSION})),
            ("/v1/costs/export", json!({"tenant_id": "acme", "format": "json"})),
        ] {
            let export = Call::post(gateway.at(path), &body).bearer(WEB).send().await;
            assert_eq!((export.status, export.json()), (200, json!([])), "{path} {body}");
        }
        assert_eq!(entries(&gateway, APP).await.len(), 4, "acme itself sees all of its own");
    }

    /// Proves: TALON-14
    async fn an_operator_reads_one_tenant_or_all_of_them(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, ["{}"; 3], "")).store(store).start().await;
        acme_at_work(&gateway).await;
        assert_eq!(call(&gateway, WEB).send().await.status, 200);
        let tenants = async |query: &str| {
            let page = read(&gateway, ADMIN, &format!("/v1/evidence{query}")).await;
            let entries = page["entries"].as_array().unwrap().clone();
            let names: BTreeSet<_> = entries.iter().map(|e| e["tenant_id"].as_str().unwrap().to_owned()).collect();
            (entries.len(), names.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(tenants("?tenant_id=*").await, (5, vec!["acme".to_owned(), "globex".to_owned()]));
        assert_eq!(tenants("?tenant_id=globex").await, (1, vec!["globex".to_owned()]));
        assert_eq!(tenants("?tenant_id=nowhere").await, (0, vec![]));
        let report = read(&gateway, ADMIN, "/v1/costs/report?tenant_id=*").await;
        let by_agent = report["by_agent"].as_array().unwrap().iter();
        let costs: BTreeSet<_> = by_agent.map(|a| [&a["tenant_id"], &a["agent_id"], &a["cost"]].map(|v| v.to_string())).collect();
        let expected = [["acme", "app", "0.02"], ["acme", "batch", "0.01"], ["globex", "web", "0.01"]];
        assert_eq!(costs, expected.map(|row| row.map(|text| format!("\"{text}\""))).into());
        let foreign = entries(&gateway, APP).await[0]["id"].as_str().unwrap().to_owned();
        let record = read(&gateway, ADMIN, &format!("/v1/evidence/{foreign}?tenant_id=acme")).await;
        assert_eq!(record["tenant_id"], "acme");
        let elsewhere = Call::get(gateway.at(&format!("/v1/evidence/{foreign}?tenant_id=globex"))).bearer(ADMIN);
        assert_eq!(elsewhere.send().await.status, 404, "an operator who names a tenant means it");
    }
}

/// Globex's lists, sums and exports, however they are asked for.
async fn everything_that_lists(gateway: &Gateway, objects: &[String]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let plain = MATRIX.iter().filter(|row| !row.path.contains('{') && row.methods == "GET");
    for row in plain.filter(|row| row.access != Access::Open) {
        for query in ["", "?tenant_id=acme", "?tenant_id=*"] {
            answers.push(tried(gateway, "GET", &format!("{}{query}", row.path), Some(WEB)).await);
        }
    }
    for object in objects {
        answers.push(tried(gateway, "GET", &format!("/v1/evidence?cursor={object}"), Some(WEB)).await);
    }
    for body in [json!({"tenant_id": "acme"}), json!({"tenant_id": "*"}), json!({"violations_only": true})] {
        for format in ["json", "csv", "ndjson", "signed-json", "signed-ndjson"] {
            let mut body = body.clone();
            body["format"] = json!(format);
            answers.push(Call::post(gateway.at("/v1/evidence/export"), &body).bearer(WEB).send().await);
        }
    }
    answers
}
