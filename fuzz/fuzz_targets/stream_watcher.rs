//! A watcher that strips nothing forwards every byte, and its outcome does not depend on the cuts. The first byte
//! sets the chunk size, the second the wire.
#![no_main]

use bh_wire::Endpoint;
use bh_wire::stream::{StreamOutcome, StreamWatcher};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fn watch(endpoint: Endpoint, strip: bool, stream: &[u8], chunk_bytes: usize) -> (Vec<u8>, StreamOutcome) {
    let mut watcher = StreamWatcher::new(endpoint, strip);
    let mut sent = Vec::new();
    for chunk in stream.chunks(chunk_bytes) {
        let step = watcher.on_chunk(&Bytes::copy_from_slice(chunk));
        step.forward.iter().chain(step.held.iter()).for_each(|piece| sent.extend_from_slice(piece));
    }
    let outcome = watcher.finish();
    sent.extend_from_slice(&outcome.tail);
    (sent, outcome)
}

fuzz_target!(|input: &[u8]| {
    let [size, wire, stream @ ..] = input else { return };
    let endpoint = match wire % 4 {
        0 => Endpoint::ChatCompletions,
        1 => Endpoint::Responses,
        2 => Endpoint::Messages,
        _ => Endpoint::Other,
    };
    let chunk_bytes = usize::from(*size).max(1);
    let (sent, outcome) = watch(endpoint, false, stream, chunk_bytes);
    assert_eq!(sent, stream);
    let (_, whole) = watch(endpoint, false, stream, stream.len().max(1));
    assert_eq!(outcome.progress, whole.progress);
    assert_eq!(outcome.end, whole.end);
    let (stripped, _) = watch(endpoint, true, stream, chunk_bytes);
    assert!(stripped.len() <= stream.len());
});
