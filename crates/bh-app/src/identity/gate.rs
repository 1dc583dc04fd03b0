//! The one place where a credential becomes a [`Principal`]: configured keys first, by one look-up; then keys that were
//! issued or imported, and tokens derived from them. Only a key that memory does not know waits for a read.

use std::net::IpAddr;
use std::sync::Arc;

use bh_domain::audit::REQUEST_DENIED;
use bh_domain::budget::{Owner, Period};
use bh_domain::keys::key::KeyKind;
use bh_domain::keys::overrides::PolicyOverrides;
use bh_domain::keys::token::{ClaimedNid, unverified_nid};
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{DEFAULT_TENANT, TenantId};
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, Method};

use super::verdicts::{admits_scope, admits_token, beyond, orphan_refusal, refusal_of};
use super::{
    Access, Principal, admit_caller, by_address, confirm_operator, digest_of, operator, tenant_credential,
};
use crate::audit::{Provenance, RequestNote};
use crate::hosts::Host;
use crate::keyless::KeylessCalls;
use crate::keys::{
    Denied, FoundKey, Freshness, IdentityRow, KeyStory, Needs, Question, Subject, TokenSubject,
    policy_overrides,
};
use crate::metrics::CredentialType;
use crate::snapshot::{Accounts, Caller, CallerSource, Capped, NewCaller, Snapshot, Tenant, UsedKey};

/// The LLM data plane, as the trail names its door.
const DATA_PLANE: &str = "/v1";
/// Where tools are called.
const TOOL_ROUTES: [&str; 2] = ["/mcp", "/api/v1/"];

/// What a door needs an issued key to allow: a scope, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// LLM calls: `llm`.
    Llm,
    /// Tools: `tools`.
    Tools,
    /// Reads of the tenant's own data: `read`.
    Read,
    /// The tenant's own keys: `keys`.
    Keys,
}

impl Door {
    /// The door of a control-plane route.
    #[must_use]
    pub fn of(access: Access, path: &str) -> Self {
        match access {
            Access::TenantOrAdmin => Self::Read,
            Access::KeyAdmin => Self::Keys,
            Access::Tenant if TOOL_ROUTES.iter().any(|prefix| path.starts_with(prefix)) => Self::Tools,
            Access::Open | Access::Tenant | Access::Admin => Self::Llm,
        }
    }

    /// The scope that opens it.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Tools => "tools",
            Self::Read => "read",
            Self::Keys => "keys",
        }
    }

    /// Whether it knows models and money, and so can hold a token to what its caveats say of them.
    pub(super) fn judges_calls(self) -> bool {
        match self {
            Self::Llm => true,
            Self::Tools | Self::Read | Self::Keys => false,
        }
    }
}

/// What a request shows of its sender.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'r> {
    /// Where it is addressed to.
    pub host: &'r Host,
    /// Its headers.
    pub headers: &'r HeaderMap,
    /// The client's address, as far as proxies in front are believed.
    pub address: IpAddr,
    /// Its method.
    pub method: &'r Method,
    /// Its path, as the request line has it.
    pub path: &'r str,
}

impl<'r> Knock<'r> {
    /// What the head of a request shows.
    #[must_use]
    pub fn of(snapshot: &Snapshot, host: &'r Host, peer: IpAddr, head: &'r Parts) -> Self {
        let Parts { headers, method, uri, .. } = head;
        Self { host, headers, address: snapshot.client_address(peer, headers), method, path: uri.path() }
    }
}

/// Turns credentials into principals.
#[derive(Clone, Debug)]
pub struct Gate {
    pub(super) keys: KeyStory,
    pub(super) accounts: Accounts,
    keyless: Option<KeylessCalls>,
}

/// Any page a browser shows can send requests to its user's own machine. Who administers keys without a credential is
/// believed because nobody else can call; a page can, and its requests say where it is from.
fn refuse_browsers(headers: &HeaderMap) -> Result<(), Refusal> {
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let message =
        "Requests of web pages administer no keys here without an admin key: configure one and send it";
    Err(Refusal::new(Code::Forbidden, message))
}

impl Gate {
    /// A gate that knows the keys of this story, and counts what their holders do on these accounts.
    #[must_use]
    pub fn new(keys: KeyStory, accounts: Accounts) -> Self {
        Self { keys, accounts, keyless: None }
    }

    /// The same, counting calls without a key.
    #[must_use]
    pub fn counting_keyless(self, keyless: KeylessCalls) -> Self {
        Self { keyless: Some(keyless), ..self }
    }

    /// Authenticates a control-plane request against a route's access rule, once its host is known. A key that was
    /// issued must have the door's scope.
    ///
    /// # Errors
    /// Those of [`Host::tenant`]; `unauthorized` for a missing, unknown or wrong kind of key, and one that is over;
    /// `forbidden` for a key without the scope; `ip_not_allowed`; `CROSS_TENANT_ACCESS_DENIED` when the host or the
    /// tenant header contradicts the key.
    pub async fn authenticate(
        &self,
        snapshot: &Snapshot,
        knock: Knock<'_>,
        access: Access,
        door: Door,
    ) -> Result<Option<Principal>, Refusal> {
        let tenant = knock.host.tenant()?;
        if access == Access::Open {
            return Ok(None);
        }
        if access == Access::KeyAdmin && snapshot.open_key_admin {
            return refuse_browsers(knock.headers).map(|()| None);
        }
        if access.takes_operators()
            && let Some(operator) = operator(snapshot, knock.headers)
        {
            confirm_operator(snapshot, tenant, knock.headers)?;
            return Ok(Some(Principal::Operator(operator)));
        }
        let credential = tenant_credential(snapshot.api_key_header.as_ref(), knock.headers)
            .ok_or_else(|| access.refusal())?;
        let digest = digest_of(snapshot, credential).ok_or_else(|| access.refusal())?;
        if let Some(caller) = snapshot.keyring.caller(digest) {
            if !access.takes_callers() {
                return Err(access.refusal());
            }
            return admit_caller(snapshot, tenant, caller, &knock).map(Principal::Caller).map(Some);
        }
        if !access.takes_issued_keys() || snapshot.keyring.operator(digest).is_some() {
            return Err(access.refusal());
        }
        let caller = Box::pin(self.keyed(snapshot, &knock, credential, access, door)).await?;
        Ok(Some(Principal::Caller(caller)))
    }

    /// The caller of a data-plane request: by key, else by address (seed: `identify_by: source_ip`).
    ///
    /// # Errors
    /// As [`Gate::authenticate`] with [`Access::Tenant`]. A key that is present but unknown is never rescued by the
    /// address.
    pub async fn data_plane_caller(
        &self,
        snapshot: &Snapshot,
        knock: Knock<'_>,
    ) -> Result<Arc<Caller>, Refusal> {
        let found = self.caller_that_calls(snapshot, knock).await;
        found.inspect_err(|refusal| self.tell_denied(&knock, refusal))
    }

    async fn caller_that_calls(&self, snapshot: &Snapshot, knock: Knock<'_>) -> Result<Arc<Caller>, Refusal> {
        let tenant = knock.host.tenant()?;
        let access = Access::Tenant;
        let Some(credential) = tenant_credential(snapshot.api_key_header.as_ref(), knock.headers) else {
            let known = by_address(snapshot, knock.address).ok_or_else(|| access.refusal())?;
            let caller = admit_caller(snapshot, tenant, known, &knock)?;
            if let (CallerSource::Keyless, Some(keyless)) = (caller.source, &self.keyless) {
                keyless.note(caller.tenant.nid, knock.address);
            }
            return Ok(caller);
        };
        let digest = digest_of(snapshot, credential).ok_or_else(|| access.refusal())?;
        if let Some(caller) = snapshot.keyring.caller(digest) {
            return admit_caller(snapshot, tenant, caller, &knock);
        }
        if snapshot.keyring.operator(digest).is_some() {
            return Err(access.refusal());
        }
        // Boxed: or each call would keep room, and be moved with it, for what only a key that is not configured needs.
        Box::pin(self.keyed(snapshot, &knock, credential, access, Door::Llm)).await
    }

    /// A key that is good and is not let in is on its tenant's trail: no record of the call tells of it.
    fn tell_denied(&self, knock: &Knock<'_>, refusal: &Refusal) {
        let Some(nid) = refusal.whose else { return };
        let origin = Provenance::new(knock.headers, knock.address, "", self.keys.monotonic_ns());
        self.keys.trail().asked(RequestNote {
            nid,
            action: REQUEST_DENIED,
            method: "",
            route: DATA_PLANE,
            status: refusal.code.status(),
            code: Some(refusal.code.as_str()),
            object: String::new(),
            actor: None,
            role: "client",
            origin: origin.facts(self.keys.monotonic_ns()),
        });
    }

    /// The caller that shows a key which is not configured.
    async fn keyed(
        &self,
        snapshot: &Snapshot,
        knock: &Knock<'_>,
        credential: &[u8],
        access: Access,
        door: Door,
    ) -> Result<Arc<Caller>, Refusal> {
        let credential = std::str::from_utf8(credential).map_err(|_| access.refusal())?;
        let tenant = &self.tenant_of(snapshot, knock, credential).await?.ok_or_else(|| access.refusal())?;
        let question = Question {
            credential,
            audiences: &[],
            freshness: Freshness::Cached,
            address: Some(knock.address),
            // The door counts: what it refuses before a provider is asked is on the record.
            counted: false,
            needs: Needs::default(),
        };
        let verdict = self.keys.verify(tenant, question).await;
        let refused = |denied| refusal_of(denied, access);
        let orphaned = |denied| orphan_refusal(denied, access);
        let caller = match (verdict.subject, verdict.denied) {
            (Some(Subject::Key(row)), None) => {
                admits_scope(door, &row.key.scopes).map_err(|refusal| refusal.of(tenant.nid))?;
                self.keys.note_use(tenant, &row);
                self.caller_of(snapshot, tenant, &FoundKey { row, identity: verdict.identity })
            }
            (Some(Subject::Token(token)), None) => {
                let address = Some(knock.address);
                let found = self.keys.parent_of(tenant, &token, Freshness::Cached, address).await;
                let found = found
                    .inspect_err(|denied| self.failed(tenant, knock, &token, denied))
                    .map_err(orphaned)?;
                admits_token(door, knock, &token, &found.row).map_err(|refusal| refusal.of(tenant.nid))?;
                self.keys.note_use(tenant, &found.row);
                self.caller_of_token(&self.caller_of(snapshot, tenant, &found), &token)?
            }
            (_, denied) => {
                return Err(denied.map_or_else(|| access.refusal(), refused));
            }
        };
        admit_caller(snapshot, knock.host.tenant()?, &caller, knock)
    }

    /// The tenant whose key it may be: the host's; where host names decide nothing, the one that a token says it is of, that
    /// has an issued key, that the tenant header names, or `default`. Only verification there proves it.
    async fn tenant_of(
        &self,
        snapshot: &Snapshot,
        knock: &Knock<'_>,
        credential: &str,
    ) -> Result<Option<Arc<Tenant>>, Refusal> {
        if let Ok(Some(tenant)) = knock.host.tenant() {
            return Ok(Some(Arc::clone(tenant)));
        }
        match self.owner_of(snapshot, credential).await? {
            Whose::Tenant(tenant) => return Ok(Some(tenant)),
            Whose::Nobody => return Ok(None),
            Whose::Unknown => {}
        }
        let named = knock.headers.get(&snapshot.tenant_header);
        let named = named.map_or(Some(DEFAULT_TENANT), |name| name.to_str().ok());
        let id = named.and_then(|named| TenantId::parse(named).ok());
        Ok(id.and_then(|id| snapshot.tenant(&id)))
    }

    /// What a credential says of whose it is: a token by itself, an issued key by its id. Nothing is proven by it.
    ///
    /// # Errors
    /// `evidence_unavailable` when the store does not answer.
    pub async fn owner_of(&self, snapshot: &Snapshot, credential: &str) -> Result<Whose, Refusal> {
        let nid = match unverified_nid(credential) {
            Some(ClaimedNid::Nid(nid)) => Some(nid),
            Some(ClaimedNid::Junk) => return Ok(Whose::Nobody),
            None => self.keys.tenant_of_key(credential).await?,
        };
        let Some(nid) = nid else { return Ok(Whose::Unknown) };
        Ok(snapshot.tenant_by_nid(nid).map_or(Whose::Nobody, Whose::Tenant))
    }

    /// A token whose key is over is on the audit trail, as one that proves nothing is.
    fn failed(&self, tenant: &Tenant, knock: &Knock<'_>, token: &TokenSubject, denied: &Denied) {
        let of = if token.macaroon { CredentialType::DerivedMacaroon } else { CredentialType::DerivedJwt };
        let key_id = token.narrowed.claims().key_id.as_deref();
        self.keys.failed(tenant.nid, of, denied.code, key_id, Some(knock.address));
    }

    /// The caller that a key is: named by its actor, with the default policy under its own. Made once for a row, a
    /// configuration, and a state of the key's identity.
    fn caller_of(&self, snapshot: &Snapshot, tenant: &Arc<Tenant>, found: &FoundKey) -> Arc<Caller> {
        let FoundKey { row, identity } = found;
        let identity = identity.as_deref();
        let with = (snapshot.generation, tenant.origin, identity.map(IdentityRow::state));
        row.caller(with, || {
            let key = &row.key;
            let name = key.actor_id.as_ref().filter(|actor| !actor.is_empty());
            let name = name.or(Some(&key.name)).filter(|name| !name.is_empty());
            let source = match key.kind {
                KeyKind::Issued => CallerSource::Issued,
                KeyKind::Imported => CallerSource::Imported,
            };
            let rate = self.keys.limit_of(tenant, row);
            let named = self.keys.named_of(tenant, row, identity).into();
            let new = NewCaller {
                key: Some(UsedKey { id: key.key_id.clone(), rate, named, token: None }),
                ..NewCaller::plain(name.map_or(key.key_id.as_str(), String::as_str), tenant, source)
            };
            self.accounts.rates.make_room(self.keys.monotonic_ns());
            let overrides = policy_overrides(key).unwrap_or_else(|fault| {
                tracing::error!(key_id = %key.key_id, %fault, "a stored policy is not one: nothing may be spent");
                closed()
            });
            snapshot.caller_policy.caller(&self.accounts, new, &overrides)
        })
    }

    /// The caller of a token: its key's, with the token's own budget beside the others.
    fn caller_of_token(&self, key: &Caller, token: &TokenSubject) -> Result<Arc<Caller>, Refusal> {
        let narrowed = Arc::new(token.narrowed.clone());
        let mut caller = key.clone();
        if let Some(cap) = narrowed.budget() {
            let Some(id) = narrowed.claims().id.clone().filter(|id| !id.is_empty()) else {
                return Err(beyond("has a budget and no `jti` to count it under"));
            };
            let Tenant { nid, clock, .. } = &*caller.tenant;
            let cell = self.accounts.budgets.cell(*nid, Owner::Token(id), Period::Session, clock);
            caller.budgets.push(Capped { cap, cell });
            caller.capped_by_choice = true;
        }
        caller.source = CallerSource::Token;
        caller.key = caller.key.map(|key| UsedKey { token: Some(narrowed), ..key });
        Ok(Arc::new(caller))
    }
}

/// What a credential says of whose it is.
#[derive(Clone, Debug)]
pub enum Whose {
    /// This tenant's, if it is good.
    Tenant(Arc<Tenant>),
    /// Nobody's: whatever else the request says.
    Nobody,
    /// It does not say: the rest of the request may.
    Unknown,
}

/// A policy that lets nothing pass which costs money.
fn closed() -> PolicyOverrides {
    let nothing = Some(bh_domain::money::NanoUsd::ZERO);
    PolicyOverrides { max_daily_cost: nothing, max_monthly_cost: nothing, ..PolicyOverrides::default() }
}
