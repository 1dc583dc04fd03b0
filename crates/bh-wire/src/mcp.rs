//! MCP over streamable HTTP, as a client: what is asked, and the one answer that belongs to it (MCP 2025-11-25, "Transports").
//!
//! A server answers a request with JSON or with a stream of events in which other messages may stand before the answer.
//! Results keep whatever members they have: nothing is read that is not needed, and nothing is written anew.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::sse::{FrameKind, Splitter, fields};

/// What is asked for first; a server may answer with another version that is known.
pub const PROTOCOL_VERSION: &str = "2025-11-25";
/// Versions whose requests and answers are those that are asked and read here.
pub const KNOWN_VERSIONS: [&str; 4] = [PROTOCOL_VERSION, "2025-06-18", "2025-03-26", "2024-11-05"];

const EVENT_STREAM: &str = "text/event-stream";

#[derive(Serialize)]
struct Request<'p, P: Serialize> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'p P>,
}

fn message<P: Serialize>(id: Option<u64>, method: &'static str, params: Option<&P>) -> Bytes {
    // Texts and numbers of ours, and JSON that was read as such: always valid.
    serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params }).unwrap_or_default().into()
}

/// Begins a session as a client of this name and version.
#[must_use]
pub fn initialize(id: u64, name: &str, version: &str) -> Bytes {
    let params = serde_json::json!({
        "protocolVersion": PROTOCOL_VERSION,
        "capabilities": {},
        "clientInfo": {"name": name, "version": version},
    });
    message(Some(id), "initialize", Some(&params))
}

/// Says that the session has begun. Nothing answers it.
#[must_use]
pub fn initialized() -> Bytes {
    message::<()>(None, "notifications/initialized", None)
}

/// Asks for the tools, from a place on.
#[must_use]
pub fn list_tools(id: u64, cursor: Option<&str>) -> Bytes {
    let params = cursor.map(|cursor| serde_json::json!({ "cursor": cursor }));
    message(Some(id), "tools/list", params.as_ref())
}

/// Calls a tool.
#[must_use]
pub fn call_tool(id: u64, name: &str, arguments: &RawValue) -> Bytes {
    #[derive(Serialize)]
    struct Call<'c> {
        name: &'c str,
        arguments: &'c RawValue,
    }
    message(Some(id), "tools/call", Some(&Call { name, arguments }))
}

/// What a server answered.
#[derive(Debug)]
pub enum Answer {
    /// The method's result, as it came.
    Result(Box<RawValue>),
    /// It did not do it.
    Error(RpcError),
}

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RpcError {
    /// Its number.
    pub code: i64,
    /// Its words.
    #[serde(default)]
    pub message: String,
}

/// JSON-RPC's numbers for a method that there is not, and for parameters that are none.
pub const METHOD_NOT_FOUND: i64 = -32_601;
/// See [`METHOD_NOT_FOUND`]; a tool that there is not counts as such too (MCP, "Error Handling").
pub const INVALID_PARAMS: i64 = -32_602;

/// What a server told when a session began.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Initialized {
    /// The version that both speak.
    pub protocol_version: String,
}

/// A page of tools, each as it was told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolPage<'p> {
    /// The tools.
    #[serde(borrow)]
    pub tools: Vec<&'p RawValue>,
    /// Where the next page begins.
    #[serde(default)]
    pub next_cursor: Option<String>,
}

/// What is read of a tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolHead {
    /// Its name.
    pub name: String,
    /// What people call it.
    #[serde(default)]
    pub title: Option<String>,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
    /// What it takes: a JSON Schema.
    #[serde(default)]
    pub input_schema: Option<Box<RawValue>>,
}

/// What is read of a call's result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CallHead {
    /// Whether the tool says that it failed.
    pub is_error: bool,
}

/// Why no answer could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It ended before there was one.
    #[error("the answer holds no message that belongs to the request")]
    Missing,
    /// It is larger than what is read.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Reads the answer to one request from the body of a response, whichever form it has.
#[derive(Debug)]
pub struct AnswerReader {
    id: u64,
    bytes_max: usize,
    bytes: usize,
    /// The whole body, or the event that is too long for the splitter.
    whole: Vec<u8>,
    events: Option<Splitter>,
}

impl AnswerReader {
    /// A reader for the answer to request `id`, of a body of this media type and at most so many bytes.
    #[must_use]
    pub fn new(id: u64, content_type: &str, bytes_max: usize) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let is_stream = kind.eq_ignore_ascii_case(EVENT_STREAM);
        let events = is_stream.then(Splitter::default);
        Self { id, bytes_max, bytes: 0, whole: Vec::new(), events }
    }

    /// Takes the next part of the body; the answer, once a stream has told it.
    ///
    /// # Errors
    /// [`AnswerError::TooLarge`].
    pub fn feed(&mut self, chunk: Bytes) -> Result<Option<Answer>, AnswerError> {
        self.bytes += chunk.len();
        if self.bytes > self.bytes_max {
            return Err(AnswerError::TooLarge(self.bytes_max));
        }
        let Some(events) = &mut self.events else {
            self.whole.extend_from_slice(&chunk);
            return Ok(None);
        };
        events.feed(chunk);
        while let Some(frame) = events.next_frame() {
            let found = match frame.kind {
                FrameKind::Gap => None,
                FrameKind::Event => answer_in(&frame.fields().data, self.id),
                FrameKind::OversizeHead | FrameKind::Oversize => {
                    self.whole.extend_from_slice(&frame.raw);
                    if events.inside_oversize() {
                        continue;
                    }
                    let event = std::mem::take(&mut self.whole);
                    answer_in(&fields(&event).data, self.id)
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`AnswerError::Missing`].
    pub fn finish(mut self) -> Result<Answer, AnswerError> {
        let found = match &mut self.events {
            None => answer_in(&self.whole, self.id),
            Some(events) => {
                self.whole.extend_from_slice(&events.finish());
                answer_in(&fields(&self.whole).data, self.id)
            }
        };
        found.ok_or(AnswerError::Missing)
    }
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    id: Option<u64>,
    #[serde(default)]
    result: Option<Box<RawValue>>,
    #[serde(default)]
    error: Option<RpcError>,
}

/// The answer to request `id` among the messages of a text: one, or an array as older servers send it.
fn answer_in(text: &[u8], id: u64) -> Option<Answer> {
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace())?;
    if *first == b'[' {
        let messages: Vec<&RawValue> = serde_json::from_slice(text).ok()?;
        return messages.iter().find_map(|message| answer_of(message.get().as_bytes(), id));
    }
    answer_of(text, id)
}

fn answer_of(message: &[u8], id: u64) -> Option<Answer> {
    // What is no answer, such as a notification, is passed over.
    let message: Message = serde_json::from_slice(message).ok()?;
    if message.id != Some(id) {
        return None;
    }
    message.error.map(Answer::Error).or_else(|| message.result.map(Answer::Result))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESULT: &str = r#"{"content":[{"type":"text","text":"5"}],"x":1.50}"#;

    fn told(answer: &Answer) -> String {
        match answer {
            Answer::Result(result) => result.get().to_owned(),
            Answer::Error(error) => format!("{} {}", error.code, error.message),
        }
    }

    fn read(content_type: &str, body: &str, piece: usize) -> Result<String, AnswerError> {
        let mut reader = AnswerReader::new(7, content_type, 4_000_000);
        for chunk in body.as_bytes().chunks(piece) {
            if let Some(answer) = reader.feed(Bytes::copy_from_slice(chunk))? {
                return Ok(told(&answer));
            }
        }
        reader.finish().map(|answer| told(&answer))
    }

    #[test]
    fn the_answer_is_found_in_json_and_among_events_and_keeps_its_bytes() {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{RESULT}}}"#);
        let other = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"id":7}}"#;
        let stream =
            format!(": hi\n\nevent: message\ndata: {other}\n\nid: 3\ndata: {answer}\n\ndata: {other}\n\n");
        let ended = format!("data: {answer}\n");
        let batch = format!(r#" [{other},{{"jsonrpc":"2.0","id":6,"result":{{}}}},{answer}]"#);
        for piece in [1, 7, 10_000] {
            assert_eq!(read("application/json", &answer, piece).unwrap(), RESULT);
            assert_eq!(read("application/json; charset=utf-8", &batch, piece).unwrap(), RESULT);
            assert_eq!(read("text/event-stream; charset=utf-8", &stream, piece).unwrap(), RESULT);
            assert_eq!(read("text/event-stream", &ended, piece).unwrap(), RESULT, "the stream broke off");
        }
        let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"Unknown tool"}}"#;
        assert_eq!(read("application/json", error, 9).unwrap(), "-32602 Unknown tool");
    }

    #[test]
    fn what_is_no_answer_or_too_large_is_told_as_such() {
        for body in ["", "null", "[]", r#"{"id":8,"result":{}}"#, r#"{"id":7}"#, "<html>"] {
            assert_eq!(read("application/json", body, 9), Err(AnswerError::Missing), "{body}");
            let stream = format!("data: {body}\n\n");
            assert_eq!(read("text/event-stream", &stream, 9), Err(AnswerError::Missing), "{body}");
        }
        let large = "x".repeat(4_000_001);
        assert_eq!(read("application/json", &large, 1 << 20), Err(AnswerError::TooLarge(4_000_000)));
    }

    #[test]
    fn an_event_longer_than_the_splitter_keeps_is_read_all_the_same() {
        let text = "y".repeat(1_500_000);
        let answer = format!(r#"{{"id":7,"result":{{"text":"{text}"}}}}"#);
        let wanted = format!(r#"{{"text":"{text}"}}"#);
        for stream in [format!("data: {answer}\n\n"), format!("data: {{}}\n\ndata: {answer}\n\n: more\n\n")] {
            assert!(read("text/event-stream", &stream, 65_536).unwrap() == wanted);
        }
    }

    #[test]
    fn an_event_of_a_million_lines_is_read_in_one_pass() {
        // Joined line by line, each time anew, this would take minutes.
        let stream = "data:\n".repeat(600_000) + "\n";
        assert_eq!(read("Text/Event-Stream", &stream, 65_536), Err(AnswerError::Missing));
    }

    #[test]
    fn requests_are_json_rpc() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        assert_eq!(text(initialized()), r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(text(list_tools(2, None)), r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
        let arguments = RawValue::from_string(r#"{"a": 1.0}"#.to_owned()).unwrap();
        let call = r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a": 1.0}}}"#;
        assert_eq!(text(call_tool(3, "add", &arguments)), call);
    }
}
