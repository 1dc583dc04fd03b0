//! The audit trail of everything that administers, and of whom was not let (issue 4 §4; Connectors dossier §10, §15).

use std::time::Instant;

use bh_app::identity::Access;
use bh_http::{MATRIX, Row};
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::llm_setup::{KEY, PATIENCE, PRICES, binary, config, providers};
use crate::money::tamper;
use crate::verify_setup::metric;

pub(crate) const ADMIN_KEY: &str = "ops-admin-key-of-the-trail-1";
const VIEWER_KEY: &str = "eyes-viewer-key-of-the-trail";
pub(crate) const TENANTS: &str = "/api/v1/admin/tenants";
pub(crate) const INSTALLATION: &str = "/api/v1/admin/audit";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
/// Where keys are verified: asked for each request of other systems.
const QUESTIONS: [&str; 2] = ["/v2alpha1/admin/apiKeys:verify", "/v2alpha1/admin/apiKeys:batchVerify"];

pub(crate) struct House {
    pub(crate) gateway: Gateway,
    provider: FakeProvider,
}

impl House {
    pub(crate) async fn start(store: Store, more: &str) -> Self {
        let provider = FakeProvider::start();
        let admins = format!(
            "admin_keys:\n  - {{name: ops, key: {ADMIN_KEY}, role: admin}}\n  - {{name: eyes, key: {VIEWER_KEY}, role: viewer}}\n"
        );
        let yaml = config(&providers(provider.url()), "{}", &format!("{PRICES}{admins}{more}"));
        Self { gateway: binary().store(store).config(&yaml).start().await, provider }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        let call = Call::new(method, self.gateway.at(path)).bearer(ADMIN_KEY);
        let call = call.header("user-agent", "trail-test/1").header("x-user-id", "user-123");
        if method == "GET" { call.send().await } else { call.json(body).send().await }
    }

    pub(crate) async fn make(&self, id: &str) -> String {
        let made = self.ask("POST", TENANTS, &json!({ "id": id })).await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["apiKey"].as_str().unwrap().to_owned()
    }

    fn chat(&self, key: &str) -> Call {
        let body =
            json!({"model": "thinker", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]});
        Call::post(self.gateway.at(CHAT), &body).bearer(key)
    }

    /// Everything of some trails.
    async fn events(&self, paths: &[&str]) -> Vec<Value> {
        let mut events = Vec::new();
        for path in paths {
            let answer = self
                .ask(
                    "GET",
                    &format!("{path}{}format=ndjson", if path.contains('?') { '&' } else { '?' }),
                    &json!({}),
                )
                .await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            events.extend(answer.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        events
    }

    /// The events of a trail, once they are as wanted.
    pub(crate) async fn events_become(
        &self,
        path: &str,
        what: &str,
        wanted: impl Fn(&[Value]) -> bool,
    ) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events(&[path]).await;
            if wanted(&events) {
                return events;
            }
            assert!(Instant::now() < deadline, "{what}: {events:#?}");
        }
    }
}

pub(crate) fn of<'e>(events: &'e [Value], request_id: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["requestId"] == *request_id).collect()
}

pub(crate) fn request_id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

/// A path of this row, about what is not there unless it is the tenant `walk`.
fn path_of(row: &Row) -> String {
    let id = if row.path.starts_with(TENANTS) { "walk" } else { "none" };
    let path = row.path.replace("{id}", id).replace("{key_id}", "none").replace("{identity_id}", "none");
    path.replace("{*rest}", "part").replace("{jti}", "none")
}

/// One request of the walk, and how it is to be told.
struct Walked {
    what: String,
    request_id: String,
    result: &'static str,
    actor: &'static str,
}

fn result_of(status: u16) -> &'static str {
    match status {
        200..=299 => "success",
        401 | 403 | 429 => "denied",
        _ => "failed",
    }
}

/// Every route of the administration, once as an operator and once as nobody.
async fn walk(house: &House) -> Vec<Walked> {
    let mut walked = Vec::new();
    let administrative = |row: &&Row| matches!(row.access, Access::Admin | Access::KeyAdmin);
    for row in MATRIX.iter().filter(administrative) {
        let methods = if row.methods == "*" { "GET POST PUT PATCH DELETE" } else { row.methods };
        for method in methods.split(' ') {
            let what = format!("{method} {}", row.path);
            let path = path_of(row);
            let refused = Call::new(method, house.gateway.at(&path)).json(&json!({})).send().await;
            assert_eq!(refused.status, 401, "{what}: {}", refused.text());
            let request_id = |answer: &Answer| request_id(answer);
            walked.push(Walked {
                what: what.clone(),
                request_id: request_id(&refused),
                result: "denied",
                actor: "unknown",
            });
            let answer = house.ask(method, &path, &json!({})).await;
            assert_ne!(answer.status, 401, "{what}: {}", answer.text());
            if !QUESTIONS.contains(&row.path) {
                let result = result_of(answer.status);
                walked.push(Walked { what, request_id: request_id(&answer), result, actor: "ops" });
            }
        }
    }
    walked
}

on_both_stores! {
    /// Proves: CONN-39
    async fn every_administrative_route_leaves_one_record_of_what_was_let_and_one_of_what_was_not(store) {
        let house = House::start(store, "").await;
        house.make("walk").await;
        let walked = walk(&house).await;
        let trails = [INSTALLATION, &format!("{TENANTS}/walk/audit"), &format!("{TENANTS}/default/audit")];
        let deadline = Instant::now() + PATIENCE;
        let told = |events: &[Value], walked: &Walked| of(events, &walked.request_id).len();
        let mut events = house.events(&trails).await;
        while walked.iter().any(|one| told(&events, one) == 0) && Instant::now() < deadline {
            events = house.events(&trails).await;
        }
        for one in &walked {
            let records = of(&events, &one.request_id);
            // A tenant's key is an object of its own: rotating it changes both.
            let wanted = if one.what.ends_with("/rotate-api-key") && one.result == "success" { 2 } else { 1 };
            assert_eq!(records.len(), wanted, "{} ({}): {records:#?}", one.what, one.result);
            for record in records {
                assert_eq!((&record["result"], &record["actor"]), (&json!(one.result), &json!(one.actor)), "{}: {record}", one.what);
                assert_eq!(record["ip"], json!("127.0.0.1"), "{record}");
            }
        }
        assert!(walked.len() > 100, "the matrix has that many");
        assert_eq!(metric(&house.gateway, "bulkhead_audit_events_dropped_total").await, 0);
    }

    async fn a_change_says_who_asked_for_what_from_where_and_nothing_secret(store) {
        let house = House::start(store, "").await;
        house.make("acme-corp").await;
        let change = json!({"name": "ACME", "metadata": {"clientSecret": "s3cret-of-acme", "note": "ghp_0123456789", "tier": "gold"}});
        let changed = house.ask("PATCH", &format!("{TENANTS}/acme-corp"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let trail = format!("{TENANTS}/acme-corp/audit");
        let events = house.events(&[&trail]).await;
        let [event] = of(&events, &request_id(&changed))[..] else { panic!("{events:#?}") };
        let word = |name: &str| event[name].as_str().unwrap_or_default();
        assert_eq!([word("tenantId"), word("userId"), word("action"), word("object"), word("result")], ["acme-corp", "user-123", "tenant.updated", "acme-corp", "success"]);
        assert_eq!([word("actor"), word("role"), word("ip"), word("userAgent")], ["ops", "admin", "127.0.0.1", "trail-test/1"]);
        assert!(event["duration"].is_u64() && word("timestamp").ends_with('Z') && word("id").len() == 36);
        assert!(event["beforeDigest"] != event["afterDigest"] && word("afterDigest").len() == 64);
        let params = json!({"name": "ACME", "metadata": {"clientSecret": "[redacted]", "note": "[redacted]", "tier": "gold"}});
        assert_eq!(event["params"], params);
        assert!(!json!(events).to_string().contains("s3cret-of-acme"));

        // What is only read by an operator is the installation's to know; what was asked in vain is the tenant's too.
        let again = house.ask("POST", TENANTS, &json!({"id": "acme-corp", "password": "p4ss"})).await;
        assert_eq!(again.status, 400, "{}", again.text());
        let viewed = Call::new("DELETE", house.gateway.at(&format!("{TENANTS}/acme-corp?confirm=true"))).bearer(VIEWER_KEY).send().await;
        assert_eq!(viewed.status, 403, "{}", viewed.text());
        let events = house.events_become(&trail, "a denial", |events| !of(events, &request_id(&viewed)).is_empty()).await;
        let [denied] = of(&events, &request_id(&viewed))[..] else { panic!("{events:#?}") };
        assert_eq!((&denied["action"], &denied["actor"], &denied["role"], &denied["object"]), (&json!("request.denied"), &json!("eyes"), &json!("viewer"), &json!("acme-corp")));
        assert_eq!((&denied["params"]["code"], &denied["params"]["route"]), (&json!("forbidden"), &json!("/api/v1/admin/tenants/{id}")));
        let events = house.events_become(INSTALLATION, "a failure", |events| !of(events, &request_id(&again)).is_empty()).await;
        let [failed] = of(&events, &request_id(&again))[..] else { panic!("{events:#?}") };
        assert_eq!((&failed["result"], &failed["params"]["password"]), (&json!("failed"), &json!("[redacted]")));
        assert!(events.iter().any(|event| event["action"] == "request.read" && event["object"] == "acme-corp"), "{events:#?}");
    }

    /// A key that is good and not let in is its tenant's to know, at every door; nobody else's trail tells of it.
    /// In an incident somebody pastes the key where its id belongs.
    async fn a_key_in_an_ids_place_is_not_on_the_trail_and_an_answer_told_again_is(store) {
        let house = House::start(store, "").await;
        house.make("acme").await;
        let key = "sk-live-0123456789";
        let wrong = Call::post(house.gateway.at(&format!("/v2alpha1/admin/issuedApiKeys/{key}:revoke")), &json!({}));
        let refused = wrong.bearer(ADMIN_KEY).header("x-tenant-id", "acme").send().await;
        assert!([400, 404].contains(&refused.status), "{}", refused.text());
        let again = || {
            let body = json!({"id": "again"});
            Call::post(house.gateway.at(TENANTS), &body).bearer(ADMIN_KEY).header("idempotency-key", "one")
        };
        assert_eq!((again().send().await.status, again().send().await.status), (201, 201));
        let is = |events: &[Value], action: &str| events.iter().any(|event| event["action"] == action);
        let trail = format!("{TENANTS}/acme/audit");
        let events = house.events_become(&trail, "a failure", |events| is(events, "request.failed")).await;
        let text = json!(events).to_string();
        assert!(!text.contains(key) && text.contains("[redacted]"), "{text}");
        house.events_become(INSTALLATION, "what was told again", |events| is(events, "request.done")).await;
    }

    async fn whom_a_tenants_fence_keeps_out_is_on_its_trail_and_a_flood_is_two_records_a_minute(store) {
        let house = House::start(store, "").await;
        let key = house.make("fenced").await;
        let other = house.make("other").await;
        let fence = json!({"security": {"allowedIPs": ["10.9.8.0/24"]}, "features": {"oauth": false}});
        assert_eq!(house.ask("PATCH", &format!("{TENANTS}/fenced"), &fence).await.status, 200);
        let off = json!({"features": {"oauth": false}});
        assert_eq!(house.ask("PATCH", &format!("{TENANTS}/other"), &off).await.status, 200);
        for _ in 0..200 {
            assert_eq!(house.chat(&key).send().await.status, 403);
        }
        assert_eq!(Call::get(house.gateway.at("/v1/evidence")).bearer(&key).send().await.status, 403);
        assert_eq!(house.chat(&other).header("x-tenant-id", "fenced").send().await.status, 403);
        let oauth = Call::get(house.gateway.at("/api/v1/tenants/other/oauth/github")).bearer(&other).send().await;
        assert_eq!((oauth.status, &oauth.json()["error"]["code"]), (403, &json!("FEATURE_DISABLED")));
        let denied = |events: &[Value]| -> Vec<(String, String)> {
            let denied = events.iter().filter(|event| event["action"] == "request.denied");
            let text = |event: &Value, name: &str| event["params"][name].as_str().unwrap().to_owned();
            denied.map(|event| (text(event, "code"), text(event, "route"))).collect()
        };
        let of_fenced = house.events_become(&format!("{TENANTS}/fenced/audit"), "fenced", |events| denied(events).len() >= 2).await;
        let mut told = denied(&of_fenced);
        told.sort();
        let pair = |code: &str, route: &str| (code.to_owned(), route.to_owned());
        assert_eq!(told, [pair("ip_not_allowed", "/v1"), pair("ip_not_allowed", "/v1/evidence")], "{of_fenced:#?}");
        let of_other = house.events_become(&format!("{TENANTS}/other/audit"), "other", |events| denied(events).len() >= 2).await;
        let mut told = denied(&of_other);
        told.sort();
        assert_eq!(told, [pair("CROSS_TENANT_ACCESS_DENIED", "/v1"), pair("feature_disabled", "/api/v1/tenants/{tenant}/{*rest}")], "{of_other:#?}");
        // So is what its limit keeps out where no record of a call would tell of it.
        let slow = json!({"limits": {"requestsPerMinute": 1}});
        assert_eq!(house.ask("PATCH", &format!("{TENANTS}/other"), &slow).await.status, 200);
        let read = Call::get(house.gateway.at("/v1/costs")).bearer(&other);
        let mut limited = read.send().await;
        while limited.status == 200 {
            limited = read.send().await;
        }
        assert_eq!(limited.status, 429, "{}", limited.text());
        let of_other = house.events_become(&format!("{TENANTS}/other/audit"), "limited", |events| denied(events).len() >= 3).await;
        let limited = of_other.iter().find(|event| event["params"]["code"] == "rate_limited").unwrap();
        assert_eq!((&limited["params"]["route"], &limited["role"]), (&json!("/v1/costs"), &json!("tenant")), "{limited}");
        assert_eq!(house.provider.hits(), 0);
        // The rest of the flood is one more record, with its number.
        let mut house = house;
        assert!(house.gateway.terminate().await);
        house.gateway.restart().await;
        let of_fenced = house.events(&[&format!("{TENANTS}/fenced/audit?result=denied")]).await;
        let flood: Vec<u64> = of_fenced.iter().filter(|event| event["params"]["route"] == "/v1").map(|event| 1 + event["params"]["left_out"].as_u64().unwrap()).collect();
        assert!(flood.len() <= 4 && flood.iter().sum::<u64>() == 200, "{flood:?}");
    }

    async fn reloads_are_on_the_installations_trail(store) {
        let mut house = House::start(store, "").await;
        let yaml = std::fs::read_to_string(house.gateway.config_path()).unwrap();
        house.gateway.rewrite_config(&format!("{yaml}usage: {{retention_days: 300}}\n"));
        let reloaded = |events: &[Value], action: &str| events.iter().any(|event| event["action"] == action);
        let events = house.events_become(INSTALLATION, "a reload", |events| reloaded(events, "config.reloaded")).await;
        let event = events.iter().find(|event| event["action"] == "config.reloaded").unwrap();
        assert_eq!((&event["actor"], &event["role"], &event["result"]), (&json!("bulkhead"), &json!("system"), &json!("success")));
        assert_ne!(event["beforeDigest"], event["afterDigest"]);
        house.gateway.rewrite_config(&format!("{yaml}no_such_key: 1\n"));
        let events = house.events_become(INSTALLATION, "a rejection", |events| reloaded(events, "config.rejected")).await;
        let event = events.iter().find(|event| event["action"] == "config.rejected").unwrap();
        assert_eq!(event["result"], json!("failed"));
    }

    async fn what_the_trail_told_is_part_of_the_evidence_also_after_a_kill(store) {
        let mut house = House::start(store, "").await;
        house.make("acme-corp").await;
        house.ask("GET", TENANTS, &json!({})).await;
        house.gateway.kill9();
        house.gateway.restart().await;
        house.make("beta-corp").await;
        assert!(house.gateway.terminate().await, "{}", house.gateway.output());
        let verified = |gateway: &Gateway| {
            let output = gateway.cli(&["audit", "verify", "--all", "--json"]);
            let told: Value = serde_json::from_str(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output}"));
            (output.ok(), told.as_array().unwrap().last().unwrap().clone(), output.stderr)
        };
        let (good, told, said) = verified(&house.gateway);
        assert!(good && told["valid"] == true, "{told} {said}");
        assert!(told["audit_events"].as_u64() >= Some(4) && told["not_anchored_yet"] == 0, "{told}");
        // Whoever changes, removes or moves an event behind the gateway's back is found out.
        for (change, undo, word) in [
            ("UPDATE audit_events SET actor = 'nobody' WHERE action = 'tenant.created' AND object = 'beta-corp'", "UPDATE audit_events SET actor = 'ops' WHERE actor = 'nobody'", "not what they were"),
            ("UPDATE audit_events SET anchor = NULL WHERE action = 'tenant.created' AND object = 'acme-corp'", "", "removed or added"),
        ] {
            tamper(&house.gateway, change);
            let (good, told, said) = verified(&house.gateway);
            assert!(!good && told["valid"] == false && said.contains("audit trail") && said.contains(word), "{change}: {told} {said}");
            if !undo.is_empty() {
                tamper(&house.gateway, undo);
                assert!(verified(&house.gateway).0, "{undo}");
            }
        }
    }

    /// What evidence, the usage ledger and Prometheus count is the same; the counter of a process begins at 0, so that those
    /// of all processes add up to it.
    async fn calls_on_record_calls_in_the_ledger_and_calls_counted_are_as_many_across_restarts(store) {
        let mut house = House::start(store, "").await;
        let mut counted = 0;
        let mut sent = 0;
        for (round, calls) in [7_u64, 0, 5].into_iter().enumerate() {
            for _ in 0..calls {
                assert_eq!(house.chat(KEY).send().await.status, 200);
            }
            // A limit of the body: denied, and on record all the same.
            let denied = Call::post(house.gateway.at(CHAT), &json!({"model": 7})).bearer(KEY).send().await;
            assert_eq!(denied.status, 400, "{}", denied.text());
            sent += calls + 1;
            counted += calls_counted(&house.gateway).await;
            let usage = Call::get(house.gateway.at("/api/v1/usage/metrics")).bearer(KEY);
            let evidence = Call::get(house.gateway.at("/v1/evidence?limit=1000")).bearer(KEY);
            let deadline = Instant::now() + PATIENCE;
            loop {
                let total = usage.send().await.json()["data"]["requests"]["total"].as_u64();
                let records = evidence.send().await.json()["entries"].as_array().map(|entries| entries.len() as u64);
                if (total, records) == (Some(sent), Some(sent)) {
                    break;
                }
                assert!(Instant::now() < deadline, "round {round}: {total:?} in the ledger, {records:?} on record, {sent} sent");
            }
            assert_eq!(counted, sent, "round {round}");
            // Everything is on disk by now: a kill loses nothing of it.
            house.gateway.kill9();
            house.gateway.restart().await;
        }
    }
}

/// All of `bulkhead_llm_calls_total` of a process.
async fn calls_counted(gateway: &Gateway) -> u64 {
    let text = Call::get(gateway.at("/metrics")).send().await.text();
    let lines = text.lines().filter(|line| line.starts_with("bulkhead_llm_calls_total{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}
