//! Verifying signed exports of Talon itself (`signed-json`, `signed-ndjson`) with its HMAC key.
//!
//! Talon signs the compact JSON its Go encoder writes, with an empty `signature`. That text cannot be rebuilt from a
//! parsed value (Go escapes `<`, `>` and `&`, and keeps declaration order), but it need not be: an export holds the
//! very text, at most indented. So white space outside strings is taken out, the signature is emptied, and the bytes
//! are checked as they stand.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::canonical::parse_strict;
use super::{HmacKey, SIGNATURE_PREFIX};

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Signed by this key.
    Valid,
    /// Changed, or signed by another key.
    InvalidSignature,
    /// Carries no signature.
    MissingSignature,
    /// Not a JSON object with an `id`.
    MalformedRecord,
    /// Signed in a way this verifier does not know.
    UnsupportedRecord,
}

impl Status {
    /// Talon's word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::InvalidSignature => "invalid_signature",
            Self::MissingSignature => "missing_signature",
            Self::MalformedRecord => "malformed_record",
            Self::UnsupportedRecord => "unsupported_record",
        }
    }
}

/// One record of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Position in the export, from 0.
    pub index: u64,
    /// The record's id, where it has one.
    pub id: Option<String>,
    /// What became of it.
    pub status: Status,
}

/// A whole export.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One verdict for each record, in order.
    pub verdicts: Vec<Verdict>,
    /// How many records the export says it has.
    pub total_records: Option<u64>,
}

impl Report {
    /// Whether every record is valid and none is missing from the count.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.first_bad().is_none()
            && self.total_records.is_none_or(|total| total == self.verdicts.len() as u64)
    }

    /// The first record that is not valid.
    #[must_use]
    pub fn first_bad(&self) -> Option<&Verdict> {
        self.verdicts.iter().find(|verdict| verdict.status != Status::Valid)
    }
}

/// A file that is no export of Talon.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a signed export: {0}")]
pub struct NotAnExport(String);

#[derive(Deserialize)]
struct Document<'a> {
    export_metadata: Metadata,
    #[serde(borrow)]
    records: Vec<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    total_records: Option<u64>,
}

/// The first line of the NDJSON form, with the metadata wrapped or bare.
#[derive(Deserialize)]
struct FirstLine {
    export_metadata: Option<Metadata>,
    id: Option<String>,
    total_records: Option<u64>,
}

/// Verifies an export in either form.
///
/// # Errors
/// [`NotAnExport`] when the file is neither; bad records are verdicts, not errors.
pub fn verify_export(export: &str, key: &HmacKey) -> Result<Report, NotAnExport> {
    let mut report = Report::default();
    if let Some(document) = whole_document(export)? {
        report.total_records = document.export_metadata.total_records;
        for record in document.records {
            report.push(record.get(), key);
        }
        return Ok(report);
    }
    for (number, line) in export.lines().filter(|line| !line.trim().is_empty()).enumerate() {
        match (number == 0).then(|| metadata_of(line)).flatten() {
            Some(metadata) => report.total_records = metadata.total_records,
            None => report.push(line, key),
        }
    }
    if report.verdicts.is_empty() && report.total_records.is_none() {
        return Err(NotAnExport("it has no records".to_owned()));
    }
    Ok(report)
}

impl Report {
    fn push(&mut self, record: &str, key: &HmacKey) {
        let (id, status) = verify_record(record, key);
        self.verdicts.push(Verdict { index: self.verdicts.len() as u64, id, status });
    }
}

/// The export as one JSON document, unless its first line is one already.
fn whole_document(export: &str) -> Result<Option<Document<'_>>, NotAnExport> {
    let first = export.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let document = serde_json::from_str::<Document<'_>>(export);
    match document {
        Ok(document) => Ok(Some(document)),
        Err(_) if serde_json::from_str::<&RawValue>(first).is_ok() => Ok(None),
        Err(error) => Err(NotAnExport(error.to_string())),
    }
}

fn metadata_of(line: &str) -> Option<Metadata> {
    let first: FirstLine = serde_json::from_str(line).ok()?;
    let bare = (first.id.is_none() && first.total_records.is_some())
        .then_some(Metadata { total_records: first.total_records });
    first.export_metadata.or(bare)
}

/// Verifies the text of one record, and gives its id.
#[must_use]
pub fn verify_record(record: &str, key: &HmacKey) -> (Option<String>, Status) {
    let Ok(value) = parse_strict(record.as_bytes()) else { return (None, Status::MalformedRecord) };
    let Some(id) = value.get("id").and_then(|id| id.as_str()).map(str::to_owned) else {
        return (None, Status::MalformedRecord);
    };
    let status = match value.get("signature").map(|signature| signature.as_str()) {
        None | Some(Some("")) => Status::MissingSignature,
        Some(Some(signature)) if signature.starts_with(SIGNATURE_PREFIX) => {
            let signed = signed_text(record);
            if key.verifies(&[signed.as_bytes()], signature) {
                Status::Valid
            } else {
                Status::InvalidSignature
            }
        }
        Some(_) => Status::UnsupportedRecord,
    };
    (Some(id), status)
}

/// The text that was signed: no white space outside strings, and the record's own `signature` empty.
/// `record` is valid JSON, so quotes and brackets pair up.
fn signed_text(record: &str) -> String {
    let mut text = String::with_capacity(record.len());
    let (mut rest, mut depth, mut signature_next) = (record, 0_u32, false);
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' { string_length(rest) } else { first.len_utf8() };
        let (token, tail) = rest.split_at(length);
        rest = tail;
        match first {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if first.is_ascii_whitespace() {
            continue;
        }
        let is_name = depth == 1 && rest.trim_start().starts_with(':');
        if signature_next && first == '"' {
            text.push_str("\"\"");
        } else {
            text.push_str(token);
        }
        signature_next = (is_name && token == "\"signature\"") || (signature_next && first == ':');
    }
    text
}

/// Length of the string that `text` starts with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> HmacKey {
        HmacKey::parse(&"5c".repeat(32)).unwrap()
    }

    /// A record as Go's encoder writes it: declaration order, `<` `>` `&` escaped, floats in shortest form.
    fn record(number: u32) -> String {
        let unsigned = format!(
            "{{\"id\":\"gw_{number:012}\",\"correlation_id\":\"req_1\",\"timestamp\":\"2026-11-21T09:30:00.123456789Z\",\
             \"tenant_id\":\"acme\",\"policy_decision\":{{\"allowed\":true,\"action\":\"allow\",\"reasons\":[\"a \\u003cb\\u003e \\u0026 \\\"signature\\\": c\"]}},\
             \"execution\":{{\"cost\":1.5e-07,\"tokens\":{{\"input\":10,\"output\":2}},\"signature\":\"inner\"}},\
             \"status\":\"ok\",\"signature\":\"\",\"routing_decision\":{{\"selected_provider\":\"openai\"}}}}"
        );
        let signature = key().sign(&[unsigned.as_bytes()]);
        unsigned.replace("\"signature\":\"\"", &format!("\"signature\":\"{signature}\""))
    }

    /// White space put in as an indenting encoder does.
    fn indented(record: &str) -> String {
        record
            .replace("{\"id\"", "{\n  \"id\"")
            .replace(",\"status\":", ",\n  \"status\": ")
            .replace(",\"signature\":\"hmac", ",\n  \"signature\" : \"hmac")
    }

    fn statuses(report: &Report) -> Vec<&'static str> {
        report.verdicts.iter().map(|verdict| verdict.status.as_str()).collect()
    }

    #[test]
    fn both_forms_of_a_signed_export_verify_plain_and_indented() {
        let metadata = r#"{"generated_at":"2026-11-21T09:31:00Z","talon_version":"1.7.0","filter":{},"total_records":2,"algorithm":"HMAC-SHA256","signed":true}"#;
        let (one, two) = (record(1), record(2));
        let exports = [
            format!("{{\"export_metadata\":{metadata},\"records\":[{one},{two}]}}"),
            format!(
                "{{\n \"export_metadata\": {metadata},\n \"records\": [\n{},\n{}\n]}}\n",
                indented(&one),
                indented(&two)
            ),
            format!("{{\"export_metadata\":{metadata}}}\n{one}\n{two}\n"),
            format!("{metadata}\n{one}\n{two}\n"),
        ];
        for export in exports {
            let report = verify_export(&export, &key()).unwrap();
            assert_eq!((statuses(&report), report.is_valid()), (vec!["valid"; 2], true), "{export}");
        }
        let short = format!("{{\"export_metadata\":{metadata}}}\n{one}\n");
        assert!(!verify_export(&short, &key()).unwrap().is_valid(), "a record is missing");
    }

    #[test]
    fn each_kind_of_bad_record_has_its_own_status() {
        let lines = [
            record(1),
            record(2).replace("acme", "acmf"),
            r#"{"id":"x"}"#.to_owned(),
            r#"{"id":"x","signature":""}"#.to_owned(),
            r#"{"id":"x","signature":"ed25519:00"}"#.to_owned(),
            r#"{"signature":"hmac-sha256:00"}"#.to_owned(),
            r#"{"id":"x","#.to_owned(),
            record(3).replacen("{\"id\"", "{\"tenant_id\":\"globex\",\"id\"", 1),
        ];
        let report = verify_export(&lines.join("\n"), &key()).unwrap();
        let expected = [
            "valid",
            "invalid_signature",
            "missing_signature",
            "missing_signature",
            "unsupported_record",
            "malformed_record",
            "malformed_record",
            "malformed_record",
        ];
        assert_eq!(statuses(&report), expected);
        assert_eq!(report.first_bad().unwrap().id.as_deref(), Some("gw_000000000002"));
    }

    #[test]
    fn another_key_makes_every_record_invalid_and_junk_is_no_export() {
        let other = HmacKey::parse(&"00".repeat(32)).unwrap();
        let report = verify_export(&record(1), &other).unwrap();
        assert_eq!(statuses(&report), ["invalid_signature"]);
        assert!(verify_export("", &other).is_err());
        assert!(verify_export("id,timestamp\n", &other).is_err());
    }

    #[test]
    fn every_flipped_byte_of_a_record_is_found() {
        let record = record(1);
        for position in 0..record.len() {
            let mut bytes = record.clone().into_bytes();
            bytes[position] ^= 1;
            let Ok(flipped) = String::from_utf8(bytes) else { continue };
            assert_ne!(verify_record(&flipped, &key()).1, Status::Valid, "byte {position}");
        }
    }
}
