//! What these doors say of themselves.

use bh_app::audit::{EventView, TrailFormat};
use bh_domain::refusal::Code;
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::checks::{BatchIn as Questions, DeriveIn, DerivedOut, SelfRevokeIn, VerdictOut, VerdictsOut};
use super::credits::UpdateCreditsIn;
use super::identities::{IdentityIn, IdentityOut};
use super::wire::{KeyIn, KeyOut};
use super::{BatchIn as Imports, ImportsOut, IssuedOut, RevokeIn, RotatedOut, asked::VerifyIn};
use crate::evidence::described::lines;
use crate::openapi::{self, Chapter, Operation, Parameter, Schemas};

const ABOUT: &str = "The API-key server's administration, as Talos has it: members are told in snake_case and taken in \
                     lowerCamelCase too, unknown ones are passed over, 64-bit numbers are texts and are taken as numbers \
                     too. Whose keys are meant says the host, an operator's tenant header, or the asking key itself.";
const CREDENTIALS: &str = "Questions about credentials, and what their holders may ask.";
const BASE: &str = "/v2alpha1/admin";

/// What changes something; who only reads may not.
const CHANGED: [Code; 3] = [Code::Forbidden, Code::NotFound, Code::FailedPrecondition];

pub(crate) fn chapter() -> Chapter {
    let mut operations = vec![list(ISSUED), issue()];
    operations.extend(one(ISSUED));
    operations.push(rotate());
    operations.extend([list(IMPORTED), import(), import_batch()]);
    operations.extend(one(IMPORTED));
    operations.extend(identities());
    operations.extend(audit());
    Chapter::new("API keys", ABOUT, operations.into_iter().map(of_tenant).collect())
}

pub(crate) fn credentials_chapter() -> Chapter {
    let mut operations: Vec<Operation> = checks().into_iter().map(of_tenant).collect();
    operations.extend([jwks("/v2alpha1/derivedKeys/jwks.json", "listSigningKeys")]);
    operations.extend([jwks("/.well-known/jwks.json", "listSigningKeysWellKnown"), self_revoke()]);
    Chapter::new("Credentials", CREDENTIALS, operations)
}

/// A kind of keys on the wire.
#[derive(Clone, Copy)]
struct Kind {
    collection: &'static str,
    member: &'static str,
    name: &'static str,
    adjective: &'static str,
}

const ISSUED: Kind = Kind {
    collection: "issuedApiKeys",
    member: "issued_api_keys",
    name: "IssuedApiKey",
    adjective: "issued",
};
const IMPORTED: Kind = Kind {
    collection: "importedApiKeys",
    member: "imported_api_keys",
    name: "ImportedApiKey",
    adjective: "imported",
};

impl Kind {
    fn at(self, rest: &str) -> String {
        format!("{BASE}/{}{rest}", self.collection)
    }
}

/// Operators say in a header whose keys they mean, where the host does not.
fn of_tenant(operation: Operation) -> Operation {
    let text =
        "The tenant an operator means; `default` without it. Its name is `multiTenant.tenantIdHeader`.";
    operation.takes([openapi::header("X-Tenant-ID", text)]).refuses(&[Code::NotFound])
}

/// Pages are asked for under either spelling.
fn paged(operation: Operation, shape: fn(&mut Schemas) -> Value) -> Operation {
    operation
        .takes([
            openapi::page_size("page_size"),
            openapi::text("page_token", "`next_page_token` of the page before."),
            openapi::text("filter", "Which ones, as AIP-160 has it."),
        ])
        .tells("200", "A page.", shape)
}

fn page<T: JsonSchema>(schemas: &mut Schemas, member: &str) -> Value {
    let items = schemas.told::<Vec<T>>();
    let next = json!({"type": "string", "description": "Where the next page begins; empty on the last."});
    json!({
        "type": "object",
        "properties": {member: items, "next_page_token": next},
        "required": [member, "next_page_token"],
    })
}

fn list(kind: Kind) -> Operation {
    let shape: fn(&mut Schemas) -> Value = match kind.member {
        "issued_api_keys" => |schemas| page::<KeyOut<'_>>(schemas, ISSUED.member),
        _ => |schemas| page::<KeyOut<'_>>(schemas, IMPORTED.member),
    };
    let summary = format!("List {} keys", kind.adjective);
    paged(Operation::get(&kind.at(""), &format!("list{}s", kind.name), &summary), shape)
}

fn issue() -> Operation {
    Operation::post(&ISSUED.at(""), "issueApiKey", "Issue a key")
        .text("Its text is told this once. Asked again under the same `request_id`, the same key is told without it.")
        .needs(Schemas::taken::<KeyIn>)
        .tells("201", "The key, with its text.", Schemas::told::<IssuedOut<'_>>)
        .refuses(&[Code::Forbidden, Code::Conflict, Code::FailedPrecondition, Code::QuotaExceeded])
}

fn import() -> Operation {
    Operation::post(&IMPORTED.at(""), "importApiKey", "Take over a key that was made elsewhere")
        .text("As `raw_key`, or as a hash of it (`hashed`).")
        .needs(Schemas::taken::<KeyIn>)
        .tells("201", "The key.", Schemas::told::<KeyOut<'_>>)
        .refuses(&[Code::Forbidden, Code::Conflict, Code::FailedPrecondition, Code::QuotaExceeded])
}

fn import_batch() -> Operation {
    Operation::post(&IMPORTED.at(":batchCreate"), "importApiKeys", "Take over many keys")
        .text(
            "Each by itself: 200 when at least one was taken over, else the refusal that most of them share.",
        )
        .needs(Schemas::taken::<Imports>)
        .tells("200", "What became of each.", Schemas::told::<ImportsOut<'_>>)
        .refuses(&[Code::Forbidden, Code::Conflict, Code::FailedPrecondition, Code::QuotaExceeded])
}

/// What both kinds of keys take.
fn one(kind: Kind) -> Vec<Operation> {
    let at = |verb: &str| kind.at(&format!("/{{key_id}}{verb}"));
    let id = |verb: &str| format!("{verb}{}", kind.name);
    let mask = || {
        let text = "Which members are changed, separated by commas; what the body has not is taken away.";
        openapi::text("update_mask", text)
    };
    let switched = |verb: &str, summary: &str| {
        Operation::post(&at(&format!(":{verb}")), &id(verb), summary)
            .tells("200", "The key as it is now.", Schemas::told::<KeyOut<'_>>)
            .refuses(&CHANGED)
    };
    vec![
        Operation::get(&at(""), &id("show"), "Show a key").tells(
            "200",
            "The key, without its text.",
            Schemas::told::<KeyOut<'_>>,
        ),
        Operation::patch(&at(""), &id("update"), "Change a key")
            .takes([mask()])
            .reads(Schemas::taken::<KeyIn>)
            .tells("200", "The key as it is now.", Schemas::told::<KeyOut<'_>>)
            .refuses(&CHANGED),
        Operation::delete(&at(""), &id("delete"), "Delete a key, and what is known of it")
            .tells_nothing("204", "It is gone.")
            .refuses(&CHANGED),
        Operation::post(&at(":revoke"), &id("revoke"), "Revoke a key")
            .needs(Schemas::taken::<RevokeIn>)
            .tells_nothing("204", "It is refused from now on, everywhere within a second.")
            .refuses(&CHANGED)
            .refuses(&[Code::Conflict]),
        switched("enable", "Let a key work again that was disabled"),
        switched("disable", "Let a key not work, until it is enabled"),
        Operation::post(&at(":updateCredits"), &id("updateCreditsOf"), "Change a key's credits")
            .needs(Schemas::taken::<UpdateCreditsIn>)
            .tells("200", "The key as it is now.", Schemas::told::<KeyOut<'_>>)
            .refuses(&CHANGED),
    ]
}

fn rotate() -> Operation {
    Operation::post(&ISSUED.at("/{key_id}:rotate"), "rotateIssuedApiKey", "Issue a key in place of another")
        .text("The old one is refused at once, or after `grace_ttl`.")
        .reads(Schemas::taken::<KeyIn>)
        .tells("201", "The new key, with its text, and the old one.", Schemas::told::<RotatedOut<'_>>)
        .refuses(&CHANGED)
        .refuses(&[Code::Conflict, Code::QuotaExceeded])
}

fn identities() -> Vec<Operation> {
    let (all, one) = (format!("{BASE}/identities"), format!("{BASE}/identities/{{identity_id}}"));
    let told = |operation: Operation, status| {
        operation.tells(status, "The identity.", Schemas::told::<IdentityOut<'_>>)
    };
    let mask = openapi::text("update_mask", "`metadata`, `rate_limits` or both, separated by a comma.");
    vec![
        paged(Operation::get(&all, "listIdentities", "List identities"), |schemas| {
            page::<IdentityOut<'_>>(schemas, "identities")
        }),
        told(Operation::post(&all, "createIdentity", "Make an identity"), "201")
            .needs(Schemas::taken::<IdentityIn>)
            .refuses(&CHANGED)
            .refuses(&[Code::Conflict, Code::QuotaExceeded]),
        told(Operation::get(&one, "showIdentity", "Show an identity"), "200"),
        told(Operation::patch(&one, "updateIdentity", "Change an identity"), "200")
            .takes([mask])
            .reads(Schemas::taken::<IdentityIn>)
            .refuses(&CHANGED)
            .refuses(&[Code::Conflict]),
        Operation::delete(&one, "deleteIdentity", "Delete an identity")
            .tells_nothing("204", "It is gone.")
            .refuses(&CHANGED),
    ]
}

fn audit() -> [Operation; 2] {
    let order = || openapi::text("order_by", "`create_time desc`, which is usual, or `create_time`.");
    let at = |rest: &str| format!("{BASE}/auditEvents{rest}");
    let list = Operation::get(&at(""), "listKeyAudit", "List what was done with keys");
    let formats = openapi::choice("format", "`ndjson` unless told otherwise.", TrailFormat::NAMES);
    let filter: Parameter = openapi::text("filter", "Which ones, as AIP-160 has it.");
    [
        paged(list, |schemas| page::<EventView>(schemas, "audit_events")).takes([order()]),
        Operation::get(&at(":export"), "exportKeyAudit", "Export what was done with keys")
            .takes([formats, filter, order()])
            .tells_as("200", "The document.", &[("application/x-ndjson", lines), ("text/csv", lines)])
            .with_headers(&[("Content-Disposition", "The name of the file.")]),
    ]
}

fn checks() -> Vec<Operation> {
    let at = |rest: &str| format!("{BASE}/{rest}");
    let cache = [("Ory-Talos-Cache", "`HIT`, `MISS` or `BYPASS`: whether the verdict was in memory.")];
    vec![
        Operation::post(&at("apiKeys:verify"), "verifyCredential", "Verify a credential")
            .text("Every verdict is a 200. `Cache-Control: no-cache` asks the store.")
            .reads(Schemas::taken::<VerifyIn>)
            .tells("200", "The verdict.", Schemas::told::<VerdictOut<'_>>)
            .with_headers(&cache)
            .refuses(&[Code::Forbidden]),
        Operation::post(&at("apiKeys:batchVerify"), "verifyCredentials", "Verify many credentials")
            .needs(Schemas::taken::<Questions>)
            .tells("200", "A verdict for each, in order.", Schemas::told::<VerdictsOut<'_>>)
            .refuses(&[Code::Forbidden]),
        Operation::post(&at("apiKeys:derive"), "deriveToken", "Derive a short-lived token from a key")
            .needs(Schemas::taken::<DeriveIn>)
            .tells("200", "The token.", Schemas::told::<DerivedOut<'_>>)
            .refuses(&[
                Code::Unauthorized,
                Code::Forbidden,
                Code::IpNotAllowed,
                Code::RateLimited,
                Code::CredentialRequired,
                Code::FailedPrecondition,
            ]),
        Operation::post(&at("derivedTokens/{jti}:revoke"), "revokeToken", "Revoke one token")
            .tells_nothing("204", "It is refused from now on.")
            .refuses(&[Code::Forbidden]),
    ]
}

fn jwks(path: &str, id: &str) -> Operation {
    Operation::get(path, id, "List the public keys that tokens are signed with")
        .takes([openapi::header("If-None-Match", "An `ETag` of an earlier answer.")])
        .tells("200", "A JSON Web Key Set.", |schemas| {
            schemas.written("JsonWebKeySet", |_| {
                let key = json!({"type": "object", "description": "RFC 7517.", "required": ["kty"]});
                let keys = json!({"type": "array", "items": key});
                json!({"type": "object", "properties": {"keys": keys}, "required": ["keys"]})
            })
        })
        .with_headers(&[("ETag", "Names this answer."), ("Cache-Control", "For how long it may be kept.")])
        .tells_nothing("304", "It is as it was.")
        .refuses(&[Code::NotFound, Code::EvidenceUnavailable])
}

fn self_revoke() -> Operation {
    Operation::post("/v2alpha1/apiKeys:selfRevoke", "revokeOwnKey", "End a key that one holds")
        .needs(Schemas::taken::<SelfRevokeIn>)
        .tells("200", "It is refused from now on.", |_| json!({"type": "object"}))
        .refuses(&[
            Code::NotFound,
            Code::CredentialRequired,
            Code::DerivedTokenNotRevocable,
            Code::Unauthorized,
            Code::ApiKeyExpired,
            Code::ApiKeyRevoked,
            Code::Forbidden,
            Code::IpNotAllowed,
            Code::Conflict,
            Code::EvidenceUnavailable,
            Code::StoreTimeout,
        ])
}
