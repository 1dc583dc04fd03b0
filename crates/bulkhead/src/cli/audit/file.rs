//! `bulkhead audit verify --file`: an export, checked offline. No configuration, no store, no secret of ours.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use bh_domain::evidence::HmacKey;
use bh_domain::evidence::checkpoint::PublicKey;
use bh_domain::evidence::export::{Report, VerifyError, verify_read};
use bh_domain::evidence::talon;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::probe::{Head, probe};
use super::{Failure, print, table};

/// The longest file a key is read from.
const KEY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// The longest export of Talon: it is verified in memory.
const TALON_EXPORT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Bytes read from an export at a time.
const READ_BYTES: usize = 256 * 1024;
/// Where the HMAC key is looked for when no file is named.
const HMAC_KEY_NAMES: [&str; 2] = ["BULKHEAD_EVIDENCE_KEY", "TALON_SIGNING_KEY"];
const OWN_KEY_WARNING: &str = "warning: the public key was taken from the export itself. That proves that the records \
    are whole and unchanged since somebody signed them, not who signed; for that, pass the installation's key with \
    --public-key";
const TALON_WARNING: &str = "note: this is a signed export of Talon. Each record is proven by its HMAC signature; that \
    none was removed or reordered is not provable in this form";

/// What to verify, and with which keys.
#[derive(Debug)]
pub(super) struct FileCheck {
    pub(super) file: PathBuf,
    pub(super) public_key: Option<String>,
    pub(super) hmac_key_file: Option<PathBuf>,
    pub(super) json: bool,
}

/// Verifies an export of ours or of Talon.
pub(super) fn verify(check: &FileCheck) -> Result<(), Failure> {
    match probe(open(&check.file)?).map_err(|error| not_an_export(&check.file, &error))? {
        Head::Bulkhead { public_key } => verify_own(check, public_key.as_deref()),
        Head::Talon if check.public_key.is_some() => Err(Failure::new(format!(
            "{} is not signed with a public key: its metadata is that of a Talon export, or was changed to look so",
            check.file.display()
        ))),
        Head::Talon => verify_talon(check),
        Head::Unsigned => Err(Failure::new(format!(
            "{} is not a signed export: make one with `bulkhead audit export --format signed-json`",
            check.file.display()
        ))),
    }
}

fn open(path: &Path) -> Result<BufReader<File>, Failure> {
    let file = File::open(path).map_err(|cause| unreadable(path, &cause))?;
    Ok(BufReader::with_capacity(READ_BYTES, file))
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Failure {
    Failure::new(format!("{} cannot be read: {cause}", path.display()))
}

fn not_an_export(path: &Path, error: &serde_json::Error) -> Failure {
    Failure::new(format!("{} is not a signed export: {error}", path.display()))
}

fn verify_own(check: &FileCheck, own_key: Option<&str>) -> Result<(), Failure> {
    let key = match (&check.public_key, own_key) {
        (Some(given), _) => public_key(given)?,
        (None, Some(own)) => {
            print::talk(OWN_KEY_WARNING);
            PublicKey::parse(own)
                .map_err(|error| Failure::new(format!("the export's public key: {error}")))?
        }
        (None, None) => {
            return Err(Failure::new("the export names no public key: pass one with --public-key"));
        }
    };
    // Only a key that was asked for is used: the environment's may be another installation's.
    let hmac = check.hmac_key_file.as_deref().map(hmac_key_from_file).transpose()?;
    match verify_read(open(&check.file)?, &key, hmac.as_ref()) {
        Ok(report) => valid(check, &report),
        Err(error) => invalid(check, bad_record(&error), Failure::from(error)),
    }
}

fn valid(check: &FileCheck, report: &Report) -> Result<(), Failure> {
    if check.json {
        let groups: Vec<Value> = report.groups.iter().map(group_json).collect();
        let records = report.records;
        return print::json(&json!({
            "valid": true, "records": records, "groups": groups, "hmac_checked": report.hmac_checked,
        }));
    }
    print::line(&format!("VALID: {} records", report.records))?;
    let mut lines = table::Table::new(&["TENANT", "RECORDS", "SEQ", "IN A TREE OF", "SIGNED AT"]);
    for group in &report.groups {
        let runs: Vec<String> = group.seqs.iter().map(|[first, last]| format!("{first}-{last}")).collect();
        let signed_at = group.checkpoint.time.map(bh_domain::time::Timestamp::rfc3339).unwrap_or_default();
        lines.row([
            group.tenant_id.clone(),
            group.records.to_string(),
            shortened(&runs),
            group.checkpoint.size.to_string(),
            signed_at,
        ]);
    }
    lines.print()
}

/// A filtered export may have a run for each record: the first few say enough.
fn shortened(runs: &[String]) -> String {
    const RUNS_SHOWN: usize = 4;
    match runs.get(..RUNS_SHOWN) {
        Some(first) if runs.len() > RUNS_SHOWN => format!("{}, … {} runs", first.join(", "), runs.len()),
        Some(_) | None => runs.join(", "),
    }
}

fn group_json(group: &bh_domain::evidence::export::Summary) -> Value {
    json!({
        "tenant_id": group.tenant_id,
        "nid": group.nid,
        "records": group.records,
        "seqs": group.seqs,
        "tree_size": group.checkpoint.size,
        "signed_at": group.checkpoint.time.map(bh_domain::time::Timestamp::rfc3339),
    })
}

fn bad_record(error: &VerifyError) -> Value {
    match error {
        VerifyError::Record(bad) => json!({
            "index": bad.index, "id": bad.id, "seq": bad.seq, "reason": bad.fault.to_string(),
        }),
        VerifyError::NotAnExport(_)
        | VerifyError::Read(_)
        | VerifyError::Metadata(_)
        | VerifyError::Unsigned
        | VerifyError::WrongKey
        | VerifyError::MetadataSignature
        | VerifyError::Checkpoint { .. }
        | VerifyError::CheckpointOrigin { .. }
        | VerifyError::Digest { .. }
        | VerifyError::Proof { .. } => Value::Null,
    }
}

fn invalid(check: &FileCheck, first_bad: Value, why: Failure) -> Result<(), Failure> {
    if check.json {
        print::json(&json!({ "valid": false, "first_bad": first_bad, "error": why.text() }))?;
    } else {
        print::line("INVALID")?;
    }
    Err(Failure::new(format!("{}: {}", check.file.display(), why.text())))
}

fn verify_talon(check: &FileCheck) -> Result<(), Failure> {
    let key = talon_key(check)?;
    let text = read_bounded(&check.file, TALON_EXPORT_BYTES_MAX)?;
    let report = talon::verify_export(&text, &key)?;
    print::talk(TALON_WARNING);
    if report.is_valid() {
        let records = report.verdicts.len();
        return match check.json {
            true => print::json(&json!({ "valid": true, "records": records, "algorithm": "HMAC-SHA256" })),
            false => print::line(&format!("VALID: {records} records")),
        };
    }
    let Some(bad) = report.first_bad() else {
        let total = report.total_records.unwrap_or_default();
        let found = report.verdicts.len();
        let why = format!("the metadata says {total} records, and there are {found}");
        return invalid(check, Value::Null, Failure::new(why));
    };
    let id = bad.id.as_ref().map(|id| format!(", id {id}")).unwrap_or_default();
    let status = bad.status.as_str();
    let hint = match bad.status {
        talon::Status::InvalidSignature => "; if every record fails so, check TALON_SIGNING_KEY",
        talon::Status::Valid
        | talon::Status::MissingSignature
        | talon::Status::MalformedRecord
        | talon::Status::UnsupportedRecord => "",
    };
    let why = Failure::new(format!("record at index {}{id}: {status}{hint}", bad.index));
    invalid(check, json!({ "index": bad.index, "id": bad.id, "reason": status }), why)
}

fn talon_key(check: &FileCheck) -> Result<HmacKey, Failure> {
    if let Some(path) = &check.hmac_key_file {
        return hmac_key_from_file(path);
    }
    let set = HMAC_KEY_NAMES
        .iter()
        .find_map(|name| std::env::var(name).ok().map(|key| (name, SecretString::from(key))));
    match set {
        Some((name, key)) => hmac_key(name, &key),
        None => Err(Failure::new(
            "a Talon export is verified with its HMAC key: pass --hmac-key-file, or set TALON_SIGNING_KEY",
        )),
    }
}

fn hmac_key_from_file(path: &Path) -> Result<HmacKey, Failure> {
    let text = SecretString::from(read_bounded(path, KEY_FILE_BYTES_MAX)?);
    hmac_key(&path.display().to_string(), &text)
}

fn hmac_key(from: &str, text: &SecretString) -> Result<HmacKey, Failure> {
    // An editor ends a file with a line break, which is no part of the key.
    let key = text.expose_secret().trim_end_matches(['\r', '\n']);
    HmacKey::parse(key).map_err(|error| Failure::new(format!("{from}: {error}")))
}

/// A key as such, or the file that holds it.
fn public_key(given: &str) -> Result<PublicKey, Failure> {
    let Err(error) = PublicKey::parse(given) else { return Ok(PublicKey::parse(given)?) };
    let path = Path::new(given);
    if !path.exists() {
        return Err(Failure::new(format!("--public-key: `{given}` is neither a file nor a key: {error}")));
    }
    let text = read_bounded(path, KEY_FILE_BYTES_MAX)?;
    PublicKey::parse(&text).map_err(|error| Failure::new(format!("{given}: {error}")))
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, Failure> {
    let mut text = String::new();
    let read = open(path)?
        .take(bytes_max + 1)
        .read_to_string(&mut text)
        .map_err(|cause| unreadable(path, &cause))?;
    if read as u64 > bytes_max {
        return Err(Failure::new(format!("{} is larger than {bytes_max} bytes", path.display())));
    }
    Ok(text)
}
