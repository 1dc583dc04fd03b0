use serde_json::{Value, json};

use super::super::samples::{ISSUER, NID_TEXT, NOW, NOW_S, claims, nid};
use super::*;

fn read(value: &Value) -> Result<Claims, TokenFault> {
    Claims::from_json(value.to_string().as_bytes())
}

#[test]
fn claims_survive_the_round_trip_and_look_as_the_dossier_says() {
    let json: Value = serde_json::from_slice(&claims().to_json()).unwrap();
    let key = "3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e5f";
    let wanted = json!({
        "jti": "5b0f5f8e-6d0e-4a53-9a4e-2f6f1f0a7c11", "iss": ISSUER, "sub": key, "akid": key, "pid": key,
        "aud": ["billing", "search"], "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 3_600, "nid": NID_TEXT,
        "tty": "derived", "oid": "user-7", "scp": ["read", "write"], "scope": "read write",
        "meta": {"team": "blue", "limit": 2.5}, "vis": "secret", "acl": ["10.0.0.0/8", "::1"],
        "plan": {"seats": 3}, "team": "red",
    });
    assert_eq!(json, wanted);
    assert_eq!(Claims::from_json(&claims().to_json()), Ok(claims()));
}

#[test]
fn the_least_claims_are_an_issuer_and_an_end() {
    let least = Claims { issuer: "joe".to_owned(), expires_at_s: 5, ..Claims::default() };
    assert_eq!(read(&json!({"iss": "joe", "exp": 5})), Ok(least));
}

#[test]
fn either_scope_member_is_read_and_two_that_differ_are_not() {
    let with = |more: Value| {
        let mut value = json!({"iss": "joe", "exp": 5});
        value.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        read(&value).map(|claims| claims.scopes)
    };
    let both = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(with(json!({"scp": ["a", "b"]})), Ok(both.clone()));
    assert_eq!(with(json!({"scope": "a b"})), Ok(both.clone()));
    assert_eq!(with(json!({"scope": "a b", "scp": ["a", "b"]})), Ok(both));
    assert_eq!(with(json!({"scope": "a b c", "scp": ["a", "b"]})), Err(TokenFault::Malformed));
}

#[test]
fn a_scope_with_a_space_is_never_written_as_two() {
    let odd = Claims { scopes: vec!["read all".to_owned()], ..claims() };
    let json: Value = serde_json::from_slice(&odd.to_json()).unwrap();
    assert_eq!((json.get("scope"), &json["scp"]), (None, &json!(["read all"])));
    assert_eq!(Claims::from_json(&odd.to_json()), Ok(odd));
}

#[test]
fn claims_with_members_of_other_types_are_refused() {
    for (name, value) in [
        ("exp", json!("5")),
        ("exp", json!(5.5)),
        ("exp", json!(null)),
        ("iss", json!(1)),
        ("scp", json!("a")),
        ("acl", json!("10.0.0.0/8")),
        ("vis", json!("hidden")),
        ("meta", json!([])),
        ("sub", json!("another key")),
    ] {
        let mut whole = json!({"iss": "joe", "exp": 5, "akid": "a key"});
        whole[name] = value;
        assert_eq!(read(&whole), Err(TokenFault::Malformed), "{whole}");
    }
    for text in [
        "",
        "[]",
        "[null,\"joe\",null,null,null,null,5]",
        "{}",
        "{\"iss\":\"joe\"}",
        "{\"iss\":\"joe\",\"exp\":1,\"exp\":2}",
    ] {
        assert_eq!(Claims::from_json(text.as_bytes()), Err(TokenFault::Malformed), "{text}");
    }
    assert_eq!(Claims::from_json("[".repeat(8_000).as_bytes()), Err(TokenFault::Malformed));
}

#[test]
fn checks_come_in_the_dossiers_order_and_each_finds_its_fault() {
    let (issuers, leeway) = (["https://old.example.com", ISSUER], Leeway::of_jwt(30));
    let check = |claims: &Claims, now: Timestamp| claims.check(now, leeway, &issuers, nid());
    assert_eq!(check(&claims(), NOW), Ok(()));
    // Everything is wrong; mending one fault after the other shows the next.
    let mut bad = Claims {
        issuer: "https://evil.example.com".to_owned(),
        token_type: Some("session".to_owned()),
        nid: None,
        not_before_s: Some(NOW_S + 31),
        expires_at_s: NOW_S - 30,
        ..claims()
    };
    assert_eq!(check(&bad, NOW), Err(TokenFault::Expired));
    bad.expires_at_s = NOW_S - 29;
    assert_eq!(check(&bad, NOW), Err(TokenFault::NotYetValid));
    bad.not_before_s = Some(NOW_S + 30);
    assert_eq!(check(&bad, NOW), Err(TokenFault::Issuer));
    bad.issuer = ISSUER.to_owned();
    assert_eq!(check(&bad, NOW), Err(TokenFault::WrongType));
    bad.token_type = None;
    assert_eq!(check(&bad, NOW), Err(TokenFault::OtherTenant));
    bad.nid = Some(ClaimedNid::Junk);
    assert_eq!(check(&bad, NOW), Err(TokenFault::OtherTenant));
    bad.nid = claims().nid;
    assert_eq!(check(&bad, NOW), Ok(()));
}

#[test]
fn the_end_of_a_macaroon_is_strict_and_that_of_a_jwt_gives_way() {
    let end = NOW.plus_ms(3_600_000);
    let check = |now, leeway| claims().check(now, leeway, &[ISSUER], nid());
    assert_eq!(check(end.plus_ms(-1), Leeway::of_macaroon(30)), Ok(()));
    assert_eq!(check(end, Leeway::of_macaroon(30)), Err(TokenFault::Expired));
    assert_eq!(check(end.plus_ms(29_999), Leeway::of_jwt(30)), Ok(()));
    assert_eq!(check(end.plus_ms(30_000), Leeway::of_jwt(30)), Err(TokenFault::Expired));
    assert_eq!(check(NOW.plus_ms(-30_000), Leeway::of_macaroon(30)), Ok(()));
    assert_eq!(check(NOW.plus_ms(-30_001), Leeway::of_macaroon(30)), Err(TokenFault::NotYetValid));
}

#[test]
fn times_at_the_ends_of_the_range_do_not_wrap() {
    let forever = Claims { expires_at_s: i64::MAX, not_before_s: Some(i64::MIN), ..claims() };
    let check = |now| forever.check(now, Leeway::of_jwt(u32::MAX), &[ISSUER], nid());
    assert_eq!(check(Timestamp(i64::MAX)), Ok(()));
    assert_eq!(check(Timestamp(i64::MIN)), Err(TokenFault::NotYetValid));
}

#[test]
fn reserved_names_are_parted_from_custom_claims_and_never_written() {
    let mut wanted = serde_json::Map::new();
    for name in RESERVED_CLAIMS {
        wanted.insert(name.to_owned(), json!("mine"));
    }
    wanted.insert("plan".to_owned(), json!("gold"));
    let parted = CustomClaims::part(wanted.clone());
    assert_eq!(parted.reserved, RESERVED_CLAIMS);
    assert_eq!(Value::from(parted.accepted), json!({"plan": "gold"}));

    let forged = Claims { custom: wanted, ..claims() };
    let custom = Claims::from_json(&forged.to_json()).unwrap().custom;
    assert_eq!(Value::from(custom), json!({"plan": "gold"}));
}

#[test]
fn custom_claims_win_for_the_deriver_and_metadata_wins_for_the_verifier() {
    assert_eq!(
        Value::from(claims().told_to_deriver()),
        json!({"team": "red", "limit": 2.5, "plan": {"seats": 3}})
    );
    assert_eq!(
        Value::from(claims().as_key_metadata()),
        json!({"plan": {"seats": 3}, "team": "blue", "limit": 2.5})
    );
}
