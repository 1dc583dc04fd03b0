//! What a request asked for, as far as the trail may keep it (seed 001, "Audit All Actions": `params`).
//!
//! Secrets go by the name of their member, wherever it stands, and by their form, whatever they are called. What is left is
//! bounded, so that nobody fills the trail with one request.

use serde_json::{Map, Value};

use crate::keys::format::IssuedKey;
use crate::keys::token::unverified_nid;

/// Stands where a secret stood.
pub const REDACTED: &str = "[redacted]";
/// Stands where more stood than the trail keeps.
const CUT: &str = "[cut]";

const DEPTH_MAX: usize = 8;
const MEMBERS_MAX: usize = 64;
const TEXT_CHARS_MAX: usize = 256;
/// As many hexadecimal digits and nothing else are a hash or a key: ids are shorter.
const HEX_DIGITS_MIN: usize = 40;

/// A member whose name, without case, hyphens and underscores, ends so holds a secret: `clientSecret`, `raw_key`.
const SECRET_ENDS: [&str; 14] = [
    "secret",
    "password",
    "passphrase",
    "passwd",
    "token",
    "apikey",
    "rawkey",
    "privatekey",
    "signingkey",
    "adminkey",
    "masterkey",
    "credential",
    "credentials",
    "authorization",
];
/// Names that are a secret's as a whole. From a plain hash alone a weak key can be guessed.
const SECRET_NAMES: [&str; 6] = ["key", "cookie", "hash", "hashed", "digest", "pepper"];
/// How secrets of others begin: keys of providers and of Git hosts, web tokens.
const SECRET_STARTS: [&str; 10] =
    ["sk-", "sk_", "pk_", "ghp_", "ghr_", "gho_", "github_pat_", "xoxb-", "whsec_", "Bearer "];

/// A value without its secrets, cut to what a trail keeps.
#[must_use]
pub fn redact(value: &Value) -> Value {
    redacted(value, DEPTH_MAX)
}

fn redacted(value: &Value, depth: usize) -> Value {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) => text_of(text).into(),
        Value::Array(_) | Value::Object(_) if depth == 0 => CUT.into(),
        Value::Array(items) => {
            let mut kept: Vec<Value> =
                items.iter().take(MEMBERS_MAX).map(|item| redacted(item, depth - 1)).collect();
            if items.len() > MEMBERS_MAX {
                kept.push(CUT.into());
            }
            kept.into()
        }
        Value::Object(members) => members_of(members, depth).into(),
    }
}

fn members_of(members: &Map<String, Value>, depth: usize) -> Map<String, Value> {
    let kept = members.iter().take(MEMBERS_MAX).map(|(name, value)| {
        let told = if is_secret_name(name) && !is_plain(value) {
            REDACTED.into()
        } else {
            redacted(value, depth - 1)
        };
        (text_of(name), told)
    });
    let mut kept: Map<String, Value> = kept.collect();
    if members.len() > MEMBERS_MAX {
        kept.insert(CUT.to_owned(), true.into());
    }
    kept
}

/// Nothing, and whether or how many, is no secret.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

fn is_secret_name(name: &str) -> bool {
    let plain: String =
        name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    // `tokens` as `token`.
    let one = plain.strip_suffix('s').unwrap_or(&plain);
    let is_secret =
        |name: &str| SECRET_NAMES.contains(&name) || SECRET_ENDS.iter().any(|end| name.ends_with(end));
    is_secret(&plain) || is_secret(one)
}

/// A text, unless it is a secret by its form, cut to what a trail keeps.
#[must_use]
pub fn text_of(text: &str) -> String {
    if is_secret_form(text) {
        return REDACTED.to_owned();
    }
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}{CUT}", text.get(..end).unwrap_or_default()),
    }
}

/// Whether a text is a key, a token or another credential, by how it looks.
fn is_secret_form(text: &str) -> bool {
    let text = text.trim();
    SECRET_STARTS.iter().any(|start| text.starts_with(start))
        || IssuedKey::parse(text).is_some()
        || names_a_password(text)
        || (text.len() >= HEX_DIGITS_MIN && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || (text.starts_with("ey") && text.split('.').count() == 3)
        || unverified_nid(text).is_some()
}

/// Whether a text is a URL with somebody in it: `postgres://user:password@host`, `https://token@host`.
fn names_a_password(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or_default());
    authority.is_some_and(|authority| authority.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_go_by_name_wherever_they_stand_and_by_form_whatever_they_are_called() {
        let given = json!({
            "name": "ACME", "limits": {"requestsPerMinute": 5, "maxApiKeys": 3},
            "clientSecret": "s", "raw_key": "k", "oauth": {"access-token": "t", "scopes": ["repo"]},
            "credentials": {"user": "u"}, "note": "ghp_0123", "list": [{"password": "p"}, "whsec_abc"],
            "jwt": "eyJh.eyJi.c2ln", "token_count": 7, "max_tokens": 9, "token": null,
            "store": "postgres://acme:pw@db/acme", "home": "https://acme.com/a:b@c",
            "hashed": {"algorithm": "SHA256", "digest": "aa"}, "sum": "0123456789abcdef".repeat(4), "id": "0123456789abcdef".repeat(2),
        });
        let kept = json!({
            "name": "ACME", "limits": {"requestsPerMinute": 5, "maxApiKeys": 3},
            "clientSecret": REDACTED, "raw_key": REDACTED, "oauth": {"access-token": REDACTED, "scopes": ["repo"]},
            "credentials": REDACTED, "note": REDACTED, "list": [{"password": REDACTED}, REDACTED],
            "jwt": REDACTED, "token_count": 7, "max_tokens": 9, "token": null,
            "store": REDACTED, "home": "https://acme.com/a:b@c",
            "hashed": REDACTED, "sum": REDACTED, "id": "0123456789abcdef".repeat(2),
        });
        assert_eq!(redact(&given), kept);
    }

    #[test]
    fn one_request_does_not_fill_the_trail() {
        let mut deep = json!("end");
        for _ in 0..100 {
            deep = json!([deep]);
        }
        assert!(redact(&deep).to_string().len() < 64);
        let wide: Vec<u32> = (0..10_000).collect();
        assert_eq!(redact(&json!(wide)).as_array().map(Vec::len), Some(MEMBERS_MAX + 1));
        let long = "ä".repeat(10_000);
        assert_eq!(
            redact(&json!(long)).as_str().map(|text| text.chars().count()),
            Some(TEXT_CHARS_MAX + CUT.len())
        );
    }
}
