//! Reads a plain JSON answer while it passes, in constant memory: only a few top-level values are kept.

use crate::family::{Endpoint, Family};
use crate::usage::{self, Usage};

/// The longest top-level value that is kept, in bytes.
pub const CAPTURE_BYTES_MAX: usize = 64 * 1024;
/// The longest key that is compared, in bytes.
const KEY_BYTES_MAX: usize = 16;

/// The top-level members worth keeping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Usage,
    Error,
    Model,
    Id,
}

impl Field {
    fn named(key: &[u8]) -> Option<Self> {
        match key {
            b"usage" => Some(Self::Usage),
            b"error" => Some(Self::Error),
            b"model" => Some(Self::Model),
            b"id" => Some(Self::Id),
            _ => None,
        }
    }
}

/// Captures `usage`, `error`, `model` and `id` of a JSON object fed in chunks of any size.
///
/// It is a watcher, not a validator: on bytes that are no JSON object it captures nothing.
#[derive(Debug, Default)]
pub struct TopLevelScanner {
    state: State,
    depth: u64,
    key: Vec<u8>,
    capture: Option<Field>,
    buffer: Vec<u8>,
    found: TopLevel,
}

/// Where in the text the scanner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Before,
    /// Between tokens; at depth one, the next string is a key.
    Structure {
        key_next: bool,
    },
    String {
        is_key: bool,
        escaped: bool,
    },
    Done,
}

/// The captured values as raw JSON; a value that was absent or too long is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopLevel {
    usage: Option<Vec<u8>>,
    error: Option<Vec<u8>>,
    model: Option<Vec<u8>>,
    id: Option<Vec<u8>>,
}

impl TopLevel {
    /// The token counts of the answer. `None` when it has none, which is usual for errors and uncounted endpoints.
    #[must_use]
    pub fn usage(&self, family: Family, endpoint: Endpoint) -> Option<Usage> {
        let raw = self.usage.as_deref()?;
        match endpoint.family().unwrap_or(family) {
            Family::OpenAi => usage::openai(raw),
            Family::Anthropic => usage::anthropic(raw),
        }
    }

    /// Whether the answer carries an error that is not `null`.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.error.as_deref().is_some_and(|raw| raw != b"null")
    }

    /// The model that answered.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        serde_json::from_slice(self.model.as_deref()?).ok()
    }

    /// The provider's id of the answer.
    #[must_use]
    pub fn id(&self) -> Option<String> {
        serde_json::from_slice(self.id.as_deref()?).ok()
    }
}

impl TopLevelScanner {
    /// Reads the next bytes of the answer.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let read = match self.state {
                State::Before => self.before(rest),
                State::Structure { key_next } => self.structure(rest, key_next),
                State::String { is_key, escaped } => self.string(rest, is_key, escaped),
                State::Done => return,
            };
            rest = rest.get(read..).unwrap_or_default();
        }
    }

    /// What was captured.
    #[must_use]
    pub fn finish(self) -> TopLevel {
        self.found
    }

    /// Looks for the opening brace, past white space and a byte order mark.
    fn before(&mut self, rest: &[u8]) -> usize {
        let blank = |b: &u8| matches!(b, b' ' | b'\n' | b'\r' | b'\t' | 0xef | 0xbb | 0xbf);
        let skipped = rest.iter().take_while(|b| blank(b)).count();
        match rest.get(skipped) {
            Some(b'{') => {
                self.depth = 1;
                self.state = State::Structure { key_next: true };
            }
            Some(_) => self.state = State::Done,
            None => {}
        }
        skipped + 1
    }

    fn structure(&mut self, rest: &[u8], key_next: bool) -> usize {
        let mut key_next = key_next;
        for (at, &byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = State::String { is_key: key_next && self.depth == 1, escaped: false };
                    self.key.clear();
                    self.keep(b"\"");
                    return at + 1;
                }
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' | b']' => {
                    self.end_value();
                    self.state = State::Done;
                    return at + 1;
                }
                b',' if self.depth == 1 => {
                    self.end_value();
                    key_next = true;
                    continue;
                }
                b':' if self.depth == 1 => {
                    self.capture = Field::named(&self.key);
                    self.buffer.clear();
                    key_next = false;
                    continue;
                }
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.keep(&[byte]);
            }
        }
        self.state = State::Structure { key_next };
        rest.len()
    }

    fn string(&mut self, rest: &[u8], is_key: bool, escaped: bool) -> usize {
        if escaped {
            self.state = State::String { is_key, escaped: false };
            self.string_bytes(rest.get(..1).unwrap_or_default(), is_key);
            return 1;
        }
        let Some(stop) = memchr::memchr2(b'"', b'\\', rest) else {
            self.string_bytes(rest, is_key);
            return rest.len();
        };
        let closes = rest.get(stop) == Some(&b'"');
        // The closing quote is no part of a key, but it is of a captured value.
        let kept = if closes && is_key { stop } else { stop + 1 };
        self.string_bytes(rest.get(..kept).unwrap_or_default(), is_key);
        self.state = if closes {
            State::Structure { key_next: false }
        } else {
            State::String { is_key, escaped: true }
        };
        stop + 1
    }

    fn string_bytes(&mut self, bytes: &[u8], is_key: bool) {
        if !is_key {
            self.keep(bytes);
        } else if self.key.len() <= KEY_BYTES_MAX {
            let room = (KEY_BYTES_MAX + 1).saturating_sub(self.key.len()).min(bytes.len());
            self.key.extend_from_slice(bytes.get(..room).unwrap_or_default());
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.capture.is_none() {
            return;
        }
        if self.buffer.len() + bytes.len() > CAPTURE_BYTES_MAX {
            self.capture = None;
            self.buffer = Vec::new();
            return;
        }
        self.buffer.extend_from_slice(bytes);
    }

    fn end_value(&mut self) {
        let Some(field) = self.capture.take() else { return };
        let value = Some(std::mem::take(&mut self.buffer));
        match field {
            Field::Usage => self.found.usage = value,
            Field::Error => self.found.error = value,
            Field::Model => self.found.model = value,
            Field::Id => self.found.id = value,
        }
    }
}
