//! A tenant's app, as far as the demo needs one: HTTP to the gateway.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::cli::Failure;

/// How long one call may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Headers that carry the gateway's id of a call, the surest first.
const REQUEST_IDS: [&str; 2] = ["x-bulkhead-request-id", "x-request-id"];

/// A client of one gateway.
#[derive(Debug)]
pub(super) struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    gateway: SocketAddr,
}

/// How an app says who it is: the header its SDK puts the key in.
#[derive(Clone, Copy)]
pub(super) enum Credential<'a> {
    /// `Authorization: Bearer`, as OpenAI's SDKs do.
    Bearer(&'a str),
    /// `x-api-key`, as Anthropic's SDKs do.
    ApiKey(&'a str),
    /// No key at all.
    Nobody,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Got {
    /// HTTP status.
    pub(super) status: u16,
    /// The gateway's id of the call, which its evidence carries as `correlation_id`.
    pub(super) request_id: String,
    /// The whole body.
    pub(super) body: Bytes,
}

impl Got {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, Failure> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Client {
    /// A client of the gateway at this address.
    pub(super) fn new(gateway: SocketAddr) -> Self {
        Self { pool: Pool::builder(TokioExecutor::new()).build_http(), gateway }
    }

    /// Reads a resource.
    pub(super) async fn get(&self, path: &str, credential: Credential<'_>) -> Result<Got, Failure> {
        self.call(Method::GET, path, credential, Bytes::new()).await
    }

    /// Posts JSON.
    pub(super) async fn post(
        &self,
        path: &str,
        credential: Credential<'_>,
        body: &Value,
    ) -> Result<Got, Failure> {
        self.call(Method::POST, path, credential, Bytes::from(body.to_string())).await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        credential: Credential<'_>,
        body: Bytes,
    ) -> Result<Got, Failure> {
        let request = Request::builder().method(method).uri(format!("http://{}{path}", self.gateway));
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = match credential {
            Credential::Bearer(key) => request.header("authorization", format!("Bearer {key}")),
            Credential::ApiKey(key) => {
                request.header("x-api-key", key).header("anthropic-version", "2023-06-01")
            }
            Credential::Nobody => request,
        };
        let request = request.body(Full::new(body))?;
        tokio::time::timeout(CALL_TIMEOUT, self.exchange(request)).await?
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Got, Failure> {
        let response = self.pool.request(request).await?;
        let (head, body) = response.into_parts();
        let read = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = read.map_err(|error| Failure::new(format!("an answer broke off: {error}")))?.to_bytes();
        // A proxied answer may carry the provider's own `x-request-id`; ours stands beside it then.
        let id = REQUEST_IDS.iter().find_map(|name| head.headers.get(*name)).and_then(|id| id.to_str().ok());
        Ok(Got { status: head.status.as_u16(), request_id: id.unwrap_or_default().to_owned(), body })
    }
}
