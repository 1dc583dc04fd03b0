//! Small looks into the JSON of one event: substring searches first, a parse only of what is worth it.

use std::borrow::Cow;

use memchr::memmem::{self, Finder};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::sse::Fields;
use crate::usage::{AnthropicUsage, OpenAiUsage, Usage};

#[derive(Deserialize)]
pub(super) struct ErrorProbe {
    #[serde(default)]
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct ModelProbe {
    #[serde(default)]
    pub(super) model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ChatChunk {
    #[serde(default)]
    pub(super) usage: Option<OpenAiUsage>,
    #[serde(default)]
    pub(super) choices: Option<Vec<IgnoredAny>>,
    #[serde(default)]
    pub(super) model: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ResponseEvent {
    pub(super) response: Response,
}

#[derive(Deserialize)]
pub(super) struct Response {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) usage: Option<OpenAiUsage>,
}

#[derive(Deserialize)]
pub(super) struct MessageStart {
    pub(super) message: Message,
}

#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) usage: Option<AnthropicUsage>,
}

#[derive(Deserialize)]
pub(super) struct MessageDelta {
    #[serde(default)]
    pub(super) usage: Option<AnthropicUsage>,
}

pub(super) fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Option<T> {
    serde_json::from_slice(data).ok()
}

/// The type of an event: its name, or the `type` of its data where the server sends no names.
pub(super) fn event_type<'e>(event: &'e Fields<'_>) -> Cow<'e, [u8]> {
    #[derive(Deserialize)]
    struct TypeProbe {
        r#type: String,
    }
    if !event.name.is_empty() {
        return Cow::Borrowed(event.name);
    }
    let leading = event.data.strip_prefix(b"{\"type\":\"".as_slice());
    if let Some(rest) = leading
        && let Some(end) = memchr::memchr2(b'"', b'\\', rest)
        && rest.get(end) == Some(&b'"')
    {
        return Cow::Borrowed(rest.get(..end).unwrap_or_default());
    }
    parsed::<TypeProbe>(&event.data).map(|probe| Cow::Owned(probe.r#type.into_bytes())).unwrap_or_default()
}

/// Whether `data` holds the key with a value other than `null`. A key inside a string has its quotes escaped, so it
/// does not match.
pub(super) fn has_value(key: &Finder<'_>, data: &[u8]) -> bool {
    key.find_iter(data).any(|at| {
        let after = data.get(at + key.needle().len()..).unwrap_or_default().trim_ascii_start();
        let value = after.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|value| !value.starts_with(b"null"))
    })
}

pub(super) fn number_after(key: &Finder<'_>, data: &[u8]) -> Option<u64> {
    let rest = data.get(key.find(data)? + key.needle().len()..)?.trim_ascii_start();
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(rest.get(..digits)?).ok()?.parse().ok()
}

/// The usage nearest to the end of a Responses event of which only the end is known.
pub(super) fn usage_in_tail(tail: &[u8]) -> Option<Usage> {
    let key = b"\"usage\":";
    let mut end = tail.len();
    while let Some(at) = memmem::rfind(tail.get(..end)?, key) {
        let value = tail.get(at + key.len()..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_slice(value).into_iter::<OpenAiUsage>();
        if let Some(usage) = values.next().and_then(Result::ok).and_then(|usage| usage.normal()) {
            return Some(usage);
        }
        end = at;
    }
    None
}

/// Bytes of the string values of `keys`, as encoded: an estimate that costs one pass over the quotes.
pub(super) fn text_bytes(data: &[u8], keys: &[&[u8]]) -> u64 {
    let mut total = 0;
    let mut rest = if keys.is_empty() { b"".as_slice() } else { data };
    while let Some((string, after)) = next_string(rest) {
        rest = after;
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { continue };
        let value = value.trim_ascii_start();
        if keys.contains(&string)
            && value.first() == Some(&b'"')
            && let Some((text, after_value)) = next_string(value)
        {
            total += text.len() as u64;
            rest = after_value;
        }
    }
    total
}

/// The next quoted string, without its quotes, and what follows it.
pub(super) fn next_string(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = data.get(memchr::memchr(b'"', data)? + 1..)?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inner.get(at..)?)?;
        if inner.get(at) == Some(&b'"') {
            return Some((inner.get(..at)?, inner.get(at + 1..)?));
        }
        at += 2;
    }
}
