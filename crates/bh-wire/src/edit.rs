//! Changes to a request body, as splices: every byte that is not edited stays as the client wrote it.

use bytes::Bytes;

use crate::json::{Span, quoted};
use crate::request::{RequestFacts, StreamOptions};

/// What to do with `store` of a Responses request (Talon's `responses_store_mode`, TALON-16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreMode {
    /// As the client sent it.
    #[default]
    Preserve,
    /// `true` when the client said nothing.
    ForceIfAbsent,
    /// `true`, whatever the client said.
    ForceTrue,
}

/// The changes a policy wants in one body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edits<'a> {
    /// Ask for this model instead.
    pub model: Option<&'a str>,
    /// Ask the provider to report usage at the end of a chat stream.
    pub include_usage: bool,
    /// The `store` mode of the provider.
    pub store: StoreMode,
}

/// Applies `edits` to the body that `facts` was read from. Without a change the very same buffer is returned.
#[must_use]
pub fn apply(body: &Bytes, facts: &RequestFacts, edits: Edits<'_>) -> Bytes {
    let mut splices = Splices::default();
    if let Some(model) = edits.model.filter(|model| facts.model.as_deref() != Some(*model)) {
        splices.member("model", quoted(model), facts.spans.model);
    }
    if edits.include_usage && facts.include_usage != Some(true) {
        include_usage(&mut splices, facts.spans.stream_options);
    }
    if forces_store(edits.store, facts.store) {
        splices.member("store", "true".to_owned(), facts.spans.store);
    }
    splices.apply(body, facts)
}

/// The body with `stream_options.include_usage` on.
#[must_use]
pub fn with_include_usage(body: &Bytes, facts: &RequestFacts) -> Bytes {
    apply(body, facts, Edits { include_usage: true, ..Edits::default() })
}

/// The body with another model.
#[must_use]
pub fn with_model(body: &Bytes, facts: &RequestFacts, model: &str) -> Bytes {
    apply(body, facts, Edits { model: Some(model), ..Edits::default() })
}

/// The body with its `store` mode applied.
#[must_use]
pub fn with_store(body: &Bytes, facts: &RequestFacts, store: StoreMode) -> Bytes {
    apply(body, facts, Edits { store, ..Edits::default() })
}

fn forces_store(mode: StoreMode, said: Option<bool>) -> bool {
    match mode {
        StoreMode::Preserve => false,
        StoreMode::ForceIfAbsent => said.is_none(),
        StoreMode::ForceTrue => said != Some(true),
    }
}

fn include_usage(splices: &mut Splices, options: Option<StreamOptions>) {
    const OPTIONS: &str = "{\"include_usage\":true}";
    match options {
        None => splices.member("stream_options", OPTIONS.to_owned(), None),
        Some(StreamOptions::Null(span)) => splices.replace(span, OPTIONS.to_owned()),
        Some(StreamOptions::Object { include_usage: Some(span), .. }) => {
            splices.replace(span, "true".to_owned());
        }
        Some(StreamOptions::Object { opening, empty, include_usage: None }) => {
            let comma = if empty { "" } else { "," };
            let at = Span { start: opening, end: opening };
            splices.replace(at, format!("\"include_usage\":true{comma}"));
        }
    }
}

#[derive(Default)]
struct Splices {
    replaced: Vec<(Span, String)>,
    inserted: Vec<String>,
}

impl Splices {
    fn replace(&mut self, span: Span, text: String) {
        self.replaced.push((span, text));
    }

    /// Replaces the value of a top-level member, or adds the member at the front of the object.
    fn member(&mut self, key: &str, value: String, span: Option<Span>) {
        match span {
            Some(span) => self.replace(span, value),
            None => self.inserted.push(format!("{}:{value}", quoted(key))),
        }
    }

    fn apply(mut self, body: &Bytes, facts: &RequestFacts) -> Bytes {
        if !self.inserted.is_empty() {
            let comma = if facts.spans.empty { "" } else { "," };
            let at = Span { start: facts.spans.opening, end: facts.spans.opening };
            let members = self.inserted.join(",");
            self.replace(at, members + comma);
        }
        if self.replaced.is_empty() {
            return body.clone();
        }
        self.replaced.sort_by_key(|(span, _)| span.start);
        let added: usize = self.replaced.iter().map(|(_, text)| text.len()).sum();
        let mut edited = Vec::with_capacity(body.len() + added);
        let mut from = 0;
        for (span, text) in &self.replaced {
            edited.extend_from_slice(body.get(from..span.start).unwrap_or_default());
            edited.extend_from_slice(text.as_bytes());
            from = span.end;
        }
        edited.extend_from_slice(body.get(from..).unwrap_or_default());
        Bytes::from(edited)
    }
}
