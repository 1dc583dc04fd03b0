//! Keys on the wire: proto JSON, as Ory's generated clients write and read it (Talos dossier §2.1, §2.3, §2.4).
//!
//! Members are told in snake_case and taken in lowerCamelCase too; unknown ones are passed over; `null` and an enum's
//! `…_UNSPECIFIED` are as good as absent; 64-bit numbers are texts, and taken as numbers too.

use bh_app::keys::{Attributes, Change, Issue, policy_text};
use bh_domain::keys::extras::Extras;
use bh_domain::keys::imported::PlainDigest;
use bh_domain::keys::key::{JsonObject, Key, KeyRateLimit};
use bh_domain::keys::lifetime::Lifetime;
use bh_domain::keys::mask::{MaskPath, UpdateMask};
use bh_domain::keys::named::NamedLimit;
use bh_domain::keys::permission::Permission;
use bh_domain::keys::verdict::{RevocationReason, Visibility};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::credits::{CreditsIn, CreditsOut};
use super::int64::Int64;
use super::named::{self, NamedIn};
use crate::object::Object;

const REQUESTS: &str = "requests";
/// The member, and what would be its path in an update mask.
pub(super) const CREDITS: &str = "credits";
const SHA256: &str = "SHA256";

/// How a key may be shown; the first three stand for secret.
const VISIBILITIES: [Option<&str>; 5] = [
    None,
    Some(""),
    Some("KEY_VISIBILITY_UNSPECIFIED"),
    Some(Visibility::Secret.as_str()),
    Some(Visibility::Public.as_str()),
];

/// What a key is given, in any request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ApiKeyFields")]
pub(super) struct KeyIn {
    pub(super) name: Option<String>,
    #[serde(alias = "actorId")]
    pub(super) actor_id: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) ttl: Option<String>,
    #[schemars(with = "Option<Map<String, Value>>")]
    pub(super) metadata: Option<Box<RawValue>>,
    #[serde(alias = "rateLimitPolicy")]
    pub(super) rate_limit_policy: Option<Object<RateIn>>,
    #[serde(alias = "ipRestriction")]
    pub(super) ip_restriction: Option<Object<IpIn>>,
    #[serde(alias = "policyOverrides")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub(super) policy_overrides: Option<Box<RawValue>>,
    pub(super) permissions: Option<Vec<String>>,
    #[serde(alias = "rateLimits")]
    pub(super) rate_limits: Option<Vec<Object<NamedIn>>>,
    pub(super) credits: Option<Object<CreditsIn>>,
    #[schemars(extend("enum" = VISIBILITIES))]
    pub(super) visibility: Option<String>,
    #[serde(alias = "requestId")]
    pub(super) request_id: Option<String>,
    #[serde(alias = "rawKey")]
    pub(super) raw_key: Option<String>,
    pub(super) hashed: Option<Object<HashedIn>>,
    #[serde(alias = "graceTtl")]
    pub(super) grace_ttl: Option<String>,
    /// The members of an update, wrapped: some documents have it so.
    #[serde(alias = "issuedApiKey")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub(super) issued_api_key: Option<Object<Box<Self>>>,
    /// Likewise.
    #[serde(alias = "importedApiKey")]
    #[schemars(with = "Option<Map<String, Value>>")]
    pub(super) imported_api_key: Option<Object<Box<Self>>>,
}

/// A key of which only a hash is known: an addition to Talos.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "HashedKey")]
pub(super) struct HashedIn {
    algorithm: Option<String>,
    digest: Option<String>,
}

/// A rate limit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NewRateLimitPolicy")]
pub(super) struct RateIn {
    quota: Option<Int64>,
    window: Option<String>,
    unit: Option<String>,
}

/// Address ranges.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "NewIpRestriction")]
pub(super) struct IpIn {
    #[serde(alias = "allowedCidrs")]
    allowed_cidrs: Option<Vec<String>>,
}

impl KeyIn {
    pub(super) fn issue(self) -> Result<Issue, Refusal> {
        let ttl = lifetime("ttl", self.ttl.as_deref())?;
        Ok(Issue { attributes: self.attributes()?, ttl })
    }

    pub(super) fn attributes(self) -> Result<Attributes, Refusal> {
        let credits = self.credits.map(|Object(credits)| credits.read()).transpose()?;
        let (credits, refill) = credits.unwrap_or_default();
        Ok(Attributes {
            name: self.name.unwrap_or_default(),
            actor_id: self.actor_id,
            scopes: self.scopes.unwrap_or_default(),
            metadata: object("metadata", self.metadata.as_deref())?.unwrap_or_default(),
            rate_limit: self.rate_limit_policy.map(|Object(limit)| limit.read()).transpose()?.flatten(),
            allowed_cidrs: self.ip_restriction.and_then(|Object(ip)| ip.allowed_cidrs).unwrap_or_default(),
            visibility: visibility(self.visibility.as_deref())?.unwrap_or_default(),
            request_id: self.request_id.filter(|id| !id.is_empty()),
            policy_overrides: object("policy_overrides", self.policy_overrides.as_deref())?,
            permissions: self.permissions.unwrap_or_default(),
            rate_limits: named::limits(self.rate_limits.unwrap_or_default())?,
            extras: JsonObject::default(),
            credits,
            refill,
        })
    }

    /// The changes of an update: what the mask names, or without a mask, what the body has.
    pub(super) fn update(self, mask: Option<UpdateMask>) -> Result<Change, Refusal> {
        let body = match (self.issued_api_key, self.imported_api_key) {
            (Some(Object(inner)), _) | (None, Some(Object(inner))) => *inner,
            (None, None) => Self { issued_api_key: None, imported_api_key: None, ..self },
        };
        let Some(mask) = mask else {
            body.leaves_credits()?;
            return Ok(body.change()?.populated());
        };
        let change = body.change()?;
        let masked = |path: MaskPath| mask.contains(path);
        Ok(Change {
            name: masked(MaskPath::Name).then(|| change.name.unwrap_or_default()),
            scopes: masked(MaskPath::Scopes).then(|| change.scopes.unwrap_or_default()),
            metadata: masked(MaskPath::Metadata).then(|| change.metadata.unwrap_or_default()),
            rate_limit: masked(MaskPath::RateLimitPolicy).then(|| change.rate_limit.flatten()),
            allowed_cidrs: masked(MaskPath::IpRestriction).then(|| change.allowed_cidrs.unwrap_or_default()),
            policy_overrides: masked(MaskPath::PolicyOverrides).then(|| change.policy_overrides.flatten()),
            permissions: masked(MaskPath::Permissions).then(|| change.permissions.unwrap_or_default()),
            rate_limits: masked(MaskPath::RateLimits).then(|| change.rate_limits.unwrap_or_default()),
        })
    }

    /// Credits are given when a key is made, and are then the store's: no update or rotation sets them.
    ///
    /// # Errors
    /// `invalid_request` that says what does.
    pub(super) fn leaves_credits(&self) -> Result<(), Refusal> {
        if self.credits.is_some() { Err(credits_stay()) } else { Ok(()) }
    }

    /// What the body has, also when it is empty.
    pub(super) fn change(self) -> Result<Change, Refusal> {
        Ok(Change {
            name: self.name,
            scopes: self.scopes,
            metadata: object("metadata", self.metadata.as_deref())?,
            rate_limit: self.rate_limit_policy.map(|Object(limit)| limit.read()).transpose()?,
            allowed_cidrs: self.ip_restriction.map(|Object(ip)| ip.allowed_cidrs.unwrap_or_default()),
            policy_overrides: object("policy_overrides", self.policy_overrides.as_deref())?.map(Some),
            permissions: self.permissions,
            rate_limits: self.rate_limits.map(named::limits).transpose()?,
        })
    }
}

impl HashedIn {
    pub(super) fn read(&self) -> Result<PlainDigest, Refusal> {
        if self.algorithm.as_deref() != Some(SHA256) {
            return Err(invalid(
                "hashed.algorithm",
                format!("expected `{SHA256}`, the only one that is known"),
            ));
        }
        let digest = self.digest.as_deref().unwrap_or_default();
        PlainDigest::parse(digest).map_err(|error| invalid("hashed.digest", error))
    }
}

/// Without a mask an empty value is an absent one: clients write what they do not mean.
trait Populated {
    fn populated(self) -> Self;
}

impl Populated for Change {
    fn populated(self) -> Self {
        Self {
            name: self.name.filter(|name| !name.is_empty()),
            scopes: self.scopes.filter(|scopes| !scopes.is_empty()),
            metadata: self.metadata.filter(|metadata| *metadata != JsonObject::default()),
            rate_limit: self.rate_limit.filter(Option::is_some),
            allowed_cidrs: self.allowed_cidrs.filter(|cidrs| !cidrs.is_empty()),
            policy_overrides: self.policy_overrides.filter(Option::is_some),
            permissions: self.permissions.filter(|permissions| !permissions.is_empty()),
            rate_limits: self.rate_limits.filter(|limits| !limits.is_empty()),
        }
    }
}

impl RateIn {
    fn read(self) -> Result<Option<KeyRateLimit>, Refusal> {
        let field = "rate_limit_policy";
        if self.quota.is_none() && self.window.is_none() {
            return Ok(None);
        }
        if self.unit.as_deref().is_some_and(|unit| !unit.is_empty() && unit != REQUESTS) {
            return Err(invalid(field, format!("`unit` can only be `{REQUESTS}`")));
        }
        let quota = self.quota.and_then(|Int64(quota)| u64::try_from(quota).ok());
        let quota = quota.filter(|quota| *quota > 0);
        let quota = quota.ok_or_else(|| invalid(field, "`quota` must be a whole number above 0"))?;
        let window = lifetime("rate_limit_policy.window", self.window.as_deref())?;
        let window_s = window.and_then(Lifetime::whole_seconds);
        let window_s =
            window_s.ok_or_else(|| invalid(field, "`window` must be whole seconds, such as `60s`"))?;
        Ok(Some(KeyRateLimit { quota, window_s }))
    }
}

/// Why credits cannot be changed with the rest of a key.
pub(super) fn credits_stay() -> Refusal {
    invalid(CREDITS, "cannot be changed here: `POST` the change to the key's `:updateCredits`")
}

pub(super) fn lifetime(field: &'static str, text: Option<&str>) -> Result<Option<Lifetime>, Refusal> {
    let text = text.filter(|text| !text.is_empty());
    text.map(Lifetime::parse).transpose().map(Option::flatten).map_err(|error| invalid(field, error))
}

fn visibility(text: Option<&str>) -> Result<Option<Visibility>, Refusal> {
    let text = text.filter(|text| !text.is_empty());
    text.map(Visibility::parse).transpose().map(Option::flatten).map_err(|error| invalid("visibility", error))
}

pub(super) fn asked_visibility(body: &KeyIn) -> Result<Option<Visibility>, Refusal> {
    visibility(body.visibility.as_deref())
}

pub(super) fn reason(text: Option<&str>) -> Result<RevocationReason, Refusal> {
    let text = text.filter(|text| !text.is_empty());
    let reason = text.map(RevocationReason::parse).transpose().map_err(|error| invalid("reason", error))?;
    Ok(reason.flatten().unwrap_or_default())
}

pub(super) fn object(field: &'static str, raw: Option<&RawValue>) -> Result<Option<JsonObject>, Refusal> {
    let text = raw.map(RawValue::get).filter(|text| *text != "null");
    text.map(JsonObject::parse).transpose().map_err(|error| invalid(field, error))
}

pub(super) fn invalid(field: &str, problem: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::InvalidRequest, format!("`{field}`: {problem}")).with("field", field)
}

/// A key as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ApiKey")]
pub(super) struct KeyOut<'a> {
    key_id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<&'a str>,
    scopes: &'a [String],
    status: &'static str,
    #[schemars(with = "Map<String, Value>")]
    metadata: &'a RawValue,
    create_time: String,
    update_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_limit_policy: Option<RateOut>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_restriction: Option<IpOut<'a>>,
    /// An addition to Talos: the key's own policy on the gateway's doors.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Map<String, Value>>")]
    policy_overrides: Option<&'a RawValue>,
    /// Likewise: what it has been granted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    permissions: Vec<Permission>,
    /// Likewise: its named limits.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "named::told")]
    #[schemars(with = "Vec<named::NamedOut<'static>>")]
    rate_limits: Vec<NamedLimit>,
    /// Likewise: its credits.
    #[serde(skip_serializing_if = "Option::is_none")]
    credits: Option<CreditsOut>,
    visibility: &'static str,
    revocation_reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    revocation_description: Option<&'a str>,
    enabled: bool,
}

/// A rate limit as it is told.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RateLimitPolicy")]
pub(super) struct RateOut {
    quota: String,
    window: String,
    unit: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "IpRestriction")]
struct IpOut<'a> {
    allowed_cidrs: &'a [String],
}

impl From<KeyRateLimit> for RateOut {
    fn from(limit: KeyRateLimit) -> Self {
        Self { quota: limit.quota.to_string(), window: format!("{}s", limit.window_s), unit: REQUESTS }
    }
}

impl<'a> KeyOut<'a> {
    /// A key, with its state at an instant. One whose extras cannot be read, and which verifies as `INTERNAL`, is told
    /// without them: it must not hide the others of a list.
    pub(super) fn of(key: &'a Key, now: Timestamp) -> Result<Self, Refusal> {
        let revocation = key.revocation.as_ref();
        let extras = Extras::read(&key.extras).unwrap_or_else(|error| {
            tracing::error!(key_id = %key.key_id, %error, "a stored key's extras cannot be read: told without them");
            Extras::default()
        });
        Ok(Self {
            key_id: key.key_id.as_str(),
            name: &key.name,
            actor_id: key.actor_id.as_deref(),
            scopes: &key.scopes,
            status: key.status_at(now).as_str(),
            metadata: raw(&key.metadata)?,
            create_time: key.created.rfc3339(),
            update_time: key.updated.rfc3339(),
            expire_time: key.expires.map(Timestamp::rfc3339),
            last_used_time: key.last_used.map(Timestamp::rfc3339),
            rate_limit_policy: key.rate_limit.map(RateOut::from),
            ip_restriction: (!key.allowed_cidrs.is_empty())
                .then_some(IpOut { allowed_cidrs: &key.allowed_cidrs }),
            policy_overrides: policy_text(&key.extras),
            credits: CreditsOut::of(key, &extras, now),
            permissions: extras.permissions,
            rate_limits: extras.rate_limits,
            visibility: key.visibility.as_str(),
            revocation_reason: revocation.map_or(RevocationReason::Unspecified, |told| told.reason).as_str(),
            revocation_description: revocation.and_then(|told| told.description.as_deref()),
            enabled: key.enabled,
        })
    }
}

/// A stored object's text as it is.
pub(super) fn raw(object: &JsonObject) -> Result<&RawValue, Refusal> {
    serde_json::from_str(object.as_str())
        .map_err(|error| crate::respond::internal("read a stored object", &error))
}
