//! The answer on its way to the client, metered beside the stream and never in its way.
//!
//! Bytes leave as they arrived. Only the end is held: with strict evidence it leaves once the record and the money
//! are durable. A client that hangs up drops the body, which ends the provider's call and settles what was used.

mod brake;
mod opening;
mod used;

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_lc_rs::digest::Context as Hasher;
use bh_domain::refusal::{Code, Refusal};
use bh_wire::body::TopLevelScanner;
use bh_wire::errors::ErrorBody;
use bh_wire::stream::{End, StreamWatcher};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::close::Ending;
use super::elapsed_ms;
use super::route::Choice;
use super::ticket::OpenCall;
use crate::ports::{BoxFuture, ProviderBody};
use crate::recorder::EvidenceLost;
use brake::Brake;
pub(super) use opening::meter;

/// The most of an answer that is kept when answers are stored.
const STORED_ANSWER_BYTES_MAX: usize = 1024 * 1024;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A metered answer body.
pub struct AnswerBody {
    inner: ProviderBody,
    watch: Watch,
    hash: Option<Hasher>,
    kept: Option<BytesMut>,
    phase: Phase,
    ready: VecDeque<Bytes>,
    /// The end of the answer, waiting for its evidence.
    held: Vec<Bytes>,
    call: Option<OpenCall>,
    choice: Choice,
    http_status: u16,
    plain_bytes: u64,
    ttft_ms: Option<u64>,
    idle: Duration,
    last: Instant,
    pause: Pin<Box<Sleep>>,
    brake: Brake,
}

enum Watch {
    Stream(Box<StreamWatcher>),
    Plain(Box<TopLevelScanner>),
}

enum Phase {
    /// The provider is answering.
    Flowing,
    /// The end is known; its evidence is on the way to the disk.
    Settling(BoxFuture<'static, Result<(), EvidenceLost>>),
    /// Settled; whatever still comes is passed on.
    Settled,
    /// Nothing more comes.
    Done,
    /// The body breaks off here.
    Broken(Option<Fault>),
}

impl std::fmt::Debug for AnswerBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerBody").field("http_status", &self.http_status).finish_non_exhaustive()
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let this = &mut *self;
        loop {
            if let Some(piece) = this.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            match &mut this.phase {
                Phase::Flowing => {
                    if this.brake_holds_back(cx) {
                        return Poll::Pending;
                    }
                    // The brake may just have ended the stream.
                    if !matches!(this.phase, Phase::Flowing) {
                        continue;
                    }
                    match Pin::new(&mut this.inner).poll_frame(cx) {
                        Poll::Ready(frame) => this.arrived(frame),
                        Poll::Pending if this.paused_too_long(cx) => {}
                        Poll::Pending => return Poll::Pending,
                    }
                }
                Phase::Settling(receipt) => match receipt.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(outcome) => this.settled(outcome),
                },
                Phase::Settled => match Pin::new(&mut this.inner).poll_frame(cx) {
                    Poll::Pending if this.paused_too_long(cx) => {}
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(Ok(frame))) => this.ready.extend(frame.into_data()),
                    Poll::Ready(Some(Err(_)) | None) => this.phase = Phase::Done,
                },
                Phase::Done => return Poll::Ready(None),
                Phase::Broken(fault) => {
                    let fault = fault.take();
                    this.phase = Phase::Done;
                    return Poll::Ready(fault.map(Err));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.phase, Phase::Done) && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.watch {
            Watch::Plain(_) if matches!(self.phase, Phase::Flowing) => {
                let ready: u64 = self.ready.iter().map(|piece| piece.len() as u64).sum();
                let whole = self.inner.size_hint().exact().map(|left| left + ready);
                whole.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            Watch::Plain(_) | Watch::Stream(_) => SizeHint::default(),
        }
    }
}

impl AnswerBody {
    /// Waits for the first piece of a plain answer, which for most is all of it: head and body then leave in one
    /// write, and an answer whose evidence is lost can still become a proper refusal.
    async fn primed(mut self) -> Result<Self, Refusal> {
        let Watch::Plain(_) = self.watch else { return Ok(self) };
        match std::future::poll_fn(|cx| Pin::new(&mut self).poll_frame(cx)).await {
            // In front of what may already be waiting behind it.
            Some(Ok(frame)) => frame.into_data().into_iter().for_each(|piece| self.ready.push_front(piece)),
            None => {}
            Some(Err(fault)) if fault.is::<EvidenceLost>() => {
                let message = "The provider answered, but the evidence of it could not be written; the answer is withheld";
                return Err(Refusal::new(Code::EvidenceUnavailable, message).retry_after(1));
            }
            Some(Err(_)) => {
                return Err(Refusal::new(Code::UpstreamUnreachable, "The provider broke off its answer"));
            }
        }
        Ok(self)
    }

    fn arrived(&mut self, frame: Option<Result<Frame<Bytes>, Fault>>) {
        match frame {
            None => self.ended(),
            Some(Err(fault)) => {
                tracing::warn!(
                    error = fault.as_ref() as &dyn std::error::Error,
                    "provider broke off its answer"
                );
                self.broke(Ending::ProviderBroke, "The provider broke off its answer");
            }
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data() {
                    self.last = Instant::now();
                    self.chunk(&chunk);
                }
            }
        }
    }

    fn chunk(&mut self, chunk: &Bytes) {
        if self.ttft_ms.is_none() && !chunk.is_empty() {
            let since = self.call.as_ref().map(|call| call.ticket().started_ns);
            self.ttft_ms = since.zip(self.call.as_ref()).map(|(ns, call)| elapsed_ms(call.clock(), ns));
        }
        match &mut self.watch {
            Watch::Stream(watcher) => {
                let step = watcher.on_chunk(chunk);
                for piece in step.forward {
                    self.pass(piece);
                }
                if let Some(end) = step.end {
                    for piece in step.held {
                        self.note(&piece);
                        self.held.push(piece);
                    }
                    self.settle(match end {
                        End::Complete => Ending::Completed,
                        End::Error => Ending::ProviderError,
                    });
                }
            }
            Watch::Plain(scanner) => {
                scanner.feed(chunk);
                self.plain_bytes += chunk.len() as u64;
                if self.inner.is_end_stream() {
                    self.note(chunk);
                    self.held.push(chunk.clone());
                    self.settle(self.natural_ending());
                } else {
                    self.pass(chunk.clone());
                }
            }
        }
    }

    fn natural_ending(&self) -> Ending {
        if self.http_status < 400 { Ending::Completed } else { Ending::ProviderError }
    }

    /// The provider closed its answer.
    fn ended(&mut self) {
        match std::mem::replace(&mut self.watch, Watch::Plain(Box::default())) {
            Watch::Plain(scanner) => {
                self.watch = Watch::Plain(scanner);
                self.settle(self.natural_ending());
            }
            Watch::Stream(watcher) if watcher.knows_its_end() => {
                // In good order for HTTP, but without the event that ends this wire: not a proper end.
                self.watch = Watch::Stream(watcher);
                self.broke(Ending::ProviderBroke, "The provider ended the stream before its last event");
            }
            Watch::Stream(watcher) => {
                self.watch = Watch::Stream(watcher);
                self.settle(Ending::Completed);
            }
        }
    }

    /// Ends the client's stream in its wire's own words; a plain answer can only break off.
    fn broke(&mut self, ending: Ending, message: &'static str) {
        if let Watch::Stream(watcher) = &self.watch {
            let request_id = self.call.as_ref().map_or("", |call| call.ticket().request_id.as_str());
            let (code, status) = match ending {
                Ending::Braked => ("budget_exceeded", 403),
                Ending::ProviderIdle => ("upstream_timeout", 504),
                Ending::Completed
                | Ending::ProviderError
                | Ending::ProviderBroke
                | Ending::ClientGone
                | Ending::GatewayStopped => ("upstream_unreachable", 502),
            };
            let error = ErrorBody { code, status, message, request_id, ..ErrorBody::default() };
            let event = watcher.error_event(&error);
            if !event.is_empty() {
                self.note(&event);
                self.held.push(event);
            }
        }
        // The provider's connection is of no more use.
        self.inner = empty();
        let plain = matches!(self.watch, Watch::Plain(_));
        self.settle(ending);
        if plain {
            self.phase = Phase::Broken(Some(message.into()));
        }
    }

    /// Sends a piece on now.
    fn pass(&mut self, piece: Bytes) {
        self.note(&piece);
        self.ready.push_back(piece);
    }

    /// Takes a piece into the record.
    fn note(&mut self, piece: &Bytes) {
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
        if let Some(kept) = &mut self.kept {
            let room = STORED_ANSWER_BYTES_MAX.saturating_sub(kept.len());
            kept.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
        }
    }

    /// Settles the call; the end leaves when the receipt allows it.
    fn settle(&mut self, ending: Ending) {
        self.phase = match self.close(ending) {
            Some(receipt) => Phase::Settling(Box::pin(receipt.durable())),
            None => {
                self.ready.extend(self.held.drain(..));
                Phase::Settled
            }
        };
    }

    fn settled(&mut self, outcome: Result<(), EvidenceLost>) {
        match outcome {
            Ok(()) => {
                self.ready.extend(self.held.drain(..));
                self.phase = Phase::Settled;
            }
            Err(lost) => {
                tracing::error!(%lost, "the end of an answer is withheld");
                self.held.clear();
                self.phase = Phase::Broken(Some(Box::new(lost)));
            }
        }
    }

    fn paused_too_long(&mut self, cx: &mut Context<'_>) -> bool {
        while self.pause.as_mut().poll(cx).is_ready() {
            let due = self.last + self.idle;
            if due <= Instant::now() {
                match self.phase {
                    Phase::Flowing => {
                        self.broke(Ending::ProviderIdle, "The provider paused its answer for too long")
                    }
                    Phase::Settling(_) | Phase::Settled | Phase::Done | Phase::Broken(_) => {
                        self.phase = Phase::Done
                    }
                }
                return true;
            }
            self.pause.as_mut().reset(due);
        }
        false
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // Still open: the client hung up, or the gateway stops. What was used is paid for; nobody waits for the receipt.
        if let Some(ending) = self.call.as_ref().map(OpenCall::dropped) {
            drop(self.close(ending));
        }
    }
}

fn empty() -> ProviderBody {
    use http_body_util::BodyExt;
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}
