//! A question as far as its answer depends on it, and an answer that may be given again.

use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use bh_domain::time::Timestamp;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, DATE, HOST,
    PRAGMA, SET_COOKIE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::ports::Clock;

/// How near its end a credential is not worth keeping.
const LIFE_MS_MIN: i64 = 1_000;
/// What an entry costs beside its texts.
const ENTRY_BYTES: u64 = 512;

/// Request headers that no verdict depends on. All others are part of the question, whatever they are: who asks, for
/// whom, and through which proxies.
const NO_PART: [HeaderName; 14] = [
    ACCEPT,
    ACCEPT_ENCODING,
    ACCEPT_LANGUAGE,
    // Say whether a kept answer is wanted, not of what.
    CACHE_CONTROL,
    PRAGMA,
    CONTENT_LENGTH,
    DATE,
    // Part of the question by itself, as it is meant.
    HOST,
    USER_AGENT,
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("baggage"),
];

/// Answer headers that are of one answer alone.
const NOT_KEPT: [HeaderName; 4] = [
    CONTENT_LENGTH,
    DATE,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("ory-talos-cache"),
];

/// Members of a verdict that say that uses of the key are counted: such a verdict is of one use alone.
fn counts(member: &str) -> bool {
    member.starts_with("rate_limit") || member.starts_with("credits")
}

/// A question to the key server, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The host it is asked of, as it will be passed on.
    pub host: &'a [u8],
    /// Path and query.
    pub path: &'a str,
    /// Whose connection it came on.
    pub peer: IpAddr,
    /// Headers, those of the connection taken out.
    pub headers: &'a HeaderMap,
    /// The whole body.
    pub body: &'a [u8],
}

/// A question's SHA-256: nothing of the credential can be read from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Asked<'_> {
    /// Its fingerprint: over every part with its length, so that no two questions read alike.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Context::new(&SHA256);
        let mut part = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        };
        part(self.host);
        part(self.path.as_bytes());
        part(self.peer.to_canonical().to_string().as_bytes());
        part(self.body);
        let mut headers: Vec<(&str, &[u8])> = self
            .headers
            .iter()
            .filter(|(name, _)| !NO_PART.contains(name))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        // By name alone: the order of lines of one name has a meaning.
        headers.sort_by_key(|(name, _)| *name);
        for (name, value) in headers {
            part(name.as_bytes());
            part(value);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Fingerprint(fingerprint)
    }
}

/// An answer that may be given again.
#[derive(Debug)]
pub struct Kept {
    /// Its headers, without those of one answer alone.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What it weighs.
    pub(super) bytes: u64,
    until_ns: u64,
    expires: Option<Timestamp>,
}

impl Kept {
    /// The answer, if it may be given again: a good verdict, on a credential that lives on and whose uses nobody
    /// counts, which its server lets others keep.
    pub(super) fn of(
        answer: &Response<Bytes>,
        ttl: Duration,
        asked_ns: u64,
        clock: &dyn Clock,
    ) -> Option<Self> {
        let headers = answer.headers();
        if ttl.is_zero() || answer.status() != StatusCode::OK || !lets_keep(headers) {
            return None;
        }
        let verdict: Map<String, Value> = serde_json::from_slice(answer.body()).ok()?;
        if verdict.get("is_valid") != Some(&Value::Bool(true)) || verdict.keys().any(|member| counts(member))
        {
            return None;
        }
        let expires = match verdict.get("expire_time") {
            None | Some(Value::Null) => None,
            Some(time) => Some(Timestamp::parse(&String::deserialize(time).ok()?).ok()?),
        };
        if expires.is_some_and(|end| end.0.saturating_sub(clock.now().0) <= LIFE_MS_MIN) {
            return None;
        }
        let ttl_ns = u64::try_from(ttl.as_nanos()).unwrap_or(u64::MAX);
        let mut headers = headers.clone();
        NOT_KEPT.iter().for_each(|name| drop(headers.remove(name)));
        let lines = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum::<usize>();
        let bytes = ENTRY_BYTES + (lines + answer.body().len()) as u64;
        // A copy of its own: the bytes that came may be part of a larger buffer.
        let body = Bytes::copy_from_slice(answer.body());
        Some(Self { headers, body, bytes, until_ns: asked_ns.saturating_add(ttl_ns), expires })
    }

    /// Whether it may still be given. By both clocks: one never goes back, the other knows when the credential ends.
    pub(super) fn holds(&self, clock: &dyn Clock) -> bool {
        let lives = |end: Timestamp| end.0.saturating_sub(clock.now().0) > 0;
        clock.monotonic_ns() < self.until_ns && self.expires.is_none_or(lives)
    }
}

/// Whether the server lets others keep its answer, and it is a plain one.
fn lets_keep(headers: &HeaderMap) -> bool {
    let forbids = |directive: &str| {
        let directive = directive.trim().to_ascii_lowercase();
        ["no-store", "no-cache", "private"].iter().any(|word| directive.starts_with(word))
    };
    let mut lines = headers.get_all(CACHE_CONTROL).iter();
    let forbidden = lines.any(|line| line.to_str().map_or(true, |line| line.split(',').any(forbids)));
    let special = [
        CONTENT_ENCODING,
        SET_COOKIE,
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
    ];
    !forbidden && !special.iter().any(|name| headers.contains_key(name))
}
