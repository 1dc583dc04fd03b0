//! What the tests of money, limits and evidence share: a model whose calls cost round amounts, and readers of what the
//! gateway says about them.

use bh_domain::money::NanoUsd;
use bh_testkit::{Answer, Call, FakeProvider, Gateway, GatewayBuilder, Reply, Usage};
use serde_json::{Value, json};

pub(crate) use crate::verify_setup::reload;

/// The admin key of every gateway here.
pub(crate) const ADMIN: &str = "operator-key-for-tests-0001";
/// The key of `app`, a caller of tenant `acme`.
pub(crate) const APP: &str = "acme-app-key-for-tests-0001";
/// The key of `batch`, another caller of tenant `acme`.
pub(crate) const BATCH: &str = "acme-batch-key-for-tests-01";
/// The key of `web`, a caller of tenant `globex`.
pub(crate) const WEB: &str = "globex-web-key-for-tests-01";

/// One output token of model `penny` costs a tenth of a cent; its input is free. So what a call holds is what it costs
/// when the model makes all the tokens it may.
pub(crate) const TOKEN: NanoUsd = NanoUsd(1_000_000);
/// Output tokens of one [`call`].
pub(crate) const CALL_TOKENS: u64 = 10;
/// What one [`call`] costs: a cent.
pub(crate) const CENT: NanoUsd = NanoUsd(10_000_000);

const PRICES: &str = "
pricing:
  providers:
    openai:
      models:
        penny: {input_per_1m: 0, output_per_1m: 1000}
        dime: {input_per_1m: 0, output_per_1m: 10000}
";

/// A configuration with two tenants and three callers, whose `policy_overrides` are given in the order `app`, `batch`,
/// `web`, each as one flow mapping. `more` is further top-level YAML.
pub(crate) fn config(provider: &FakeProvider, policies: [&str; 3], more: &str) -> String {
    let [app, batch, web] = policies;
    format!(
        "gateway:
  providers:
    openai: {{base_url: \"{url}\", api_key: sk-provider-secret-0001}}
    anthropic: {{base_url: \"{url}\", api_key: sk-ant-provider-secret-01}}
  callers:
    - {{name: app, api_key: {APP}, tenant_id: acme, policy_overrides: {app}}}
    - {{name: batch, api_key: {BATCH}, tenant_id: acme, policy_overrides: {batch}}}
    - {{name: web, api_key: {WEB}, tenant_id: globex, policy_overrides: {web}}}
{PRICES}{more}",
        url = provider.url(),
    )
}

/// A provider whose model always makes the tokens of one [`call`].
pub(crate) fn provider() -> FakeProvider {
    let provider = FakeProvider::start();
    provider.reply(Reply::text("ok").using(Usage::of(7, CALL_TOKENS)));
    provider
}

/// The real binary with an admin key.
pub(crate) fn gateway(config: &str) -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_bulkhead")).config(config).env("BULKHEAD_ADMIN_KEY", ADMIN)
}

/// A chat call of [`CALL_TOKENS`] tokens.
pub(crate) fn call(gateway: &Gateway, key: &str) -> Call {
    call_of(gateway, key, "penny", CALL_TOKENS)
}

/// A chat call of a model that may make so many tokens.
pub(crate) fn call_of(gateway: &Gateway, key: &str, model: &str, max_tokens: u64) -> Call {
    let body =
        json!({"model": model, "max_tokens": max_tokens, "messages": [{"role": "user", "content": "hi"}]});
    Call::post(gateway.at("/v1/proxy/openai/v1/chat/completions"), &body).bearer(key)
}

/// A read with a key, which must succeed.
pub(crate) async fn read(gateway: &Gateway, key: &str, path: &str) -> Value {
    let answer = Call::get(gateway.at(path)).bearer(key).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.json()
}

/// Every entry of a key's evidence list, newest first, read page by page.
pub(crate) async fn entries(gateway: &Gateway, key: &str) -> Vec<Value> {
    let (mut entries, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(gateway, key, &format!("/v1/evidence?limit=100{cursor}")).await;
        entries.extend(page["entries"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return entries,
        }
    }
}

/// The sum over the costs of evidence.
pub(crate) fn sum(entries: &[Value]) -> NanoUsd {
    entries.iter().map(|entry| amount(&entry["cost"])).sum()
}

/// An amount as the API writes it.
pub(crate) fn amount(value: &Value) -> NanoUsd {
    NanoUsd::parse_decimal(value.as_str().unwrap_or_else(|| panic!("no amount: {value}"))).unwrap()
}

/// The day of a caller's budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) settled: NanoUsd,
    pub(crate) leased: NanoUsd,
    pub(crate) unsettled: NanoUsd,
}

/// Reads the day of a caller's budget.
pub(crate) async fn day(gateway: &Gateway, key: &str, caller: &str) -> Day {
    let budget = read(gateway, key, &format!("/v1/costs/budget?agent_id={caller}")).await;
    let [settled, leased] = [&budget["daily_used"], &budget["daily_leased"]].map(amount);
    Day { settled, leased, unsettled: amount(&budget["unsettled"]["daily"]) }
}

/// Sends so many equal calls at the same time and returns their answers.
pub(crate) async fn at_once(call: &Call, count: usize) -> Vec<Answer> {
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..count {
        let call = call.clone();
        running.spawn(async move { call.send().await });
    }
    running.join_all().await
}

/// How many answers have this status.
pub(crate) fn count_of(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// SQL on the gateway's store, past the gateway: what a person with access to the database could do. Returns the first
/// row, columns parted by `|`.
pub(crate) fn tamper(gateway: &Gateway, sql: &str) -> String {
    if let Some(database) = gateway.database() {
        return database.sql(sql);
    }
    let script = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)\n\
        row = None\n\
        for statement in sys.argv[2].split(';'):\n    row = db.execute(statement).fetchone()\n\
        print('|'.join('' if c is None else str(c) for c in row or []))\n";
    let python = std::env::var_os(bh_testkit::parts::PYTHON_ENV).unwrap_or_else(|| "python3".into());
    let file = gateway.data_dir().join("bulkhead.db");
    let output = std::process::Command::new(python).args(["-c", script]).arg(file).arg(sql).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
