//! Mock upstream for gateway benchmarks: OpenAI's chat and responses wires, and Anthropic's. Loopback only.
//!
//! mock PORT[:DELAY_MS[:CHUNKS[:CHUNK_DELAY_US]]] ...
//! One listener per argument, all on one thread (pin it with taskset).
//! POST *chat/completions, *responses, *messages -> fixed JSON with usage, or, if the body has "stream": true,
//! CHUNKS server-sent events, each in its own write, then the wire's own end. Anything but a POST: a list of models.
//! A prompt may override the listener's settings, through any gateway: "rig:delay_ms=50 rig:chunks=50 rig:chunk_us=10000 ".
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const TEXT: &str = "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs. How vexingly quick daft zebras jump! Sphinx of black quartz, judge my vow.";
const MODELS: &str = r#"{"object":"list","data":[{"id":"mock-model","object":"model","created":1760000000,"owned_by":"mock"}]}"#;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-request-id: req_mock\r\ntransfer-encoding: chunked\r\n\r\n";

#[derive(Clone, Copy)]
struct Settings {
    delay_ms: u64,
    chunks: usize,
    chunk_delay_us: u64,
}

/// One wire's answers, as the bytes to write.
struct Wire {
    /// What the path of a POST ends with.
    path: &'static [u8],
    json: Vec<u8>,
    first: Vec<u8>,
    mid: Vec<u8>,
    last: Vec<u8>,
    tail: Vec<u8>,
}

struct Payloads {
    models: Vec<u8>,
    wires: [Wire; 3],
}

struct Asked {
    wire: Option<&'static Wire>,
    stream: bool,
    used: usize,
    settings: Settings,
}

fn chunk(event: &str) -> Vec<u8> {
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}

fn data(json: &str) -> Vec<u8> {
    chunk(&format!("data: {json}\n\n"))
}

fn named(name: &str, json: &str) -> Vec<u8> {
    chunk(&format!("event: {name}\ndata: {json}\n\n"))
}

fn plain(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nx-request-id: req_mock\r\n\r\n{body}")
        .into_bytes()
}

fn chat() -> Wire {
    let base = r#""id":"chatcmpl-mock00000000000000000000000000","object":"chat.completion.chunk","created":1760000000,"model":"mock-model","service_tier":"default","system_fingerprint":"fp_mock""#;
    let delta = |delta: &str, finish: &str| {
        data(&format!(
            r#"{{{base},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}"#
        ))
    };
    let mut tail = data(&format!(
        r#"{{{base},"choices":[],"usage":{{"prompt_tokens":42,"completion_tokens":50,"total_tokens":92}}}}"#
    ));
    tail.extend(data("[DONE]"));
    tail.extend(b"0\r\n\r\n");
    Wire {
        path: b"/chat/completions",
        json: plain(&format!(
            r#"{{"id":"chatcmpl-mock00000000000000000000000000","object":"chat.completion","created":1760000000,"model":"mock-model","choices":[{{"index":0,"message":{{"role":"assistant","content":"{TEXT}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{{"prompt_tokens":42,"completion_tokens":38,"total_tokens":80,"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0}}}},"service_tier":"default","system_fingerprint":"fp_mock"}}"#
        )),
        first: delta(r#"{"role":"assistant","content":""}"#, "null"),
        mid: delta(r#"{"content":" token"}"#, "null"),
        last: delta("{}", r#""stop""#),
        tail,
    }
}

fn responses() -> Wire {
    let response = |status: &str, output: &str, usage: &str| {
        format!(
            r#"{{"id":"resp_mock","object":"response","created_at":1760000000,"status":"{status}","error":null,"model":"mock-model","output":{output},"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"usage":{usage}}}"#
        )
    };
    let output = format!(
        r#"[{{"id":"msg_mock","type":"message","status":"completed","role":"assistant","content":[{{"type":"output_text","text":"{TEXT}","annotations":[]}}]}}]"#
    );
    let usage = r#"{"input_tokens":42,"input_tokens_details":{"cached_tokens":0},"output_tokens":38,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":80}"#;
    let done = response("completed", &output, usage);
    let event = |name: &str, rest: &str| named(name, &format!(r#"{{"type":"{name}",{rest}}}"#));
    let started = response("in_progress", "[]", "null");
    let mut tail = event("response.completed", &format!(r#""response":{done}"#));
    tail.extend(b"0\r\n\r\n");
    Wire {
        path: b"/responses",
        json: plain(&done),
        first: event("response.created", &format!(r#""response":{started}"#)),
        mid: event(
            "response.output_text.delta",
            r#""item_id":"msg_mock","output_index":0,"content_index":0,"delta":" token""#,
        ),
        last: event(
            "response.output_text.done",
            r#""item_id":"msg_mock","output_index":0,"content_index":0,"text":"""#,
        ),
        tail,
    }
}

fn messages() -> Wire {
    let message = |content: &str, stop: &str, output: u32| {
        format!(
            r#"{{"id":"msg_mock","type":"message","role":"assistant","model":"mock-model","content":{content},"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":42,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output}}}}}"#
        )
    };
    let event = |name: &str, rest: &str| named(name, &format!(r#"{{"type":"{name}"{rest}}}"#));
    let block = r#","index":0,"content_block":{"type":"text","text":""}"#;
    let mut first = event("message_start", &format!(r#","message":{}"#, message("[]", "null", 1)));
    first.extend(event("content_block_start", block));
    let mut tail = event(
        "message_delta",
        r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":50}"#,
    );
    tail.extend(event("message_stop", ""));
    tail.extend(b"0\r\n\r\n");
    Wire {
        path: b"/messages",
        json: plain(&message(&format!(r#"[{{"type":"text","text":"{TEXT}"}}]"#), r#""end_turn""#, 38)),
        first,
        mid: event("content_block_delta", r#","index":0,"delta":{"type":"text_delta","text":" token"}"#),
        last: event("content_block_stop", r#","index":0"#),
        tail,
    }
}

/// The number after `name` in the body.
fn directive(body: &[u8], name: &str) -> Option<u64> {
    let start = memchr::memmem::find(body, name.as_bytes())? + name.len();
    let digits = body[start..].iter().take_while(|c| c.is_ascii_digit());
    Some(digits.fold(0, |number, c| number * 10 + u64::from(c - b'0')))
}

fn asks_to_stream(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"stream\"").is_some_and(|at| {
        let rest = body[at + 8..].iter().filter(|c| !c.is_ascii_whitespace() && **c != b':');
        rest.take(4).eq(b"true".iter())
    })
}

fn adjusted(mut settings: Settings, body: &[u8]) -> Settings {
    if memchr::memmem::find(body, b"rig:").is_none() {
        return settings;
    }
    settings.delay_ms = directive(body, "rig:delay_ms=").unwrap_or(settings.delay_ms);
    settings.chunk_delay_us = directive(body, "rig:chunk_us=").unwrap_or(settings.chunk_delay_us);
    settings.chunks = directive(body, "rig:chunks=").map_or(settings.chunks, |n| n as usize);
    settings
}

/// Reads until `buf` holds a whole request; how long its head and all of it are. `None` at the end of the stream.
async fn whole_request(socket: &mut TcpStream, buf: &mut Vec<u8>) -> Option<(usize, usize)> {
    let head = loop {
        if let Some(end) = memchr::memmem::find(buf, b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(buf).await.ok()? == 0 {
            return None;
        }
    };
    let (mut length, mut chunked, mut expects) = (0, false, false);
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&buf[..head]).ok()?;
    for header in parsed.headers.iter() {
        if header.name.eq_ignore_ascii_case("content-length") {
            length = std::str::from_utf8(header.value).ok()?.trim().parse().ok()?;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunked = header.value.eq_ignore_ascii_case(b"chunked");
        } else if header.name.eq_ignore_ascii_case("expect") {
            expects = true;
        }
    }
    if expects {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    loop {
        let total = if chunked {
            memchr::memmem::find(&buf[head - 2..], b"\r\n0\r\n\r\n").map(|at| head - 2 + at + 7)
        } else {
            (buf.len() >= head + length).then_some(head + length)
        };
        if let Some(total) = total {
            return Some((head, total));
        }
        if socket.read_buf(buf).await.ok()? == 0 {
            return None;
        }
    }
}

async fn request(
    socket: &mut TcpStream,
    buf: &mut Vec<u8>,
    payloads: &'static Payloads,
    base: Settings,
) -> Option<Asked> {
    let (head, used) = whole_request(socket, buf).await?;
    let body = &buf[head..used];
    let path = buf.split(|c| *c == b' ').nth(1)?.split(|c| *c == b'?').next()?;
    let post = buf.starts_with(b"POST");
    // A path of no wire is answered as chat, so that any gateway's own prefix works.
    let wire =
        post.then(|| payloads.wires.iter().find(|w| path.ends_with(w.path)).unwrap_or(&payloads.wires[0]));
    Some(Asked { wire, stream: asks_to_stream(body), used, settings: adjusted(base, body) })
}

async fn serve(mut socket: TcpStream, payloads: &'static Payloads, base: Settings) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut buf = Vec::with_capacity(16 * 1024);
    loop {
        let asked = request(&mut socket, &mut buf, payloads, base).await?;
        buf.drain(..asked.used);
        let Some(wire) = asked.wire else {
            socket.write_all(&payloads.models).await.ok()?;
            continue;
        };
        if asked.settings.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(asked.settings.delay_ms)).await;
        }
        if asked.stream {
            stream(&mut socket, wire, asked.settings).await?;
        } else {
            socket.write_all(&wire.json).await.ok()?;
        }
    }
}

async fn stream(socket: &mut TcpStream, wire: &Wire, settings: Settings) -> Option<()> {
    socket.write_all(STREAM_HEAD).await.ok()?;
    let start = tokio::time::Instant::now();
    for index in 0..settings.chunks {
        if settings.chunk_delay_us > 0 && index > 0 {
            let due = Duration::from_micros(settings.chunk_delay_us * index as u64);
            tokio::time::sleep_until(start + due).await;
        }
        let event = match index {
            0 => &wire.first,
            _ if index + 1 == settings.chunks => &wire.last,
            _ => &wire.mid,
        };
        socket.write_all(event).await.ok()?;
    }
    socket.write_all(&wire.tail).await.ok()
}

fn settings(argument: &str) -> (u16, Settings) {
    let numbers: Vec<u64> =
        argument.split(':').map(|n| n.parse().expect("PORT[:DELAY_MS[:CHUNKS[:CHUNK_DELAY_US]]]")).collect();
    let or = |index: usize, default: u64| numbers.get(index).copied().unwrap_or(default);
    (numbers[0] as u16, Settings { delay_ms: or(1, 0), chunks: or(2, 50) as usize, chunk_delay_us: or(3, 0) })
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let wires = [chat(), responses(), messages()];
    let payloads: &'static Payloads = Box::leak(Box::new(Payloads { models: plain(MODELS), wires }));
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        for argument in std::env::args().skip(1) {
            let (port, base) = settings(&argument);
            let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
            tokio::task::spawn_local(async move {
                loop {
                    if let Ok((socket, _)) = listener.accept().await {
                        tokio::task::spawn_local(serve(socket, payloads, base));
                    }
                }
            });
        }
        std::future::pending::<()>().await
    });
}
