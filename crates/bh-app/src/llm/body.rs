//! A client's body on its way in: bounded in size and in idle time, hashed as it passes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::{Context as Hasher, SHA256};
use bh_domain::refusal::{Code, Refusal};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use parking_lot::Mutex;

use crate::ports::{CallerBodyBroken, ProviderBody};

/// SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    finished(Hasher::new(&SHA256), bytes)
}

fn finished(mut hasher: Hasher, rest: &[u8]) -> [u8; 32] {
    hasher.update(rest);
    let mut hash = [0; 32];
    hash.copy_from_slice(hasher.finish().as_ref());
    hash
}

/// A body of these bytes.
pub(super) fn full(bytes: Bytes) -> ProviderBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// Whether a request has begun to go out: a body is taken only once there is a connection for it.
#[derive(Clone, Default)]
pub(super) struct GoneOut(Arc<AtomicBool>);

impl GoneOut {
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A body of these bytes that tells when it is taken.
pub(super) fn watched(bytes: Bytes) -> (ProviderBody, GoneOut) {
    let gone_out = GoneOut::default();
    let bytes = (!bytes.is_empty()).then_some(bytes);
    (WatchedBody { bytes, gone_out: gone_out.clone() }.boxed_unsync(), gone_out)
}

struct WatchedBody {
    bytes: Option<Bytes>,
    gone_out: GoneOut,
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.gone_out.0.store(true, Ordering::Relaxed);
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Reads a whole body.
pub(super) async fn collect(
    mut body: ProviderBody,
    bytes_max: u64,
    idle: Duration,
) -> Result<Bytes, Refusal> {
    fits(&body, bytes_max)?;
    let announced = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0);
    let mut first = Bytes::new();
    let mut whole: Option<BytesMut> = None;
    let mut size = 0_u64;
    loop {
        let frame = tokio::time::timeout(idle, body.frame()).await.map_err(|_| too_slow(idle))?;
        let Some(frame) = frame else { break };
        let broken = |_| Refusal::new(Code::InvalidRequest, "The request body broke off before its end");
        let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
        size += data.len() as u64;
        if size > bytes_max {
            return Err(too_large(bytes_max));
        }
        // Most bodies arrive in one piece, which is then used as it is.
        match &mut whole {
            Some(whole) => whole.extend_from_slice(&data),
            None if first.is_empty() => first = data,
            None => {
                let mut joined = BytesMut::with_capacity(announced.max(first.len() + data.len()));
                joined.extend_from_slice(&first);
                joined.extend_from_slice(&data);
                whole = Some(joined);
            }
        }
    }
    Ok(whole.map_or(first, BytesMut::freeze))
}

/// Refuses a body that is too large by its own word, before any of it is read.
pub(super) fn fits(body: &ProviderBody, bytes_max: u64) -> Result<(), Refusal> {
    if body.size_hint().lower() > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

fn too_large(bytes_max: u64) -> Refusal {
    let message = format!("The request body is larger than {bytes_max} bytes (server.body_bytes_max)");
    Refusal::new(Code::RequestTooLarge, message)
}

fn too_slow(idle: Duration) -> Refusal {
    let message = format!("The request body paused for more than {} ms", idle.as_millis());
    Refusal::new(Code::RequestTimeout, message)
}

/// What is known of a body that is still passing; final once the body has ended.
#[derive(Clone)]
pub(super) struct Passing(Arc<Mutex<Passed>>);

struct Passed {
    hash: Hasher,
    /// Why the body was cut off, where that was for the caller's sake.
    refusal: Option<Refusal>,
}

impl Passing {
    /// The hash of what has passed so far.
    pub(super) fn hash(&self) -> [u8; 32] {
        finished(self.0.lock().hash.clone(), &[])
    }

    /// Why the body was cut off: its own fault, and so the answer to the caller.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().refusal.clone()
    }
}

/// A body that is forwarded while it arrives.
pub(super) struct PassingBody {
    inner: ProviderBody,
    passing: Passing,
    left: u64,
    bytes_max: u64,
    idle: Duration,
    pause: Pin<Box<tokio::time::Sleep>>,
}

impl PassingBody {
    pub(super) fn new(inner: ProviderBody, bytes_max: u64, idle: Duration) -> (Self, Passing) {
        let passing = Passing(Arc::new(Mutex::new(Passed { hash: Hasher::new(&SHA256), refusal: None })));
        let pause = Box::pin(tokio::time::sleep(idle));
        (Self { inner, passing: passing.clone(), left: bytes_max, bytes_max, idle, pause }, passing)
    }

    /// Cuts the body off and keeps the reason for the answer.
    fn cut_off(&self, refusal: Refusal) -> Box<dyn std::error::Error + Send + Sync> {
        let broken = CallerBodyBroken(refusal.message.clone());
        self.passing.0.lock().refusal = Some(refusal);
        Box::new(broken)
    }
}

impl Body for PassingBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            if this.pause.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Some(Err(this.cut_off(too_slow(this.idle)))));
            }
            return Poll::Pending;
        };
        let next = tokio::time::Instant::now() + this.idle;
        this.pause.as_mut().reset(next);
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| Box::new(CallerBodyBroken(error.to_string())))?;
        if let Some(data) = frame.data_ref() {
            let Some(left) = this.left.checked_sub(data.len() as u64) else {
                return Poll::Ready(Some(Err(this.cut_off(too_large(this.bytes_max)))));
            };
            this.left = left;
            this.passing.0.lock().hash.update(data);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
