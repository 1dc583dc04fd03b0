//! What the demo provider says, before it is put into a wire.

use serde_json::Value;

use super::asked::{Asked, ToolCall};

/// Characters that count as one token.
const CHARS_PER_TOKEN: usize = 4;
/// Characters of the question that the answer repeats.
const EXCERPT_CHARS_MAX: usize = 160;
/// Put before every model name, so that no answer passes for a model's.
const MODEL_LABEL: &str = "demo-";

/// The tokens a text counts as.
pub(super) fn tokens(text: &str) -> u64 {
    u64::try_from(text.chars().count().div_ceil(CHARS_PER_TOKEN)).unwrap_or(u64::MAX)
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    /// The model's name, with the demo label.
    pub(super) model: String,
    /// What it consists of.
    pub(super) said: Said,
    /// Tokens read.
    pub(super) input_tokens: u64,
    /// Tokens written; never above the request's limit, except for a tool call, which is never cut.
    pub(super) output_tokens: u64,
}

/// A text or a tool call.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Text; `cut` when the request's limit ended it.
    Text { text: String, cut: bool },
    /// A call of one of the client's tools.
    Call(ToolCall),
}

impl Reply {
    /// The answer to a request.
    pub(super) fn to(asked: &Asked) -> Self {
        let said = match &asked.call {
            Some(call) => Said::Call(call.clone()),
            None => text(asked),
        };
        let output_tokens = match &said {
            Said::Text { text, .. } => tokens(text),
            Said::Call(call) => tokens(&call.name) + tokens(&call.arguments.to_string()),
        };
        Self { model: labelled(&asked.model), said, input_tokens: asked.input_tokens, output_tokens }
    }

    /// The tool call, as name and JSON text of the arguments.
    pub(super) fn call(&self) -> Option<(&str, String)> {
        match &self.said {
            Said::Call(ToolCall { name, arguments }) => Some((name, arguments.to_string())),
            Said::Text { .. } => None,
        }
    }

    /// The arguments of the tool call; null without one.
    pub(super) fn arguments(&self) -> &Value {
        match &self.said {
            Said::Call(call) => &call.arguments,
            Said::Text { .. } => &Value::Null,
        }
    }

    /// The text; empty for a tool call.
    pub(super) fn text(&self) -> &str {
        match &self.said {
            Said::Text { text, .. } => text,
            Said::Call(_) => "",
        }
    }

    /// The text word by word, each with the space after it.
    pub(super) fn words(&self) -> Vec<&str> {
        self.text().split_inclusive(' ').collect()
    }

    /// Whether the request's limit ended the text.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.said, Said::Text { cut: true, .. })
    }
}

fn labelled(model: &str) -> String {
    if model.starts_with(MODEL_LABEL) { model.to_owned() } else { format!("{MODEL_LABEL}{model}") }
}

fn text(asked: &Asked) -> Said {
    let what = if asked.after_tool { "Your tool returned" } else { "You wrote" };
    let whole = format!(
        "This is Bulkhead's demo provider; no model was asked. {what}: \"{}\"",
        excerpt(&asked.prompt)
    );
    let chars_max =
        usize::try_from(asked.output_tokens_max).unwrap_or(usize::MAX).saturating_mul(CHARS_PER_TOKEN);
    let text: String = whole.chars().take(chars_max).collect();
    let cut = text.len() < whole.len();
    Said::Text { text, cut }
}

fn excerpt(text: &str) -> String {
    let short: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
