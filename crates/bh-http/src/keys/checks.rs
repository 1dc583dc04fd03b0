//! Questions about credentials: verify, derive, and what their holders may ask.

use axum::response::Response;
use bh_app::identity::Whose;
use bh_app::keys::{Asker, BATCH_VERIFY_MAX, Derivation, Freshness, SelfRevoke, Subject, TokenForm, Verdict};
use bh_domain::evidence::hex;
use bh_domain::hash::sha256;
use bh_domain::keys::permission::Permission;
use bh_domain::keys::verdict::{KeyStatus, VerificationError, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use http::header::{CACHE_CONTROL, ETAG, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::asked::{Asked, VerifyIn};
use super::credits::CreditsOut;
use super::identities::BelongsTo;
use super::named::NamedOut;
use super::wire::{self, RateOut, invalid};
use crate::ask::Ask;
use crate::object::Object;
use crate::{openapi, respond};

pub(crate) const CACHE_USE: HeaderName = HeaderName::from_static("ory-talos-cache");
const JWKS_MAX_AGE: HeaderValue = HeaderValue::from_static("public, max-age=300");
const CREDENTIAL_BYTES_MAX: usize = bh_domain::keys::route::CREDENTIAL_BYTES_MAX;

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "CredentialQuestions", extend("required" = ["requests"]))]
pub(super) struct BatchIn {
    #[schemars(required, length(min = 1, max = BATCH_VERIFY_MAX))]
    requests: Option<Vec<Option<Object<VerifyIn>>>>,
}

/// What is told of a credential.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CredentialVerdict")]
pub(super) struct VerdictOut<'a> {
    is_valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    /// An addition to Talos: that a key used too often has no credits left, which waiting does not mend by itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    usage_exceeded: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    subject: Option<SubjectOut<'a>>,
}

/// Verdicts, in the order of the questions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CredentialVerdicts")]
pub(super) struct VerdictsOut<'a> {
    results: Vec<VerdictOut<'a>>,
}

/// Whose credential it is.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CredentialSubject")]
struct SubjectOut<'a> {
    status: &'static str,
    key_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<&'a str>,
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[schemars(with = "Map<String, Value>")]
    metadata: Value,
    visibility: &'static str,
    issuer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_policy: Option<RateOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_remaining: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_reset_time: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    audiences: &'a [String],
    /// An addition to Talos: what the key has been granted.
    #[serde(skip_serializing_if = "<[Permission]>::is_empty")]
    permissions: &'a [Permission],
    /// Likewise: what the named limits said that hold for this use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rate_limits: Vec<NamedOut<'a>>,
    /// Likewise: what is left of its credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<CreditsOut>,
    /// Likewise: whom it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<BelongsTo<'a>>,
}

/// `apiKeys:verify`: 200 for every verdict.
pub(crate) async fn verify(mut ask: Ask) -> Result<Response, Refusal> {
    let asker = ask.asker()?;
    let (freshness, address) = (freshness(&ask.parts.headers), ask.client_ip());
    let body: VerifyIn = ask.json_of_any_text().await?;
    if body.credential.as_ref().is_some_and(|text| text.len() > CREDENTIAL_BYTES_MAX) {
        return Err(invalid("credential", format!("longer than {CREDENTIAL_BYTES_MAX} bytes")));
    }
    let asked = body.read("")?;
    may_take(&ask, std::slice::from_ref(&asked))?;
    let verdict = ask.doors.keys.verify(&asker.tenant, asked.question(freshness, address)).await;
    let now = ask.doors.clock.now();
    note(&ask, &asker, std::slice::from_ref(&verdict), now);
    let mut response = respond::json(&told(&asker, &verdict, now)?)?;
    let headers = response.headers_mut();
    headers.insert(CACHE_USE, HeaderValue::from_static(verdict.cache.as_str()));
    limit_headers(headers, &verdict);
    Ok(response)
}

/// `apiKeys:batchVerify`: a verdict for each, in order.
pub(crate) async fn batch_verify(mut ask: Ask) -> Result<Response, Refusal> {
    let asker = ask.asker()?;
    let (freshness, address) = (freshness(&ask.parts.headers), ask.client_ip());
    let body: BatchIn = ask.json_of_any_text().await?;
    let requests = body.requests.unwrap_or_default();
    let count = requests.len();
    if !(1..=BATCH_VERIFY_MAX).contains(&count) {
        return Err(invalid("requests", format!("{count} credentials; a batch has 1 to {BATCH_VERIFY_MAX}")));
    }
    let read = |(index, item): (usize, Option<Object<VerifyIn>>)| {
        let Object(item) = item.unwrap_or_default();
        item.read(&format!("requests[{index}]."))
    };
    let items: Vec<Asked> = requests.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
    may_take(&ask, &items)?;
    // Together: those that memory does not know are read in one statement.
    let verdicts =
        items.iter().map(|asked| ask.doors.keys.verify(&asker.tenant, asked.question(freshness, address)));
    let verdicts = futures_util::future::join_all(verdicts).await;
    let now = ask.doors.clock.now();
    note(&ask, &asker, &verdicts, now);
    let results: Vec<_> =
        verdicts.iter().map(|verdict| told(&asker, verdict, now)).collect::<Result<_, _>>()?;
    respond::json(&VerdictsOut { results })
}

/// What was verified is used by the tenant whose keys were meant.
fn note(ask: &Ask, asker: &Asker, verdicts: &[Verdict], now: Timestamp) {
    let refused = verdicts.iter().filter(|verdict| !verdict.is_valid()).count();
    ask.doors.verifications.note(asker.tenant.nid, now, verdicts.len() as u64, refused as u64);
}

/// To say what a key is to pay changes the key: that is not for those who only read. What a verification takes by itself
/// is part of the answer to whoever may ask.
fn may_take(ask: &Ask, asked: &[Asked]) -> Result<(), Refusal> {
    if asked.iter().any(Asked::takes_credits) { ask.changer().map(drop) } else { Ok(()) }
}

/// Whether the asker wants no answer that was kept.
pub(crate) fn is_bypass(headers: &HeaderMap) -> bool {
    freshness(headers) != Freshness::Cached
}

fn freshness(headers: &HeaderMap) -> Freshness {
    let says = |name: HeaderName, word: &str| {
        let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case(word))
    };
    if says(CACHE_CONTROL, "no-store") {
        Freshness::NoStore
    } else if says(CACHE_CONTROL, "no-cache") || says(PRAGMA, "no-cache") {
        Freshness::NoCache
    } else {
        Freshness::Cached
    }
}

fn told<'a>(asker: &'a Asker, verdict: &'a Verdict, now: Timestamp) -> Result<VerdictOut<'a>, Refusal> {
    let denied = verdict.denied.as_ref();
    let subject =
        verdict.subject.as_ref().map(|subject| subject_out(asker, subject, verdict, now)).transpose()?;
    Ok(VerdictOut {
        is_valid: verdict.is_valid(),
        error_code: denied.map(|denied| denied.code.as_str()),
        usage_exceeded: verdict.credits.is_some_and(|credits| credits.exceeded),
        error_message: denied.map(|denied| denied.message.as_str()),
        subject,
    })
}

fn subject_out<'a>(
    asker: &'a Asker,
    subject: &'a Subject,
    verdict: &'a Verdict,
    now: Timestamp,
) -> Result<SubjectOut<'a>, Refusal> {
    let issuer = asker.tenant.keys.issuer.as_str();
    let reset = |ns: u64| now.plus_ms(i64::try_from(ns.div_ceil(1_000_000)).unwrap_or(i64::MAX)).rfc3339();
    let object = |text: &str| {
        serde_json::from_str(text).map_err(|error| respond::internal("read a stored object", &error))
    };
    let credits = verdict.credits;
    let credits = credits.map(|told| CreditsOut::remaining(told.remaining));
    let identity = verdict.identity.as_deref().map(|row| BelongsTo::of(&row.identity)).transpose()?;
    let rate_limits = verdict.limits.iter().map(|told| NamedOut::told(told, now)).collect();
    Ok(match subject {
        Subject::Key(row) => SubjectOut {
            status: KeyStatus::Active.as_str(),
            key_id: row.key.key_id.as_str(),
            actor_id: row.key.actor_id.as_deref(),
            scopes: &row.key.scopes,
            expire_time: row.key.expires.map(Timestamp::rfc3339),
            metadata: object(row.key.metadata.as_str())?,
            visibility: row.key.visibility.as_str(),
            issuer,
            rate_limit_policy: row.key.rate_limit.map(RateOut::from),
            rate_limit_remaining: verdict.rate.map(|rate| rate.remaining.to_string()),
            rate_limit_reset_time: verdict.rate.map(|rate| reset(rate.reset_after_ns)),
            audiences: &[],
            rate_limits,
            credits,
            identity,
            permissions: row.extras.as_ref().map_or(&[], |extras| &extras.permissions),
        },
        Subject::Token(token) => {
            let claims = token.narrowed.claims();
            let visibility = if claims.public { Visibility::Public } else { Visibility::Secret };
            SubjectOut {
                status: KeyStatus::Active.as_str(),
                key_id: claims.key_id.as_deref().unwrap_or_default(),
                actor_id: claims.actor_id.as_deref(),
                scopes: &claims.scopes,
                expire_time: Some(token.expires().rfc3339()),
                metadata: object(token.metadata.as_str())?,
                visibility: visibility.as_str(),
                issuer: &claims.issuer,
                rate_limit_policy: None,
                rate_limit_remaining: None,
                rate_limit_reset_time: None,
                audiences: token.narrowed.audiences(),
                permissions: &[],
                rate_limits,
                credits,
                identity,
            }
        }
    })
}

/// Headers of a verdict (dossier §2.7).
fn limit_headers(headers: &mut HeaderMap, verdict: &Verdict) {
    let refused = verdict.denied.as_ref().is_some_and(|denied| denied.code == VerificationError::RateLimited);
    let wait_ns = verdict.retry_after_ns();
    if refused && wait_ns > 0 {
        insert(headers, "retry-after", &wait_ns.div_ceil(1_000_000_000).to_string());
    }
    if !verdict.limits.is_empty() || verdict.credits.is_some() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let Some(Subject::Key(row)) = &verdict.subject else { return };
    if let Some(limit) = row.key.rate_limit {
        let policy = format!("\"default\";q={};w={}", limit.quota, limit.window_s);
        insert(headers, "ratelimit-policy", &policy);
    }
    if let Some(rate) = &verdict.rate {
        insert(headers, "ratelimit", &format!("\"default\";r={}", rate.remaining));
    }
    let restricted = !row.key.allowed_cidrs.is_empty();
    if restricted || verdict.rate.is_some() {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn insert(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// What a token may be; the first two stand for a JWT.
const ALGORITHMS: [Option<&str>; 5] = [
    None,
    Some(""),
    Some("TOKEN_ALGORITHM_UNSPECIFIED"),
    Some("TOKEN_ALGORITHM_JWT"),
    Some("TOKEN_ALGORITHM_MACAROON"),
];

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "TokenDerivation", extend("required" = ["credential"]))]
pub(super) struct DeriveIn {
    #[schemars(required, length(min = 1))]
    credential: Option<String>,
    #[schemars(extend("enum" = ALGORITHMS))]
    algorithm: Option<String>,
    ttl: Option<String>,
    scopes: Option<Vec<String>>,
    #[serde(alias = "customClaims")]
    custom_claims: Option<Map<String, Value>>,
    audiences: Option<Vec<String>>,
}

/// A token as it is told, this once.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DerivedToken")]
struct TokenOut<'a> {
    token: &'a str,
    expire_time: String,
    scopes: &'a [String],
    claims: Map<String, Value>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    audiences: &'a [String],
}

/// What a derivation answers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokenDerived")]
pub(super) struct DerivedOut<'a> {
    token: TokenOut<'a>,
}

/// `apiKeys:derive`: a short-lived token.
pub(crate) async fn derive(mut ask: Ask) -> Result<Response, Refusal> {
    let (asker, address) = (ask.changer()?, ask.client_ip());
    let body: DeriveIn = ask.json().await?;
    let credential = body.credential.unwrap_or_default();
    if credential.is_empty() {
        return Err(Refusal::new(Code::CredentialRequired, "`credential` is missing or empty"));
    }
    if credential.len() > CREDENTIAL_BYTES_MAX {
        return Err(invalid("credential", format!("longer than {CREDENTIAL_BYTES_MAX} bytes")));
    }
    let derivation = Derivation {
        credential: credential.into(),
        form: form(body.algorithm.as_deref())?,
        ttl: wire::lifetime("ttl", body.ttl.as_deref())?,
        scopes: body.scopes,
        custom: body.custom_claims.unwrap_or_default(),
        audiences: body.audiences.unwrap_or_default(),
        address,
    };
    let derived = ask.doors.keys.derive(&asker, derivation).await?;
    let token = TokenOut {
        token: derived.token.expose_secret(),
        expire_time: derived.expires.rfc3339(),
        scopes: &derived.scopes,
        claims: derived.claims,
        audiences: &derived.audiences,
    };
    respond::json(&DerivedOut { token })
}

fn form(text: Option<&str>) -> Result<TokenForm, Refusal> {
    match text.unwrap_or_default() {
        "" | "TOKEN_ALGORITHM_UNSPECIFIED" | "TOKEN_ALGORITHM_JWT" => Ok(TokenForm::Jwt),
        "TOKEN_ALGORITHM_MACAROON" => Ok(TokenForm::Macaroon),
        _ => Err(invalid("algorithm", "expected TOKEN_ALGORITHM_JWT or TOKEN_ALGORITHM_MACAROON")),
    }
}

/// The tenant's public signing keys, for anybody.
pub(crate) async fn jwks(ask: Ask) -> Result<Response, Refusal> {
    let document = ask.doors.keys.jwks(&ask.asker()?)?;
    let text = document.to_string();
    let tag = format!("\"{}\"", hex::encode(&sha256(text.as_bytes())));
    let known = openapi::knows(&ask.parts.headers, &tag);
    let mut response =
        if known { respond::empty(StatusCode::NOT_MODIFIED) } else { respond::json(&document)? };
    response.headers_mut().insert(CACHE_CONTROL, JWKS_MAX_AGE);
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "SelfRevocation", extend("required" = ["credential"]))]
pub(super) struct SelfRevokeIn {
    #[schemars(required, length(min = 1))]
    credential: Option<String>,
    reason: Option<String>,
}

/// `apiKeys:selfRevoke`: whoever holds a key may end it.
pub(crate) async fn self_revoke(mut ask: Ask) -> Result<Response, Refusal> {
    let (mut asker, address) = (ask.asker()?, ask.client_ip());
    let body: SelfRevokeIn = ask.json_of_any_text().await?;
    let credential = body.credential.unwrap_or_default();
    // Where host names decide nothing, the credential says whose it is.
    if ask.host.tenant()?.is_none()
        && let Whose::Tenant(owner) = ask.doors.gate.owner_of(&ask.snapshot, &credential).await?
    {
        asker.tenant = owner;
    }
    let wish = SelfRevoke { credential, reason: wire::reason(body.reason.as_deref())?, address };
    ask.doors.keys.self_revoke(asker, wish).await?;
    respond::json(&json!({}))
}
