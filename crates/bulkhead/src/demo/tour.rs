//! The calls of the demo: what each customer's app does, and what the operator can prove afterwards.

use serde::Serialize;
use serde_json::{Value, json};

use super::client::{Client, Credential, Got};
use super::setting::{ACME, Customer, GLOBEX, Keys};
use crate::cli::Failure;

const OPENAI_CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
const ANTHROPIC_MESSAGES: &str = "/v1/proxy/anthropic/v1/messages";

/// Everything the tour found.
#[derive(Debug, Serialize)]
pub(super) struct Tour {
    /// The calls, in order.
    pub(super) calls: Vec<Call>,
    /// What each tenant has spent.
    pub(super) costs: Vec<Costs>,
    /// Whether one tenant sees the other's record.
    pub(super) isolation: Isolation,
    /// Ed25519 key that verifies every checkpoint and export.
    pub(super) public_key: String,
}

/// One call and its record.
#[derive(Debug, Serialize)]
pub(super) struct Call {
    /// What it shows.
    pub(super) title: &'static str,
    /// Method and path.
    pub(super) request: String,
    /// HTTP status.
    pub(super) status: u16,
    /// What came back, as text.
    pub(super) answer: String,
    /// Server-sent events of a streamed answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<usize>,
    /// The record of it.
    pub(super) evidence: Evidence,
}

/// The part of an evidence record that a table has room for.
#[derive(Debug, Serialize)]
pub(super) struct Evidence {
    pub(super) seq: u64,
    pub(super) id: String,
    pub(super) tenant_id: String,
    pub(super) decision: String,
    pub(super) model: String,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) cost: String,
    pub(super) signature: String,
    /// Signature, place in the chain and proof in the tree hold.
    pub(super) valid: bool,
}

/// One tenant's cost report.
#[derive(Debug, Serialize)]
pub(super) struct Costs {
    pub(super) tenant_id: String,
    pub(super) caller: String,
    pub(super) calls: u64,
    pub(super) denied: u64,
    pub(super) total: String,
    pub(super) daily_limit: String,
    pub(super) currency: String,
}

/// What one record answers to everybody who asks for it.
#[derive(Debug, Serialize)]
pub(super) struct Isolation {
    /// A record of globex.
    pub(super) id: String,
    /// Status for globex itself.
    pub(super) owner: u16,
    /// Status for acme.
    pub(super) other_tenant: u16,
    /// Status without a key.
    pub(super) nobody: u16,
    /// Acme's answer has the very bytes that an id nobody ever had gets.
    pub(super) same_as_unknown: bool,
}

/// An app: whose it is and its key.
#[derive(Clone, Copy)]
struct App<'a> {
    customer: Customer,
    key: &'a str,
}

/// Makes the calls and reads what they left.
pub(super) async fn run(client: &Client, keys: &Keys) -> Result<Tour, Failure> {
    let acme = App { customer: ACME, key: &keys.acme };
    let globex = App { customer: GLOBEX, key: &keys.globex };
    let calls = vec![chat(client, acme).await?, stream(client, globex).await?, too_dear(client, acme).await?];
    let costs = vec![costs(client, acme).await?, costs(client, globex).await?];
    let globex_record = calls.iter().find(|call| call.evidence.tenant_id == GLOBEX.tenant);
    let id = globex_record.map(|call| call.evidence.id.clone()).unwrap_or_default();
    let isolation = isolation(client, acme, globex, id).await?;
    let checkpoint = client.get("/v1/evidence/checkpoint", Credential::Bearer(acme.key)).await?;
    let public_key = text(&expect(200, &checkpoint)?["public_key"]);
    Ok(Tour { calls, costs, isolation, public_key })
}

async fn chat(client: &Client, acme: App<'_>) -> Result<Call, Failure> {
    let asked =
        json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What is a bulkhead?"}]});
    let got = client.post(OPENAI_CHAT, Credential::Bearer(acme.key), &asked).await?;
    let answer = text(&expect(200, &got)?["choices"][0]["message"]["content"]);
    let title = "acme calls OpenAI's API";
    finish(client, acme, title, OPENAI_CHAT, &got, Answered { answer, events: None }).await
}

async fn stream(client: &Client, globex: App<'_>) -> Result<Call, Failure> {
    let asked = json!({"model": "claude-haiku-4-5", "max_tokens": 256, "stream": true,
        "messages": [{"role": "user", "content": "Why do ships have bulkheads?"}]});
    let got = client.post(ANTHROPIC_MESSAGES, Credential::ApiKey(globex.key), &asked).await?;
    if got.status != 200 {
        return Err(unexpected(200, &got));
    }
    let (answer, events) = streamed_text(&got.body);
    let title = "globex streams from Anthropic's API";
    finish(client, globex, title, ANTHROPIC_MESSAGES, &got, Answered { answer, events: Some(events) }).await
}

/// A call whose worst case is dearer than the day's budget: it never reaches the provider.
async fn too_dear(client: &Client, acme: App<'_>) -> Result<Call, Failure> {
    let asked = json!({"model": "gpt-5.5", "max_completion_tokens": 100_000,
        "messages": [{"role": "user", "content": "Write a very long book."}]});
    let got = client.post(OPENAI_CHAT, Credential::Bearer(acme.key), &asked).await?;
    let answer = text(&expect(403, &got)?["error"]["message"]);
    let title = "acme asks for more than its day's budget";
    finish(client, acme, title, OPENAI_CHAT, &got, Answered { answer, events: None }).await
}

struct Answered {
    answer: String,
    events: Option<usize>,
}

async fn finish(
    client: &Client,
    app: App<'_>,
    title: &'static str,
    path: &str,
    got: &Got,
    Answered { answer, events }: Answered,
) -> Result<Call, Failure> {
    let evidence = evidence(client, app, &got.request_id).await?;
    Ok(Call { title, request: format!("POST {path}"), status: got.status, answer, events, evidence })
}

/// The text of an Anthropic stream, and how many events it had.
fn streamed_text(body: &[u8]) -> (String, usize) {
    let body = String::from_utf8_lossy(body);
    let data: Vec<Value> = body
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect();
    let said = data.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    (said, data.len())
}

/// The record of a call, found by the request id that came with the answer.
async fn evidence(client: &Client, app: App<'_>, request_id: &str) -> Result<Evidence, Failure> {
    let credential = Credential::Bearer(app.key);
    let index = expect(200, &client.get("/v1/evidence?limit=20", credential).await?)?;
    let entries = index["entries"].as_array().into_iter().flatten();
    let mut of_call = entries.filter(|entry| entry["correlation_id"] == request_id);
    let entry =
        of_call.next().ok_or_else(|| Failure::new(format!("the call {request_id} left no evidence")))?;
    let id = text(&entry["id"]);
    let record = expect(200, &client.get(&format!("/v1/evidence/{id}"), credential).await?)?;
    let verdict = expect(200, &client.get(&format!("/v1/evidence/{id}/verify"), credential).await?)?;
    let execution = &record["execution"];
    Ok(Evidence {
        seq: count(&record["seq"]),
        id,
        tenant_id: text(&record["tenant_id"]),
        decision: text(&record["policy_decision"]["action"]),
        model: text(&execution["model_used"]),
        input_tokens: count(&execution["tokens"]["input"]),
        output_tokens: count(&execution["tokens"]["output"]),
        cost: format!("{} {}", text(&execution["cost"]), text(&execution["currency"])),
        signature: text(&record["signature"]),
        valid: verdict["valid"] == true,
    })
}

async fn costs(client: &Client, app: App<'_>) -> Result<Costs, Failure> {
    let (credential, caller) = (Credential::Bearer(app.key), app.customer.caller);
    let report = expect(200, &client.get("/v1/costs/report", credential).await?)?;
    let budget = client.get(&format!("/v1/costs/budget?agent_id={caller}"), credential).await?;
    let budget = expect(200, &budget)?;
    let mut agents = report["by_agent"].as_array().into_iter().flatten();
    let own = agents.find(|agent| agent["agent_id"] == caller).unwrap_or(&Value::Null);
    Ok(Costs {
        tenant_id: text(&report["tenant_id"]),
        caller: caller.to_owned(),
        calls: count(&own["calls"]),
        denied: count(&own["denied"]),
        total: text(&report["total"]),
        daily_limit: text(&budget["daily_limit"]),
        currency: text(&report["currency"]),
    })
}

async fn isolation(
    client: &Client,
    acme: App<'_>,
    globex: App<'_>,
    id: String,
) -> Result<Isolation, Failure> {
    let path = format!("/v1/evidence/{id}");
    let owner = client.get(&path, Credential::Bearer(globex.key)).await?;
    let other_tenant = client.get(&path, Credential::Bearer(acme.key)).await?;
    let unknown = client.get(&format!("{path}0"), Credential::Bearer(acme.key)).await?;
    let nobody = client.get(&path, Credential::Nobody).await?;
    let same_as_unknown = same_refusal(&other_tenant, &unknown)?;
    Ok(Isolation {
        id,
        owner: owner.status,
        other_tenant: other_tenant.status,
        nobody: nobody.status,
        same_as_unknown,
    })
}

/// Whether two refusals differ in nothing but the id of the request they answer.
fn same_refusal(one: &Got, other: &Got) -> Result<bool, Failure> {
    let bare = |got: &Got| Ok::<_, Failure>(got.json()?.to_string().replace(&got.request_id, ""));
    Ok(one.status == other.status && bare(one)? == bare(other)?)
}

/// The body of an answer with the status that was to be expected.
fn expect(status: u16, got: &Got) -> Result<Value, Failure> {
    if got.status == status { got.json() } else { Err(unexpected(status, got)) }
}

fn unexpected(status: u16, got: &Got) -> Failure {
    let body = String::from_utf8_lossy(&got.body);
    Failure::new(format!("a call of the demo was answered with {} instead of {status}: {body}", got.status))
}

/// A JSON value as text: a string as it is, null as nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_default()
}
