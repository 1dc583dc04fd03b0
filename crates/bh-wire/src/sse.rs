//! Splits a server-sent event stream at event boundaries, without changing or copying what passes.
//!
//! WHATWG HTML §9.2 line rules: LF, CRLF and CR end a line, an empty line ends an event, a leading BOM is ignored,
//! a line that starts with a colon is a comment. Chunks may be cut anywhere. The bytes of all frames, joined, are the
//! bytes that were fed; only an event that spans chunks is copied, once.

use std::borrow::Cow;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The longest event kept for reading, in bytes (Talon's line limit). A longer one passes through unread.
pub const EVENT_BYTES_MAX: usize = 512 * 1024;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A whole event, its closing empty line included.
    Event,
    /// Comments and empty lines, which belong to no event.
    Gap,
    /// The first part of an event too long to keep.
    OversizeHead,
    /// A further part of an event too long to keep.
    Oversize,
}

/// A stretch of the stream that is forwarded, held or dropped as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The bytes as they came.
    pub raw: Bytes,
    /// What they are.
    pub kind: FrameKind,
    /// Where they lie in the chunk being read; `None` when they began in an earlier one.
    pub range: Option<Range<usize>>,
}

/// Name and data of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The last `event` field; empty when there was none.
    pub name: &'a [u8],
    /// All `data` fields joined by line feeds; borrowed when there is only one.
    pub data: Cow<'a, [u8]>,
}

impl Frame {
    /// Reads the fields of an event.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        fields(&self.raw)
    }
}

/// Reads the fields of one event from its bytes.
pub(crate) fn fields(raw: &[u8]) -> Fields<'_> {
    let mut name: &[u8] = b"";
    let mut data: Option<Cow<'_, [u8]>> = None;
    let mut rest = raw.strip_prefix(BOM).unwrap_or(raw);
    while !rest.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let line = rest.get(..end).unwrap_or_default();
        rest = rest.get(end + 1..).unwrap_or_default();
        if let Some(value) = field(line, b"data") {
            match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                // Grows in place: an event may have as many lines as bytes.
                Some(before) => before.to_mut().extend([b"\n", value].into_iter().flatten()),
            }
        } else if let Some(value) = field(line, b"event") {
            name = value;
        }
    }
    Fields { name, data: data.unwrap_or_default() }
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = line.strip_prefix(name)?;
    match after.strip_prefix(b":") {
        Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
        None => after.is_empty().then_some(after),
    }
}

/// Finds event boundaries in chunks as they arrive: [`Splitter::feed`] one, then take frames until there are no more.
#[derive(Debug, Default)]
pub struct Splitter {
    chunk: Bytes,
    /// First byte of the chunk that is in no frame yet.
    start: usize,
    /// First byte of the chunk that is not scanned yet.
    scan: usize,
    carry: BytesMut,
    line: Line,
    after_cr: bool,
    has_fields: bool,
    oversize: bool,
}

/// What is known of the line being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Line {
    #[default]
    Empty,
    Comment,
    Field,
}

impl Splitter {
    /// Offers the next chunk. Frames of the chunk before must have been taken.
    pub fn feed(&mut self, chunk: Bytes) {
        self.chunk = chunk;
        self.start = 0;
        self.scan = 0;
    }

    /// The next frame of the chunk, or `None` when what is left of it waits for more.
    pub fn next_frame(&mut self) -> Option<Frame> {
        if self.swallow_line_feed()
            && self.carry.is_empty()
            && !self.oversize
            && self.start == 0
            && !self.has_fields
        {
            return Some(self.cut(FrameKind::Gap));
        }
        while let Some(line) = self.end_of_line() {
            let boundary = match line {
                Line::Empty => true,
                Line::Comment => !self.has_fields,
                Line::Field => {
                    self.has_fields = true;
                    false
                }
            };
            if boundary {
                let kind = if self.has_fields { FrameKind::Event } else { FrameKind::Gap };
                return Some(self.cut(kind));
            }
        }
        self.stash()
    }

    /// The bytes of an event that never ended. The splitter is empty afterwards.
    pub fn finish(&mut self) -> Bytes {
        self.chunk = Bytes::new();
        self.start = 0;
        self.scan = 0;
        self.carry.split().freeze()
    }

    /// Whether part of an oversize event was given out and its end was not.
    #[must_use]
    pub fn inside_oversize(&self) -> bool {
        self.oversize
    }

    /// A line feed that completes the CRLF whose CR ended the chunk before.
    fn swallow_line_feed(&mut self) -> bool {
        let pending = self.after_cr && self.scan == 0 && !self.chunk.is_empty();
        if pending {
            self.after_cr = false;
            if self.chunk.first() == Some(&b'\n') {
                self.scan = 1;
                return true;
            }
        }
        false
    }

    /// Scans to the end of the current line and past its terminator; `None` when the chunk ends first.
    fn end_of_line(&mut self) -> Option<Line> {
        let rest = self.chunk.get(self.scan..).unwrap_or_default();
        let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
            self.line = line_after(self.line, rest);
            self.scan = self.chunk.len();
            return None;
        };
        let line = line_after(self.line, rest.get(..length).unwrap_or_default());
        self.line = Line::Empty;
        let carriage_return = rest.get(length) == Some(&b'\r');
        let line_feed = carriage_return && rest.get(length + 1) == Some(&b'\n');
        self.scan += length + 1 + usize::from(line_feed);
        self.after_cr = carriage_return && self.scan == self.chunk.len() && !line_feed;
        Some(line)
    }

    /// Everything up to the scan position as one frame; the next begins there.
    fn cut(&mut self, kind: FrameKind) -> Frame {
        let range = self.start..self.scan;
        self.start = self.scan;
        self.has_fields = false;
        let kind = if std::mem::take(&mut self.oversize) { FrameKind::Oversize } else { kind };
        self.frame(kind, range)
    }

    fn frame(&mut self, kind: FrameKind, range: Range<usize>) -> Frame {
        if self.carry.is_empty() {
            return Frame { raw: self.chunk.slice(range.clone()), kind, range: Some(range) };
        }
        self.carry.extend_from_slice(self.chunk.get(range).unwrap_or_default());
        Frame { raw: self.carry.split().freeze(), kind, range: None }
    }

    /// Keeps the unfinished rest of the chunk, or lets it go when the event became too long to keep.
    fn stash(&mut self) -> Option<Frame> {
        let range = self.start..self.chunk.len();
        self.start = self.chunk.len();
        if range.is_empty() {
            return None;
        }
        if self.oversize {
            return Some(self.frame(FrameKind::Oversize, range));
        }
        if self.carry.len() + range.len() > EVENT_BYTES_MAX {
            self.oversize = true;
            return Some(self.frame(FrameKind::OversizeHead, range));
        }
        self.carry.extend_from_slice(self.chunk.get(range).unwrap_or_default());
        None
    }
}

fn line_after(line: Line, more: &[u8]) -> Line {
    match (line, more.first()) {
        (Line::Empty, Some(b':')) => Line::Comment,
        (Line::Empty, Some(_)) => Line::Field,
        (Line::Empty, None) => Line::Empty,
        (Line::Comment | Line::Field, _) => line,
    }
}
