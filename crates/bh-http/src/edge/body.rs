//! Bodies that pass through, each within its bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bh_app::ports::{CallerBodyBroken, ProviderBody};
use bh_domain::refusal::{Code, Refusal};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;

use crate::serve::StallTimer;

/// The largest question for a verdict, and the largest verdict (dossier §4.7).
const VERDICT_BYTES_MAX: usize = 1024 * 1024;
/// The largest other body. Larger than what a gateway takes unless told otherwise, so that it is the one to decide.
const PASSED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long the body of a question may take to come.
const VERDICT_WITHIN: Duration = Duration::from_secs(30);
/// How long a body on its way through may send nothing, and be waited for.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// A question about one credential is no larger than this; one about a hundred may be.
const SHORT_BYTES_MAX: u64 = 16 * 1024;
/// Short questions that are read at once, and long ones: 64 MiB of each. Nobody has shown who they are by then.
const SHORT_READ_MAX: usize = 4_096;
const LONG_READ_MAX: usize = 64;
/// When whoever finds all places taken may come again, in seconds.
const BUSY_RETRY_S: u64 = 1;

/// Places of questions that are being read. Long ones cannot take those of short ones.
#[derive(Debug)]
pub(super) struct Questions {
    short: Semaphore,
    long: Semaphore,
}

impl Default for Questions {
    fn default() -> Self {
        Self { short: Semaphore::new(SHORT_READ_MAX), long: Semaphore::new(LONG_READ_MAX) }
    }
}

impl Questions {
    /// Reads a question for a verdict.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
        let is_short = length(headers).is_some_and(|length| length <= SHORT_BYTES_MAX);
        let places = if is_short { &self.short } else { &self.long };
        let Ok(_place) = places.try_acquire() else {
            let busy = Refusal::new(Code::RateLimited, "Too many questions are being read; try again");
            return Err(busy.retry_after(BUSY_RETRY_S));
        };
        let read = Limited::new(body, VERDICT_BYTES_MAX).collect();
        match tokio::time::timeout(VERDICT_WITHIN, read).await {
            Ok(Ok(read)) => Ok(read.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(VERDICT_BYTES_MAX as u64)),
            Ok(Err(_)) => Err(Refusal::new(Code::InvalidRequest, "The body broke off before its end")),
            Err(_) => Err(Refusal::new(Code::RequestTimeout, "The body did not come in time")),
        }
    }
}

/// How long a body is, where its head says so.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
}

/// Reads a verdict.
pub(super) async fn of_answer(body: ProviderBody) -> Result<Bytes, Refusal> {
    let read = Limited::new(Body::new(body), VERDICT_BYTES_MAX).collect();
    match tokio::time::timeout(VERDICT_WITHIN, read).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the key server's answer could not be read");
            Err(Refusal::new(Code::UpstreamUnreachable, "The key server's answer broke off; try again"))
        }
        Err(_) => {
            Err(Refusal::new(Code::UpstreamTimeout, "The key server did not answer in time; try again"))
        }
    }
}

fn too_large(bytes_max: u64) -> Refusal {
    Refusal::new(Code::RequestTooLarge, format!("The body is larger than {bytes_max} bytes"))
}

/// A body on its way through, that ends where it grows too large, or sends nothing for too long.
pub(super) struct Bounded {
    inner: Body,
    left: u64,
    too_large: TooLarge,
    stalled: StallTimer,
}

/// Whether a body was too large, once it has been sent.
#[derive(Clone, Debug, Default)]
pub(super) struct TooLarge(Arc<AtomicBool>);

impl TooLarge {
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.load(Ordering::Acquire).then(|| too_large(PASSED_BYTES_MAX))
    }
}

impl Bounded {
    /// A body with the headers that come with it, which may say already that it is too large.
    pub(super) fn new(inner: Body, headers: &HeaderMap) -> Result<Self, Refusal> {
        if length(headers).is_some_and(|length| length > PASSED_BYTES_MAX) {
            return Err(too_large(PASSED_BYTES_MAX));
        }
        let stalled = StallTimer::new(IDLE_MAX);
        Ok(Self { inner, left: PASSED_BYTES_MAX, too_large: TooLarge::default(), stalled })
    }

    pub(super) fn into_parts(self) -> (ProviderBody, TooLarge) {
        let too_large = self.too_large.clone();
        (self.boxed_unsync(), too_large)
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            ready!(self.stalled.poll_stuck(cx));
            return Poll::Ready(Some(
                Err(CallerBodyBroken("it sent nothing for too long".to_owned()).into()),
            ));
        };
        self.stalled.progressed();
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| CallerBodyBroken(error.to_string()))?;
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => {
                    self.too_large.0.store(true, Ordering::Release);
                    return Err(CallerBodyBroken("too large".to_owned()).into());
                }
            }
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
