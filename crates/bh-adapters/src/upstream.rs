//! Providers over HTTP: pooled, keep-alive connections, with time limits for each attempt.

mod pool;

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bh_app::ports::{
    Attempt, BoxFuture, CallerBodyBroken, ProviderRequest, ProviderResponse, SendFault, SendFaultKind,
    Upstream,
};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::RwLock;
use rustls::ClientConfig;

use self::pool::{Pool, PoolFault};
use crate::egress::{GuardedResolver, NoPublicAddress, is_public};

const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// HTTP/1.1 to every provider. Many parallel connections rather than one multiplexed one: a provider's limit on
/// concurrent streams would otherwise queue one tenant's calls behind another's.
pub struct HttpUpstream {
    tls: ClientConfig,
    pools: RwLock<HashMap<PoolKey, Arc<Pool>>>,
}

/// What a pool is configured by: connections made under one rule are never used under another.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PoolKey {
    connect_timeout: Duration,
    public_only: bool,
}

impl std::fmt::Debug for HttpUpstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpUpstream").field("pools", &self.pools.read().len()).finish_non_exhaustive()
    }
}

impl HttpUpstream {
    /// An upstream that trusts the public certificate authorities.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Arc::new(Self { tls, pools: RwLock::default() })
    }

    fn pool(&self, attempt: Attempt) -> Arc<Pool> {
        let key = PoolKey { connect_timeout: attempt.connect_timeout, public_only: !attempt.private_network };
        if let Some(pool) = self.pools.read().get(&key) {
            return Arc::clone(pool);
        }
        self.pools.write().entry(key).or_insert_with(|| self.connect(key)).clone()
    }

    fn connect(&self, key: PoolKey) -> Arc<Pool> {
        let mut tcp = HttpConnector::new_with_resolver(GuardedResolver::new(key.public_only));
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        tcp.set_connect_timeout(Some(key.connect_timeout));
        tcp.enforce_http(false);
        let https = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Pool::new(https)
    }
}

impl Upstream for HttpUpstream {
    fn send(&self, request: ProviderRequest) -> BoxFuture<'static, Result<ProviderResponse, SendFault>> {
        let pool = self.pool(request.attempt);
        Box::pin(send(pool, request))
    }
}

async fn send(pool: Arc<Pool>, request: ProviderRequest) -> Result<ProviderResponse, SendFault> {
    let ProviderRequest { method, uri, headers, body, attempt } = request;
    if !attempt.private_network && literal_address(&uri).is_some_and(|ip| !is_public(ip)) {
        return Err(SendFault { kind: SendFaultKind::Forbidden, cause: Box::new(NoPublicAddress) });
    }
    let mut outgoing = http::Request::new(body);
    *outgoing.method_mut() = method;
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers;
    match tokio::time::timeout(attempt.header_timeout, pool.send(outgoing)).await {
        Err(elapsed) => Err(SendFault { kind: SendFaultKind::Timeout, cause: Box::new(elapsed) }),
        Ok(Err(fault)) => Err(fault_of(fault)),
        Ok(Ok(response)) => {
            let (head, body) = response.into_parts();
            let body = body.boxed_unsync();
            Ok(ProviderResponse { status: head.status, headers: head.headers, body })
        }
    }
}

fn literal_address(uri: &http::Uri) -> Option<IpAddr> {
    uri.host()?.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn fault_of(fault: PoolFault) -> SendFault {
    let (otherwise, cause) = match fault {
        PoolFault::Connect(cause) => (SendFaultKind::Connect, cause),
        PoolFault::Broken(cause) => (SendFaultKind::Broken, cause),
    };
    SendFault { kind: kind_of(&*cause).unwrap_or(otherwise), cause }
}

/// What a cause says of itself.
fn kind_of(cause: &(dyn Error + 'static)) -> Option<SendFaultKind> {
    let mut cause = Some(cause);
    while let Some(error) = cause {
        if error.is::<CallerBodyBroken>() {
            return Some(SendFaultKind::CallerBody);
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(NoPublicAddress::is_cause_of) {
            return Some(SendFaultKind::Forbidden);
        }
        cause = error.source();
    }
    None
}
