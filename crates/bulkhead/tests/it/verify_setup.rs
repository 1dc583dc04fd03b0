//! What the tests of verification share: a gateway's key API in one tenant, and a way to wait for a verdict.

use std::time::{Duration, Instant};

use bh_testkit::{Answer, Call, Gateway};
use serde_json::{Value, json};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const ISSUED: &str = "/v2alpha1/admin/issuedApiKeys";
pub(crate) const IMPORTED: &str = "/v2alpha1/admin/importedApiKeys";
pub(crate) const VERIFY: &str = "/v2alpha1/admin/apiKeys:verify";
pub(crate) const BATCH_VERIFY: &str = "/v2alpha1/admin/apiKeys:batchVerify";
pub(crate) const DERIVE: &str = "/v2alpha1/admin/apiKeys:derive";
pub(crate) const SELF_REVOKE: &str = "/v2alpha1/apiKeys:selfRevoke";
/// The dossier's secret (§3.1).
pub(crate) const SECRET: &str = "test-hmac-secret-32-characters-long-for-hmac-sha256";

/// The key API of one tenant.
#[derive(Clone, Copy)]
pub(crate) struct Api<'g> {
    pub(crate) gateway: &'g Gateway,
    /// Its host; `None` without tenancy by host.
    pub(crate) host: Option<&'g str>,
}

/// A key's id and text.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) id: String,
    pub(crate) secret: String,
}

impl<'g> Api<'g> {
    pub(crate) fn of(gateway: &'g Gateway) -> Self {
        Self { gateway, host: None }
    }

    pub(crate) fn at(gateway: &'g Gateway, host: &'g str) -> Self {
        Self { gateway, host: Some(host) }
    }

    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let call = Call::new(method, self.gateway.at(path));
        match self.host {
            Some(host) => call.header("host", host),
            None => call,
        }
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send().await
    }

    /// Posts, and wants this status.
    pub(crate) async fn done(&self, path: &str, body: &Value, status: u16) -> Value {
        let answer = self.post(path, body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text());
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    pub(crate) async fn issue(&self, body: &Value) -> Issued {
        let told = self.done(ISSUED, body, 201).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Issued { id: text(&told["issued_api_key"]["key_id"]), secret: text(&told["secret"]) }
    }

    pub(crate) async fn import(&self, raw: &str, mut more: Value) -> String {
        for (name, value) in [("raw_key", raw), ("name", "imported"), ("actor_id", "someone")] {
            more[name] = json!(value);
        }
        self.done(IMPORTED, &more, 201).await["key_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn revoke(&self, key_id: &str, more: Value) {
        let mut body = json!({"reason": "REVOCATION_REASON_KEY_COMPROMISE"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.done(&format!("{ISSUED}/{key_id}:revoke"), &body, 204).await;
    }

    pub(crate) async fn derive(&self, credential: &str, form: &str, mut more: Value) -> String {
        more["credential"] = json!(credential);
        more["algorithm"] = json!(format!("TOKEN_ALGORITHM_{form}"));
        self.done(DERIVE, &more, 200).await["token"]["token"].as_str().unwrap().to_owned()
    }

    /// Asks about a credential, with these header lines; 200 whatever the verdict.
    pub(crate) async fn verify_with(&self, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let call = self.call("POST", VERIFY).json(body);
        let answer = headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await;
        assert_eq!(answer.status, 200, "{body}: {}", answer.text());
        answer
    }

    pub(crate) async fn verify(&self, credential: &str) -> Value {
        self.verify_with(&json!({"credential": credential}), &[]).await.json()
    }

    /// The verdict in a word: `valid`, or what stands behind `VERIFICATION_ERROR_`.
    pub(crate) async fn verdict(&self, credential: &str) -> String {
        verdict(&self.verify(credential).await)
    }

    /// The verdict and where it came from: `HIT`, `MISS` or `SKIP`.
    pub(crate) async fn seen(&self, credential: &str, headers: &[(&str, &str)]) -> (String, String) {
        let answer = self.verify_with(&json!({"credential": credential}), headers).await;
        let cache = answer.header("ory-talos-cache").unwrap_or_default().to_owned();
        (verdict(&answer.json()), cache)
    }

    /// Asks until the verdict is this one.
    pub(crate) async fn verdict_becomes(&self, credential: &str, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.verify(credential).await;
            if verdict(&told) == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "never {wanted}: {told}: {}", self.gateway.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a verdict says in a word. What is not valid says nothing of the key but when it is used too often.
pub(crate) fn verdict(told: &Value) -> String {
    if told["is_valid"] == true {
        assert_eq!(
            (&told["error_code"], &told["status"]),
            (&Value::Null, &json!("KEY_STATUS_ACTIVE")),
            "{told}"
        );
        return "valid".to_owned();
    }
    let code = told["error_code"].as_str().unwrap().strip_prefix("VERIFICATION_ERROR_").unwrap();
    assert_eq!(told.get("key_id").is_some(), code == "RATE_LIMITED", "{told}");
    assert!(told["error_message"].as_str().is_some_and(|message| !message.is_empty()), "{told}");
    code.to_owned()
}

/// The value of a metric, its labels as they are written.
pub(crate) async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = Call::get(gateway.at("/metrics")).send().await.text();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// Puts a configuration in force. It is loaded for the signal and for the change of its file; the first of these may be
/// a load that was under way before.
pub(crate) async fn reload(gateway: &mut Gateway, yaml: &str) {
    let generation = async |gateway: &Gateway| {
        Call::get(gateway.at("/readyz?verbose")).send().await.json()["config_generation"].as_u64().unwrap()
    };
    let before = generation(gateway).await;
    gateway.reload(yaml);
    let deadline = Instant::now() + PATIENCE;
    while generation(gateway).await < before + 2 {
        assert!(Instant::now() < deadline, "the configuration is not in force: {}", gateway.output());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
