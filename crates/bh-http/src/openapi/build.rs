//! Puts the document together.

use bh_app::identity::Access;
use bh_domain::refusal::Code;
use serde_json::{Map, Value, json};

use super::errors::{self, Voice};
use super::operation::{Answer, Body, Chapter, Operation, Parameter, Place};
use super::schemas::Schemas;
use crate::matrix::{MATRIX, METRICS, Row};

const VERSION: &str = "3.1.0";
const ABOUT: &str = "\
One gateway for LLM calls, MCP tools and API keys on one tenancy core.

Keys stand in headers, never in a URL. What answers `GET` answers `HEAD` too. Names that the seeds know are taken beside \
ours: `X-Talon-Key`, `X-Talon-Admin-Key`, `X-Talon-Session-Id`. Operations that are `planned` authenticate today and then \
answer 501.";

/// Components that no type stands for: what the headers say.
const HEADERS: &[(&str, &str)] = &[
    ("X-Request-Id", "Names the request in logs, in evidence and to support."),
    ("WWW-Authenticate", "What the route takes: `Bearer realm=\"bulkhead\"`."),
    ("Retry-After", "Seconds after which a retry makes sense."),
    ("X-RateLimit-Limit", "How many requests the limit that is nearest allows."),
    ("X-RateLimit-Remaining", "How many of them are left."),
    ("X-RateLimit-Reset", "When all of them are back, in seconds since 1970."),
    ("RateLimit", "What is left of the limit (IETF draft)."),
    ("RateLimit-Policy", "The limit (IETF draft)."),
];

const TENANT_KEYS: [&str; 4] = ["tenantKey", "tenantKeyHeader", "xApiKey", "apiKey"];
const ADMIN_KEYS: [&str; 2] = ["adminKey", "adminKeyHeader"];

/// The document.
pub(super) fn document(chapters: &[Chapter]) -> Value {
    let (mut schemas, mut shared, mut paths) = (Schemas::default(), Map::new(), Map::new());
    for chapter in chapters {
        for operation in &chapter.operations {
            let Some(row) = row_of(operation) else { continue };
            let told = told(chapter, operation, &row, &mut schemas, &mut shared);
            let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
            path[operation.method.to_ascii_lowercase()] = told;
        }
    }
    shared.sort_keys();
    let headers = HEADERS
        .iter()
        .map(|(name, text)| ((*name).to_owned(), json!({"description": text, "schema": {"type": "string"}})));
    let mut document = json!({
        "openapi": VERSION,
        "info": {
            "title": "Bulkhead",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": chapters.iter().map(|chapter| json!({"name": chapter.name, "description": chapter.text})).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": {},
            "responses": shared,
            "headers": headers.collect::<Map<_, _>>(),
            "securitySchemes": security_schemes(),
        },
    });
    schemas.finish(&mut document);
    document
}

/// The row of the matrix that an operation is of. A verb after a parameter is the handler's.
pub(super) fn row_of(operation: &Operation) -> Option<Row> {
    let rows = MATRIX.iter().chain([&METRICS]);
    let path = operation.path.as_str();
    let bare = path.rsplit_once("}:").map_or_else(|| path.to_owned(), |(before, _)| format!("{before}}}"));
    let mut rows = rows.filter(|row| row.accepted().any(|method| method == operation.method));
    let found = rows.clone().find(|row| plain(row.path) == path);
    found.or_else(|| rows.find(|row| plain(row.path) == bare)).copied()
}

/// A path of the matrix as OpenAPI writes it.
pub(super) fn plain(path: &str) -> String {
    path.replace("{*", "{")
}

fn told(
    chapter: &Chapter,
    operation: &Operation,
    row: &Row,
    schemas: &mut Schemas,
    shared: &mut Map<String, Value>,
) -> Value {
    let mut told = json!({
        "operationId": operation.id,
        "tags": [chapter.name],
        "summary": operation.summary,
    });
    if !operation.text.is_empty() {
        told["description"] = operation.text.as_str().into();
    }
    if let Some(with) = operation.arrives_with {
        told["x-bulkhead-status"] = "planned".into();
        told["x-bulkhead-arrives-with"] = with.into();
    }
    told["security"] = security(row);
    let parameters = parameters_of(operation);
    if !parameters.is_empty() {
        told["parameters"] = parameters.into();
    }
    if let Some(body) = &operation.body {
        told["requestBody"] = read(body, schemas);
    }
    let mut answers = Map::new();
    for answer in &operation.answers {
        answers.insert(answer.status.to_owned(), answered(answer, schemas));
    }
    let mut codes: Vec<Code> = errors::of_row(row, operation.body.is_some());
    codes.extend_from_slice(&operation.refuses);
    for (status, refusal) in
        errors::refusals((Voice::of(row), errors::passes_on(row)), &codes, schemas, shared)
    {
        // What a handler says itself of a status goes before.
        answers.entry(status).or_insert(refusal);
    }
    told["responses"] = Value::Object(answers);
    told
}

fn read(body: &Body, schemas: &mut Schemas) -> Value {
    let schema = (body.shape)(schemas);
    let content = json!({body.media_type: {"schema": schema}});
    if body.required { json!({"required": true, "content": content}) } else { json!({"content": content}) }
}

fn answered(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut told = json!({"description": answer.text});
    let mut headers = Map::from_iter([("X-Request-Id".to_owned(), header("X-Request-Id"))]);
    for (name, text) in &answer.headers {
        headers.insert((*name).to_owned(), json!({"description": text, "schema": {"type": "string"}}));
    }
    told["headers"] = Value::Object(headers);
    for (media_type, shape) in &answer.content {
        told["content"][*media_type] = json!({"schema": shape(schemas)});
    }
    told
}

/// A reference to one of [`HEADERS`].
pub(super) fn header(name: &str) -> Value {
    debug_assert!(HEADERS.iter().any(|(known, _)| *known == name), "{name}");
    json!({"$ref": format!("#/components/headers/{name}")})
}

/// The path's parameters in its order, then those that the operation names.
fn parameters_of(operation: &Operation) -> Vec<Value> {
    let own = |name: &str| operation.parameters.iter().find(|p| p.place == Place::Path && p.name == name);
    let names =
        operation.path.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(name, _)| name);
    let of_path = names.map(|name| own(name).map_or_else(|| of_name(name), parameter));
    let others = operation.parameters.iter().filter(|p| p.place != Place::Path).map(parameter);
    of_path.chain(others).collect()
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, place, required, text, schema } = parameter;
    let mut told = json!({"name": name, "in": place.as_str(), "description": text, "schema": schema});
    match (required, place) {
        (true, _) => told["required"] = true.into(),
        // Empty is as good as absent.
        (false, Place::Query) => told["allowEmptyValue"] = true.into(),
        (false, Place::Path | Place::Header) => {}
    }
    told
}

/// What a parameter of a path is, by its name.
fn of_name(name: &str) -> Value {
    let text = match name {
        "tenant" => "The tenant's slug.",
        "rest" => "Whatever follows, slashes included.",
        "provider" => "The name of a configured provider.",
        _ => "Its id.",
    };
    let schema = json!({"type": "string", "minLength": 1});
    json!({"name": name, "in": Place::Path.as_str(), "required": true, "description": text, "schema": schema})
}

fn security(row: &Row) -> Value {
    let one = |name: &&str| json!({*name: []});
    let tenant = || TENANT_KEYS.iter().map(one);
    let admin = || ADMIN_KEYS.iter().map(one);
    match row.access {
        Access::Open => json!([]),
        Access::Tenant => tenant().collect(),
        Access::TenantOrAdmin | Access::KeyAdmin => admin().chain(tenant()).collect(),
        Access::Admin => admin().collect(),
    }
}

fn security_schemes() -> Value {
    let bearer = |text: &str| json!({"type": "http", "scheme": "bearer", "description": text});
    let header =
        |name: &str, text: &str| json!({"type": "apiKey", "in": "header", "name": name, "description": text});
    json!({
        "tenantKey": bearer("A tenant's key. On `/v2alpha1/admin/*` one with the scope `keys`."),
        "tenantKeyHeader": header("X-Bulkhead-Key", "The same, as a header of its own. Wins over `Authorization`."),
        "xApiKey": header("x-api-key", "The same, where Anthropic's clients put it."),
        "apiKey": header("api-key", "The same, where Azure's clients put it."),
        "adminKey": bearer("An operator's key."),
        "adminKeyHeader": header("X-Bulkhead-Admin-Key", "The same, as a header of its own. Wins over `Authorization`."),
    })
}
