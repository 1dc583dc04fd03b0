//! Derived tokens (Talos dossier §5): what others can verify, whose they are, and how they end before their time.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bh_testkit::{Call, Gateway, on_both_stores, sdk};
use serde_json::{Value, json};

use crate::auth::BULKHEAD;
use crate::verify_setup::{Api, DERIVE, ISSUED, SECRET, SELF_REVOKE, verdict};

const ONE: &str = "550e8400-e29b-41d4-a716-446655440001";
const TWO: &str = "550e8400-e29b-41d4-a716-446655440002";
const JWKS: &str = "/v2alpha1/derivedKeys/jwks.json";
const WELL_KNOWN: &str = "/.well-known/jwks.json";
/// The Ed25519 key of RFC 8037 A.1, under another name.
const ED_KEY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"shared","use":"sig","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Runs a part of the Python script; its lines.
fn python(env: &[(&str, &str)]) -> Vec<String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/tokens.py");
    let output = sdk::python(&script, env);
    assert!(output.ok(), "{output}");
    output.stdout.lines().map(str::to_owned).collect()
}

/// Two tenants, with what each has of its own.
async fn two(store: bh_testkit::Store, base: &str, a: &str, b: &str) -> Gateway {
    let yaml = format!(
        "{base}
multitenancy:
  enabled: true
  networks:
    - {{hostname: a.example, id: {ONE}, config_path: a.yaml}}
    - {{hostname: b.example, id: {TWO}, config_path: b.yaml}}
"
    );
    Gateway::builder(BULKHEAD).store(store).config(&yaml).file("a.yaml", a).file("b.yaml", b).start().await
}

fn signing(key_set: &str) -> String {
    format!("{{derived_tokens: {{jwt: {{signing_keys: {{urls: ['{key_set}']}}}}}}}}")
}

fn base64_key_set(json: &str) -> String {
    format!("base64://{}", STANDARD.encode(json))
}

/// The claims in a JWT, or in the first caveat of nothing else.
fn claims(jwt: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

async fn jwks(gateway: &Gateway, host: &str, path: &str) -> Value {
    let answer = Call::get(gateway.at(path)).header("host", host).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

on_both_stores! {
    /// Proves: TALOS-C06
    async fn an_independent_library_verifies_tokens_of_both_algorithms_offline(store) {
        let rsa = python(&[("PART", "rsa")]).remove(0);
        let a = format!("credentials: {}\n", signing(&rsa));
        let b = "credentials: {issuer: https://b.example, api_keys: {max_ttl: 2h}, derived_tokens: {default_ttl: 30m}}\n";
        let gateway = two(store, "", &a, b).await;
        let mut tokens = Vec::new();
        for (host, alg, issuer) in [("a.example", "RS256", "http://localhost/ory/talos"), ("b.example", "EdDSA", "https://b.example")] {
            let api = Api::at(&gateway, host);
            let key = api.issue(&json!({"name": "parent", "actor_id": "someone", "scopes": ["read", "write"], "metadata": {"plan": "gold"}, "ip_restriction": {"allowed_cidrs": ["127.0.0.0/8"]}})).await;
            let wanted = json!({"scopes": ["read"], "ttl": "60s", "audiences": ["https://x.example"],
                "custom_claims": {"team": "blue", "iss": "forged", "exp": 1, "nid": "forged"}});
            let token = api.derive(&key.secret, "JWT", wanted).await;
            tokens.push((json!({"token": token, "host": host, "alg": alg, "issuer": issuer, "audience": "https://x.example"}), key));
            // Lifetimes and scopes are never wider than the key's, and are refused rather than cut.
            let max_ttl = if host == "a.example" { "8761h" } else { "2h1s" };
            for (more, status, word) in [
                (json!({"scopes": ["read", "admin"]}), 403, "admin"),
                (json!({"ttl": max_ttl}), 400, "ttl"),
                (json!({"ttl": "0.5x"}), 400, "ttl"),
                (json!({"custom_claims": {"big": "x".repeat(8_192)}}), 400, "custom_claims"),
            ] {
                let mut body = json!({"credential": tokens.last().unwrap().1.secret});
                body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                let refused = api.post(DERIVE, &body).await;
                assert_eq!(refused.status, status, "{more}: {}", refused.text());
                assert!(refused.json()["error"]["message"].as_str().unwrap().contains(word), "{}", refused.text());
            }
            let short = api.issue(&json!({"ttl": "600s"})).await.secret;
            assert_eq!(api.post(DERIVE, &json!({"credential": short, "ttl": "601s"})).await.status, 400);
            let lifetime = |claims: &Value| claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
            let by_default = claims(&api.derive(&tokens.last().unwrap().1.secret, "JWT", json!({})).await);
            assert_eq!(lifetime(&by_default), if host == "a.example" { 3_600 } else { 1_800 });
            assert_eq!(by_default["scp"], json!(["read", "write"]));
            // A token makes no token.
            let token = &tokens.last().unwrap().0["token"];
            assert_eq!(api.post(DERIVE, &json!({"credential": token})).await.status, 401, "it is for others");
            let bare = api.derive(&short, "JWT", json!({})).await;
            assert_eq!(api.post(DERIVE, &json!({"credential": bare})).await.status, 400);
        }
        let list: Vec<&Value> = tokens.iter().map(|(token, _)| token).collect();
        let list = json!(list).to_string();
        let lines = python(&[("PART", "jose"), ("GATEWAY", gateway.url()), ("TOKENS", &list)]);
        assert_eq!(lines.len(), 2);
        for ((line, (token, key)), nid) in lines.iter().zip(&tokens).zip([ONE, TWO]) {
            let told: Value = serde_json::from_str(line).unwrap();
            for (name, wanted) in [
                ("sub", json!(key.id)),
                ("akid", json!(key.id)),
                ("nid", json!(nid)),
                ("oid", json!("someone")),
                ("scp", json!(["read"])),
                ("scope", json!("read")),
                ("meta", json!({"plan": "gold"})),
                ("acl", json!(["127.0.0.0/8"])),
                ("vis", json!("secret")),
                ("team", json!("blue")),
                ("iss", token["issuer"].clone()),
            ] {
                assert_eq!(told[name], wanted, "{name} in {told}");
            }
        }
    }

    /// Proves: TALOS-C07
    async fn pymacaroons_verifies_ours_and_we_verify_what_it_makes(store) {
        let base = format!("secrets: {{hmac: {{current: {SECRET}}}}}\ncredentials: {{issuer: https://api.example.com}}\n");
        let gateway = two(store, &base, "", "").await;
        let api = Api::at(&gateway, "a.example");
        let key = api.issue(&json!({"name": "parent", "scopes": ["read", "write"]})).await;
        let ours = api.derive(&key.secret, "MACAROON", json!({"custom_claims": {"team": "blue"}})).await;
        let exp = claims(&api.derive(&key.secret, "JWT", json!({})).await)["exp"].clone();
        let made = json!({"iss": "https://api.example.com", "exp": exp, "nid": ONE, "scp": ["read"], "akid": "k-1"}).to_string();
        let lines = python(&[("PART", "macaroons"), ("SECRET", SECRET), ("TOKEN", &ours), ("CLAIMS", &made)]);
        let [verified, made, ours_narrowed, made_narrowed, vector] = lines.as_slice() else { panic!("{lines:?}") };
        assert_eq!(verified, "True True", "ours and the dossier's");
        let told = api.verify(made).await;
        assert_eq!((verdict(&told).as_str(), &told["key_id"], &told["scopes"]), ("valid", &json!("k-1"), &json!(["read"])));
        assert_eq!(verdict(&api.verify(made_narrowed).await), "valid");
        // Narrowed by its holder, without us: it has what is left.
        assert_eq!(api.verify(&ours).await["scopes"], json!(["read", "write"]));
        let told = api.verify(ours_narrowed).await;
        assert_eq!((verdict(&told).as_str(), &told["scopes"]), ("valid", &json!(["read"])));
        assert_eq!(told["metadata"], json!({"team": "blue"}));
        // The dossier's vector is genuine and long over; changed anywhere it is not genuine.
        let told = api.verify(vector).await;
        assert_eq!((verdict(&told).as_str(), &told["error_message"]), ("SIGNATURE_INVALID", &json!("the token has expired")));
        let torn = format!("{}1", &vector[..vector.len() - 1]);
        assert_ne!(api.verify(&torn).await["error_message"], json!("the token has expired"));
        assert_eq!(Api::at(&gateway, "b.example").verdict(vector).await, "NOT_FOUND", "it names another tenant");
    }

    /// Proves: TALOS-M16
    async fn another_tenants_token_is_not_found_with_shared_and_with_different_keys(store) {
        let shared = format!("secrets: {{hmac: {{current: {SECRET}}}}}\ncredentials: {}\n", signing(&base64_key_set(ED_KEY)));
        let own = |host: &str| format!("secrets: {{hmac: {{current: the-secret-of-{host}-and-of-nobody-else}}}}\ncredentials: {{issuer: https://{host}}}\n");
        let setups = [(shared.as_str(), [String::new(), String::new()]), ("", [own("a.example"), own("b.example")])];
        for (base, [of_a, of_b]) in setups {
            let gateway = two(store, base, &of_a, &of_b).await;
            let (a, b) = (Api::at(&gateway, "a.example"), Api::at(&gateway, "b.example"));
            for (from, to, nid) in [(a, b, ONE), (b, a, TWO)] {
                let key = from.issue(&json!({"name": "parent"})).await;
                for form in ["JWT", "MACAROON"] {
                    let token = from.derive(&key.secret, form, json!({})).await;
                    assert_eq!(from.verdict(&token).await, "valid", "{form}");
                    if form == "JWT" {
                        assert_eq!(claims(&token)["nid"], json!(nid));
                    }
                    let told = to.verify(&token).await;
                    assert_eq!(verdict(&told), "NOT_FOUND", "{form} {told}");
                    assert_eq!(told["error_message"], to.verify("junk").await["error_message"], "{form}");
                    let refused = to.post(SELF_REVOKE, &json!({"credential": token, "reason": "REVOCATION_REASON_SUPERSEDED"})).await;
                    assert_eq!(refused.status, 400, "{}", refused.text());
                }
            }
        }
    }

    /// Proves: TALOS-M21
    async fn every_tenant_has_its_own_issuer_and_key_set(store) {
        let b = format!("credentials: {{issuer: https://b.example, derived_tokens: {{jwt: {{signing_keys: {{urls: ['{}']}}}}}}}}\n", base64_key_set(ED_KEY));
        let gateway = two(store, "", "credentials: {issuer: https://a.example}\n", &b).await;
        let sets = [jwks(&gateway, "a.example", JWKS).await, jwks(&gateway, "b.example", JWKS).await];
        assert_ne!(sets[0], sets[1]);
        assert_eq!(sets[1]["keys"][0]["kid"], json!("shared"));
        for (host, set) in ["a.example", "b.example"].into_iter().zip(&sets) {
            let api = Api::at(&gateway, host);
            let key = api.issue(&json!({"name": "parent"})).await.secret;
            let token = api.derive(&key, "JWT", json!({})).await;
            assert_eq!(claims(&token)["iss"], json!(format!("https://{host}")));
            let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
            assert_eq!(header["kid"], set["keys"][0]["kid"]);
            assert_eq!(api.verify(&key).await["issuer"], json!(format!("https://{host}")));
        }
    }

    /// Proves: TALOS-S06
    async fn tokens_end_with_their_key_when_that_is_asked_for(store) {
        let mut gateway = Gateway::builder(BULKHEAD).store(store).start().await;
        let api = Api::of(&gateway);
        let both = async |secret: &str| [api.derive(secret, "JWT", json!({})).await, api.derive(secret, "MACAROON", json!({})).await];
        let (kept, ended, other) = (api.issue(&json!({})).await, api.issue(&json!({})).await, api.issue(&json!({})).await);
        let (of_kept, of_ended, of_other) = (both(&kept.secret).await, both(&ended.secret).await, both(&other.secret).await);
        api.revoke(&kept.id, json!({})).await;
        api.revoke(&ended.id, json!({"revoke_derived": true})).await;
        for (tokens, wanted) in [(&of_kept, "valid"), (&of_ended, "REVOKED"), (&of_other, "valid")] {
            for token in tokens {
                assert_eq!(api.verdict(token).await, wanted);
            }
        }
        // Also afterwards; the key itself was revoked before, and is so still.
        api.revoke(&kept.id, json!({"revoke_derived": true})).await;
        let again = api.post(&format!("{ISSUED}/{}:revoke", kept.id), &json!({"reason": "REVOCATION_REASON_SUPERSEDED"})).await;
        assert_eq!(again.status, 409, "{}", again.text());
        // One token alone.
        let jti = claims(&of_other[0])["jti"].as_str().unwrap().to_owned();
        let path = |jti: &str| format!("/v2alpha1/admin/derivedTokens/{jti}:revoke");
        api.done(&path(&jti), &json!({}), 204).await;
        assert_eq!(api.post(&path("no%20id"), &json!({})).await.status, 400);
        assert_eq!(api.post(&format!("/v2alpha1/admin/derivedTokens/{jti}:forget"), &json!({})).await.status, 404);
        let wanted = [(of_kept, ["REVOKED"; 2]), (of_ended, ["REVOKED"; 2]), (of_other, ["REVOKED", "valid"])];
        // A denial outlives the process.
        for restarted in [false, true] {
            if restarted {
                gateway.restart().await;
            }
            let api = Api::of(&gateway);
            for (tokens, wanted) in &wanted {
                for (token, wanted) in tokens.iter().zip(wanted) {
                    assert_eq!(api.verdict(token).await, *wanted, "restarted: {restarted}");
                }
            }
        }
    }

    /// Proves: TALOS-S10
    async fn the_key_set_is_what_any_library_expects(store) {
        let gateway = two(store, "", "", "").await;
        for path in [JWKS, WELL_KNOWN] {
            let first = Call::get(gateway.at(path)).header("host", "a.example").send().await;
            let set = first.json();
            assert_eq!(set["keys"], set["jwks"]["keys"]);
            let key = set["keys"][0].as_object().unwrap();
            assert_eq!((&key["kty"], &key["crv"], &key["use"], &key["alg"]), (&json!("OKP"), &json!("Ed25519"), &json!("sig"), &json!("EdDSA")));
            assert!(key.contains_key("kid") && key.contains_key("x") && !key.contains_key("d"), "{key:?}");
            assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
            let tag = first.header("etag").unwrap();
            for (known, status) in [(tag.to_owned(), 304), (format!("\"x\", {tag}"), 304), (format!("W/{tag}"), 304), ("*".to_owned(), 304), ("\"x\"".to_owned(), 200)] {
                let again = Call::get(gateway.at(path)).header("host", "a.example").header("if-none-match", &known).send().await;
                assert_eq!((again.status, again.body.is_empty()), (status, status == 304), "{known}");
                assert_eq!(again.header("etag"), Some(tag), "{known}");
            }
            let other = Call::get(gateway.at(path)).header("host", "b.example").header("if-none-match", tag).send().await;
            assert_eq!(other.status, 200, "another tenant's keys are others");
        }
        // A library of others reads it from either address: `jose()` fetches both.
        let api = Api::at(&gateway, "a.example");
        let key = api.issue(&json!({})).await.secret;
        let token = api.derive(&key, "JWT", json!({})).await;
        let tokens = json!([{"token": token, "host": "a.example", "alg": "EdDSA", "issuer": "http://localhost/ory/talos"}]).to_string();
        assert_eq!(python(&[("PART", "jose"), ("GATEWAY", gateway.url()), ("TOKENS", &tokens)]).len(), 1);
    }
}
