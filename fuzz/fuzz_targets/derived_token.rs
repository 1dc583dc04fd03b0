//! Junk never verifies and never panics; a token that verifies, however it was changed, is no wider than the one it
//! was made from. The first byte chooses the reader, or how a good macaroon is damaged or narrowed.
#![no_main]

use bh_domain::keys::token::{
    Caveat, Claims, Jwks, Macaroon, Narrowed, attenuate, mint_macaroon, unverified_nid,
};
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret;

const ROOT_KEY: [u8; 32] = [7; 32];
/// RFC 8037 A.2: a public key, for which nobody here can sign.
const KEYS: &[u8] =
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
const MODELS: [&str; 3] = ["gpt-4o", "claude-sonnet", ""];

fn claims() -> Claims {
    let scopes = ["read", "write"].map(str::to_owned).to_vec();
    Claims { issuer: "https://api.example.com".to_owned(), expires_at_s: 1_000, scopes, ..Claims::default() }
}

fn macaroon() -> String {
    mint_macaroon(&ROOT_KEY, "mc", &claims()).expect("short").expose_secret().to_owned()
}

fn verified(token: &str) -> Option<Narrowed> {
    Macaroon::parse(token, &["mc"]).ok()?.verify(&[ROOT_KEY]).ok()
}

fn is_no_wider(child: &Narrowed, parent: &Narrowed) -> bool {
    let (ours, theirs) = (child.claims(), parent.claims());
    ours.expires_at_s <= theirs.expires_at_s
        && ours.not_before_s >= theirs.not_before_s
        && ours.scopes.iter().all(|scope| theirs.scopes.contains(scope))
        && MODELS.iter().all(|model| !child.admits_model(model) || parent.admits_model(model))
        && parent.budget().is_none_or(|most| child.budget().is_some_and(|own| own <= most))
}

/// Anything at all, read as every kind of token.
fn read_junk(text: &str) {
    let keys = Jwks::from_json(KEYS, None).expect("a published key");
    assert!(keys.verify(text).is_err());
    assert!(verified(text).is_none_or(|own| own == Narrowed::from(claims())));
    let _ = unverified_nid(text);
    let _ = Jwks::from_json(text.as_bytes(), None);
    if let Ok(read) = Claims::from_json(text.as_bytes()) {
        let again = Claims::from_json(&read.to_json()).expect("claims that we wrote");
        assert_eq!(again.scopes, read.scopes);
    }
}

/// A good macaroon, narrowed twice by what the input says.
fn narrow(json: &[u8]) {
    let Ok(caveat) = Caveat::from_json(json) else { return };
    let parent = Caveat { models: Some(vec!["gpt-4*".to_owned()]), ..Caveat::default() };
    let parent = attenuate(&macaroon(), &parent).expect("a good caveat");
    let child = attenuate(parent.expose_secret(), &caveat).expect("a caveat that was read can be added");
    let above = verified(parent.expose_secret()).expect("narrowed by us");
    if let Some(child) = verified(child.expose_secret()) {
        assert!(is_no_wider(&child, &above));
    }
}

/// A good macaroon with bytes put over it.
fn damage(input: &[u8]) {
    let Some((&at, bytes)) = input.split_first() else { return };
    let good = macaroon();
    let mut token = good.clone().into_bytes();
    let at = usize::from(at) % token.len();
    token.splice(at..(at + bytes.len()).min(good.len()), bytes.iter().copied());
    let Ok(token) = String::from_utf8(token) else { return };
    assert!(token == good || verified(&token).is_none());
}

fuzz_target!(|input: &[u8]| {
    let Some((&choice, rest)) = input.split_first() else { return };
    match choice % 4 {
        0 => narrow(rest),
        1 => damage(rest),
        _ => {
            if let Ok(text) = std::str::from_utf8(rest) {
                read_junk(text);
            }
        }
    }
});
