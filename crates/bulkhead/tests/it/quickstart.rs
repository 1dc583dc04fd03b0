//! `serve --proxy-quickstart`: the caller's own provider key, on one developer's machine (seed 002).

use bh_testkit::{Call, CliOutput, FakeProvider, Gateway, GatewayBuilder};
use serde_json::{Value, json};

use crate::auth::{ADMIN_KEY, BULKHEAD, chat, gateway_yaml};

const CALLERS_OWN: &str = "sk-callers-own-6b1f";
const FROM_ENV: &str = "sk-from-environment-e02d";
/// First 12 hexadecimal digits of SHA-256, computed by another program.
const CALLERS_OWN_FINGERPRINT: &str = "35b73cec6fdc";
const FROM_ENV_FINGERPRINT: &str = "50de752da63f";
const NO_CREDENTIAL: &str =
    "no upstream credential: set OPENAI_API_KEY or send Authorization: Bearer with your provider key";

fn quickstart(provider: &FakeProvider) -> GatewayBuilder {
    Gateway::builder(BULKHEAD)
        .args(&["serve", "--proxy-quickstart"])
        .env("TALON_QUICKSTART_OPENAI_BASE_URL", provider.url())
        .env("TALON_ADMIN_KEY", ADMIN_KEY)
}

fn as_admin(gateway: &Gateway, path: &str) -> Call {
    Call::get(gateway.at(path)).header("x-talon-admin-key", ADMIN_KEY)
}

async fn record_of(gateway: &Gateway, id: &str) -> Value {
    as_admin(gateway, &format!("/v1/evidence/{id}?tenant_id=quickstart")).send().await.json()
}

/// Proves: TALON-30
#[tokio::test]
async fn the_callers_bearer_is_forwarded_verbatim_on_both_root_routes() {
    let provider = FakeProvider::start();
    let gateway = quickstart(&provider).env("OPENAI_API_KEY", FROM_ENV).start().await;
    let responses = json!({"model": "gpt-4o", "input": "hi", "max_output_tokens": 16});
    for (path, body) in [("/v1/chat/completions", chat()), ("/v1/responses", responses)] {
        let with_own = Call::post(gateway.at(path), &body).bearer(CALLERS_OWN).send().await;
        assert_eq!(with_own.status, 200, "{}", with_own.text());
        assert_eq!(provider.last().headers.all("authorization"), [format!("Bearer {CALLERS_OWN}")]);
        let without = Call::post(gateway.at(path), &body).send().await;
        assert_eq!(without.status, 200, "{}", without.text());
        assert_eq!(provider.last().headers.all("authorization"), [format!("Bearer {FROM_ENV}")]);
        assert_eq!(provider.last().path(), path);
    }
    assert_eq!(provider.last().json()["store"], json!(true), "stored unless the client says otherwise");
    // Every other OpenAI path is not there, whatever key is shown.
    for (method, path) in [
        ("POST", "/v1/embeddings"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/gpt-4o"),
        ("POST", "/v1/completions"),
        ("POST", "/v1/messages"),
        ("POST", "/v1/audio/speech"),
    ] {
        for key in [CALLERS_OWN, ADMIN_KEY] {
            let answer = Call::new(method, gateway.at(path)).bearer(key).json(&json!({})).send().await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.text());
        }
    }
    assert_eq!(provider.hits(), 4);
}

/// The third of the three: neither a bearer nor `OPENAI_API_KEY`.
#[tokio::test]
async fn without_any_provider_key_the_call_is_refused_and_not_forwarded() {
    let provider = FakeProvider::start();
    let gateway = quickstart(&provider).start().await;
    let call = Call::post(gateway.at("/v1/chat/completions"), &chat());
    for call in [call.clone(), call.clone().bearer(""), call.header("authorization", "Basic abc")] {
        let refused = call.send().await;
        assert_eq!(refused.status, 401, "{}", refused.text());
        assert_eq!(refused.json()["error"]["message"], json!(NO_CREDENTIAL));
    }
    assert_eq!(provider.hits(), 0);
}

/// Proves: TALON-31
#[tokio::test]
async fn evidence_tells_the_keys_fingerprint_and_nothing_ever_tells_the_key() {
    let provider = FakeProvider::start();
    let builder = quickstart(&provider).config("log: {level: trace}\n").env("OPENAI_API_KEY", FROM_ENV);
    let mut gateway = builder.start().await;
    let call = Call::post(gateway.at("/v1/chat/completions"), &chat());
    let mut seen = String::new();
    for (call, source, fingerprint) in [
        (call.clone().bearer(CALLERS_OWN), "client", CALLERS_OWN_FINGERPRINT),
        (call.clone(), "env", FROM_ENV_FINGERPRINT),
    ] {
        let answer = call.send().await;
        let record = record_of(&gateway, answer.header("x-bulkhead-request-id").unwrap()).await;
        let told = json!({
            "tenant_id": record["tenant_id"], "agent_id": record["agent_id"],
            "mode": record["upstream_auth_mode"], "source": record["upstream_key_source"],
            "fingerprint": record["upstream_key_fingerprint"], "secrets": record["secrets_accessed"],
            "annotations": record["gateway_annotations"],
        });
        let wanted = json!({
            "tenant_id": "quickstart", "agent_id": "quickstart-local",
            "mode": "client_bearer", "source": source, "fingerprint": fingerprint,
            "secrets": [], "annotations": ["quickstart_mode"],
        });
        assert_eq!(told, wanted);
        seen.push_str(&format!("{record} {:?} {}", answer.headers, answer.text()));
    }
    // A provider that fails, a model that is refused, and a body that is none.
    provider.then(bh_testkit::Script::close());
    let other = json!({"model": "o1", "messages": []});
    for call in [call.clone(), Call::post(gateway.at("/v1/responses"), &other), call.body("{")] {
        let answer = call.bearer(CALLERS_OWN).send().await;
        assert!(answer.status >= 400, "{}", answer.text());
        seen.push_str(&format!("{:?} {}", answer.headers, answer.text()));
    }
    seen.push_str(&gateway.cli(&["config", "show"]).to_string());
    seen.push_str(&gateway.cli(&["audit", "list", "--tenant", "quickstart"]).to_string());
    assert!(gateway.terminate().await, "{}", gateway.output());
    seen.push_str(&gateway.output());
    assert!(!gateway.files().is_empty());
    for key in [CALLERS_OWN, FROM_ENV] {
        assert!(!seen.contains(key), "{key} was told");
        for (path, bytes) in gateway.files() {
            let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
            assert!(!found, "{key} is in {}", path.display());
        }
    }
}

/// The other half of the distinction: with a key of our own, evidence names the secret that was read.
#[tokio::test]
async fn with_a_key_of_ours_evidence_names_the_secret() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, "    - {name: app, tenant_key: acme-key, tenant_id: acme}\n");
    let yaml = yaml.replace("api_key: sk-provider", "secret_name: openai-main, api_key: sk-provider");
    let gateway = Gateway::builder(BULKHEAD).config(&yaml).start().await;
    let answer = Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer("acme-key").send().await;
    let path = format!("/v1/evidence/{}", answer.header("x-bulkhead-request-id").unwrap());
    let record = Call::get(gateway.at(&path)).bearer("acme-key").send().await.json();
    let told = (&record["upstream_auth_mode"], &record["upstream_key_source"], &record["secrets_accessed"]);
    assert_eq!(told, (&json!("secret"), &json!("secret"), &json!(["openai-main"])));
    assert_eq!(record["upstream_key_fingerprint"], Value::Null);
}

/// Proves: TALON-32
#[tokio::test]
async fn a_provider_key_unlocks_nothing_of_the_control_plane() {
    let provider = FakeProvider::start();
    let yaml = gateway_yaml(&provider, "    - {name: app, tenant_key: acme-key, tenant_id: acme}\n");
    let gateway = quickstart(&provider).config(&yaml).env("OPENAI_API_KEY", FROM_ENV).start().await;
    let answer = Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer(CALLERS_OWN).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    for path in ["/v1/evidence", "/v1/status", "/v1/costs", "/v1/secrets", "/v1/runs", "/api/v1/metrics"] {
        for key in [CALLERS_OWN, FROM_ENV] {
            for header in ["authorization", "x-talon-key", "x-api-key", "x-talon-admin-key"] {
                let value = if header == "authorization" { format!("Bearer {key}") } else { key.to_owned() };
                let refused = Call::get(gateway.at(path)).header(header, value).send().await;
                assert_eq!(refused.status, 401, "{path} {header}: {}", refused.text());
            }
        }
    }
    let proxied = Call::post(gateway.at("/v1/proxy/openai/v1/chat/completions"), &chat());
    assert_eq!(proxied.clone().bearer(CALLERS_OWN).send().await.status, 401);
    // Nor does a key of ours ever reach the provider, where its owner mistakes it for a provider key.
    let hits = provider.hits();
    for key in ["acme-key", ADMIN_KEY] {
        let refused = Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer(key).send().await;
        assert_eq!((refused.status, provider.hits()), (401, hits), "{}", refused.text());
        assert_eq!(refused.json()["error"]["code"], json!("upstream_credential_missing"));
    }
    // Tenant and admin keys go on to open what they open.
    assert_eq!(proxied.bearer("acme-key").send().await.status, 200);
    let own = Call::get(gateway.at("/v1/evidence")).bearer("acme-key").send().await.json();
    assert_eq!(own["entries"].as_array().map(Vec::len), Some(1));
    let all = as_admin(&gateway, "/v1/evidence?tenant_id=*").send().await.json();
    assert_eq!(all["entries"].as_array().map(Vec::len), Some(4), "the refusals are on the record too");
}

#[tokio::test]
async fn only_the_quickstart_models_are_allowed_unless_all_are() {
    let provider = FakeProvider::start();
    let other = json!({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]});
    let gateway = quickstart(&provider).start().await;
    let call = |gateway: &Gateway| Call::post(gateway.at("/v1/chat/completions"), &other).bearer(CALLERS_OWN);
    let refused = call(&gateway).send().await;
    assert_eq!((refused.status, provider.hits()), (403, 0), "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], json!("model_not_allowed"));
    let gateway = quickstart(&provider).env("TALON_QUICKSTART_ALLOW_ALL_MODELS", "true").start().await;
    let answer = call(&gateway).send().await;
    assert_eq!((answer.status, provider.hits()), (200, 1), "{}", answer.text());
    let record = record_of(&gateway, answer.header("x-bulkhead-request-id").unwrap()).await;
    let wanted = json!(["quickstart_mode", "quickstart_model_allowlist_disabled"]);
    assert_eq!(record["gateway_annotations"], wanted);
}

async fn refusal(provider: &FakeProvider, args: &[&str]) -> CliOutput {
    quickstart(provider).args(args).try_start().await.expect_err("it must not start")
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_without_unsafe_listen() {
    let provider = FakeProvider::start();
    for host in ["0.0.0.0", "::", "192.0.2.1"] {
        let end = refusal(&provider, &["serve", "--proxy-quickstart", "--host", host]).await;
        assert_eq!(end.code, Some(1), "{end}");
        assert!(end.stderr.contains("loopback") && end.stderr.contains("--unsafe-listen"), "{end}");
    }
    for host in ["127.0.0.1", "localhost", "::1"] {
        let local = ["serve", "--proxy-quickstart", "--host", host, "--port", "0"];
        assert!(quickstart(&provider).args(&local).try_start().await.is_ok(), "{host}");
    }
    let everywhere = ["serve", "--proxy-quickstart", "--host", "0.0.0.0", "--port", "0", "--unsafe-listen"];
    let gateway = quickstart(&provider).args(&everywhere).start().await;
    let call = Call::post(gateway.at("/v1/chat/completions"), &chat()).bearer(CALLERS_OWN);
    let answer = call.send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let record = record_of(&gateway, answer.header("x-bulkhead-request-id").unwrap()).await;
    assert_eq!(record["gateway_annotations"], json!(["quickstart_mode", "quickstart_unsafe_listen"]));
}

#[tokio::test]
async fn the_quickstart_and_the_gateway_flags_exclude_each_other() {
    let provider = FakeProvider::start();
    for flags in [vec!["--gateway"], vec!["--gateway-config", "bulkhead.yaml"]] {
        let end = refusal(&provider, &[&["serve", "--proxy-quickstart"], &flags[..]].concat()).await;
        assert_eq!(end.code, Some(2), "{end}");
        assert!(end.stderr.contains("cannot be used with"), "{end}");
    }
    let alone = refusal(&provider, &["serve", "--unsafe-listen"]).await;
    assert!(alone.code == Some(2) && alone.stderr.contains("--proxy-quickstart"), "{alone}");
    let served = quickstart(&provider).args(&["serve", "--gateway"]).start().await;
    let root = Call::post(served.at("/v1/chat/completions"), &chat()).bearer(CALLERS_OWN).send().await;
    assert_eq!((root.status, provider.hits()), (401, 0), "without the quickstart a provider key is nothing");
}
