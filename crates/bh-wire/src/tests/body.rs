use crate::body::{CAPTURE_BYTES_MAX, TopLevel, TopLevelScanner};
use crate::{Endpoint, Family, Usage};

fn scan<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> TopLevel {
    let mut scanner = TopLevelScanner::default();
    chunks.into_iter().for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}

const CHAT: &[u8] = br#" {"id":"chatcmpl-\"1","choices":[{"message":{"content":"\"usage\":{\"x\":1}","usage":{"prompt_tokens":9}}}],
    "mod":"no","model" : "gpt-4o", "usage":{"prompt_tokens":3, "completion_tokens":2,"prompt_tokens_details":{"cached_tokens":1}},"error":null}"#;

#[test]
fn top_level_values_are_found_at_any_cut() {
    let whole = scan([CHAT]);
    let usage = Usage { input: 2, output: 2, cache_read: 1, ..Usage::default() };
    assert_eq!(whole.usage(Family::OpenAi, Endpoint::ChatCompletions), Some(usage));
    assert_eq!(whole.model(), Some("gpt-4o".to_owned()));
    assert_eq!(whole.id(), Some("chatcmpl-\"1".to_owned()));
    assert!(!whole.is_error());
    for size in 1..CHAT.len() {
        assert_eq!(scan(CHAT.chunks(size)), whole, "chunks of {size}");
    }
}

#[test]
fn an_anthropic_message_is_read_by_its_own_names() {
    let body =
        br#"{"id":"msg_1","type":"message","model":"claude","usage":{"input_tokens":1,"output_tokens":2}}"#;
    let usage = Usage { input: 1, output: 2, ..Usage::default() };
    assert_eq!(scan([body.as_slice()]).usage(Family::Anthropic, Endpoint::Messages), Some(usage));
}

#[test]
fn an_error_body_is_told_from_an_answer() {
    assert!(scan([br#"{"error":{"message":"no"}}"#.as_slice()]).is_error());
    assert!(scan([br#"{"type":"error","error":"x"}"#.as_slice()]).is_error());
    assert!(!scan([br#"{"data":{"error":{"a":1}}}"#.as_slice()]).is_error());
}

#[test]
fn a_value_too_long_to_keep_is_absent_and_the_rest_is_found() {
    let long = format!(r#"{{"error":"{}","model":"m"}}"#, "e".repeat(CAPTURE_BYTES_MAX));
    let found = scan([long.as_bytes()]);
    assert_eq!((found.is_error(), found.model()), (false, Some("m".to_owned())));
}

#[test]
fn what_is_no_object_has_nothing() {
    for body in [
        b"[{\"usage\":1}]".as_slice(),
        b"<html>{\"model\":\"m\"}",
        b"\"model\"",
        b"{}}",
        b"",
        b"{\"model\":\"m",
    ] {
        assert_eq!(scan([body]), TopLevel::default());
    }
}
