//! Bodies that cannot be read: malformed, encoded, or too large. Each is refused in the door's own dialect.

use std::time::Duration;

use bh_testkit::Call;
use serde_json::json;

use crate::auth::{PROXIED_CHAT, chat};
use crate::bad_input::{KEY, PROXIED_MESSAGES, Under, assert_anthropic_error, assert_openai_error};

const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
const HUGE: usize = 100 * 1024 * 1024;

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(100_000), close.repeat(100_000));
        format!("{{\"model\":\"gpt-4o-mini\",\"messages\":{open}1{close}}}").into_bytes()
    };
    let mut invalid_utf8 =
        b"{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\",\"content\":\"".to_vec();
    invalid_utf8.extend_from_slice(b"\xc3\x28\xff\"}]}");
    vec![
        ("nothing", b"".to_vec()),
        ("white space", b"  \n".to_vec()),
        ("an open object", b"{".to_vec()),
        ("half a body", b"{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\"".to_vec()),
        ("a list", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("text", b"\"gpt-4o-mini\"".to_vec()),
        ("no JSON at all", b"model=gpt-4o-mini".to_vec()),
        ("something after the object", b"{\"model\":\"gpt-4o-mini\",\"messages\":[]} {}".to_vec()),
        ("a NaN", b"{\"model\":\"gpt-4o-mini\",\"temperature\":NaN}".to_vec()),
        ("a trailing comma", b"{\"model\":\"gpt-4o-mini\",}".to_vec()),
        ("two models", b"{\"model\":\"gpt-4o-mini\",\"model\":\"gpt-4o\",\"messages\":[]}".to_vec()),
        ("two streams", b"{\"model\":\"gpt-4o-mini\",\"stream\":false,\"stream\":true}".to_vec()),
        ("two models, one escaped", b"{\"model\":\"gpt-4o-mini\",\"mod\\u0065l\":\"gpt-4o\"}".to_vec()),
        ("a number for a model", b"{\"model\":7,\"messages\":[]}".to_vec()),
        ("lists in lists", deep("[", "]")),
        ("objects in objects", deep("{\"a\":", "}")),
        ("invalid UTF-8", invalid_utf8),
        ("a byte order mark of UTF-16", b"\xff\xfe{\0}\0".to_vec()),
    ]
}

#[tokio::test]
async fn a_malformed_body_is_400_in_each_dialect_and_on_the_record() {
    let under = Under::test().await;
    let bodies = malformed();
    for (what, body) in &bodies {
        for path in [PROXIED_CHAT, "/v1/chat/completions", "/v1/proxy/openai/v1/responses", "/v1/embeddings"]
        {
            let answer = under.post(path, body.clone()).send().await;
            assert_eq!(answer.status, 400, "{what} on {path}: {}", answer.text());
            assert_openai_error(&answer, 400, "invalid_request");
        }
        for path in [PROXIED_MESSAGES, "/v1/messages"] {
            let answer = under.post(path, body.clone()).send().await;
            assert_eq!(answer.status, 400, "{what} on {path}: {}", answer.text());
            assert_anthropic_error(&answer, 400, "invalid_request_error");
        }
    }
    for maximum in ["-1", "1.5", "\"many\"", "1e99", "99999999999999999999999"] {
        let body = format!("{{\"model\":\"gpt-4o-mini\",\"max_tokens\":{maximum},\"messages\":[]}}");
        let answer = under.post(PROXIED_CHAT, body).send().await;
        // A bound that cannot be priced must not slip past the budget.
        assert!([400, 403].contains(&answer.status), "{maximum}: {}", answer.text());
    }
    assert_eq!(under.provider.hits(), 0, "nothing unreadable is forwarded");
    let entries = under.entries().await;
    assert_eq!(entries.len(), bodies.len() * 6 + 5, "every decision is on the record");
    assert!(entries.iter().all(|entry| entry["allowed"] == json!(false)));
    under.is_well().await;
}

#[tokio::test]
async fn a_body_that_is_not_plain_json_is_415() {
    let under = Under::test().await;
    // What gzip makes of `{}`.
    let gzipped = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0".to_vec();
    let call = |path: &str, name: &str, value: &str, body: Vec<u8>| {
        let call = Call::new("POST", under.gateway.at(path)).bearer(KEY).header(name, value);
        async move { call.body(body).send().await }
    };
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "application/jsonx",
    ] {
        let body = chat().to_string().into_bytes();
        assert_openai_error(
            &call(PROXIED_CHAT, "content-type", kind, body.clone()).await,
            415,
            "unsupported_media_type",
        );
        assert_anthropic_error(
            &call(PROXIED_MESSAGES, "content-type", kind, body).await,
            415,
            "invalid_request_error",
        );
    }
    for encoding in ["gzip", "br", "identity, gzip"] {
        let answer = call(PROXIED_CHAT, "content-encoding", encoding, gzipped.clone()).await;
        assert_openai_error(&answer, 415, "unsupported_media_type");
    }
    assert_openai_error(
        &call(PROXIED_CHAT, "content-type", "application/json", gzipped).await,
        400,
        "invalid_request",
    );
    assert_eq!(under.provider.hits(), 0);
    for kind in ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json"] {
        let answer = call(PROXIED_CHAT, "content-type", kind, chat().to_string().into_bytes()).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text());
    }
    under.is_well().await;
}

/// A valid chat body of `size` bytes.
fn sized(size: usize) -> Vec<u8> {
    let frame = |filler: &str| {
        format!("{{\"model\":\"gpt-4o-mini\",\"max_tokens\":1,\"messages\":[],\"pad\":\"{filler}\"}}")
            .into_bytes()
    };
    frame(&"x".repeat(size - frame("").len()))
}

#[tokio::test]
async fn a_huge_body_is_413_in_each_dialect_and_costs_no_memory() {
    let under = Under::test().await;
    let huge = vec![b' '; HUGE];
    for path in [PROXIED_CHAT, "/v1/chat/completions", "/v1/proxy/openai/v1/files"] {
        let answer = under.post(path, huge.clone()).send().await;
        assert_openai_error(&answer, 413, "request_too_large");
    }
    for path in [PROXIED_MESSAGES, "/v1/messages"] {
        assert_anthropic_error(&under.post(path, huge.clone()).send().await, 413, "request_too_large");
    }
    let peak = under.gateway.peak_rss_kib();
    assert!(peak < 100 * 1024, "declared bodies are refused unread, yet {peak} KiB were used");
    assert_eq!(under.provider.hits(), 0);
    let keyless = Call::new("POST", under.gateway.at(PROXIED_CHAT)).body(huge).send().await;
    assert_eq!(keyless.status, 401, "{}", keyless.text());
    under.is_well().await;
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let under = Under::test().await;
    let whole = sized(BODY_BYTES_MAX);
    let answer = under.post(PROXIED_CHAT, whole.clone()).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(under.provider.last().body == whole, "32 MiB arrive as they were sent");
    let over = under.post(PROXIED_CHAT, sized(BODY_BYTES_MAX + 1)).send().await;
    assert_openai_error(&over, 413, "request_too_large");
    under.is_well().await;
}

/// Without a content length the limit is met on the way.
#[tokio::test]
async fn a_huge_chunked_body_is_413_too() {
    let under = Under::test().await;
    let chunk =
        [format!("{:x}\r\n", 1024 * 1024).into_bytes(), vec![b' '; 1024 * 1024], b"\r\n".to_vec()].concat();
    for (path, told) in [
        (PROXIED_CHAT, "\"code\":\"request_too_large\""),
        ("/v1/proxy/openai/v1/files", "\"code\":\"request_too_large\""),
        (PROXIED_MESSAGES, "\"type\":\"request_too_large\""),
    ] {
        let line = format!("POST {path} HTTP/1.1");
        let mut socket =
            under.raw(&line, "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n").await;
        for _ in 0..HUGE / (1024 * 1024) {
            if !socket.write(&chunk).await {
                break;
            }
        }
        let answer = socket.read_for(Duration::from_secs(3)).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains(told), "{path}: {answer}");
    }
    under.is_well().await;
}
