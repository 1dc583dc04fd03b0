//! Who is calling: from headers and address to a tenant's caller or an operator (spec: "Who is calling").

mod count;
mod gate;
mod verdicts;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::{constant_time, hmac};
use bh_domain::keys::format::IssuedKey;
use bh_domain::keys::token::{ClaimedNid, unverified_nid};
pub use bh_domain::network::Network;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{Nid, Role, Scope};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use crate::hosts::confirm_host;
use crate::snapshot::{Caller, CallerSource, Origin, Snapshot, Tenant};
pub use gate::{Door, Gate, Knock, Whose};

/// The longest credential that is looked at; a longer one is unknown without being hashed.
pub const CREDENTIAL_BYTES_MAX: usize = 8_192;

const BEARER: &str = "Bearer ";
const TENANT_KEY_HEADERS: [&str; 2] = ["x-bulkhead-key", "x-talon-key"];
const PROVIDER_STYLE_HEADERS: [&str; 2] = ["x-api-key", "api-key"];
const ADMIN_KEY_HEADERS: [&str; 2] = ["x-bulkhead-admin-key", "x-talon-admin-key"];

/// The keyed hash under which a credential is kept. Without the pepper it says nothing about the key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest([u8; 32]);

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

/// Hashes credentials with the installation's pepper.
#[derive(Clone)]
pub struct KeyHasher(hmac::Key);

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

impl KeyHasher {
    /// From a pepper derived from the master key.
    #[must_use]
    pub fn new(pepper: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, pepper))
    }

    /// The digest of a credential.
    #[must_use]
    pub fn digest(&self, credential: &[u8]) -> KeyDigest {
        let tag = hmac::sign(&self.0, credential);
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        KeyDigest(digest)
    }
}

/// An operator: a named admin key with a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The key's name, for the audit log.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Callers and operators by credential.
#[derive(Debug, Default)]
pub struct Keyring {
    callers: HashMap<KeyDigest, Arc<Caller>>,
    operators: HashMap<KeyDigest, Arc<Operator>>,
    by_address: Vec<(Network, Arc<Caller>)>,
    anonymous: Option<Arc<Caller>>,
}

impl Keyring {
    /// Adds a caller's key.
    pub fn add_caller(&mut self, digest: KeyDigest, caller: Arc<Caller>) {
        self.callers.insert(digest, caller);
    }

    /// Adds an admin key.
    pub fn add_operator(&mut self, digest: KeyDigest, operator: Operator) {
        self.operators.insert(digest, Arc::new(operator));
    }

    /// Adds a caller that is recognised by its address.
    pub fn add_address(&mut self, network: Network, caller: Arc<Caller>) {
        self.by_address.push((network, caller));
    }

    /// Serves data-plane requests without a key as `caller` (`require_caller_id: false`).
    pub fn admit_anonymous(&mut self, caller: Arc<Caller>) {
        self.anonymous = Some(caller);
    }

    /// The tenant whose calls need no key, while its migration window is open.
    #[must_use]
    pub fn keyless_tenant(&self) -> Option<Nid> {
        let caller = self.anonymous.as_ref().filter(|caller| caller.source == CallerSource::Keyless)?;
        Some(caller.tenant.nid)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.callers.len() + self.operators.len()
    }

    /// Whether there is no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All callers that have a key.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.callers.values().chain(self.by_address.iter().map(|(_, caller)| caller))
    }

    fn caller(&self, digest: KeyDigest) -> Option<&Arc<Caller>> {
        found(&self.callers, digest)
    }

    fn operator(&self, digest: KeyDigest) -> Option<&Arc<Operator>> {
        found(&self.operators, digest)
    }
}

/// Looks up a digest. The map compares early-out, but on keyed hashes, which an attacker cannot steer; the final
/// comparison is constant-time all the same.
fn found<T>(map: &HashMap<KeyDigest, T>, digest: KeyDigest) -> Option<&T> {
    let (stored, value) = map.get_key_value(&digest)?;
    constant_time::verify_slices_are_equal(&stored.0, &digest.0).is_ok().then_some(value)
}

/// What was proven about a request's sender.
#[derive(Clone, Debug)]
pub enum Principal {
    /// A tenant's caller.
    Caller(Arc<Caller>),
    /// An operator.
    Operator(Arc<Operator>),
}

impl Principal {
    /// The data it may touch.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match self {
            Self::Caller(caller) => Scope::tenant(caller.tenant.nid),
            Self::Operator(_) => Scope::system("operator"),
        }
    }
}

/// Which credentials a route takes (seed 002's matrix).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// None.
    Open,
    /// A tenant key.
    Tenant,
    /// A tenant key or an admin key.
    TenantOrAdmin,
    /// An admin key of any role.
    Admin,
    /// What administers keys: an admin key, or for its own tenant an issued key with the scope `keys`; where
    /// [`Snapshot::open_key_admin`] says so, nothing.
    KeyAdmin,
}

impl Access {
    fn refusal(self) -> Refusal {
        let message = match self {
            Self::Open | Self::Tenant => "Invalid or missing tenant key",
            Self::TenantOrAdmin => "Invalid or missing tenant/admin key",
            Self::Admin | Self::KeyAdmin => "Invalid or missing admin key",
        };
        Refusal::new(Code::Unauthorized, message)
    }

    fn takes_operators(self) -> bool {
        match self {
            Self::TenantOrAdmin | Self::Admin | Self::KeyAdmin => true,
            Self::Open | Self::Tenant => false,
        }
    }

    fn takes_callers(self) -> bool {
        match self {
            Self::Tenant | Self::TenantOrAdmin => true,
            Self::Open | Self::Admin | Self::KeyAdmin => false,
        }
    }

    fn takes_issued_keys(self) -> bool {
        match self {
            Self::Tenant | Self::TenantOrAdmin | Self::KeyAdmin => true,
            Self::Open | Self::Admin => false,
        }
    }
}

/// The caller that a request without a key is: by its address, or nobody in particular.
fn by_address(snapshot: &Snapshot, client_ip: IpAddr) -> Option<&Arc<Caller>> {
    let Keyring { by_address, anonymous, .. } = &snapshot.keyring;
    let known = by_address.iter().find(|(network, _)| network.contains(client_ip));
    known.map(|(_, caller)| caller).or(anonymous.as_ref())
}

fn admit_caller(
    snapshot: &Snapshot,
    host: Option<&Arc<Tenant>>,
    caller: &Arc<Caller>,
    knock: &Knock<'_>,
) -> Result<Arc<Caller>, Refusal> {
    // The key is good: what it is refused for is its tenant's to know.
    admit_known(snapshot, host, caller, knock).map_err(|refusal| refusal.of(caller.tenant.nid))
}

fn admit_known(
    snapshot: &Snapshot,
    host: Option<&Arc<Tenant>>,
    caller: &Arc<Caller>,
    knock: &Knock<'_>,
) -> Result<Arc<Caller>, Refusal> {
    confirm_host(host, caller)?;
    confirm_tenant(snapshot, caller, knock.headers)?;
    match caller.tenant.origin {
        Origin::File => admits(&caller.tenant, knock.address)?,
        // A row may have changed since the caller was made.
        Origin::Implied | Origin::Made(_) => {
            let now = snapshot.tenant_by_nid(caller.tenant.nid).ok_or_else(suspended)?;
            admits(&now, knock.address)?;
        }
    }
    Ok(Arc::clone(caller))
}

/// Whether a tenant is served, and from there.
fn admits(tenant: &Tenant, address: IpAddr) -> Result<(), Refusal> {
    if !tenant.active {
        return Err(suspended());
    }
    tenant.admits_address(address)
}

fn suspended() -> Refusal {
    Refusal::new(Code::TenantInactive, "This tenant is suspended")
}

/// Whether the tenant header, if there is one, names this tenant.
fn header_names(snapshot: &Snapshot, tenant: &Tenant, headers: &HeaderMap) -> bool {
    let mut claims = headers.get_all(&snapshot.tenant_header).iter();
    claims.all(|claim| claim.as_bytes() == tenant.id.as_str().as_bytes())
}

/// On a tenant's host an operator can mean no other tenant.
fn confirm_operator(
    snapshot: &Snapshot,
    host: Option<&Arc<Tenant>>,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if host.is_none_or(|tenant| header_names(snapshot, tenant, headers)) {
        return Ok(());
    }
    let header = snapshot.tenant_header.as_str();
    let message = format!("The header {header} names another tenant than this host leads to; remove it");
    Err(Refusal::new(Code::CrossTenantAccessDenied, message))
}

/// The tenant header may only confirm what the key already says.
fn confirm_tenant(snapshot: &Snapshot, caller: &Caller, headers: &HeaderMap) -> Result<(), Refusal> {
    if header_names(snapshot, &caller.tenant, headers) {
        return Ok(());
    }
    let header = snapshot.tenant_header.as_str();
    Err(Refusal::new(
        Code::CrossTenantAccessDenied,
        format!(
            "The header {header} names another tenant than the key belongs to; remove it or send the key's own tenant"
        ),
    ))
}

fn operator(snapshot: &Snapshot, headers: &HeaderMap) -> Option<Arc<Operator>> {
    let key = ADMIN_KEY_HEADERS.iter().find_map(|name| header(headers, name)).or_else(|| bearer(headers))?;
    snapshot.keyring.operator(digest_of(snapshot, key)?).map(Arc::clone)
}

/// The tenant credential on a request: the configured header first, our own ones, then Bearer, then the providers' styles.
#[must_use]
pub fn tenant_credential<'h>(own_header: Option<&HeaderName>, headers: &'h HeaderMap) -> Option<&'h [u8]> {
    let configured = own_header.and_then(|name| header(headers, name.as_str()));
    let own = TENANT_KEY_HEADERS.iter().find_map(|name| header(headers, name));
    let foreign = || PROVIDER_STYLE_HEADERS.iter().find_map(|name| header(headers, name));
    configured.or(own).or_else(|| bearer(headers)).or_else(foreign)
}

/// The bearer credential, if there is one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = header(headers, AUTHORIZATION.as_str())?;
    let (scheme, credential) = value.split_at_checked(BEARER.len())?;
    let credential = credential.trim_ascii();
    (scheme.eq_ignore_ascii_case(BEARER.as_bytes()) && !credential.is_empty()).then_some(credential)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get(name).map(http::HeaderValue::as_bytes).filter(|value| !value.is_empty())
}

/// Whether a credential is one of this installation's own keys, which no provider may ever see. An issued key and a
/// derived token show by their form; what only looks like one is no provider's key either.
#[must_use]
pub fn is_own_key(snapshot: &Snapshot, credential: &[u8]) -> bool {
    let keyring = &snapshot.keyring;
    let configured = digest_of(snapshot, credential)
        .is_some_and(|d| keyring.caller(d).is_some() || keyring.operator(d).is_some());
    configured || std::str::from_utf8(credential).is_ok_and(|text| is_issued_form(snapshot, text))
}

/// Whether a text has the form of a key issued here, or of a token derived for one of our tenants.
fn is_issued_form(snapshot: &Snapshot, text: &str) -> bool {
    let ours = |nid| snapshot.tenant_by_nid(nid).is_some();
    match unverified_nid(text) {
        Some(ClaimedNid::Nid(nid)) => ours(nid),
        Some(ClaimedNid::Junk) => false,
        None => IssuedKey::parse(text).is_some(),
    }
}

fn digest_of(snapshot: &Snapshot, credential: &[u8]) -> Option<KeyDigest> {
    (credential.len() <= CREDENTIAL_BYTES_MAX).then(|| snapshot.hasher.digest(credential))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_key_header_wins_over_bearer_and_bearer_over_the_providers_styles() {
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", "d".parse().unwrap());
        assert_eq!(tenant_credential(None, &headers), Some(&b"d"[..]));
        headers.insert("authorization", "bearer  c ".parse().unwrap());
        assert_eq!(tenant_credential(None, &headers), Some(&b"c"[..]));
        headers.insert("x-talon-key", "b".parse().unwrap());
        assert_eq!(tenant_credential(None, &headers), Some(&b"b"[..]));
        headers.insert("authorization", "Basic c".parse().unwrap());
        assert_eq!(bearer(&headers), None);
        let configured = HeaderName::from_static("x-tenant-key");
        headers.insert(&configured, "a".parse().unwrap());
        assert_eq!(tenant_credential(Some(&configured), &headers), Some(&b"a"[..]));
    }

    #[test]
    fn issued_keys_and_our_tenants_tokens_are_known_by_their_form() {
        use base64::Engine as _;
        let snapshot = crate::evidence::tests::house::snapshot();
        let part = |json: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json);
        let jwt = |nid: &str| format!("{}.{}.c2ln", part("{}"), part(&format!("{{\"nid\":\"{nid}\"}}")));
        let ours = crate::evidence::tests::house::ACME.0.to_string();
        let issued = "t3_v1_Qixkm4LLsreXThDin1LjiPzWdqj9LmfnNgVDhk2GFun3gQsTpYuUUoQKsD4WLJiH_5ene3AfHFyZM1GbjLt9uLREnxes8b6Cnwm2ZUAtoMn1A";
        for (credential, own) in [
            (issued.to_owned(), true),
            (jwt(&ours), true),
            (jwt("550e8400-e29b-41d4-a716-446655440001"), false),
            ("key-a".to_owned(), true),
            ("sk-proj-a1b2c3".to_owned(), false),
        ] {
            assert_eq!(is_own_key(&snapshot, credential.as_bytes()), own, "{credential}");
        }
    }
}
