//! What a key can be given, checked once.

use std::collections::BTreeMap;

use bh_domain::keys::credits::{CREDITS_MAX, CreditsError, Refill};
use bh_domain::keys::extras::{CREDITS_REFILL, PERMISSIONS, PERMISSIONS_MAX, RATE_LIMITS};
use bh_domain::keys::identity::EXTERNAL_ID;
use bh_domain::keys::key::{JsonObject, Key, KeyRateLimit};
use bh_domain::keys::named::{self, NamedLimit};
use bh_domain::keys::overrides::{OVERRIDES_BYTES_MAX, OverridesError, PolicyOverrides};
use bh_domain::keys::permission::Permission;
use bh_domain::keys::verdict::Visibility;
use bh_domain::network::Network;
use bh_domain::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::invalid;

/// The longest name, actor and scope, in characters.
const TEXT_CHARS_MAX: usize = 255;
/// The most scopes of one key.
const SCOPES_MAX: usize = 256;
/// The most address ranges of one key.
const CIDRS_MAX: usize = 256;
/// The longest `request_id`, in characters.
const REQUEST_ID_CHARS_MAX: usize = 36;
/// The most metadata, serialised (dossier §2.1).
pub const METADATA_BYTES_MAX: usize = 64 * 1024;
/// The most of everything else that belongs to a key, serialised.
pub const EXTRAS_BYTES_MAX: usize = 64 * 1024;

/// What a new key is given. Defaults are those of an empty request.
#[derive(Clone, Debug, Default)]
pub struct Attributes {
    /// Name.
    pub name: String,
    /// Whose it is.
    pub actor_id: Option<String>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// What the tenant keeps with it.
    pub metadata: JsonObject,
    /// How often it may be used.
    pub rate_limit: Option<KeyRateLimit>,
    /// From where; empty for anywhere.
    pub allowed_cidrs: Vec<String>,
    /// Who may know its text.
    pub visibility: Visibility,
    /// Makes a repetition of the request harmless.
    pub request_id: Option<String>,
    /// Its own policy.
    pub policy_overrides: Option<JsonObject>,
    /// What it has been granted, in the permission language.
    pub permissions: Vec<String>,
    /// How often and how much it may be used, beside `rate_limit`.
    pub rate_limits: Vec<NamedLimit>,
    /// What else belongs to it, as a row keeps it: what another key hands on.
    pub extras: JsonObject,
    /// Uses; `None` for any number.
    pub credits: Option<i64>,
    /// When its credits are replaced.
    pub refill: Option<Refill>,
}

impl Attributes {
    /// Checks all of it.
    ///
    /// # Errors
    /// `invalid_request` that names the first field that cannot be kept, and why.
    pub(super) fn checked(mut self) -> Result<Self, Refusal> {
        name(&self.name)?;
        if let Some(actor) = &self.actor_id {
            text("actor_id", actor, TEXT_CHARS_MAX)?;
        }
        if let Some(id) = &self.request_id {
            text("request_id", id, REQUEST_ID_CHARS_MAX)?;
        }
        scopes(&self.scopes)?;
        metadata(&self.metadata)?;
        cidrs(&self.allowed_cidrs)?;
        if let Some(given) = self.policy_overrides.take() {
            policy(&given)?;
            self.extras = with_policy(&self.extras, Some(&given));
        }
        permissions(&self.permissions)?;
        if !self.permissions.is_empty() {
            self.extras = with_list(&self.extras, PERMISSIONS, &self.permissions);
        }
        rate_limits(&self.rate_limits)?;
        if !self.rate_limits.is_empty() {
            self.extras = with_list(&self.extras, RATE_LIMITS, &self.rate_limits);
        }
        credits(self.credits, self.refill)?;
        if let Some(refill) = self.refill {
            self.extras =
                with_member(&self.extras, CREDITS_REFILL, serde_json::value::to_raw_value(&refill).ok());
        }
        object("extras", &self.extras, EXTRAS_BYTES_MAX)?;
        Ok(self)
    }
}

pub(super) fn name(name: &str) -> Result<(), Refusal> {
    text("name", name, TEXT_CHARS_MAX)
}

pub(super) fn external_id(external_id: &str) -> Result<(), Refusal> {
    text(EXTERNAL_ID, external_id, TEXT_CHARS_MAX)
}

pub(super) fn scopes(scopes: &[String]) -> Result<(), Refusal> {
    if scopes.len() > SCOPES_MAX {
        return Err(invalid("scopes", format!("more than {SCOPES_MAX}")));
    }
    if scopes.iter().any(String::is_empty) {
        return Err(invalid("scopes", "a scope is not empty"));
    }
    scopes.iter().try_for_each(|scope| text("scopes", scope, TEXT_CHARS_MAX))
}

/// Where a key's own policy is kept among its extras.
const POLICY: &str = "policy_overrides";

/// A key's own policy.
///
/// # Errors
/// [`OverridesError`] for a row that holds something else.
pub fn policy_overrides(key: &Key) -> Result<PolicyOverrides, OverridesError> {
    policy_text(&key.extras)
        .map_or_else(|| Ok(PolicyOverrides::default()), |text| PolicyOverrides::parse(text.get()))
}

/// A key's own policy, as it was given.
#[must_use]
pub fn policy_text(extras: &JsonObject) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Extras<'a> {
        #[serde(borrow)]
        policy_overrides: Option<&'a RawValue>,
    }
    serde_json::from_str::<Extras<'_>>(extras.as_str()).ok()?.policy_overrides
}

/// Extras with another policy; `None` takes it away.
pub(super) fn with_policy(extras: &JsonObject, policy: Option<&JsonObject>) -> JsonObject {
    with_member(extras, POLICY, policy.and_then(|policy| serde_json::from_str(policy.as_str()).ok()))
}

/// Extras with another list; an empty one takes it away.
pub(super) fn with_list<T: Serialize>(extras: &JsonObject, name: &str, list: &[T]) -> JsonObject {
    let text = if list.is_empty() { None } else { serde_json::value::to_raw_value(list).ok() };
    with_member(extras, name, text)
}

/// Extras with another text.
pub(super) fn with_text(extras: &JsonObject, name: &str, text: &str) -> JsonObject {
    with_member(extras, name, serde_json::value::to_raw_value(text).ok())
}

/// Extras without a member.
pub(super) fn without(extras: &JsonObject, name: &str) -> JsonObject {
    if *extras == JsonObject::default() { extras.clone() } else { with_member(extras, name, None) }
}

fn with_member(extras: &JsonObject, name: &str, value: Option<Box<RawValue>>) -> JsonObject {
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(extras.as_str()).unwrap_or_default();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name)),
    }
    let text = serde_json::to_string(&members).ok();
    text.and_then(|text| JsonObject::parse(text).ok()).unwrap_or_default()
}

pub(super) fn policy(policy: &JsonObject) -> Result<(), Refusal> {
    PolicyOverrides::parse(policy.as_str()).map(drop).map_err(|error| invalid(POLICY, error))?;
    object(POLICY, policy, OVERRIDES_BYTES_MAX)
}

pub(super) fn permissions(permissions: &[String]) -> Result<(), Refusal> {
    if permissions.len() > PERMISSIONS_MAX {
        return Err(invalid(PERMISSIONS, format!("more than {PERMISSIONS_MAX}")));
    }
    let first = permissions.iter().find_map(|text| Permission::parse(text).err());
    first.map_or(Ok(()), |error| Err(invalid(PERMISSIONS, error)))
}

pub(super) fn rate_limits(limits: &[NamedLimit]) -> Result<(), Refusal> {
    named::check(limits).map_err(|error| invalid(RATE_LIMITS, error))
}

fn credits(credits: Option<i64>, refill: Option<Refill>) -> Result<(), Refusal> {
    if credits.is_some_and(|credits| !(0..=CREDITS_MAX).contains(&credits)) {
        return Err(invalid("credits", CreditsError::Remaining));
    }
    refill.map_or(Ok(()), Refill::check).map_err(|error| invalid("credits", error))
}

pub(super) fn metadata(metadata: &JsonObject) -> Result<(), Refusal> {
    object("metadata", metadata, METADATA_BYTES_MAX)
}

pub(super) fn cidrs(cidrs: &[String]) -> Result<(), Refusal> {
    let field = "ip_restriction.allowed_cidrs";
    if cidrs.len() > CIDRS_MAX {
        return Err(invalid(field, format!("more than {CIDRS_MAX} ranges")));
    }
    match cidrs.iter().position(|cidr| !cidr.contains('/') || Network::parse(cidr).is_none()) {
        Some(at) => {
            Err(invalid(field, format!("entry {at} is no address range such as 10.0.0.0/8 or 2001:db8::/32")))
        }
        None => Ok(()),
    }
}

fn object(field: &'static str, object: &JsonObject, bytes_max: usize) -> Result<(), Refusal> {
    if object.as_str().len() > bytes_max {
        return Err(invalid(field, format!("larger than {bytes_max} bytes")));
    }
    // PostgreSQL keeps no NUL; in JSON it is always escaped.
    if object.as_str().contains("\\u0000") {
        return Err(invalid(field, "holds a NUL character: leave it out"));
    }
    Ok(())
}

fn text(field: &'static str, text: &str, chars_max: usize) -> Result<(), Refusal> {
    if text.chars().nth(chars_max).is_some() {
        return Err(invalid(field, format!("longer than {chars_max} characters")));
    }
    if text.contains('\0') {
        return Err(invalid(field, "holds a NUL character: leave it out"));
    }
    Ok(())
}
