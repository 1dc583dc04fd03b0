//! Rate-limit headers: seed 001's `X-RateLimit-*`, the IETF draft's `RateLimit` and `RateLimit-Policy`
//! (draft-ietf-httpapi-ratelimit-headers), and `Retry-After`.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The longest policy name written, in characters.
const NAME_CHARS_MAX: usize = 64;
/// About what one limit takes in a header.
const MEMBER_CHARS: usize = 40;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const IETF: HeaderName = HeaderName::from_static("ratelimit");
const IETF_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One limit as it stands after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit<'a> {
    /// The policy's name (`caller`, `tenant`, `global`).
    pub name: &'a str,
    /// Requests allowed per window.
    pub limit: u64,
    /// Requests left now.
    pub remaining: u64,
    /// The window, in seconds.
    pub window_s: u64,
    /// Seconds until the limit is whole again.
    pub reset_after_s: u64,
}

/// Writes the headers of `limits`; the one with the fewest requests left speaks in `X-RateLimit-*`. `now_epoch_s` is
/// the current time in seconds since 1970.
pub fn write_limits(limits: &[RateLimit<'_>], now_epoch_s: u64, headers: &mut HeaderMap) {
    let Some(tightest) = limits.iter().min_by_key(|limit| limit.remaining) else { return };
    headers.insert(LIMIT, HeaderValue::from(tightest.limit));
    headers.insert(REMAINING, HeaderValue::from(tightest.remaining));
    headers.insert(RESET, HeaderValue::from(now_epoch_s.saturating_add(tightest.reset_after_s)));
    let room = limits.len() * MEMBER_CHARS;
    let (mut state, mut policy) = (String::with_capacity(room), String::with_capacity(room));
    for limit in limits {
        let RateLimit { name, limit: quota, remaining, window_s, reset_after_s } = *limit;
        member(&mut state, name, [(";r=", remaining), (";t=", reset_after_s)]);
        member(&mut policy, name, [(";q=", quota), (";w=", window_s)]);
    }
    for (name, value) in [(IETF, state), (IETF_POLICY, policy)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

/// Writes `Retry-After`, in whole seconds and at least one: zero would make clients spin.
pub fn write_retry_after(seconds: u64, headers: &mut HeaderMap) {
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
}

/// Adds a member to a list of RFC 9651: a string with two integer parameters. By hand, because every answer has them.
fn member(list: &mut String, name: &str, parameters: [(&str, u64); 2]) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    quote(list, name);
    let mut digits = itoa::Buffer::new();
    for (key, value) in parameters {
        list.push_str(key);
        list.push_str(digits.format(value));
    }
}

/// Adds a string of RFC 9651: quoted, ASCII, with backslashes before quotes and backslashes.
fn quote(list: &mut String, name: &str) {
    list.push('"');
    for c in name.chars().take(NAME_CHARS_MAX) {
        match c {
            '"' | '\\' => list.extend(['\\', c]),
            ' '..='~' => list.push(c),
            _ => list.push('?'),
        }
    }
    list.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_speaks_and_all_are_listed() {
        let tenant = RateLimit { name: "tenant", limit: 600, remaining: 40, window_s: 60, reset_after_s: 3 };
        let caller = RateLimit { name: "call\"er", limit: 60, remaining: 7, window_s: 60, reset_after_s: 9 };
        let mut headers = HeaderMap::new();
        write_limits(&[tenant, caller], 1_000, &mut headers);
        write_retry_after(0, &mut headers);
        let text: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            text,
            [
                ("x-ratelimit-limit", "60"),
                ("x-ratelimit-remaining", "7"),
                ("x-ratelimit-reset", "1009"),
                ("ratelimit", r#""tenant";r=40;t=3, "call\"er";r=7;t=9"#),
                ("ratelimit-policy", r#""tenant";q=600;w=60, "call\"er";q=60;w=60"#),
                ("retry-after", "1"),
            ]
        );
    }

    #[test]
    fn without_limits_nothing_is_written() {
        let mut headers = HeaderMap::new();
        write_limits(&[], 1, &mut headers);
        assert_eq!(headers, HeaderMap::new());
    }
}
