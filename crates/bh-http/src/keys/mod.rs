//! The API-key server's routes (Talos dossier §2.2): translate, ask the story, translate back.

mod asked;
mod audit;
mod checks;
mod credits;
mod described;
mod headers;
mod identities;
mod int64;
mod named;
mod pages;
mod wire;

use std::sync::Arc;

use axum::response::Response;
use bh_app::identity::Principal;
use bh_app::keys::{Asker, IMPORTS_MAX, Import, ImportFaultKind, KeyStory, Material, Revoke, Rotate};
use bh_app::snapshot::Tenant;
use bh_domain::keys::key::{Key, KeyKind};
use bh_domain::keys::mask::UpdateMask;
use bh_domain::keys::verdict::RevocationReason;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{DEFAULT_TENANT, Role, TenantId};
use http::{Method, StatusCode};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::ask::Ask;
use crate::object::Object;
use crate::respond;
use credits::UpdateCreditsIn;
use wire::{CREDITS, KeyIn, KeyOut, credits_stay, invalid, lifetime};

pub(crate) use audit::{export as audit_export, list as audit_list};
pub(crate) use checks::{CACHE_USE, batch_verify, derive, is_bypass, jwks, self_revoke, verify};
pub(crate) use described::{chapter, credentials_chapter};
pub(crate) use headers::ApiHeaders;
pub(crate) use identities::{identities, identity};

/// Who administers keys where nobody has to prove anything: a loopback listener without admin keys (seed 003).
const ANYBODY: &str = "anonymous";
/// Why an operator may end a key.
const REASONS: [&str; 4] = [
    RevocationReason::KeyCompromise.as_str(),
    RevocationReason::AffiliationChanged.as_str(),
    RevocationReason::Superseded.as_str(),
    RevocationReason::PrivilegeWithdrawn.as_str(),
];
/// The largest body of a batch of imports: [`IMPORTS_MAX`] keys of the longest text fit, or shorter ones with metadata.
const IMPORTS_BYTES_MAX: usize = 16 * 1024 * 1024;

impl Ask {
    /// Who asks, and in whose tenant: the host's; without tenancy by host the one an operator names in the tenant
    /// header, or `default`.
    fn asker(&self) -> Result<Asker, Refusal> {
        let tenant = match self.host.tenant()? {
            Some(tenant) => Arc::clone(tenant),
            None => self.named_tenant()?,
        };
        let (actor, role) = match &self.principal {
            Some(Principal::Operator(operator)) => (operator.name.clone(), role_text(operator.role)),
            Some(Principal::Caller(caller)) => (caller.name.clone(), "tenant"),
            None => (ANYBODY.to_owned(), "open"),
        };
        Ok(Asker { tenant, actor, role, origin: Arc::clone(&self.origin) })
    }

    fn named_tenant(&self) -> Result<Arc<Tenant>, Refusal> {
        let header = &self.snapshot.tenant_header;
        let name = match (&self.principal, self.parts.headers.get(header)) {
            (Some(Principal::Caller(caller)), _) => return Ok(Arc::clone(&caller.tenant)),
            (Some(Principal::Operator(_)), Some(name)) => name.to_str().unwrap_or_default(),
            (Some(Principal::Operator(_)) | None, _) => DEFAULT_TENANT,
        };
        let tenant = TenantId::parse(name).ok().and_then(|id| self.snapshot.tenant(&id));
        tenant.ok_or_else(|| {
            Refusal::new(Code::NotFound, format!("The header {header} names no tenant of this gateway"))
        })
    }

    /// As [`Ask::asker`], for what changes something: that is not for those who only read.
    fn changer(&self) -> Result<Asker, Refusal> {
        match &self.principal {
            Some(Principal::Operator(operator)) if operator.role != Role::Admin => {
                let message = "This admin key may read, and not change anything: use one with the role admin";
                Err(Refusal::new(Code::Forbidden, message))
            }
            Some(Principal::Operator(_) | Principal::Caller(_)) | None => self.asker(),
        }
    }

    fn keys(&self) -> KeyStory {
        self.doors.keys.clone()
    }
}

pub(crate) fn role_text(role: Role) -> &'static str {
    match role {
        Role::Admin => "admin",
        Role::Reviewer => "reviewer",
        Role::Viewer => "viewer",
    }
}

/// A new key, with its text.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IssuedApiKey")]
struct IssuedOut<'k> {
    issued_api_key: KeyOut<'k>,
    /// Its text, told this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'k str>,
}

/// A key in place of another.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RotatedApiKey")]
struct RotatedOut<'k> {
    issued_api_key: KeyOut<'k>,
    /// Its text, told this once.
    secret: &'k str,
    old_issued_api_key: KeyOut<'k>,
}

/// What became of one key of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyImport")]
struct ImportOut<'k> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    imported_api_key: Option<KeyOut<'k>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'k str>,
}

/// What became of a batch.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "KeyImportsDone")]
struct ImportsOut<'k> {
    results: Vec<ImportOut<'k>>,
    success_count: usize,
    failure_count: usize,
}

/// `issuedApiKeys`: the list, or a new key.
pub(crate) async fn issued(mut ask: Ask) -> Result<Response, Refusal> {
    if ask.parts.method != Method::POST {
        return list(ask, KeyKind::Issued).await;
    }
    let asker = ask.changer()?;
    let body: KeyIn = ask.json().await?;
    let issued = ask.keys().issue(&asker, body.issue()?).await?;
    let secret = issued.secret.as_ref().map(|secret| secret.expose_secret());
    let told = IssuedOut { issued_api_key: told(&ask, &issued.key)?, secret };
    respond::json_with(StatusCode::CREATED, &told)
}

/// `importedApiKeys`: the list, or a key that comes from elsewhere.
pub(crate) async fn imported(mut ask: Ask) -> Result<Response, Refusal> {
    if ask.parts.method != Method::POST {
        return list(ask, KeyKind::Imported).await;
    }
    let asker = ask.changer()?;
    let body: KeyIn = ask.json().await?;
    let key = ask.keys().import(&asker, import(body)?).await?;
    respond::json_with(StatusCode::CREATED, &told(&ask, &key)?)
}

/// `issuedApiKeys/{key_id}`, with or without a verb.
pub(crate) async fn issued_one(ask: Ask) -> Result<Response, Refusal> {
    one(ask, KeyKind::Issued).await
}

/// `importedApiKeys/{key_id}`, with or without a verb.
pub(crate) async fn imported_one(ask: Ask) -> Result<Response, Refusal> {
    one(ask, KeyKind::Imported).await
}

async fn one(mut ask: Ask, kind: KeyKind) -> Result<Response, Refusal> {
    let path = ask.path("key_id").to_owned();
    let (key_id, verb) = path.split_once(':').map_or((path.as_str(), None), |(id, verb)| (id, Some(verb)));
    let method = ask.parts.method.clone();
    match (method.as_str(), verb) {
        ("GET" | "HEAD", None) => {
            let key = ask.keys().get(&ask.asker()?, kind, key_id).await?;
            respond::json(&told(&ask, &key)?)
        }
        ("PATCH", None) => update(ask, kind, key_id).await,
        ("DELETE", None) => {
            ask.keys().delete(&ask.changer()?, kind, key_id).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        ("POST", Some("revoke")) => {
            let asker = ask.changer()?;
            let body: RevokeIn = ask.json().await?;
            ask.keys().revoke(&asker, kind, key_id, body.read()?).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        ("POST", Some("rotate")) if kind == KeyKind::Issued => rotate(ask, key_id).await,
        ("POST", Some(verb @ ("enable" | "disable"))) => {
            let key = ask.keys().set_enabled(&ask.changer()?, kind, key_id, verb == "enable").await?;
            respond::json(&told(&ask, &key)?)
        }
        ("POST", Some("updateCredits")) => {
            let asker = ask.changer()?;
            let body: UpdateCreditsIn = ask.json().await?;
            let key = ask.keys().update_credits(&asker, kind, key_id, body.read()?).await?;
            respond::json(&told(&ask, &key)?)
        }
        (_, Some(_)) => Err(Refusal::new(Code::NotFound, "No such route")),
        (_, None) => Err(Refusal::new(Code::MethodNotAllowed, "This route does not take this method")),
    }
}

/// `derivedTokens/{jti}:revoke`: one token is refused from now on.
pub(crate) async fn derived_token(ask: Ask) -> Result<Response, Refusal> {
    match ask.path("jti").rsplit_once(':') {
        Some((jti, "revoke")) => {
            ask.keys().deny_token(&ask.changer()?, jti).await?;
            Ok(respond::empty(StatusCode::NO_CONTENT))
        }
        Some(_) | None => Err(Refusal::new(Code::NotFound, "No such route")),
    }
}

async fn update(mut ask: Ask, kind: KeyKind, key_id: &str) -> Result<Response, Refusal> {
    let asker = ask.changer()?;
    let query = ask.query()?;
    let mask = query.text("update_mask").or_else(|| query.text("updateMask")).unwrap_or_default();
    if mask.split(',').any(|path| path.trim() == CREDITS) {
        return Err(credits_stay());
    }
    let mask = UpdateMask::parse(mask).map_err(|error| invalid("update_mask", error))?;
    let body: KeyIn = ask.json().await?;
    let key = ask.keys().update(&asker, kind, key_id, body.update(mask)?).await?;
    respond::json(&told(&ask, &key)?)
}

async fn rotate(mut ask: Ask, key_id: &str) -> Result<Response, Refusal> {
    let asker = ask.changer()?;
    let body: KeyIn = ask.json().await?;
    body.leaves_credits()?;
    let rotate = Rotate {
        visibility: wire::asked_visibility(&body)?,
        grace: lifetime("grace_ttl", body.grace_ttl.as_deref())?,
        change: body.change()?,
    };
    let rotated = ask.keys().rotate(&asker, key_id, rotate).await?;
    let answer = RotatedOut {
        issued_api_key: told(&ask, &rotated.new)?,
        secret: rotated.secret.expose_secret(),
        old_issued_api_key: told(&ask, &rotated.old)?,
    };
    respond::json_with(StatusCode::CREATED, &answer)
}

async fn list(ask: Ask, kind: KeyKind) -> Result<Response, Refusal> {
    let query = ask.query()?;
    let (size, token) = pages::wanted(&query)?;
    let filter = pages::named(&query, "filter", "filter");
    let page = ask.keys().list(&ask.asker()?, kind, size, token, filter).await?;
    let now = ask.doors.clock.now();
    let keys: Vec<KeyOut<'_>> = page.keys.iter().map(|key| KeyOut::of(key, now)).collect::<Result<_, _>>()?;
    let member = match kind {
        KeyKind::Issued => "issued_api_keys",
        KeyKind::Imported => "imported_api_keys",
    };
    pages::page(member, &keys, page.next)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "KeyRevocation", extend("required" = ["reason"]))]
struct RevokeIn {
    #[schemars(required, extend("enum" = REASONS))]
    reason: Option<String>,
    #[serde(alias = "revocationDescription", alias = "revocation_reason_text")]
    description: Option<String>,
    #[serde(alias = "revokeDerived")]
    revoke_derived: Option<bool>,
}

impl RevokeIn {
    fn read(self) -> Result<Revoke, Refusal> {
        Ok(Revoke {
            reason: wire::reason(self.reason.as_deref())?,
            description: self.description,
            derived: self.revoke_derived.unwrap_or(false),
        })
    }
}

fn import(mut body: KeyIn) -> Result<Import, Refusal> {
    let raw = body.raw_key.take().filter(|raw| !raw.is_empty());
    let material = match (raw, body.hashed.take()) {
        (Some(_), Some(_)) => {
            return Err(invalid("hashed", "a key is given as `raw_key` or as `hashed`, not as both"));
        }
        (None, Some(Object(hashed))) => Material::Hashed(hashed.read()?),
        (raw, None) => Material::Raw(raw.unwrap_or_default().into()),
    };
    let ttl = lifetime("ttl", body.ttl.as_deref())?;
    Ok(Import { material, ttl, attributes: body.attributes()? })
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "KeyImports", extend("required" = ["requests"]))]
struct BatchIn {
    #[schemars(with = "Vec<KeyIn>", length(min = 1, max = IMPORTS_MAX))]
    requests: Option<Vec<Box<RawValue>>>,
}

/// `importedApiKeys:batchCreate`: 200 when at least one was taken over.
pub(crate) async fn import_batch(mut ask: Ask) -> Result<Response, Refusal> {
    let asker = ask.changer()?;
    let body: BatchIn = ask.json_within(IMPORTS_BYTES_MAX).await?;
    let requests = body.requests.unwrap_or_default();
    let count = requests.len();
    if !(1..=IMPORTS_MAX).contains(&count) {
        return Err(invalid("requests", format!("{count} keys; a batch has 1 to {IMPORTS_MAX}")));
    }
    let imports = requests.iter().map(|item| {
        let body = serde_json::from_str::<Object<KeyIn>>(item.get());
        let body = body.map_err(|error| Refusal::new(Code::InvalidRequest, error.to_string()));
        body.and_then(|Object(body)| import(body))
    });
    let answers = ask.keys().import_many(&asker, imports.collect()).await?;
    let succeeded = answers.iter().filter(|answer| answer.is_ok()).count();
    if succeeded == 0 {
        let kinds = answers.iter().filter_map(|answer| answer.as_ref().err()).map(|fault| fault.kind);
        return Err(all_failed(kinds));
    }
    let now = ask.doors.clock.now();
    let results = answers.iter().enumerate().map(|(index, answer)| {
        let (key, fault) = (answer.as_ref().ok(), answer.as_ref().err());
        Ok(ImportOut {
            index,
            imported_api_key: key.map(|key| KeyOut::of(key, now)).transpose()?,
            error_code: fault.map(|fault| fault.kind.as_str()),
            error_message: fault.map(|fault| fault.message.as_str()),
        })
    });
    let results = results.collect::<Result<_, Refusal>>()?;
    respond::json(&ImportsOut { results, success_count: succeeded, failure_count: count - succeeded })
}

/// The reason that most items share; a later one replaces an earlier only with more items (dossier §2.6).
fn all_failed(kinds: impl Iterator<Item = ImportFaultKind>) -> Refusal {
    let kinds: Vec<ImportFaultKind> = kinds.collect();
    let ranked = [
        (ImportFaultKind::Internal, Code::Internal),
        (ImportFaultKind::AlreadyExists, Code::Conflict),
        (ImportFaultKind::InvalidArgument, Code::InvalidRequest),
        (ImportFaultKind::FailedPrecondition, Code::FailedPrecondition),
        (ImportFaultKind::ResourceExhausted, Code::QuotaExceeded),
    ];
    let count = |kind: ImportFaultKind| kinds.iter().filter(|found| **found == kind).count();
    let mut most = (0, Code::Internal);
    for (kind, code) in ranked {
        if count(kind) > most.0 {
            most = (count(kind), code);
        }
    }
    let message = format!("None of the {} keys was imported; import one alone to see why", kinds.len());
    Refusal::new(most.1, message)
}

/// A key as this request sees it.
fn told<'k>(ask: &Ask, key: &'k Key) -> Result<KeyOut<'k>, Refusal> {
    KeyOut::of(key, ask.doors.clock.now())
}
