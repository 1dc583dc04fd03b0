//! What these doors say of themselves.

use bh_app::evidence::{EXPORT_RECORDS_MAX, ExportFormat, PAGE_RECORDS_MAX, TIMELINE_RECORDS_MAX};
use bh_domain::refusal::Code;
use serde_json::{Value, json};

use super::{Checkpoint, ExportBody, LIST_DEFAULT, Listed, Neighbours, TIMELINE_DEFAULT, Traced, Verified};
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

const ABOUT: &str = "What was decided, provable afterwards. A tenant's key reads its own tenant's records, whatever it asks \
                     for; an operator names a tenant, or `*`.";
/// An operator's choice of tenant, on every read.
const TENANT_ID: &str =
    "Which tenant an operator asks about; `*` for all. A tenant's key asks about its own.";

/// Parameters of a read beside the one that names the tenant.
pub(crate) fn read(operation: Operation, parameters: impl IntoIterator<Item = Parameter>) -> Operation {
    operation.takes(parameters).takes([openapi::text("tenant_id", TENANT_ID)])
}

/// A download in one of an export's formats.
pub(crate) fn document(_: &mut Schemas) -> Value {
    json!({})
}

/// A download of lines.
pub(crate) fn lines(_: &mut Schemas) -> Value {
    json!({"type": "string"})
}

pub(crate) fn chapter() -> Chapter {
    Chapter::new(
        "Evidence",
        ABOUT,
        vec![list(), timeline(), export(), checkpoint(), show(), trace(), verify()],
    )
}

fn list() -> Operation {
    let operation = Operation::get("/v1/evidence", "listEvidence", "List records, the newest first").tells(
        "200",
        "A page of the index.",
        Schemas::told::<Listed>,
    );
    read(
        operation,
        [
            openapi::text("agent_id", "Of this caller."),
            openapi::number("limit", "Records of a page.", LIST_DEFAULT, PAGE_RECORDS_MAX),
            openapi::instant("from", "Not before."),
            openapi::instant("to", "Before."),
            openapi::flag("allowed", "Only calls that went ahead, or that did not."),
            openapi::text("model", "Of this model."),
            openapi::text("invocation_type", "Of this kind."),
            openapi::text("session_id", "Of this session."),
            openapi::text("cursor", "`next_cursor` of the page before."),
        ],
    )
}

fn timeline() -> Operation {
    let operation =
        Operation::get("/v1/evidence/timeline", "showTimeline", "Show a record among its neighbours")
            .tells("200", "The record, and those before and after it.", Schemas::told::<Neighbours>)
            .refuses(&[Code::NotFound]);
    let count = |name, text| openapi::count(name, text, TIMELINE_DEFAULT, TIMELINE_RECORDS_MAX);
    let around = openapi::text("around", "The record's id.").required();
    read(operation, [around, count("before", "How many before it."), count("after", "How many after it.")])
}

fn export() -> Operation {
    let text = format!(
        "Streams at most `limit` records, up to {EXPORT_RECORDS_MAX}, as a download in one of the formats `{}`.",
        ExportFormat::NAMES.join("`, `")
    );
    Operation::post("/v1/evidence/export", "exportEvidence", "Export records")
        .text(&text)
        .reads(Schemas::taken::<ExportBody>)
        .tells_as(
            "200",
            "The document.",
            &[("application/json", document), ("text/csv", lines), ("application/x-ndjson", lines)],
        )
        .with_headers(&[("Content-Disposition", "The name of the file.")])
}

fn checkpoint() -> Operation {
    let operation =
        Operation::get("/v1/evidence/checkpoint", "showCheckpoint", "Show the newest signed checkpoint")
            .tells("200", "The checkpoint of one tenant's tree.", Schemas::told::<Checkpoint<'_>>)
            .refuses(&[Code::NotFound]);
    read(operation, [])
}

fn show() -> Operation {
    let operation = Operation::get("/v1/evidence/{id}", "showEvidence", "Show a record")
        .text("Byte for byte as it is stored, or the tombstone that retention has left of it.")
        .tells("200", "The record.", |_| json!({"type": "object"}))
        .refuses(&[Code::NotFound]);
    read(operation, [])
}

fn trace() -> Operation {
    let operation =
        Operation::get("/v1/evidence/{id}/trace", "traceEvidence", "Show a record with its call's others")
            .tells("200", "The record and its call.", Schemas::told::<Traced>)
            .refuses(&[Code::NotFound]);
    read(operation, [])
}

fn verify() -> Operation {
    let operation = Operation::get("/v1/evidence/{id}/verify", "verifyEvidence", "Verify a record")
        .tells("200", "The verdict, with the proof.", Schemas::told::<Verified<'_>>)
        .refuses(&[Code::NotFound]);
    read(operation, [])
}
