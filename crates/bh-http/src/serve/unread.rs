//! What an HTTP/1 request still has to say when it has been answered.
//!
//! A request can be refused before its body was read, and many clients send the head first and the body after it. A
//! connection that is closed then without a word looks alive to its client, whose next request breaks. So a short rest
//! is read and passed over; a long one, or one that does not come, ends the connection, and the answer says so.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use parking_lot::Mutex;

/// The longest rest that is read.
const REST_BYTES_MAX: u64 = 64 * 1024;
/// How long is waited for it.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// A body that leaves itself behind when it is dropped.
#[derive(Debug)]
struct Watched {
    inner: Option<Incoming>,
    left: Arc<Mutex<Option<Incoming>>>,
}

/// What was left of a request's body.
#[derive(Debug)]
pub(super) struct Unread {
    left: Arc<Mutex<Option<Incoming>>>,
    /// The client waits for leave to send the body, and the answer is not that.
    held_back: bool,
}

impl Unread {
    /// Watches the body of a request, if it has one.
    pub(super) fn watch(request: Request<Incoming>) -> (Request<Body>, Option<Self>) {
        if request.body().is_end_stream() {
            return (request.map(Body::new), None);
        }
        let left = Arc::new(Mutex::new(None));
        let unread = Self { left: Arc::clone(&left), held_back: request.headers().contains_key(EXPECT) };
        (request.map(|inner| Body::new(Watched { inner: Some(inner), left })), Some(unread))
    }

    /// Reads what is left, or makes the answer say that the connection ends with it.
    pub(super) async fn settle(self, answer: &mut Response) {
        let Some(left) = self.left.lock().take() else { return };
        let read = !self.held_back
            && left.size_hint().lower() <= REST_BYTES_MAX
            && tokio::time::timeout(REST_WITHIN, passed_over(left)).await.unwrap_or(false);
        if !read {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Whether the body came to its end within the bound.
async fn passed_over(mut body: Incoming) -> bool {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        if bytes > REST_BYTES_MAX {
            return false;
        }
    }
    true
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take().filter(|inner| !inner.is_end_stream()) {
            *self.left.lock() = Some(inner);
        }
    }
}
