//! Events do not depend on where the stream is cut, and no byte is lost. The first byte sets the chunk size.
#![no_main]

use bh_wire::sse::{FrameKind, Splitter};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

type Event = (Vec<u8>, Vec<u8>);

fn split(stream: &[u8], chunk_bytes: usize) -> (Vec<Event>, Vec<u8>) {
    let mut splitter = Splitter::default();
    let (mut events, mut raw) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(chunk_bytes) {
        splitter.feed(Bytes::copy_from_slice(chunk));
        while let Some(frame) = splitter.next_frame() {
            raw.extend_from_slice(&frame.raw);
            if frame.kind == FrameKind::Event {
                let fields = frame.fields();
                events.push((fields.name.to_vec(), fields.data.to_vec()));
            }
        }
    }
    raw.extend_from_slice(&splitter.finish());
    (events, raw)
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else { return };
    let (cut, cut_raw) = split(stream, usize::from(size).max(1));
    let (whole, whole_raw) = split(stream, stream.len().max(1));
    assert_eq!(cut, whole);
    assert_eq!(cut_raw, stream);
    assert_eq!(whole_raw, stream);
});
