//! The body of an answer, on its way into a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body::{Body as _, Frame, SizeHint};

use super::activity::InCall;

/// The most that is handed to an HTTP/2 stream at once. What it was handed it keeps until its peer has taken it, so
/// that a piece is the measure of a peer's progress, and the most that a finished call leaves behind.
const HTTP2_PIECE_BYTES_MAX: usize = 64 * 1024;

/// The answer to HEAD: all that GET would have said about its body, without the body. A provider's answer is one
/// already, and is left alone: its body, though empty, settles the call.
pub(super) fn without_body(mut response: Response) -> Response {
    let Some(length @ 1..) = response.body().size_hint().exact() else { return response };
    response.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    response.map(|_| Body::empty())
}

tokio::task_local! {
    /// How the answer of the HTTP/2 stream goes on that the running task serves. On HTTP/1 there is none: there a
    /// client that stops reading stops the socket, which notices by itself.
    pub(super) static PROGRESS: Arc<Progress>;
}

/// How far the body of one answer has come: it counts the pieces that were handed over and those that were asked for.
#[derive(Debug, Default)]
pub(super) struct Progress(AtomicU64);

impl Progress {
    /// The count, while a piece was handed over and no other was asked for: the peer takes no more of what is ready.
    pub(super) fn untaken(&self) -> Option<u64> {
        let steps = self.0.load(Ordering::Relaxed);
        (steps % 2 == 1).then_some(steps)
    }

    /// Steps are made and read by one task, so that a load and a store make a step.
    fn step_to(&self, parity: u64) {
        let steps = self.0.load(Ordering::Relaxed);
        if steps % 2 != parity {
            self.0.store(steps + 1, Ordering::Relaxed);
        }
    }

    fn asked(&self) {
        self.step_to(0);
    }

    fn handed_over(&self) {
        self.step_to(1);
    }
}

/// An answer's body that keeps its call open until it is dropped.
#[derive(Debug)]
pub(super) struct TrackedBody {
    inner: Body,
    progress: Option<Arc<Progress>>,
    /// The rest of a piece that was too large.
    rest: Bytes,
    // After the body: what that settles belongs to the call.
    _call: InCall,
}

impl TrackedBody {
    pub(super) fn new(inner: Body, call: InCall) -> Self {
        let progress = PROGRESS.try_with(Arc::clone).ok();
        Self { inner, progress, rest: Bytes::new(), _call: call }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let Some(progress) = &this.progress else { return Pin::new(&mut this.inner).poll_frame(cx) };
        progress.asked();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        progress.handed_over();
        let piece = this.rest.split_to(this.rest.len().min(HTTP2_PIECE_BYTES_MAX));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first piece: for `content-length`.
        self.inner.size_hint()
    }
}
