//! What a provider has seen of one request.

use std::time::Instant;

use serde_json::Value;

use crate::Headers;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// The header lines in wire order, repeats kept.
    pub headers: Headers,
    /// The body, with any chunked framing taken off.
    pub body: Vec<u8>,
    /// When its last byte had been read.
    pub arrived_at: Instant,
    /// When the client closed the connection before the answer was complete.
    pub hung_up_at: Option<Instant>,
    /// When the answer had been written whole.
    pub answered_at: Option<Instant>,
}

impl Recorded {
    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query, without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The body as JSON; `Null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// True when `needle` occurs in the target, a header or the body: for "this secret never left".
    #[must_use]
    pub fn mentions(&self, needle: &str) -> bool {
        let in_body = self.body.windows(needle.len().max(1)).any(|w| w == needle.as_bytes());
        self.target.contains(needle) || self.headers.mention(needle) || in_body
    }
}
