//! Kept-alive HTTP/1.1 connections to providers.
//!
//! One connection carries one call at a time. It comes back when the answer's body has ended and goes to the next call
//! to the same origin, the one used last first. Dropping an answer before its end closes its connection, which tells
//! the provider to stop.

use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bh_app::ports::ProviderBody;
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;
use tokio::time::Instant;
use tower_service::Service;

use crate::egress::GuardedResolver;

/// Idle connections that are kept for one origin.
const IDLE_PER_ORIGIN_MAX: usize = 512;
/// How long a connection is kept without a call.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often connections are closed that nobody has used.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How many idle connections are looked at for one call. Those used last may not have noticed yet that they are free.
const LOOKED_AT_MAX: usize = 8;

pub(super) type Connector = HttpsConnector<HttpConnector<GuardedResolver>>;
type Cause = Box<dyn Error + Send + Sync>;
type Connection = SendRequest<ProviderBody>;

/// Connections that were made under one rule.
///
/// Ours and not the client of hyper-util's: that one spawns a task for each call, copies its connector and its key, all of it
/// on the path of every call (decision 29).
pub(super) struct Pool {
    connector: Connector,
    idle: Mutex<HashMap<Origin, Vec<Idle>>>,
}

/// Where a connection leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Origin {
    scheme: Scheme,
    authority: Authority,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// What kept a request from being answered.
pub(super) enum PoolFault {
    /// There was no connection, so nothing was sent.
    Connect(Cause),
    /// The connection broke.
    Broken(Cause),
}

/// An address that is no place to send a request to.
#[derive(Debug, thiserror::Error)]
#[error("the provider's address has no scheme and host")]
struct NoOrigin;

impl Pool {
    /// A pool without connections. Must be called within the runtime.
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        let pool = Arc::new(Self { connector, idle: Mutex::default() });
        tokio::spawn(sweep(Arc::downgrade(&pool)));
        pool
    }

    /// Sends a request to the origin of its absolute URI, and returns when the head of the answer has come.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: Request<ProviderBody>,
    ) -> Result<Response<Returning>, PoolFault> {
        let (origin, uri) = Origin::split(&mut request).map_err(|fault| PoolFault::Connect(fault.into()))?;
        loop {
            let kept = self.take(&origin);
            let is_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect(uri.clone()).await?,
            };
            match connection.try_send_request(request).await {
                Ok(response) => return Ok(self.lend(response, origin, connection)),
                // The provider had closed it, and has read nothing of this.
                Err(mut fault) => match fault.take_message() {
                    Some(unsent) if is_kept => request = unsent,
                    Some(_) | None => return Err(PoolFault::Broken(fault.into_error().into())),
                },
            }
        }
    }

    /// A connection that waits for a call.
    fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut all = self.idle.lock();
        let idle = all.get_mut(origin)?;
        for place in (0..idle.len()).rev().take(LOOKED_AT_MAX) {
            if idle[place].connection.is_ready() {
                return Some(idle.remove(place).connection);
            }
        }
        None
    }

    async fn connect(&self, uri: Uri) -> Result<Connection, PoolFault> {
        let mut connector = self.connector.clone();
        poll_fn(|cx| connector.poll_ready(cx)).await.map_err(PoolFault::Connect)?;
        let stream = connector.call(uri).await.map_err(PoolFault::Connect)?;
        let (connection, driver) =
            http1::handshake(stream).await.map_err(|fault| PoolFault::Connect(fault.into()))?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it is told; nobody else needs to know.
            if let Err(fault) = driver.await {
                tracing::debug!(error = &fault as &dyn Error, "a provider's connection ended");
            }
        });
        Ok(connection)
    }

    fn lend(
        self: Arc<Self>,
        response: Response<Incoming>,
        origin: Origin,
        connection: Connection,
    ) -> Response<Returning> {
        response.map(|body| {
            let mut lent = Returning { body, lent: Some(Lent { pool: self, origin, connection }) };
            lent.give_back_at_end();
            lent
        })
    }
}

impl Origin {
    /// Makes a request what is sent on a connection to its origin, and returns that origin and where to connect to.
    fn split(request: &mut Request<ProviderBody>) -> Result<(Self, Uri), NoOrigin> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        let path = parts.path_and_query.take();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(NoOrigin) };
        let mut to = http::uri::Parts::default();
        to.scheme = Some(scheme.clone());
        to.authority = Some(authority.clone());
        to.path_and_query = Some(http::uri::PathAndQuery::from_static("/"));
        let uri = Uri::from_parts(to).map_err(|_| NoOrigin)?;
        *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        let host = host_header(&scheme, &authority).ok_or(NoOrigin)?;
        request.headers_mut().entry(header::HOST).or_insert(host);
        Ok((Self { scheme, authority }, uri))
    }
}

/// The host, with the port where it is not the scheme's own.
fn host_header(scheme: &Scheme, authority: &Authority) -> Option<HeaderValue> {
    let own = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let host = authority.host();
    match authority.port_u16() {
        Some(port) if port != own => HeaderValue::try_from(format!("{host}:{port}")).ok(),
        Some(_) | None => HeaderValue::from_str(host).ok(),
    }
}

/// Closes connections that nobody has used for a while, as long as there is the pool.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(pool) = pool.upgrade() else { return };
        pool.idle.lock().retain(|_, idle| {
            idle.retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT && !idle.connection.is_closed());
            !idle.is_empty()
        });
    }
}

/// The body of an answer, which gives its connection back when it has ended.
pub(super) struct Returning {
    body: Incoming,
    lent: Option<Lent>,
}

struct Lent {
    pool: Arc<Pool>,
    origin: Origin,
    connection: Connection,
}

impl Returning {
    fn give_back_at_end(&mut self) {
        if self.body.is_end_stream() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        let Some(Lent { pool, origin, connection }) = self.lent.take() else { return };
        if connection.is_closed() {
            return;
        }
        let mut all = pool.idle.lock();
        let idle = all.entry(origin).or_default();
        if idle.len() < IDLE_PER_ORIGIN_MAX {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }
}

impl Body for Returning {
    type Data = Bytes;
    type Error = Cause;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cause>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.give_back(),
            Some(Ok(_)) => self.give_back_at_end(),
            Some(Err(_)) => self.lent = None,
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
