//! Floor proxies: how cheap can a Rust gateway be? Loopback only, one thread.
//!
//! floorproxy PORT UPSTREAM(host:port) MODE [--keys N] [--journal FILE] [--linger-us N]
//! MODE  pass     hyper server + hyper-util pooled client, bodies streamed through untouched
//!       auth     + SHA-256 of the bearer key and a hash-map lookup
//!       govern   + token-bucket rate limit, budget reservation, request parsed with serde_json (model, stream,
//!                max_tokens), model allow-list and a deny-word policy over the prompt, usage read back from the
//!                response (JSON or the SSE usage event) and the reservation settled
//!       chain    + one evidence record per request: canonical JSON, SHA-256 hash chain, handed to a writer thread
//!                that appends, fsyncs and Ed25519-signs the chain head once per batch (group commit, async)
//!       sign     as chain, but an Ed25519 signature per record, on the request thread
//!       (--linger-us: the writer waits this long after a first record, so that a batch is not one record)
//!       durable  as chain, but the response is held until its record is fsynced (group commit, sync)
//!       The record of a rejected request is not written; this is a cost model, not a gateway.

mod admission;
mod evidence;
mod proxy;

use std::sync::Mutex;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};

use admission::{Keys, Policy};
use evidence::Journal;

const USAGE: &str = "floorproxy PORT 127.0.0.1:PORT pass|auth|govern|chain|sign|durable [--keys N] [--journal FILE] [--linger-us N]";

/// How much is done for each request; each mode does what those before it do.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Mode {
    Pass,
    Auth,
    Govern,
    Chain,
    Sign,
    Durable,
}

struct State {
    mode: Mode,
    upstream: String,
    upstream_key: HeaderValue,
    client: Client<HttpConnector, proxy::AnyBody>,
    keys: Mutex<Keys>,
    policy: Policy,
    journal: Journal,
}

fn mode(word: &str) -> Option<Mode> {
    Some(match word {
        "pass" => Mode::Pass,
        "auth" => Mode::Auth,
        "govern" => Mode::Govern,
        "chain" => Mode::Chain,
        "sign" => Mode::Sign,
        "durable" => Mode::Durable,
        _ => return None,
    })
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default| option(name).map_or(default, |n| n.parse().expect(USAGE));
    let [port, upstream, word, ..] = args.as_slice() else { panic!("{USAGE}") };
    assert!(upstream.starts_with("127.0.0.1:"), "loopback only");
    let mode = mode(word).expect(USAGE);
    let file = option("--journal").map_or("gwrig-journal.jsonl", String::as_str);
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let state: &'static State = Box::leak(Box::new(State {
        mode,
        upstream: upstream.clone(),
        upstream_key: HeaderValue::from_static("Bearer sk-upstream"),
        client: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(256).build(connector),
        keys: Mutex::new(admission::keys(number("--keys", 10_000))),
        policy: Policy::default(),
        journal: Journal::start(mode, file, Duration::from_micros(number("--linger-us", 0).into())),
    }));
    serve(state, port.parse().expect(USAGE));
}

fn serve(state: &'static State, port: u16) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        loop {
            let Ok((socket, _)) = listener.accept().await else { continue };
            socket.set_nodelay(true).ok();
            let service = service_fn(move |request| proxy::handle(state, request));
            let connection =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            tokio::task::spawn_local(async move { connection.await.ok() });
        }
    });
}
