use std::cell::RefCell;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::super::samples::{RFC_7515_KEY, RFC_8037_ID, RFC_8037_KEY, claims, set, with_each_byte_changed};
use super::*;

/// RFC 7515 A.2.
const RFC_7515_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
/// RFC 8037 A.4; what it signs is no JSON.
const RFC_8037_TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn sign(keys: &Jwks) -> String {
    keys.sign(&claims()).unwrap().expose_secret().to_owned()
}

/// A token over `payload` with any header, properly signed by the set's key.
fn signed_with_header(keys: &Jwks, header: &str, payload: &[u8]) -> String {
    let signed = [base64url(header.as_bytes()), base64url(payload)].join(".");
    let signature = keys.signing_key().unwrap().sign(signed.as_bytes()).unwrap();
    [signed, base64url(&signature)].join(".")
}

#[test]
fn the_published_examples_verify_and_are_reproduced() {
    let rsa = set(&[RFC_7515_KEY]);
    let claims = rsa.verify(RFC_7515_TOKEN).unwrap();
    assert_eq!((claims.issuer.as_str(), claims.expires_at_s), ("joe", 1_300_819_380));
    assert_eq!(claims.custom["http://example.com/is_root"], true);
    let payload = payload(RFC_7515_TOKEN).unwrap();
    assert_eq!(signed_with_header(&rsa, r#"{"alg":"RS256"}"#, &payload), RFC_7515_TOKEN);

    let ed25519 = set(&[RFC_8037_KEY]);
    let text = b"Example of Ed25519 signing";
    assert_eq!(signed_with_header(&ed25519, r#"{"alg":"EdDSA"}"#, text), RFC_8037_TOKEN);
    // The signature is right; the text is no set of claims.
    assert_eq!(ed25519.verify(RFC_8037_TOKEN), Err(TokenFault::Malformed));
    assert_eq!(ed25519.verify(&RFC_8037_TOKEN.replace("hgyY", "hgyX")), Err(TokenFault::Signature));
}

#[test]
fn both_algorithms_survive_the_round_trip() {
    for (key, alg) in [(RFC_8037_KEY, "EdDSA"), (RFC_7515_KEY, "RS256")] {
        let keys = set(&[key]);
        let token = sign(&keys);
        let header = from_base64url(token.split('.').next().unwrap()).unwrap();
        let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, serde_json::json!({"alg": alg, "kid": keys.keys()[0].id(), "typ": "JWT"}));
        assert!(token.starts_with("eyJ"));
        assert_eq!(keys.verify(&token), Ok(claims()));
    }
}

#[test]
fn every_changed_byte_is_refused() {
    for key in [RFC_8037_KEY, RFC_7515_KEY] {
        let keys = set(&[key]);
        for changed in with_each_byte_changed(&sign(&keys)) {
            assert!(keys.verify(&changed).is_err(), "{changed}");
        }
    }
}

/// Remembers, and counts what it was told.
#[derive(Default)]
struct Remembering(RefCell<Vec<[u8; 32]>>);

impl Proven for Remembering {
    fn holds(&self, proof: &[u8; 32]) -> bool {
        self.0.borrow().contains(proof)
    }

    fn note(&self, proof: [u8; 32]) {
        self.0.borrow_mut().push(proof);
    }
}

#[test]
fn a_proven_signature_proves_its_own_token_under_its_own_key_and_nothing_else() {
    for (key, other) in [(RFC_8037_KEY, RFC_7515_KEY), (RFC_7515_KEY, RFC_8037_KEY)] {
        let (keys, seen) = (set(&[key]), Remembering::default());
        let token = sign(&keys);
        for _ in 0..2 {
            assert_eq!(keys.verify_once(&token, &seen), Ok(claims()));
            assert_eq!(seen.0.borrow().len(), 1, "it is verified once");
        }
        for changed in with_each_byte_changed(&token) {
            assert!(keys.verify_once(&changed, &seen).is_err(), "{changed}");
        }
        let renamed = other.replacen('{', &format!(r#"{{"kid":"{}","#, keys.keys()[0].id()), 1);
        for others in [set(&[other]), set(&[&renamed])] {
            assert_eq!(others.verify_once(&token, &seen), Err(TokenFault::Signature));
        }
        assert_eq!(seen.0.borrow().len(), 1, "what is not proven is not remembered");
    }
}

#[test]
fn every_kept_key_verifies_whether_its_id_is_known_or_not() {
    let both = set(&[RFC_8037_KEY, RFC_7515_KEY]);
    for key in [RFC_8037_KEY, RFC_7515_KEY] {
        assert_eq!(both.verify(&sign(&set(&[key]))), Ok(claims()));
        let renamed = key.replacen('{', r#"{"kid":"renamed","#, 1);
        assert_eq!(both.verify(&sign(&set(&[&renamed]))), Ok(claims()));
    }
    let other = set(&[RFC_7515_KEY]);
    assert_eq!(other.verify(&sign(&set(&[RFC_8037_KEY]))), Err(TokenFault::Signature));
    assert_eq!(Jwks::default().verify(RFC_7515_TOKEN), Err(TokenFault::Signature));
}

#[test]
fn the_header_cannot_choose_an_algorithm_that_is_not_the_keys() {
    let (keys, payload) = (set(&[RFC_8037_KEY]), claims().to_json());
    let with = |header: &str| keys.verify(&signed_with_header(&keys, header, &payload));
    assert_eq!(with(r#"{"alg":"EdDSA"}"#), Ok(claims()));
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"eddsa"}"#,
        &format!(r#"{{"alg":"RS256","kid":"{RFC_8037_ID}"}}"#),
        r#"{"alg":"EdDSA","crit":["exp"]}"#,
        r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#,
    ] {
        assert_eq!(with(header), Err(TokenFault::Signature), "{header}");
    }
    for header in [r#"{"kid":"a"}"#, r#"{"alg":"EdDSA","alg":"EdDSA"}"#, "[]", r#"["EdDSA"]"#, "{", ""] {
        assert_eq!(with(header), Err(TokenFault::Malformed), "{header}");
    }
    // A public key taken for the secret of a symmetric algorithm.
    let unsigned = [base64url(br#"{"alg":"none"}"#), base64url(&payload), String::new()].join(".");
    assert_eq!(keys.verify(&unsigned), Err(TokenFault::Malformed));
}

#[test]
fn a_token_that_would_be_too_long_is_not_made_and_not_read() {
    let keys = set(&[RFC_8037_KEY]);
    let mut long = claims();
    long.metadata.insert("text".to_owned(), "x".repeat(6_000).into());
    assert!(matches!(keys.sign(&long), Err(SignError::TooLong { bytes }) if bytes > TOKEN_BYTES_MAX));
    let header = format!(r#"{{"alg":"EdDSA","pad":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX));
    let token = signed_with_header(&keys, &header, &claims().to_json());
    assert_eq!(keys.verify(&token), Err(TokenFault::TooLong));
}

#[test]
fn a_set_without_a_private_key_signs_nothing() {
    let public = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(set(&[public]).sign(&claims()).unwrap_err(), SignError::NoSigningKey);
    assert_eq!(set(&[public]).verify(&sign(&set(&[RFC_8037_KEY]))), Ok(claims()));
}

proptest! {
    #[test]
    fn junk_is_refused_and_never_panics(token in "([A-Za-z0-9_=-]{0,40}[.]){0,4}[A-Za-z0-9_-]{0,40}|\\PC{0,200}") {
        prop_assert!(set(&[RFC_8037_KEY]).verify(&token).is_err());
    }

    #[test]
    fn any_claims_survive_the_round_trip(
        issuer in "\\PC{0,30}", scopes in prop::collection::vec("\\PC{0,8}", 0..5), public: bool,
        exp: i64, nbf: Option<i64>, name in "[a-z_]{6,9}", number: f64,
    ) {
        let mut claims = Claims { issuer, scopes, public, expires_at_s: exp, not_before_s: nbf, ..claims() };
        claims.custom.insert(name, number.into());
        let keys = set(&[RFC_8037_KEY]);
        let token = keys.sign(&claims).unwrap();
        prop_assert_eq!(keys.verify(token.expose_secret()), Ok(claims));
    }
}
