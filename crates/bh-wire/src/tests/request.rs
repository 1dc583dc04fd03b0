use bytes::Bytes;

use crate::Endpoint::{ChatCompletions, Completions, Embeddings, Messages, Responses};
use crate::edit::{Edits, StoreMode, apply, with_include_usage, with_model, with_store};
use crate::request::{DEPTH_MAX, Media, NAME_BYTES_MAX, RequestFacts, TOP_LEVEL_KEYS_MAX, read};
use crate::{BadRequest, Endpoint, Problem, prompt};

fn facts(endpoint: Endpoint, body: &str) -> RequestFacts {
    read(endpoint, body.as_bytes()).unwrap()
}

fn refused(body: &[u8]) -> BadRequest {
    read(ChatCompletions, body).unwrap_err()
}

fn edited(body: &str, edit: impl Fn(&Bytes, &RequestFacts) -> Bytes) -> String {
    let bytes = Bytes::copy_from_slice(body.as_bytes());
    let facts = read(Responses, &bytes).unwrap();
    String::from_utf8(edit(&bytes, &facts).to_vec()).unwrap()
}

#[test]
fn a_chat_request_tells_its_model_limits_and_stream() {
    let body = r#" {"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"stream":true,"n":3,
        "max_tokens":10,"max_completion_tokens":20,"stream_options":{"include_usage":false},"service_tier":"flex"} "#;
    let read = facts(ChatCompletions, body);
    let expected = RequestFacts {
        model: Some("gpt-4o".to_owned()),
        stream: true,
        max_output_tokens: Some(20),
        choices: 3,
        include_usage: Some(false),
        store: None,
        service_tier: Some("flex".to_owned()),
        remote_context: false,
        hosted_tools: false,
        background: false,
        text_bytes_max: body.len() as u64,
        media: Media::default(),
        spans: read.spans,
    };
    assert_eq!(read, expected);
    assert_eq!(read.output_tokens_max(), Some(60));
}

#[test]
fn each_endpoint_reads_its_own_output_limit() {
    let body = r#"{"max_tokens":1,"max_completion_tokens":2,"max_output_tokens":3,"n":2,"best_of":5}"#;
    let limit = |endpoint| {
        let facts = facts(endpoint, body);
        (facts.max_output_tokens, facts.choices)
    };
    assert_eq!(limit(ChatCompletions), (Some(2), 2));
    assert_eq!(limit(Responses), (Some(3), 1));
    assert_eq!(limit(Messages), (Some(1), 1));
    assert_eq!(limit(Completions), (Some(1), 5));
    assert_eq!(limit(Embeddings), (None, 1));
}

#[test]
fn nulls_and_absent_fields_are_the_defaults() {
    let body =
        r#"{"model":null,"stream":null,"max_tokens":null,"n":null,"store":null,"stream_options":null}"#;
    let facts = facts(ChatCompletions, body);
    let told = (facts.model, facts.stream, facts.max_output_tokens, facts.choices, facts.store);
    assert_eq!(told, (None, false, None, 1, None));
}

#[test]
fn context_kept_by_the_provider_is_noticed() {
    assert!(facts(Responses, r#"{"previous_response_id":"resp_1"}"#).remote_context);
    assert!(facts(Responses, r#"{"conversation":{"id":"c"}}"#).remote_context);
    assert!(!facts(Responses, r#"{"previous_response_id":null,"input":"x"}"#).remote_context);
    assert!(!facts(Completions, r#"{"prompt":"x"}"#).remote_context);
}

#[test]
fn tools_the_provider_runs_are_told_from_the_clients() {
    for (tools, hosted) in [
        (r#"[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]"#, false),
        (r#"[{"name":"f","input_schema":{"type":"object"}}, {}]"#, false),
        (r#"[{"type":"bash_20250124","name":"bash"},{"type":"custom"}]"#, false),
        ("[]", false),
        ("null", false),
        (r#"["web_search"]"#, false),
        (r#"[{"name":"f"},{"name":"w","typ\u0065":"web_search_20250305"}]"#, true),
        (r#"[{"type":"mcp","server_url":"https://example.com"},{"type":"function"}]"#, true),
    ] {
        let body = format!("{{\"tools\": {tools} ,\"model\":\"m\"}}");
        let facts = facts(Responses, &body);
        assert_eq!((facts.hosted_tools, facts.model.as_deref()), (hosted, Some("m")), "{tools}");
    }
    assert!(facts(ChatCompletions, r#"{"web_search_options":{}}"#).hosted_tools);
    assert!(facts(Messages, r#"{"mcp_servers":[{}]}"#).hosted_tools);
    assert!(facts(Responses, r#"{"background":true}"#).background);
    let deep =
        format!("{{\"tools\":[{{\"a\":{}{}}}]}}", "[".repeat(DEPTH_MAX - 2), "]".repeat(DEPTH_MAX - 2));
    assert_eq!(refused(deep.as_bytes()).problem, Problem::TooDeep { max: DEPTH_MAX });
}

#[test]
fn a_fault_names_its_place() {
    let body = b"{\n  \"model\": \"m\",\n  \"model\": \"n\"}";
    assert_eq!(refused(body).to_string(), "duplicate key `model` at line 3, column 3 (byte 20)");
    let wrong = refused(br#"{"max_tokens": "5"}"#);
    assert_eq!(
        wrong.to_string(),
        "`max_tokens` must be a non-negative integer at line 1, column 16 (byte 15)"
    );
    assert_eq!(wrong.param(), Some("max_tokens"));
}

#[test]
fn what_is_not_a_strict_json_object_is_refused() {
    let expected = Problem::Expected;
    for (body, problem, offset) in [
        (b"".as_slice(), Problem::NotAnObject, 0),
        (b"[]", Problem::NotAnObject, 0),
        (b"{\"a\":\xff}", Problem::NotUtf8, 5),
        (b"{\"a\":1", Problem::UnexpectedEnd("an object or array"), 6),
        (b"{\"a\":\"x", Problem::UnexpectedEnd("a string"), 7),
        (b"{\"a\":1,}", expected("a string key"), 7),
        (b"{'a':1}", expected("a string key"), 1),
        (b"{\"a\" 1}", expected("`:`"), 5),
        (b"{\"a\":}", expected("a value"), 5),
        (b"{\"a\":[1 2]}", expected("`,` or `]`"), 8),
        (b"{\"a\":{\"b\":1 2}}", expected("`,` or `}`"), 12),
        (b"{\"a\":NaN}", expected("a value"), 5),
        (b"{\"a\":nul}", expected("`true`, `false` or `null`"), 5),
        (b"{\"a\":01}", expected("`,` or `}`"), 6),
        (b"{\"a\":-}", expected("a digit"), 6),
        (b"{\"a\":1.}", expected("a digit"), 7),
        (b"{\"a\":1e}", expected("a digit"), 7),
        (b"{\"a\":\"\\x\"}", expected("a valid escape"), 6),
        (b"{\"a\":\"\\u12g4\"}", expected("four hexadecimal digits after `\\u`"), 6),
        (b"{\"a\":\"x\ny\"}", Problem::ControlCharacter, 7),
        (b"{} x", Problem::TrailingData, 3),
    ] {
        let error = refused(body);
        assert_eq!((error.problem, error.offset), (problem, offset), "{}", String::from_utf8_lossy(body));
    }
}

#[test]
fn wrong_types_of_deciding_fields_are_refused() {
    for (body, key, expected) in [
        (r#"{"model":5}"#, "model", "a string"),
        (r#"{"model":true}"#, "model", "a string"),
        (r#"{"stream":"yes"}"#, "stream", "a boolean"),
        (r#"{"max_tokens":-1}"#, "max_tokens", "a non-negative integer"),
        (r#"{"max_tokens":1.5}"#, "max_tokens", "a non-negative integer"),
        (r#"{"n":1e3}"#, "n", "a non-negative integer"),
        (r#"{"stream_options":[]}"#, "stream_options", "an object"),
        (r#"{"stream_options":{"include_usage":1}}"#, "include_usage", "a boolean"),
    ] {
        assert_eq!(refused(body.as_bytes()).problem, Problem::WrongType { key, expected }, "{body}");
    }
}

#[test]
fn a_key_seen_twice_is_refused_however_it_is_escaped() {
    let twice = |body: &str| matches!(refused(body.as_bytes()).problem, Problem::DuplicateKey(_));
    assert!(twice(r#"{"model":"a","mod\u0065l":"b"}"#));
    assert!(twice(r#"{"mod\u0065l":"a","model":"b"}"#));
    assert!(twice(r#"{"x":1,"x":1}"#));
    assert!(twice(r#"{"stream_options":{"include_usage":true,"include_usag\u0065":false}}"#));
    assert_eq!(facts(ChatCompletions, r#"{"mod\u0065l":"\u006d"}"#).model, Some("m".to_owned()));
}

#[test]
fn nesting_keys_and_names_are_bounded() {
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(ChatCompletions, nested(DEPTH_MAX - 1).as_bytes()).is_ok());
    assert_eq!(refused(nested(DEPTH_MAX).as_bytes()).problem, Problem::TooDeep { max: DEPTH_MAX });
    let keys: Vec<String> = (0..=TOP_LEVEL_KEYS_MAX).map(|i| format!("\"k{i}\":0")).collect();
    let many = format!("{{{}}}", keys.join(","));
    assert_eq!(refused(many.as_bytes()).problem, Problem::TooManyKeys { max: TOP_LEVEL_KEYS_MAX });
    let long = format!("{{\"model\":\"{}\"}}", "m".repeat(NAME_BYTES_MAX + 1));
    assert_eq!(refused(long.as_bytes()).problem, Problem::TooLong { key: "model", max: NAME_BYTES_MAX });
}

#[test]
fn media_payloads_are_no_text() {
    let chat = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"see"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAAAAAA"}},
        {"type":"image_url","image_url":{"url":"https://example.com/i.png"}},
        {"type":"input_audio","input_audio":{"data":"BBBB","format":"wav"}},
        {"type":"file","file":{"file_data":"data:application/pdf;base64,CCCCCC"}}]}]}"#;
    let media = Media { images: 2, audio: 1, documents: 1, payload_bytes: 18, document_payload_bytes: 6 };
    let read = facts(ChatCompletions, chat);
    assert_eq!((read.media, read.text_bytes_max), (media, chat.len() as u64 - 18));

    let anthropic = r#"{"messages":[{"role":"user","content":[{"type":"tool_result","content":[
        {"type":"image","source":{"data":"AAAA","media_type":"image/png","type":"base64"}}]},
        {"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"}}]}]}"#;
    let media = Media { images: 1, documents: 1, payload_bytes: 4, ..Media::default() };
    assert_eq!(facts(Messages, anthropic).media, media);

    let responses = r#"{"input":[{"type":"function_call_output","output":[
        {"type":"input_image","image_url":"data:image/png;base64,AAAA"}]}]}"#;
    let media = Media { images: 1, payload_bytes: 4, ..Media::default() };
    assert_eq!(facts(Responses, responses).media, media);
}

#[test]
fn text_dressed_up_as_media_counts_as_text() {
    for body in [
        r#"{"tools":[{"content":{"image_url":{"url":"data:image/png;base64,AAAA"}}}]}"#,
        r#"{"messages":[{"content":[{"type":"tool_use","input":{"source":{"type":"base64","data":"AAAA"}}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"document","source":{"type":"text","type":"base64","data":"AAAA"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"document","source":{"type":"base64","type":"text","data":"AAAA"}}]}]}"#,
        r#"{"messages":[{"content":[{"type":"text","text":"data:image/png;base64,AAAA"}]}]}"#,
        r#"{"messages":[{"content":[{"type":"text","data":"AAAA"}]}]}"#,
        r#"{"messages":[{"content":"data:image/png;base64,AAAA"}]}"#,
        r#"{"metadata":{"source":{"type":"base64","data":"AAAA"}}}"#,
    ] {
        let facts = facts(Messages, body);
        assert_eq!((facts.media.payload_bytes, facts.text_bytes_max), (0, body.len() as u64), "{body}");
    }
}

#[test]
fn exact_text_leaves_media_out_and_settings_too() {
    let body = r#"{"model":"m","metadata":{"a":"b"},"system":"s\u00e9","messages":[{"role":"user","content":[
        {"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],
        "tools":[{"name":"f","n":1}]}"#;
    let mut pieces = Vec::new();
    let count = prompt::extract_text(body.as_bytes(), &mut |piece| pieces.push(piece.into_owned())).unwrap();
    let expected = [
        "sé",
        "role",
        "user",
        "content",
        "type",
        "text",
        "text",
        "hi",
        "type",
        "image_url",
        "image_url",
        "url",
        "name",
        "f",
        "n",
        "1",
    ];
    assert_eq!(pieces, expected);
    assert_eq!(count, expected.len() as u64);
}

#[test]
fn usage_is_asked_for_by_a_splice_wherever_it_stands() {
    for (body, expected) in [
        (r#"{ "model":"m" }"#, r#"{"stream_options":{"include_usage":true}, "model":"m" }"#),
        ("{ }", r#"{"stream_options":{"include_usage":true} }"#),
        (r#"{"stream_options": null}"#, r#"{"stream_options": {"include_usage":true}}"#),
        (r#"{"stream_options": { }}"#, r#"{"stream_options": {"include_usage":true }}"#),
        (r#"{"stream_options": {"x":[1]}}"#, r#"{"stream_options": {"include_usage":true,"x":[1]}}"#),
        (
            r#"{"stream_options":{"x":1,"include_usage": false },"z":0}"#,
            r#"{"stream_options":{"x":1,"include_usage": true },"z":0}"#,
        ),
        (r#"{"stream_options":{"include_usage":null}}"#, r#"{"stream_options":{"include_usage":true}}"#),
        (r#"{"stream_options":{"include_usage":true}}"#, r#"{"stream_options":{"include_usage":true}}"#),
    ] {
        assert_eq!(edited(body, with_include_usage), expected);
    }
}

#[test]
fn a_model_is_replaced_in_place_and_escaped() {
    let model = |body: &str, name: &str| edited(body, |bytes, facts| with_model(bytes, facts, name));
    assert_eq!(
        model(r#"{"x": 1.0, "model" : "a" ,"é":"ü"}"#, "b\"c"),
        r#"{"x": 1.0, "model" : "b\"c" ,"é":"ü"}"#
    );
    assert_eq!(model(r#"{"x":1}"#, "b"), r#"{"model":"b","x":1}"#);
}

#[test]
fn the_store_mode_decides_what_a_response_keeps() {
    let store = |body: &str, mode| edited(body, |bytes, facts| with_store(bytes, facts, mode));
    for (body, preserve, if_absent, always) in [
        (r#"{"a":1}"#, r#"{"a":1}"#, r#"{"store":true,"a":1}"#, r#"{"store":true,"a":1}"#),
        (r#"{"store":false}"#, r#"{"store":false}"#, r#"{"store":false}"#, r#"{"store":true}"#),
        (r#"{"store":null}"#, r#"{"store":null}"#, r#"{"store":true}"#, r#"{"store":true}"#),
    ] {
        assert_eq!(store(body, StoreMode::Preserve), preserve);
        assert_eq!(store(body, StoreMode::ForceIfAbsent), if_absent);
        assert_eq!(store(body, StoreMode::ForceTrue), always);
    }
}

#[test]
fn edits_combine_and_no_edit_returns_the_same_buffer() {
    let body = r#"{"stream_options":{},"model":"a"}"#;
    let edits = Edits { model: Some("b"), include_usage: true, store: StoreMode::ForceTrue };
    let expected = r#"{"store":true,"stream_options":{"include_usage":true},"model":"b"}"#;
    assert_eq!(edited(body, |bytes, facts| apply(bytes, facts, edits)), expected);

    let bytes = Bytes::from_static(br#"{"model":"a"}"#);
    let facts = read(ChatCompletions, &bytes).unwrap();
    let same = apply(&bytes, &facts, Edits { model: Some("a"), ..Edits::default() });
    assert_eq!(same.as_ptr(), bytes.as_ptr());
}

#[test]
fn a_string_ends_at_its_quote_wherever_that_stands() {
    for length in 0..80 {
        for (special, problem) in
            [("\u{1}", Some(Problem::ControlCharacter)), ("\\n", None), ("é\u{7f}", None)]
        {
            let body = format!("{{\"{}{special}{}\":0}}", "k".repeat(length), "é".repeat(40));
            let found = read(ChatCompletions, body.as_bytes()).map_err(|error| (error.offset, error.problem));
            let expected = problem.map(|problem| (length + 2, problem));
            assert_eq!(found.err(), expected, "{body:?}");
        }
    }
}
