//! Bodies that pass through, each within its bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bh_app::ports::{CallerBodyBroken, ProviderBody};
use bh_domain::refusal::{Code, Refusal};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// The largest question for a verdict, and the largest verdict (dossier §4.7).
const VERDICT_BYTES_MAX: usize = 1024 * 1024;
/// The largest other body. Larger than what a gateway takes unless told otherwise, so that it is the one to decide.
const PASSED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How long the body of a question may take to come.
const VERDICT_WITHIN: Duration = Duration::from_secs(30);

/// Reads the question for a verdict.
pub(super) async fn verdict(body: Body) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, VERDICT_BYTES_MAX).collect();
    match tokio::time::timeout(VERDICT_WITHIN, read).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(VERDICT_BYTES_MAX as u64)),
        Ok(Err(_)) => Err(Refusal::new(Code::InvalidRequest, "The body broke off before its end")),
        Err(_) => Err(Refusal::new(Code::RequestTimeout, "The body did not come in time")),
    }
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

/// A body on its way through, that ends where it grows too large.
pub(super) struct Bounded {
    inner: Body,
    left: u64,
    too_large: TooLarge,
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
        let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|length| length > PASSED_BYTES_MAX) {
            return Err(too_large(PASSED_BYTES_MAX));
        }
        Ok(Self { inner, left: PASSED_BYTES_MAX, too_large: TooLarge::default() })
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
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx));
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
