//! Where a request is addressed to: from its host to a tenant (seed 003, Talos dossier §7.1).

use std::sync::Arc;

use bh_domain::hostname::{HostTable, normalise};
use bh_domain::refusal::{Code, Refusal};
use http::header::HOST;
use http::{HeaderMap, HeaderName, Uri, Version};

use crate::snapshot::{Caller, Snapshot, Tenant};

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Where a request is addressed to.
#[derive(Clone, Debug)]
pub enum Host {
    /// Anywhere: host names decide nothing here, or the route is the same for everybody.
    Any,
    /// A tenant's.
    Of(Arc<Tenant>),
    /// Nobody's: a name that leads nowhere, or none at all. Both are told alike.
    Unknown,
    /// The request breaks HTTP: its host is given twice, differently, or is missing where it must not be (RFC 9112 §3.2).
    Malformed,
}

impl Host {
    /// Resolves a request's host. The target's own authority (HTTP/1.1 absolute form, HTTP/2 `:authority`) is the host;
    /// without one, the `Host` header is. `X-Forwarded-Host` wins over both where the configuration says so.
    #[must_use]
    pub fn resolve(snapshot: &Snapshot, uri: &Uri, version: Version, headers: &HeaderMap) -> Self {
        let Some(hosts) = &snapshot.hosts else { return Self::Any };
        match named(uri, version, headers, snapshot.trust_forwarded_host) {
            Ok(name) => name.and_then(|name| led_to(snapshot, hosts, name)).map_or(Self::Unknown, Self::Of),
            Err(ambiguous) => ambiguous,
        }
    }

    /// The tenant it leads to, where host names decide.
    ///
    /// # Errors
    /// `network_not_found`, or `invalid_request` for a malformed one. The name is never repeated.
    pub fn tenant(&self) -> Result<Option<&Arc<Tenant>>, Refusal> {
        match self {
            Self::Any => Ok(None),
            Self::Of(tenant) => Ok(Some(tenant)),
            Self::Unknown => Err(Refusal::new(Code::NetworkNotFound, "network not found")),
            Self::Malformed => Err(Refusal::new(
                Code::InvalidRequest,
                "The request needs exactly one Host header, the same as its authority over HTTP/2",
            )),
        }
    }
}

/// The tenant that a name leads to. The narrowest entry wins, and of two that are alike the file's.
fn led_to(snapshot: &Snapshot, hosts: &HostTable<Arc<Tenant>>, raw: &[u8]) -> Option<Arc<Tenant>> {
    let name = normalise(raw)?;
    let of_file = |tenant: &Arc<Tenant>| snapshot.current(tenant);
    match hosts.exact(&name) {
        Some(tenant) => of_file(tenant),
        None => match snapshot.made.by_host(snapshot.generation, &name) {
            Some(tenant) => snapshot.current(&tenant),
            None => hosts.wide(&name).and_then(of_file),
        },
    }
}

/// A key opens its own tenant's hosts and no other's.
///
/// # Errors
/// `CROSS_TENANT_ACCESS_DENIED`.
pub fn confirm_host(host: Option<&Arc<Tenant>>, caller: &Caller) -> Result<(), Refusal> {
    if host.is_none_or(|tenant| tenant.nid == caller.tenant.nid) {
        return Ok(());
    }
    let message = "This host is another tenant's than the key belongs to; call the key's own tenant's host";
    Err(Refusal::new(Code::CrossTenantAccessDenied, message))
}

/// The host that a request names, as it is written there. `X-Forwarded-Host` wins where it is trusted.
///
/// # Errors
/// [`Host::Malformed`] or [`Host::Unknown`], when nobody can tell which host is meant.
pub fn named<'r>(
    uri: &'r Uri,
    version: Version,
    headers: &'r HeaderMap,
    trust_forwarded: bool,
) -> Result<Option<&'r [u8]>, Host> {
    match own(uri, version, headers) {
        Ok(own) if trust_forwarded => forwarded(headers).map(|name| name.or(own)),
        own => own,
    }
}

/// The host that the request itself names.
fn own<'r>(uri: &'r Uri, version: Version, headers: &'r HeaderMap) -> Result<Option<&'r [u8]>, Host> {
    let mut lines = headers.get_all(HOST).iter();
    let line = lines.next().map(http::HeaderValue::as_bytes);
    let http1 = version <= Version::HTTP_11;
    if lines.next().is_some() || (version == Version::HTTP_11 && line.is_none()) {
        return Err(Host::Malformed);
    }
    let authority = uri.authority().map(|authority| authority.as_str().as_bytes());
    // RFC 9113 §8.3.1: a request with both must mean one.
    if let (false, Some(authority), Some(line)) = (http1, authority, line)
        && normalise(authority) != normalise(line)
    {
        return Err(Host::Malformed);
    }
    Ok(authority.or(line))
}

/// The host that a proxy in front has been asked for. An empty one is none; of two nobody can tell which one counts.
fn forwarded(headers: &HeaderMap) -> Result<Option<&[u8]>, Host> {
    let mut lines = headers.get_all(FORWARDED_HOST).iter();
    let line = lines.next().map(http::HeaderValue::as_bytes);
    if lines.next().is_some() {
        return Err(Host::Unknown);
    }
    Ok(line.filter(|name| !name.is_empty()))
}
