//! The scanner finds the same at any cut, and what a parser finds. The first byte sets the chunk size.
#![no_main]

use bh_wire::body::{TopLevel, TopLevelScanner};
use bh_wire::{Endpoint, Family};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fn scan(body: &[u8], chunk_bytes: usize) -> TopLevel {
    let mut scanner = TopLevelScanner::default();
    body.chunks(chunk_bytes).for_each(|chunk| scanner.feed(chunk));
    scanner.finish()
}

fuzz_target!(|input: &[u8]| {
    let Some((&size, body)) = input.split_first() else { return };
    let cut = scan(body, usize::from(size).max(1));
    assert_eq!(cut, scan(body, body.len().max(1)));
    let _ = cut.usage(Family::OpenAi, Endpoint::ChatCompletions);
    let _ = cut.usage(Family::Anthropic, Endpoint::Messages);
    // An escaped key is not looked at: no provider writes one.
    if !body.contains(&b'\\')
        && let Ok(Value::Object(object)) = serde_json::from_slice(body)
        && let Some(Value::String(model)) = object.get("model")
    {
        assert_eq!(cut.model().as_deref(), Some(model.as_str()));
    }
});
