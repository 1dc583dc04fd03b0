//! What one stream's events say: usage, errors, the end, and how much text has passed.
//!
//! Runs beside every chunk of every stream, so it parses JSON only when the bytes hold something worth it: a few
//! substring searches decide.

mod probe;

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::family::Endpoint;
use crate::sse::{Fields, Frame, fields};
use crate::usage::{AnthropicUsage, Usage};
use probe::{
    ChatChunk, ErrorProbe, MessageDelta, MessageStart, ModelProbe, ResponseEvent, event_type, has_value,
    number_after, parsed, text_bytes, usage_in_tail,
};

/// How many events are tried for the model's name before giving up.
const MODEL_TRIES_MAX: u8 = 4;
/// How much of the end of an unread event is kept, in bytes, to find the usage that closes a large answer.
const OVERSIZE_TAIL_BYTES: usize = 16 * 1024;
/// The ratio used to estimate tokens from text when a provider reported none.
pub(crate) const BYTES_PER_TOKEN_ESTIMATE: u64 = 4;

static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static SEQUENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"sequence_number\":"));

/// The three ways an answer streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Chat,
    Responses,
    Messages,
}

impl Wire {
    pub(crate) fn of(endpoint: Endpoint) -> Option<Self> {
        match endpoint {
            Endpoint::ChatCompletions | Endpoint::Completions => Some(Self::Chat),
            Endpoint::Responses => Some(Self::Responses),
            Endpoint::Messages => Some(Self::Messages),
            Endpoint::Embeddings | Endpoint::Models | Endpoint::CountTokens | Endpoint::Other => None,
        }
    }

    /// The keys whose string values are generated text, by event type.
    fn text_keys(self, event: &[u8]) -> &'static [&'static [u8]] {
        match self {
            Self::Chat => {
                &[b"content", b"text", b"arguments", b"reasoning_content", b"reasoning", b"refusal"]
            }
            Self::Messages if event == b"content_block_delta" => &[b"text", b"partial_json", b"thinking"],
            Self::Responses if event.ends_with(b".delta") => &[b"delta"],
            Self::Messages | Self::Responses => &[],
        }
    }
}

/// How a stream's last event ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// `[DONE]`, `message_stop`, `response.completed` or `response.incomplete`.
    Complete,
    /// An error event, or `response.failed`.
    Error,
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Strip,
    End(End),
}

/// The state of one stream's reading.
#[derive(Debug)]
pub(crate) struct Meter {
    wire: Wire,
    strip_usage: bool,
    model_tries: u8,
    openai: Option<Usage>,
    anthropic: AnthropicUsage,
    oversize_tail: Vec<u8>,
    pub(crate) usage_is_final: bool,
    pub(crate) model: Option<String>,
    pub(crate) response_id: Option<String>,
    pub(crate) sequence_number: Option<u64>,
    pub(crate) delta_events: u64,
    pub(crate) delta_text_bytes: u64,
    pub(crate) end: Option<End>,
}

impl Meter {
    pub(crate) fn new(wire: Wire, strip_usage: bool) -> Self {
        Self {
            wire,
            strip_usage,
            model_tries: 0,
            openai: None,
            anthropic: AnthropicUsage::default(),
            oversize_tail: Vec::new(),
            usage_is_final: false,
            model: None,
            response_id: None,
            sequence_number: None,
            delta_events: 0,
            delta_text_bytes: 0,
            end: None,
        }
    }

    pub(crate) fn wire(&self) -> Wire {
        self.wire
    }

    /// The counts reported so far.
    pub(crate) fn usage(&self) -> Option<Usage> {
        match self.wire {
            Wire::Chat => self.openai,
            Wire::Responses => self.openai.or_else(|| usage_in_tail(&self.oversize_tail)),
            Wire::Messages => self.anthropic.normal(),
        }
    }

    /// Reads one whole event.
    pub(crate) fn observe(&mut self, event: &Fields<'_>) -> Verdict {
        let verdict = match self.wire {
            Wire::Chat => self.chat(event),
            Wire::Responses => self.responses(event),
            Wire::Messages => self.messages(event),
        };
        if let Verdict::End(end) = verdict {
            // An error stays an error when a closing event follows it.
            self.end = self.end.filter(|end| *end == End::Error).or(Some(end));
        }
        verdict
    }

    fn chat(&mut self, event: &Fields<'_>) -> Verdict {
        let data: &[u8] = &event.data;
        if data.trim_ascii_end() == b"[DONE]" {
            return Verdict::End(End::Complete);
        }
        self.count_text(b"", data);
        if event.name == b"error"
            || (has_value(&ERROR, data)
                && parsed::<ErrorProbe>(data).is_some_and(|probe| probe.error.is_some()))
        {
            return Verdict::End(End::Error);
        }
        if has_value(&USAGE, data) {
            return self.chat_usage(data);
        }
        self.find_model(data);
        Verdict::Pass
    }

    fn chat_usage(&mut self, data: &[u8]) -> Verdict {
        let Some(chunk) = parsed::<ChatChunk>(data) else { return Verdict::Pass };
        let Some(usage) = chunk.usage.and_then(|usage| usage.normal()) else { return Verdict::Pass };
        self.openai = Some(usage);
        self.model = self.model.take().or(chunk.model);
        // Azure's first chunk has no choices either, but no usage; a chunk with both must reach the client.
        let usage_only = chunk.choices.is_some_and(|choices| choices.is_empty());
        self.usage_is_final |= usage_only;
        if usage_only && self.strip_usage { Verdict::Strip } else { Verdict::Pass }
    }

    fn find_model(&mut self, data: &[u8]) {
        if self.model.is_none() && self.model_tries < MODEL_TRIES_MAX {
            self.model_tries += 1;
            self.model = parsed::<ModelProbe>(data).and_then(|probe| probe.model);
        }
    }

    fn responses(&mut self, event: &Fields<'_>) -> Verdict {
        let data: &[u8] = &event.data;
        // Some compatible servers close this wire like a chat.
        if data.trim_ascii_end() == b"[DONE]" {
            return Verdict::End(End::Complete);
        }
        let kind = event_type(event);
        self.count_text(&kind, data);
        self.sequence_number = number_after(&SEQUENCE, data).or(self.sequence_number);
        match &*kind {
            b"response.completed" | b"response.incomplete" => {
                self.take_response(data);
                Verdict::End(End::Complete)
            }
            b"response.failed" => {
                self.take_response(data);
                Verdict::End(End::Error)
            }
            b"error" => Verdict::End(End::Error),
            b"response.created" => {
                self.take_response(data);
                Verdict::Pass
            }
            _ => Verdict::Pass,
        }
    }

    fn take_response(&mut self, data: &[u8]) {
        let Some(event) = parsed::<ResponseEvent>(data) else { return };
        self.model = event.response.model.or(self.model.take());
        self.response_id = event.response.id.or(self.response_id.take());
        if let Some(usage) = event.response.usage.and_then(|usage| usage.normal()) {
            self.openai = Some(usage);
            self.usage_is_final = true;
        }
    }

    fn messages(&mut self, event: &Fields<'_>) -> Verdict {
        let kind = event_type(event);
        let data: &[u8] = &event.data;
        self.count_text(&kind, data);
        match &*kind {
            b"message_start" => {
                if let Some(start) = parsed::<MessageStart>(data) {
                    self.model = start.message.model;
                    self.anthropic.update(start.message.usage.unwrap_or_default());
                }
                Verdict::Pass
            }
            b"message_delta" => {
                if let Some(usage) = parsed::<MessageDelta>(data).and_then(|delta| delta.usage) {
                    self.anthropic.update(usage);
                    self.usage_is_final = true;
                }
                Verdict::Pass
            }
            b"message_stop" => Verdict::End(End::Complete),
            b"error" => Verdict::End(End::Error),
            _ => Verdict::Pass,
        }
    }

    fn count_text(&mut self, kind: &[u8], data: &[u8]) {
        let bytes = text_bytes(data, self.wire.text_keys(kind));
        self.delta_events += u64::from(bytes > 0);
        self.delta_text_bytes += bytes;
    }

    /// Hears the first part of an event too long to read. Its name still tells whether it is the last one.
    pub(crate) fn observe_oversize_head(&mut self, frame: &Frame) -> Verdict {
        let event = fields(&frame.raw);
        let kind = event_type(&event);
        let end = match (self.wire, &*kind) {
            (Wire::Responses, b"response.completed" | b"response.incomplete") => End::Complete,
            (Wire::Responses, b"response.failed") => End::Error,
            (Wire::Responses | Wire::Chat | Wire::Messages, _) => return Verdict::Pass,
        };
        self.end = Some(end);
        self.usage_is_final = true;
        self.observe_oversize(frame);
        Verdict::End(end)
    }

    /// Hears a further part of an event too long to read; only the end of a last event is of interest.
    pub(crate) fn observe_oversize(&mut self, frame: &Frame) {
        if self.end.is_none() {
            return;
        }
        self.oversize_tail.extend_from_slice(&frame.raw);
        let surplus = self.oversize_tail.len().saturating_sub(OVERSIZE_TAIL_BYTES);
        self.oversize_tail.drain(..surplus);
    }
}
