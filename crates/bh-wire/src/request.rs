//! What the gateway has to know of a request body, read in one pass without building a document.
//!
//! Seed 002 (the LLM gateway), `spec/architecture.md` "read". Unknown fields are skipped but kept: every change is a
//! splice at a span recorded here (see [`crate::edit`]).

use crate::bad_request::{BadRequest, Problem};
use crate::family::Endpoint;
use crate::json::{Kind, Lexer, Span, Text};
use crate::tools;
use crate::walk::{self, Medium, Place, Visitor};

/// The deepest nesting a request may have, the outer object included.
pub const DEPTH_MAX: usize = 128;
/// The most top-level members a request may have.
pub const TOP_LEVEL_KEYS_MAX: usize = 256;
/// The longest model name or service tier, in bytes.
pub const NAME_BYTES_MAX: usize = 512;

/// What a request body says, and where it says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestFacts {
    /// The model asked for. `None` when the body names none (Azure puts it in the path).
    pub model: Option<String>,
    /// Whether the answer is asked for as a stream of events.
    pub stream: bool,
    /// The most tokens one answer may have, as this endpoint spells it.
    pub max_output_tokens: Option<u64>,
    /// How many answers are generated and billed (`n`, or `best_of` where larger); at least 1.
    pub choices: u64,
    /// What the client said of `stream_options.include_usage`; `None` when it said nothing.
    pub include_usage: Option<bool>,
    /// What the client said of `store`; `None` when it said nothing.
    pub store: Option<bool>,
    /// The service tier asked for; some cost a multiple of the list price.
    pub service_tier: Option<String>,
    /// The answer builds on context kept by the provider (`previous_response_id`, `conversation`, `prompt`), whose
    /// tokens are billed but not in this body.
    pub remote_context: bool,
    /// The provider runs tools itself (web search, code, remote MCP), whose results are billed as further input.
    pub hosted_tools: bool,
    /// The answer is made in the background (Responses): it comes without usage.
    pub background: bool,
    /// Bytes that can reach the model as text: an upper bound of the text input tokens, since no tokenizer in use
    /// makes more than one token of a byte. Media payloads are not in it, see [`Media`].
    pub text_bytes_max: u64,
    /// Media parts, which are priced by size and not by text.
    pub media: Media,
    pub(crate) spans: Spans,
}

/// The media parts of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Media {
    /// Images, inline or by reference.
    pub images: u64,
    /// Audio clips.
    pub audio: u64,
    /// Files and documents.
    pub documents: u64,
    /// Encoded bytes of all inline media.
    pub payload_bytes: u64,
    /// Encoded bytes of inline documents, which are part of `payload_bytes` and whose text the model reads.
    pub document_payload_bytes: u64,
}

/// Where edits go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Spans {
    /// Just after the opening brace.
    pub(crate) opening: usize,
    pub(crate) empty: bool,
    pub(crate) model: Option<Span>,
    pub(crate) store: Option<Span>,
    pub(crate) stream_options: Option<StreamOptions>,
}

/// The `stream_options` member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamOptions {
    Null(Span),
    Object { opening: usize, empty: bool, include_usage: Option<Span> },
}

impl RequestFacts {
    /// The most output tokens this request can be billed, over all its choices.
    #[must_use]
    pub fn output_tokens_max(&self) -> Option<u64> {
        self.max_output_tokens.map(|tokens| tokens.saturating_mul(self.choices))
    }
}

/// Reads the facts of a JSON request body.
///
/// # Errors
/// [`BadRequest`] with the place of the fault: not UTF-8, not strict JSON, not an object, nested deeper than
/// [`DEPTH_MAX`], a duplicate top-level key, or a wrong type of a field that decides routing or price.
pub fn read(endpoint: Endpoint, body: &[u8]) -> Result<RequestFacts, BadRequest> {
    let mut reader = Reader {
        lexer: Lexer::new(body)?,
        endpoint,
        seen: Vec::with_capacity(16),
        facts: RequestFacts { choices: 1, ..RequestFacts::default() },
    };
    reader.object()?;
    let mut facts = reader.facts;
    facts.text_bytes_max = (body.len() as u64).saturating_sub(facts.media.payload_bytes);
    Ok(facts)
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    endpoint: Endpoint,
    seen: Vec<Text>,
    facts: RequestFacts,
}

impl Reader<'_> {
    fn object(&mut self) -> Result<(), BadRequest> {
        if !self.lexer.take(b'{') {
            return self.lexer.fail(Problem::NotAnObject);
        }
        self.facts.spans.opening = self.lexer.at;
        if self.lexer.take(b'}') {
            self.facts.spans.empty = true;
        } else {
            self.members()?;
        }
        if self.lexer.peek().is_some() { self.lexer.fail(Problem::TrailingData) } else { Ok(()) }
    }

    fn members(&mut self) -> Result<(), BadRequest> {
        loop {
            self.lexer.peek();
            let start = self.lexer.at;
            let key = self.lexer.string()?;
            self.refuse_again(key, start)?;
            self.lexer.expect(b':', "`:`")?;
            self.lexer.peek();
            self.field(key)?;
            if !self.lexer.take(b',') {
                return self.lexer.expect(b'}', "`,` or `}`");
            }
        }
    }

    /// Refuses a key seen before, however it is escaped: two readers could take different ones.
    fn refuse_again(&mut self, key: Text, start: usize) -> Result<(), BadRequest> {
        let body = self.lexer.body;
        let name = key.value(body);
        let again = self.seen.iter().any(|seen| match seen.escaped {
            false => seen.span.of(body) == name.as_bytes(),
            true => seen.value(body) == name,
        });
        if again {
            return Err(BadRequest::at(body, start, Problem::duplicate(&name)));
        }
        if self.seen.len() == TOP_LEVEL_KEYS_MAX {
            return Err(BadRequest::at(body, start, Problem::TooManyKeys { max: TOP_LEVEL_KEYS_MAX }));
        }
        self.seen.push(key);
        Ok(())
    }

    fn field(&mut self, key: Text) -> Result<(), BadRequest> {
        let name = key.value(self.lexer.body);
        match (&*name, self.endpoint) {
            ("model", _) => self.model(),
            ("stream", _) => self.stream(),
            ("store", _) => self.store(),
            ("stream_options", _) => self.stream_options(),
            ("service_tier", _) => self.service_tier(),
            ("max_tokens", Endpoint::ChatCompletions | Endpoint::Completions | Endpoint::Messages) => {
                self.output_limit("max_tokens")
            }
            ("max_completion_tokens", Endpoint::ChatCompletions) => {
                self.output_limit("max_completion_tokens")
            }
            ("max_output_tokens", Endpoint::Responses) => self.output_limit("max_output_tokens"),
            ("n", Endpoint::ChatCompletions | Endpoint::Completions) => self.choices("n"),
            ("best_of", Endpoint::Completions) => self.choices("best_of"),
            ("previous_response_id" | "conversation" | "prompt", Endpoint::Responses) => {
                self.remote_context()
            }
            ("background", Endpoint::Responses) => self.background(),
            ("tools", _) => self.tools(),
            ("web_search_options" | "mcp_servers", _) => self.hosted_tools(),
            ("messages" | "input" | "system", _) => self.skip(Place::CONVERSATION),
            _ => self.skip(Place::PLAIN),
        }
    }

    fn skip(&mut self, place: Place) -> Result<(), BadRequest> {
        walk::value(&mut self.lexer, &mut self.facts.media, place, 1).map(drop)
    }

    fn stream(&mut self) -> Result<(), BadRequest> {
        self.facts.stream = self.boolean("stream")?.unwrap_or(false);
        Ok(())
    }

    fn service_tier(&mut self) -> Result<(), BadRequest> {
        self.facts.service_tier = self.name("service_tier")?;
        Ok(())
    }

    fn model(&mut self) -> Result<(), BadRequest> {
        let start = self.lexer.at;
        self.facts.model = self.name("model")?;
        self.facts.spans.model = Some(Span { start, end: self.lexer.at });
        Ok(())
    }

    fn store(&mut self) -> Result<(), BadRequest> {
        let start = self.lexer.at;
        self.facts.store = self.boolean("store")?;
        self.facts.spans.store = Some(Span { start, end: self.lexer.at });
        Ok(())
    }

    fn remote_context(&mut self) -> Result<(), BadRequest> {
        self.facts.remote_context |= self.lexer.peek() != Some(b'n');
        self.skip(Place::PLAIN)
    }

    fn background(&mut self) -> Result<(), BadRequest> {
        self.facts.background = self.boolean("background")?.unwrap_or(false);
        Ok(())
    }

    fn hosted_tools(&mut self) -> Result<(), BadRequest> {
        self.facts.hosted_tools |= self.lexer.peek() != Some(b'n');
        self.skip(Place::PLAIN)
    }

    fn tools(&mut self) -> Result<(), BadRequest> {
        self.facts.hosted_tools |= tools::any_hosted(&mut self.lexer)?;
        Ok(())
    }

    fn output_limit(&mut self, key: &'static str) -> Result<(), BadRequest> {
        let limit = self.integer(key)?;
        // Compatible servers obey one spelling or the other: the larger one bounds both.
        self.facts.max_output_tokens = self.facts.max_output_tokens.max(limit);
        Ok(())
    }

    fn choices(&mut self, key: &'static str) -> Result<(), BadRequest> {
        let count = self.integer(key)?.unwrap_or(1);
        self.facts.choices = self.facts.choices.max(count);
        Ok(())
    }

    fn wrong<T>(&self, start: usize, key: &'static str, expected: &'static str) -> Result<T, BadRequest> {
        Err(BadRequest::at(self.lexer.body, start, Problem::WrongType { key, expected }))
    }

    /// A literal, which must be `null` where `true` or `false` would not do.
    fn null(&mut self, key: &'static str, expected: &'static str) -> Result<(), BadRequest> {
        let start = self.lexer.at;
        if self.lexer.kind()? != Kind::Literal {
            return self.wrong(start, key, expected);
        }
        let span = self.lexer.literal()?;
        if span.of(self.lexer.body) == b"null" { Ok(()) } else { self.wrong(start, key, expected) }
    }

    fn boolean(&mut self, key: &'static str) -> Result<Option<bool>, BadRequest> {
        let start = self.lexer.at;
        if self.lexer.kind()? != Kind::Literal {
            return self.wrong(start, key, "a boolean");
        }
        let span = self.lexer.literal()?;
        Ok(match span.of(self.lexer.body) {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        })
    }

    fn integer(&mut self, key: &'static str) -> Result<Option<u64>, BadRequest> {
        const EXPECTED: &str = "a non-negative integer";
        if self.lexer.kind()? != Kind::Number {
            return self.null(key, EXPECTED).map(|()| None);
        }
        let span = self.lexer.number()?;
        let digits = std::str::from_utf8(span.of(self.lexer.body)).unwrap_or_default();
        match digits.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => self.wrong(span.start, key, EXPECTED),
        }
    }

    fn name(&mut self, key: &'static str) -> Result<Option<String>, BadRequest> {
        if self.lexer.kind()? != Kind::String {
            return self.null(key, "a string").map(|()| None);
        }
        let text = self.lexer.string()?;
        if text.span.len() > NAME_BYTES_MAX {
            let problem = Problem::TooLong { key, max: NAME_BYTES_MAX };
            return Err(BadRequest::at(self.lexer.body, text.span.start, problem));
        }
        Ok(Some(text.value(self.lexer.body).into_owned()))
    }

    fn stream_options(&mut self) -> Result<(), BadRequest> {
        let start = self.lexer.at;
        if self.lexer.kind()? != Kind::Object {
            self.null("stream_options", "an object")?;
            let span = Span { start, end: self.lexer.at };
            self.facts.spans.stream_options = Some(StreamOptions::Null(span));
            return Ok(());
        }
        self.lexer.expect(b'{', "`{`")?;
        let opening = self.lexer.at;
        let empty = self.lexer.take(b'}');
        let include_usage = if empty { None } else { self.include_usage()? };
        let options = StreamOptions::Object { opening, empty, include_usage };
        self.facts.spans.stream_options = Some(options);
        Ok(())
    }

    /// Reads the members of `stream_options` up to its closing brace.
    fn include_usage(&mut self) -> Result<Option<Span>, BadRequest> {
        let mut found = None;
        loop {
            let key = self.lexer.string()?;
            self.lexer.expect(b':', "`:`")?;
            self.lexer.peek();
            let start = self.lexer.at;
            if key.value(self.lexer.body) != "include_usage" {
                walk::value(&mut self.lexer, &mut self.facts.media, Place::PLAIN, 2)?;
            } else if found.is_some() {
                let problem = Problem::duplicate("include_usage");
                return Err(BadRequest::at(self.lexer.body, key.span.start, problem));
            } else {
                self.facts.include_usage = self.boolean("include_usage")?;
                found = Some(Span { start, end: self.lexer.at });
            }
            if !self.lexer.take(b',') {
                return self.lexer.expect(b'}', "`,` or `}`").map(|()| found);
            }
        }
    }
}

impl Visitor for Media {
    fn part(&mut self, medium: Medium) {
        match medium {
            Medium::Image => self.images += 1,
            Medium::Audio => self.audio += 1,
            Medium::Document => self.documents += 1,
        }
    }

    fn payload(&mut self, medium: Medium, span: Span) {
        let bytes = span.len() as u64;
        self.payload_bytes += bytes;
        if medium == Medium::Document {
            self.document_payload_bytes += bytes;
        }
    }
}
