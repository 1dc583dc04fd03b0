//! Keys, claims and times that the tests of this module share. All keys are published examples.

use serde_json::json;

use super::{ClaimedNid, Claims, Jwks, TOKEN_TYPE};
use crate::evidence::hex;
use crate::tenant::Nid;
use crate::time::Timestamp;

pub(super) const ISSUER: &str = "https://api.example.com";
/// 2026-01-01T00:00:00Z, in seconds.
pub(super) const NOW_S: i64 = 1_767_225_600;
pub(super) const NOW: Timestamp = Timestamp(NOW_S * 1_000);
pub(super) const NID_TEXT: &str = "550e8400-e29b-41d4-a716-446655440001";

/// The Ed25519 key of RFC 8037 A.1, and its thumbprint (A.3).
pub(super) const RFC_8037_KEY: &str = r#"{"kty":"OKP","crv":"Ed25519",
    "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
pub(super) const RFC_8037_ID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
/// The 2048-bit RSA key of RFC 7515 A.2.
pub(super) const RFC_7515_KEY: &str = include_str!("samples/rfc7515-a2.json");

pub(super) fn nid() -> Nid {
    Nid(uuid::Uuid::parse_str(NID_TEXT).unwrap())
}

/// The root key of dossier §3.4.
pub(super) fn root_key() -> [u8; 32] {
    hex::decode_hash("bdfbbec231c0d0c1c0ff35b578fd4a05d28aa5e4f710441963ec96fda20de1c7").unwrap()
}

pub(super) fn set(keys: &[&str]) -> Jwks {
    Jwks::from_json(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes(), None).unwrap()
}

/// Claims with every member filled, good for an hour.
pub(super) fn claims() -> Claims {
    Claims {
        id: Some("5b0f5f8e-6d0e-4a53-9a4e-2f6f1f0a7c11".to_owned()),
        issuer: ISSUER.to_owned(),
        key_id: Some("3f0c6a1e-6b0a-4f8f-9f3e-0a1b2c3d4e5f".to_owned()),
        actor_id: Some("user-7".to_owned()),
        nid: Some(ClaimedNid::Nid(nid())),
        token_type: Some(TOKEN_TYPE.to_owned()),
        issued_at_s: Some(NOW_S),
        not_before_s: Some(NOW_S),
        expires_at_s: NOW_S + 3_600,
        scopes: vec!["read".to_owned(), "write".to_owned()],
        audiences: vec!["billing".to_owned(), "search".to_owned()],
        metadata: json!({"team": "blue", "limit": 2.5}).as_object().cloned().unwrap(),
        public: false,
        allowed_cidrs: vec!["10.0.0.0/8".to_owned(), "::1".to_owned()],
        custom: json!({"plan": {"seats": 3}, "team": "red"}).as_object().cloned().unwrap(),
    }
}

/// The token with one byte changed to another character that may stand in a token, for every position.
pub(super) fn with_each_byte_changed(token: &str) -> impl Iterator<Item = String> {
    (0..token.len()).flat_map(move |position| {
        let others = ['A', 'B', '-', '.', '_', 'g', '9'].into_iter();
        others.filter_map(move |other| {
            let mut changed = token.to_owned();
            changed.replace_range(position..=position, other.encode_utf8(&mut [0; 4]));
            (changed != token).then_some(changed)
        })
    })
}
