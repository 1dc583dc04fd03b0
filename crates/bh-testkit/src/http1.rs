//! Just enough HTTP/1.1 for both ends of a test: heads, content-length, chunked bodies.
//!
//! Written by hand on purpose: a library would repair, merge or reorder what a test wants to see as it was sent.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::Headers;

/// The largest head either side accepts.
const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// The largest body either side collects.
const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// A first line and its headers.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) first_line: String,
    pub(crate) headers: Headers,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// A reader that keeps what it has read ahead.
#[derive(Debug)]
pub(crate) struct Wire<R> {
    reader: R,
    ahead: Vec<u8>,
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn cut_short() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed in the middle of a message")
}

impl<R: AsyncRead + Unpin> Wire<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, ahead: Vec::with_capacity(READ_BYTES) }
    }

    /// Reads more into the buffer; false at the end of the stream. Cancel-safe.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        Ok(self.reader.read_buf(&mut self.ahead).await? > 0)
    }

    /// The next head, or `None` when the peer closed between messages.
    pub(crate) async fn head(&mut self) -> io::Result<Option<Head>> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let head = parse_head(&self.ahead[..end])?;
                self.ahead.drain(..end + 4);
                return Ok(Some(head));
            }
            if self.ahead.len() > HEAD_BYTES_MAX {
                return Err(bad("head too large"));
            }
            if !self.fill().await? {
                return if self.ahead.is_empty() { Ok(None) } else { Err(cut_short()) };
            }
        }
    }

    /// The next piece of the body: a wire chunk when chunked, whatever arrived otherwise. `None` at its end.
    /// Cancel-safe: nothing is taken from the buffer before a whole piece is there.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        match framing {
            Framing::Chunked => self.chunk().await,
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                if self.ahead.is_empty() && !self.fill().await? {
                    return Err(cut_short());
                }
                let taken = self.ahead.len().min(*left);
                *left -= taken;
                Ok(Some(self.ahead.drain(..taken).collect()))
            }
            Framing::UntilClose => {
                if self.ahead.is_empty() && !self.fill().await? {
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.ahead)))
            }
        }
    }

    async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line_end = loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                break end;
            }
            self.fill_or_fail().await?;
        };
        let size_text = String::from_utf8_lossy(&self.ahead[..line_end]).into_owned();
        let size_text = size_text.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size_text, 16).map_err(|_| bad("not a chunk size"))?;
        let whole = line_end + 2 + size + 2;
        if whole > BODY_BYTES_MAX {
            return Err(bad("chunk too large"));
        }
        while self.ahead.len() < whole {
            self.fill_or_fail().await?;
        }
        let data = self.ahead[line_end + 2..line_end + 2 + size].to_vec();
        self.ahead.drain(..whole);
        Ok(if size == 0 { None } else { Some(data) })
    }

    async fn fill_or_fail(&mut self) -> io::Result<()> {
        if self.fill().await? { Ok(()) } else { Err(cut_short()) }
    }

    /// The whole body.
    pub(crate) async fn body(&mut self, mut framing: Framing) -> io::Result<Vec<u8>> {
        let mut whole = Vec::new();
        while let Some(piece) = self.piece(&mut framing).await? {
            whole.extend_from_slice(&piece);
            if whole.len() > BODY_BYTES_MAX {
                return Err(bad("body too large"));
            }
        }
        Ok(whole)
    }
}

/// How the body after these headers ends; `otherwise` when they do not say.
pub(crate) fn framing(headers: &Headers, otherwise: Framing) -> Framing {
    if headers.get("transfer-encoding").is_some_and(|v| v.to_ascii_lowercase().contains("chunked")) {
        return Framing::Chunked;
    }
    match headers.get("content-length").and_then(|v| v.trim().parse().ok()) {
        Some(length) => Framing::Length(length),
        None => otherwise,
    }
}

fn parse_head(bytes: &[u8]) -> io::Result<Head> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split("\r\n");
    let first_line = lines.next().ok_or_else(|| bad("no first line"))?.to_owned();
    let mut headers = Headers::default();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a header line without a colon"))?;
        headers.push(name, value.trim());
    }
    Ok(Head { first_line, headers })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chunked_body_comes_back_chunk_by_chunk() {
        let mut wire = Wire::new(&b"3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\nnext"[..]);
        let mut framing = Framing::Chunked;
        assert_eq!(wire.piece(&mut framing).await.unwrap(), Some(b"abc".to_vec()));
        assert_eq!(wire.piece(&mut framing).await.unwrap(), Some(b"de".to_vec()));
        assert_eq!(wire.piece(&mut framing).await.unwrap(), None);
    }

    #[tokio::test]
    async fn repeated_headers_keep_their_order() {
        let mut wire = Wire::new(&b"GET / HTTP/1.1\r\nX-A: 1\r\nb: 2\r\nx-a: 3\r\n\r\n"[..]);
        let head = wire.head().await.unwrap().unwrap();
        assert_eq!(head.first_line, "GET / HTTP/1.1");
        assert_eq!(head.headers, Headers::from_iter([("X-A", "1"), ("b", "2"), ("x-a", "3")]));
        assert_eq!(head.headers.all("x-a"), ["1", "3"]);
    }

    #[tokio::test]
    async fn a_body_cut_short_is_an_error() {
        let mut wire = Wire::new(&b"abc"[..]);
        let error = wire.body(Framing::Length(4)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
