//! An HTTP/2 client with prior knowledge: many calls on one connection, and answers that are left unread.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::{Reason, RecvStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::{ANSWER_WITHIN, split_url};
use crate::{Answer, Call, Headers};

/// What the server may send on one stream before the test reads it: HTTP/2's own default.
const STREAM_WINDOW: u32 = 65_535;
/// What the server may send on the connection: so much that one unread answer does not stop the others.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// One connection. Dropping it hangs up.
#[derive(Debug)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

/// An answer whose body has not been read yet. Dropping it resets the stream.
#[derive(Debug)]
pub struct Http2Answer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: Headers,
    body: RecvStream,
}

impl Http2 {
    /// Connects to the host and port of `http://host:port…`.
    ///
    /// # Panics
    /// When nothing listens there, or it does not speak HTTP/2.
    pub async fn connect(url: &str) -> Self {
        let (address, _) = split_url(url);
        let stream = TcpStream::connect(address).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        stream.set_nodelay(true).expect("a fresh socket takes options");
        let mut builder = client::Builder::new();
        builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        let (requests, connection) =
            builder.handshake(stream).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        Self { requests, connection: tokio::spawn(connection) }
    }

    /// Sends a request on a stream of its own and waits for the head of its answer.
    ///
    /// # Errors
    /// When the stream or the connection ends before, or no head arrives within [`ANSWER_WITHIN`].
    pub async fn stream(&self, call: &Call) -> io::Result<Http2Answer> {
        timeout(ANSWER_WITHIN, self.open(call)).await?.map_err(io::Error::other)
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    /// As [`Http2::stream`], and when the body breaks off.
    pub async fn try_send(&self, call: &Call) -> io::Result<Answer> {
        let mut answer = self.stream(call).await?;
        let mut body = Vec::new();
        while let Some(piece) = answer.next().await? {
            body.extend_from_slice(&piece);
        }
        Ok(Answer { status: answer.status, headers: answer.headers, body })
    }

    /// As [`Http2::try_send`].
    ///
    /// # Panics
    /// When no complete answer arrives.
    pub async fn send(&self, call: &Call) -> Answer {
        self.try_send(call).await.unwrap_or_else(|e| panic!("{} {}: {e}", call.method, call.url))
    }

    /// True when the server ends the connection within `patience`. Until then pings are answered.
    pub async fn closes_within(&mut self, patience: Duration) -> bool {
        timeout(patience, &mut self.connection).await.is_ok()
    }

    async fn open(&self, call: &Call) -> Result<Http2Answer, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let mut request = http::Request::builder().method(call.method.as_str()).uri(&call.url);
        for (name, value) in &call.headers.0 {
            request = request.header(name, value);
        }
        let request =
            request.version(http::Version::HTTP_2).body(()).expect("a test's request is well-formed");
        let (answer, mut sending) = requests.send_request(request, call.body.is_empty())?;
        if !call.body.is_empty() {
            // A server may answer before it has read everything: the answer is what counts then.
            sending.send_data(Bytes::from(call.body.clone()), true).ok();
        }
        let (head, body) = answer.await?.into_parts();
        let headers = head.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        Ok(Http2Answer { status: head.status.as_u16(), headers: headers.collect(), body })
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Http2Answer {
    /// The next piece of the body, which makes room for another one; `None` at its proper end.
    ///
    /// # Errors
    /// When the stream or the connection ends before, or nothing arrives within [`ANSWER_WITHIN`].
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(piece) = timeout(ANSWER_WITHIN, self.body.data()).await? else { return Ok(None) };
        let piece = match piece {
            Ok(piece) => piece,
            // The whole answer has come; only the rest of the request is not wanted any more.
            Err(e) if e.reason() == Some(Reason::NO_ERROR) => return Ok(None),
            Err(e) => return Err(io::Error::other(e)),
        };
        self.body.flow_control().release_capacity(piece.len()).map_err(io::Error::other)?;
        Ok(Some(piece))
    }
}
