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

    /// Puts what is left into a reader's buffer, in front of what follows it: a buffer that gets so few bytes by
    /// themselves is doubled before the next ones. False when nothing was left.
    fn put(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let rest = self.rest();
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(rest.get(..count).unwrap_or_default());
        self.start += count;
        count > 0
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
        let reads_again = this.opening.put(buffer);
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            this.activity.read();
        }
        // The first bytes are read already, whatever comes of those after them: a connection that broke ends next time.
        if reads_again { Poll::Ready(Ok(())) } else { read }
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn the_first_bytes_are_read_again_together_with_those_after_them() {
        let head = b"GET /readyz HTTP/1.1\r\nhost: bulkhead.example\r\n\r\n";
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(head).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let (opening, version) = Opening::read(&mut stream).await.unwrap().unwrap();
        assert!(matches!(version, Version::Http1));
        let activity = Arc::new(Activity::new(version, Instant::now()));
        let mut socket = Socket::new(stream, opening, activity, Duration::from_secs(60));
        let mut read = [0; 128];
        // More than what told the version, in one piece.
        let count = socket.read(&mut read).await.unwrap();
        assert_eq!(read.get(..count), Some(&head[..]));
    }
}
