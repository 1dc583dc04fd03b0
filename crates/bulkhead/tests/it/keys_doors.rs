//! One key, every door: keys that were issued or imported, and tokens derived from them, on the gateway's own routes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bh_domain::keys::token::{Caveat, attenuate};
use bh_testkit::{Answer, Call, FakeProvider, Gateway, Store, on_both_stores};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::money::{ADMIN, APP, CALL_TOKENS, CENT, amount, config, gateway, provider};

const ISSUED: &str = "/v2alpha1/admin/issuedApiKeys";
const CHAT: &str = "/v1/proxy/openai/v1/chat/completions";
const TENANT: &str = "x-tenant-id";
/// Seed-003 settings under which memory answers and keys' own limits hold.
const KEY_SERVER: &str = "cache: {type: memory, enabled: true}\nrate_limit: {enabled: true}\n";

async fn start(store: Store, provider: &FakeProvider, more: &str) -> Gateway {
    let yaml = config(provider, ["{}", "{}", "{}"], &format!("{KEY_SERVER}{more}"));
    gateway(&yaml).store(store).start().await
}

/// An operator's request about a tenant's keys.
async fn operate(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Answer {
    Call::new(method, gateway.at(path)).bearer(ADMIN).header(TENANT, "acme").json(body).send().await
}

/// A key of tenant acme: its text and its id.
async fn issue(gateway: &Gateway, body: Value) -> (String, String) {
    let answer = operate(gateway, "POST", ISSUED, &body).await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let told = answer.json();
    let id = told["issued_api_key"]["key_id"].as_str().unwrap().to_owned();
    (told["secret"].as_str().unwrap().to_owned(), id)
}

async fn revoke(gateway: &Gateway, id: &str) {
    let reason = json!({"reason": "REVOCATION_REASON_KEY_COMPROMISE"});
    let answer = operate(gateway, "POST", &format!("{ISSUED}/{id}:revoke"), &reason).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
}

async fn derive(gateway: &Gateway, key: &str, algorithm: &str) -> String {
    let body = json!({"credential": key, "algorithm": algorithm});
    let answer = operate(gateway, "POST", "/v2alpha1/admin/apiKeys:derive", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"]["token"].as_str().unwrap().to_owned()
}

fn with(key: &str, call: Call) -> Call {
    call.bearer(key).header(TENANT, "acme")
}

fn body(model: &str) -> Value {
    json!({"model": model, "max_tokens": CALL_TOKENS, "messages": [{"role": "user", "content": "hi"}]})
}

async fn chat(gateway: &Gateway, key: &str) -> Answer {
    with(key, Call::post(gateway.at(CHAT), &body("penny"))).send().await
}

async fn read(gateway: &Gateway, key: &str, path: &str) -> Answer {
    with(key, Call::get(gateway.at(path))).send().await
}

/// What an answer refuses with, in whichever dialect.
fn code(answer: &Answer) -> String {
    let body = answer.json();
    let [llm, flat, aip] = [&body["error"]["code"], &body["error"], &body["error"]["details"][0]["reason"]];
    let found = [aip, llm, flat].into_iter().find_map(Value::as_str);
    found.unwrap_or_else(|| panic!("{body}")).to_ascii_lowercase()
}

fn assert_refused(answer: &Answer, status: u16, word: &str) {
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    assert!(text.contains(word), "{word}: {text}");
}

on_both_stores! {
    async fn an_issued_key_opens_the_doors_of_its_scopes_and_no_others(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let (llm, _) = issue(&gateway, json!({"name": "l", "actor_id": "bot", "scopes": ["llm"]})).await;
        let (reader, _) = issue(&gateway, json!({"name": "r", "scopes": ["read"]})).await;
        let (keeper, _) = issue(&gateway, json!({"name": "k", "scopes": ["keys"]})).await;

        for answer in [
            chat(&gateway, &llm).await,
            with(&llm, Call::post(gateway.at("/v1/chat/completions"), &body("penny"))).send().await,
            read(&gateway, &llm, "/v1/models").await,
            read(&gateway, &reader, "/v1/costs").await,
            read(&gateway, &reader, "/v1/evidence").await,
            read(&gateway, &keeper, ISSUED).await,
        ] {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let made = with(&keeper, Call::post(gateway.at(ISSUED), &json!({"name": "by k"}))).send().await;
        assert_eq!(made.status, 201, "{}", made.text());

        let hits = provider.hits();
        for (key, scope) in [(&reader, "llm"), (&keeper, "llm")] {
            let refused = chat(&gateway, key).await;
            assert_refused(&refused, 403, &format!("`{scope}`"));
            assert_eq!(code(&refused), "forbidden");
            assert_refused(&read(&gateway, key, "/v1/models").await, 403, "`llm`");
        }
        for key in [&llm, &keeper] {
            assert_refused(&read(&gateway, key, "/v1/costs").await, 403, "`read`");
        }
        for key in [&llm, &reader] {
            assert_refused(&read(&gateway, key, ISSUED).await, 403, "`keys`");
        }
        for key in [&llm, &reader, &keeper] {
            assert_eq!(read(&gateway, key, "/v1/secrets").await.status, 401, "admin rows take admin keys only");
        }
        assert_eq!(provider.hits(), hits, "nothing that was refused is forwarded");
        assert!(!provider.requests().iter().any(|request| request.mentions(&llm)), "our key was forwarded");
    }

    async fn a_key_that_is_over_opens_no_door_from_the_next_request_on(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let scopes = json!(["llm", "read", "keys"]);
        let (key, id) = issue(&gateway, json!({"name": "k", "scopes": scopes})).await;
        let jwt = derive(&gateway, &key, "TOKEN_ALGORITHM_JWT").await;
        let macaroon = derive(&gateway, &key, "TOKEN_ALGORITHM_MACAROON").await;
        for shown in [&key, &jwt, &macaroon] {
            assert_eq!(chat(&gateway, shown).await.status, 200);
            for path in ["/v1/models", "/v1/costs", ISSUED] {
                let answer = read(&gateway, shown, path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            }
        }
        revoke(&gateway, &id).await;
        let hits = provider.hits();
        for shown in [&key, &jwt, &macaroon] {
            let refused = chat(&gateway, shown).await;
            assert_refused(&refused, 401, "revoked");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"bulkhead\""));
            for path in ["/v1/models", "/v1/costs", ISSUED] {
                assert_refused(&read(&gateway, shown, path).await, 401, "revoked");
            }
        }
        let almost = format!("{}{}", &key[..key.len() - 1], if key.ends_with('1') { '2' } else { '1' });
        for unknown in [almost.as_str(), "sk_never_imported", "eyJhbGciOiJFZERTQSJ9.e30.c2ln"] {
            assert_eq!(chat(&gateway, unknown).await.status, 401, "{unknown}");
        }
        assert_eq!(provider.hits(), hits);
    }

    async fn a_key_spends_as_its_actor_inside_its_own_policy_and_evidence_names_it(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let policy = json!({"max_daily_cost": 0.02, "blocked_models": ["dime"]});
        let wish = json!({"name": "n", "actor_id": "bot", "scopes": ["llm", "read"], "policy_overrides": policy});
        let (key, id) = issue(&gateway, wish).await;
        let told = operate(&gateway, "GET", &format!("{ISSUED}/{id}"), &json!({})).await.json();
        assert_eq!(told["policy_overrides"], policy);

        let dear = with(&key, Call::post(gateway.at(CHAT), &body("dime"))).send().await;
        assert_refused(&dear, 403, "dime");
        let first = chat(&gateway, &key).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let jwt = derive(&gateway, &key, "TOKEN_ALGORITHM_JWT").await;
        let second = chat(&gateway, &jwt).await;
        assert_eq!(second.status, 200, "a token spends inside its key: {}", second.text());
        for shown in [&key, &jwt] {
            let broke = chat(&gateway, shown).await;
            assert_eq!((broke.status, code(&broke).as_str()), (403, "budget_exceeded"), "{}", broke.text());
        }

        let costs = read(&gateway, &key, "/v1/costs?agent_id=bot").await;
        assert_eq!(costs.status, 200, "{}", costs.text());
        let budget = read(&gateway, &key, "/v1/costs/budget?agent_id=bot").await.json();
        assert_eq!(amount(&budget["daily_used"]), CENT + CENT, "{budget}");
        for (answer, source) in [(&first, "issued_key"), (&second, "derived_token")] {
            let id_of = answer.header("x-bulkhead-request-id").unwrap();
            let record = read(&gateway, &key, &format!("/v1/evidence/{id_of}")).await.json();
            assert_eq!((&record["agent_id"], &record["key_id"]), (&json!("bot"), &json!(id)), "{record}");
            let notes = record["gateway_annotations"].as_array().unwrap();
            assert!(notes.contains(&json!(source)), "{record}");
        }

        let change = json!({"policy_overrides": {"max_daily_cost": "0.03"}});
        let changed = operate(&gateway, "PATCH", &format!("{ISSUED}/{id}"), &change).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        assert_eq!(changed.json()["policy_overrides"], json!({"max_daily_cost": "0.03"}));
        let more = chat(&gateway, &key).await;
        assert_eq!(more.status, 200, "a changed policy holds from the next request on: {}", more.text());
    }

    async fn a_policy_that_cannot_be_kept_is_refused_by_name(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        for (policy, word) in [
            (json!({"max_daily_cost": -1}), "max_daily_cost"),
            (json!({"budget": 1}), "`budget` is no member"),
            (json!({"pii_action": "block"}), "`pii_action` is not enforced"),
            (json!([]), "policy_overrides"),
        ] {
            let wish = json!({"name": "n", "policy_overrides": policy});
            let refused = operate(&gateway, "POST", ISSUED, &wish).await;
            assert_refused(&refused, 400, word);
        }
    }

    async fn every_caveat_of_a_macaroon_holds_at_the_doors(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let scopes = json!(["llm", "read", "keys"]);
        let (key, _) = issue(&gateway, json!({"name": "k", "actor_id": "bot", "scopes": scopes})).await;
        let root = derive(&gateway, &key, "TOKEN_ALGORITHM_MACAROON").await;
        let narrow = |caveat: Value| {
            let caveat: Caveat = serde_json::from_value(caveat).unwrap();
            attenuate(&root, &caveat).unwrap().expose_secret().to_owned()
        };

        let models = narrow(json!({"models": ["pen*"]}));
        assert_eq!(chat(&gateway, &models).await.status, 200);
        let dear = with(&models, Call::post(gateway.at(CHAT), &body("dime"))).send().await;
        assert_refused(&dear, 403, "dime");
        let files = with(&models, Call::post(gateway.at("/v1/proxy/openai/v1/files"), &json!({}))).send().await;
        assert_eq!(files.status, 403, "what has no model cannot be judged by it: {}", files.text());
        assert_refused(&read(&gateway, &models, "/v1/costs").await, 403, "models");

        let gets = narrow(json!({"methods": ["GET"]}));
        assert_refused(&chat(&gateway, &gets).await, 403, "method");
        assert_eq!(read(&gateway, &gets, "/v1/costs").await.status, 200);

        let paths = narrow(json!({"paths": ["/v1/proxy/openai/*"]}));
        assert_eq!(chat(&gateway, &paths).await.status, 200);
        assert_refused(&read(&gateway, &paths, "/v1/costs").await, 403, "path");

        let tools = narrow(json!({"tools": ["search"]}));
        assert_refused(&chat(&gateway, &tools).await, 403, "tools");
        let scoped = narrow(json!({"scope": "read"}));
        assert_refused(&chat(&gateway, &scoped).await, 403, "`llm`");
        let over = narrow(json!({"exp": 1}));
        assert_eq!(chat(&gateway, &over).await.status, 401);
        let elsewhere = narrow(json!({"acl": ["192.0.2.0/24"]}));
        assert_refused(&chat(&gateway, &elsewhere).await, 403, "ip");

        let purse = narrow(json!({"budget": "0.02"}));
        assert_eq!(chat(&gateway, &purse).await.status, 200);
        assert_eq!(chat(&gateway, &purse).await.status, 200);
        let broke = chat(&gateway, &purse).await;
        assert_eq!((broke.status, code(&broke).as_str()), (403, "budget_exceeded"), "{}", broke.text());
        assert!(broke.text().contains("token"), "{}", broke.text());
        assert_eq!(chat(&gateway, &root).await.status, 200, "its parent has no such budget");
        assert_refused(&read(&gateway, &purse, "/v1/costs").await, 403, "budget");
    }

    /// Proves: TALOS-S11
    async fn a_key_s_own_limit_and_address_ranges_hold_at_the_doors(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let limit = json!({"quota": "2", "window": "3600s"});
        let wish = json!({"name": "l", "scopes": ["llm", "read"], "rate_limit_policy": limit});
        let (limited, _) = issue(&gateway, wish).await;
        let first = chat(&gateway, &limited).await;
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(first.header("ratelimit-policy"), Some("\"requests\";q=2;w=3600"));
        assert!(first.header("ratelimit").is_some_and(|told| told.starts_with("\"requests\";r=1;t=")));
        assert_eq!(read(&gateway, &limited, "/v1/costs").await.status, 200);
        for refused in [chat(&gateway, &limited).await, read(&gateway, &limited, "/v1/costs").await] {
            assert_eq!(refused.status, 429, "{}", refused.text());
            assert!(refused.header("retry-after").is_some() && refused.header("ratelimit").is_some());
        }

        let there = json!({"allowed_cidrs": ["192.0.2.0/24"]});
        let (elsewhere, _) = issue(&gateway, json!({"name": "e", "scopes": ["llm"], "ip_restriction": there})).await;
        assert_refused(&chat(&gateway, &elsewhere).await, 403, "ip_not_allowed");
        let here = json!({"allowed_cidrs": ["127.0.0.0/8"]});
        let (local, _) = issue(&gateway, json!({"name": "h", "scopes": ["llm"], "ip_restriction": here})).await;
        assert_eq!(chat(&gateway, &local).await.status, 200);
    }

    async fn an_imported_key_opens_the_doors_too(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let wish = json!({"name": "old", "actor_id": "legacy", "raw_key": "sk_legacy_8d1f0c2b", "scopes": ["llm", "read"]});
        let made = operate(&gateway, "POST", "/v2alpha1/admin/importedApiKeys", &wish).await;
        assert_eq!(made.status, 201, "{}", made.text());
        let answer = chat(&gateway, "sk_legacy_8d1f0c2b").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let id = answer.header("x-bulkhead-request-id").unwrap();
        let record = read(&gateway, "sk_legacy_8d1f0c2b", &format!("/v1/evidence/{id}")).await.json();
        assert_eq!((&record["agent_id"], &record["key_id"]), (&json!("legacy"), &made.json()["key_id"]));
        assert_eq!(record["gateway_annotations"], json!(["imported_key"]));
    }

    /// A key is nobody's on another tenant's name, whether that is the host's or the header's.
    async fn a_key_of_one_tenant_is_refused_under_the_name_of_another(store) {
        let provider = provider();
        let gateway = start(store, &provider, "").await;
        let (key, _) = issue(&gateway, json!({"name": "k", "scopes": ["llm", "read", "keys"]})).await;
        let jwt = derive(&gateway, &key, "TOKEN_ALGORITHM_JWT").await;
        let foreign = |path: &str| Call::get(gateway.at(path)).bearer(&key).header(TENANT, "globex");
        for path in ["/v1/models", "/v1/costs", ISSUED] {
            assert_refused(&foreign(path).send().await, 403, "_TENANT_ACCESS_DENIED");
            let answer = Call::get(gateway.at(path)).bearer(&jwt).header(TENANT, "globex").send().await;
            assert_refused(&answer, 403, "_TENANT_ACCESS_DENIED");
            let answer = Call::get(gateway.at(path)).bearer(&jwt).send().await;
            assert_eq!(answer.status, 200, "a token says itself whose it is: {path} {}", answer.text());
        }
        let reads = read(&gateway, &key, "/v1/status?tenant_id=globex").await.json();
        assert_eq!(reads["tenant_id"], json!("acme"), "{reads}");
    }

    /// Proves: TALOS-S04
    async fn keys_are_administered_by_admin_keys_and_per_tenant_by_keys_with_that_scope(store) {
        let provider = provider();
        let roles = "admin_keys:\n  - {name: eye, key: viewer-key-for-tests-001, role: viewer}\n  \
                     - {name: judge, key: reviewer-key-for-tests-1, role: reviewer}\n";
        let gateway = start(store, &provider, roles).await;
        let (keeper, id) = issue(&gateway, json!({"name": "k", "scopes": ["keys"]})).await;
        for nobody in [Call::get(gateway.at(ISSUED)), Call::get(gateway.at(ISSUED)).bearer(APP)] {
            let refused = nobody.send().await;
            assert_eq!((refused.status, code(&refused).as_str()), (401, "unauthorized"), "{}", refused.text());
        }
        for reader in ["viewer-key-for-tests-001", "reviewer-key-for-tests-1"] {
            let ask = |method: &str, path: &str| {
                Call::new(method, gateway.at(path)).bearer(reader).header(TENANT, "acme").json(&json!({"name": "x"}))
            };
            assert_eq!(ask("GET", ISSUED).send().await.status, 200);
            let one = format!("{ISSUED}/{id}");
            for (method, path) in [("POST", ISSUED), ("PATCH", &one), ("DELETE", &one)] {
                assert_eq!(ask(method, path).send().await.status, 403, "{method} {path} {reader}");
            }
            for verb in ["revoke", "rotate", "disable"] {
                assert_eq!(ask("POST", &format!("{one}:{verb}")).send().await.status, 403, "{verb} {reader}");
            }
        }
        let own = with(&keeper, Call::get(gateway.at(ISSUED))).send().await.json();
        assert_eq!(own["issued_api_keys"].as_array().unwrap().len(), 1, "its own tenant's, and no other's");
        let jwks = Call::get(gateway.at("/v2alpha1/derivedKeys/jwks.json")).send().await;
        assert_eq!(jwks.status, 200, "{}", jwks.text());
        let made = Call::post(gateway.at(ISSUED), &json!({"name": "m"})).bearer(ADMIN).send().await.json();
        let mortal = made["secret"].as_str().unwrap();
        let gone = json!({"credential": mortal, "reason": "REVOCATION_REASON_SUPERSEDED"});
        let gone = Call::post(gateway.at("/v2alpha1/apiKeys:selfRevoke"), &gone).send().await;
        assert_eq!(gone.status, 200, "whoever holds a key may end it: {}", gone.text());
    }
}

/// The unproven claims of a token, to see what the gateway put there.
#[tokio::test]
async fn a_token_carries_its_actor_and_key() {
    let provider = provider();
    let gateway = start(Store::Sqlite, &provider, "").await;
    let (key, id) = issue(&gateway, json!({"name": "k", "actor_id": "bot", "scopes": ["llm"]})).await;
    let jwt = derive(&gateway, &key, "TOKEN_ALGORITHM_JWT").await;
    let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert!(claims.to_string().contains(&id) && claims.to_string().contains("bot"), "{claims}");
}
