//! A row of Talos's as a key of ours. Its columns are read as text, whatever they are stored as: the driver that wrote
//! them keeps times as text in one of several forms, and JSON as text or bytes.

use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind, KeyRateLimit, Revocation};
use bh_domain::keys::verdict::{KeyStatus, RevocationReason, Visibility};
use bh_domain::time::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::TalosKey;

/// Milliseconds since 1970 have more digits than this, seconds at most as many.
const SECONDS_MAX: i64 = 99_999_999_999;

/// The id as it stands there.
pub(super) fn key_id(row: &SqliteRow) -> String {
    text(row, "key_id").unwrap_or_default()
}

/// The key.
pub(super) fn key(kind: KeyKind, row: &SqliteRow) -> TalosKey {
    read(kind, row).map_err(|why| (key_id(row), why))
}

fn read(kind: KeyKind, row: &SqliteRow) -> Result<Key, String> {
    let status = match number(row, "status")? {
        Some(1 | 3) => KeyStatus::Active,
        Some(2) => KeyStatus::Revoked,
        Some(_) | None => return Err("its status is none that Talos gives a key".to_owned()),
    };
    let created = time(row, "created_at")?.ok_or("it has no `created_at`")?;
    let metadata = text(row, "metadata").filter(|text| !text.is_empty() && text != "null");
    Ok(Key {
        kind,
        key_id: KeyId::parse(&key_id(row)).map_err(|error| error.to_string())?,
        name: text(row, "name").unwrap_or_default(),
        actor_id: text(row, "actor_id").filter(|actor| !actor.is_empty()),
        scopes: words(row, "scopes")?,
        metadata: match metadata {
            Some(text) => JsonObject::parse(text).map_err(|error| format!("`metadata`: {error}"))?,
            None => JsonObject::default(),
        },
        status,
        enabled: true,
        visibility: number(row, "visibility")?.and_then(Visibility::from_number).unwrap_or_default(),
        token_prefix: text(row, "token_prefix").filter(|_| kind == KeyKind::Issued),
        version: match kind {
            KeyKind::Issued => number(row, "version")?.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            KeyKind::Imported => 0,
        },
        // Talos's keys hold no random part.
        secret_digest: None,
        created,
        updated: time(row, "updated_at")?.unwrap_or(created),
        expires: time(row, "expires_at")?,
        last_used: time(row, "last_used_at")?,
        rate_limit: rate_limit(row)?,
        allowed_cidrs: words(row, "allowed_cidrs")?,
        revocation: revocation(row, status)?,
        request_id: text(row, "request_id").filter(|id| !id.is_empty()),
        extras: JsonObject::default(),
        credits: None,
        refills: None,
        revision: 1,
    })
}

/// A column as text; `None` when it is null, or when this version of Talos does not have it.
fn text(row: &SqliteRow, column: &str) -> Option<String> {
    row.try_get_unchecked::<Option<String>, _>(column).ok().flatten()
}

fn number(row: &SqliteRow, column: &str) -> Result<Option<i64>, String> {
    let parse = |text: String| text.parse().map_err(|_| format!("`{column}` is no whole number"));
    text(row, column).map(parse).transpose()
}

fn words(row: &SqliteRow, column: &str) -> Result<Vec<String>, String> {
    let Some(text) = text(row, column).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let words: Option<Vec<String>> =
        serde_json::from_str(&text).map_err(|_| format!("`{column}` is no JSON list of texts"))?;
    Ok(words.unwrap_or_default())
}

fn rate_limit(row: &SqliteRow) -> Result<Option<KeyRateLimit>, String> {
    let part = |column| Ok::<_, String>(number(row, column)?.and_then(|n| u64::try_from(n).ok()));
    let (quota, window_s) = (part("rate_limit_quota")?, part("rate_limit_window")?);
    let limit = quota.zip(window_s).filter(|(quota, window_s)| *quota > 0 && *window_s > 0);
    Ok(limit.map(|(quota, window_s)| KeyRateLimit { quota, window_s }))
}

fn revocation(row: &SqliteRow, status: KeyStatus) -> Result<Option<Revocation>, String> {
    if status != KeyStatus::Revoked {
        return Ok(None);
    }
    let reason = number(row, "revocation_reason")?.unwrap_or(0);
    let reason =
        RevocationReason::from_number(reason).ok_or("its `revocation_reason` is none that Talos knows")?;
    let description = text(row, "revocation_reason_text").filter(|text| !text.is_empty());
    Ok(Some(Revocation { reason, description }))
}

fn time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = text(row, column).filter(|text| !text.is_empty()) else { return Ok(None) };
    instant(&text).map(Some).ok_or_else(|| format!("`{column}` is no instant"))
}

/// `2026-01-01T00:00:00Z`, `2026-01-01 00:00:00+00:00`, Go's `2026-01-01 00:00:00.5 +0000 UTC m=+1.5`, and numbers.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Timestamp(if number > SECONDS_MAX { number } else { number.checked_mul(1_000)? }));
    }
    let mut parts = text.split([' ', 'T']).filter(|part| !part.is_empty());
    let (date, clock) = (parts.next()?, parts.next()?);
    let split = clock.find(['+', '-', 'Z', 'z']).unwrap_or(clock.len());
    let (clock, attached) = clock.split_at(split);
    let offset = if attached.is_empty() { parts.next().unwrap_or("Z") } else { attached };
    let offset = match offset {
        "UTC" | "z" => "Z".to_owned(),
        // Go writes the offset without a colon.
        plain if plain.len() == 5 && plain.is_ascii() => format!("{}:{}", &plain[..3], &plain[3..]),
        other => other.to_owned(),
    };
    Timestamp::parse(&format!("{date}T{clock}{offset}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_in_every_form_that_a_go_driver_writes() {
        for (text, wanted) in [
            ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"),
            ("2026-01-01 00:00:00", "2026-01-01T00:00:00.000Z"),
            ("2026-01-01 02:00:00.25+02:00", "2026-01-01T00:00:00.250Z"),
            ("2026-01-01 00:00:00.123456789 +0000 UTC", "2026-01-01T00:00:00.123Z"),
            ("2026-01-01 01:00:00 +0100 CET m=+0.002", "2026-01-01T00:00:00.000Z"),
            ("1767225600", "2026-01-01T00:00:00.000Z"),
            ("1767225600500", "2026-01-01T00:00:00.500Z"),
        ] {
            assert_eq!(instant(text).map(|at| at.rfc3339()).as_deref(), Some(wanted), "{text}");
        }
        for text in ["", "yesterday", "2026-01-01", "2026-13-01 00:00:00", "2026-01-01 é00:00 +00é0"] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
