//! What these doors say of themselves.

use bh_app::audit::SeedView;
use bh_app::tenants::TenantView;
use bh_app::usage::{MonthUsage, UsageMetrics};
use bh_domain::refusal::Code;
use bh_domain::tenant::profile::Settings;
use serde_json::{Value, json};

use super::admin::{Created, RotateIn, Rotated, Shown};
use super::keyless::KeylessCalls;
use super::keys::{KeyIn, KeyOut, Revoked};
use super::{admin, audit, keys};
use crate::envelope::{page_shape, shape};
use crate::openapi::{self, Chapter, JSON, Operation, Parameter, Schemas};

const ABOUT: &str = "Customers, administered: each with limits, budgets, keys and an address list of its own. A tenant that \
                     a file names is read-only here.";
const BASE: &str = "/api/v1/admin/tenants";
const SLUG: &str = "^[a-z0-9](?:[a-z0-9-]{0,54}[a-z0-9])?$";

pub(crate) fn chapter() -> Chapter {
    let mut operations = vec![list(), create(), show(), update("PATCH"), update("PUT"), delete()];
    operations.extend([status("suspend"), status("resume"), rotate()]);
    operations.extend([
        list_keys(),
        issue(),
        revoke(),
        trail(),
        own_trail(),
        installation_trail(),
        keyless(),
    ]);
    Chapter::new("Tenants", ABOUT, operations)
}

pub(crate) fn usage_chapter() -> Chapter {
    let month = || {
        let schema =
            json!({"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$", "examples": ["2026-11"]});
        Parameter::of_query("month", "Which month, in UTC; the current one unless told otherwise.", schema)
    };
    let days = || {
        [
            openapi::day("startDate", "First day, in UTC; 30 days unless told otherwise."),
            openapi::day("endDate", "Last day, included."),
        ]
    };
    let usage = |operation: Operation| {
        operation.takes([month()]).tells("200", "The month, with its invoice's lines.", shape::<MonthUsage>)
    };
    let metrics =
        |operation: Operation| operation.takes(days()).tells("200", "What was used.", shape::<UsageMetrics>);
    let of = |path: &str, id: &str, summary: &str| {
        Operation::get(&at(path), id, summary).takes([slug()]).refuses(&[Code::TenantNotFound])
    };
    let operations = vec![
        usage(of("usage", "showTenantUsage", "Show what a tenant used in a month, and what it comes to")),
        metrics(of("metrics", "showTenantMetrics", "Show what a tenant used over days")),
        usage(Operation::get("/api/v1/usage", "showUsage", "Show the asker's own month")),
        metrics(Operation::get("/api/v1/usage/metrics", "showMetrics", "Show what the asker used over days")),
    ];
    let about = "What was used, and what that comes to at the prices in force. An operator has no usage of its own and is \
                 told to name a tenant.";
    Chapter::new("Usage", about, operations)
}

pub(super) fn at(rest: &str) -> String {
    format!("{BASE}/{{id}}/{rest}")
}

pub(super) fn slug() -> Parameter {
    openapi::path(
        "id",
        "The tenant's slug.",
        json!({"type": "string", "minLength": 1, "examples": ["acme-corp"]}),
    )
}

pub(super) fn cursor() -> Parameter {
    openapi::text("cursor", "`metadata.nextCursor` of the page before.")
}

/// What a client calls its request.
fn repeated() -> Parameter {
    openapi::header(
        "Idempotency-Key",
        "Names the request: made again under this name, with the same body and within a day, it is answered as before and \
         makes nothing more.",
    )
}

/// What changes a tenant that is there.
const CHANGED: [Code; 4] = [Code::Forbidden, Code::TenantNotFound, Code::TenantReadOnly, Code::Conflict];

fn list() -> Operation {
    Operation::get(BASE, "listTenants", "List tenants, in order of slugs")
        .takes([
            openapi::number("limit", "How many a page has.", admin::LIMIT_DEFAULT, admin::LIMIT_MAX),
            cursor(),
        ])
        .tells("200", "A page of tenants.", page_shape::<TenantView>)
}

fn create() -> Operation {
    Operation::post(BASE, "createTenant", "Make a tenant and its key")
        .text("The key is told this once. It opens every door at once, on every replica within a second.")
        .takes([repeated()])
        .needs(new_tenant)
        .tells("201", "The tenant, with its key.", shape::<Created<'_>>)
        .refuses(&[
            Code::Forbidden,
            Code::TenantExists,
            Code::HostnameTaken,
            Code::QuotaExceeded,
            Code::Conflict,
        ])
}

/// A tenant's settings under its slug.
fn new_tenant(schemas: &mut Schemas) -> Value {
    schemas.taken_with::<Settings>("TenantCreate", |settings| {
        let slug = json!({
            "type": "string",
            "pattern": SLUG,
            "description": "Its slug: it never changes, and is never used twice.",
            "examples": ["acme-corp"],
        });
        if let Value::Object(members) = &mut settings["properties"] {
            members.shift_insert(0, "id".to_owned(), slug);
        }
        settings["required"] = json!(["id"]);
    })
}

/// A change of settings, merged deeply.
fn change(schemas: &mut Schemas) -> Value {
    schemas.taken::<Settings>()
}

fn show() -> Operation {
    Operation::get(&format!("{BASE}/{{id}}"), "showTenant", "Show a tenant, with what it used this month")
        .takes([slug()])
        .tells("200", "The tenant: what holds in the end, wherever it comes from.", shape::<Shown<'_>>)
        .refuses(&[Code::TenantNotFound])
}

fn update(method: &'static str) -> Operation {
    let (id, summary) = match method {
        "PUT" => ("mergeTenant", "Change a tenant, for clients without PATCH"),
        _ => ("updateTenant", "Change a tenant"),
    };
    Operation::new(method, &format!("{BASE}/{{id}}"), id, summary)
        .text("Merges deeply (RFC 7396): what is not named stays, `null` goes back to the plan's.")
        .takes([slug()])
        .reads(change)
        .tells("200", "The tenant as it is now.", shape::<TenantView>)
        .refuses(&CHANGED)
        .refuses(&[Code::HostnameTaken])
}

fn delete() -> Operation {
    let yes = json!({"enum": [true, 1]});
    let confirmed = Parameter::of_query("confirm", "Deleting cannot be undone.", yes).required();
    Operation::delete(&format!("{BASE}/{{id}}"), "deleteTenant", "Delete a tenant, for good")
        .text("Its keys die, its name stays taken, its evidence can still be proven.")
        .takes([slug(), confirmed])
        .tells("200", "The tenant as it was left.", shape::<TenantView>)
        .refuses(&CHANGED)
}

fn status(verb: &str) -> Operation {
    let (id, summary) = match verb {
        "suspend" => ("suspendTenant", "Refuse a tenant's calls"),
        _ => ("resumeTenant", "Serve a tenant again"),
    };
    Operation::post(&at(verb), id, summary)
        .takes([slug()])
        .tells("200", "The tenant as it is now.", shape::<TenantView>)
        .refuses(&CHANGED)
}

fn rotate() -> Operation {
    Operation::post(&at("rotate-api-key"), "rotateTenantKey", "Give a tenant a new key")
        .text("The old one dies at once, or when its time of grace ends.")
        .takes([slug(), repeated()])
        .reads(Schemas::taken::<RotateIn>)
        .tells("200", "The new key.", shape::<Rotated<'_>>)
        .refuses(&CHANGED)
        .refuses(&[Code::NotFound, Code::FailedPrecondition, Code::QuotaExceeded])
}

fn list_keys() -> Operation {
    Operation::get(&at("api-keys"), "listTenantKeys", "List a tenant's keys")
        .takes([slug()])
        .takes([
            openapi::number("limit", "How many a page has.", keys::LIMIT_DEFAULT, keys::LIMIT_MAX),
            cursor(),
        ])
        .tells("200", "A page of keys, without their texts.", page_shape::<KeyOut<'_>>)
        .refuses(&[Code::TenantNotFound])
}

fn issue() -> Operation {
    Operation::post(&at("api-keys"), "createTenantKey", "Issue a key")
        .takes([slug(), repeated()])
        .needs(Schemas::taken::<KeyIn>)
        .tells("201", "The key, with its text.", shape::<KeyOut<'_>>)
        .refuses(&[Code::Forbidden, Code::TenantNotFound, Code::QuotaExceeded, Code::FailedPrecondition])
        .refuses(&[Code::Conflict])
}

fn revoke() -> Operation {
    Operation::delete(&at("api-keys/{key_id}"), "revokeTenantKey", "Revoke a key")
        .takes([slug()])
        .tells("200", "It is refused from now on.", shape::<Revoked<'_>>)
        .refuses(&[Code::Forbidden, Code::TenantNotFound, Code::NotFound, Code::FailedPrecondition])
}

fn filtered(operation: Operation) -> Operation {
    operation
        .takes([
            openapi::text("action", "Of this kind, such as `tenant.updated`."),
            openapi::text("actor", "By whom."),
            openapi::text("object", "To what."),
            openapi::choice("result", "With this end.", &["success", "denied", "failed"]),
            openapi::choice(
                "format",
                "A page of JSON, or everything as a download.",
                &["json", "ndjson", "csv"],
            ),
            openapi::instant("from", "Not before."),
            openapi::instant("to", "Before."),
            openapi::number("limit", "How many a page has.", audit::LIMIT_DEFAULT, audit::LIMIT_MAX),
            cursor(),
        ])
        .tells_as(
            "200",
            "A page of events, the newest first; or, with `format`, all of them.",
            &[
                (JSON, page_shape::<SeedView>),
                ("application/x-ndjson", |_| json!({"type": "string"})),
                ("text/csv", |_| json!({"type": "string"})),
            ],
        )
}

fn trail() -> Operation {
    let operation = Operation::get(&at("audit"), "listTenantAudit", "List who did what with a tenant");
    filtered(operation.takes([slug()])).refuses(&[Code::TenantNotFound])
}

fn installation_trail() -> Operation {
    let summary = "List what belongs to no tenant: what operators read, who was not known, reloads";
    filtered(Operation::get("/api/v1/admin/audit", "listInstallationAudit", summary))
}

fn keyless() -> Operation {
    let summary = "List who still calls without a key, by address";
    Operation::get(&at("keyless-calls"), "listKeylessCalls", summary)
        .takes([slug()])
        .tells("200", "Those with the most calls first.", shape::<KeylessCalls>)
        .refuses(&[Code::TenantNotFound])
}

fn own_trail() -> Operation {
    filtered(Operation::get("/api/v1/audit", "listAudit", "List who did what with the asker's tenant"))
}
