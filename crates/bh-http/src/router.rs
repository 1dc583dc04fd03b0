//! Answers requests by the rows of the matrix: what host, which row, whose credential, and only then its handler.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bh_app::audit::Provenance;
use bh_app::hosts::Host;
use bh_app::identity::{Access, Door, Knock, Principal};
use bh_app::llm::shutting_down;
use bh_app::rates::Counted;
use bh_app::snapshot::Snapshot;
use bh_domain::limit::RateVerdict;
use bh_domain::refusal::{Code, Refusal};
use http::header::ALLOW;
use http::{HeaderValue, Request, StatusCode};
use percent_encoding::percent_decode_str;

use crate::ask::{Ask, Doors, without_nul};
use crate::matrix::Family::{Control, Later, Llm};
use crate::matrix::{Handler, MATRIX, METRICS, Row};
use crate::respond::{self, Dialect, REQUEST_ID};
use crate::serve::Answers;
use crate::surface::Surface;
use crate::trail::Watch;
use crate::{keys, llm};

/// What is known of a request before its row answers.
pub(crate) struct Arrival {
    /// The configuration that holds for it, to its end.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where it is addressed to.
    pub(crate) host: Host,
    /// The peer's address.
    pub(crate) peer: IpAddr,
    /// The id that its answer names it by, where that is not the door's to choose.
    pub(crate) request_id: Option<String>,
}

/// Builds the router of the main listener. With `quickstart`, the host root belongs to the quickstart (seed 002).
pub fn router(doors: Arc<Doors>, quickstart: bool, metrics_here: bool, surface: Surface) -> Router {
    let answered = |row: &Row| if quickstart { llm::under_quickstart(row) } else { Some(row.answer) };
    let open = MATRIX.iter().filter(|row| surface.has(row));
    let rows = open.filter_map(|row| Some(Row { answer: answered(row)?, ..*row }));
    Router::new(doors, rows.chain(metrics_here.then_some(METRICS)))
}

/// The router of a metrics listener of its own: metrics and probes.
pub fn metrics_router(doors: Arc<Doors>) -> Router {
    Router::new(doors, MATRIX.iter().filter(|row| row.is_probe()).copied().chain([METRICS]))
}

/// Answers requests by the rows of the matrix.
#[derive(Clone)]
pub struct Router(Arc<Routes>);

struct Routes {
    doors: Arc<Doors>,
    rows: matchit::Router<Row>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}

impl Router {
    fn new(doors: Arc<Doors>, matrix: impl IntoIterator<Item = Row>) -> Self {
        let mut rows = matchit::Router::new();
        for row in matrix {
            // A test inserts every row; at run time a row in another's way could only be left out.
            if let Err(conflict) = rows.insert(row.path, row) {
                tracing::error!(path = row.path, %conflict, "two rows of the matrix take the same path");
            }
        }
        Self(Arc::new(Routes { doors, rows }))
    }

    async fn row_answer(&self, request: Request<Body>, peer: IpAddr, request_id: Option<String>) -> Response {
        let Routes { doors, rows } = &*self.0;
        let snapshot = doors.live.load_full();
        let found = rows.at(request.uri().path());
        let host = if found.as_ref().is_ok_and(|found| found.value.on_any_host()) {
            Host::Any
        } else {
            Host::resolve(&snapshot, request.uri(), request.version(), request.headers())
        };
        let Ok(found) = found else { return no_route(doors, &host, request.uri().path()) };
        let row = *found.value;
        if !row.takes(request.method()) {
            return wrong_method(doors, &row, &host, request.uri().path());
        }
        if doors.llm.stopping() && !row.is_probe() && !matches!(row.answer, Llm(_)) {
            return plain_refusal(doors, &shutting_down(), Dialect::of(row.path));
        }
        let arrival = Arrival { snapshot, host, peer, request_id };
        match row.answer {
            Llm(llm::Entry::Models) => match path_params(&found.params) {
                Ok(path) => Box::pin(llm::models(doors, &path, &request.into_parts().0, &arrival)).await,
                Err(refusal) => plain_refusal(doors, &refusal, Dialect::Control),
            },
            Llm(entry) => llm::answer(doors, entry, request, arrival).await,
            Control(_) | Later(_) => {
                let path = path_params(&found.params);
                // Boxed: or each LLM call would keep room for what a control call needs.
                Box::pin(control(Arc::clone(doors), row, path, request, arrival)).await
            }
        }
    }
}

impl Answers for Router {
    async fn answer(&self, request: Request<Body>, peer: IpAddr) -> Response {
        let headers = keys::ApiHeaders::of(&request);
        let request_id = headers.as_ref().and_then(|headers| headers.request_id().map(str::to_owned));
        let mut response = self.row_answer(request, peer, request_id).await;
        if let Some(headers) = headers {
            headers.write(response.headers_mut());
        }
        response
    }

    fn stop(&self) -> bool {
        self.0.doors.llm.stop();
        true
    }
}

fn not_yet() -> Refusal {
    Refusal::new(
        Code::NotImplemented,
        "Your key may use this endpoint, but this release does not serve it yet",
    )
}

async fn control(
    doors: Arc<Doors>,
    row: Row,
    path: Result<Vec<(String, String)>, Refusal>,
    request: Request<Body>,
    arrival: Arrival,
) -> Response {
    let (now, begun_ns) = (doors.clock.now(), doors.clock.monotonic_ns());
    let (parts, body) = request.into_parts();
    let Arrival { snapshot, host, peer, request_id } = arrival;
    let request_id = request_id.unwrap_or_else(llm::new_request_id);
    let telling = Arc::clone(&doors);
    let uri = parts.uri.clone();
    let path = without_nul(&parts.uri).and(path);
    let origin =
        Provenance::new(&parts.headers, snapshot.client_address(peer, &parts.headers), &request_id, begun_ns);
    let origin = Arc::new(origin);
    let host_nid = host.tenant().ok().flatten().map(|tenant| tenant.nid);
    let mut watch = Watch::new(row, &parts, &snapshot, host_nid, &origin);
    let knock = Knock::of(&snapshot, &host, peer, &parts);
    let known = doors.gate.authenticate(&snapshot, knock, row.access, Door::of(row.access, row.path)).await;
    let counted = match &known {
        Ok(principal) => {
            watch.known(principal.as_ref());
            count(&doors, principal.as_ref(), row.access).await
        }
        Err(_) => Ok(None),
    };
    let rate = counted.as_ref().ok().copied().flatten();
    let outcome = match (known, counted.and(path)) {
        (Err(refusal), _) | (Ok(_), Err(refusal)) => Err(refusal),
        (Ok(principal), Ok(path)) => {
            let request_id = request_id.clone();
            let ask = Ask { doors, snapshot, request_id, principal, origin, host, peer, parts, path, body };
            match (row.answer, ask.allowed(&row)) {
                (_, Err(refusal)) => Err(refusal),
                (Control(Handler(handler)), Ok(())) => handler(ask).await,
                (Later(_) | Llm(_), Ok(())) => Err(not_yet()),
            }
        }
    };
    let mut response = match outcome {
        Ok(response) => {
            watch.served(&telling, response.status().as_u16());
            response
        }
        Err(refusal) => {
            telling.metrics.refusal(refusal.code.as_str());
            watch.refused(&telling, &refusal);
            respond::refusal(&refusal, Dialect::of(row.path), &request_id, now)
        }
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        say_allowed(&mut response, &row, uri.path());
    }
    let headers = response.headers_mut();
    if let Some(rate) = &rate {
        respond::rate_headers(headers, rate, now);
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        headers.insert(REQUEST_ID, value);
    }
    if let (StatusCode::NOT_IMPLEMENTED, Later(with)) = (response.status(), row.answer) {
        // A constant of ours: always a valid header value.
        response.headers_mut().insert("x-bulkhead-arrives-with", HeaderValue::from_static(with));
    }
    response
}

/// Counts a request against the limits of whoever sent it. Operators have none.
async fn count(
    doors: &Doors,
    principal: Option<&Principal>,
    access: Access,
) -> Result<Option<RateVerdict>, Refusal> {
    let Some(Principal::Caller(caller)) = principal else { return Ok(None) };
    let asked = match access {
        Access::KeyAdmin => Counted::KeyAdmin,
        Access::Open | Access::Tenant | Access::TenantOrAdmin | Access::Admin => Counted::Door,
    };
    doors.gate.count(asked, caller).await
}

/// A path that is no route. On a host that leads nowhere, that is what is told: in one way, whatever the path.
fn no_route(doors: &Doors, host: &Host, path: &str) -> Response {
    match host.tenant() {
        Ok(_) => plain_refusal(doors, &Refusal::new(Code::NotFound, "No such route"), Dialect::of(path)),
        Err(refusal) => plain_refusal(doors, &refusal, Dialect::Aip193),
    }
}

fn wrong_method(doors: &Doors, row: &Row, host: &Host, path: &str) -> Response {
    if let Err(refusal) = host.tenant() {
        return plain_refusal(doors, &refusal, Dialect::of(row.path));
    }
    let refusal = Refusal::new(Code::MethodNotAllowed, "This route does not take this method");
    let mut response = plain_refusal(doors, &refusal, Dialect::of(row.path));
    say_allowed(&mut response, row, path);
    response
}

fn say_allowed(response: &mut Response, row: &Row, path: &str) {
    let allowed = row.allowed(path).collect::<Vec<_>>().join(", ");
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        response.headers_mut().insert(ALLOW, allowed);
    }
}

fn plain_refusal(doors: &Doors, refusal: &Refusal, dialect: Dialect) -> Response {
    let request_id = llm::new_request_id();
    let mut response: Response = respond::refusal(refusal, dialect, &request_id, doors.clock.now());
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The path's parameters, percent-decoded.
fn path_params(found: &matchit::Params<'_, '_>) -> Result<Vec<(String, String)>, Refusal> {
    let decoded = |(name, raw): (&str, &str)| {
        let value = percent_decode_str(raw).decode_utf8().map_err(|_| {
            Refusal::new(Code::InvalidRequest, format!("The `{name}` in the path is not UTF-8"))
        })?;
        Ok((name.to_owned(), value.into_owned()))
    };
    found.iter().map(decoded).collect()
}
