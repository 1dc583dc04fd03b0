//! A bare socket, for requests that no HTTP client would send.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A plain TCP connection to the server under test.
#[derive(Debug)]
pub struct RawSocket(TcpStream);

impl RawSocket {
    /// Connects to the host and port of `http://host:port…`.
    ///
    /// # Panics
    /// When nothing listens there.
    pub async fn connect(url: &str) -> Self {
        let address = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
        let socket = TcpStream::connect(address).await.unwrap_or_else(|e| panic!("{address}: {e}"));
        socket.set_nodelay(true).expect("a fresh socket takes options");
        Self(socket)
    }

    /// Writes bytes as they are; false when the server has already closed.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.0.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Says "no more from me" and keeps reading possible.
    pub async fn half_close(&mut self) {
        self.0.shutdown().await.ok();
    }

    /// Everything the server sends until it closes or is silent for `quiet`.
    pub async fn read_for(&mut self, quiet: Duration) -> String {
        let mut seen = Vec::new();
        let mut buffer = [0_u8; 8192];
        while let Ok(Ok(count @ 1..)) = timeout(quiet, self.0.read(&mut buffer)).await {
            seen.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Reads until `needle` has come; returns everything until then, or until the server closes or `patience` is over.
    pub async fn read_until(&mut self, needle: &str, patience: Duration) -> String {
        let mut seen = Vec::new();
        let found = |seen: &[u8]| seen.windows(needle.len()).any(|window| window == needle.as_bytes());
        let reading = async { while !found(&seen) && matches!(self.0.read_buf(&mut seen).await, Ok(1..)) {} };
        // What has come by then is the answer.
        timeout(patience, reading).await.ok();
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// True when the server closes the connection within `patience` (bytes sent before that are dropped).
    pub async fn closes_within(&mut self, patience: Duration) -> bool {
        let mut buffer = [0_u8; 8192];
        timeout(patience, async { while matches!(self.0.read(&mut buffer).await, Ok(1..)) {} }).await.is_ok()
    }
}
