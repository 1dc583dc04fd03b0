//! Which headers cross the gateway, in both directions.
//!
//! Requests: an **allow-list** of what the official SDKs need, so that our own credentials, cookies and internal
//! headers can't leak to a provider (a defect of Talon, dossier §4.6). Answers: everything but what belongs to the
//! connection, to the provider's own site, or to us. Repeated headers stay repeated and in order.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// Request headers forwarded to a provider.
const REQUEST_ALLOWED: &[&str] = &[
    "accept",
    "accept-language",
    "baggage",
    "content-encoding",
    "content-language",
    "content-type",
    "conversation_id",
    "http-referer",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "originator",
    "prefer",
    "range",
    "session-id",
    "session_id",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-client-request-id",
    "x-ms-client-request-id",
    "x-ms-useragent",
    "x-request-id",
    "x-title",
];

/// Families of request headers forwarded to a provider, by prefix.
const REQUEST_ALLOWED_PREFIXES: &[&str] =
    &["anthropic-", "openai-", "x-stainless-", "x-openai-", "x-codex-", "x-claude-code-"];

/// Headers of one connection (RFC 9110 §7.6.1), which end at each hop.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Response headers that speak for the provider's own site, or that the gateway writes itself.
const RESPONSE_DENIED: &[&str] = &[
    "alt-svc",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "date",
    "nel",
    "report-to",
    "reporting-endpoints",
    "server",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "via",
    "www-authenticate",
];

/// Response header families that are ours or belong to the provider's browser policy.
const RESPONSE_DENIED_PREFIXES: &[&str] = &["access-control-", "x-bulkhead-", "x-talon-"];

/// How a provider takes its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderAuth {
    /// `Authorization: Bearer …`: OpenAI and compatible servers.
    Bearer,
    /// `x-api-key: …`: Anthropic.
    XApiKey,
    /// `api-key: …`: Azure OpenAI.
    ApiKey,
}

/// A provider key that no HTTP header can carry. The key is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the provider key holds a character that no HTTP header can carry")]
pub struct InvalidKey;

impl ProviderAuth {
    /// The header that authenticates the gateway to the provider, marked sensitive.
    ///
    /// # Errors
    /// [`InvalidKey`] when the key holds a control character.
    pub fn header(self, key: &str) -> Result<(HeaderName, HeaderValue), InvalidKey> {
        let (name, prefix) = match self {
            Self::Bearer => (header::AUTHORIZATION, "Bearer "),
            Self::XApiKey => (HeaderName::from_static("x-api-key"), ""),
            Self::ApiKey => (HeaderName::from_static("api-key"), ""),
        };
        let mut value = HeaderValue::try_from(format!("{prefix}{key}")).map_err(|_| InvalidKey)?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// The client's headers a provider gets, with `accept-encoding: identity` so that usage in the answer can be read.
/// Authentication, host and length are for the caller to add.
#[must_use]
pub fn request_headers(client: &HeaderMap) -> HeaderMap {
    let named = connection_names(client);
    let mut forwarded = HeaderMap::with_capacity(client.len() + 2);
    for (name, value) in client {
        if is_request_allowed(name.as_str()) && !named.iter().any(|listed| listed == name.as_str()) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    forwarded.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    forwarded
}

/// The provider's headers a client gets. `content-length` is kept: drop it where the body is changed.
#[must_use]
pub fn response_headers(provider: &HeaderMap) -> HeaderMap {
    let named = connection_names(provider);
    let mut forwarded = HeaderMap::with_capacity(provider.len() + 4);
    for (name, value) in provider {
        if is_response_allowed(name.as_str()) && !named.iter().any(|listed| listed == name.as_str()) {
            forwarded.append(name.clone(), value.clone());
        }
    }
    forwarded
}

/// The headers that go on beyond this connection, as they are: for a proxy that only passes messages on.
#[must_use]
pub fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named = connection_names(headers);
    let mut kept = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        if !HOP_BY_HOP.contains(&name.as_str()) && !named.iter().any(|listed| listed == name.as_str()) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn is_request_allowed(name: &str) -> bool {
    REQUEST_ALLOWED.contains(&name) || starts_with_any(name, REQUEST_ALLOWED_PREFIXES)
}

fn is_response_allowed(name: &str) -> bool {
    !HOP_BY_HOP.contains(&name)
        && !RESPONSE_DENIED.contains(&name)
        && !starts_with_any(name, RESPONSE_DENIED_PREFIXES)
}

fn starts_with_any(name: &str, prefixes: &[&str]) -> bool {
    prefixes.iter().any(|prefix| name.starts_with(prefix))
}

/// Header names that `Connection` declares to end at this hop, in lower case.
fn connection_names(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn a_proxy_passes_on_what_does_not_belong_to_the_connection() {
        let headers = map(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("authorization", "Bearer kept"),
        ]);
        let kept = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("authorization", "Bearer kept")]);
        assert_eq!(end_to_end(&headers), kept);
    }

    #[test]
    fn a_provider_gets_what_the_sdks_need_and_nothing_of_ours() {
        let client = map(&[
            ("host", "gateway.example"),
            ("authorization", "Bearer tenant"),
            ("x-api-key", "tenant"),
            ("api-key", "tenant"),
            ("cookie", "s=1"),
            ("x-talon-session-id", "s"),
            ("x-talon-admin-key", "a"),
            ("x-bulkhead-session-id", "s"),
            ("x-tenant-id", "t"),
            ("x-user-id", "u"),
            ("forwarded", "for=1"),
            ("x-forwarded-for", "1.2.3.4"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "close, X-Stainless-Lang"),
            ("x-stainless-lang", "python"),
            ("accept-encoding", "gzip, br"),
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("openai-organization", "org"),
            ("idempotency-key", "k"),
            ("x-stainless-os", "Linux"),
        ]);
        let expected = map(&[
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("anthropic-dangerous-direct-browser-access", "true"),
            ("openai-organization", "org"),
            ("idempotency-key", "k"),
            ("x-stainless-os", "Linux"),
            ("accept-encoding", "identity"),
        ]);
        assert_eq!(request_headers(&client), expected);
    }

    #[test]
    fn a_client_gets_the_providers_limits_but_not_its_cookies() {
        let provider = map(&[
            ("content-type", "text/event-stream"),
            ("x-request-id", "r"),
            ("request-id", "r"),
            ("x-ratelimit-remaining-tokens", "9"),
            ("anthropic-ratelimit-requests-limit", "1"),
            ("openai-processing-ms", "3"),
            ("retry-after", "2"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "keep-alive, cf-ray"),
            ("keep-alive", "timeout=5"),
            ("cf-ray", "x"),
            ("transfer-encoding", "chunked"),
            ("x-bulkhead-overhead-us", "0"),
            ("access-control-allow-origin", "*"),
        ]);
        let expected = map(&[
            ("content-type", "text/event-stream"),
            ("x-request-id", "r"),
            ("request-id", "r"),
            ("x-ratelimit-remaining-tokens", "9"),
            ("anthropic-ratelimit-requests-limit", "1"),
            ("openai-processing-ms", "3"),
            ("retry-after", "2"),
        ]);
        assert_eq!(response_headers(&provider), expected);
    }

    #[test]
    fn a_provider_key_goes_into_its_familys_header_and_stays_out_of_debug() {
        let (name, value) = ProviderAuth::Bearer.header("sk-1").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("authorization", "Bearer sk-1"));
        assert_eq!(format!("{value:?}"), "Sensitive");
        assert_eq!(ProviderAuth::XApiKey.header("k").unwrap().0.as_str(), "x-api-key");
        assert_eq!(ProviderAuth::ApiKey.header("k").unwrap().0.as_str(), "api-key");
        assert_eq!(ProviderAuth::Bearer.header("a\nb"), Err(InvalidKey));
    }
}
