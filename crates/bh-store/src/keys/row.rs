//! A key as columns.

use bh_domain::keys::key::{JsonObject, Key, KeyId, KeyKind, KeyRateLimit, Revocation};
use bh_domain::keys::verdict::{KeyStatus, RevocationReason, Visibility};
use bh_domain::tenant::Nid;

use super::Outcome;
use super::statements::{Table, imported, issued};
use crate::db::{Row, Value, malformed};

/// Columns of a key in the statements that read; more may follow.
pub(super) const COLUMNS: usize = 26;

/// The statements for keys of a kind.
pub(super) fn table(kind: KeyKind) -> &'static Table {
    match kind {
        KeyKind::Issued => &issued::TABLE,
        KeyKind::Imported => &imported::TABLE,
    }
}

/// All columns of a row to insert, in the order of its table's statement.
pub(super) fn values(nid: Nid, key: &Key) -> Outcome<Vec<Value>> {
    let mut values = shared(nid, key)?;
    match key.kind {
        KeyKind::Issued => {
            values.extend([(&key.token_prefix).into(), key.version.into(), key.secret_digest.into()]);
        }
        KeyKind::Imported => {}
    }
    Ok(values)
}

fn shared(nid: Nid, key: &Key) -> Outcome<Vec<Value>> {
    let (quota, window_s) = limit_values(key);
    let (reason, description) = revocation_values(key);
    Ok(vec![
        nid.into(),
        key.key_id.as_str().into(),
        key.name.as_str().into(),
        (&key.actor_id).into(),
        words(&key.scopes)?,
        key.metadata.as_str().into(),
        stored(key.status).into(),
        key.enabled.into(),
        key.visibility.number().into(),
        key.created.into(),
        key.updated.into(),
        key.expires.into(),
        key.last_used.into(),
        quota,
        window_s,
        words(&key.allowed_cidrs)?,
        reason,
        description,
        (&key.request_id).into(),
        key.extras.as_str().into(),
        key.credits.into(),
        key.revision.into(),
        key.refills.into(),
    ])
}

/// The columns that a replacement sets, in the order of its statement, after the key and its revision.
pub(super) fn replacement(nid: Nid, key: &Key, expected_revision: u64) -> Outcome<Vec<Value>> {
    let (quota, window_s) = limit_values(key);
    let (reason, description) = revocation_values(key);
    Ok(vec![
        nid.into(),
        key.key_id.as_str().into(),
        expected_revision.into(),
        key.name.as_str().into(),
        (&key.actor_id).into(),
        words(&key.scopes)?,
        key.metadata.as_str().into(),
        stored(key.status).into(),
        key.enabled.into(),
        key.visibility.number().into(),
        key.updated.into(),
        key.expires.into(),
        quota,
        window_s,
        words(&key.allowed_cidrs)?,
        reason,
        description,
        key.extras.as_str().into(),
    ])
}

/// A key whose columns are in the order of the statements that read.
pub(super) fn key(kind: KeyKind, row: &Row) -> Outcome<Key> {
    Ok(Key {
        kind,
        key_id: KeyId::parse(&row.text(1)?).map_err(|_| malformed(1, "a key id"))?,
        name: row.text(2)?,
        actor_id: row.optional_text(3)?,
        scopes: read_words(row, 4)?,
        metadata: object(row, 5)?,
        status: KeyStatus::from_number(row.int(6)?).ok_or_else(|| malformed(6, "a key's state"))?,
        enabled: row.int(7)? != 0,
        visibility: Visibility::from_number(row.int(8)?).ok_or_else(|| malformed(8, "a visibility"))?,
        created: row.time(9)?,
        updated: row.time(10)?,
        expires: row.optional_time(11)?,
        last_used: row.optional_time(12)?,
        rate_limit: rate_limit(row)?,
        allowed_cidrs: read_words(row, 15)?,
        revocation: revocation(row)?,
        request_id: row.optional_text(18)?,
        extras: object(row, 19)?,
        credits: row.optional_int(20)?,
        revision: row.count(21)?,
        refills: row.optional_time(22)?,
        token_prefix: row.optional_text(23)?,
        version: u32::try_from(row.int(24)?).map_err(|_| malformed(24, "a version"))?,
        secret_digest: row.optional_hash(25)?,
    })
}

/// Whether a key in a stored state counts as live.
pub(super) fn is_live(status: i64) -> bool {
    status == KeyStatus::Active.number()
}

/// The number a state is stored by. That a key has expired follows from its end.
fn stored(status: KeyStatus) -> i64 {
    match status {
        KeyStatus::Active | KeyStatus::Expired => KeyStatus::Active.number(),
        KeyStatus::Revoked => KeyStatus::Revoked.number(),
    }
}

fn limit_values(key: &Key) -> (Value, Value) {
    match key.rate_limit {
        Some(limit) => (limit.quota.into(), limit.window_s.into()),
        None => (Value::Int(None), Value::Int(None)),
    }
}

fn rate_limit(row: &Row) -> Outcome<Option<KeyRateLimit>> {
    let present = row.optional_int(13)?.is_some() && row.optional_int(14)?.is_some();
    present.then(|| Ok(KeyRateLimit { quota: row.count(13)?, window_s: row.count(14)? })).transpose()
}

fn revocation_values(key: &Key) -> (Value, Value) {
    match &key.revocation {
        Some(told) => (told.reason.number().into(), (&told.description).into()),
        None => (Value::Int(None), Value::Text(None)),
    }
}

fn revocation(row: &Row) -> Outcome<Option<Revocation>> {
    let Some(number) = row.optional_int(16)? else { return Ok(None) };
    let reason = RevocationReason::from_number(number).ok_or_else(|| malformed(16, "a reason"))?;
    Ok(Some(Revocation { reason, description: row.optional_text(17)? }))
}

fn words(words: &[String]) -> Outcome<Value> {
    let text = serde_json::to_string(words).map_err(|cause| sqlx::Error::Encode(Box::new(cause)))?;
    Ok(text.into())
}

fn read_words(row: &Row, column: usize) -> Outcome<Vec<String>> {
    serde_json::from_str(&row.text(column)?).map_err(|_| malformed(column, "a JSON array of texts"))
}

pub(super) fn object(row: &Row, column: usize) -> Outcome<JsonObject> {
    JsonObject::parse(row.text(column)?).map_err(|_| malformed(column, "a JSON object"))
}
