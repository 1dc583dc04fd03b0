//! What the reader accepts is JSON to a parser too, and stays JSON when edited.
#![no_main]

use bh_wire::edit::{Edits, StoreMode, apply};
use bh_wire::{Endpoint, prompt, request};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|body: &[u8]| {
    for endpoint in [Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Messages] {
        let Ok(facts) = request::read(endpoint, body) else { continue };
        // A raw value is checked for grammar only, as the reader does: numbers and surrogates have no value yet.
        assert!(serde_json::from_slice::<&RawValue>(body).is_ok());
        assert!(facts.text_bytes_max <= body.len() as u64);
        let edits = Edits { model: Some("other"), include_usage: true, store: StoreMode::ForceTrue };
        let edited = apply(&Bytes::copy_from_slice(body), &facts, edits);
        let again = request::read(endpoint, &edited).expect("an edited body is readable");
        assert_eq!(again.model.as_deref(), Some("other"));
        assert_eq!((again.include_usage, again.store), (Some(true), Some(true)));
        assert_eq!(
            (again.stream, again.max_output_tokens, again.media),
            (facts.stream, facts.max_output_tokens, facts.media)
        );
    }
    let _ = prompt::extract_text(body, &mut |_| {});
});
