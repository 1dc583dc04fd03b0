//! Watches a provider's stream on its way to the client.
//!
//! `spec/architecture.md` "meter", issue §4: the first byte leaves when it arrives, bytes are forwarded as they came,
//! and the end of the answer can be held until its evidence is durable. Whole events are forwarded: the piece of an
//! event that a chunk ends with waits for its rest, which no client could have used, so that an error event can be
//! put after any step without breaking into one.

use std::ops::Range;

use bytes::Bytes;

use crate::errors::{ErrorBody, stream_error};
use crate::family::Endpoint;
pub use crate::meter::End;
use crate::meter::{BYTES_PER_TOKEN_ESTIMATE, Meter, Verdict, Wire};
use crate::sse::{Frame, FrameKind, Splitter, fields};
use crate::usage::Usage;

/// Watches one stream.
#[derive(Debug)]
pub struct StreamWatcher {
    splitter: Splitter,
    /// `None` for endpoints whose streams mean nothing to the gateway: their chunks pass untouched.
    meter: Option<Meter>,
}

/// What to do with the bytes of one chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Bytes to send now.
    pub forward: Pieces,
    /// The event that ends the answer, and what follows it: to send once the evidence is durable.
    pub held: Pieces,
    /// Set in the step where the end was found.
    pub end: Option<End>,
}

/// Pieces of the stream in order; nearly always none or one, which then costs no allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pieces {
    first: Option<Bytes>,
    more: Vec<Bytes>,
}

impl Pieces {
    fn push(&mut self, piece: Bytes) {
        if self.first.is_none() {
            self.first = Some(piece);
        } else {
            self.more.push(piece);
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.more)
    }
}

impl IntoIterator for Pieces {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

/// What the provider has told of its token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reported {
    /// Nothing.
    #[default]
    Absent,
    /// Counts of a stream that goes on: the input is right, the output is a lower bound.
    Partial(Usage),
    /// The final counts.
    Complete(Usage),
}

impl Reported {
    /// The reported counts, final or not.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Absent => None,
            Self::Partial(usage) | Self::Complete(usage) => Some(*usage),
        }
    }
}

/// How far a stream has come: for the stream brake while it runs, for settlement when it ended without usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Events that carried generated text.
    pub delta_events: u64,
    /// Bytes of generated text, JSON escapes counted as written.
    pub delta_text_bytes: u64,
    /// Token counts from the provider.
    pub reported: Reported,
}

impl Progress {
    /// Output tokens judged by what passed: one per delta, or a quarter of the bytes where that is more. Reasoning
    /// that the provider keeps to itself is not in it.
    #[must_use]
    pub fn output_tokens_estimate(&self) -> u64 {
        self.delta_events.max(self.delta_text_bytes.div_ceil(BYTES_PER_TOKEN_ESTIMATE))
    }

    /// The counts to settle by: the provider's final ones, else its input count (or `input_estimate`, tokens) with
    /// the larger of its output count and the estimate. The flag says whether anything was estimated.
    #[must_use]
    pub fn usage_or_estimate(&self, input_estimate: u64) -> (Usage, bool) {
        match self.reported {
            Reported::Complete(usage) => (usage, false),
            Reported::Partial(usage) => {
                (Usage { output: usage.output.max(self.output_tokens_estimate()), ..usage }, true)
            }
            Reported::Absent => {
                let output = self.output_tokens_estimate();
                (Usage { input: input_estimate, output, ..Usage::default() }, true)
            }
        }
    }
}

/// What a stream came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamOutcome {
    /// Final counters.
    pub progress: Progress,
    /// How the stream ended by its own word; `None` when it was cut off.
    pub end: Option<End>,
    /// The model that answered.
    pub model: Option<String>,
    /// The provider's id of the answer (Responses only).
    pub response_id: Option<String>,
    /// Bytes after the last whole event: to forward when the provider closed in good order, to drop otherwise.
    pub tail: Bytes,
}

impl StreamWatcher {
    /// Watches a stream of `endpoint`. With `strip_usage` the chunk that reports usage and nothing else is dropped:
    /// for chats whose client did not ask for it.
    #[must_use]
    pub fn new(endpoint: Endpoint, strip_usage: bool) -> Self {
        let meter = Wire::of(endpoint).map(|wire| Meter::new(wire, strip_usage));
        Self { splitter: Splitter::default(), meter }
    }

    /// Reads the next chunk.
    pub fn on_chunk(&mut self, chunk: &Bytes) -> Step {
        let mut outgoing = Outgoing { chunk, run: 0..0, ended: self.ended(), step: Step::default() };
        let Some(meter) = &mut self.meter else {
            outgoing.run = 0..chunk.len();
            return outgoing.finish();
        };
        self.splitter.feed(chunk.clone());
        while let Some(frame) = self.splitter.next_frame() {
            let verdict = match frame.kind {
                FrameKind::Event => meter.observe(&frame.fields()),
                FrameKind::OversizeHead => meter.observe_oversize_head(&frame),
                FrameKind::Oversize => {
                    meter.observe_oversize(&frame);
                    Verdict::Pass
                }
                FrameKind::Gap => Verdict::Pass,
            };
            match verdict {
                Verdict::Pass => outgoing.pass(frame),
                Verdict::Strip => outgoing.flush(),
                Verdict::End(end) => {
                    outgoing.end(end);
                    outgoing.pass(frame);
                }
            }
        }
        outgoing.finish()
    }

    /// Whether this wire has an event that ends it, so that a stream without it was cut off.
    #[must_use]
    pub fn knows_its_end(&self) -> bool {
        self.meter.is_some()
    }

    /// Whether the end of the answer has been seen.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.end.is_some())
    }

    /// How far the stream has come. Cheap enough to ask after every chunk.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let Some(meter) = &self.meter else { return Progress::default() };
        let reported = match meter.usage() {
            None => Reported::Absent,
            // A chat whose provider repeats its counts in every chunk has said the last word when it is done.
            Some(usage) if meter.usage_is_final || meter.end == Some(End::Complete) => {
                Reported::Complete(usage)
            }
            Some(usage) => Reported::Partial(usage),
        };
        Progress { delta_events: meter.delta_events, delta_text_bytes: meter.delta_text_bytes, reported }
    }

    /// The event that ends the client's stream with an error, in the stream's own wire; to send after what was
    /// forwarded so far. Empty for endpoints whose streams have no such event.
    #[must_use]
    pub fn error_event(&self, error: &ErrorBody<'_>) -> Bytes {
        let Some(meter) = &self.meter else { return Bytes::new() };
        let event = stream_error(meter, error);
        // Part of an overlong event is out already: an empty line closes it.
        let separator = if self.splitter.inside_oversize() { "\n\n" } else { "" };
        Bytes::from(format!("{separator}{event}"))
    }

    /// Closes the stream, however it ended.
    #[must_use]
    pub fn finish(mut self) -> StreamOutcome {
        let mut tail = self.splitter.finish();
        if let Some(meter) = &mut self.meter
            && !tail.is_empty()
            && meter.observe(&fields(&tail)) == Verdict::Strip
        {
            tail = Bytes::new();
        }
        let progress = self.progress();
        let (end, model, response_id) =
            self.meter.map_or((None, None, None), |meter| (meter.end, meter.model, meter.response_id));
        StreamOutcome { progress, end, model, response_id, tail }
    }
}

/// Collects what leaves, joining neighbours in the chunk so that an untouched chunk leaves as itself.
struct Outgoing<'c> {
    chunk: &'c Bytes,
    run: Range<usize>,
    ended: bool,
    step: Step,
}

impl Outgoing<'_> {
    fn pass(&mut self, frame: Frame) {
        match frame.range {
            Some(range) if self.run.is_empty() => self.run = range,
            // Frames of a chunk follow each other; whatever is left out in between flushes the run first.
            Some(range) => self.run.end = range.end,
            None => {
                self.flush();
                self.push(frame.raw);
            }
        }
    }

    fn end(&mut self, end: End) {
        self.flush();
        if !self.ended {
            self.ended = true;
            self.step.end = Some(end);
        }
    }

    fn flush(&mut self) {
        let run = std::mem::replace(&mut self.run, 0..0);
        if !run.is_empty() {
            self.push(self.chunk.slice(run));
        }
    }

    fn push(&mut self, piece: Bytes) {
        let pieces = if self.ended { &mut self.step.held } else { &mut self.step.forward };
        pieces.push(piece);
    }

    fn finish(mut self) -> Step {
        self.flush();
        self.step
    }
}
