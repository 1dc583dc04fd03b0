//! Which requests are on the audit trail without having changed anything (Connectors dossier §15, 38 and 39): whatever
//! an operator asks for, and whatever is refused for who asks. A change tells of itself.

use std::sync::Arc;

use bh_app::audit::{Provenance, RequestNote};
use bh_app::identity::{Access, Principal};
use bh_app::snapshot::Snapshot;
use bh_domain::audit::redact::text_of;
use bh_domain::audit::{REQUEST_DENIED, REQUEST_DONE, REQUEST_FAILED, REQUEST_READ};
use bh_domain::keys::key::JsonObject;
use bh_domain::refusal::{Code, Refusal};
use bh_domain::tenant::{DEFAULT_TENANT, Nid, TenantId};
use http::{HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;

use crate::ask::Doors;
use crate::keys::role_text;
use crate::matrix::Row;

/// Where keys are verified: asked for each request of other systems, and counted in the usage.
const QUESTIONS: [&str; 2] = ["/v2alpha1/admin/apiKeys:verify", "/v2alpha1/admin/apiKeys:batchVerify"];
/// Routes about one tenant: its slug follows.
const OF_TENANT: &str = "/api/v1/admin/tenants/";
/// The longest part of a path that an event repeats, in bytes.
const OBJECT_BYTES_MAX: usize = 128;
const STRANGER: &str = "client";
const TENANT: &str = "tenant";
const OPEN: &str = "open";
const ANYBODY: &str = "anonymous";

/// A request, as far as the trail may have to tell of it.
pub(crate) struct Watch {
    row: Row,
    method: Method,
    uri: Uri,
    /// The tenant that its host leads to.
    host: Option<Nid>,
    /// The tenant that its header names.
    header: Option<HeaderValue>,
    principal: Option<Principal>,
    /// Whether it was let in, with a credential or where none is needed.
    is_let_in: bool,
    origin: Arc<Provenance>,
}

impl Watch {
    /// A request of somebody, whose host leads to this tenant.
    pub(crate) fn new(
        row: Row,
        head: &http::request::Parts,
        snapshot: &Snapshot,
        host: Option<Nid>,
        origin: &Arc<Provenance>,
    ) -> Self {
        let header = head.headers.get(&snapshot.tenant_header).cloned();
        let (method, uri, origin) = (head.method.clone(), head.uri.clone(), Arc::clone(origin));
        Self { row, method, uri, host, header, principal: None, is_let_in: false, origin }
    }

    /// It is known who sent it.
    pub(crate) fn known(&mut self, principal: Option<&Principal>) {
        self.principal = principal.cloned();
        self.is_let_in = true;
    }

    /// Tells of a request that was refused, where the trail is to know.
    pub(crate) fn refused(&self, doors: &Doors, refusal: &Refusal) {
        let status = refusal.code.status();
        let denied = matches!(status, 401 | 403 | 429);
        let action = match denied {
            _ if self.origin.is_failure_told() => return,
            true if self.row.access != Access::Open => REQUEST_DENIED,
            false if self.is_let_in && self.is_administrative() && !self.is_question() => REQUEST_FAILED,
            true | false => return,
        };
        let only_read = action == REQUEST_FAILED && self.reads();
        let nid = if only_read { Nid::SYSTEM } else { refusal.whose.unwrap_or_else(|| self.whose(doors)) };
        self.tell(doors, nid, action, status, Some(refusal.code));
    }

    /// Tells of a request that was served, where it has not told of itself.
    pub(crate) fn served(&self, doors: &Doors, status: u16) {
        if !self.is_administrative() || self.is_question() || self.origin.is_told() {
            return;
        }
        if self.reads() {
            self.tell(doors, Nid::SYSTEM, REQUEST_READ, status, None);
        } else {
            self.tell(doors, self.whose(doors), REQUEST_DONE, status, None);
        }
    }

    /// A tenant's trail tells what was done to it. What operators look at is the installation's to know.
    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD | Method::OPTIONS)
    }

    fn is_question(&self) -> bool {
        QUESTIONS.contains(&self.row.path)
    }

    /// Whether it is somebody's who administers, or for what only these may do and nobody has to prove anything.
    fn is_administrative(&self) -> bool {
        match (&self.principal, self.row.access) {
            (Some(Principal::Operator(_)), _) => true,
            (Some(Principal::Caller(_)) | None, access) => access == Access::KeyAdmin,
        }
    }

    /// Whose trail it belongs to.
    fn whose(&self, doors: &Doors) -> Nid {
        match (&self.principal, self.row.access) {
            _ if !self.is_let_in => Nid::SYSTEM,
            (Some(Principal::Caller(caller)), _) => caller.tenant.nid,
            (Some(Principal::Operator(_)), _) if self.row.path.starts_with(OF_TENANT) => {
                let named = self.object().and_then(|id| doors.tenants.tenant_ever(id).ok());
                named.map_or(Nid::SYSTEM, |tenant| tenant.nid)
            }
            (_, Access::KeyAdmin) => self.host.or_else(|| self.named(doors)).unwrap_or(Nid::SYSTEM),
            (Some(Principal::Operator(_)) | None, _) => Nid::SYSTEM,
        }
    }

    /// The tenant whose keys are meant: the one that the header names, or `default`.
    fn named(&self, doors: &Doors) -> Option<Nid> {
        // Whoever is nobody acts in `default`, whatever they say.
        let header = self.header.as_ref().filter(|_| matches!(self.principal, Some(Principal::Operator(_))));
        let name = header.map_or(Some(DEFAULT_TENANT), |name| name.to_str().ok());
        let id = TenantId::parse(name?).ok()?;
        doors.live.load().tenant(&id).map(|tenant| tenant.nid)
    }

    /// What it is about: the part of the path that stands where the route has its first parameter.
    fn object(&self) -> Option<&str> {
        let mut parts = self.row.path.split('/').zip(self.uri.path().split('/'));
        let (_, found) = parts.find(|(name, _)| name.starts_with('{'))?;
        (found.len() <= OBJECT_BYTES_MAX).then_some(found)
    }

    fn tell(&self, doors: &Doors, nid: Nid, action: &'static str, status: u16, code: Option<Code>) {
        let known = self.is_let_in;
        let (actor, role) = match &self.principal {
            Some(Principal::Operator(operator)) => (Some(operator.name.clone()), role_text(operator.role)),
            Some(Principal::Caller(caller)) => (Some(caller.name.clone()), TENANT),
            None if known => (Some(ANYBODY.to_owned()), OPEN),
            None => (None, STRANGER),
        };
        // What nobody has vouched for is not repeated.
        let object = self.object().filter(|_| known).map(plain).unwrap_or_default();
        let (method, route) = (method_text(&self.method), self.row.path);
        let origin = facts(doors, &self.origin);
        let code = code.map(Code::as_str);
        doors.trail.asked(RequestNote {
            nid,
            action,
            method,
            route,
            status,
            code,
            object,
            actor,
            role,
            origin,
        });
    }
}

/// A part of a path without its verb, and without what somebody may have put in an id's place.
fn plain(part: &str) -> String {
    let decoded = percent_decode_str(part).decode_utf8_lossy();
    text_of(decoded.split_once(':').map_or(&*decoded, |(id, _)| id))
}

fn facts(doors: &Doors, origin: &Provenance) -> JsonObject {
    origin.facts(doors.clock.monotonic_ns())
}

/// A method's name, for those that a route can take.
fn method_text(method: &Method) -> &'static str {
    const NAMES: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    NAMES.into_iter().find(|name| *name == method.as_str()).unwrap_or("OTHER")
}
