//! `bulkhead demo`: the main flow with one binary and nothing else.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use bh_testkit::{Call, Gateway, GatewayBuilder};
use serde_json::{Value, json};

const PRINTED_WITHIN: Duration = Duration::from_secs(30);

/// A demo among settings that would break it or open it, if it looked at them.
fn among_foreign_settings() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_bulkhead"))
        .config("no_such_key: 1\n")
        .env("BULKHEAD_STORE__URL", "postgres://nobody@127.0.0.1:1/none")
        .env("TALON_API_KEYS", "foreign-key-0123456789:acme")
}

fn picked(value: &Value, members: &[&str]) -> Value {
    let members = members.iter().map(|name| ((*name).to_owned(), value[*name].clone()));
    Value::Object(members.collect())
}

/// Proves: CONN-72
#[test]
fn the_main_flow_needs_one_binary_and_no_settings() {
    let run = among_foreign_settings().run(&["demo", "--once", "--json", "--port", "0"]);
    assert!(run.ok(), "{run}");
    let shown: Value = serde_json::from_str(&run.stdout).unwrap();
    let calls = shown["calls"].as_array().unwrap();
    let statuses: Vec<&Value> = calls.iter().map(|call| &call["status"]).collect();
    assert_eq!(statuses, [200, 200, 403]);
    let members = ["tenant_id", "seq", "decision", "model", "input_tokens", "output_tokens", "cost", "valid"];
    let records: Vec<Value> = calls.iter().map(|call| picked(&call["evidence"], &members)).collect();
    let record = |tenant: &str, seq: u64, decision: &str, model: &str, tokens: [u64; 2], cost: &str| {
        json!({"tenant_id": tenant, "seq": seq, "decision": decision, "model": model, "input_tokens": tokens[0],
            "output_tokens": tokens[1], "cost": cost, "valid": true})
    };
    let wanted = [
        record("acme", 1, "allow", "demo-gpt-4o-mini", [6, 22], "0.0000141 USD"),
        record("globex", 1, "allow", "demo-claude-haiku-4-5", [8, 24], "0.000128 USD"),
        record("acme", 2, "budget", "gpt-5.5", [0, 0], "0 USD"),
    ];
    assert_eq!(records, wanted);
    let costs = json!([
        {"tenant_id": "acme", "caller": "customer-acme-app1", "calls": 1, "denied": 1, "total": "0.0000141",
            "daily_limit": "1", "currency": "USD"},
        {"tenant_id": "globex", "caller": "customer-globex-bot", "calls": 1, "denied": 0, "total": "0.000128",
            "daily_limit": "0.5", "currency": "USD"}]);
    assert_eq!(shown["costs"], costs);
    let seen = picked(&shown["isolation"], &["owner", "other_tenant", "nobody", "same_as_unknown"]);
    assert_eq!(seen, json!({"owner": 200, "other_tenant": 404, "nobody": 401, "same_as_unknown": true}));
}

#[tokio::test]
async fn a_demo_that_stays_up_serves_its_printed_keys_and_leaves_nothing_behind() {
    // The working directory is the harness's own, so this is the data directory that it can list.
    let builder = among_foreign_settings().env("TMPDIR", "data").args(&["demo", "--port", "0"]);
    let mut demo = builder.start().await;
    assert!(demo.prints("Serving until Ctrl-C", PRINTED_WITHIN).await, "{}", demo.output());
    let output = demo.output();
    let key = |name: &str| {
        let rest = output.split_once(&format!("export {name}=")).unwrap().1;
        rest.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(key("BULKHEAD"), demo.url());
    let asked = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]});
    let chat = Call::post(demo.at("/v1/proxy/openai/v1/chat/completions"), &asked);
    let answer = chat.clone().bearer(key("ACME_KEY")).send().await;
    assert_eq!((answer.status, answer.json()["model"].clone()), (200, json!("demo-gpt-4o-mini")));
    let foreign = chat.bearer("foreign-key-0123456789").send().await;
    assert_eq!(foreign.status, 401);
    assert!(demo.files().iter().any(|(path, _)| path.ends_with("bulkhead.db")), "{:?}", demo.data_dir());

    assert!(demo.terminate().await, "{}", demo.output());
    assert_eq!(demo.files(), []);
}

/// What a shell prints for each `curl` line of the guide's shell part, run as it stands there, in order.
fn pasted(guide: &str) -> Vec<String> {
    let (shell, _) = guide.split_once("\nIn Python").unwrap();
    let joined = shell.replace("\\\n", " ");
    let lines: Vec<&str> = joined.lines().map(str::trim).collect();
    let exports: String =
        lines.iter().filter(|l| l.starts_with("export ")).map(|line| format!("{line}\n")).collect();
    let run = |line: &str| {
        let output = Command::new("sh").args(["-ec", &format!("{exports}{line}")]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    lines.iter().copied().filter(|line| line.starts_with("curl ")).map(run).collect()
}

#[tokio::test]
async fn the_curl_lines_that_a_demo_prints_work_as_they_stand() {
    let mut demo = among_foreign_settings().args(&["demo", "--port", "0"]).start().await;
    assert!(demo.prints("Serving until Ctrl-C", PRINTED_WITHIN).await, "{}", demo.output());
    let output = demo.output();
    let said = tokio::task::spawn_blocking(move || pasted(&output)).await.unwrap();
    let [chat, stream, evidence, costs] = said.as_slice() else { panic!("four lines: {said:?}") };
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(parsed(chat)["model"], "demo-gpt-4o-mini");
    assert!(stream.contains("event: message_stop"), "{stream}");
    let models: Vec<Value> = parsed(evidence)["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["model_used"].clone())
        .collect();
    // The pasted call first, then the two of the tour.
    assert_eq!(models, ["demo-gpt-4o-mini", "gpt-5.5", "demo-gpt-4o-mini"]);
    assert!(costs.contains("acme") && costs.contains("globex"), "{costs}");
    assert!(demo.terminate().await, "{}", demo.output());
}

#[test]
fn a_port_that_was_asked_for_and_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = among_foreign_settings().run(&["demo", "--once", "--port", &port]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""));
    assert!(run.stderr.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{run}");
}
