//! A tiny HTTP client: what was answered, byte for byte, and when.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::Headers;
use crate::http1::{Framing, Wire, framing};

/// No answer of a test takes longer; a hang fails instead of blocking the run.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// One request to make. Build it, then [`Call::send`] or [`Call::stream`] it.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header lines, in wire order.
    pub headers: Headers,
    /// The body, with any chunked framing taken off.
    pub body: Vec<u8>,
}

/// One piece of a streamed body and the moment it arrived.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The bytes of one wire chunk.
    pub bytes: Vec<u8>,
    /// When it was read.
    pub at: Instant,
}

/// An answer whose body is still arriving. Dropping it hangs up.
#[derive(Debug)]
pub struct Streaming {
    /// The status code.
    pub status: u16,
    /// The header lines, in wire order.
    pub headers: Headers,
    /// When the request had been written.
    pub sent_at: Instant,
    wire: Wire<OwnedReadHalf>,
    framing: Framing,
    _writer: OwnedWriteHalf,
}

impl Call {
    /// A request of any method to `http://host:port/path?query`.
    #[must_use]
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self { method: method.to_owned(), url: url.into(), headers: Headers::default(), body: Vec::new() }
    }

    /// A GET.
    #[must_use]
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A POST of a JSON body.
    #[must_use]
    pub fn post(url: impl Into<String>, body: &Value) -> Self {
        Self::new("POST", url).json(body)
    }

    /// Adds a header line; a repeated name is sent twice.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.headers.push(name, value.as_ref());
        self
    }

    /// `Authorization: Bearer KEY`.
    #[must_use]
    pub fn bearer(self, key: impl AsRef<str>) -> Self {
        let value = format!("Bearer {}", key.as_ref());
        self.header("authorization", value)
    }

    /// A JSON body and its content type.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// The body, as given.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request and reads the whole answer.
    ///
    /// # Panics
    /// When no complete answer arrives within [`ANSWER_WITHIN`]. Use [`Call::try_send`] where that is the test.
    pub async fn send(&self) -> Answer {
        self.try_send().await.unwrap_or_else(|e| panic!("{} {}: {e}", self.method, self.url))
    }

    /// As [`Call::send`].
    ///
    /// # Errors
    /// When the connection is refused, breaks, or nothing complete arrives within [`ANSWER_WITHIN`].
    pub async fn try_send(&self) -> std::io::Result<Answer> {
        timeout(ANSWER_WITHIN, async {
            let streaming = self.open().await?;
            let Streaming { status, headers, mut wire, framing, .. } = streaming;
            Ok(Answer { status, headers, body: wire.body(framing).await? })
        })
        .await?
    }

    /// Sends the request and returns as soon as the answer's head is there.
    ///
    /// # Panics
    /// When no head arrives within [`ANSWER_WITHIN`].
    pub async fn stream(&self) -> Streaming {
        match timeout(ANSWER_WITHIN, self.open()).await {
            Ok(Ok(streaming)) => streaming,
            Ok(Err(e)) => panic!("{} {}: {e}", self.method, self.url),
            Err(_) => panic!("{} {}: no head within {ANSWER_WITHIN:?}", self.method, self.url),
        }
    }

    async fn open(&self) -> std::io::Result<Streaming> {
        let (address, target) = split_url(&self.url);
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        // A server may answer and close before it has read a large body: the answer is what counts then.
        let written = writer.write_all(&self.bytes(address, target)).await;
        let sent_at = Instant::now();
        let mut wire = Wire::new(reader);
        let head = match wire.head().await {
            Ok(Some(head)) => head,
            Ok(None) => return Err(written.err().unwrap_or_else(|| closed("before any answer"))),
            Err(e) => return Err(written.err().unwrap_or(e)),
        };
        let status = head.first_line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| closed("with something that is no status line"))?;
        let bodiless = self.method == "HEAD" || status == 204 || status == 304;
        let framing = if bodiless { Framing::Length(0) } else { framing(&head.headers, Framing::UntilClose) };
        Ok(Streaming { status, headers: head.headers, sent_at, wire, framing, _writer: writer })
    }

    fn bytes(&self, address: &str, target: &str) -> Vec<u8> {
        let mut out = format!("{} {target} HTTP/1.1\r\n", self.method).into_bytes();
        let mut head = Headers::default();
        if !self.headers.has("host") {
            head.push("host", address);
        }
        let bodiless = self.body.is_empty() && self.method == "GET";
        if !bodiless && !self.headers.has("content-length") {
            head.push("content-length", &self.body.len().to_string());
        }
        head.write_to(&mut out);
        self.headers.write_to(&mut out);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON; the message shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("status {}, not JSON ({e}): {}", self.status, self.text()))
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

impl Streaming {
    /// The next piece of the body; `None` at its proper end.
    ///
    /// # Errors
    /// When the connection breaks before the end, or nothing arrives within [`ANSWER_WITHIN`].
    pub async fn next(&mut self) -> std::io::Result<Option<Chunk>> {
        let piece = timeout(ANSWER_WITHIN, self.wire.piece(&mut self.framing)).await??;
        Ok(piece.map(|bytes| Chunk { bytes, at: Instant::now() }))
    }

    /// Everything still to come.
    ///
    /// # Errors
    /// As [`Streaming::next`].
    pub async fn rest(&mut self) -> std::io::Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        while let Some(chunk) = self.next().await? {
            chunks.push(chunk);
        }
        Ok(chunks)
    }

    /// Closes the connection without reading on: a client that hangs up.
    pub fn hang_up(self) {
        drop(self);
    }
}

/// The bytes of all chunks, joined.
#[must_use]
pub fn joined(chunks: &[Chunk]) -> Vec<u8> {
    chunks.iter().flat_map(|c| c.bytes.iter().copied()).collect()
}

fn closed(when: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("the server closed {when}"))
}

pub(crate) fn split_url(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("{url}: tests speak plain http"));
    rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash))
}
