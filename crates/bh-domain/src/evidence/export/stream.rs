//! Reading an export in either form, from memory or as a stream.

use std::fmt;
use std::io::{BufRead, Read};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::fault::VerifyError;
use super::metadata::METADATA_BYTES_MAX;
use super::verifier::{ExportVerifier, Report};
use crate::evidence::HmacKey;
use crate::evidence::checkpoint::PublicKey;

/// The longest record that is read: one with a sealed body of the largest size the gateway takes.
pub const RECORD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Verifies an export in memory, in either form, with the public key alone.
///
/// # Errors
/// [`VerifyError`] names what is wrong, and the first bad record.
pub fn verify_export(export: &[u8], key: &PublicKey) -> Result<Report, VerifyError> {
    verify_bytes(export, &Keys { public: key, hmac: None })
}

/// Verifies an export as [`verify_export`] does, and each record's `hmac-sha256:` signature with the server's key.
///
/// # Errors
/// [`VerifyError`] names what is wrong, and the first bad record.
pub fn verify_export_with_hmac(
    export: &[u8],
    key: &PublicKey,
    hmac: &HmacKey,
) -> Result<Report, VerifyError> {
    verify_bytes(export, &Keys { public: key, hmac: Some(hmac) })
}

/// Verifies an export as it is read, in either form, without holding it.
///
/// # Errors
/// [`VerifyError`] names what is wrong, and the first bad record.
pub fn verify_read(
    mut export: impl BufRead,
    key: &PublicKey,
    hmac: Option<&HmacKey>,
) -> Result<Report, VerifyError> {
    let keys = Keys { public: key, hmac };
    let mut first = Vec::new();
    read_line(&mut export, &mut first, METADATA_BYTES_MAX)?;
    match keys.open(&first)? {
        Some((verifier, Layout::Lines)) => verify_lines(verifier, export),
        Some((verifier, Layout::Rows)) => verify_rows(verifier, export),
        None => {
            verify_document(&mut serde_json::Deserializer::from_reader(first.as_slice().chain(export)), &keys)
        }
    }
}

fn verify_bytes(export: &[u8], keys: &Keys<'_>) -> Result<Report, VerifyError> {
    let first = export.iter().position(|byte| *byte == b'\n').map_or(export.len(), |end| end + 1);
    let (first, rest) = export.split_at(first);
    match keys.open(first)? {
        Some((verifier, Layout::Lines)) => verify_lines(verifier, rest),
        Some((verifier, Layout::Rows)) => verify_rows(verifier, rest),
        None => verify_document(&mut serde_json::Deserializer::from_slice(export), keys),
    }
}

struct Keys<'k> {
    public: &'k PublicKey,
    hmac: Option<&'k HmacKey>,
}

/// How the records stand after the first line.
enum Layout {
    /// NDJSON: each on its line.
    Lines,
    /// One JSON document as our writer lays it out: each on its line, with commas, then the closing brackets.
    /// Reading it line by line is several times faster than through the parser.
    Rows,
}

/// The first line of either layout, closed where it is open.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstLine<'a> {
    #[serde(borrow)]
    export_metadata: &'a RawValue,
    records: Option<[(); 0]>,
}

impl Keys<'_> {
    fn verifier(&self, metadata: &RawValue) -> Result<ExportVerifier, VerifyError> {
        ExportVerifier::new(metadata.get().as_bytes(), self.public, self.hmac)
    }

    /// Reads the first line of a layout that can be read line by line; `None` when the export has another one.
    fn open(&self, first: &[u8]) -> Result<Option<(ExportVerifier, Layout)>, VerifyError> {
        if let Ok(FirstLine { export_metadata, records: None }) = serde_json::from_slice(first) {
            return Ok(Some((self.verifier(export_metadata)?, Layout::Lines)));
        }
        if first.ends_with(b"[\n")
            && let Ok(FirstLine { export_metadata, records: Some([]) }) =
                serde_json::from_slice(&[first, b"]}"].concat())
        {
            return Ok(Some((self.verifier(export_metadata)?, Layout::Rows)));
        }
        Ok(None)
    }
}

fn verify_lines(mut verifier: ExportVerifier, mut lines: impl BufRead) -> Result<Report, VerifyError> {
    let mut line = Vec::new();
    while read_line(&mut lines, &mut line, RECORD_BYTES_MAX)? {
        let record = line.trim_ascii();
        if !record.is_empty() {
            verifier.push(record)?;
        }
    }
    verifier.finish()
}

fn verify_rows(mut verifier: ExportVerifier, mut rows: impl BufRead) -> Result<Report, VerifyError> {
    let (mut line, mut open) = (Vec::new(), true);
    while open && read_line(&mut rows, &mut line, RECORD_BYTES_MAX)? && line.trim_ascii() != b"]}" {
        let row = line.trim_ascii();
        let record = row.strip_suffix(b",");
        open = record.is_some();
        verifier.push(record.unwrap_or(row))?;
        line.clear();
    }
    // After a comma comes a record, after the last record the end of the document, and then nothing.
    if !open {
        read_line(&mut rows, &mut line, RECORD_BYTES_MAX)?;
    }
    let complete = line.trim_ascii() == b"]}" && (!open || verifier.index() == 0);
    if !complete || read_line(&mut rows, &mut line, RECORD_BYTES_MAX)? {
        return Err(verifier.malformed("expected the end of the document".to_owned()));
    }
    verifier.finish()
}

/// Reads one line into `line`; `false` at the end. A line beyond `bytes_max` is an error of kind `InvalidData`.
fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: usize) -> Result<bool, std::io::Error> {
    line.clear();
    let read = from.take(bytes_max as u64).read_until(b'\n', line)?;
    if read == bytes_max && !line.ends_with(b"\n") {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "a line of the export is too long"));
    }
    Ok(read > 0)
}

fn verify_document<'de, R: serde_json::de::Read<'de>>(
    parser: &mut serde_json::Deserializer<R>,
    keys: &Keys<'_>,
) -> Result<Report, VerifyError> {
    let mut state = State { keys, verifier: None, error: None };
    let parsed = parser.deserialize_map(Document(&mut state)).and_then(|()| parser.end());
    match (parsed, state.error, state.verifier) {
        (_, Some(error), _) => Err(error),
        (Err(error), _, _) if error.is_io() => Err(VerifyError::Read(error.into())),
        (Err(error), _, Some(verifier)) => Err(verifier.malformed(error.to_string())),
        (Err(error), _, None) => Err(VerifyError::NotAnExport(error.to_string())),
        (Ok(()), _, Some(verifier)) => verifier.finish(),
        (Ok(()), _, None) => Err(VerifyError::NotAnExport("it has no `export_metadata`".to_owned())),
    }
}

/// How far a document has been read. Our own errors wait here while the parser unwinds with one of its own.
struct State<'k> {
    keys: &'k Keys<'k>,
    verifier: Option<ExportVerifier>,
    error: Option<VerifyError>,
}

impl State<'_> {
    fn keep<T, E: Error>(&mut self, result: Result<T, VerifyError>) -> Result<T, E> {
        result.map_err(|error| {
            self.error = Some(error);
            E::custom("the export does not verify")
        })
    }
}

struct Document<'s, 'k>(&'s mut State<'k>);

impl<'de> Visitor<'de> for Document<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a signed export")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut records = false;
        while let Some(name) = members.next_key::<String>()? {
            match (name.as_str(), &self.0.verifier, records) {
                ("export_metadata", None, _) => {
                    let metadata: Box<RawValue> = members.next_value()?;
                    let verifier = self.0.keys.verifier(&metadata);
                    self.0.verifier = Some(self.0.keep(verifier)?);
                }
                ("records", Some(_), false) => {
                    records = true;
                    members.next_value_seed(Records(self.0))?;
                }
                ("records", None, _) => {
                    return Err(A::Error::custom("`records` stands before `export_metadata`"));
                }
                _ => return Err(A::Error::custom(format_args!("unexpected member `{name}`"))),
            }
        }
        if records { Ok(()) } else { Err(A::Error::custom("it has no `records`")) }
    }
}

struct Records<'s, 'k>(&'s mut State<'k>);

impl<'de> DeserializeSeed<'de> for Records<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_, '_> {
    type Value = ();

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut records: A) -> Result<(), A::Error> {
        while let Some(record) = records.next_element::<Box<RawValue>>()? {
            let Some(verifier) = &mut self.0.verifier else { break };
            let pushed = verifier.push(record.get().as_bytes());
            self.0.keep(pushed)?;
        }
        Ok(())
    }
}
