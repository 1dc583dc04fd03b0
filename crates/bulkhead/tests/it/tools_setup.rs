//! What the tests of tools share: a gateway, tenants with servers of the official SDK, and what is read of them.

use std::path::Path;
use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, Gateway, McpServer, Store};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD};

/// How long something that is on its way may take to happen, on a machine that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const POLL_EVERY: Duration = Duration::from_millis(20);
pub(crate) const INVOKE: &str = "/api/v1/tools/invoke";
pub(crate) const ADD: &str = "/api/v1/mcp/add";
pub(crate) const CUSTOM: &str = "/api/v1/mcp/custom";
/// Servers of tests are on this machine.
pub(crate) const HERE: &str = "mcp: {allow_private_network: true, timeout_ms: 20000}\n";

/// A server with the tools of `mcp_server.py`.
pub(crate) fn server(settings: &[(&str, &str)]) -> McpServer {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/mcp_server.py");
    McpServer::start(&script, settings)
}

pub(crate) struct House {
    pub(crate) gateway: Gateway,
}

impl House {
    pub(crate) async fn start(store: Store, yaml: &str) -> Self {
        let gateway = Gateway::builder(BULKHEAD).store(store).config(yaml).env("ADMIN_API_KEY", ADMIN_KEY);
        Self { gateway: gateway.start().await }
    }

    /// A new tenant; its key.
    pub(crate) async fn tenant(&self, id: &str, limits: Value) -> String {
        let body = json!({"id": id, "limits": limits});
        let made = Call::post(self.gateway.at("/api/v1/admin/tenants"), &body).bearer(ADMIN_KEY).send().await;
        assert_eq!(made.status, 201, "{}", made.text());
        made.json()["data"]["apiKey"].as_str().unwrap().to_owned()
    }

    pub(crate) fn call(&self, key: &str, method: &str, path: &str) -> Call {
        Call::new(method, self.gateway.at(path)).bearer(key)
    }

    /// The data of a good answer.
    pub(crate) async fn read(&self, key: &str, path: &str) -> Value {
        good(&self.call(key, "GET", path).send().await, 200)
    }

    pub(crate) async fn add(&self, key: &str, name: &str, url: &str) -> Answer {
        let body = json!({"name": name, "source": {"type": "http", "url": url}, "category": "custom"});
        self.call(key, "POST", ADD).json(&body).send().await
    }

    /// Adds a server that has to run.
    pub(crate) async fn added(&self, key: &str, name: &str, url: &str) -> Value {
        let told = good(&self.add(key, name, url).await, 202);
        assert_eq!(told["status"], json!("running"), "{told}");
        told
    }

    pub(crate) async fn invoke(&self, key: &str, tool: &str, parameters: &Value) -> Answer {
        self.call(key, "POST", INVOKE).json(&json!({"toolId": tool, "parameters": parameters})).send().await
    }

    pub(crate) async fn remove(&self, key: &str, name: &str) -> Answer {
        self.call(key, "DELETE", &format!("{CUSTOM}/{name}")).send().await
    }

    /// Has an operator store what a tenant shows a server.
    pub(crate) async fn credential(&self, tenant: &str, server: &str, token: &str) {
        let path = format!("/api/v1/admin/tenants/{tenant}/oauth/{server}/credentials");
        let body = json!({"accessToken": token, "scopes": ["repo"]});
        let stored = Call::new("PUT", self.gateway.at(&path)).bearer(ADMIN_KEY).json(&body).send().await;
        assert_eq!(stored.status, 201, "{}", stored.text());
    }

    /// Calls of tools on a tenant's trail, the oldest first, once there are so many.
    pub(crate) async fn trail(&self, key: &str, count: usize) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.read(key, "/api/v1/audit?limit=1000").await;
            let events = events.as_array().unwrap().iter().rev();
            let told = |event: &&Value| event["action"].as_str().unwrap().starts_with("tools.invoke");
            let calls: Vec<Value> = events.filter(told).cloned().collect();
            if calls.len() >= count {
                assert_eq!(calls.len(), count, "{calls:?}");
                return calls;
            }
            assert!(Instant::now() < deadline, "only {} of {count} calls are on the trail", calls.len());
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// The body of a good answer of a door with another envelope.
    pub(crate) async fn read_plain(&self, key: &str, path: &str) -> Value {
        let answer = self.call(key, "GET", path).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    pub(crate) async fn invocations(&self, key: &str) -> Value {
        self.read(key, "/api/v1/usage").await["toolInvocations"].clone()
    }
}

pub(crate) fn good(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["success"], json!(true), "{body}");
    body["data"].clone()
}

pub(crate) fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.json();
    assert_eq!((answer.status, &body["error"]["code"]), (status, &json!(code)), "{body}");
    body["error"]["message"].as_str().unwrap().to_owned()
}

/// The only text of a tool's result.
pub(crate) fn text(answer: &Answer) -> String {
    good(answer, 200)["content"][0]["text"].as_str().unwrap().to_owned()
}

pub(crate) fn ids(tools: &Value) -> Vec<&str> {
    tools.as_array().unwrap().iter().map(|tool| tool["id"].as_str().unwrap()).collect()
}
