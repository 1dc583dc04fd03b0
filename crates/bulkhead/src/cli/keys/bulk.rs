//! `keys import-file`: many keys from a file.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::audit::table::shown;
use crate::cli::client::Api;
use crate::cli::{Failure, print};

const PATH: &str = "/v2alpha1/admin/importedApiKeys:batchCreate";
/// The most keys in one request.
const BATCH_KEYS_MAX: usize = 1_000;
/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Imports every request of a file, a batch after the other, and says which failed.
pub(super) async fn import(api: &Api, file: &Path, as_json: bool) -> Result<(), Failure> {
    let requests = read(file)?;
    let (mut succeeded, mut failures) = (0_u64, Vec::new());
    for (batch, requests) in requests.chunks(BATCH_KEYS_MAX).enumerate() {
        let first = batch * BATCH_KEYS_MAX;
        match requests {
            // Alone, a key is refused with its own reason, also when it is the only one.
            [alone] => match api.post(PATH.trim_end_matches(":batchCreate"), alone).await {
                Ok(_) => succeeded += 1,
                Err(why) => failures.push(json!({ "index": first, "error_message": why.text() })),
            },
            many => {
                let answer = api.post(PATH, &json!({ "requests": many })).await;
                let answer = answer.map_err(|why| {
                    let last = first + many.len() - 1;
                    Failure::new(format!(
                        "{succeeded} keys were imported; then, keys {first} to {last}: {}",
                        why.text()
                    ))
                })?;
                for result in answer["results"].as_array().into_iter().flatten() {
                    if result["error_code"].is_null() {
                        succeeded += 1;
                        continue;
                    }
                    let index = first as u64 + result["index"].as_u64().unwrap_or_default();
                    failures.push(json!({
                        "index": index,
                        "error_code": result["error_code"],
                        "error_message": result["error_message"],
                    }));
                }
            }
        }
    }
    report(succeeded, &failures, as_json)
}

fn report(succeeded: u64, failures: &[Value], as_json: bool) -> Result<(), Failure> {
    if as_json {
        let failed = failures.len();
        print::json(&json!({ "success_count": succeeded, "failure_count": failed, "failures": failures }))?;
    } else {
        print::line(&format!("imported: {succeeded}"))?;
        for failure in failures {
            let why = failure["error_message"].as_str().unwrap_or_default();
            print::line(&format!("failed: key {}: {}", failure["index"], shown(why)))?;
        }
    }
    match failures.len() {
        0 => Ok(()),
        failed => Err(Failure::new(format!("{failed} keys were not imported"))),
    }
}

/// A JSON array, an object with the member `requests`, or an object on each line.
fn read(file: &Path) -> Result<Vec<Value>, Failure> {
    let unreadable = |cause| Failure::new(format!("{} cannot be read: {cause}", file.display()));
    if std::fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} has more than {FILE_BYTES_MAX} bytes", file.display())));
    }
    let text = std::fs::read_to_string(file).map_err(unreadable)?;
    let requests = match serde_json::from_str::<Value>(&text) {
        Ok(Value::Array(requests)) => requests,
        Ok(Value::Object(mut whole)) => match whole.remove("requests") {
            Some(Value::Array(requests)) => requests,
            Some(_) | None => vec![whole.into()],
        },
        Ok(_) | Err(_) => lines(file, &text)?,
    };
    if requests.is_empty() {
        return Err(Failure::new(format!("{} holds no import request", file.display())));
    }
    Ok(requests)
}

fn lines(file: &Path, text: &str) -> Result<Vec<Value>, Failure> {
    let filled = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let parsed = filled.map(|(number, line)| match serde_json::from_str::<Value>(line) {
        Ok(request @ Value::Object(_)) => Ok(request),
        // What stands there may be a key: it is not repeated.
        Ok(_) | Err(_) => {
            Err(Failure::new(format!("{}:{}: expected a JSON object", file.display(), number + 1)))
        }
    });
    parsed.collect()
}
