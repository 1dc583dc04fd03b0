//! The audit trail of keys (TALOS-S05): a row for each change, failures sampled, lists and exports that say the same.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, Gateway, Store, on_both_stores};
use serde_json::{Value, json};

use crate::keys_setup::{
    BATCH_IMPORT, DERIVE, HOST_ONE, HOST_TWO, IMPORTED, ISSUED, SELF_REVOKE, Side, assert_bad_request,
    assert_error, import_body, open_gateway, two_tenants,
};
use crate::money::tamper;
use crate::verify_setup::{BATCH_VERIFY, PATIENCE, metric};

const EVENTS: &str = "/v2alpha1/admin/auditEvents";
const ADMIN: &str = "admin-key-of-the-audit-trail-1";
const VIEWER: &str = "viewer-key-of-the-audit-trail1";
const OLDEST_FIRST: &str = "order_by=create_time";
const FAILED: &str = "filter=action%3D%22key.verification_failed%22";

/// A gateway with an admin and a viewer.
async fn guarded(store: Store) -> Gateway {
    let yaml = format!(
        "admin_keys:\n  - {{name: ops, key: {ADMIN}, role: admin}}\n  - {{name: eyes, key: {VIEWER}, role: viewer}}\n"
    );
    open_gateway(store, &yaml).start().await
}

/// An operator's side of the key API.
#[derive(Clone, Copy)]
struct Ops<'g>(&'g Gateway);

impl Ops<'_> {
    async fn send(&self, method: &str, path: &str, body: Value, status: u16) -> Value {
        let call = Call::new(method, self.0.at(path)).bearer(ADMIN).json(&body);
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    async fn post(&self, path: &str, body: Value, status: u16) -> Value {
        self.send("POST", path, body, status).await
    }

    async fn issue(&self, body: Value) -> (String, String) {
        let told = self.post(ISSUED, body, 201).await;
        (text(&told["issued_api_key"]["key_id"]), text(&told["secret"]))
    }

    async fn read(&self, path: &str) -> Answer {
        let answer = Call::get(self.0.at(path)).bearer(VIEWER).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer
    }

    /// Every event that a query wants, in pages of this size.
    async fn events(&self, query: &str, size: usize) -> Vec<Value> {
        let (mut events, mut token) = (Vec::new(), String::new());
        loop {
            let page = format!("{EVENTS}?{query}&page_size={size}&page_token={token}");
            let page = self.read(&page).await.json();
            let found = page["audit_events"].as_array().unwrap();
            assert!(found.len() <= size, "{page}");
            events.extend(found.iter().cloned());
            token = text(&page["next_page_token"]);
            if token.is_empty() {
                return events;
            }
        }
    }

    /// Asks until so many events are there, or more: some are written a little later.
    async fn events_become(&self, query: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events(query, 1_000).await;
            if events.len() >= count {
                return events;
            }
            assert!(Instant::now() < deadline, "only {events:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn column<'e>(events: &'e [Value], name: &str) -> Vec<&'e str> {
    events.iter().map(|event| event[name].as_str().unwrap_or_default()).collect()
}

/// Does one of everything, and says what the trail has to say of it: action, object, actor, role, and whether there was
/// a row before and after.
async fn one_of_everything(
    ops: Ops<'_>,
) -> Vec<(&'static str, String, &'static str, &'static str, bool, bool)> {
    let (id, secret) = ops.issue(json!({"name": "a", "scopes": ["read"]})).await;
    let one = format!("{ISSUED}/{id}");
    let token = json!({"credential": secret, "algorithm": "TOKEN_ALGORITHM_MACAROON"});
    ops.post(DERIVE, token, 200).await;
    ops.send("PATCH", &one, json!({"name": "b"}), 200).await;
    ops.post(&format!("{one}:disable"), json!({}), 200).await;
    ops.post(&format!("{one}:enable"), json!({}), 200).await;
    // It is so already: nothing is changed, and nothing told.
    ops.post(&format!("{one}:enable"), json!({}), 200).await;
    let new = ops.post(&format!("{one}:rotate"), json!({}), 201).await;
    let new_id = text(&new["issued_api_key"]["key_id"]);
    let end = json!({"reason": "REVOCATION_REASON_SUPERSEDED", "revoke_derived": true});
    ops.post(&format!("{ISSUED}/{new_id}:revoke"), end, 204).await;
    ops.post("/v2alpha1/admin/derivedTokens/some-token:revoke", json!({}), 204).await;
    ops.send("DELETE", &format!("{ISSUED}/{new_id}"), json!({}), 204).await;
    let imported = text(&ops.post(IMPORTED, import_body("sk_1"), 201).await["key_id"]);
    let batch = ops.post(BATCH_IMPORT, json!({"requests": [import_body("sk_2")]}), 200).await;
    let of_batch = text(&batch["results"][0]["imported_api_key"]["key_id"]);
    let (own, held) = ops.issue(json!({"actor_id": "holder"})).await;
    let wish = json!({"credential": held, "reason": "REVOCATION_REASON_KEY_COMPROMISE"});
    let ended = Call::post(ops.0.at(SELF_REVOKE), &wish).send().await;
    assert_eq!(ended.status, 200, "{}", ended.text());
    let by_ops =
        |action, object: &String, before, after| (action, object.clone(), "ops", "admin", before, after);
    vec![
        by_ops("key.issued", &id, false, true),
        by_ops("key.token_derived", &id, false, false),
        by_ops("key.updated", &id, true, true),
        by_ops("key.disabled", &id, true, true),
        by_ops("key.enabled", &id, true, true),
        by_ops("key.rotated", &id, true, true),
        by_ops("key.revoked", &new_id, true, true),
        by_ops("key.tokens_denied", &new_id, false, false),
        by_ops("key.tokens_denied", &"some-token".to_owned(), false, false),
        by_ops("key.deleted", &new_id, true, false),
        by_ops("key.imported", &imported, false, true),
        by_ops("key.imported", &of_batch, false, true),
        by_ops("key.issued", &own, false, true),
        ("key.revoked", own, "holder", "holder", true, true),
    ]
}

on_both_stores! {
    async fn old_failed_verifications_go_and_no_other_event_does(store) {
        let yaml = format!("admin_keys: [{{name: ops, key: {ADMIN}, role: admin}}, {{name: eyes, key: {VIEWER}, role: viewer}}]\n");
        let mut gateway = open_gateway(store, &yaml).start().await;
        let verify = "/v2alpha1/admin/apiKeys:verify";
        Ops(&gateway).issue(json!({"name": "kept"})).await;
        Ops(&gateway).post(verify, json!({"credential": "old"}), 200).await;
        Ops(&gateway).events_become(FAILED, 1).await;
        assert!(gateway.terminate().await, "{}", gateway.output());
        // Four years older, as their ids say it.
        tamper(&gateway, "UPDATE audit_events SET id = '018' || substr(id, 4)");
        gateway.restart().await;
        assert!(gateway.prints("old failed verifications forgotten", PATIENCE).await, "{}", gateway.output());
        Ops(&gateway).post(verify, json!({"credential": "new"}), 200).await;
        let failed = Ops(&gateway).events_become(FAILED, 1).await;
        assert_eq!(failed.len(), 1, "{failed:?}");
        let actions: Vec<String> = Ops(&gateway).events(OLDEST_FIRST, 9).await.iter().map(|event| text(&event["action"])).collect();
        assert_eq!(actions, ["key.issued", "key.verification_failed"]);

        gateway.rewrite_config(&format!("{yaml}audit: {{failure_retention_days: 0}}\n"));
        let refused = gateway.cli(&["config", "show"]);
        assert!(refused.code != Some(0) && refused.stderr.contains("audit.failure_retention_days"), "{}", refused.stderr);
    }

    /// Proves: TALOS-S05
    async fn every_change_is_on_the_trail_with_who_made_it_also_after_a_kill(store) {
        let mut gateway = guarded(store).await;
        let wanted = one_of_everything(Ops(&gateway)).await;
        gateway.kill9();
        gateway.restart().await;
        let ops = Ops(&gateway);
        let events = ops.events(OLDEST_FIRST, 3).await;
        let there = |event: &Value, name: &str| event.get(name).is_some();
        let told: Vec<_> = events.iter().map(|event| {
            let word = |name: &str| event[name].as_str().unwrap();
            (word("action"), word("object").to_owned(), word("actor"), word("role"), there(event, "before_digest"), there(event, "after_digest"))
        }).collect();
        assert_eq!(told, wanted, "{events:#?}");
        // What a change leaves is what the next one finds.
        let of_first: Vec<&Value> = events.iter().filter(|event| event["object"] == wanted[0].1 && event["action"] != "key.token_derived").collect();
        for pair in of_first.windows(2) {
            assert_eq!(pair[0]["after_digest"], pair[1]["before_digest"], "{pair:#?}");
            assert_ne!(pair[1]["after_digest"], pair[1]["before_digest"], "{pair:#?}");
        }
        let mut newest_first = ops.events("", 4).await;
        newest_first.reverse();
        assert_eq!(newest_first, events);

        // What was asked for in vain is there a moment later, without its text.
        let denied = Call::post(gateway.at(IMPORTED), &import_body("sk_1")).bearer(ADMIN).send().await;
        assert_eq!(denied.status, 409, "{}", denied.text());
        let mixed = json!({"requests": [import_body("sk_1"), import_body("sk_9"), {"raw_key": "sk_8"}]});
        ops.post(BATCH_IMPORT, mixed, 200).await;
        let failed = ops.events_become("filter=action%3D%22key.import_failed%22&order_by=create_time", 2).await;
        assert_eq!(failed[0]["detail"], json!({"code": "conflict"}));
        let codes = ["BATCH_CREATE_IMPORTED_API_KEYS_ERROR_ALREADY_EXISTS", "BATCH_CREATE_IMPORTED_API_KEYS_ERROR_INVALID_ARGUMENT"];
        assert_eq!(failed[1]["detail"], json!({"keys": 3, "failed": 2, "codes": codes}));
        assert_eq!((&failed[0]["actor"], &failed[0]["role"]), (&json!("ops"), &json!("admin")));
    }

    /// Proves: TALOS-S05
    async fn ten_thousand_failures_in_a_minute_are_ten_events_and_a_number(store) {
        const BATCHES: usize = 100;
        let mut gateway = guarded(store).await;
        let began = Instant::now();
        for batch in 0..BATCHES {
            let requests: Vec<Value> = (0..100).map(|n| json!({"credential": format!("sk_junk_{batch}_{n}")})).collect();
            Ops(&gateway).post(BATCH_VERIFY, json!({ "requests": requests }), 200).await;
        }
        // The first ones are written while the minute goes on, the others' number at its end or the process's.
        Ops(&gateway).events_become(FAILED, 9).await;
        assert_eq!(metric(&gateway, "bulkhead_audit_events_dropped_total").await, 0);
        let minutes = began.elapsed().as_secs() / 60 + 1;
        assert!(gateway.terminate().await);
        gateway.restart().await;
        let events = Ops(&gateway).events(FAILED, 1_000).await;
        let left_out: u64 = events.iter().map(|event| event["detail"]["left_out"].as_u64().unwrap()).sum();
        assert!(events.len() as u64 <= 10 * minutes, "{} events in {minutes} minutes", events.len());
        assert_eq!(events.len() as u64 + left_out, 100 * BATCHES as u64);
        for event in &events {
            assert_eq!((&event["actor"], &event["role"], &event["object"]), (&json!("unknown"), &json!("client"), &json!("")));
            let mut detail = event["detail"].clone();
            detail.as_object_mut().unwrap().remove("left_out");
            assert_eq!(detail, json!({"code": "VERIFICATION_ERROR_NOT_FOUND", "credential_type": "imported", "client_address": "127.0.0.1"}));
        }
        assert_eq!(tamper(&gateway, "SELECT COUNT(*) FROM audit_events WHERE detail LIKE '%sk_junk%'"), "0");
    }

    /// Proves: TALOS-S05
    async fn a_failure_names_the_key_and_the_address_at_every_door(store) {
        let gateway = guarded(store).await;
        let ops = Ops(&gateway);
        let (id, secret) = ops.issue(json!({"scopes": ["llm"]})).await;
        let token = json!({"credential": secret, "algorithm": "TOKEN_ALGORITHM_JWT"});
        let token = text(&ops.post(DERIVE, token, 200).await["token"]["token"]);
        ops.post(&format!("{ISSUED}/{id}:revoke"), json!({"reason": "REVOCATION_REASON_SUPERSEDED"}), 204).await;
        let shown = json!({"credential": secret});
        ops.post("/v2alpha1/admin/apiKeys:verify", shown.clone(), 200).await;
        ops.post(DERIVE, shown, 403).await;
        for credential in [&secret, &token, "nobody's"] {
            let refused = Call::get(gateway.at("/v1/models")).bearer(credential).send().await;
            assert_eq!(refused.status, 401, "{}", refused.text());
        }
        let events = ops.events_become(&format!("{FAILED}&{OLDEST_FIRST}"), 5).await;
        let told: Vec<_> = events.iter().map(|event| {
            let detail = |name: &str| event["detail"][name].as_str().unwrap_or_default();
            assert_eq!(detail("client_address"), "127.0.0.1", "{event}");
            (event["object"].as_str().unwrap(), detail("credential_type"), detail("code").trim_start_matches("VERIFICATION_ERROR_"))
        }).collect();
        let (key, jwt) = ((id.as_str(), "issued", "REVOKED"), (id.as_str(), "derived_jwt", "REVOKED"));
        assert_eq!(told, [key, key, key, jwt, ("", "imported", "NOT_FOUND")]);
    }

    /// Proves: TALOS-S05
    async fn an_export_says_what_the_list_says(store) {
        let gateway = guarded(store).await;
        let ops = Ops(&gateway);
        let requests: Vec<Value> = (0..900).map(|n| import_body(&format!("sk_{n}"))).collect();
        ops.post(BATCH_IMPORT, json!({ "requests": requests }), 200).await;
        let (id, _) = ops.issue(json!({"name": "=1+1"})).await;
        ops.post(&format!("{ISSUED}/{id}:disable"), json!({}), 200).await;
        let issued = "action%3D%22key.*%22%20AND%20actor%3D%22ops%22%20AND%20object%3D%22";
        for (query, count) in [
            (String::new(), 902),
            (OLDEST_FIRST.to_owned(), 902),
            (format!("filter={issued}{id}%22"), 2),
            ("filter=action%3D%22key.disabled%22".to_owned(), 1),
            ("filter=actor%3D%22nobody%22".to_owned(), 0),
            ("filter=from%3D%222026-01-01%22".to_owned(), 902),
            ("filter=to%3D%222026-01-01%22".to_owned(), 0),
        ] {
            let list = ops.events(&query, 400).await;
            assert_eq!(list.len(), count, "{query}");
            let answer = ops.read(&format!("{EVENTS}:export?{query}&format=ndjson")).await;
            assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
            assert!(answer.header("content-disposition").unwrap().contains("attachment; filename=\"audit-default-"));
            let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(lines, list, "{query}");
            let answer = ops.read(&format!("{EVENTS}:export?{query}&format=csv")).await;
            assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8"));
            let table = answer.text();
            let mut rows = table.lines();
            assert_eq!(rows.next(), Some("event_id,create_time,action,object,actor,role,before_digest,after_digest,detail"));
            let ids: Vec<&str> = rows.map(|row| row.split(',').next().unwrap()).collect();
            assert_eq!(ids, column(&list, "event_id"), "{query}");
        }
        for (query, problem) in [
            ("filter=nonsense", "`filter`: expected `action`, `actor`, `object`, `from` or `to` at character 1"),
            ("filter=from%3D%22soon%22", "`filter`"),
            ("order_by=actor", "`order_by`: expected `create_time desc` or `create_time`"),
            ("page_size=many", "`page_size`: not a whole number"),
            ("page_token=AAAA", "`page_token`: not a token of this tenant"),
        ] {
            let answer = Call::get(gateway.at(&format!("{EVENTS}?{query}"))).bearer(VIEWER).send().await;
            assert_bad_request(&answer, problem);
        }
        let answer = Call::get(gateway.at(&format!("{EVENTS}:export?format=xml"))).bearer(VIEWER).send().await;
        assert_bad_request(&answer, "`format`: `xml` is none; expected `ndjson` or `csv`");
        let answer = Call::get(gateway.at(EVENTS)).send().await;
        assert_error(&answer, 401, "UNAUTHENTICATED", "UNAUTHORIZED");
        // The same on the command line.
        let file = gateway.data_dir().join("viewer.key");
        std::fs::write(&file, VIEWER).unwrap();
        let file = file.to_str().unwrap();
        let printed = |args: &[&str]| {
            let asked = ["keys", "--endpoint", gateway.url(), "--admin-key-file", file, "audit"];
            let output = gateway.cli(&[&asked, args].concat());
            assert!(output.ok(), "{output}");
            output.stdout
        };
        let one = ["--action", "key.*", "--object", &id, "--oldest-first"];
        let list = ops.events(&format!("filter={issued}{id}%22&{OLDEST_FIRST}"), 10).await;
        let told: Value = serde_json::from_str(&printed(&[&one[..], &["--json"]].concat())).unwrap();
        assert_eq!(told, json!({ "audit_events": list }));
        let lines = printed(&[&one[..], &["--format", "ndjson"]].concat());
        assert_eq!(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), list);
        assert_eq!(printed(&["--format", "csv"]).lines().count(), 903);
        assert!(printed(&one).contains("key.disabled"));
        let refused = gateway.cli(&["keys", "--endpoint", gateway.url(), "list", "--format", "csv"]);
        assert!(!refused.ok() && refused.stderr.contains("`keys audit` alone"), "{refused}");
    }

    /// Proves: TALOS-S05
    async fn each_tenant_reads_its_own_trail(store) {
        let gateway = two_tenants(store, "", "", "").start().await;
        let (one, two) = (Side::of(&gateway, HOST_ONE), Side::of(&gateway, HOST_TWO));
        for side in [one, one, two] {
            side.issue(&json!({})).await;
        }
        let page = one.read(&format!("{EVENTS}?page_size=1")).await;
        let token = page["next_page_token"].as_str().unwrap();
        assert!(!token.is_empty(), "{page}");
        let next = format!("{EVENTS}?page_size=1&page_token={token}");
        assert_eq!(one.read(&next).await["audit_events"].as_array().unwrap().len(), 1);
        assert_bad_request(&two.get(&next).await, "`page_token`: not a token of this tenant");
        assert_bad_request(&one.get(&format!("{next}&{OLDEST_FIRST}")).await, "`page_token`: not a token of this tenant");
        assert_bad_request(&one.get(&format!("{ISSUED}?page_token={token}")).await, "`page_token`: not a token of this tenant");
        let (of_one, of_two) = (one.read(EVENTS).await, two.read(EVENTS).await);
        let (of_one, of_two) = (of_one["audit_events"].as_array().unwrap(), of_two["audit_events"].as_array().unwrap());
        assert_eq!((of_one.len(), of_two.len()), (2, 1));
        assert!(!of_one.contains(&of_two[0]));
        assert_eq!((&of_two[0]["actor"], &of_two[0]["role"]), (&json!("anonymous"), &json!("open")));
        let export = two.get(&format!("{EVENTS}:export")).await.text();
        assert_eq!(serde_json::from_str::<Value>(&export).unwrap(), of_two[0]);
    }
}
