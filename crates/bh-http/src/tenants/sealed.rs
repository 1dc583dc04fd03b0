//! What the doors of the sealed store say of themselves.

use bh_app::vault::{CredentialsView, DataKeyRotation, MasterRotation, MasterStatus, SecretView};
use bh_domain::refusal::Code;
use serde_json::{Value, json};

use super::described::{at, cursor, slug};
use super::secrets;
use crate::envelope::{page_shape, shape};
use crate::masters::{self, Checked};
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

const ABOUT: &str = "What tenants entrust to the gateway, sealed by data keys of their own, which the master key wraps. No \
                     answer ever holds a value.";
const ONE: &str = "secrets/{name}";
const CREDENTIALS: &str = "oauth/{integration}/credentials";
const MASTER: &str = "/api/v1/admin/secrets/master-key";
const ROTATE: &str = "/api/v1/admin/secrets/rotate-master";
const VERIFY: &str = "/api/v1/admin/secrets/verify";
/// What sealing and opening can come to.
const KEYS: [Code; 2] = [Code::TenantNotFound, Code::MasterKeyUnknown];
/// What changing something can.
const CHANGED: [Code; 2] = [Code::Forbidden, Code::Conflict];

pub(crate) fn chapter() -> Chapter {
    let operations = [
        list(),
        show(),
        put(),
        delete(),
        rotate_data_key(),
        credentials(),
        store(),
        forget(),
        status(),
        rotate(),
        verify(),
    ];
    Chapter::new("Secrets of tenants", ABOUT, operations.into())
}

fn name() -> Parameter {
    openapi::path(
        "name",
        "The secret's name.",
        json!({"type": "string", "minLength": 1, "examples": ["github/token"]}),
    )
}

fn integration() -> Parameter {
    openapi::path(
        "integration",
        "The integration.",
        json!({"type": "string", "minLength": 1, "examples": ["github"]}),
    )
}

fn list() -> Operation {
    Operation::get(&at("secrets"), "listTenantSecrets", "List a tenant's secrets by name")
        .takes([
            slug(),
            openapi::number("limit", "How many a page has.", secrets::LIMIT_DEFAULT, secrets::LIMIT_MAX),
            cursor(),
        ])
        .tells("200", "A page of names, and what is said of each.", page_shape::<SecretView>)
        .refuses(&KEYS)
}

fn show() -> Operation {
    Operation::get(&at(ONE), "showTenantSecret", "Show what is known of a secret")
        .takes([slug(), name()])
        .tells("200", "Everything but its value.", shape::<SecretView>)
        .refuses(&KEYS)
        .refuses(&[Code::NotFound])
}

fn put() -> Operation {
    Operation::new("PUT", &at(ONE), "putTenantSecret", "Store a secret")
        .takes([slug(), name()])
        .needs(secret)
        .tells("200", "It took the place of an older one.", shape::<SecretView>)
        .tells("201", "It is new.", shape::<SecretView>)
        .refuses(&KEYS)
        .refuses(&CHANGED)
        .refuses(&[Code::QuotaExceeded])
}

fn delete() -> Operation {
    Operation::delete(&at(ONE), "deleteTenantSecret", "Remove a secret")
        .takes([slug(), name()])
        .tells("200", "It is gone.", |schemas| removed(schemas, "RemovedSecret", &["name"]))
        .refuses(&KEYS)
        .refuses(&CHANGED)
        .refuses(&[Code::NotFound])
}

fn rotate_data_key() -> Operation {
    Operation::post(&at("rotate-data-key"), "rotateTenantDataKey", "Give a tenant a new data key")
        .text("Its secrets are sealed anew with it.")
        .takes([slug()])
        .tells("200", "The key's version, and how many secrets it seals.", shape::<DataKeyRotation>)
        .refuses(&KEYS)
        .refuses(&CHANGED)
}

fn credentials() -> Operation {
    Operation::get(&at(CREDENTIALS), "showTenantCredentials", "Show what is known of an integration's tokens")
        .takes([slug(), integration()])
        .tells("200", "Everything but the tokens.", shape::<CredentialsView>)
        .refuses(&KEYS)
        .refuses(&[Code::FeatureDisabled, Code::NotFound])
}

fn store() -> Operation {
    Operation::new("PUT", &at(CREDENTIALS), "storeTenantCredentials", "Store an integration's tokens")
        .takes([slug(), integration()])
        .needs(tokens)
        .tells("201", "They are sealed.", shape::<CredentialsView>)
        .refuses(&KEYS)
        .refuses(&CHANGED)
        .refuses(&[Code::FeatureDisabled, Code::QuotaExceeded])
}

fn forget() -> Operation {
    Operation::delete(&at(CREDENTIALS), "deleteTenantCredentials", "Forget an integration's tokens")
        .takes([slug(), integration()])
        .tells("200", "They are gone.", |schemas| {
            removed(schemas, "RemovedCredentials", &["tenantId", "integration"])
        })
        .refuses(&KEYS)
        .refuses(&CHANGED)
        .refuses(&[Code::NotFound])
}

fn status() -> Operation {
    Operation::get(MASTER, "showMasterKey", "Show which master keys there are, by their ids")
        .tells(
            "200",
            "The one in force, the one that this gateway would put in force, and others.",
            shape::<MasterStatus>,
        )
        .refuses(&[Code::MasterKeyUnknown])
}

fn rotate() -> Operation {
    Operation::post(ROTATE, "rotateMasterKey", "Wrap every key by another master key, or forget older ones")
        .reads(Schemas::taken::<masters::RotateIn>)
        .tells("200", "What was wrapped anew, and opened.", shape::<MasterRotation>)
        .refuses(&CHANGED)
        .refuses(&[Code::MasterKeyUnknown, Code::FailedPrecondition])
}

fn verify() -> Operation {
    Operation::post(VERIFY, "verifySecrets", "Open everything that is sealed, and name what does not open")
        .tells("200", "What was opened, and what was not.", shape::<Checked>)
        .refuses(&[Code::Forbidden, Code::MasterKeyUnknown])
}

fn secret(schemas: &mut Schemas) -> Value {
    schemas.written("SecretIn", |_| {
        json!({
            "type": "object",
            "properties": {
                "value": {"type": "string", "description": "What is sealed; at most 64 KiB."},
                "metadata": {"type": ["object", "null"], "description": "What is told of it; at most 4 KiB."},
            },
            "required": ["value"],
            "additionalProperties": false,
        })
    })
}

fn tokens(schemas: &mut Schemas) -> Value {
    schemas.written("CredentialsIn", |_| {
        let text = json!({"type": ["string", "null"]});
        json!({
            "type": "object",
            "properties": {
                "accessToken": {"type": "string"},
                "refreshToken": text,
                "expiresAt": {"type": ["string", "null"], "format": "date-time"},
                "scopes": {"type": ["array", "null"], "items": {"type": "string"}},
                "tokenType": text,
            },
            "required": ["accessToken"],
            "additionalProperties": false,
        })
    })
}

/// What is told of something that was removed.
fn removed(schemas: &mut Schemas, name: &str, texts: &[&str]) -> Value {
    let data = schemas.written(name, |_| {
        let named = texts.iter().map(|text| ((*text).to_owned(), json!({"type": "string"})));
        let mut members: serde_json::Map<String, Value> = named.collect();
        members.insert("deleted".to_owned(), json!({"const": true}));
        let required: Vec<&String> = members.keys().collect();
        json!({"type": "object", "properties": members, "required": required})
    });
    crate::envelope::around(schemas, &data)
}
