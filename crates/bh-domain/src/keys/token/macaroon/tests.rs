use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::super::samples::{ISSUER, NOW_S, claims, nid, root_key, with_each_byte_changed};
use super::super::{ClaimedNid, Pattern};
use super::*;
use crate::money::NanoUsd;

const PREFIXES: [&str; 2] = ["mc", "old"];

/// Dossier §5.4: the vector that `pymacaroons` accepts.
const VECTOR: &str = "mc_v1_AgEXaHR0cHM6Ly9hcGkuZXhhbXBsZS5jb20CDHsianRpIjoiajEifQACX3siaXNzIjoiaHR0cHM6Ly9hcGkuZXhhbXBsZS5jb20iLCJleHAiOjE3NjcyMjkyMDAsIm5pZCI6IjU1MGU4NDAwLWUyOWItNDFkNC1hNzE2LTQ0NjY1NTQ0MDAwMSJ9AAAGIE9E3zHCi8d0ZJPOgXqGlqvbb_2QpuyMx4ME3pyeLAR0";
const VECTOR_CAVEAT: &[u8] =
    br#"{"iss":"https://api.example.com","exp":1767229200,"nid":"550e8400-e29b-41d4-a716-446655440001"}"#;

fn minted() -> String {
    mint(&root_key(), "mc", &claims()).unwrap().expose_secret().to_owned()
}

fn verify(token: &str) -> Result<Narrowed, TokenFault> {
    Macaroon::parse(token, &PREFIXES)?.verify(&[root_key()])
}

fn with_caveats(caveats: &[&str]) -> Result<Narrowed, TokenFault> {
    let bare = Macaroon::parse_any(&minted()).unwrap();
    let macaroon = caveats.iter().fold(bare, |macaroon, caveat| macaroon.with(caveat.as_bytes().to_vec()));
    verify(macaroon.token().unwrap().expose_secret())
}

#[test]
fn the_dossiers_vector_is_reproduced_and_accepted() {
    let made =
        mint_raw(&root_key(), "mc", ISSUER.as_bytes(), br#"{"jti":"j1"}"#.to_vec(), VECTOR_CAVEAT.to_vec());
    assert_eq!(made.token().unwrap().expose_secret(), VECTOR);
    let narrowed = verify(VECTOR).unwrap();
    let wanted = Claims {
        id: Some("j1".to_owned()),
        issuer: ISSUER.to_owned(),
        nid: Some(ClaimedNid::Nid(nid())),
        expires_at_s: NOW_S + 3_600,
        ..Claims::default()
    };
    assert_eq!(*narrowed.claims(), wanted);
}

#[test]
fn claims_survive_the_round_trip_under_a_current_or_retired_secret() {
    let token = minted();
    let macaroon = Macaroon::parse(&token, &PREFIXES).unwrap();
    assert_eq!(macaroon.verify(&[[1; 32], root_key()]), Ok(Narrowed::from(claims())));
    assert_eq!(macaroon.verify(&[[1; 32]]), Err(TokenFault::Signature));
    assert_eq!(macaroon.verify::<[u8; 32]>(&[]), Err(TokenFault::Signature));
    assert_eq!(format!("{macaroon:?}"), "Macaroon { caveats: 1, .. }");
}

#[test]
fn only_a_known_prefix_is_read_even_one_that_holds_the_mark() {
    assert!(Macaroon::parse(&minted(), &["xy"]).is_err());
    let odd = mint(&root_key(), "a_v1_b", &claims()).unwrap();
    assert!(Macaroon::parse(odd.expose_secret(), &["a_v1_b"]).unwrap().verify(&[root_key()]).is_ok());
}

#[test]
fn every_changed_byte_is_refused() {
    let caveat = Caveat { models: Some(vec!["gpt-4*".to_owned()]), ..Caveat::default() };
    let token = attenuate(&minted(), &caveat).unwrap();
    verify(token.expose_secret()).unwrap();
    for changed in with_each_byte_changed(token.expose_secret()) {
        assert!(verify(&changed).is_err(), "{changed}");
    }
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let token = minted();
    for length in 0..token.len() {
        assert!(verify(&token[..length]).is_err(), "{length}");
    }
    for more in ["A", "AA", "AAAA", "=", ".", " "] {
        assert!(verify(&[&token, more].concat()).is_err(), "{more:?}");
    }
}

#[test]
fn only_the_shortest_lengths_and_first_party_caveats_are_read() {
    let good = wire::write(&Macaroon::parse_any(VECTOR).unwrap());
    let read = |bytes: &[u8]| wire::read("mc", bytes).is_some();
    let tag_length = good.len() - 33;
    assert_eq!((good[tag_length], read(&good)), (32, true));
    let long_length = [&good[..tag_length], &[0x80 | 32, 0], &good[tag_length + 1..]].concat();
    assert!(!read(&long_length));
    // A verification id before a caveat's end makes it a third party's.
    let end = good.len() - 36;
    assert_eq!(good[end..end + 3], [0, 0, 6]);
    assert!(!read(&[&good[..end], &[4, 1, 9], &good[end..]].concat()));
    assert!(!read(&[&[1], &good[1..]].concat()));
}

#[test]
fn a_caveat_narrows_and_cannot_be_taken_away() {
    let caveat = Caveat {
        exp: Some(NOW_S + 60),
        scp: Some(vec!["read".to_owned(), "admin".to_owned()]),
        budget: Some("2.50".to_owned()),
        ..Caveat::default()
    };
    let token = attenuate(&minted(), &caveat).unwrap();
    let narrowed = verify(token.expose_secret()).unwrap();
    assert_eq!(
        (narrowed.claims().expires_at_s, narrowed.budget()),
        (NOW_S + 60, Some(NanoUsd(2_500_000_000)))
    );
    assert_eq!(narrowed.claims().scopes, ["read"]);

    let mut macaroon = Macaroon::parse_any(token.expose_secret()).unwrap();
    macaroon.caveats.pop();
    assert_eq!(macaroon.verify(&[root_key()]), Err(TokenFault::Signature));
}

#[test]
fn a_caveat_cannot_widen() {
    let wide = r#"{"exp":9999999999,"nbf":0,"scp":["read","write","admin"],"iss":"https://api.example.com"}"#;
    assert_eq!(with_caveats(&[wide]), Ok(Narrowed::from(claims())));
}

#[test]
fn caveats_that_cannot_be_honoured_refuse_the_token() {
    for (caveat, error) in [
        (r#"{"exp":1,"shoe_size":44}"#, CaveatError::Form),
        (r#"{"exp":null}"#, CaveatError::Form),
        (r#"{"exp":1,"exp":2}"#, CaveatError::Form),
        ("[1]", CaveatError::Form),
        (r#"time < 2030"#, CaveatError::Form),
        ("", CaveatError::Form),
        (r#"{"iss":"https://other.example.com"}"#, CaveatError::Mismatch("iss")),
        (r#"{"nid":"00000000-0000-0000-0000-000000000000"}"#, CaveatError::Mismatch("nid")),
        (r#"{"nid":"junk"}"#, CaveatError::Mismatch("nid")),
        (r#"{"scp":["admin"]}"#, CaveatError::NoScope),
        (r#"{"scope":""}"#, CaveatError::NoScope),
    ] {
        assert_eq!(with_caveats(&["{}", caveat]), Err(TokenFault::Caveat(error)), "{caveat}");
    }
}

#[test]
fn a_claim_set_that_contradicts_its_macaroon_is_refused() {
    let made = |location: &str, identifier: &str, claims: Vec<u8>| {
        let macaroon = mint_raw(&root_key(), "mc", location.as_bytes(), identifier.into(), claims);
        verify(macaroon.token().unwrap().expose_secret()).err()
    };
    let (json, id) = (claims().to_json(), format!(r#"{{"jti":"{}"}}"#, claims().id.unwrap()));
    assert_eq!(made(ISSUER, &id, json.clone()), None);
    assert_eq!(made("https://other.example.com", &id, json.clone()), Some(TokenFault::Malformed));
    assert_eq!(made(ISSUER, r#"{"jti":"another"}"#, json), Some(TokenFault::Malformed));
    assert_eq!(made(ISSUER, &id, b"time < 2030".to_vec()), Some(TokenFault::Malformed));
}

#[test]
fn the_number_of_caveats_and_the_length_of_the_token_are_bounded() {
    let none = Caveat::default();
    let mut token = minted();
    for _ in 0..CAVEATS_MAX {
        token = attenuate(&token, &none).unwrap().expose_secret().to_owned();
        verify(&token).unwrap();
    }
    let too_many = attenuate(&token, &none).unwrap_err();
    assert_eq!(too_many, AttenuateError::Caveat(CaveatError::TooMany));
    assert_eq!(with_caveats(&["{}"; CAVEATS_MAX + 1]), Err(TokenFault::Malformed));

    let long = Caveat { tools: Some(vec!["x".repeat(250); 7]), ..Caveat::default() };
    let mut token = minted();
    let error = loop {
        match attenuate(&token, &long) {
            Ok(longer) => token = longer.expose_secret().to_owned(),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AttenuateError::Sign(SignError::TooLong { .. })), "{error}");
    verify(&token).unwrap();
    assert_eq!(
        Macaroon::parse(&"x".repeat(TOKEN_BYTES_MAX + 1), &PREFIXES).unwrap_err(),
        TokenFault::TooLong
    );
}

#[test]
fn only_macaroons_can_be_attenuated_and_only_by_good_caveats() {
    assert_eq!(attenuate("eyJh.e30.AA", &Caveat::default()).unwrap_err(), AttenuateError::NotAMacaroon);
    let bad = Caveat { models: Some(vec!["*gpt".to_owned()]), ..Caveat::default() };
    let error = attenuate(&minted(), &bad).unwrap_err();
    assert_eq!(error, AttenuateError::Caveat(CaveatError::Wildcard("models")));
    assert_eq!(error.to_string(), "the caveat is refused: `models` takes `*` only at the end of an entry");
    assert_eq!(Pattern::parse("*gpt"), None);
}

proptest! {
    #[test]
    fn what_is_read_is_written_back_byte_by_byte(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(macaroon) = wire::read("mc", &bytes) {
            prop_assert_eq!(wire::write(&macaroon), bytes);
        }
    }

    #[test]
    fn a_damaged_macaroon_never_verifies_and_never_panics(at in 0_usize..400, byte: u8, cut in 0_usize..3) {
        let mut bytes = wire::write(&Macaroon::parse_any(&minted()).unwrap());
        let at = at % bytes.len();
        prop_assume!(bytes[at] != byte || cut > 0);
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut);
        if let Some(macaroon) = wire::read("mc", &bytes) {
            prop_assert_eq!(wire::write(&macaroon), bytes);
            prop_assert!(macaroon.verify(&[root_key()]).is_err());
        }
    }
}
