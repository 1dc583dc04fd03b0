use secrecy::ExposeSecret;

use super::samples::{NID_TEXT, RFC_7515_KEY, RFC_8037_KEY, claims, nid, root_key, set};
use super::*;

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
