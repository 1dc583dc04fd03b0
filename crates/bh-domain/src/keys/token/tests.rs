use secrecy::ExposeSecret;

use super::samples::{ISSUER, NID_TEXT, NOW, RFC_7515_KEY, RFC_8037_KEY, claims, nid, root_key, set};
use super::*;
use crate::time::Timestamp;

const VERIFIER: Verifier<'_> = Verifier { nid: Nid(uuid::Uuid::nil()), issuers: &[ISSUER], skew_s: 30 };

fn tokens_of(claims: &Claims) -> [String; 3] {
    let jwt = |key| set(&[key]).sign(claims).unwrap();
    let macaroon = mint_macaroon(&root_key(), "mc", claims).unwrap();
    [jwt(RFC_8037_KEY), jwt(RFC_7515_KEY), macaroon].map(|token| token.expose_secret().to_owned())
}

#[test]
fn the_tenant_of_each_form_of_token_is_known_before_any_proof() {
    for token in tokens_of(&claims()) {
        let claimed = unverified_nid(&token).unwrap();
        assert!(claimed.is(nid()) && !claimed.is(Nid::SYSTEM));
        // A wrong signature changes nothing: the answer must be the same with shared and with different keys.
        let end = if token.ends_with("AA") { "BB" } else { "AA" };
        let forged = [&token[..token.len() - 4], end, "AA"].concat();
        assert_eq!(unverified_nid(&forged), Some(claimed));
    }
    for token in tokens_of(&Claims { nid: None, ..claims() }) {
        assert_eq!(unverified_nid(&token), None);
    }
}

#[test]
fn a_nid_that_is_none_belongs_to_no_tenant_and_junk_claims_none() {
    let token = |payload: &str| ["e30", &base64url(payload.as_bytes()), "AA"].join(".");
    assert_eq!(unverified_nid(&token(r#"{"nid":"acme"}"#)), Some(ClaimedNid::Junk));
    assert!(!ClaimedNid::Junk.is(Nid::SYSTEM));
    assert!(unverified_nid(&token(&format!(r#"{{"nid":"{NID_TEXT}"}}"#))).unwrap().is(nid()));
    for junk in ["", "a.b", "a.b.c", "e30..AA", "mc_v1_", "mc_v1_AgEA", "ory_ak_v1_x_y", "\u{1f980}_v1_AgEA"]
    {
        assert_eq!(unverified_nid(junk), None, "{junk}");
    }
    assert_eq!(unverified_nid(&token(r#"{"nid":7}"#)), None);
    assert_eq!(unverified_nid(&token(r#"{"nid":"acme","nid":"other"}"#)), None);
    assert_eq!(unverified_nid(&"e30.".repeat(TOKEN_BYTES_MAX)), None);
}

#[test]
fn faults_say_what_is_wrong_and_repeat_nothing_of_the_token() {
    assert_eq!(TokenFault::Expired.to_string(), "the token has expired");
    assert_eq!(
        TokenFault::Caveat(CaveatError::NoScope).to_string(),
        "a caveat of the token is refused: the token has none of the scopes that the caveat leaves"
    );
    assert_eq!(
        SignError::TooLong { bytes: 9_000 }.to_string(),
        "the token would be 9000 bytes long, more than 8192: give it less metadata or claims"
    );
}

#[test]
fn a_token_of_another_tenant_is_unknown_with_shared_and_with_different_keys() {
    let (shared, different) = (set(&[RFC_8037_KEY, RFC_7515_KEY]), Jwks::default());
    let other =
        Verifier { nid: Nid(uuid::Uuid::from_u128(2)), issuers: &["https://other.example.com"], ..VERIFIER };
    let [ed25519, rsa, macaroon] = tokens_of(&claims());
    let late = NOW.plus_ms(10_000_000);
    for keys in [&shared, &different] {
        for token in [&ed25519, &rsa] {
            assert_eq!(other.jwt(token, keys, &(), late), Err(TokenFault::OtherTenant));
        }
    }
    for root_key in [root_key(), [1; 32]] {
        assert_eq!(other.macaroon(&macaroon, &["mc"], &[root_key], late), Err(TokenFault::OtherTenant));
    }
}

#[test]
fn proof_comes_before_times_and_a_missing_tenant_after_both() {
    let own = Verifier { nid: nid(), ..VERIFIER };
    let keys = set(&[RFC_8037_KEY]);
    let jwt =
        |token: &str, keys: &Jwks, now: Timestamp| own.jwt(token, keys, &(), now).map(|n| n.claims().clone());
    let macaroon = |token: &str, key: [u8; 32], now: Timestamp| {
        own.macaroon(token, &["mc"], &[key], now).map(|narrowed| narrowed.claims().clone())
    };
    let end = NOW.plus_ms(3_600_000);
    let [ed25519, _, mine] = tokens_of(&claims());
    assert_eq!(jwt(&ed25519, &keys, NOW), Ok(claims()));
    assert_eq!(jwt(&ed25519, &Jwks::default(), end.plus_ms(30_000)), Err(TokenFault::Signature));
    assert_eq!(jwt(&ed25519, &keys, end.plus_ms(30_000)), Err(TokenFault::Expired));
    assert_eq!(jwt(&ed25519, &keys, end.plus_ms(29_999)), Ok(claims()));
    assert_eq!(macaroon(&mine, root_key(), NOW), Ok(claims()));
    assert_eq!(macaroon(&mine, [1; 32], end), Err(TokenFault::Signature));
    assert_eq!(macaroon(&mine, root_key(), end), Err(TokenFault::Expired));

    let [ed25519, _, mine] = tokens_of(&Claims { nid: None, ..claims() });
    assert_eq!(jwt(&ed25519, &keys, NOW), Err(TokenFault::OtherTenant));
    assert_eq!(jwt(&ed25519, &Jwks::default(), NOW), Err(TokenFault::Signature));
    assert_eq!(macaroon(&mine, root_key(), NOW), Err(TokenFault::OtherTenant));
    assert_eq!(macaroon(&mine, root_key(), end), Err(TokenFault::Expired));
}
