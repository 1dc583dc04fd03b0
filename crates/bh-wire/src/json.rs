//! A strict JSON lexer over a borrowed body: it validates and locates, and copies nothing.

use std::borrow::Cow;

use crate::bad_request::{BadRequest, Problem};

/// A byte range of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    pub(crate) fn of(self, body: &[u8]) -> &[u8] {
        body.get(self.start..self.end).unwrap_or_default()
    }
}

/// A string as it stands in the body, without its quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) span: Span,
    pub(crate) escaped: bool,
}

impl Text {
    /// The value of the string. One that escapes half a surrogate pair has no value in Rust and is given as written.
    pub(crate) fn value(self, body: &[u8]) -> Cow<'_, str> {
        let raw = self.span.of(body);
        if self.escaped {
            let quoted = body.get(self.span.start.saturating_sub(1)..self.span.end + 1).unwrap_or_default();
            if let Ok(text) = serde_json::from_slice::<String>(quoted) {
                return Cow::Owned(text);
            }
        }
        String::from_utf8_lossy(raw)
    }
}

/// The first byte of a value tells its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Literal,
}

/// Reads tokens from `body` in order.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    pub(crate) body: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Lexer<'a> {
    /// Starts at the first byte. The whole body is checked to be UTF-8 first, so strings need no check later.
    pub(crate) fn new(body: &'a [u8]) -> Result<Self, BadRequest> {
        match std::str::from_utf8(body) {
            Ok(_) => Ok(Self { body, at: 0 }),
            Err(error) => Err(BadRequest::at(body, error.valid_up_to(), Problem::NotUtf8)),
        }
    }

    pub(crate) fn fail<T>(&self, problem: Problem) -> Result<T, BadRequest> {
        Err(BadRequest::at(self.body, self.at, problem))
    }

    /// Skips white space and shows the next byte.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.body.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes `byte` if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), BadRequest> {
        if self.take(byte) {
            return Ok(());
        }
        let end = self.at == self.body.len();
        self.fail(if end { Problem::UnexpectedEnd("an object or array") } else { Problem::Expected(what) })
    }

    /// The kind of the value that comes next.
    pub(crate) fn kind(&mut self) -> Result<Kind, BadRequest> {
        match self.peek() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f' | b'n') => Ok(Kind::Literal),
            Some(_) => self.fail(Problem::Expected("a value")),
            None => self.fail(Problem::UnexpectedEnd("an object or array")),
        }
    }

    /// Reads a string; the cursor stands at its opening quote.
    pub(crate) fn string(&mut self) -> Result<Text, BadRequest> {
        if !self.take(b'"') {
            let end = self.at == self.body.len();
            return self.fail(if end {
                Problem::UnexpectedEnd("an object")
            } else {
                Problem::Expected("a string key")
            });
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_run(self.body.get(self.at..).unwrap_or_default());
            match self.body.get(self.at) {
                Some(b'"') => {
                    let span = Span { start, end: self.at };
                    self.at += 1;
                    return Ok(Text { span, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.fail(Problem::ControlCharacter),
                None => return self.fail(Problem::UnexpectedEnd("a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), BadRequest> {
        let length = match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => {
                let hex = self.body.get(self.at + 2..self.at + 6);
                if !hex.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.fail(Problem::Expected("four hexadecimal digits after `\\u`"));
                }
                6
            }
            Some(_) => return self.fail(Problem::Expected("a valid escape")),
            None => return self.fail(Problem::UnexpectedEnd("a string")),
        };
        self.at += length;
        Ok(())
    }

    /// Reads a number by RFC 8259's grammar.
    pub(crate) fn number(&mut self) -> Result<Span, BadRequest> {
        let start = self.at;
        self.at += usize::from(self.body.get(self.at) == Some(&b'-'));
        if self.body.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.body.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.body.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.body.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Span { start, end: self.at })
    }

    fn digits(&mut self) -> Result<(), BadRequest> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { self.fail(Problem::Expected("a digit")) } else { Ok(()) }
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn literal(&mut self) -> Result<Span, BadRequest> {
        let rest = self.body.get(self.at..).unwrap_or_default();
        for word in ["true", "false", "null"] {
            if rest.starts_with(word.as_bytes()) {
                let span = Span { start: self.at, end: self.at + word.len() };
                self.at = span.end;
                return Ok(span);
            }
        }
        self.fail(Problem::Expected("`true`, `false` or `null`"))
    }
}

/// How far a run is searched a word at a time. Most strings of a request are keys and role names, for which the set-up
/// of a vector search costs more than the search.
const SHORT_RUN_BYTES: usize = 32;

/// Bytes before the first that ends or interrupts a string: a quote, a backslash or a control character.
fn plain_run(rest: &[u8]) -> usize {
    let mut at = 0;
    while at < SHORT_RUN_BYTES {
        let Some(word) = rest.get(at..).and_then(<[u8]>::first_chunk) else { break };
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = rest.get(at..).unwrap_or_default();
    let run = memchr::memchr2(b'"', b'\\', rest).and_then(|stop| rest.get(..stop)).unwrap_or(rest);
    // A fold without an early exit is vectorised by the compiler; the position is looked for only on a fault.
    if run.iter().fold(false, |found, &byte| found | (byte < 0x20)) {
        return at + run.iter().position(|&byte| byte < 0x20).unwrap_or_default();
    }
    at + run.len()
}

/// Sets the high bit of every byte of `word` that is a quote, a backslash or a control character. Borrows may mark
/// bytes above a true mark wrongly, never below: the lowest mark is exact.
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |bytes: u64, bound: u64| bytes.wrapping_sub(ONES * bound) & !bytes & HIGH;
    let quote = below(word ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
    quote | backslash | below(word, 0x20)
}

/// `text` as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
