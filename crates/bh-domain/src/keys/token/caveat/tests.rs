use serde_json::json;

use super::*;

fn read(value: &serde_json::Value) -> Result<Caveat, CaveatError> {
    Caveat::from_json(value.to_string().as_bytes())
}

#[test]
fn a_full_caveat_survives_the_round_trip() {
    let value = json!({
        "exp": 5, "nbf": 1, "scp": ["a"], "scope": "a b", "aud": ["x"], "acl": ["10.0.0.0/8", "2001:db8::1"],
        "models": ["gpt-4*", "*"], "tools": ["files.*"], "methods": ["GET"], "paths": ["/v1/*"], "permissions": ["a.*"], "budget": "2.50",
        "iss": "https://api.example.com", "nid": "550e8400-e29b-41d4-a716-446655440001",
    });
    let caveat = read(&value).unwrap();
    assert_eq!(caveat.budget(), Ok(Some(NanoUsd(2_500_000_000))));
    let again: serde_json::Value = serde_json::from_slice(&caveat.to_json().unwrap()).unwrap();
    assert_eq!(again, value);
    assert_eq!(Caveat::default().to_json().unwrap(), b"{}");
}

#[test]
fn what_could_be_read_two_ways_is_refused_by_name() {
    let long = "x".repeat(CAVEAT_ENTRY_BYTES_MAX + 1);
    for (value, error) in [
        (json!({"models": []}), CaveatError::List("models")),
        (json!({"scp": []}), CaveatError::List("scp")),
        (json!({"aud": [""]}), CaveatError::List("aud")),
        (json!({"tools": vec!["x"; CAVEAT_ENTRIES_MAX + 1]}), CaveatError::List("tools")),
        (json!({"paths": [long]}), CaveatError::List("paths")),
        (json!({"tools": ["a*b"]}), CaveatError::Wildcard("tools")),
        (json!({"paths": ["/**"]}), CaveatError::Wildcard("paths")),
        (json!({"acl": ["10.0.0.0/33"]}), CaveatError::Network),
        (json!({"permissions": []}), CaveatError::List("permissions")),
        (json!({"permissions": ["a b"]}), CaveatError::Permission),
        (json!({"budget": "-1"}), CaveatError::Budget),
        (json!({"budget": "1e3"}), CaveatError::Budget),
        (json!({"budget": 1}), CaveatError::Form),
        (json!({"budget": null}), CaveatError::Form),
        (json!({"aud": "x"}), CaveatError::Form),
        (json!({"jti": "x"}), CaveatError::Form),
        (json!([]), CaveatError::Form),
        (json!([5]), CaveatError::Form),
        (json!({"models": vec!["x".repeat(200); 20]}), CaveatError::TooLong),
    ] {
        assert_eq!(read(&value), Err(error), "{value}");
    }
}

#[test]
fn a_star_stands_for_any_rest_and_only_at_the_end() {
    let covers = |entry: &str, text: &str| Pattern::parse(entry).unwrap().covers(text);
    assert!(covers("gpt-4*", "gpt-4") && covers("gpt-4*", "gpt-4o-mini") && covers("*", ""));
    assert!(covers("gpt-4", "gpt-4"));
    assert!(!covers("gpt-4", "gpt-4o") && !covers("gpt-4*", "gpt-3.5") && !covers("gpt-4*", "GPT-4"));
    assert_eq!((Pattern::parse("a*b"), Pattern::parse("**")), (None, None));
}
