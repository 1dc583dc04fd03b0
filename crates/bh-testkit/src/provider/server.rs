//! The provider's accept loop: record a request, choose its script, play it.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::script::Body;
use super::{Ending, Recorded, Script, Shared, anthropic, lock, openai};
use crate::Headers;
use crate::http1::{Framing, Wire, framing};

/// How an answer was left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Played {
    KeepAlive,
    Close,
}

/// Serves until `stopped` resolves or its sender is gone; open connections are cut then.
pub(crate) fn run(
    listener: std::net::TcpListener,
    shared: Arc<Mutex<Shared>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be started");
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener).expect("a listener is accepted by its runtime");
        let mut connections = JoinSet::new();
        let accepting = async {
            loop {
                if let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stopped => {}
        }
    });
}

async fn serve(stream: TcpStream, shared: Arc<Mutex<Shared>>) {
    stream.set_nodelay(true).ok();
    let (reader, mut writer) = stream.into_split();
    let mut wire = Wire::new(reader);
    while let Ok(Some(request)) = read_request(&mut wire, &mut writer).await {
        let index = remember(&shared, request.clone());
        let script = choose(&shared, &request);
        match play_watched(&script, &request, &mut wire, &mut writer).await {
            Some(played) => {
                lock(&shared)
                    .requests
                    .get_mut(index)
                    .into_iter()
                    .for_each(|r| r.answered_at = Some(Instant::now()));
                if played == Played::Close {
                    return;
                }
            }
            None => {
                lock(&shared)
                    .requests
                    .get_mut(index)
                    .into_iter()
                    .for_each(|r| r.hung_up_at = Some(Instant::now()));
                return;
            }
        }
    }
}

fn remember(shared: &Mutex<Shared>, request: Recorded) -> usize {
    let mut shared = lock(shared);
    shared.requests.push(request);
    shared.requests.len() - 1
}

async fn read_request(
    wire: &mut Wire<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<Option<Recorded>> {
    let Some(head) = wire.head().await? else { return Ok(None) };
    if head.headers.get("expect").is_some_and(|v| v.eq_ignore_ascii_case("100-continue")) {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let body = wire.body(framing(&head.headers, Framing::Length(0))).await?;
    let mut words = head.first_line.split(' ').map(str::to_owned);
    Ok(Some(Recorded {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: head.headers,
        body,
        arrived_at: Instant::now(),
        hung_up_at: None,
        answered_at: None,
    }))
}

fn choose(shared: &Mutex<Shared>, request: &Recorded) -> Script {
    let (queued, handler, reply) = {
        let mut shared = lock(shared);
        (shared.queue.pop_front(), shared.handler.clone(), shared.reply.clone())
    };
    // The handler runs without the lock, so that it may look at the provider.
    if let Some(script) = queued.or_else(|| handler.and_then(|handler| handler(request))) {
        return script;
    }
    let path = request.path();
    let post = request.method == "POST";
    match path {
        _ if post && path.ends_with("/chat/completions") => openai::chat(request, &reply),
        _ if post && path.ends_with("/responses") => openai::responses(request, &reply),
        _ if post && path.ends_with("/embeddings") => openai::embeddings(request, &reply),
        _ if post && path.ends_with("/messages/count_tokens") => anthropic::count_tokens(&reply),
        _ if post && path.ends_with("/messages") => anthropic::messages(request, &reply),
        _ if !post && (path.ends_with("/models") || path.contains("/models/")) => openai::models(request),
        _ => echo(request),
    }
}

/// Any other path is answered with its own body, for "passed through unchanged".
fn echo(request: &Recorded) -> Script {
    let content_type = request.header("content-type").unwrap_or("application/octet-stream");
    Script::bytes(200, content_type, request.body.clone())
        .header("x-echo-method", &request.method)
        .header("x-echo-target", &request.target)
}

/// Plays the script while watching for the client to hang up; `None` when it did.
async fn play_watched(
    script: &Script,
    request: &Recorded,
    wire: &mut Wire<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> Option<Played> {
    let gone = async { while wire.fill().await.unwrap_or(false) {} };
    tokio::select! {
        biased;
        played = play(script, request, writer) => played.ok(),
        () = gone => None,
    }
}

async fn play(script: &Script, request: &Recorded, writer: &mut OwnedWriteHalf) -> io::Result<Played> {
    pause(script.delay).await;
    match &script.body {
        Body::Nothing => {}
        Body::Raw(bytes) => {
            writer.write_all(bytes).await?;
            return Ok(Played::Close);
        }
        Body::Whole(bytes) => {
            let sent = if script.ending == Ending::Complete { bytes.len() } else { bytes.len() / 2 };
            let length = ("content-length".to_owned(), bytes.len().to_string());
            let mut out = head(script, length);
            if request.method != "HEAD" {
                out.extend_from_slice(&bytes[..sent]);
            }
            writer.write_all(&out).await?;
        }
        Body::Chunks(chunks) => play_chunks(script, chunks, writer).await?,
    }
    match script.ending {
        Ending::Complete => Ok(Played::KeepAlive),
        Ending::Die => Ok(Played::Close),
        Ending::Hang => std::future::pending().await,
    }
}

async fn play_chunks(script: &Script, chunks: &[Vec<u8>], writer: &mut OwnedWriteHalf) -> io::Result<()> {
    writer.write_all(&head(script, ("transfer-encoding".to_owned(), "chunked".to_owned()))).await?;
    for (index, chunk) in chunks.iter().enumerate() {
        if index > 0 {
            pause(script.pause).await;
        }
        let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
        writer.write_all(&framed).await?;
    }
    if script.ending == Ending::Complete {
        writer.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

fn head(script: &Script, framing: (String, String)) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {} Scripted\r\n", script.status).into_bytes();
    let mut headers: Headers = script.headers.clone();
    if !headers.has("x-request-id") {
        headers.push("x-request-id", "req_fake");
    }
    headers.push(&framing.0, &framing.1);
    headers.write_to(&mut out);
    out.extend_from_slice(b"\r\n");
    out
}

async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}
