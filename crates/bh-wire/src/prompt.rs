//! The text of a request, for exact tokenisation. The slow path: only when a reservation by bytes would not fit.

use std::borrow::Cow;

use crate::bad_request::{BadRequest, Problem};
use crate::json::{Lexer, Span, Text};
use crate::walk::{self, Place, Visitor};

/// Hands every piece of text that can become input tokens to `each`: strings, keys and scalars of the conversation,
/// system text, tools and output schemas. Media payloads are left out, as in [`crate::request::RequestFacts`].
///
/// Keys and scalars are included, which covers what the providers' own framing of messages and tools adds. Pieces
/// are not kept, so memory stays constant. Returns how many pieces there were.
///
/// # Errors
/// [`BadRequest`] as [`crate::request::read`] finds it, for bytes that were not read before.
pub fn extract_text(body: &[u8], each: &mut dyn FnMut(Cow<'_, str>)) -> Result<u64, BadRequest> {
    let mut lexer = Lexer::new(body)?;
    let mut collector = Collector { each, pieces: 0 };
    if !lexer.take(b'{') {
        return lexer.fail(Problem::NotAnObject);
    }
    if lexer.take(b'}') {
        return Ok(0);
    }
    loop {
        let key = lexer.string()?;
        lexer.expect(b':', "`:`")?;
        match &*key.value(body) {
            "messages" | "input" | "system" => {
                walk::value(&mut lexer, &mut collector, Place::CONVERSATION, 1)?
            }
            "instructions" | "prompt" | "suffix" | "prediction" | "tools" | "tool_choice" | "functions"
            | "response_format" | "text" | "output_config" | "mcp_servers" => {
                walk::value(&mut lexer, &mut collector, Place::PLAIN, 1)?
            }
            _ => walk::value(&mut lexer, &mut Silent, Place::PLAIN, 1)?,
        };
        if !lexer.take(b',') {
            lexer.expect(b'}', "`,` or `}`")?;
            return Ok(collector.pieces);
        }
    }
}

struct Silent;

impl Visitor for Silent {}

struct Collector<'e> {
    each: &'e mut dyn FnMut(Cow<'_, str>),
    pieces: u64,
}

impl Collector<'_> {
    fn piece(&mut self, text: Cow<'_, str>) {
        self.pieces += 1;
        (self.each)(text);
    }
}

impl Visitor for Collector<'_> {
    fn key(&mut self, body: &[u8], key: Text) {
        self.piece(key.value(body));
    }

    fn text(&mut self, body: &[u8], text: Text) {
        self.piece(text.value(body));
    }

    fn scalar(&mut self, body: &[u8], span: Span) {
        self.piece(String::from_utf8_lossy(span.of(body)));
    }
}
