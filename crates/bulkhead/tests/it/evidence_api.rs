//! The record of every decision: lists, single records, proofs, exports, and what tampering with the store looks like.

use std::collections::BTreeSet;

use bh_domain::evidence::checkpoint::PublicKey;
use bh_domain::evidence::export::{Fault, VerifyError, verify_export};
use bh_testkit::{Answer, Call, Gateway, on_both_stores};
use serde_json::{Value, json};

use crate::money::{
    ADMIN, APP, BATCH, CENT, WEB, amount, at_once, call, call_of, config, count_of, entries, gateway,
    provider, read, sum, tamper,
};

const POLICIES: [&str; 3] = ["{}"; 3];

async fn export(gateway: &Gateway, key: &str, body: Value) -> Answer {
    let answer = Call::post(gateway.at("/v1/evidence/export"), &body).bearer(key).send().await;
    assert_eq!(answer.status, 200, "{body}: {}", answer.text());
    answer
}

async fn status_of(gateway: &Gateway, path: &str) -> u16 {
    Call::get(gateway.at(path)).bearer(APP).send().await.status
}

async fn verdict(gateway: &Gateway, id: &str) -> Value {
    read(gateway, APP, &format!("/v1/evidence/{id}/verify")).await
}

async fn public_key(gateway: &Gateway) -> PublicKey {
    let checkpoint = read(gateway, APP, "/v1/evidence/checkpoint").await;
    PublicKey::parse(checkpoint["public_key"].as_str().unwrap()).unwrap()
}

/// The ids of acme's records, oldest first.
async fn ids(gateway: &Gateway) -> Vec<String> {
    let newest_first = entries(gateway, APP).await;
    newest_first.iter().rev().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
}

/// So many calls of acme's `app`, one after the other.
async fn calls(gateway: &Gateway, count: usize) {
    for _ in 0..count {
        assert_eq!(call(gateway, APP).send().await.status, 200);
    }
}

on_both_stores! {
    /// Proves: TALON-17
    async fn a_list_is_paged_without_gaps_and_filtered_by_what_records_say(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, POLICIES, "")).store(store).start().await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 120).await, 200), 120);
        let session = call(&gateway, BATCH).header("x-talon-session-id", "s1");
        assert_eq!(count_of(&at_once(&session, 3).await, 200), 3);
        let lost = Call::post(gateway.at("/v1/proxy/nowhere/v1/chat/completions"), &json!({})).bearer(APP).send().await;
        assert_eq!(lost.status, 400);

        let all = entries(&gateway, APP).await;
        let seqs: Vec<u64> = all.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
        let distinct: BTreeSet<u64> = seqs.iter().copied().collect();
        assert_eq!((seqs.len(), distinct), (124, (1..=124).collect()));
        let times: Vec<&str> = all.iter().map(|entry| entry["timestamp"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first");
        let first = times.last().unwrap().to_owned();

        let counted = async |query: &str| {
            let page = read(&gateway, APP, &format!("/v1/evidence?limit=500&{query}")).await;
            page["entries"].as_array().unwrap().len()
        };
        for (query, count) in [
            ("agent_id=app", 121),
            ("agent_id=batch", 3),
            ("session_id=s1", 3),
            ("allowed=false", 1),
            ("allowed=true&agent_id=app", 120),
            ("model=penny", 123),
            ("model=dime", 0),
            ("invocation_type=gateway&session_id=s1", 3),
            ("from=2099-01-01", 0),
            ("to=2020-01-01", 0),
            (&format!("from={first}"), 124),
            (&format!("to={first}"), 0),
        ] {
            assert_eq!(counted(query).await, count, "{query}");
        }
        for bad in ["from=yesterday", "to=tomorrow", "from=2026-11-02&to=2026-11-01", "limit=0", "limit=x",
            "allowed=perhaps", "cursor=none", "agent=app", "agent_id=a&agent_id=b"] {
            let refused = Call::get(gateway.at(&format!("/v1/evidence?{bad}"))).bearer(APP).send().await;
            assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("invalid_request")), "{bad}");
        }
    }

    /// Proves: TALON-17
    async fn a_record_is_shown_among_its_neighbours_with_its_trace_and_its_proof(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, POLICIES, "")).store(store).start().await;
        calls(&gateway, 5).await;
        assert_eq!(call(&gateway, WEB).send().await.status, 200);
        let ids = ids(&gateway).await;
        let middle = &ids[2];

        let record = read(&gateway, APP, &format!("/v1/evidence/{middle}")).await;
        assert_eq!((&record["id"], &record["seq"], &record["tenant_id"]), (&json!(middle), &json!(3), &json!("acme")));
        assert_eq!((&record["agent_id"], &record["durability"]), (&json!("app"), &json!("strict")));
        assert_eq!(record["execution"]["cost"], "0.01");
        assert!(record["signature"].as_str().unwrap().starts_with("hmac-sha256:"));
        for hash in ["input_hash", "output_hash"] {
            let hash = record["audit_trail"][hash].as_str().unwrap();
            let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
            assert!(hash.len() == 71 && !hash.ends_with(empty), "{hash}");
        }
        let line = read(&gateway, APP, &format!("/v1/evidence/timeline?around={middle}&before=1&after=2")).await;
        let line: BTreeSet<_> = line["entries"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap()).collect();
        assert_eq!(line, ids[1..].iter().map(String::as_str).collect());
        let trace = read(&gateway, APP, &format!("/v1/evidence/{middle}/trace")).await;
        assert_eq!((&trace["evidence"], &trace["complete"]), (&record, &json!(true)));
        assert_eq!(trace["steps"].as_array().unwrap().len(), 1);
        let proof = verdict(&gateway, middle).await;
        let checks = json!({"signature": true, "row": true, "chain": true, "inclusion": true});
        assert_eq!((&proof["valid"], &proof["checks"], &proof["seq"]), (&json!(true), &checks, &json!(3)));
        assert!(public_key(&gateway).await.verify(proof["checkpoint"].as_str().unwrap()).is_ok());

        let unknown = "gw_00000000000000000000000000000000";
        for path in ["", "/trace", "/verify"] {
            assert_eq!(status_of(&gateway, &format!("/v1/evidence/{unknown}{path}")).await, 404);
        }
        assert_eq!(status_of(&gateway, &format!("/v1/evidence/timeline?around={unknown}")).await, 404);
        assert_eq!(status_of(&gateway, "/v1/evidence/timeline").await, 400);
    }

    /// Proves: TALON-18
    async fn status_and_costs_equal_the_sum_over_evidence(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, ["{max_daily_cost: 0.05}", "{}", "{}"], "")).store(store).start().await;
        assert_eq!(count_of(&at_once(&call(&gateway, APP), 8).await, 200), 5);
        assert_eq!(call_of(&gateway, BATCH, "dime", 20).send().await.status, 200);
        assert_eq!(call(&gateway, WEB).send().await.status, 200);
        provider.on(|_| Some(bh_testkit::Script::openai_error(500, "server_error", "down")));
        assert_eq!(call(&gateway, BATCH).send().await.status, 500);

        let records = entries(&gateway, APP).await;
        let (total, denied) = (sum(&records), records.iter().filter(|r| r["allowed"] == false).count());
        // Five cents, and ten tokens of the dearer model.
        assert_eq!((total, records.len(), denied), (CENT.times(15), 10, 3));
        let status = read(&gateway, APP, "/v1/status").await;
        assert_eq!([amount(&status["cost_today"]), amount(&status["monthly"])], [total; 2]);
        let expected = json!({"status": "ok", "tenant_id": "acme", "evidence_count_today": 10, "blocked_count": 3,
            "calls_today": 7, "currency": "USD", "evidence_ok": true, "active_runs": 0, "pending_memory_reviews": 0,
            "enforcement_mode": "enforce", "error_rate": 0.1428});
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&status[name], value, "{name}");
        }
        let costs = read(&gateway, APP, "/v1/costs").await;
        assert_eq!([amount(&costs["daily"]), amount(&costs["monthly"])], [total; 2]);
        let one = read(&gateway, APP, "/v1/costs?agent_id=app").await;
        assert_eq!((amount(&one["daily"]), &one["agent_id"]), (CENT.times(5), &json!("app")));
        let budget = read(&gateway, APP, "/v1/costs/budget?agent_id=app").await;
        assert_eq!((amount(&budget["daily_used"]), &budget["daily_limit"]), (CENT.times(5), &json!("0.05")));
        let report = read(&gateway, APP, "/v1/costs/report").await;
        assert_eq!([amount(&report["total"]), amount(&report["total_eur"])], [total; 2]);
        let of = |agent: &str| report["by_agent"].as_array().unwrap().iter().find(|a| a["agent_id"] == agent).unwrap();
        let told = |agent: &str| ["calls", "denied", "failed", "output_tokens"].map(|name| of(agent)[name].as_u64().unwrap());
        assert_eq!((told("app"), told("batch")), ([5, 3, 0, 50], [2, 0, 1, 10]));

        let rows = Call::post(gateway.at("/v1/costs/export"), &json!({"format": "json"})).bearer(APP).send().await.json();
        let rows = rows.as_array().unwrap();
        let exported = rows.iter().map(|row| amount(&row["cost_eur"])).sum::<bh_domain::money::NanoUsd>();
        assert_eq!((rows.len(), exported), (10, total));
        let everywhere = read(&gateway, ADMIN, "/v1/status?tenant_id=*").await;
        assert_eq!((amount(&everywhere["cost_today"]), &everywhere["evidence_count_today"]), (CENT.times(16), &json!(11)));
    }

    /// Proves: TALON-08, TALON-42
    async fn exports_hold_the_tenant_s_own_records_and_prove_themselves_offline(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, POLICIES, "")).store(store).start().await;
        calls(&gateway, 6).await;
        assert_eq!(call(&gateway, WEB).send().await.status, 200);
        let own: BTreeSet<String> = ids(&gateway).await.into_iter().collect();

        let rows = export(&gateway, APP, json!({"format": "json"})).await.json();
        let exported = |rows: &[Value]| rows.iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(exported(rows.as_array().unwrap()), own);
        let lines = export(&gateway, APP, json!({"format": "ndjson"})).await.text();
        let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, *rows.as_array().unwrap());
        let csv = export(&gateway, APP, json!({"format": "csv"})).await;
        assert_eq!(csv.header("content-type"), Some("text/csv; charset=utf-8"));
        let cells: BTreeSet<String> = csv.text().lines().skip(1).map(|row| row.split(',').next().unwrap().to_owned()).collect();
        assert_eq!(cells, own);

        let key = public_key(&gateway).await;
        for format in ["signed-json", "signed-ndjson"] {
            let signed = export(&gateway, APP, json!({"format": format})).await.text();
            let report = verify_export(signed.as_bytes(), &key).unwrap();
            assert_eq!((report.records, report.groups[0].tenant_id.as_str()), (6, "acme"), "{format}");
            let forged = signed.replacen("\"cost\":\"0.01\"", "\"cost\":\"0.02\"", 1);
            let Err(VerifyError::Record(bad)) = verify_export(forged.as_bytes(), &key) else { panic!("{format}") };
            assert_eq!((bad.index, bad.fault), (0, Fault::Edited), "{format}");
        }
        let signed = export(&gateway, APP, json!({"format": "signed-ndjson"})).await.text();
        let lines: Vec<&str> = signed.lines().collect();
        let without: Vec<&str> = [&lines[..3], &lines[4..]].concat();
        let Err(VerifyError::Record(bad)) = verify_export(without.join("\n").as_bytes(), &key) else { panic!("a gap") };
        assert_eq!((bad.index, bad.fault), (2, Fault::Missing { tenant_id: "acme".to_owned(), seq: 3 }));
        let mut swapped = lines.clone();
        swapped.swap(3, 4);
        let Err(VerifyError::Record(bad)) = verify_export(swapped.join("\n").as_bytes(), &key) else { panic!("an order") };
        assert_eq!((bad.index, bad.fault), (2, Fault::Reordered { expected_seq: 3 }));
        for (body, why) in [(json!({"format": "html"}), "format"), (json!({"from": "x"}), "from"), (json!({"a": 1}), "a")] {
            let refused = Call::post(gateway.at("/v1/evidence/export"), &body).bearer(APP).send().await;
            assert_eq!(refused.status, 400, "{body}");
            assert!(refused.json()["message"].as_str().unwrap().contains(&format!("`{why}`")), "{}", refused.text());
        }
    }

    /// Proves: TALON-08, TALON-42
    async fn what_is_edited_deleted_or_reordered_in_the_store_is_found_and_named(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, POLICIES, "")).store(store).start().await;
        calls(&gateway, 9).await;
        let ids = ids(&gateway).await;
        for id in &ids {
            assert_eq!(verdict(&gateway, id).await["valid"], true);
        }
        // An edit: cheaper than it was, in the record and nowhere else.
        tamper(&gateway, &format!("UPDATE evidence SET record = replace(record, '\"cost\":\"0.01\"', '\"cost\":\"0.00\"') WHERE id = '{}'", ids[1]));
        let edited = verdict(&gateway, &ids[1]).await;
        assert_eq!((&edited["valid"], &edited["checks"]["signature"]), (&json!(false), &json!(false)), "{edited}");
        // A column that lists go by.
        tamper(&gateway, &format!("UPDATE evidence SET allowed = 0 WHERE id = '{}'", ids[3]));
        let hidden = verdict(&gateway, &ids[3]).await;
        assert_eq!((&hidden["valid"], &hidden["checks"]["row"]), (&json!(false), &json!(false)), "{hidden}");
        // Content that is gone, and no retention that took it.
        tamper(&gateway, &format!("UPDATE evidence SET record = NULL, purged_ms = 1 WHERE id = '{}'", ids[4]));
        let emptied = verdict(&gateway, &ids[4]).await;
        assert_eq!((&emptied["valid"], &emptied["checks"]["row"]), (&json!(false), &json!(false)), "{emptied}");
        // A deletion: the neighbours name the gap.
        tamper(&gateway, &format!("DELETE FROM evidence WHERE id = '{}'", ids[6]));
        assert_eq!(status_of(&gateway, &format!("/v1/evidence/{}/verify", ids[6])).await, 404);
        for neighbour in [&ids[5], &ids[7]] {
            let verdict = verdict(&gateway, neighbour).await;
            assert_eq!((&verdict["valid"], &verdict["checks"]["chain"]), (&json!(false), &json!(false)));
            assert!(verdict["reason"].as_str().unwrap().contains("record 7 of the chain is missing"), "{verdict}");
        }
        let refused = Call::post(gateway.at("/v1/evidence/export"), &json!({"format": "signed-json"})).bearer(APP).send().await;
        let key = public_key(&gateway).await;
        assert!(refused.status != 200 || verify_export(&refused.body, &key).is_err(), "no proof covers a damaged store");
    }

    /// Proves: TALON-42
    async fn records_that_change_places_are_found(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, POLICIES, "")).store(store).start().await;
        calls(&gateway, 4).await;
        let ids = ids(&gateway).await;
        let place = |id: &str, seq: i64| format!("UPDATE evidence SET seq = {seq} WHERE id = '{id}'");
        tamper(&gateway, &[place(&ids[1], 1_000), place(&ids[2], 2), place(&ids[1], 3)].join(";"));
        for id in &ids[1..3] {
            let verdict = verdict(&gateway, id).await;
            assert_eq!((&verdict["valid"], &verdict["checks"]["row"]), (&json!(false), &json!(false)), "{verdict}");
            assert!(verdict["reason"].as_str().unwrap().contains("the stored position"), "{verdict}");
        }
    }

    /// Prompts and answers are kept only where that is configured, and then nobody reads them in the database.
    async fn prompts_are_stored_only_when_configured_and_then_sealed(store) {
        const PROMPT: &str = "bluebird-is-the-merger";
        let provider = provider();
        provider.reply(bh_testkit::Reply::text("the-answer-is-redwing"));
        let rows = |gateway: &Gateway| tamper(gateway, "SELECT count(*) FROM evidence_contents");
        for (more, kept) in [("", "0"), ("evidence: {store_prompts: true}\n", "1"),
            ("evidence: {store_prompts: true, store_answers: true}\n", "2")] {
            let mut gateway = gateway(&config(&provider, POLICIES, more)).store(store).start().await;
            let body = json!({"model": "penny", "max_tokens": 9, "messages": [{"role": "user", "content": PROMPT}]});
            let ask = Call::post(gateway.at("/v1/proxy/openai/v1/chat/completions"), &body).bearer(APP);
            assert_eq!(ask.send().await.status, 200);
            assert_eq!(rows(&gateway), kept, "{more}");
            let dump = match gateway.database() {
                Some(database) => database.sql("SELECT * FROM evidence; SELECT encode(sealed, 'escape') FROM evidence_contents"),
                None => String::new(),
            };
            assert!(gateway.terminate().await);
            let files = gateway.files();
            let written = files.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes));
            for text in written.chain([dump.into(), gateway.output().into()]) {
                assert!(!text.contains(PROMPT) && !text.contains("redwing"), "{more}");
            }
        }
    }
}

#[tokio::test]
async fn a_record_says_which_durability_it_was_written_with() {
    let provider = provider();
    let more = "tenants: [{id: globex, evidence: {durability: relaxed}}]\n\
        evidence:\n  routes: [{prefix: /v1/proxy/openai/v1/embeddings, durability: relaxed}]\n";
    let gateway = gateway(&config(&provider, POLICIES, more)).start().await;
    let durability = async |key: &str, answer: Answer| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("x-bulkhead-request-id").unwrap().to_owned();
        for _ in 0..200 {
            let found = Call::get(gateway.at(&format!("/v1/evidence/{id}"))).bearer(key).send().await;
            if found.status == 200 {
                return found.json()["durability"].as_str().unwrap().to_owned();
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{id} is not on the record");
    };
    let embed =
        Call::post(gateway.at("/v1/proxy/openai/v1/embeddings"), &json!({"model": "penny", "input": "hi"}));
    assert_eq!(durability(APP, call(&gateway, APP).send().await).await, "strict");
    assert_eq!(durability(WEB, call(&gateway, WEB).send().await).await, "relaxed");
    assert_eq!(durability(APP, embed.bearer(APP).send().await).await, "relaxed");
}

#[tokio::test]
async fn a_model_name_that_is_a_formula_is_disarmed_in_csv() {
    let provider = provider();
    let gateway = gateway(&config(&provider, POLICIES, "")).start().await;
    let formula = "=HYPERLINK(\"http://evil.example\")";
    assert_eq!(call_of(&gateway, APP, formula, 1).send().await.status, 200);
    let costs =
        Call::post(gateway.at("/v1/costs/export"), &json!({"format": "csv"})).bearer(APP).send().await.text();
    let evidence = export(&gateway, APP, json!({"format": "csv"})).await.text();
    for csv in [costs, evidence] {
        assert!(csv.contains(",\"'=HYPERLINK(\"\"http://evil.example\"\")\","), "{csv}");
    }
}
