//! The answer that is found does not depend on where a server's body is cut. The first byte sets the chunk size, the second says
//! whether the body is a stream of events.
#![no_main]

use bh_wire::mcp::{Answer, AnswerReader};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Result(result) => result.get().to_owned(),
        Answer::Error(error) => format!("{error:?}"),
    }
}

fn read(content_type: &str, body: &[u8], chunk_bytes: usize) -> Option<String> {
    let mut reader = AnswerReader::new(1, content_type, 1 << 20);
    for chunk in body.chunks(chunk_bytes) {
        if let Some(answer) = reader.feed(Bytes::copy_from_slice(chunk)).ok()? {
            return Some(told(&answer));
        }
    }
    reader.finish().ok().map(|answer| told(&answer))
}

fuzz_target!(|input: &[u8]| {
    let [size, kind, body @ ..] = input else { return };
    let content_type = if kind % 2 == 0 { "application/json" } else { "text/event-stream" };
    let cut = read(content_type, body, usize::from(*size).max(1));
    assert_eq!(cut, read(content_type, body, body.len().max(1)));
});
