//! What the tests of webhooks share: a receiver, a gateway that tells it, and what an operator reads.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, FakeProvider, Gateway, GatewayBuilder, Recorded, Script, Store};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::keys_setup::ISSUED;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const OLD_SECRET: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
pub(crate) const ADMIN: &str = "operator-of-webhooks-key-001";
pub(crate) const VIEWER: &str = "viewer-of-webhooks-key-00001";
/// How long something that is on its way may take to happen, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(20);
const WEBHOOKS: &str = "/api/v1/admin/webhooks";

/// Retries so quick that a test can wait for them all.
pub(crate) const QUICK: &str = "  first_retry: 5ms\n  timeout_ms: 5000\n";

/// A receiver that takes everything, until it is told otherwise.
pub(crate) fn receiver() -> FakeProvider {
    let receiver = FakeProvider::start();
    receiver.on(|_| Some(taken()));
    receiver
}

pub(crate) fn taken() -> Script {
    Script::json(200, &json!({"success": true}))
}

pub(crate) fn failing() -> Script {
    Script::json(500, &json!({"error": "not today"}))
}

/// One endpoint as a flow mapping. `more` begins with a comma.
pub(crate) fn endpoint(id: &str, url: &str, more: &str) -> String {
    format!("    - {{id: {id}, url: '{url}', secret: {SECRET}{more}}}\n")
}

/// An endpoint on this machine.
pub(crate) fn local(id: &str, receiver: &FakeProvider, more: &str) -> String {
    endpoint(
        id,
        &format!("{}/webhooks/{id}", receiver.url()),
        &format!(", allow_private_network: true{more}"),
    )
}

/// A configuration with two operators and these endpoints. `settings` are further lines of `webhooks`.
pub(crate) fn yaml(endpoints: &[String], settings: &str) -> String {
    format!(
        "admin_keys:\n  - {{name: ops, key: {ADMIN}, role: admin}}\n  - {{name: eyes, key: {VIEWER}, role: viewer}}\n\
         tenants:\n  - {{id: acme}}\n  - {{id: globex}}\n  - {{id: gone, status: suspended}}\n\
         webhooks:\n{settings}  endpoints:\n{}",
        endpoints.concat()
    )
}

pub(crate) fn gateway(store: Store, yaml: &str) -> GatewayBuilder {
    Gateway::builder(BULKHEAD).store(store).config(yaml)
}

/// A call of an operator.
pub(crate) fn ops(gateway: &Gateway, method: &str, path: &str) -> Call {
    Call::new(method, gateway.at(path)).bearer(ADMIN)
}

/// Issues a key of a tenant; its id.
pub(crate) async fn issue(gateway: &Gateway, tenant: &str, name: &str) -> String {
    let made =
        ops(gateway, "POST", ISSUED).header("x-tenant-id", tenant).json(&json!({"name": name})).send().await;
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["issued_api_key"]["key_id"].as_str().unwrap().to_owned()
}

/// What an operator reads below `/api/v1/admin/webhooks`.
pub(crate) async fn read(gateway: &Gateway, path: &str) -> Value {
    let answer = Call::get(gateway.at(&format!("{WEBHOOKS}{path}"))).bearer(VIEWER).send().await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    let body = answer.json();
    assert_eq!(body["success"], true, "{body}");
    body
}

pub(crate) async fn post(gateway: &Gateway, path: &str, body: &Value) -> Answer {
    ops(gateway, "POST", &format!("{WEBHOOKS}{path}")).json(body).send().await
}

/// The ids of all events that a query wants, newest first.
pub(crate) async fn event_ids(gateway: &Gateway, query: &str) -> Vec<String> {
    let body = read(gateway, &format!("/events?limit=1000{query}")).await;
    body["data"].as_array().unwrap().iter().map(|event| text(&event["id"])).collect()
}

/// Waits until a query wants as many events as this, and no longer than [`PATIENCE`].
pub(crate) async fn events_become(gateway: &Gateway, query: &str, count: usize) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ids = event_ids(gateway, query).await;
        if ids.len() == count {
            return ids;
        }
        assert!(Instant::now() < deadline, "{query}: {ids:?} rather than {count}\n{}", gateway.output());
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// The only delivery of an event, once it is in a state.
pub(crate) async fn delivery(gateway: &Gateway, id: &str, state: &str) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let event = read(gateway, &format!("/events/{id}")).await;
        let delivery = event["data"]["deliveries"][0].clone();
        if delivery["state"] == state {
            return delivery;
        }
        assert!(Instant::now() < deadline, "not {state}: {event}\n{}", gateway.output());
        tokio::time::sleep(POLL_EVERY).await;
    }
}

/// Waits until a receiver has had so many requests.
pub(crate) async fn hits(receiver: &FakeProvider, count: usize) -> Vec<Recorded> {
    let reached = receiver.hits_reach(count, PATIENCE).await;
    assert!(reached, "only {} of {count}", receiver.hits());
    receiver.requests()
}

/// The different ids that a receiver was told of.
pub(crate) fn ids(requests: &[Recorded]) -> BTreeSet<String> {
    requests.iter().map(id).collect()
}

pub(crate) fn id(request: &Recorded) -> String {
    request.header("webhook-id").unwrap().to_owned()
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
