//! What the tests of the API-key server share: a tenant's side of its doors, and two tenants told apart by host name.

use bh_testkit::{Answer, Call, Gateway, GatewayBuilder, Store};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;

pub(crate) const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
pub(crate) const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";
pub(crate) const HOST_ONE: &str = "one.example";
pub(crate) const HOST_TWO: &str = "two.example";

pub(crate) const ISSUED: &str = "/v2alpha1/admin/issuedApiKeys";
pub(crate) const IMPORTED: &str = "/v2alpha1/admin/importedApiKeys";
pub(crate) const BATCH_IMPORT: &str = "/v2alpha1/admin/importedApiKeys:batchCreate";
pub(crate) const VERIFY: &str = "/v2alpha1/admin/apiKeys:verify";
pub(crate) const DERIVE: &str = "/v2alpha1/admin/apiKeys:derive";
pub(crate) const SELF_REVOKE: &str = "/v2alpha1/apiKeys:selfRevoke";

/// The real binary, on loopback and without an admin key: nobody has to prove anything to the key API.
pub(crate) fn open_gateway(store: Store, yaml: &str) -> GatewayBuilder {
    Gateway::builder(BULKHEAD).store(store).config(yaml)
}

/// Two tenants with these overlays, and further settings of the installation.
pub(crate) fn two_tenants(store: Store, one: &str, two: &str, more: &str) -> GatewayBuilder {
    open_gateway(store, &two_networks(more)).file("one.yaml", one).file("two.yaml", two)
}

pub(crate) fn two_networks(more: &str) -> String {
    format!(
        "{more}multitenancy:\n  enabled: true\n  networks:\n    \
         - {{hostname: {HOST_ONE}, id: {ONE}, config_path: one.yaml}}\n    \
         - {{hostname: {HOST_TWO}, id: {TWO}, config_path: two.yaml}}\n"
    )
}

/// A gateway's key API as one tenant's host shows it; `""` for the address itself.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) host: &'a str,
}

/// A key and its text.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) key: Value,
}

impl<'a> Side<'a> {
    pub(crate) fn of(gateway: &'a Gateway, host: &'a str) -> Self {
        Self { gateway, host }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let call = Call::new(method, self.gateway.at(path));
        if self.host.is_empty() { call } else { call.header("host", self.host) }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.call(method, path).json(body).send().await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send().await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send().await
    }

    /// As [`Side::get`], for what must be there.
    pub(crate) async fn read(&self, path: &str) -> Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn issue(&self, body: &Value) -> Issued {
        let answer = self.post(ISSUED, body).await;
        assert_eq!(answer.status, 201, "{body}: {}", answer.text());
        let told = answer.json();
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("no text in {told}")).to_owned();
        let (id, secret) = (text(&told["issued_api_key"]["key_id"]), text(&told["secret"]));
        Issued { id, secret, key: told["issued_api_key"].clone() }
    }

    /// Imports a key of its own name; its row.
    pub(crate) async fn import(&self, raw: &str) -> Value {
        let answer = self.post(IMPORTED, &import_body(raw)).await;
        assert_eq!(answer.status, 201, "{raw}: {}", answer.text());
        answer.json()
    }

    /// What is told of a credential.
    pub(crate) async fn verdict(&self, credential: &str) -> Value {
        let answer = self.post(VERIFY, &json!({"credential": credential})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Why a credential is not good; empty for one that is.
    pub(crate) async fn fault(&self, credential: &str) -> String {
        let told = self.verdict(credential).await;
        let code = told["error_code"].as_str().unwrap_or_default();
        assert_eq!(told["is_valid"], json!(code.is_empty()), "{told}");
        code.trim_start_matches("VERIFICATION_ERROR_").to_owned()
    }
}

pub(crate) fn import_body(raw: &str) -> Value {
    json!({"raw_key": raw, "name": "from elsewhere", "actor_id": "ci"})
}

/// Asserts a whole AIP-193 error (dossier §2.6) and returns its message.
pub(crate) fn assert_error(answer: &Answer, code: u16, status: &str, reason: &str) -> String {
    let text = answer.text();
    assert_eq!(answer.status, code, "{text}");
    assert_eq!(answer.header("content-type"), Some("application/json"), "{text}");
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{text}");
    assert_eq!((&error["code"], &error["status"]), (&json!(code), &json!(status)), "{text}");
    let [info] = error["details"].as_array().unwrap().as_slice() else { panic!("one detail: {text}") };
    assert_eq!(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{text}");
    assert_eq!((&info["reason"], &info["domain"]), (&json!(reason), &json!("www.ory.com/talos")), "{text}");
    assert!(info["metadata"].as_object().unwrap().values().all(Value::is_string), "{text}");
    let message = error["message"].as_str().unwrap();
    assert!(!message.is_empty(), "{text}");
    message.to_owned()
}

/// A 400 whose message holds these words.
pub(crate) fn assert_bad_request(answer: &Answer, words: &str) {
    let message = assert_error(answer, 400, "INVALID_ARGUMENT", "BAD_REQUEST");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
}

pub(crate) fn assert_not_found(answer: &Answer) {
    let message = assert_error(answer, 404, "NOT_FOUND", "NOT_FOUND");
    assert!(["API key not found", "imported key not found"].contains(&message.as_str()), "{message}");
}
