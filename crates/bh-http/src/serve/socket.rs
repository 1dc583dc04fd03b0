//! The socket under a connection: it knows the first bytes again, and ends when its peer stops reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::{Activity, Version};
use super::stall::StallTimer;

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4). No HTTP/1 request begins like it.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes of a connection, read to tell its version, to be read again by whoever speaks that.
#[derive(Debug)]
pub(super) struct Opening {
    bytes: [u8; HTTP2_PREFACE.len()],
    start: usize,
    end: usize,
}

impl Opening {
    /// Reads as much as tells the version. `None` when the client closes without a word.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<(Self, Version)>> {
        let mut opening = Self { bytes: [0; HTTP2_PREFACE.len()], start: 0, end: 0 };
        loop {
            let (_, room) = opening.bytes.split_at_mut(opening.end);
            let count = stream.read(room).await?;
            opening.end += count;
            let seen = opening.rest();
            if seen.is_empty() {
                return Ok(None);
            }
            if count == 0 || !HTTP2_PREFACE.starts_with(seen) {
                return Ok(Some((opening, Version::Http1)));
            }
            if seen.len() == HTTP2_PREFACE.len() {
                return Ok(Some((opening, Version::Http2)));
            }
        }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    opening: Opening,
    activity: Arc<Activity>,
    unread: StallTimer,
}

impl Socket {
    /// `write_timeout` is how long the peer may leave unread what there is to read.
    pub(super) fn new(
        stream: TcpStream,
        opening: Opening,
        activity: Arc<Activity>,
        write_timeout: Duration,
    ) -> Self {
        Self { stream, opening, activity, unread: StallTimer::new(write_timeout) }
    }

    /// Ends a write that has been waiting for too long.
    fn watched(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(outcome) => {
                self.unread.progressed();
                self.activity.written();
                Poll::Ready(outcome)
            }
            Poll::Pending => {
                self.activity.blocked();
                self.unread.poll_stuck(cx).map(|()| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "the client has stopped reading its answer"))
                })
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let again = this.opening.rest();
        if !again.is_empty() {
            let count = again.len().min(buffer.remaining());
            buffer.put_slice(again.get(..count).unwrap_or_default());
            this.opening.start += count;
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.activity.read();
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A TCP stream keeps nothing back: what was not written is waited for in a write.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
