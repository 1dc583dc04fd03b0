//! Where a request came from and what it asked for, for the trail (seed 001, "Audit All Actions").

use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use bh_domain::audit::redact::redact;
use bh_domain::keys::key::JsonObject;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

/// The person or system behind a sender, as the sender asserts it.
const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
/// Characters of a header that are kept.
const HEADER_CHARS_MAX: usize = 256;
/// The largest body whose members are kept; of larger ones the size is.
const PARAMS_BYTES_MAX: usize = 16 * 1024;

/// Where a request came from and what it asked for. One for each request of the control plane; whatever the request
/// does takes it along into its events.
#[derive(Debug, Default)]
pub struct Provenance {
    address: Option<IpAddr>,
    user_agent: Option<HeaderValue>,
    user_id: Option<HeaderValue>,
    request_id: String,
    begun_ns: u64,
    body: OnceLock<Bytes>,
    told: AtomicBool,
    failure_told: AtomicBool,
}

impl Provenance {
    /// Of a request with these headers, which began at an instant of the monotonic clock.
    #[must_use]
    pub fn new(headers: &HeaderMap, address: IpAddr, request_id: &str, begun_ns: u64) -> Self {
        let header = |name| headers.get(name).cloned();
        Self {
            address: Some(address),
            user_agent: header(http::header::USER_AGENT),
            user_id: header(USER_ID),
            request_id: request_id.to_owned(),
            begun_ns,
            body: OnceLock::new(),
            told: AtomicBool::new(false),
            failure_told: AtomicBool::new(false),
        }
    }

    /// The request has this body.
    pub fn asked(&self, body: Bytes) {
        // A request has one body: a second one is none of it.
        let _first = self.body.set(body);
    }

    /// Whether an event tells of what the request has changed.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// What was told was not stored: nothing changed.
    pub(crate) fn untold(&self) {
        self.told.store(false, Ordering::Release);
    }

    /// Whether an event tells that the request came to nothing.
    #[must_use]
    pub fn is_failure_told(&self) -> bool {
        self.failure_told.load(Ordering::Acquire)
    }

    /// An event tells that the request came to nothing.
    pub(crate) fn failure_is_told(&self) {
        self.failure_told.store(true, Ordering::Release);
    }

    /// What an event says of the request, which it tells of.
    pub(crate) fn tell(&self, now_ns: u64) -> JsonObject {
        self.told.store(true, Ordering::Release);
        self.facts(now_ns)
    }

    /// The same, without telling.
    #[must_use]
    pub fn facts(&self, now_ns: u64) -> JsonObject {
        let Some(address) = self.address else { return JsonObject::default() };
        let mut facts = Map::new();
        facts.insert("client_address".to_owned(), address.to_string().into());
        for (name, header) in [("user_agent", &self.user_agent), ("user_id", &self.user_id)] {
            if let Some(header) = header {
                facts.insert(name.to_owned(), readable(header).into());
            }
        }
        if !self.request_id.is_empty() {
            facts.insert("request_id".to_owned(), self.request_id.as_str().into());
        }
        let ms = now_ns.saturating_sub(self.begun_ns) / 1_000_000;
        facts.insert("duration_ms".to_owned(), ms.into());
        if let Some(params) = self.params() {
            facts.insert("params".to_owned(), params);
        }
        JsonObject::parse(Value::Object(facts).to_string()).unwrap_or_default()
    }

    /// The body without secrets; nothing for what is no object, or an empty one.
    fn params(&self) -> Option<Value> {
        let body = self.body.get()?;
        if body.len() > PARAMS_BYTES_MAX {
            return Some(serde_json::json!({ "bytes": body.len() }));
        }
        let value: Value = serde_json::from_slice(body).ok()?;
        value.as_object().is_some_and(|members| !members.is_empty()).then(|| redact(&value))
    }
}

/// A header as text: what is no printable ASCII becomes a question mark.
fn readable(header: &HeaderValue) -> String {
    let printable = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
    header.as_bytes().iter().take(HEADER_CHARS_MAX).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_origin_says_from_where_and_what_without_secrets() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_bytes(b"curl/8\xff").unwrap());
        headers.insert("x-user-id", HeaderValue::from_static("user-123"));
        let origin = Provenance::new(&headers, IpAddr::from([10, 0, 0, 1]), "gw_1", 5_000_000);
        origin.asked(Bytes::from_static(br#"{"name": "web", "secret": "s"}"#));
        assert!(!origin.is_told());
        let told: Value = serde_json::from_str(origin.tell(12_000_000).as_str()).unwrap();
        let wanted = json!({
            "client_address": "10.0.0.1", "user_agent": "curl/8?", "user_id": "user-123", "request_id": "gw_1",
            "duration_ms": 7, "params": {"name": "web", "secret": "[redacted]"},
        });
        assert_eq!(told, wanted);
        assert!(origin.is_told());
        assert_eq!(
            Provenance::default().tell(1).as_str(),
            "{}",
            "what was not asked for over HTTP came from nowhere"
        );
    }
}
