//! One scripted answer: what is sent, how slowly, and how it breaks.

use std::time::Duration;

use serde_json::Value;

use crate::Headers;

/// How a scripted answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the protocol wants.
    Complete,
    /// The connection is closed in the middle of the body.
    Die,
    /// Nothing more is sent and the connection stays open.
    Hang,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// One `content-length` body.
    Whole(Vec<u8>),
    /// Wire chunks, each in its own write.
    Chunks(Vec<Vec<u8>>),
    /// These bytes in place of any HTTP.
    Raw(Vec<u8>),
    /// No byte at all.
    Nothing,
}

/// One answer. Start from a constructor, then refine it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Body,
    pub(crate) delay: Duration,
    pub(crate) pause: Duration,
    pub(crate) ending: Ending,
}

impl Script {
    fn new(status: u16, body: Body) -> Self {
        let (delay, pause) = (Duration::ZERO, Duration::ZERO);
        Self { status, headers: Headers::default(), body, delay, pause, ending: Ending::Complete }
    }

    /// A JSON answer.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, Body::Whole(body.to_string().into_bytes()))
            .header("content-type", "application/json")
    }

    /// An error in OpenAI's envelope.
    #[must_use]
    pub fn openai_error(status: u16, kind: &str, message: &str) -> Self {
        let error = serde_json::json!({"message": message, "type": kind, "param": null, "code": null});
        Self::json(status, &serde_json::json!({ "error": error }))
    }

    /// An error in Anthropic's envelope.
    #[must_use]
    pub fn anthropic_error(status: u16, kind: &str, message: &str) -> Self {
        let error = serde_json::json!({"type": kind, "message": message});
        Self::json(status, &serde_json::json!({"type": "error", "error": error}))
    }

    /// A body of any kind, sent whole.
    #[must_use]
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, Body::Whole(body.into())).header("content-type", content_type)
    }

    /// A `text/event-stream` of these wire chunks.
    #[must_use]
    pub fn stream(chunks: Vec<Vec<u8>>) -> Self {
        Self::new(200, Body::Chunks(chunks)).header("content-type", "text/event-stream; charset=utf-8")
    }

    /// The same chunks under another content type.
    #[must_use]
    pub fn chunked(status: u16, content_type: &str, chunks: Vec<Vec<u8>>) -> Self {
        Self::new(status, Body::Chunks(chunks)).header("content-type", content_type)
    }

    /// A body of `size` bytes, sent in chunks of 64 KiB.
    #[must_use]
    pub fn huge(size: usize) -> Self {
        const CHUNK_BYTES: usize = 64 * 1024;
        let starts = (0..size).step_by(CHUNK_BYTES);
        let chunks = starts.map(|start| vec![b'x'; CHUNK_BYTES.min(size - start)]).collect();
        Self::chunked(200, "application/json", chunks)
    }

    /// Bytes that need not be HTTP, then the connection is closed.
    #[must_use]
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(0, Body::Raw(bytes.into()))
    }

    /// The connection is closed without an answer.
    #[must_use]
    pub fn close() -> Self {
        Self::new(0, Body::Nothing).ending(Ending::Die)
    }

    /// No answer ever comes.
    #[must_use]
    pub fn hang() -> Self {
        Self::new(0, Body::Nothing).ending(Ending::Hang)
    }

    /// Adds a header line.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value);
        self
    }

    /// `Retry-After: SECONDS`.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.header("retry-after", &seconds.to_string())
    }

    /// Waits before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits between chunks.
    #[must_use]
    pub fn paced(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// How it ends once its chunks are sent. A whole body that dies or hangs sends only its first half.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// Keeps only the first `count` chunks of a stream: with [`Ending::Die`], a provider that dies after them.
    #[must_use]
    pub fn only_chunks(mut self, count: usize) -> Self {
        if let Body::Chunks(chunks) = &mut self.body {
            chunks.truncate(count);
        }
        self
    }

    /// The body's bytes with no framing: what a client should receive, to compare byte for byte.
    #[must_use]
    pub fn body_bytes(&self) -> Vec<u8> {
        match &self.body {
            Body::Whole(bytes) | Body::Raw(bytes) => bytes.clone(),
            Body::Chunks(chunks) => chunks.concat(),
            Body::Nothing => Vec::new(),
        }
    }
}
