use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::super::samples::{RFC_7515_KEY, RFC_8037_ID, RFC_8037_KEY, claims, set};
use super::*;

const RSA_PUBLIC: [&str; 6] = ["kty", "kid", "use", "alg", "n", "e"];
const ED25519_PUBLIC: [&str; 6] = ["kty", "kid", "use", "alg", "crv", "x"];

fn parsed(key: &str) -> Value {
    serde_json::from_str(key).unwrap()
}

fn with(key: &str, name: &str, value: Value) -> String {
    let mut key = parsed(key);
    key[name] = value;
    key.to_string()
}

fn source(keys: &[&str]) -> String {
    let set = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
    [BASE64_SCHEME, &STANDARD.encode(set)].concat()
}

/// The fault of the only key of a set.
fn fault_of(key: &str) -> KeyProblem {
    let error = Jwks::from_json(format!(r#"{{"keys":[{key}]}}"#).as_bytes(), None).unwrap_err();
    let JwksError::Key { url: 0, key: 0, problem } = error else { panic!("{error}") };
    problem
}

fn names(key: &Value) -> Vec<&str> {
    key.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_key_without_an_id_is_called_by_its_thumbprint() {
    assert_eq!(set(&[RFC_8037_KEY]).keys()[0].id(), RFC_8037_ID);
}

#[test]
fn the_public_set_shows_public_halves_only_and_no_symmetric_key() {
    let symmetric = r#"{"kty":"oct","kid":"s","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}"#;
    let keys = set(&[RFC_8037_KEY, symmetric, RFC_7515_KEY]);
    let document = keys.public_document();
    let [ed25519, rsa] = document["keys"].as_array().unwrap().as_slice() else { panic!("two keys") };
    assert_eq!((names(ed25519), names(rsa)), (ED25519_PUBLIC.to_vec(), RSA_PUBLIC.to_vec()));
    assert_eq!((&ed25519["alg"], &rsa["alg"]), (&json!("EdDSA"), &json!("RS256")));
    assert_eq!((&ed25519["x"], &rsa["n"]), (&parsed(RFC_8037_KEY)["x"], &parsed(RFC_7515_KEY)["n"]));
    assert_eq!(document["jwks"], keys.public_set());
    assert_eq!(document["jwks"]["keys"], document["keys"]);
    // What we publish verifies what we sign.
    let published = Jwks::from_json(keys.public_set().to_string().as_bytes(), None).unwrap();
    let token = keys.sign(&claims()).unwrap();
    assert_eq!(published.verify(token.expose_secret()), Ok(claims()));
    assert!(!published.keys().iter().any(Jwk::can_sign));
}

#[test]
fn the_algorithm_of_a_source_is_not_believed() {
    let keys = set(&[&with(RFC_7515_KEY, "alg", json!("PS512"))]);
    assert_eq!(
        (keys.keys()[0].algorithm(), &keys.public_set()["keys"][0]["alg"]),
        (Algorithm::Rs256, &json!("RS256"))
    );
}

#[test]
fn the_signing_key_is_the_named_one_then_the_first_for_signatures_then_the_first() {
    let key = |id: &str, key_use: Option<&str>| {
        let named = with(
            NewJwk::ed25519(&Zeroizing::new([id.as_bytes()[0]; 32]), None).unwrap().json.expose_secret(),
            "kid",
            json!(id),
        );
        with(&named, "use", json!(key_use))
    };
    let public = set(&[&key("p", Some("sig"))]).public_set()["keys"][0].to_string();
    let (a, b, c) = (key("a", None), key("b", Some("sig")), key("c", Some("sig")));
    let choose = |keys: &[&str], id| {
        let chosen = Jwks::from_sources(&[source(keys)], id)?;
        Ok::<_, JwksError>(chosen.signing_key().map(|key| key.id().to_owned()))
    };
    assert_eq!(choose(&[&public, &a, &b, &c], Some("c")), Ok(Some("c".to_owned())));
    assert_eq!(choose(&[&public, &a, &b, &c], None), Ok(Some("b".to_owned())));
    assert_eq!(choose(&[&public, &a], None), Ok(Some("a".to_owned())));
    assert_eq!(choose(&[&public], None), Ok(None));
    for absent in ["p", "d"] {
        let unknown = Err(JwksError::UnknownSigningKey(absent.to_owned()));
        assert_eq!(choose(&[&public, &a], Some(absent)), unknown);
    }
}

#[test]
fn sources_are_read_in_order_and_named_by_index_when_wrong() {
    let good = source(&[RFC_8037_KEY]);
    let read = |second: &str| Jwks::from_sources(&[good.as_str(), second], None).map(|set| set.keys().len());
    assert_eq!(read(&source(&[RFC_7515_KEY])), Ok(2));
    for (source, problem) in [
        ("https://keys.example.com/jwks.json", KeyProblem::Scheme),
        ("base64://***", KeyProblem::Base64),
        ("base64://e30=", KeyProblem::Json),
        (&"x".repeat(JWKS_BYTES_MAX + 1), KeyProblem::TooLong),
    ] {
        assert_eq!(read(source), Err(JwksError::Source { url: 1, problem }), "{problem}");
    }
    let long = Jwks::from_json(&[b' '; JWKS_BYTES_MAX + 1], None).unwrap_err();
    assert_eq!(long, JwksError::Source { url: 0, problem: KeyProblem::TooLong });
    let same = Err(JwksError::Key { url: 1, key: 0, problem: KeyProblem::SameId });
    assert_eq!(read(&good), same);
    let many: Vec<String> =
        (0..JWKS_KEYS_MAX).map(|n| with(RFC_8037_KEY, "kid", json!(n.to_string()))).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(read(&source(&many)), Err(JwksError::TooManyKeys));
}

#[test]
fn a_wrong_key_is_named_by_member_and_never_by_content() {
    for (key, problem) in [
        (with(RFC_8037_KEY, "kty", json!("EC")), KeyProblem::Kind),
        (with(RFC_8037_KEY, "crv", json!("Ed448")), KeyProblem::Kind),
        (with(RFC_8037_KEY, "kty", json!(1)), KeyProblem::Form),
        (with(RFC_8037_KEY, "kty", json!(null)), KeyProblem::Member("kty")),
        (with(RFC_8037_KEY, "x", json!("+/")), KeyProblem::Member("x")),
        (with(RFC_8037_KEY, "x", json!("AAAA")), KeyProblem::Rejected),
        (with(RFC_8037_KEY, "d", json!("nWGx*")), KeyProblem::Member("d")),
        (with(RFC_8037_KEY, "d", json!("nWGx")), KeyProblem::Rejected),
        (with(RFC_8037_KEY, "d", json!("A".repeat(43))), KeyProblem::Rejected),
        (with(RFC_7515_KEY, "n", json!(null)), KeyProblem::Member("n")),
        (with(RFC_7515_KEY, "n", json!("4BzEEOtI")), KeyProblem::Rejected),
        (with(RFC_7515_KEY, "qi", json!(null)), KeyProblem::Member("qi")),
        (with(RFC_7515_KEY, "qi", json!("AQAB")), KeyProblem::Rejected),
        (with(RFC_7515_KEY, "d", parsed(RFC_7515_KEY)["p"].clone()), KeyProblem::Rejected),
    ] {
        assert_eq!(fault_of(&key), problem);
    }
    assert_eq!(fault_of(r#"["OKP"]"#), KeyProblem::Form);
    assert_eq!(
        JwksError::Key { url: 1, key: 2, problem: KeyProblem::Member("d") }.to_string(),
        "jwt.signing_keys.urls[1], keys[2]: the member `d` is missing or not what RFC 7517 wants there"
    );
}

#[test]
fn debug_shows_no_private_half() {
    let seed = Zeroizing::new([7; 32]);
    let new = NewJwk::ed25519(&seed, Some("mine")).unwrap();
    let shown = format!("{new:?} {:?}", set(&[new.json.expose_secret()]));
    assert_eq!(
        shown,
        "NewJwk { id: \"mine\", .. } Jwks { keys: [Jwk { id: \"mine\", algorithm: EdDsa, .. }], signing: Some(0) }"
    );
}

#[test]
fn new_keys_sign_and_are_called_by_their_thumbprint() {
    use aws_lc_rs::encoding::AsDer;
    let ed25519 = NewJwk::ed25519(&Zeroizing::new([9; 32]), None).unwrap();
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let rsa = NewJwk::rsa(pair.as_der().unwrap().as_ref(), None).unwrap();
    for new in [ed25519, rsa] {
        let mut key = parsed(new.json.expose_secret());
        assert_eq!((&key["kid"], &key["use"]), (&json!(new.id), &json!("sig")));
        key.as_object_mut().unwrap().remove("kid");
        let keys = set(&[&key.to_string()]);
        assert_eq!(keys.keys()[0].id(), new.id);
        let token = keys.sign(&claims()).unwrap();
        assert_eq!(keys.verify(token.expose_secret()), Ok(claims()));
    }
}

#[test]
fn a_document_that_is_no_rsa_key_gives_no_new_key() {
    use aws_lc_rs::encoding::AsDer;
    let pair = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = pair.as_der().unwrap();
    for length in 0..der.as_ref().len() {
        assert!(NewJwk::rsa(&der.as_ref()[..length], None).is_err(), "{length}");
    }
    let ed25519 = aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    assert_eq!(NewJwk::rsa(ed25519.as_ref(), None).unwrap_err(), KeyProblem::Rejected);
}
