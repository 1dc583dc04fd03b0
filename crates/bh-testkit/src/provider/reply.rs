//! What the fake model says.

/// Token counts a provider reports, in the words of neither family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// All input tokens, those read from a cache included.
    pub input: u64,
    /// All output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from a cache.
    pub cached: u64,
    /// Input tokens written to a cache (Anthropic's wire only).
    pub cache_write: u64,
    /// Output tokens spent on reasoning (OpenAI's wires only).
    pub reasoning: u64,
}

impl Usage {
    /// Input and output, nothing cached, no reasoning.
    #[must_use]
    pub const fn of(input: u64, output: u64) -> Self {
        Self { input, output, cached: 0, cache_write: 0, reasoning: 0 }
    }
}

/// A call of a tool the model asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments, as JSON text.
    pub arguments: String,
}

/// The answer the provider makes by itself, in whichever wire it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The text; streams send it word by word.
    pub text: String,
    /// When set, the model calls this tool in place of the text.
    pub tool: Option<ToolCall>,
    /// What the provider says was used.
    pub usage: Usage,
}

impl Default for Reply {
    fn default() -> Self {
        Self { text: "Hello from the fake provider.".to_owned(), tool: None, usage: Usage::of(10, 5) }
    }
}

impl Reply {
    /// A text, with the default usage.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A tool call, with the default usage.
    #[must_use]
    pub fn tool(name: &str, arguments: &str) -> Self {
        let call = ToolCall { name: name.to_owned(), arguments: arguments.to_owned() };
        Self { tool: Some(call), ..Self::default() }
    }

    /// The same answer with this usage.
    #[must_use]
    pub fn using(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The text in words, each with the space before it: what a stream sends piece by piece.
    pub(crate) fn words(&self) -> Vec<&str> {
        self.text.split_inclusive(' ').collect()
    }
}

/// One server-sent event with an `event:` line when the wire uses them.
pub(crate) fn event(name: Option<&str>, data: &serde_json::Value) -> Vec<u8> {
    let line = name.map(|n| format!("event: {n}\n")).unwrap_or_default();
    format!("{line}data: {data}\n\n").into_bytes()
}
