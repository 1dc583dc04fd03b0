//! Walks JSON values of a request, telling prose from media.
//!
//! A data URL or base64 block is not text the model reads, so its bytes must not count toward the token bound. But the
//! bound must hold against a caller who dresses text up as media: a payload is recognised only where the providers
//! take media (content parts of messages), never inside tool arguments, schemas or unknown fields, where they hand it
//! to the model as text.

use crate::bad_request::{BadRequest, Problem};
use crate::json::{Kind, Lexer, Span, Text};
use crate::request::DEPTH_MAX;

/// What kind of media a content part holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    Image,
    Audio,
    Document,
}

/// Hears what a walk finds. Every method has an empty default, so that the hot path pays only for what it counts.
pub(crate) trait Visitor {
    /// An object key.
    fn key(&mut self, _body: &[u8], _key: Text) {}
    /// A string the model may read.
    fn text(&mut self, _body: &[u8], _text: Text) {}
    /// A number, boolean or null.
    fn scalar(&mut self, _body: &[u8], _span: Span) {}
    /// A content part of a medium, inline or by reference.
    fn part(&mut self, _medium: Medium) {}
    /// The encoded bytes of a medium.
    fn payload(&mut self, _medium: Medium, _span: Span) {}
}

/// Where a value stands: under which key, and whether providers take media there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    media: bool,
    key: Key,
}

impl Place {
    /// A value that is text or structure only.
    pub(crate) const PLAIN: Self = Self { media: false, key: Key::Other };
    /// The value of `messages`, `input` or `system`.
    pub(crate) const CONVERSATION: Self = Self { media: true, key: Key::Container };

    fn under(self, key: Key) -> Self {
        let leads_to_media = matches!(key, Key::DataUrl | Key::Source | Key::InputAudio | Key::Container);
        Self { media: self.media && leads_to_media, key }
    }
}

/// The keys that matter to media, by meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Type,
    MediaType,
    Data,
    DataUrl,
    Source,
    InputAudio,
    Container,
    Other,
}

impl Key {
    fn named(name: &[u8]) -> Self {
        match name {
            b"type" => Self::Type,
            b"media_type" => Self::MediaType,
            b"data" => Self::Data,
            b"url" | b"image_url" | b"file_data" => Self::DataUrl,
            b"source" => Self::Source,
            b"input_audio" => Self::InputAudio,
            b"content" | b"file" | b"output" => Self::Container,
            _ => Self::Other,
        }
    }
}

/// What an object said about itself, for the decision at its end.
#[derive(Debug, Default)]
struct Source {
    types: u32,
    base64: bool,
    image: bool,
    data: Option<Text>,
}

/// Walks the value that comes next; `depth` counts the containers around it.
pub(crate) fn value<V: Visitor>(
    lexer: &mut Lexer<'_>,
    visitor: &mut V,
    place: Place,
    depth: usize,
) -> Result<Kind, BadRequest> {
    let kind = lexer.kind()?;
    if depth >= DEPTH_MAX && matches!(kind, Kind::Object | Kind::Array) {
        return lexer.fail(Problem::TooDeep { max: DEPTH_MAX });
    }
    match kind {
        Kind::Object => object(lexer, visitor, place, depth + 1)?,
        Kind::Array => array(lexer, visitor, place, depth + 1)?,
        Kind::String => string(lexer, visitor, place)?,
        Kind::Number => visitor.scalar(lexer.body, lexer.number()?),
        Kind::Literal => visitor.scalar(lexer.body, lexer.literal()?),
    }
    Ok(kind)
}

fn array<V: Visitor>(
    lexer: &mut Lexer<'_>,
    visitor: &mut V,
    place: Place,
    depth: usize,
) -> Result<(), BadRequest> {
    lexer.expect(b'[', "`[`")?;
    if lexer.take(b']') {
        return Ok(());
    }
    loop {
        value(lexer, visitor, place, depth)?;
        if !lexer.take(b',') {
            return lexer.expect(b']', "`,` or `]`");
        }
    }
}

fn object<V: Visitor>(
    lexer: &mut Lexer<'_>,
    visitor: &mut V,
    place: Place,
    depth: usize,
) -> Result<(), BadRequest> {
    lexer.expect(b'{', "`{`")?;
    let mut source = Source::default();
    if lexer.take(b'}') {
        return Ok(());
    }
    loop {
        let key = lexer.string()?;
        visitor.key(lexer.body, key);
        lexer.expect(b':', "`:`")?;
        member(lexer, visitor, place, key, &mut source, depth)?;
        if !lexer.take(b',') {
            lexer.expect(b'}', "`,` or `}`")?;
            settle(lexer.body, visitor, place, &source);
            return Ok(());
        }
    }
}

fn member<V: Visitor>(
    lexer: &mut Lexer<'_>,
    visitor: &mut V,
    place: Place,
    key: Text,
    source: &mut Source,
    depth: usize,
) -> Result<(), BadRequest> {
    if !place.media {
        return value(lexer, visitor, Place::PLAIN, depth).map(drop);
    }
    let key = match key.escaped {
        false => Key::named(key.span.of(lexer.body)),
        true => Key::named(key.value(lexer.body).as_bytes()),
    };
    let string = lexer.peek() == Some(b'"');
    match (key, string) {
        (Key::Type, true) => {
            let text = lexer.string()?;
            let value = text.value(lexer.body);
            source.types += 1;
            source.base64 = value == "base64";
            if let Some(medium) = part_named(&value) {
                visitor.part(medium);
            }
            visitor.text(lexer.body, text);
        }
        (Key::MediaType, true) => {
            let text = lexer.string()?;
            source.image = text.value(lexer.body).starts_with("image/");
            visitor.text(lexer.body, text);
        }
        (Key::Data, true) => {
            let text = lexer.string()?;
            // Only one of two equal keys is what the provider reads; the earlier one then is nobody's payload.
            if let Some(earlier) = source.data.replace(text) {
                visitor.text(lexer.body, earlier);
            }
        }
        (
            Key::Type
            | Key::MediaType
            | Key::Data
            | Key::DataUrl
            | Key::Source
            | Key::InputAudio
            | Key::Container
            | Key::Other,
            _,
        ) => {
            value(lexer, visitor, place.under(key), depth)?;
        }
    }
    Ok(())
}

/// At the end of an object, says whether its `data` was media: of an `input_audio`, or of a base64 `source`.
fn settle<V: Visitor>(body: &[u8], visitor: &mut V, place: Place, source: &Source) {
    let Some(data) = source.data else { return };
    let base64 = source.base64 && source.types == 1;
    match (place.key, base64, source.image) {
        (Key::InputAudio, _, _) => visitor.payload(Medium::Audio, data.span),
        (Key::Source, true, true) => visitor.payload(Medium::Image, data.span),
        (Key::Source, true, false) => visitor.payload(Medium::Document, data.span),
        (
            Key::Type | Key::MediaType | Key::Data | Key::DataUrl | Key::Source | Key::Container | Key::Other,
            _,
            _,
        ) => visitor.text(body, data),
    }
}

fn part_named(name: &str) -> Option<Medium> {
    match name {
        "image" | "image_url" | "input_image" | "computer_screenshot" => Some(Medium::Image),
        "input_audio" | "audio" => Some(Medium::Audio),
        "document" | "file" | "input_file" => Some(Medium::Document),
        _ => None,
    }
}

fn string<V: Visitor>(lexer: &mut Lexer<'_>, visitor: &mut V, place: Place) -> Result<(), BadRequest> {
    let text = lexer.string()?;
    let body = lexer.body;
    let data_url = place.media && place.key == Key::DataUrl;
    match data_url.then(|| data_url_payload(text.span.of(body))).flatten() {
        Some((medium, skipped)) => {
            let span = Span { start: text.span.start + skipped, end: text.span.end };
            visitor.payload(medium, span);
        }
        None => visitor.text(body, text),
    }
    Ok(())
}

/// The longest media type a data URL may open with, in bytes.
const DATA_URL_HEAD_BYTES_MAX: usize = 256;

fn data_url_payload(raw: &[u8]) -> Option<(Medium, usize)> {
    let head = raw.get(..raw.len().min(DATA_URL_HEAD_BYTES_MAX))?;
    let media_type = head.strip_prefix(b"data:")?;
    let comma = memchr::memchr(b',', head)?;
    let medium = match media_type {
        _ if media_type.starts_with(b"image/") => Medium::Image,
        _ if media_type.starts_with(b"audio/") => Medium::Audio,
        _ => Medium::Document,
    };
    head.get(..comma)?.ends_with(b";base64").then_some((medium, comma + 1))
}
