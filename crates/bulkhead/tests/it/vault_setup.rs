//! What the tests of the sealed store share.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, CliOutput, Gateway, GatewayBuilder, Store};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD};

pub(crate) const TENANTS: &str = "/api/v1/admin/tenants";
pub(crate) const SECRETS: &str = "/api/v1/admin/secrets";
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway and its operator.
pub(crate) struct House(pub(crate) Gateway);

pub(crate) fn builder(store: Store, yaml: &str) -> GatewayBuilder {
    Gateway::builder(BULKHEAD).store(store).config(yaml).env("ADMIN_API_KEY", ADMIN_KEY)
}

impl House {
    pub(crate) async fn start(store: Store, yaml: &str) -> Self {
        Self(builder(store, yaml).start().await)
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Call {
        let call = Call::new(method, self.0.at(path)).bearer(ADMIN_KEY);
        body.map_or(call.clone(), |body| call.json(body))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call(method, path, body).send().await
    }

    /// The data of an answer with this status.
    pub(crate) async fn done(&self, method: &str, path: &str, body: Option<&Value>, status: u16) -> Value {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer.json()["data"].take()
    }

    /// A refusal: status, code and message.
    pub(crate) async fn refused(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, String, String) {
        let answer = self.ask(method, path, body).await;
        let told = answer.json();
        let text = |name: &str| told["error"][name].as_str().unwrap_or_default().to_owned();
        (answer.status, text("code"), text("message"))
    }

    /// Makes a tenant; its key.
    pub(crate) async fn make(&self, id: &str) -> String {
        let made = self.done("POST", TENANTS, Some(&json!({ "id": id })), 201).await;
        made["apiKey"].as_str().unwrap().to_owned()
    }

    /// Stores a secret that is new.
    pub(crate) async fn put(&self, tenant: &str, name: &str, value: &str) -> Value {
        self.done("PUT", &secret(tenant, name), Some(&json!({ "value": value })), 201).await
    }

    /// Whether everything opens: how many keys, how many secrets, and what does not.
    pub(crate) async fn verified(&self) -> (u64, u64, Vec<Value>) {
        let told = self.done("POST", &format!("{SECRETS}/verify"), None, 200).await;
        let number = |name: &str| told[name].as_u64().unwrap();
        let unreadable = told["unreadable"].as_array().unwrap().clone();
        assert_eq!(
            (told["intact"] == true, number("unreadableCount")),
            (unreadable.is_empty(), unreadable.len() as u64)
        );
        (number("dataKeys"), number("secrets"), unreadable)
    }

    pub(crate) async fn rotate_master(&self) -> Value {
        self.done("POST", &format!("{SECRETS}/rotate-master"), None, 200).await
    }

    pub(crate) async fn finish(&self) -> Answer {
        self.ask("POST", &format!("{SECRETS}/rotate-master"), Some(&json!({"finish": true}))).await
    }

    /// Runs `bulkhead secrets …` against the gateway.
    pub(crate) fn cli(&self, args: &[&str]) -> CliOutput {
        self.0.cli(&[&["secrets", "--endpoint", self.0.url()], args].concat())
    }

    /// The file of generated secrets.
    pub(crate) fn secrets_file(&self) -> std::path::PathBuf {
        self.0.data_dir().join("server-secrets.json")
    }

    /// What it holds.
    pub(crate) fn kept(&self) -> Value {
        serde_json::from_str(&std::fs::read_to_string(self.secrets_file()).unwrap()).unwrap()
    }
}

pub(crate) fn secret(tenant: &str, name: &str) -> String {
    format!("{TENANTS}/{tenant}/secrets/{name}")
}

/// Asks until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
