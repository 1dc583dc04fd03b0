use bytes::Bytes;

use crate::errors::ErrorBody;
use crate::sse::EVENT_BYTES_MAX;
use crate::stream::{End, Progress, Reported, Step, StreamOutcome, StreamWatcher};
use crate::{Endpoint, Usage};

pub(super) const CHAT: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" \\\"error\\\":\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n",
    "data: [DONE]\n\n",
);
pub(super) const CHAT_STRIPPED: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" \\\"error\\\":\"}}],\"usage\":null}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: [DONE]\n\n",
);
pub(super) const MESSAGES: &str = concat!(
    "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude\",\"usage\":",
    "{\"input_tokens\":10,\"cache_read_input_tokens\":20,\"cache_creation_input_tokens\":5,\"output_tokens\":1}}}\r\n\r\n",
    "event: ping\r\ndata: {\"type\": \"ping\"}\r\n\r\n",
    "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi there\"}}\r\n\r\n",
    "event: message_delta\r\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\r\n\r\n",
    "event: message_stop\r\ndata: {\"type\":\"message_stop\"}\r\n\r\n",
);
pub(super) const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-5\",\"usage\":null}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"delta\":\"Hey\"}\n\n",
    "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":2,\"text\":\"Hey\"}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":3,\"response\":{\"id\":\"resp_1\",\"model\":\"gpt-5\",\"output\":[],\"usage\":",
    "{\"input_tokens\":6,\"input_tokens_details\":{\"cached_tokens\":2},\"output_tokens\":3,\"output_tokens_details\":{\"reasoning_tokens\":1},\"total_tokens\":9}}}\n\n",
);

/// What left before the end, what was held for the end, and the outcome.
pub(super) struct Run {
    pub(super) forwarded: Vec<u8>,
    pub(super) held: Vec<u8>,
    pub(super) outcome: StreamOutcome,
}

pub(super) fn run<'a>(endpoint: Endpoint, strip: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> Run {
    let mut watcher = StreamWatcher::new(endpoint, strip);
    let (mut forwarded, mut held) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let step = watcher.on_chunk(&Bytes::copy_from_slice(chunk));
        step.forward.iter().for_each(|piece| forwarded.extend_from_slice(piece));
        step.held.iter().for_each(|piece| held.extend_from_slice(piece));
    }
    Run { forwarded, held, outcome: watcher.finish() }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn outcome(delta_events: u64, delta_text_bytes: u64, usage: Usage, model: &str) -> StreamOutcome {
    let progress = Progress { delta_events, delta_text_bytes, reported: Reported::Complete(usage) };
    StreamOutcome {
        progress,
        end: Some(End::Complete),
        model: Some(model.to_owned()),
        response_id: None,
        tail: Bytes::new(),
    }
}

#[test]
fn a_chat_is_forwarded_as_it_came_and_its_end_is_held() {
    let run = run(Endpoint::ChatCompletions, false, [CHAT.as_bytes()]);
    assert_eq!(text(&run.forwarded), CHAT.strip_suffix("data: [DONE]\n\n").unwrap());
    assert_eq!(text(&run.held), "data: [DONE]\n\n");
    let usage = Usage { input: 9, output: 4, ..Usage::default() };
    assert_eq!(run.outcome, outcome(2, 16, usage, "gpt-4o"));
}

#[test]
fn the_usage_chunk_we_asked_for_is_stripped_at_any_cut() {
    for size in 1..CHAT.len() {
        let run = run(Endpoint::ChatCompletions, true, CHAT.as_bytes().chunks(size));
        assert_eq!(text(&[run.forwarded, run.held].concat()), CHAT_STRIPPED, "chunks of {size}");
        let usage = Usage { input: 9, output: 4, ..Usage::default() };
        assert_eq!(run.outcome, outcome(2, 16, usage, "gpt-4o"), "chunks of {size}");
    }
}

#[test]
fn a_usage_chunk_with_choices_and_a_choiceless_one_without_usage_reach_the_client() {
    let stream = concat!(
        "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n",
        "data: [DONE]\n\n",
    );
    let run = run(Endpoint::ChatCompletions, true, [stream.as_bytes()]);
    assert_eq!(text(&[run.forwarded, run.held].concat()), stream);
    let usage = Usage { input: 1, output: 1, ..Usage::default() };
    assert_eq!(run.outcome.progress.reported, Reported::Complete(usage));
}

#[test]
fn an_untouched_chunk_leaves_as_the_same_buffer() {
    let mut watcher = StreamWatcher::new(Endpoint::ChatCompletions, true);
    let chunk = Bytes::from_static(b"data: {\"choices\":[{}]}\n\ndata: {\"choices\":[{}]}\n\n");
    let pieces: Vec<Bytes> = watcher.on_chunk(&chunk).forward.into_iter().collect();
    assert_eq!(pieces.len(), 1);
    assert_eq!((pieces[0].as_ptr(), pieces[0].len()), (chunk.as_ptr(), chunk.len()));
}

#[test]
fn anthropic_counts_come_from_start_and_delta() {
    for size in [1, 7, 64, MESSAGES.len()] {
        let run = run(Endpoint::Messages, false, MESSAGES.as_bytes().chunks(size));
        assert_eq!(text(&[run.forwarded, run.held].concat()), MESSAGES);
        let usage = Usage { input: 10, output: 7, cache_read: 20, cache_write: 5, ..Usage::default() };
        assert_eq!(run.outcome, outcome(1, 8, usage, "claude"), "chunks of {size}");
    }
}

#[test]
fn responses_counts_come_with_the_terminal_event() {
    for size in [1, 7, 64, RESPONSES.len()] {
        let run = run(Endpoint::Responses, false, RESPONSES.as_bytes().chunks(size));
        assert_eq!(text(&[run.forwarded.as_slice(), &run.held].concat()), RESPONSES);
        assert!(text(&run.held).starts_with("event: response.completed"));
        let usage = Usage { input: 4, output: 3, cache_read: 2, reasoning: 1, ..Usage::default() };
        let expected =
            StreamOutcome { response_id: Some("resp_1".to_owned()), ..outcome(1, 3, usage, "gpt-5") };
        assert_eq!(run.outcome, expected, "chunks of {size}");
    }
}

#[test]
fn event_types_are_found_without_event_names() {
    let bare: String =
        MESSAGES.lines().filter(|l| !l.starts_with("event:")).map(|l| format!("{l}\n")).collect();
    let run = run(
        Endpoint::Messages,
        false,
        [bare.replace("{\"type\":\"message_stop\"}", "{\"a\":1,\"type\":\"message_stop\"}").as_bytes()],
    );
    let usage = Usage { input: 10, output: 7, cache_read: 20, cache_write: 5, ..Usage::default() };
    assert_eq!(run.outcome, outcome(1, 8, usage, "claude"));
}

#[test]
fn a_cut_anthropic_stream_keeps_its_input_and_estimates_its_output() {
    let cut = MESSAGES.find("event: message_delta").unwrap() + 30;
    let run = run(Endpoint::Messages, false, [&MESSAGES.as_bytes()[..cut]]);
    assert_eq!(run.outcome.end, None);
    assert_eq!(text(&run.outcome.tail), &MESSAGES[cut - 30..cut]);
    let settled = Usage { input: 10, output: 2, cache_read: 20, cache_write: 5, ..Usage::default() };
    assert_eq!(run.outcome.progress.usage_or_estimate(99), (settled, true));
}

#[test]
fn a_chat_without_usage_is_settled_by_what_passed() {
    let cut = CHAT.find("data: {\"id\":\"c\",\"choices\":[],").unwrap();
    let run = run(Endpoint::ChatCompletions, true, [&CHAT.as_bytes()[..cut]]);
    let settled = Usage { input: 99, output: 4, ..Usage::default() };
    assert_eq!(run.outcome.progress.usage_or_estimate(99), (settled, true));
}

#[test]
fn a_chat_cut_after_its_usage_chunk_is_settled_by_it() {
    let run =
        run(Endpoint::ChatCompletions, true, [CHAT.strip_suffix("data: [DONE]\n\n").unwrap().as_bytes()]);
    let usage = Usage { input: 9, output: 4, ..Usage::default() };
    assert_eq!((run.outcome.end, run.outcome.progress.usage_or_estimate(99)), (None, (usage, false)));
}

#[test]
fn an_error_event_is_an_end_on_every_wire() {
    for (endpoint, event) in [
        (Endpoint::ChatCompletions, "data: {\"error\":{\"message\":\"x\"}}\n\n"),
        (Endpoint::Messages, "event: error\ndata: {\"type\":\"error\",\"error\":{}}\n\n"),
        (Endpoint::Responses, "event: error\ndata: {\"type\":\"error\",\"message\":\"x\"}\n\n"),
        (
            Endpoint::Responses,
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{}}\n\n",
        ),
    ] {
        let run = run(endpoint, false, [event.as_bytes(), b"data: [DONE]\n\n"]);
        assert_eq!((text(&run.forwarded), run.outcome.end), ("", Some(End::Error)), "{event}");
        assert_eq!(text(&run.held), format!("{event}data: [DONE]\n\n"));
    }
    let fine =
        run(Endpoint::ChatCompletions, false, ["data: {\"error\":null,\"choices\":[]}\n\n".as_bytes()]);
    assert_eq!(fine.outcome.end, None);
}

#[test]
fn the_end_is_told_in_the_step_that_finds_it() {
    let mut watcher = StreamWatcher::new(Endpoint::ChatCompletions, false);
    let first = watcher.on_chunk(&Bytes::from_static(b"data: [DO"));
    assert_eq!((first, watcher.ended()), (Step::default(), false));
    let second = watcher.on_chunk(&Bytes::from_static(b"NE]\n\n: bye\n\n"));
    assert_eq!((second.end, second.forward.is_empty(), watcher.ended()), (Some(End::Complete), true, true));
    assert_eq!(second.held.into_iter().collect::<Vec<_>>().concat(), b"data: [DONE]\n\n: bye\n\n");
    assert_eq!(watcher.on_chunk(&Bytes::from_static(b"\n")).end, None);
}

#[test]
fn an_end_without_its_empty_line_is_understood_and_kept() {
    let run = run(Endpoint::ChatCompletions, false, ["data: [DONE]".as_bytes()]);
    assert_eq!((run.outcome.end, text(&run.outcome.tail)), (Some(End::Complete), "data: [DONE]"));
}

#[test]
fn a_response_too_long_to_keep_still_tells_its_end_and_usage() {
    let (head, end) = RESPONSES.split_at(RESPONSES.find("\"output\":[]").unwrap());
    let stream = format!("{head}\"text\":\"{}\",{end}", "y".repeat(EVENT_BYTES_MAX));
    let run = run(Endpoint::Responses, false, stream.as_bytes().chunks(16_000));
    assert_eq!([run.forwarded, run.held].concat(), stream.as_bytes());
    let usage = Usage { input: 4, output: 3, cache_read: 2, reasoning: 1, ..Usage::default() };
    assert_eq!(run.outcome.progress.reported, Reported::Complete(usage));
    assert_eq!(run.outcome.end, Some(End::Complete));
}

#[test]
fn other_endpoints_pass_untouched() {
    let mut watcher = StreamWatcher::new(Endpoint::Other, true);
    let chunk = Bytes::from_static(b"data: [DONE]\n\nhalf");
    let step = watcher.on_chunk(&chunk);
    assert_eq!((step.forward.into_iter().collect::<Vec<_>>(), step.end), (vec![chunk], None));
    assert_eq!(watcher.error_event(&ErrorBody::default()), "");
    assert_eq!(watcher.finish(), StreamOutcome::default());
}

#[test]
fn an_error_ends_each_wire_in_its_own_way() {
    let error = ErrorBody {
        code: "upstream_died",
        status: 502,
        message: "gone",
        request_id: "req_1",
        ..ErrorBody::default()
    };
    let event = |endpoint, stream: &'static str| {
        let mut watcher = StreamWatcher::new(endpoint, false);
        watcher.on_chunk(&Bytes::from_static(stream.as_bytes()));
        String::from_utf8(watcher.error_event(&error).to_vec()).unwrap()
    };
    assert_eq!(
        event(Endpoint::ChatCompletions, "data: {\"half"),
        "data: {\"error\":{\"message\":\"gone\",\"type\":\"upstream_died\",\"param\":null,\"code\":\"upstream_died\"}}\n\n"
    );
    assert_eq!(
        event(Endpoint::Messages, ""),
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"gone\",\"code\":\"upstream_died\"},\"request_id\":\"req_1\"}\n\n"
    );
    let begun = &RESPONSES[..RESPONSES.find("event: response.output_text.done").unwrap()];
    assert_eq!(
        event(Endpoint::Responses, begun),
        concat!(
            "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",",
            "\"object\":\"response\",\"status\":\"failed\",\"model\":\"gpt-5\",\"output\":[],",
            "\"error\":{\"code\":\"upstream_died\",\"message\":\"gone\"},\"incomplete_details\":null,\"usage\":null},",
            "\"error\":{\"message\":\"gone\",\"type\":\"upstream_died\",\"param\":null,\"code\":\"upstream_died\"}}\n\n"
        )
    );
}

#[test]
fn an_error_after_part_of_an_overlong_event_starts_on_a_line_of_its_own() {
    let mut watcher = StreamWatcher::new(Endpoint::Messages, false);
    watcher.on_chunk(&Bytes::from(format!("data: {}", "x".repeat(EVENT_BYTES_MAX))));
    assert!(watcher.error_event(&ErrorBody::default()).starts_with(b"\n\nevent: error\n"));
}
