//! HTTP to a gateway: where it is, who asks, and what it says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bh_adapters::HttpUpstream;
use bh_app::ports::{Attempt, ProviderBody, ProviderRequest, Upstream as _};
use bh_config::schema::AdminRole;
use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Failure, print};
use crate::load::ConfigSource;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is read: a page of a thousand keys with all their metadata.
const ANSWER_BYTES_MAX: usize = 128 << 20;
/// Hyphens and underscores are in ids and names, and need no escape.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// Ours, and what the seeds call it.
const ADMIN_KEY_VARS: [&str; 3] = ["BULKHEAD_ADMIN_KEY", "TALON_ADMIN_KEY", "ADMIN_API_KEY"];

/// Which server is asked, and as whom.
#[derive(Debug, Args)]
pub(in crate::cli) struct Where {
    /// Where the server answers; without it, where the configuration says that it listens.
    #[arg(short, long, global = true, env = "BULKHEAD_ENDPOINT", value_name = "URL")]
    endpoint: Option<String>,
    /// File with the admin key. Without it BULKHEAD_ADMIN_KEY counts and, where no endpoint is given, the first admin
    /// key of the configuration.
    #[arg(long, global = true, value_name = "FILE")]
    admin_key_file: Option<PathBuf>,
}

/// One server, and where host names tell tenants apart, one of them.
pub(in crate::cli) struct Api {
    upstream: Arc<HttpUpstream>,
    base: String,
    headers: HeaderMap,
}

impl Api {
    pub(in crate::cli) fn new(
        source: &ConfigSource,
        place: &Where,
        host: Option<&str>,
    ) -> Result<Self, Failure> {
        let (base, configured_key) = match &place.endpoint {
            // The configuration's keys are for its own server.
            Some(endpoint) => (endpoint.trim_end_matches('/').to_owned(), None),
            None => of_configuration(source)?,
        };
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(Failure::new("--endpoint: expected http://HOST[:PORT] or https://HOST[:PORT]"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(host) = host {
            let host = HeaderValue::from_str(host).map_err(|_| Failure::new("--tenant: not a host name"))?;
            headers.insert(HOST, host);
        }
        if let Some(key) = admin_key(place, configured_key)? {
            let value = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut value = value.map_err(|_| Failure::new("the admin key is not printable ASCII"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self { upstream: HttpUpstream::new(), base, headers })
    }

    pub(in crate::cli) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(in crate::cli) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(in crate::cli) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    pub(in crate::cli) async fn put(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(in crate::cli) async fn delete(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, None).await
    }

    /// Prints an answer of any length as it comes.
    pub(in crate::cli) async fn download(&self, path: &str) -> Result<(), Failure> {
        let mut body = self.answered(Method::GET, path, None).await?;
        while let Some(frame) = tokio::time::timeout(ANSWER_TIMEOUT, body.frame()).await? {
            let frame = frame.map_err(|error| Failure::new(format!("the answer broke off: {error}")))?;
            if let Ok(data) = frame.into_data() {
                print::bytes(&data)?;
            }
        }
        Ok(())
    }

    /// One call. An answer without a body is `null`.
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let body = self.answered(method, path, body).await?;
        let bytes = collected(body).await?;
        if bytes.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&bytes)
            .map_err(|_| Failure::new(format!("{} does not answer as a gateway does", self.base)))
    }

    /// The body of a good answer; what a server refuses is a failure, in its words.
    async fn answered(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<ProviderBody, Failure> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let headers = self.headers.clone();
        let attempt = Attempt {
            connect_timeout: CONNECT_TIMEOUT,
            header_timeout: ANSWER_TIMEOUT,
            private_network: true,
        };
        let sent = self.upstream.send(ProviderRequest { method, uri, headers, body, attempt }).await;
        let answer = sent.map_err(|fault| {
            let why = crate::serve::chain(fault.cause.as_ref());
            Failure::new(format!("no answer from {}: {why}", self.base))
        })?;
        if !answer.status.is_success() {
            return Err(refusal(answer.status.as_u16(), &collected(answer.body).await?));
        }
        Ok(answer.body)
    }
}

/// A text as a part of a path or query.
pub(in crate::cli) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

async fn collected(body: ProviderBody) -> Result<Bytes, Failure> {
    let read = Limited::new(body, ANSWER_BYTES_MAX).collect();
    let read = tokio::time::timeout(ANSWER_TIMEOUT, read).await?;
    Ok(read.map_err(|error| Failure::new(format!("the answer broke off: {error}")))?.to_bytes())
}

/// Where the configured server listens, and a key that may administer it.
fn of_configuration(source: &ConfigSource) -> Result<(String, Option<String>), Failure> {
    let config = source.reload()?.config;
    let mut address = config.server.listen.0;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let admin = config.admin_keys.iter().find(|admin| admin.role == AdminRole::Admin);
    let key = admin.and_then(|admin| admin.key.as_ref()).map(|key| key.expose().to_owned());
    Ok((format!("http://{address}"), key))
}

fn admin_key(place: &Where, configured: Option<String>) -> Result<Option<String>, Failure> {
    if let Some(path) = &place.admin_key_file {
        let read = std::fs::read_to_string(path);
        let text =
            read.map_err(|cause| Failure::new(format!("{} cannot be read: {cause}", path.display())))?;
        return Ok(Some(text.trim().to_owned()));
    }
    let given = ADMIN_KEY_VARS.iter().filter_map(|name| std::env::var(name).ok()).find(|key| !key.is_empty());
    Ok(given.or(configured))
}

/// What the server says of a request that it refused, in its words.
fn refusal(status: u16, body: &[u8]) -> Failure {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let error = &body["error"];
    let message = error["message"].as_str().or_else(|| body["message"].as_str());
    let word = error["status"].as_str().or_else(|| error["code"].as_str()).or_else(|| error.as_str());
    let word = word.unwrap_or_default();
    let message = super::audit::table::shown(message.unwrap_or("the server gave no reason"));
    Failure::new(format!("{message} ({status} {word})"))
}
