//! What a store cannot keep: odd bytes stop at the doors, and a record that is refused all the same stops nothing.

use bh_testkit::{Call, Gateway, Reply, Script, Usage, on_both_stores};
use serde_json::{Value, json};

use crate::money::{
    ADMIN, APP, CALL_TOKENS, CENT, call, call_of, config, day, entries, gateway, provider, read, sum, tamper,
};

const NO_POLICIES: [&str; 3] = ["{}"; 3];
const ALIAS: &str = "models: {cheap: openai/penny}\n";
const MODELS: [&str; 4] = ["a\0b", "\0", "pen\u{1}ny", "penny\u{9f}"];

/// From now on the store refuses a second record that tells of routing.
const PICKY: &str = "CREATE UNIQUE INDEX picky ON evidence \
    ((CASE WHEN record LIKE '%\"selected_model\"%' THEN 1 END))";

/// A call through the route on which models have aliases.
fn routed(gateway: &Gateway, model: &str) -> Call {
    let body =
        json!({"model": model, "max_tokens": CALL_TOKENS, "messages": [{"role": "user", "content": "hi"}]});
    Call::post(gateway.at("/v1/chat/completions"), &body).bearer(APP)
}

async fn notes(gateway: &Gateway, entry: &Value) -> Value {
    read(gateway, APP, &format!("/v1/evidence/{}", entry["id"].as_str().unwrap())).await["gateway_annotations"].clone()
}

on_both_stores! {
    async fn a_record_that_the_store_refuses_is_replaced_and_keeps_no_other_call_waiting(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, NO_POLICIES, ALIAS)).store(store).start().await;
        assert_eq!(routed(&gateway, "cheap").send().await.status, 200);
        tamper(&gateway, PICKY);
        let mut running = tokio::task::JoinSet::new();
        for model in ["penny", "penny", "penny", "cheap", "penny", "penny"] {
            let call = routed(&gateway, model);
            running.spawn(async move { call.send().await });
        }
        for answer in running.join_all().await {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        assert_eq!(call(&gateway, APP).send().await.status, 200, "the gateway goes on");

        let records = entries(&gateway, APP).await;
        assert_eq!((records.len(), sum(&records)), (8, CENT.times(8)));
        assert_eq!(day(&gateway, APP, "app").await.settled, CENT.times(8), "all of the money is settled");
        let mut replaced = 0;
        for entry in &records {
            let noted = notes(&gateway, entry).await == json!(["evidence_refused_by_store"]);
            replaced += usize::from(noted);
        }
        assert_eq!(replaced, 1);
        let run = gateway.cli(&["audit", "verify", "--all"]);
        assert_eq!(run.code, Some(0), "{run}");
        let metrics = Call::get(gateway.at("/metrics")).send().await.text();
        assert!(metrics.contains("bulkhead_evidence_replaced_total 1\n"), "{metrics}");
    }

    async fn odd_bytes_in_a_call_never_reach_the_store(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, NO_POLICIES, "")).store(store).start().await;
        let mut recorded = 0;
        for model in MODELS {
            let refused = call_of(&gateway, APP, model, CALL_TOKENS).send().await;
            assert_eq!(refused.status, 400, "{model:?}: {}", refused.text());
            recorded += 1;
        }
        assert_eq!(provider.hits(), 0);
        for (name, value) in [
            ("x-bulkhead-session-id", "séance"),
            ("x-talon-session-id", "a\tb"),
            ("x-correlation-id", "\u{80}"),
            ("user-agent", "ünïcode"),
            ("x-tenant-id", "acme\u{a0}"),
            ("x-forwarded-for", "ÿ"),
        ] {
            let answer = call(&gateway, APP).header(name, value).send().await;
            assert!([200, 400, 403].contains(&answer.status), "{name}: {}", answer.text());
            recorded += usize::from(answer.status == 200);
        }
        for path in ["/v1/proxy/openai/v1/models/%00", "/v1/proxy/openai/v1/%00", "/v1/proxy/open%00ai/v1/models"] {
            let answer = Call::get(gateway.at(path)).bearer(APP).send().await;
            assert!(answer.status < 500, "{path}: {}", answer.text());
        }
        for body in [json!({"model": "gpt\0", "usage": {"prompt_tokens": 7, "completion_tokens": 10}}), json!({"model": "\u{1}"})] {
            provider.then(Script::json(200, &body));
            assert_eq!(call(&gateway, APP).send().await.status, 200);
            recorded += 1;
        }
        provider.reply(Reply::text("nul \0 nul").using(Usage::of(7, CALL_TOKENS)));
        assert_eq!(call(&gateway, APP).send().await.status, 200);
        let records = entries(&gateway, APP).await;
        assert!(records.len() > recorded, "{} of {recorded}", records.len());
        for entry in &records {
            assert_eq!(notes(&gateway, entry).await, Value::Null, "each is as it was: {entry}");
        }
    }

    async fn a_read_with_a_nul_character_is_refused_before_the_store_sees_it(store) {
        let provider = provider();
        let gateway = gateway(&config(&provider, NO_POLICIES, "")).store(store).start().await;
        assert_eq!(call(&gateway, APP).send().await.status, 200);
        for path in [
            "/v1/evidence/%00",
            "/v1/evidence/%00/verify",
            "/v1/evidence/a%00b",
            "/v1/evidence?agent_id=%00",
            "/v1/evidence?model=a%00",
            "/v1/evidence?session_id=%00",
            "/v1/evidence?invocation_type=%00",
            "/v1/evidence?cursor=%00",
            "/v1/costs?agent_id=%00",
            "/v1/costs/budget?agent_id=%00",
            "/v1/evidence?tenant_id=%00",
        ] {
            for key in [APP, ADMIN] {
                let answer = Call::get(gateway.at(path)).bearer(key).send().await;
                assert_eq!(answer.status, 400, "{path}: {}", answer.text());
                assert_eq!(answer.json()["error"], "invalid_request");
            }
        }
        for path in ["/v1/evidence/export", "/v1/costs/export"] {
            let asked = Call::post(gateway.at(path), &json!({"agent_id": "a\0"})).bearer(APP).send().await;
            assert_eq!(asked.status, 400, "{path}: {}", asked.text());
        }
    }
}
