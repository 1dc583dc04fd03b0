use std::borrow::Cow;

use bytes::Bytes;

use crate::sse::{EVENT_BYTES_MAX, Fields, Frame, FrameKind, Splitter};

fn frames(chunks: &[&[u8]]) -> (Vec<Frame>, Bytes) {
    let mut splitter = Splitter::default();
    let mut frames = Vec::new();
    for chunk in chunks {
        splitter.feed(Bytes::copy_from_slice(chunk));
        frames.extend(std::iter::from_fn(|| splitter.next_frame()));
    }
    let tail = splitter.finish();
    (frames, tail)
}

fn kinds(chunks: &[&[u8]]) -> Vec<(FrameKind, String)> {
    let text = |frame: Frame| (frame.kind, String::from_utf8(frame.raw.to_vec()).unwrap());
    frames(chunks).0.into_iter().map(text).collect()
}

fn event(raw: &str) -> (FrameKind, String) {
    (FrameKind::Event, raw.to_owned())
}

fn gap(raw: &str) -> (FrameKind, String) {
    (FrameKind::Gap, raw.to_owned())
}

#[test]
fn all_three_line_ends_end_an_event() {
    assert_eq!(kinds(&[b"data: a\n\ndata: b\n\n"]), [event("data: a\n\n"), event("data: b\n\n")]);
    assert_eq!(
        kinds(&[b"data: a\r\n\r\ndata: b\r\n\r\n"]),
        [event("data: a\r\n\r\n"), event("data: b\r\n\r\n")]
    );
    assert_eq!(kinds(&[b"data: a\r\rdata: b\r\r"]), [event("data: a\r\r"), event("data: b\r\r")]);
}

#[test]
fn a_carriage_return_at_the_end_of_a_chunk_ends_the_event_at_once() {
    assert_eq!(
        kinds(&[b"data: a\r\n\r", b"\ndata: b\r\n\r\n"]),
        [event("data: a\r\n\r"), gap("\n"), event("data: b\r\n\r\n")]
    );
    assert_eq!(kinds(&[b"data: a\r", b"\n\r\n"]), [event("data: a\r\n\r\n")]);
}

#[test]
fn comments_leave_at_once_but_not_from_inside_an_event() {
    assert_eq!(
        kinds(&[b": ping\n", b"\ndata: a\n: note\n\n"]),
        [gap(": ping\n"), gap("\n"), event("data: a\n: note\n\n")]
    );
}

#[test]
fn an_event_in_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\n\nda");
    let mut splitter = Splitter::default();
    splitter.feed(chunk.clone());
    let first = splitter.next_frame().unwrap();
    assert_eq!((first.raw.as_ptr(), first.range), (chunk.as_ptr(), Some(0..9)));
    assert_eq!(splitter.next_frame().unwrap().range, Some(9..18));
    assert_eq!(splitter.next_frame(), None);
    assert_eq!(splitter.finish(), "da");
}

#[test]
fn fields_are_read_by_the_standards_rules() {
    let fields = |raw: &'static [u8]| {
        let (frames, _) = frames(&[raw]);
        let Fields { name, data } = frames[0].fields();
        (String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(data.to_vec()).unwrap())
    };
    let pair = |name: &str, data: &str| (name.to_owned(), data.to_owned());
    assert_eq!(fields(b"event: e\ndata: a\ndata:b\ndata\n\n"), pair("e", "a\nb\n"));
    assert_eq!(fields(b"data:  two spaces\nid: 1\ndatax: no\n\n"), pair("", " two spaces"));
    assert_eq!(fields(b"\xef\xbb\xbfdata: after bom\r\n\r\n"), pair("", "after bom"));
    assert_eq!(fields(b"event: e\n\n"), pair("e", ""));
}

#[test]
fn one_data_line_is_borrowed() {
    let (frames, _) = frames(&[b"event: e\ndata: a\n\n"]);
    assert!(matches!(frames[0].fields().data, Cow::Borrowed(b"a")));
}

#[test]
fn an_event_too_long_to_keep_passes_in_parts() {
    let head = [b"event: e\ndata: ".as_slice(), &vec![b'x'; EVENT_BYTES_MAX]].concat();
    let (frames, tail) = frames(&[b"data: a\n\n", &head, b"yy", b"z\n\ndata: b\n\n"]);
    let kinds: Vec<FrameKind> = frames.iter().map(|frame| frame.kind).collect();
    use FrameKind::{Event, Oversize, OversizeHead};
    assert_eq!(kinds, [Event, OversizeHead, Oversize, Oversize, Event]);
    assert_eq!((frames[1].raw.len(), &frames[3].raw[..], tail.len()), (head.len(), b"z\n\n".as_slice(), 0));
}
