use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::stream::{CHAT, CHAT_STRIPPED, MESSAGES, RESPONSES, run};
use crate::body::TopLevelScanner;
use crate::edit::{Edits, StoreMode, apply};
use crate::request::read;
use crate::sse::Splitter;
use crate::{Endpoint, Family, prompt};

/// Cuts `bytes` at the given positions, modulo its length.
fn cut<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Bytes that look like a stream often enough to reach its states.
fn streamlike() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"data: ",
        b"data",
        b":",
        b"event: ",
        b"error",
        b"message_stop",
        b"response.completed",
        b"[DONE]",
        b"{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}",
        b"{\"usage\":null,\"error\":1}",
        b"\"usage\"",
        b"\xef\xbb\xbf",
        b"\xff",
        b"{\"type\":\"",
        b"\\",
        b"\"",
    ];
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat())
}

/// Bytes that look like JSON often enough to reach the depths of a reader.
fn jsonlike() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"model\"",
        b"\"stream_options\"",
        b"\"include_usage\"",
        b"\"store\"",
        b"\"messages\"",
        b"\"content\"",
        b"\"source\"",
        b"\"type\"",
        b"\"base64\"",
        b"\"data\"",
        b"\"url\"",
        b"\"data:image/png;base64,AA\"",
        b"true",
        b"null",
        b"12",
        b"-0.5e3",
        b"\"\\u00e9\"",
        b"\"",
        b"\\",
        b" ",
        b"\xc3",
        b"\"usage\"",
        b"\"id\"",
    ];
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.concat())
}

/// JSON objects made of the keys and values that mean something here.
fn object() -> impl Strategy<Value = Vec<u8>> {
    let keys = vec![
        "model",
        "stream",
        "stream_options",
        "include_usage",
        "store",
        "messages",
        "tools",
        "content",
        "source",
        "type",
        "data",
        "url",
        "usage",
        "id",
        "error",
        "x\"y\\",
        "é",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u32>().prop_map(Value::from),
        prop::sample::select(vec!["base64", "image", "m\n\"", "data:image/png;base64,AA", "ü", ""])
            .prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(4, 24, 4, {
        let keys = keys.clone();
        move |inner| {
            let member = (prop::sample::select(keys.clone()), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                prop::collection::vec(member, 0..4).prop_map(Value::from_iter),
            ]
        }
    });
    let member = (prop::sample::select(keys), value);
    let object = prop::collection::vec(member, 0..6).prop_map(Value::from_iter);
    (object, any::<bool>()).prop_map(|(object, pretty)| match pretty {
        true => format!("{object:#}").into_bytes(),
        false => object.to_string().into_bytes(),
    })
}

const ENDPOINTS: [Endpoint; 3] = [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Messages];

proptest! {
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(cuts in prop::collection::vec(any::<usize>(), 0..12)) {
        for (endpoint, stream) in [
            (Endpoint::ChatCompletions, CHAT), (Endpoint::Messages, MESSAGES), (Endpoint::Responses, RESPONSES)
        ] {
            let whole = run(endpoint, false, [stream.as_bytes()]);
            let parts = run(endpoint, false, cut(stream.as_bytes(), &cuts));
            prop_assert_eq!(parts.outcome, whole.outcome);
            prop_assert_eq!([parts.forwarded, parts.held].concat(), stream.as_bytes());
        }
        let stripped = run(Endpoint::ChatCompletions, true, cut(CHAT.as_bytes(), &cuts));
        prop_assert_eq!([stripped.forwarded, stripped.held].concat(), CHAT_STRIPPED.as_bytes());
    }

    #[test]
    fn any_bytes_are_forwarded_identically(stream in streamlike(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        for endpoint in ENDPOINTS {
            let run = run(endpoint, false, cut(&stream, &cuts));
            prop_assert_eq!([run.forwarded, run.held, run.outcome.tail.to_vec()].concat(), stream.clone());
        }
    }

    #[test]
    fn events_of_any_bytes_do_not_depend_on_the_cuts(stream in streamlike(), cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let fields = |chunks: Vec<&[u8]>| {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for chunk in chunks {
                splitter.feed(Bytes::copy_from_slice(chunk));
                while let Some(frame) = splitter.next_frame() {
                    let fields = frame.fields();
                    // Where gaps are cut depends on the chunks; events do not.
                    if frame.kind == crate::sse::FrameKind::Event {
                        found.push((fields.name.to_vec(), fields.data.to_vec()));
                    }
                }
            }
            found
        };
        prop_assert_eq!(fields(cut(&stream, &cuts)), fields(vec![&stream]));
    }

    #[test]
    fn the_reader_accepts_only_json_and_its_edits_stay_json(body in prop_oneof![jsonlike(), object()]) {
        let oracle: Option<Value> = serde_json::from_slice(&body).ok();
        if let Ok(facts) = read(Endpoint::ChatCompletions, &body) {
            let oracle = oracle.unwrap();
            prop_assert!(oracle.is_object());
            prop_assert_eq!(facts.model.as_deref(), oracle["model"].as_str());
            prop_assert!(facts.text_bytes_max <= body.len() as u64);
            let edits = Edits { model: Some("other"), include_usage: true, store: StoreMode::ForceTrue };
            let edited = apply(&Bytes::from(body.clone()), &facts, edits);
            let value: Value = serde_json::from_slice(&edited).unwrap();
            prop_assert_eq!(&value["model"], "other");
            prop_assert_eq!(&value["store"], true);
            prop_assert_eq!(&value["stream_options"]["include_usage"], true);
            prompt::extract_text(&body, &mut |_| {}).unwrap();
        }
    }

    #[test]
    fn the_scanner_agrees_with_a_parser(body in prop_oneof![jsonlike(), object()], cuts in prop::collection::vec(any::<usize>(), 0..8)) {
        let mut scanner = TopLevelScanner::default();
        cut(&body, &cuts).into_iter().for_each(|chunk| scanner.feed(chunk));
        let found = scanner.finish();
        let _ = found.usage(Family::OpenAi, Endpoint::ChatCompletions);
        if let Ok(Value::Object(object)) = serde_json::from_slice(&body) {
            let text = |key: &str| object.get(key).and_then(|value| value.as_str()).map(str::to_owned);
            prop_assert_eq!(found.model(), text("model"));
            prop_assert_eq!(found.id(), text("id"));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for endpoint in ENDPOINTS {
            let _ = read(endpoint, &bytes);
            let _ = run(endpoint, true, bytes.chunks(7));
        }
        let _ = prompt::extract_text(&bytes, &mut |_| {});
        let mut scanner = TopLevelScanner::default();
        scanner.feed(&bytes);
        let _ = scanner.finish().is_error();
    }
}
